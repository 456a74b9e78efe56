//! Looking at a node from outside.

use crate::action::{Refusal, RoleKind};
use crate::configuration::Configuration;
use crate::message::DiskHealth;
use crate::progress::{Progress, ProgressState};
use crate::types::{Boot, EntryId, Identity, Index, Member, Term};

use super::{HaltReason, Node, Role};

/// What a node knows at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Status<'a> {
    /// Who it is.
    pub identity: Identity,
    /// Which life of it this is.
    pub boot: Boot,
    /// Its current term.
    pub term: Term,
    /// Its part in that term.
    pub role: RoleKind,
    /// Who leads the term, as far as it knows; possibly itself.
    pub leader: Option<Member>,
    /// Up to here the log is known to be committed.
    pub commit_index: Index,
    /// Up to here the state machine was reported to be.
    pub last_applied: Index,
    /// The snapshot that the state machine has yet to become, if there is one.
    pub restoring: Option<EntryId>,
    /// The latest snapshot that its disk relies on.
    pub snapshot: Option<EntryId>,
    /// The first index that its log may have; everything before is in a snapshot.
    pub first: Index,
    /// The end of its log.
    pub last: EntryId,
    /// Up to here its log is on its disk.
    pub durable: Index,
    /// Who takes part, as its log says.
    pub configuration: &'a Configuration,
    /// The entry that made that configuration.
    pub configured: EntryId,
    /// The latest configuration without this node that others told it of, if that is later than its log knows:
    /// it was removed while it was away.
    pub removed: Option<EntryId>,
    /// Messages it refused.
    pub refused: &'a Refused,
    /// Requests without an outcome.
    pub pending_requests: u32,
    /// Bytes that the entries in memory take.
    pub tail_bytes: u64,
    /// Whether its disk takes entries, and in time.
    pub disk: DiskHealth,
    /// Why it stopped for good, if it did.
    pub halted: Option<HaltReason>,
    role_state: &'a Role,
}

impl<'a> Status<'a> {
    /// What a leader knows of its peers' logs: member, last entry known to be there, next one to
    /// send. Empty unless this node leads.
    pub fn peers(&self) -> impl Iterator<Item = (Member, Index, Index)> + 'a {
        self.progress()
            .map(|(member, peer)| (member, peer.match_index, peer.next_index))
    }

    /// How a leader sends to each of its peers. Empty unless this node leads.
    pub fn replication(&self) -> impl Iterator<Item = (Member, ProgressState)> + 'a {
        self.progress().map(|(member, peer)| (member, peer.state))
    }

    fn progress(&self) -> impl Iterator<Item = (Member, &'a Progress)> + 'a {
        let peers = match self.role_state {
            Role::Leader(leader) => Some(leader.peers.iter()),
            Role::Follower(_) | Role::PreCandidate(_) | Role::Candidate(_) => None,
        };
        peers.into_iter().flatten()
    }
}

/// How many messages were refused, by cause; none of them was answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refused {
    /// Of another cluster or group.
    pub foreign: u64,
    /// Meant for another member.
    pub misaddressed: u64,
    /// From an earlier life of the sender.
    pub earlier_boot: u64,
    /// Answers to exchanges that are over; some are normal after a change of leader.
    pub stale_session: u64,
    /// What no correct peer can have sent.
    pub malformed: u64,
    /// From a second leader of one term.
    pub second_leader: u64,
    /// Appends while too much waited for the disk, or while it was full.
    pub undurable: u64,
    /// Completions of the log lane from another life of this node.
    pub stale_completions: u64,
}

impl Refused {
    pub(super) const fn none() -> Self {
        Self {
            foreign: 0,
            misaddressed: 0,
            earlier_boot: 0,
            stale_session: 0,
            malformed: 0,
            second_leader: 0,
            undurable: 0,
            stale_completions: 0,
        }
    }

    /// Counts one; returns how many of its kind there were.
    pub(super) fn count(&mut self, refusal: Refusal) -> u64 {
        let counter = match refusal {
            Refusal::Foreign => &mut self.foreign,
            Refusal::Misaddressed => &mut self.misaddressed,
            Refusal::EarlierBoot => &mut self.earlier_boot,
            Refusal::StaleSession => &mut self.stale_session,
            Refusal::Malformed => &mut self.malformed,
            Refusal::SecondLeader => &mut self.second_leader,
            Refusal::Undurable => &mut self.undurable,
        };
        *counter += 1;
        *counter
    }
}

impl Node {
    /// What the node knows now.
    #[must_use]
    pub fn status(&self) -> Status<'_> {
        Status {
            identity: self.identity,
            boot: self.boot,
            term: self.hard_state.term,
            role: self.role_kind(),
            leader: self.leader(),
            commit_index: self.commit_index,
            last_applied: self.apply.applied(),
            restoring: self.apply.restoring(),
            snapshot: self.snapshots.durable(),
            first: self.log.base().index.next(),
            last: self.log.last(),
            durable: self.log.durable(),
            configuration: self.configuration(),
            configured: self.configurations.latest_id(),
            removed: self.removed_by(),
            refused: &self.apart.refused,
            pending_requests: self.pending_requests,
            tail_bytes: self.log.tail_bytes(),
            disk: self.disk_health(),
            halted: self.apart.halted,
            role_state: &self.role,
        }
    }
}
