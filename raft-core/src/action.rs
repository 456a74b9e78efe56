//! What comes out of a node: orders to the driver.
//!
//! Two lanes are ordered: the log lane (`Persist`) and the state lane (`Apply`). Everything else may
//! run at any time, late, or never; see the crate's documentation for the whole contract.

use alloc::boxed::Box;
use alloc::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::change::ChangeRefusal;
use crate::configuration::Configuration;
use crate::entry::Entry;
use crate::message::Envelope;
use crate::snapshot::{SnapshotMark, SnapshotMeta};
use crate::types::{
    Boot, ClusterId, EntryId, HardState, Identity, Index, Member, NodeId, PersistId, ReadTicket,
    RequestId, SnapshotTicket, StorageId, Term,
};

/// What the driver is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Action {
    /// Send it now, or lose it: the node withholds what must wait for the disk.
    Send(Box<Envelope>),
    /// Log lane: make it durable, in order, then report `Input::Persisted`.
    Persist(Persist),
    /// State lane: apply these committed, locally durable entries in order, then report
    /// `Input::Applied`. The claim is about the state machine's memory, not about a disk.
    Apply {
        /// Contiguous entries, following those of the `Apply` before.
        entries: Arc<[Entry]>,
    },
    /// State lane: take a snapshot as soon as possible and report `Input::SnapshotTaken`; a peer has
    /// nothing that entries could follow.
    TakeSnapshot,
    /// State lane: replace the state machine by this snapshot, then report `Input::SnapshotRestored`. The
    /// snapshot is on this node's disk.
    RestoreSnapshot {
        /// Which.
        snapshot: SnapshotMeta,
    },
    /// Log lane: entries up to here are not needed any more. Answered by nothing; may be done late.
    CompactLog(CompactLog),
    /// Log lane: forget everything, become an empty store of this id that belongs to no cluster, and
    /// report `Input::Wiped` once that is durable.
    Wipe {
        /// The new store id.
        store: StorageId,
    },
    /// Fetch a snapshot that is at least as new as `at_least`, from `source` or anybody else who has one,
    /// and report `Input::SnapshotReceived` or `Input::SnapshotFailed`. A later ticket takes the place of
    /// an earlier one.
    ReceiveSnapshot {
        /// Names the request.
        ticket: SnapshotTicket,
        /// The oldest snapshot that is new enough.
        at_least: EntryId,
        /// Who has it.
        source: Member,
    },
    /// Read entries back from the log on disk and answer with `Input::LogRead`.
    ReadLog(ReadLog),
    /// A request has its outcome.
    Resolve {
        /// Which.
        request: RequestId,
        /// How it ended.
        outcome: Outcome,
    },
    /// Something worth knowing changed.
    Observed(Observation),
    /// Something an operator should know; repeated causes are counted in `Status` instead.
    Alert(Alert),
    /// The node has stopped for good and answers nothing any more.
    Halt(HaltReason),
}

/// One atomic write of the log lane: after a crash all of it is there, or none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Persist {
    /// Its place in the lane; `Input::Persisted` names the last one that is durable.
    pub id: PersistId,
    /// The store it belongs to, echoed by the completion.
    pub store: StorageId,
    /// The life of the node that asks, echoed by the completion.
    pub boot: Boot,
    /// Term, vote and promises, if they changed. Like what follows it is rare, so it lies apart.
    pub hard_state: Option<Box<HardState>>,
    /// A snapshot to rely on from now on. An installed one replaces the whole log; entries follow it.
    pub snapshot: Option<Box<SnapshotMark>>,
    /// Who the store is from now on, if that changed.
    pub identity: Option<Box<Identity>>,
    /// Contiguous entries; whatever the log holds from the first one's index on is replaced.
    pub entries: Arc<[Entry]>,
}

/// Where the log may begin from now on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompactLog {
    /// The last entry that is not needed any more; it lies at or below a snapshot whose mark is durable.
    pub base: EntryId,
    /// The entry that made the configuration in force there.
    pub configured: EntryId,
    /// Who took part there.
    pub configuration: Arc<Configuration>,
}

/// A request for entries that left the node's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadLog {
    /// Names the request.
    pub ticket: ReadTicket,
    /// The first entry wanted.
    pub from: Index,
    /// The last entry wanted.
    pub to: Index,
    /// Stop after this many payload bytes, but not before one entry.
    pub bytes_max: u64,
}

/// How a request ended: exactly one for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The proposal is committed as this entry; its `Apply` follows.
    Committed(EntryId),
    /// The new configuration is committed as this entry.
    Changed(EntryId),
    /// Leadership of this term ended as it was asked for.
    Transferred(Term),
    /// The node is a cluster of its own; entries after `committed` up to `last` were only assumed to be
    /// committed.
    Alone {
        /// The last entry that was known to be committed.
        committed: Index,
        /// The last entry that is kept.
        last: Index,
    },
    /// The store was emptied, and has a new id.
    Emptied,
    /// The read may be answered once everything up to this index is applied.
    ReadReady(Index),
    /// It had no effect and never will have.
    Rejected(Rejection),
    /// The proposal had become this entry, and a different one was committed in its place.
    Superseded(EntryId),
    /// The proposal may have taken effect, may yet, or never will: nothing was heard in time.
    Unknown,
}

