//! Proposals on their way through a leader: from this node to another one, and from others to this one.
//!
//! Always holds: what is not handed to a leader yet was never appended, so it can be handed to any, or be
//! refused. It waits in the order in which it came, and what a leader gives back goes first or not at all,
//! so that nothing overtakes what was proposed before it.

use alloc::vec::Vec;

use bytes::Bytes;

use crate::action::{Outcome, Quota, Refusal, Rejection};
use crate::entry::Payload;
use crate::message::{Body, Envelope, ForwardOutcome, Session};
use crate::planted::{Bug, planted};
use crate::rare::Rare;
use crate::sent_requests::{Sent, bytes_of};
use crate::types::{EntryId, Index, Member, RequestId, Term, Time};

use super::forwards::{Held, HeldForwards, Unsent};
use super::{Node, Role};

impl Node {
    /// Whether this node leads that term in this life, or led it last.
    pub(super) fn has_led(&self, term: Term) -> bool {
        if matches!(self.role, Role::Leader(_)) {
            return self.hard_state.term == term;
        }
        let counted = self.counted.as_ref();
        counted.is_some_and(|counted| counted.led == Some(term))
    }

    /// Whether a proposal was handed to no leader yet.
    #[inline]
    pub(super) fn is_forward_waiting(&self) -> bool {
        let requests = self.requests.get();
        requests.is_some_and(|requests| requests.forwards.is_waiting())
    }

    /// Hands what was collected to whoever leads, in as few messages as the bounds allow.
    pub(super) fn flush_forwards(&mut self) {
        if !self.is_forward_waiting() {
            return;
        }
        match &self.role {
            Role::Leader(_) if self.hands_over() => self.refuse_beyond(),
            Role::Leader(_) => {
                while let Some(unsent) = self.next_outgoing() {
                    self.append_proposal(unsent.request, unsent.command, unsent.deadline);
                }
            }
            // Their entries would find no room here, and so the state machine could not answer.
            Role::Follower(_) if self.storage_full => {
                self.refuse_outgoing(Outcome::Rejected(Rejection::OwnStorageFull));
            }
            Role::Follower(_) | Role::PreCandidate(_) | Role::Candidate(_) => {
                match self.leader_for_proposals() {
                    Some(leader) => self.forward_outgoing(leader),
                    None if self.awaits_leader() => self.refuse_beyond(),
                    None => self.refuse_outgoing(self.unserved()),
                }
            }
        }
    }

    /// Why a proposal was handed to no leader.
    fn unserved(&self) -> Outcome {
        let transferring = self.refused_for_transfer();
        transferring.map_or_else(|| self.not_leader(), Outcome::Rejected)
    }

    fn refuse_outgoing(&mut self, outcome: Outcome) {
        while let Some(unsent) = self.next_outgoing() {
            self.resolve(unsent.request, outcome);
        }
    }

    fn next_outgoing(&mut self) -> Option<Unsent> {
        self.requests.made()?.forwards.pop()
    }

    /// What waits takes no more memory than what a leader may have uncommitted.
    fn refuse_beyond(&mut self) {
        let outcome = self.unserved();
        let bytes_max = self.options.uncommitted_bytes_max;
        while let Some(requests) = self.requests.made()
            && let Some(unsent) = requests.forwards.pop_beyond(bytes_max)
        {
            self.resolve(unsent.request, outcome);
        }
    }

    fn forward_outgoing(&mut self, leader: Member) {
        let Some(first) = self.requests.forwards.outgoing.front() else {
            return;
        };
        // The one that came first has the least time left.
        let deadline = first.deadline;
        let (mut requests, mut commands, mut bytes) = (Vec::new(), Vec::new(), 0);
        while let Some(unsent) = self.next_outgoing() {
            let size = unsent.command.len() as u64;
            if !commands.is_empty() && bytes + size > self.options.append_bytes_max {
                let requests = core::mem::take(&mut requests);
                let commands = core::mem::take(&mut commands);
                self.forward(leader, requests, commands, deadline);
                bytes = 0;
            }
            bytes += size;
            requests.push(unsent.request);
            commands.push(unsent.command);
        }
        self.forward(leader, requests, commands, deadline);
    }

