//! The RPCs of Figure 2 as one-way messages, and the envelope each travels in.
//!
//! Nothing here waits for an answer: a reply is a message of its own that echoes the request's
//! [`Session`].

use alloc::sync::Arc;
use alloc::vec::Vec;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::action::TransferRefusal;
use crate::change::{ChangeRefusal, MembershipChange};
use crate::entry::Entry;
use crate::event::Consistency;
use crate::types::{Boot, EntryId, Identity, Index, Member, NodeId, Round, Span, Term};

/// A message with everything needed to refuse it when it is not meant for us.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Envelope {
    /// The sender: group, cluster, member.
    pub from: Identity,
    /// Which life of the sender's process speaks.
    pub boot: Boot,
    /// The member it is meant for; a re-created node with another store refuses it.
    pub to: Member,
    /// The sender's current term.
    pub term: Term,
    /// What the exchange belongs to; a reply echoes the request's.
    pub session: Session,
    /// The message itself.
    pub body: Body,
}

/// Tells exchanges apart that would otherwise look alike, so that a late reply is seen as late.
///
/// For replication: the leader's term, the index of the configuration that added the peer, and a
/// count of fresh starts. For ballots: the term asked for and the attempt. For forwarded requests:
/// the leader's term and the origin's sequence number. Attempts and sequence numbers begin anew above
/// the life of the node that counts them, so that none is used twice.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Session {
    /// The term in which the exchange has its meaning.
    pub term: Term,
    /// The configuration that added the peer; 0 where that plays no part.
    pub added: Index,
    /// What tells apart exchanges that agree in the rest.
    pub counter: u64,
}

/// What a message says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Body {
    /// Would you vote for me? Changes nothing at the receiver (dissertation §9.6).
    RequestPreVote {
        /// The sender's last entry.
        last: EntryId,
    },
    /// The answer; the session carries the term asked for, the envelope the voter's own (S14).
    PreVoteReply {
        /// Whether the vote would be granted.
        granted: bool,
    },
    /// Vote for me in the session's term (§5.2).
    RequestVote {
        /// The candidate's last entry (§5.4.1).
        last: EntryId,
        /// Why there is an election.
        cause: Cause,
    },
    /// The answer; a grant leaves only once the vote is durable.
    VoteReply {
        /// Whether the vote was granted.
        granted: bool,
    },
    /// Append these entries after `previous` (§5.3).
    AppendEntries {
        /// The entry that must precede them.
        previous: EntryId,
        /// The leader's commit index.
        commit: Index,
        /// Contiguous entries; shared by every peer they go to.
        #[serde(skip)]
        entries: Arc<[Entry]>,
    },
    /// The answer to an append.
    AppendReply(AppendOutcome),
    /// I still lead: confirms reads, spreads the commit index, asks how far the peer got.
    Heartbeat {
        /// The commit index, as far as the peer is known to have it (S46).
        commit: Index,
        /// What a read asked for now would have to wait for: at least the commit index, and the leader's
        /// first entry. It tells the receiver how old its state is, and commits nothing.
        read_index: Index,
        /// The round this belongs to.
        round: Round,
        /// For how long the receiver is asked to help nobody else to lead (dissertation §6.4.1); zero
        /// where leases are not wanted.
        promise: Span,
        /// How much the sender wants to lead; whoever wants it more may ask to.
        priority: u32,
    },
    /// The answer to a heartbeat of the sender's own term.
    HeartbeatReply {
        /// The round, echoed.
        round: Round,
        /// How far the follower's log is known to agree with the leader's, on disk or not.
        received: Index,
        /// How much of that is durable: acknowledges like an append's answer.
        matched: Index,
        /// For how long the follower promises to help nobody else to lead, from when it was asked.
        promised: Span,
        /// Whether its disk takes entries, and in time.
        disk: DiskHealth,
    },
    /// Your message was of a term that is over; the envelope carries the newer one (S18).
    StaleTerm,
    /// Propose these for me; the session names the leader's term they are meant for and the first
    /// one's sequence number. Never forwarded again.
    ForwardProposals {
        /// The commands, numbered from the session's counter.
        #[serde(skip)]
        commands: Vec<Bytes>,
    },
    /// What became of forwarded proposals, in their order from the session's counter.
    ForwardProposalsReply {
        /// One for each command.
        outcomes: Vec<ForwardOutcome>,
    },
    /// At which index may I read? (dissertation §6.4)
    ForwardRead {
        /// What the answer is to rest on.
        consistency: Consistency,
    },
    /// The answer, once a round begun after the question was confirmed, or out of a lease.
    ForwardReadReply {
        /// The index to apply before reading; `None` if the sender does not lead, or has too many
        /// reads waiting.
        index: Option<Index>,
    },
    /// Do this for me; the session names the leader's term it is meant for and its sequence number.
    /// Never forwarded again.
    ForwardControl {
        /// What is to be done.
        control: Control,
    },
    /// What became of it, once that is known.
    ForwardControlReply {
        /// How it ended.
        outcome: ControlOutcome,
    },
    /// Become leader now, without waiting for your timer (dissertation §3.10).
    TimeoutNow {
        /// The sender's last entry, which the receiver must have durably (S41).
        last: EntryId,
        /// The last round for which the sender gives back what it was promised.
        round: Round,
    },
    /// I would rather lead than you, and have all that you told me of. Echoes the session of a heartbeat.
    RequestLeadership {
        /// How much the sender wants to lead.
        priority: u32,
    },
    /// I am a learner that hears no leader: am I still a member? Answered only if not.
    AskMembership {
        /// The sender's last entry.
        last: EntryId,
    },
    /// You are no member any more: this entry made a configuration without you, and it is committed.
    NotAMember {
        /// The entry.
        configured: EntryId,
    },
    /// The leader does not have the log you need any more: fetch a snapshot.
    InstallSnapshot {
        /// The oldest snapshot that is new enough.
        id: EntryId,
        /// Who has it.
        source: Member,
    },
    /// Send me a part of a snapshot; answered by any node that has it.
    FetchSnapshot {
        /// Which one, to go on with it; `None` for the sender's latest.
        id: Option<EntryId>,
        /// Not one that is older.
        at_least: Index,
        /// From where on.
        offset: u64,
    },
    /// A part of a snapshot.
    SnapshotChunk {
        /// Of which.
        id: EntryId,
        /// Where it belongs.
        offset: u64,
        /// How long the whole is.
        total: u64,
        /// The bytes.
        #[serde(skip)]
        bytes: Bytes,
    },
    /// There is no such snapshot here.
    NoSnapshot,
}

