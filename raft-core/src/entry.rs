//! Log entries.

use alloc::sync::Arc;

use bytes::Bytes;

use crate::configuration::Configuration;
use crate::types::{EntryId, Index, Term};

/// One entry of the replicated log (§5.3).
///
/// Cloning is cheap: the payload is shared.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Entry {
    /// Its term and position.
    pub id: EntryId,
    /// What it asks for.
    pub payload: Payload,
}

/// What an entry asks for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Payload {
    /// Nothing: a new leader's first entry, by which it learns what is committed (§8).
    Noop,
    /// An opaque command for the state machine.
    Command(Bytes),
    /// A new configuration, in force as soon as it is appended (§6).
    Configuration(Arc<Configuration>),
}

/// What one entry costs in memory besides its payload, for the quotas: a bound, not a measurement.
pub(crate) const OVERHEAD_BYTES: u64 = 64;

impl Entry {
    /// Bytes of the payload alone.
    #[must_use]
    pub fn payload_bytes(&self) -> u64 {
        match &self.payload {
            Payload::Noop => 0,
            Payload::Command(command) => command.len() as u64,
            Payload::Configuration(configuration) => configuration.memory_bytes(),
        }
    }

    /// What the quota of uncommitted bytes counts. No-ops are free, so that a new leader can always
    /// start its term (S56); empty commands are not, so that they cannot come without end.
    #[must_use]
    pub fn quota_bytes(&self) -> u64 {
        match &self.payload {
            Payload::Noop => 0,
            Payload::Command(_) | Payload::Configuration(_) => self.memory_bytes(),
        }
    }

    /// Payload and bookkeeping: what the bounds on memory count.
    #[must_use]
    pub fn memory_bytes(&self) -> u64 {
        self.payload_bytes().saturating_add(OVERHEAD_BYTES)
    }
}

/// Why a run of entries is not one: what is validated before sending and on receipt (S53).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RunError {
    /// An index does not follow the one before.
    #[error("entry {found} follows entry {previous}")]
    Gap {
        /// The index before.
        previous: Index,
        /// The index that came.
        found: Index,
    },
    /// A term is lower than the one before, or higher than the sender's.
    #[error("entry {index} has term {found}, expected {low} to {high}")]
    Term {
        /// Where.
        index: Index,
        /// The term of the entry before.
        low: Term,
        /// The sender's term.
        high: Term,
        /// The entry's term.
        found: Term,
    },
}

/// Checks that entries follow `previous` without a gap, with terms that never fall and stay within
/// the sender's.
///
/// # Errors
///
/// The first entry that does not.
pub fn check_run(previous: EntryId, entries: &[Entry], limit: Term) -> Result<(), RunError> {
    let mut before = previous;
    for entry in entries {
        if before.index.0.checked_add(1) != Some(entry.id.index.0) {
            return Err(RunError::Gap {
                previous: before.index,
                found: entry.id.index,
            });
        }
        if entry.id.term < before.term || entry.id.term > limit {
            return Err(RunError::Term {
                index: entry.id.index,
                low: before.term,
                high: limit,
                found: entry.id.term,
            });
        }
        before = entry.id;
    }
    Ok(())
}