/// Why a request certainly had no effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// This node does not lead and could not hand the request to one that does.
    #[error("not the leader{}", Hint(*leader))]
    NotLeader {
        /// Who leads, as far as this node knows.
        leader: Option<NodeId>,
    },
    /// A quota is full; try again later.
    #[error("busy: {0} is at its limit")]
    Busy(Quota),
    /// The command is larger than `Options::command_bytes_max`.
    #[error("a command of {bytes} bytes exceeds the limit of {limit} bytes")]
    TooLarge {
        /// Its size.
        bytes: u64,
        /// The limit.
        limit: u64,
    },
    /// The leader's disk is full.
    #[error("the disk of the leader is full; free space there, or let another node lead")]
    StorageFull,
    /// The disk of the node that was asked is full, and what the answer would rest on has no room there.
    #[error("the disk of this node is full; free space here, or ask another node")]
    OwnStorageFull,
    /// No majority confirmed the read in time.
    #[error("no majority answered in time")]
    NoQuorum,
    /// The node has halted.
    #[error("the node has halted")]
    Halted,
    /// The leader is handing over to another node, and there is no room for more that waits for the next one,
    /// or none on its disk; try again in a moment.
    #[error("the leader is handing over to another node; try again in a moment")]
    Transferring,
    /// The change of membership was refused, or failed; nothing was changed.
    #[error(transparent)]
    Change(#[from] ChangeRefusal),
    /// Leadership stays where it is.
    #[error(transparent)]
    Transfer(#[from] TransferRefusal),
    /// The node cannot become a cluster of one, or be emptied, now.
    #[error(transparent)]
    Identity(#[from] IdentityRefusal),
}

/// Why leadership was not handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum TransferRefusal {
    /// Another transfer is under way.
    #[error("leadership is being handed over already")]
    InProgress,
    /// The node does not vote, so it cannot lead.
    #[error("node {0} is not a voter, so it cannot lead")]
    NotAVoter(NodeId),
    /// The node leads already.
    #[error("node {0} leads already")]
    LeadsAlready(NodeId),
    /// Nobody else could lead: no other voter was heard lately.
    #[error("no other voter was heard lately")]
    NobodyElse,
    /// The node's disk is full, and the leader's is not.
    #[error("the disk of node {0} is full; free space there, or name another node")]
    DiskFull(NodeId),
    /// The node's disk stalls, and the leader's does not.
    #[error("the disk of node {0} stalls; name another node, or try again when it is healthy")]
    DiskStalls(NodeId),
    /// The node did not take over in time; the leader goes on.
    #[error("node {0} did not take over in time")]
    TimedOut(NodeId),
    /// The node was removed or demoted meanwhile (S34).
    #[error("node {0} was removed or demoted meanwhile")]
    Removed(NodeId),
}

/// Why a node keeps its identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentityRefusal {
    /// The node is in another cluster than was expected.
    #[error("the node is in cluster {found}, expected {expected}")]
    OtherCluster {
        /// Which it was expected to be in.
        expected: ClusterId,
        /// Which it is in.
        found: ClusterId,
    },
    /// A snapshot is being restored: the state is not whole.
    #[error("a snapshot is being restored; ask again when that is done")]
    Restoring,
    /// The node is in no cluster, so there is nothing that it could keep.
    #[error("the node is in no cluster; make one with init, or attach it")]
    NoCluster,
}

struct Hint(Option<NodeId>);

impl core::fmt::Display for Hint {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self.0 {
            Some(leader) => write!(f, ", node {leader} is"),
            None => f.write_str(", and none is known"),
        }
    }
}

/// A bound of `Options` that a request ran into.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Quota {
    /// `Options::uncommitted_bytes_max`.
    #[error("uncommitted bytes")]
    UncommittedBytes,
    /// `Options::undurable_bytes_max`.
    #[error("what waits for the disk")]
    UndurableBytes,
    /// `Options::requests_max`.
    #[error("pending requests")]
    Requests,
    /// A quota of the leader this node forwarded to.
    #[error("the leader")]
    Leader,
}

/// What changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Observation {
    /// The node's part in its term.
    Role {
        /// The term.
        term: Term,
        /// The part.
        role: RoleKind,
    },
    /// Who leads, as far as this node knows.
    Leader {
        /// The term.
        term: Term,
        /// The leader; `None` while none is known.
        leader: Option<Member>,
    },
    /// The configuration in force.
    Configuration {
        /// The entry that made it.
        id: EntryId,
        /// Who takes part.
        configuration: Arc<Configuration>,
    },
    /// This leader would rather have another node lead, and begins to hand over to it.
    HandsOver {
        /// To whom.
        to: Member,
        /// Why.
        reason: HandOverReason,
    },
}

