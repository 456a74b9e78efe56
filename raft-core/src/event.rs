//! What goes into a node: facts, and requests.

use alloc::boxed::Box;
use alloc::vec::Vec;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::change::MembershipChange;
use crate::entry::Entry;
use crate::message::Envelope;
use crate::snapshot::SnapshotMeta;
use crate::types::{
    Boot, ClusterId, EntryId, Index, Member, NodeId, PersistId, ReadTicket, RequestId,
    SnapshotTicket, StorageId, Time,
};

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
    Receive(Box<Envelope>),
    /// Replicate this command; resolved exactly once.
    Propose {
        /// The caller's name for the request.
        request: RequestId,
        /// An opaque command of at most `Options::command_bytes_max` bytes.
        command: Bytes,
    },
    /// Find an index at which a read may be answered; resolved exactly once.
    Read {
        /// The caller's name for the request.
        request: RequestId,
        /// What the answer rests on.
        consistency: Consistency,
    },
    /// Change who takes part; resolved exactly once, when the new configuration is committed. Any node
    /// takes it: one that does not lead hands it to its leader.
    ChangeMembership {
        /// The caller's name for the request.
        request: RequestId,
        /// What is to change.
        change: MembershipChange,
    },
    /// Let another voter lead; resolved exactly once. Any node takes it.
    TransferLeadership {
        /// The caller's name for the request.
        request: RequestId,
        /// Who is to lead; `None` for the one that is most caught up.
        to: Option<NodeId>,
    },
    /// Lead no longer, whoever leads next: hands over where that is possible, and stops leading anyhow.
    /// Resolved exactly once. Any node takes it, on behalf of its leader.
    StepDown {
        /// The caller's name for the request.
        request: RequestId,
    },
    /// Try to become leader now, with a pre-vote first; ignored by a leader, by a non-voter, while a promise
    /// to a leader lasts, and while the disk stalls.
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
    /// A snapshot of the state machine was taken: verified and synced, its directory too.
    SnapshotTaken {
        /// Which.
        snapshot: SnapshotMeta,
    },
    /// A snapshot asked for by `Action::ReceiveSnapshot` is here: verified and synced, its directory too.
    SnapshotReceived {
        /// The ticket it was asked for with.
        ticket: SnapshotTicket,
        /// Which; it may be newer than what was asked for.
        snapshot: SnapshotMeta,
    },
    /// A snapshot asked for by `Action::ReceiveSnapshot` cannot be had: it may be asked for again.
    SnapshotFailed {
        /// The ticket it was asked for with.
        ticket: SnapshotTicket,
    },
    /// The state machine is what the snapshot of `Action::RestoreSnapshot` says.
    SnapshotRestored {
        /// The last entry in it.
        id: EntryId,
    },
    /// The snapshot of `Action::RestoreSnapshot` cannot be read, though it was verified once: the node halts.
    SnapshotDamaged {
        /// The last entry in it.
        id: EntryId,
    },
    /// Become a cluster of one, with everything in the log; resolved exactly once.
    Solo {
        /// The caller's name for the request.
        request: RequestId,
        /// The cluster that is left behind; refused if this node is in another one.
        expect: ClusterId,
        /// The id of the new cluster, drawn from the operating system's randomness.
        cluster: ClusterId,
        /// The new store id, likewise: the old one's promises end.
        store: StorageId,
    },
    /// Forget everything, so that the node can be attached to a cluster; resolved exactly once, after
    /// which the node halts.
    Reset {
        /// The caller's name for the request.
        request: RequestId,
        /// The new store id, drawn from the operating system's randomness.
        store: StorageId,
    },
    /// The store is empty and has the new id, durably: answers `Action::Wipe`.
    Wiped {
        /// The new store id.
        store: StorageId,
    },
    /// The transport lost what it may have been carrying to this peer, or cannot reach it. Appends are then
    /// sent again from where they are known to agree, reads are asked again, and a forwarded proposal waits for
    /// its answer no longer than an election timeout.
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

/// What the answer of a read rests on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Consistency {
    /// On a majority, asked after the read was: linearizable, whatever the clocks do.
    #[default]
    Linearizable,
    /// On promises that followers gave to their leader: linearizable as long as clocks drift apart no
    /// faster than `Options::clock_drift_per_mille` says (dissertation §6.4.1). Where there is no lease
    /// it is answered as a linearizable one.
    Lease,
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
