//! Handing leadership over (dissertation §3.10), stepping down, and leaving as a leader that was removed
//! (§4.2.2).
//!
//! Always holds: while leadership is handed over nothing is appended for callers, so that the target's log
//! can be complete; what they propose waits for this leader to go on, or for the next one. The target is
//! told to begin only when it is, and begins only if it durably is (S41).

use alloc::boxed::Box;

use crate::action::{Rejection, TransferRefusal};
use crate::entry::Payload;
use crate::message::{Body, ControlOutcome, DiskHealth, Envelope, LeaderRound};
use crate::progress::ProgressState;
use crate::types::{EntryId, Member, NodeId, Round, Time};

use super::reads::Reader as Asker;
use super::{Node, Role};

/// Leadership on its way to another node.
#[derive(Clone, Debug)]
pub(super) struct Transfer {
    to: Member,
    /// Who waits for it; nobody if the leader began it by itself.
    asker: Option<Asker>,
    /// When it is given up.
    deadline: Time,
    otherwise: Otherwise,
    /// The target was told to begin.
    told: bool,
}

/// What a leader does whose target does not take over in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Otherwise {
    /// It goes on.
    Lead,
    /// It leads no longer all the same.
    StepDown,
}

/// A leader that is not a voter of the configuration it committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Leaving {
    /// Whoever answers this round knows that the configuration is committed.
    known: Round,
}

impl Node {
    pub(super) fn transfer_asked(&mut self, asker: Asker, to: Option<NodeId>) {
        let result = match to {
            Some(node) => self.named_target(node),
            None => self.best_target().ok_or(TransferRefusal::NobodyElse),
        };
        let begun = result.and_then(|to| self.begin_transfer(to, Some(asker), Otherwise::Lead));
        if let Err(refusal) = begun {
            self.finish_control(asker, ControlOutcome::TransferRefused(refusal));
        }
    }

    /// Stops leading, after handing over if anybody can take over.
    pub(super) fn step_down_asked(&mut self, asker: Asker) {
        let Some(to) = self.best_target() else {
            let term = self.hard_state.term;
            self.finish_control(asker, ControlOutcome::Transferred(term));
            self.become_follower(term, None);
            return;
        };
        if let Err(refusal) = self.begin_transfer(to, Some(asker), Otherwise::StepDown) {
            self.finish_control(asker, ControlOutcome::TransferRefused(refusal));
        }
    }

    /// Lets a member lead that can, for reasons of the leader's own.
    pub(super) fn begin_handover(&mut self, to: Member) {
        // Should one be under way already, that one does.
        let _ = self.begin_transfer(to, None, Otherwise::Lead);
    }

    fn named_target(&self, node: NodeId) -> Result<Member, TransferRefusal> {
        let configuration = self.configuration();
        // Not a voter that the joint phase is about to remove, nor a learner (S34).
        let mut voters = configuration.voters.iter();
        let to = voters.find(|member| member.node == node);
        let to = *to.ok_or(TransferRefusal::NotAVoter(node))?;
        if to == self.me() {
            return Err(TransferRefusal::LeadsAlready(node));
        }
        self.check_disk_of(to)?;
        Ok(to)
    }

    /// A node whose disk stalls or is full would keep everybody waiting until the deadline, unless this
    /// leader's own disk does no better.
    fn check_disk_of(&self, to: Member) -> Result<(), TransferRefusal> {
        let Role::Leader(leader) = &self.role else {
            return Ok(());
        };
        let disk = leader.peers.get(to).map(|peer| peer.disk);
        match disk.filter(|_| self.disk_health() == DiskHealth::Healthy) {
            Some(DiskHealth::Full) => Err(TransferRefusal::DiskFull(to.node)),
            Some(DiskHealth::Stalled) => Err(TransferRefusal::DiskStalls(to.node)),
            Some(DiskHealth::Healthy) | None => Ok(()),
        }
    }

    /// The voter that was heard lately and has most of the log; one with a healthy disk that needs no
    /// snapshot, if there is any.
    pub(super) fn best_target(&self) -> Option<Member> {
        let Role::Leader(leader) = &self.role else {
            return None;
        };
        let heard = |at: Time| at + self.options.election_timeout >= self.now;
        let voters = self.configuration().voters.iter();
        let candidates = voters.filter_map(|member| {
            let peer = leader.peers.get(*member)?;
            let answered = peer.boot.is_some() && heard(peer.last_contact);
            let able = peer.state != ProgressState::Snapshot && peer.disk == DiskHealth::Healthy;
            answered.then_some((able, peer.match_index, core::cmp::Reverse(*member)))
        });
        candidates.max().map(|(_, _, member)| member.0)
    }

    fn begin_transfer(
        &mut self,
        to: Member,
        asker: Option<Asker>,
        otherwise: Otherwise,
    ) -> Result<(), TransferRefusal> {
        let deadline = self.now + self.options.election_timeout;
        let Role::Leader(leader) = &mut self.role else {
            return Err(TransferRefusal::NobodyElse);
        };
        if leader.transfer.is_some() {
            return Err(TransferRefusal::InProgress);
        }
        leader.transfer = Some(Box::new(Transfer {
            to,
            asker,
            deadline,
            otherwise,
            told: false,
        }));
        Ok(())
    }

