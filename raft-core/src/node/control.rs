//! Requests to the leader itself, from any node: changes of membership, transfers, stepping down.
//!
//! Always holds: each takes effect at most once, however often its message arrives; a node that does not
//! lead hands it on once, and never a second time.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::action::{Outcome, Quota, Refusal, Rejection};
use crate::message::{Body, Control, ControlOutcome, Envelope, Session};
use crate::types::{Index, Member, RequestId, Span, Term, Time};

use super::reads::Reader as Asker;
use super::{Node, Role};

/// Control requests of this node on their way through a leader.
#[derive(Clone, Debug, Default)]
pub(super) struct Controls {
    sent: BTreeMap<u64, SentControl>,
}

/// A request without an answer. There are few of them, each with a deadline of its own.
#[derive(Clone, Copy, Debug)]
struct SentControl {
    leader: Member,
    term: Term,
    request: RequestId,
    deadline: Time,
}

impl Controls {
    pub(super) const fn new() -> Self {
        Self {
            sent: BTreeMap::new(),
        }
    }

    pub(super) fn is_nothing(&self) -> bool {
        self.sent.is_empty()
    }

    pub(super) fn next_deadline(&self) -> Option<Time> {
        self.sent.values().map(|sent| sent.deadline).min()
    }

    /// Takes out the requests of which something is true.
    fn take(&mut self, which: impl Fn(&SentControl) -> bool) -> Vec<RequestId> {
        let sent = core::mem::take(&mut self.sent).into_iter();
        let (taken, left): (BTreeMap<_, _>, _) = sent.partition(|(_, sent)| which(sent));
        self.sent = left;
        taken.into_values().map(|sent| sent.request).collect()
    }
}

impl Node {
    pub(super) fn on_control(&mut self, request: RequestId, control: Control) {
        if !self.admit(request) {
            return;
        }
        match &self.role {
            Role::Leader(_) => self.take_control(Asker::Local(request), control),
            Role::Follower(follower) => match follower.leader {
                Some(leader) => self.forward_control(leader, request, control),
                None => self.resolve_not_leader(request),
            },
            Role::PreCandidate(_) | Role::Candidate(_) => self.resolve_not_leader(request),
        }
    }

    fn resolve_not_leader(&mut self, request: RequestId) {
        let outcome = self.not_leader();
        self.resolve(request, outcome);
    }

    fn forward_control(&mut self, leader: Member, request: RequestId, control: Control) {
        let patience = match &control {
            Control::ChangeMembership(_) => self.change_patience(),
            Control::TransferLeadership { .. } | Control::StepDown => Span(0),
        };
        let deadline = self.request_deadline() + patience;
        let term = self.hard_state.term;
        let counted = self.counted();
        counted.controls += 1;
        let counter = counted.controls;
        let sent = SentControl {
            leader,
            term,
            request,
            deadline,
        };
        self.requests.make().controls.sent.insert(counter, sent);
        let session = Session {
            term,
            added: Index(0),
            counter,
        };
        self.send(leader, session, Body::ForwardControl { control });
    }

    pub(super) fn on_forward_control(&mut self, envelope: &Envelope, control: &Control) {
        let (origin, session) = (envelope.from.member, envelope.session);
        let led = self.has_led(session.term);
        if !led || !self.configuration().contains(origin) {
            self.refuse(origin, Refusal::StaleSession);
            return;
        }
        let seen = &mut self.counted().controls_seen;
        if !seen.accept(origin, envelope.boot, session.counter) {
            return;
        }
        let asker = Asker::Peer(origin, session);
        let leads = matches!(self.role, Role::Leader(_)) && self.hard_state.term == session.term;
        if leads {
            self.take_control(asker, control.clone());
        } else {
            self.finish_control(asker, ControlOutcome::NotLeader);
        }
    }

    fn take_control(&mut self, asker: Asker, control: Control) {
        match control {
            Control::ChangeMembership(change) => self.begin_change(asker, &change),
            Control::TransferLeadership { to } => self.transfer_asked(asker, to),
            Control::StepDown => self.step_down_asked(asker),
        }
    }

    /// Tells whoever asked how it ended.
    pub(super) fn finish_control(&mut self, asker: Asker, outcome: ControlOutcome) {
        match asker {
            Asker::Local(request) => {
                let outcome = self.control_outcome(outcome);
                self.resolve(request, outcome);
            }
            Asker::Peer(member, session) => {
                self.send(member, session, Body::ForwardControlReply { outcome });
            }
        }
    }

    /// Likewise, for what the leader may have begun by itself.
    pub(super) fn finish_asked(&mut self, asker: Option<Asker>, outcome: ControlOutcome) {
        if let Some(asker) = asker {
            self.finish_control(asker, outcome);
        }
    }

    fn control_outcome(&self, outcome: ControlOutcome) -> Outcome {
        match outcome {
            ControlOutcome::Changed(id) => Outcome::Changed(id),
            ControlOutcome::Transferred(term) => Outcome::Transferred(term),
            ControlOutcome::ChangeRefused(refusal) => Outcome::Rejected(Rejection::Change(refusal)),
            ControlOutcome::TransferRefused(refusal) => {
                Outcome::Rejected(Rejection::Transfer(refusal))
            }
            ControlOutcome::NotLeader => self.not_leader(),
            ControlOutcome::Busy => Outcome::Rejected(Rejection::Busy(Quota::Leader)),
            ControlOutcome::Unknown => Outcome::Unknown,
        }
    }

    pub(super) fn on_forward_control_reply(
        &mut self,
        envelope: &Envelope,
        outcome: ControlOutcome,
    ) {
        let (from, session) = (envelope.from.member, envelope.session);
        let sent = self.requests.controls.sent.get(&session.counter);
        let Some(sent) = sent.filter(|sent| sent.leader == from && sent.term == session.term)
        else {
            self.refuse(from, Refusal::StaleSession);
            return;
        };
        let request = sent.request;
        self.requests.make().controls.sent.remove(&session.counter);
        let outcome = self.control_outcome(outcome);
        self.resolve(request, outcome);
    }

    /// A new leader is known: an answer of the old one is worth only a short wait.
    pub(super) fn shorten_controls(&mut self) {
        let (term, soon) = (
            self.hard_state.term,
            self.now + self.options.election_timeout,
        );
        let Some(requests) = self.requests.made() else {
            return;
        };
        for sent in requests.controls.sent.values_mut() {
            if sent.term < term {
                sent.deadline = sent.deadline.min(soon);
            }
        }
    }

    pub(super) fn expire_controls(&mut self) {
        let now = self.now;
        if let Some(requests) = self.requests.made()
            && requests
                .controls
                .next_deadline()
                .is_some_and(|due| due <= now)
        {
            for request in requests.controls.take(|sent| sent.deadline <= now) {
                self.resolve(request, Outcome::Unknown);
            }
        }
    }

    /// Nobody will answer any more.
    pub(super) fn fail_controls(&mut self) {
        let Some(requests) = self.requests.made() else {
            return;
        };
        for request in requests.controls.take(|_| true) {
            self.resolve(request, Outcome::Unknown);
        }
    }
}