    fn forward(
        &mut self,
        leader: Member,
        requests: Vec<RequestId>,
        commands: Vec<Bytes>,
        deadline: Time,
    ) {
        let term = self.hard_state.term;
        let counted = self.counted();
        counted.handed_in = term;
        counted.proposals += 1;
        let number = counted.proposals;
        let kept = self.requests.forwards.sent.kept_bytes() + bytes_of(&commands);
        let sent = Sent {
            leader,
            term,
            requests,
            commands: if kept <= self.options.uncommitted_bytes_max {
                commands.clone()
            } else {
                Vec::new()
            },
            deadline,
        };
        let session = self.requests.make().forwards.sent.send(number, sent);
        self.send(leader, session, Body::ForwardProposals { commands });
    }

    pub(super) fn on_forward_proposals(&mut self, envelope: &Envelope, commands: &[Bytes]) {
        let origin = envelope.from.member;
        let session = envelope.session;
        let led = self.has_led(session.term);
        if !led || !self.configuration().contains(origin) {
            // Whether it was taken before a restart, nobody knows: no answer is the true answer.
            self.refuse(origin, Refusal::StaleSession);
            return;
        }
        let seen = &mut self.counted().proposals_seen;
        let new = seen.accept(origin, envelope.boot, session.counter);
        if !new && !planted(Bug::ForwardTwice) {
            return;
        }
        let hands_over = self.hands_over();
        if let Role::Leader(leader) = &mut self.role
            && self.hard_state.term == session.term
            && (hands_over || !leader.held.is_empty())
        {
            let held = Held {
                origin,
                session,
                commands: commands.to_vec(),
            };
            if leader.held.make().push(held, &self.options) {
                return;
            }
        }
        self.answer_forwarded(origin, session, commands);
    }

    fn answer_forwarded(&mut self, origin: Member, session: Session, commands: &[Bytes]) {
        let leads = matches!(self.role, Role::Leader(_)) && self.hard_state.term == session.term;
        let mut outcomes = Vec::with_capacity(commands.len());
        for command in commands {
            outcomes.push(self.take_forwarded(leads, origin, command));
        }
        self.send(origin, session, Body::ForwardProposalsReply { outcomes });
    }

    /// The leader goes on: what it kept for others while it wanted to hand over.
    pub(super) fn take_held(&mut self) {
        while !self.hands_over()
            && let Role::Leader(leader) = &mut self.role
            && let Some(held) = leader.held.made().and_then(HeldForwards::pop)
        {
            self.answer_forwarded(held.origin, held.session, &held.commands);
        }
    }

    /// Leadership is over: others get back what was kept for them.
    pub(super) fn give_back(&mut self, mut held: Rare<HeldForwards>) {
        while let Some(held) = held.made().and_then(HeldForwards::pop) {
            self.answer_forwarded(held.origin, held.session, &held.commands);
        }
    }

    fn take_forwarded(&mut self, leads: bool, origin: Member, command: &Bytes) -> ForwardOutcome {
        if !leads {
            return ForwardOutcome::NotLeader;
        }
        if self.command_too_large(command).is_some() {
            return ForwardOutcome::Busy;
        }
        match self.quota_for(command.len() as u64) {
            None => {
                let id = self.append_own(Payload::Command(command.clone()));
                self.tell_commit(origin, id.index);
                ForwardOutcome::Appended(id.index)
            }
            Some(Rejection::StorageFull) => ForwardOutcome::StorageFull,
            Some(Rejection::Transferring) => ForwardOutcome::Transferring,
            Some(
                Rejection::Busy(_)
                | Rejection::NotLeader { .. }
                | Rejection::TooLarge { .. }
                | Rejection::OwnStorageFull
                | Rejection::NoQuorum
                | Rejection::Change(_)
                | Rejection::Transfer(_)
                | Rejection::Identity(_)
                | Rejection::Halted,
            ) => ForwardOutcome::Busy,
        }
    }