    /// Whether a leader hands over, and takes nothing new.
    pub(super) const fn hands_over(&self) -> bool {
        match &self.role {
            Role::Leader(leader) => leader.transfer.is_some() || leader.leaving.is_some(),
            Role::Follower(_) | Role::PreCandidate(_) | Role::Candidate(_) => false,
        }
    }

    /// Why a leader that hands over takes nothing new.
    pub(super) fn refused_for_transfer(&self) -> Option<Rejection> {
        self.hands_over().then_some(Rejection::Transferring)
    }

    /// Tells the target to begin as soon as it has everything.
    pub(super) fn drive_transfer(&mut self) {
        let last = self.log.last();
        let Role::Leader(leader) = &mut self.role else {
            return;
        };
        let Some(transfer) = &mut leader.transfer else {
            return;
        };
        let ready = leader
            .peers
            .get(transfer.to)
            .is_some_and(|peer| peer.match_index == last.index);
        if ready && !transfer.told {
            transfer.told = true;
            self.tell_to_lead();
        }
    }

    /// Tells the target to begin; again with every heartbeat, for the message may be lost.
    pub(super) fn tell_to_lead(&mut self) {
        let last = self.log.last();
        let Role::Leader(leader) = &self.role else {
            return;
        };
        let told = leader.transfer.as_ref().filter(|transfer| transfer.told);
        let peer = told.and_then(|told| Some((told.to, leader.peers.get(told.to)?)));
        if let Some((to, peer)) = peer {
            let session = peer.session;
            let round = self.void_lease();
            self.send(to, session, Body::TimeoutNow { last, round });
        }
    }

    pub(super) fn transfer_deadline(&self) -> Option<Time> {
        match &self.role {
            Role::Leader(leader) => leader.transfer.as_ref().map(|transfer| transfer.deadline),
            Role::Follower(_) | Role::PreCandidate(_) | Role::Candidate(_) => None,
        }
    }

    pub(super) fn expire_transfer(&mut self) {
        if self.transfer_deadline().is_some_and(|due| due <= self.now) {
            let to = |transfer: &Transfer| TransferRefusal::TimedOut(transfer.to.node);
            self.abort_transfer(to);
        }
    }

    /// The target was removed or demoted (S34).
    pub(super) fn check_transfer_target(&mut self) {
        if let Role::Leader(leader) = &self.role
            && let Some(transfer) = &leader.transfer
            && !self.configuration().voters.contains(&transfer.to)
        {
            self.abort_transfer(|transfer| TransferRefusal::Removed(transfer.to.node));
        }
    }

    fn abort_transfer(&mut self, why: impl FnOnce(&Transfer) -> TransferRefusal) {
        let Role::Leader(leader) = &mut self.role else {
            return;
        };
        let Some(transfer) = leader.transfer.take() else {
            return;
        };
        if transfer.otherwise == Otherwise::StepDown {
            let term = self.hard_state.term;
            self.finish_asked(transfer.asker, ControlOutcome::Transferred(term));
            self.become_follower(term, None);
            return;
        }
        let refusal = why(&transfer);
        self.finish_asked(transfer.asker, ControlOutcome::TransferRefused(refusal));
        if transfer.told {
            // The target may still win with what it was told. Only an entry committed after this shows
            // that it has not, so leases wait for one (S42).
            self.append_own(Payload::Noop);
        }
    }

    /// Leadership is over, whoever brought that about: what was asked for has happened.
    pub(super) fn end_transfer(&mut self, transfer: Option<Box<Transfer>>) {
        let asker = transfer.and_then(|transfer| transfer.asker);
        self.finish_asked(asker, ControlOutcome::Transferred(self.hard_state.term));
    }

    /// The leader says: lead now, in the next term.
    pub(super) fn on_timeout_now(&mut self, envelope: &Envelope, last: EntryId, round: Round) {
        let complete = self.log.last() == last && self.log.durable() == last.index;
        // Anything else is as good as lost: the leader says it again, or gives up (S41).
        if complete && self.may_campaign() && envelope.term == self.hard_state.term {
            self.campaign_for_leader(LeaderRound {
                leader: envelope.from.member,
                term: envelope.term,
                round,
            });
        }
    }

    /// A leader that is no voter of the configuration it committed hands over; if nobody takes over, it goes
    /// on until a majority of that configuration knows that it is committed (S31).
    pub(super) fn drive_leaving(&mut self) {
        let me = self.me();
        let Role::Leader(leader) = &self.role else {
            return;
        };
        let committed = self.configurations.latest_index() <= self.commit_index
            && self.commit_index >= leader.noop;
        let configuration = self.configuration();
        if !committed || configuration.is_joint() || configuration.voters.contains(&me) {
            return;
        }
        let Some(Leaving { known }) = leader.leaving else {
            self.begin_leaving();
            return;
        };
        let reached = configuration.reached(|member| {
            let peer = leader.peers.get(member);
            peer.map_or(Round(0), |peer| peer.round)
        });
        if leader.transfer.is_none() && reached.is_some_and(|reached| reached >= known) {
            self.become_follower(self.hard_state.term, None);
        }
    }

    fn begin_leaving(&mut self) {
        self.broadcast_heartbeat();
        let target = self.best_target();
        if let Role::Leader(leader) = &mut self.role {
            leader.leaving = Some(Leaving {
                known: leader.round,
            });
        }
        if let Some(to) = target {
            self.begin_handover(to);
        }
    }
}