impl Body {
    /// Whether whoever says this has heard something that it was sent: it is not only able to speak, but reached.
    #[must_use]
    pub const fn is_answer(&self) -> bool {
        match self {
            Self::PreVoteReply { .. }
            | Self::VoteReply { .. }
            | Self::AppendReply(_)
            | Self::HeartbeatReply { .. }
            | Self::StaleTerm
            | Self::ForwardProposalsReply { .. }
            | Self::ForwardReadReply { .. }
            | Self::ForwardControlReply { .. }
            | Self::NotAMember { .. }
            | Self::SnapshotChunk { .. }
            | Self::NoSnapshot => true,
            Self::RequestPreVote { .. }
            | Self::RequestVote { .. }
            | Self::AppendEntries { .. }
            | Self::Heartbeat { .. }
            | Self::ForwardProposals { .. }
            | Self::ForwardRead { .. }
            | Self::ForwardControl { .. }
            | Self::TimeoutNow { .. }
            | Self::RequestLeadership { .. }
            | Self::AskMembership { .. }
            | Self::InstallSnapshot { .. }
            | Self::FetchSnapshot { .. } => false,
        }
    }
}

/// Whether a node's disk takes entries, and in time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum DiskHealth {
    /// It does, as far as is known.
    #[default]
    Healthy,
    /// A write takes longer than `Options::disk_stall_timeout`.
    Stalled,
    /// It has no room for more.
    Full,
}

impl DiskHealth {
    /// In one lower-case word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Stalled => "stalled",
            Self::Full => "full",
        }
    }
}

/// One round of heartbeats, told apart from every other leadership's.
///
/// It stands for every promise that was asked for up to it in its term.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct LeaderRound {
    /// Who leads.
    pub leader: Member,
    /// In which term.
    pub term: Term,
    /// The round.
    pub round: Round,
}

/// Why there is an election.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Cause {
    /// Nobody was heard to lead, or a node was told to campaign.
    Timeout,
    /// The leader asked for it (dissertation §3.10), and gave back everything it was promised up to this
    /// round.
    Transfer(LeaderRound),
}

/// What a node that does not lead asks its leader to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Control {
    /// Change who takes part.
    ChangeMembership(MembershipChange),
    /// Let another voter lead.
    TransferLeadership {
        /// Who; `None` for the one that is most caught up.
        to: Option<NodeId>,
    },
    /// Lead no longer.
    StepDown,
}

/// How a control request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ControlOutcome {
    /// The new configuration is committed as this entry.
    Changed(EntryId),
    /// Another node leads, or this one no longer does: the term it ended in.
    Transferred(Term),
    /// The change was refused, or failed; nothing was changed.
    ChangeRefused(ChangeRefusal),
    /// Leadership stays where it is.
    TransferRefused(TransferRefusal),
    /// The receiver does not lead the session's term.
    NotLeader,
    /// Too much is under way.
    Busy,
    /// The leader stopped leading before it was done.
    Unknown,
}

/// How an append ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AppendOutcome {
    /// The log agrees with the leader's up to here, and that much is durable.
    Matched(Index),
    /// The entry before the appended ones is not in the log.
    Conflict {
        /// The index that was asked for.
        previous: Index,
        /// The follower's last entry that may still agree: neither its index nor its term exceeds
        /// what was asked for.
        hint: EntryId,
    },
    /// The store is new and has nothing that entries could follow: it needs a snapshot first.
    Blank,
}

/// What a leader did with one forwarded proposal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ForwardOutcome {
    /// Appended at this index in the session's term; whether it commits, the origin's own log tells.
    Appended(Index),
    /// Not appended, and it never will be: the receiver does not lead the session's term.
    NotLeader,
    /// Not appended, and it never will be: a quota is full.
    Busy,
    /// Not appended, and it never will be: the leader's disk is full.
    StorageFull,
    /// Not appended, and it never will be: the leader is handing over.
    Transferring,
}