    pub(super) fn on_forward_proposals_reply(
        &mut self,
        envelope: &Envelope,
        outcomes: &[ForwardOutcome],
    ) {
        let (from, session) = (envelope.from.member, envelope.session);
        let forwards = self.requests.made().map(|requests| &mut requests.forwards);
        let answered = forwards.and_then(|forwards| {
            forwards.sent.answered(from, session, |count| {
                count == outcomes.len() && are_ascending(outcomes)
            })
        });
        let Some(sent) = answered else {
            self.refuse(from, Refusal::StaleSession);
            return;
        };
        // Nothing that was proposed later is with another leader yet.
        let latest = sent.term >= self.counted().handed_in;
        let takes_back = latest && self.requests.forwards.takes_back(session.counter);
        let mut commands = sent.commands.into_iter();
        let mut returned = Vec::new();
        for (request, outcome) in sent.requests.into_iter().zip(outcomes) {
            let command = commands.next();
            let rejection = match outcome {
                ForwardOutcome::Appended(index) => {
                    let id = EntryId {
                        term: sent.term,
                        index: *index,
                    };
                    self.proposals.push(id, request, sent.deadline);
                    continue;
                }
                ForwardOutcome::NotLeader => {
                    match command.filter(|_| takes_back) {
                        Some(command) => returned.push(Unsent {
                            request,
                            command,
                            deadline: sent.deadline,
                        }),
                        None => self.resolve(request, self.not_leader()),
                    }
                    continue;
                }
                ForwardOutcome::Busy => Rejection::Busy(Quota::Leader),
                ForwardOutcome::StorageFull => Rejection::StorageFull,
                ForwardOutcome::Transferring => Rejection::Transferring,
            };
            self.resolve(request, Outcome::Rejected(rejection));
        }
        if !returned.is_empty() {
            self.requests
                .make()
                .forwards
                .put_back(session.counter, returned);
            self.leader_resigned(from, sent.term);
        }
    }

    /// What was forwarded in terms before this one waits a moment longer for its answer.
    pub(super) fn shorten_forwards(&mut self, before: Term) {
        let soon = self.now + self.options.election_timeout;
        if let Some(requests) = self.requests.made() {
            requests.forwards.sent.shorten(before, soon);
        }
    }

    /// Gives up waiting where the time is over.
    pub(super) fn expire_forwards(&mut self) {
        let now = self.now;
        while let Some(requests) = self.requests.made()
            && let Some(expired) = requests.forwards.sent.expired(now)
        {
            for request in expired {
                self.resolve(request, Outcome::Unknown);
            }
        }
        let outcome = self.unserved();
        while let Some(requests) = self.requests.made()
            && let Some(unsent) = requests.forwards.pop_expired(now)
        {
            self.resolve(unsent.request, outcome);
        }
    }

    /// The leaders that were asked know this node no longer.
    pub(super) fn leave_proposals(&mut self) {
        let Some(requests) = self.requests.made() else {
            return;
        };
        for request in requests.forwards.sent.take_all() {
            self.resolve(request, Outcome::Unknown);
        }
    }

    pub(super) fn fail_forwards(&mut self) {
        self.leave_proposals();
        self.refuse_outgoing(Outcome::Rejected(Rejection::Halted));
    }
}

/// Whether each entry lies above the one before: two proposals never are one entry.
fn are_ascending(outcomes: &[ForwardOutcome]) -> bool {
    let mut last = Index(0);
    outcomes.iter().all(|outcome| match outcome {
        ForwardOutcome::Appended(index) => {
            let above = *index > last;
            last = *index;
            above
        }
        ForwardOutcome::NotLeader
        | ForwardOutcome::Busy
        | ForwardOutcome::StorageFull
        | ForwardOutcome::Transferring => true,
    })
}
