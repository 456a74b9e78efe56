//! Errors, each named for who must act.

use crate::types::{EntryId, Index, Term};

/// A tunable out of its range: whoever configures the node must act.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("option {option} is {value}, expected {low} to {high}")]
pub struct OptionsError {
    /// The field of `Options`.
    pub option: &'static str,
    /// What it was set to.
    pub value: u64,
    /// The smallest legal value.
    pub low: u64,
    /// The largest legal value.
    pub high: u64,
}

/// Text that names no cluster or store: whoever wrote it must act.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected an id of 32 hexadecimal digits, as it is printed, found {found} characters{}",
    if *found == 32 { ", not all of which are such digits" } else { "" }
)]
pub struct IdentityError {
    /// How many characters there are.
    pub found: usize,
}

/// A node cannot be made from what was restored: the operator must act.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RestoreError {
    /// A tunable is out of range.
    #[error(transparent)]
    Options(#[from] OptionsError),
    /// The restored log ends before the place it claims to begin at, or has a gap.
    #[error("the restored log has a gap: {found} follows {expected}")]
    Gap {
        /// What came before.
        expected: Index,
        /// What followed.
        found: Index,
    },
    /// The log was compacted, and the snapshot of what it lacks is missing.
    #[error("the restored log begins after entry {} without a snapshot", base.index)]
    NoSnapshot {
        /// The place before the log's first entry.
        base: EntryId,
    },
    /// The snapshot does not fit the log.
    #[error("the restored snapshot ends with {found:?}, the log goes from {base:?} to {last:?}")]
    Snapshot {
        /// The last entry of the snapshot.
        found: EntryId,
        /// The place before the log's first entry.
        base: EntryId,
        /// The log's last entry.
        last: EntryId,
    },
    /// The state machine keeps a store of its own, and what is in it is not what the log says.
    #[error(
        "the state machine's own store is at {found:?}, the log goes from {base:?} to {last:?}"
    )]
    StateMachine {
        /// The last entry in the state machine's store.
        found: EntryId,
        /// The place before the log's first entry.
        base: EntryId,
        /// The log's last entry.
        last: EntryId,
    },
    /// The restored term is older than the log's last entry: the hard state was lost.
    #[error("the restored term is {found}, the last entry is {last:?}")]
    Term {
        /// The hard state's term.
        found: Term,
        /// The last entry.
        last: EntryId,
    },
    /// What the state machine's own store kept of client sessions does not decode.
    #[error("the state machine's store kept {bytes} bytes of client sessions that do not decode")]
    Sessions {
        /// How many bytes it kept.
        bytes: u64,
    },
}
