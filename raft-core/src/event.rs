//! What goes into a node: facts, and requests.

use alloc::vec::Vec;

use bytes::Bytes;

use crate::entry::Entry;
use crate::message::Envelope;
use crate::types::{Boot, Index, Member, PersistId, ReadTicket, RequestId, StorageId, Time};

/// What happened, and when.
///
/// The driver samples `at` from a monotonic clock *after* it has the input in hand; the node never
/// lets its time run backwards.
#[derive(Clone, Debug)]
pub struct Event {
    /// When.
    pub at: Time,
    /// What.
    pub input: Input,
}

/// What happened.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Input {
    /// Time passed; due at `Node::next_deadline`, harmless at any other moment.
    Tick,
    /// A message arrived. It may be late, repeated, foreign or forged.
    Receive(Envelope),
    /// Replicate this command; resolved exactly once.
    Propose {
        /// The caller's name for the request.
        request: RequestId,
        /// An opaque command of at most `Options::command_bytes_max` bytes.
        command: Bytes,
    },
    /// Find an index at which a linearizable read may be answered; resolved exactly once.
    Read {
        /// The caller's name for the request.
        request: RequestId,
    },
    /// Try to become leader now, with a pre-vote first; ignored by a leader and by a non-voter.
    Campaign,
    /// Every write of the log lane up to `id` is durable, its directory too.
    Persisted {
        /// The store that holds them, as `Persist` named it.
        store: StorageId,
        /// The life of the node that asked for them.
        boot: Boot,
        /// The last write that is durable.
        id: PersistId,
    },
    /// The state machine has applied every entry up to `index`.
    Applied {
        /// The last one.
        index: Index,
    },
    /// The answer to `Action::ReadLog`.
    LogRead {
        /// Whose.
        ticket: ReadTicket,
        /// What was found.
        outcome: LogReadOutcome,
    },
    /// The transport lost what it may have been carrying to this peer, or cannot reach it.
    PeerUnreachable {
        /// Whom.
        peer: Member,
    },
    /// An operation of the log lane failed, or a sync did; nothing after it was done.
    StorageFailed,
    /// The disk has no room for entries; writes already handed out are kept until it has.
    StorageFull,
    /// There is room again.
    StorageAvailable,
}

/// What reading the log on disk found.
#[derive(Clone, Debug)]
pub enum LogReadOutcome {
    /// Entries from the index asked for on: at least one, contiguous.
    Entries(Vec<Entry>),
    /// They are compacted into a snapshot.
    Compacted,
    /// They cannot be read: the log is damaged.
    Damaged,
}