/// Why a leader hands over without being told to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandOverReason {
    /// The other node has a higher `Options::priority`, and asked.
    Priority,
    /// A write takes longer than `Options::disk_stall_timeout`.
    DiskStalled,
    /// Its disk has no room for entries, and a majority without it has.
    DiskFull,
}

/// A node's part in its term (§5.1), without what only that part knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RoleKind {
    /// Follows a leader, or waits for one.
    Follower,
    /// Asks whether it could win before it disturbs anybody (dissertation §9.6).
    PreCandidate,
    /// Asks for votes.
    Candidate,
    /// Leads.
    Leader,
}

impl RoleKind {
    /// One word in lower case, as status and logs show it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Follower => "follower",
            Self::PreCandidate => "pre-candidate",
            Self::Candidate => "candidate",
            Self::Leader => "leader",
        }
    }
}

/// Why a message was refused: counted, never answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum Refusal {
    /// It belongs to another cluster or group.
    #[error("it belongs to another cluster or group")]
    Foreign,
    /// It is meant for another member, perhaps an earlier store of this node.
    #[error("it is meant for another member")]
    Misaddressed,
    /// It comes from an earlier life of its sender.
    #[error("it comes from an earlier life of its sender")]
    EarlierBoot,
    /// It answers an exchange that is over.
    #[error("it answers an exchange that is over")]
    StaleSession,
    /// No correct peer can have sent it.
    #[error("no correct peer can have sent it")]
    Malformed,
    /// It comes from a second leader of one term.
    #[error("it comes from a second leader of one term")]
    SecondLeader,
    /// The log waits for the disk with as many bytes as it may.
    #[error("too many bytes wait for the disk")]
    Undurable,
}

/// Something an operator should know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Alert {
    /// Messages are being refused; said once for each cause.
    #[error("a message from node {} (store {}) was refused: {refusal}", from.node, from.store)]
    Refused {
        /// Who sent the first one.
        from: Member,
        /// Why.
        refusal: Refusal,
    },
    /// Two nodes claim to lead one term: promises were broken somewhere, by a cloned or rolled-back
    /// disk for instance.
    #[error("node {} and node {} both claim to lead term {term}", known.node, claims.node)]
    TwoLeaders {
        /// The term.
        term: Term,
        /// The leader this node follows.
        known: Member,
        /// The other one.
        claims: Member,
    },
    /// This node was removed while it was away: it is no member any more.
    #[error(
        "this node was removed from its cluster by entry {}, as node {} says; attach it again, or reset it",
        configured.index, by.node
    )]
    Removed {
        /// Who says so.
        by: Member,
        /// The entry that made the configuration without this node.
        configured: EntryId,
    },
    /// A write takes longer than `Options::disk_stall_timeout`; said once for each time.
    #[error("a write to the log takes longer than it may; the disk stalls")]
    DiskStalled,
    /// A follower lacks what it had acknowledged as durable: its disk was rolled back or lies.
    #[error(
        "node {} acknowledged entry {acknowledged} and now lacks entry {lacks}; its disk forgot",
        peer.node
    )]
    Forgot {
        /// The follower.
        peer: Member,
        /// What it had acknowledged.
        acknowledged: Index,
        /// What it lacks.
        lacks: Index,
    },
}

/// Why a node stopped for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HaltReason {
    /// A leader's entries contradict what this node knows to be committed (S48).
    #[error(
        "entry {index} is committed with term {committed}, and a leader sent it with term {found}"
    )]
    CommittedConflict {
        /// Where.
        index: Index,
        /// The committed entry's term.
        committed: Term,
        /// The other one's.
        found: Term,
    },
    /// The log lane failed: what the disk holds is no longer known.
    #[error("the log could not be written; restart the node to recover what is durable")]
    StorageFailed,
    /// What was read back from the log is not what was written.
    #[error("the log is damaged at entry {index}")]
    LogDamaged {
        /// The first entry that could not be read.
        index: Index,
    },
    /// The snapshot that the state machine begins from cannot be read.
    #[error(
        "the snapshot up to entry {} is damaged; start the node with an empty store to have it filled by \
         its peers",
        id.index
    )]
    SnapshotDamaged {
        /// The last entry in it.
        id: EntryId,
    },
    /// The store was emptied by a reset; start the node again to have it attached to a cluster.
    #[error("the store was emptied; start the node again to have it attached to a cluster")]
    Emptied,
    /// Terms are exhausted; none is ever used twice (S24).
    #[error("the last possible term is used up")]
    TermExhausted,
}
