//! Proposals: from a caller or another node to one outcome each (P3).
//!
//! Always holds: a proposal is rejected only if its entry was never appended and never will be;
//! whatever cannot be known is reported as unknown.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use bytes::Bytes;

use crate::action::{Outcome, Quota, Refusal, Rejection};
use crate::entry::{OVERHEAD_BYTES, Payload};
use crate::forward_window::ForwardWindow;
use crate::message::{Body, Envelope, ForwardOutcome};
use crate::planted::{Bug, planted};
use crate::proposal_queue::Decided;
use crate::sent_requests::{Sent, SentRequests};
use crate::types::{Boot, EntryId, Index, Member, RequestId, Term, Time};

use super::{Node, Role};

/// Proposals of this node on their way through a leader.
#[derive(Clone, Debug)]
pub(super) struct Forwards {
    /// Not sent yet: what one drain sends goes together.
    outgoing: Vec<(RequestId, Bytes)>,
    sent: SentRequests,
}

impl Forwards {
    pub(super) const fn new(boot: Boot) -> Self {
        Self {
            outgoing: Vec::new(),
            sent: SentRequests::new(boot),
        }
    }

    pub(super) fn next_deadline(&self) -> Option<Time> {
        self.sent.next_deadline()
    }
}

/// What a leader remembers of forwarded messages, so that none takes effect twice.
///
/// Kept beyond the end of the leadership, because only with it can a repeated message be told from
/// one that was never taken.
#[derive(Clone, Debug, Default)]
pub(super) struct ForwardWindows {
    /// The last term this node led in this life.
    led: Option<Term>,
    seen: BTreeMap<(Member, Boot), ForwardWindow>,
}

impl ForwardWindows {
    pub(super) fn begin(&mut self, term: Term) {
        self.led = Some(term);
        self.seen.clear();
    }

    /// Whether this node leads that term in this life, or led it last.
    pub(super) fn has_led(&self, term: Term) -> bool {
        self.led == Some(term)
    }

    /// Takes note of a message; true if it was not seen before.
    pub(super) fn accept(&mut self, origin: Member, boot: Boot, number: u64) -> bool {
        if !self.seen.contains_key(&(origin, boot)) {
            self.seen.retain(|(member, _), _| *member != origin);
        }
        let window = self.seen.entry((origin, boot)).or_default();
        window.accept(number)
    }
}

impl Node {
    pub(super) fn on_propose(&mut self, request: RequestId, command: Bytes) {
        if !self.admit(request) {
            return;
        }
        if let Some(rejection) = self.command_too_large(&command) {
            self.resolve(request, Outcome::Rejected(rejection));
            return;
        }
        match &self.role {
            Role::Leader(_) => {
                if let Some(refused) = self.quota_for(command.len() as u64) {
                    self.resolve(request, Outcome::Rejected(refused));
                    return;
                }
                let id = self.append_own(Payload::Command(command));
                if planted(Bug::AckAtAppend) {
                    self.resolve(request, Outcome::Committed(id));
                    return;
                }
                let deadline = self.request_deadline();
                self.proposals.push(id, request, deadline);
            }
            // Its entry would find no room here, and so the state machine could not answer.
            Role::Follower(_) if self.storage_full => {
                self.resolve(request, Outcome::Rejected(Rejection::OwnStorageFull));
            }
            Role::Follower(follower) if follower.leader.is_some() => {
                self.forwards.outgoing.push((request, command));
            }
            Role::Follower(_) | Role::PreCandidate(_) | Role::Candidate(_) => {
                let outcome = self.not_leader();
                self.resolve(request, outcome);
            }
        }
    }

    /// Appends a command that nobody waits for, if this node leads and has room for it.
    pub(crate) fn append_unasked(&mut self, at: Time, command: Bytes) -> Option<EntryId> {
        if self.halted.is_some() || !matches!(self.role, Role::Leader(_)) {
            return None;
        }
        self.now = self.now.max(at);
        if self.quota_for(command.len() as u64).is_some() {
            return None;
        }
        Some(self.append_own(Payload::Command(command)))
    }

    /// Why a leader cannot take a command of this size now; one may always go.
    fn quota_for(&self, bytes: u64) -> Option<Rejection> {
        let Role::Leader(leader) = &self.role else {
            return None;
        };
        // Whoever hands over because the disk is full says so: the next leader has room.
        let transferring = self.refused_for_transfer();
        if transferring.is_some() {
            return transferring;
        }
        if self.storage_full {
            return Some(Rejection::StorageFull);
        }
        if self.log.undurable_bytes() >= self.options.undurable_bytes_max {
            return Some(Rejection::Busy(Quota::UndurableBytes));
        }
        let uncommitted = leader.uncommitted_bytes;
        let wanted = uncommitted.saturating_add(bytes + OVERHEAD_BYTES);
        (uncommitted > 0 && wanted > self.options.uncommitted_bytes_max)
            .then_some(Rejection::Busy(Quota::UncommittedBytes))
    }

    /// Hands what was collected to the leader, in as few messages as the bounds allow.
    pub(super) fn flush_forwards(&mut self) {
        if self.forwards.outgoing.is_empty() {
            return;
        }
        let outgoing = core::mem::take(&mut self.forwards.outgoing);
        let leader = match &self.role {
            Role::Follower(_) => self.leader_that_answers(),
            // Nothing was sent yet, so what was collected before winning can still be appended here.
            Role::Leader(_) => {
                self.pending_requests -= u32::try_from(outgoing.len()).unwrap_or(u32::MAX);
                for (request, command) in outgoing {
                    self.on_propose(request, command);
                }
                return;
            }
            Role::PreCandidate(_) | Role::Candidate(_) => None,
        };
        let Some(leader) = leader else {
            for (request, _) in outgoing {
                let outcome = self.not_leader();
                self.resolve(request, outcome);
            }
            return;
        };
        let (mut requests, mut commands, mut bytes) = (Vec::new(), Vec::new(), 0);
        for (request, command) in outgoing {
            let size = command.len() as u64;
            if !commands.is_empty() && bytes + size > self.options.append_bytes_max {
                self.forward(
                    leader,
                    core::mem::take(&mut requests),
                    core::mem::take(&mut commands),
                );
                bytes = 0;
            }
            bytes += size;
            requests.push(request);
            commands.push(command);
        }
        self.forward(leader, requests, commands);
    }

    fn forward(&mut self, leader: Member, requests: Vec<RequestId>, commands: Vec<Bytes>) {
        let session = self.forwards.sent.send(Sent {
            leader,
            term: self.hard_state.term,
            requests,
            deadline: self.request_deadline(),
        });
        self.send(leader, session, Body::ForwardProposals { commands });
    }

    pub(super) fn on_forward_proposals(&mut self, envelope: &Envelope, commands: &[Bytes]) {
        let origin = envelope.from.member;
        let session = envelope.session;
        let led = self.forward_windows.has_led(session.term);
        if !led || !self.configuration().contains(origin) {
            // Whether it was taken before a restart, nobody knows: no answer is the true answer.
            self.refuse(origin, Refusal::StaleSession);
            return;
        }
        let windows = &mut self.forward_windows;
        let new = windows.accept(origin, envelope.boot, session.counter);
        if !new && !planted(Bug::ForwardTwice) {
            return;
        }
        let leads = matches!(self.role, Role::Leader(_)) && self.hard_state.term == session.term;
        let mut outcomes = Vec::with_capacity(commands.len());
        for command in commands {
            outcomes.push(self.take_forwarded(leads, origin, command));
        }
        self.send(origin, session, Body::ForwardProposalsReply { outcomes });
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
        let from = envelope.from.member;
        let answered = self
            .forwards
            .sent
            .answered(from, envelope.session, |count| {
                count == outcomes.len() && are_ascending(outcomes)
            });
        let Some(sent) = answered else {
            self.refuse(from, Refusal::StaleSession);
            return;
        };
        for (request, outcome) in sent.requests.into_iter().zip(outcomes) {
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
                    let outcome = self.not_leader();
                    self.resolve(request, outcome);
                    continue;
                }
                ForwardOutcome::Busy => Rejection::Busy(Quota::Leader),
                ForwardOutcome::StorageFull => Rejection::StorageFull,
                ForwardOutcome::Transferring => Rejection::Transferring,
            };
            self.resolve(request, Outcome::Rejected(rejection));
        }
    }

    /// Tells proposals what became of them, as far as the log is committed.
    pub(super) fn resolve_decided(&mut self) {
        let Some(term) = self.log.term(self.commit_index) else {
            return;
        };
        let committed = EntryId {
            term,
            index: self.commit_index,
        };
        loop {
            let (log, base) = (&self.log, self.log.base());
            let next = self
                .proposals
                .decided(committed, base, |index| log.term(index));
            let Some((request, id, decided)) = next else {
                break;
            };
            if decided == Decided::Superseded && planted(Bug::StrandedWaiter) {
                continue;
            }
            let outcome = match decided {
                Decided::Committed => Outcome::Committed(id),
                Decided::Superseded => Outcome::Superseded(id),
                Decided::Unknown => Outcome::Unknown,
            };
            self.resolve(request, outcome);
        }
    }

    /// A new leader is known. Reads asked of an earlier one are asked again; what became of proposals
    /// is worth only a short wait for an answer that is still on its way.
    pub(super) fn redirect_requests(&mut self) {
        let term = self.hard_state.term;
        self.shorten_forwards(term);
        self.shorten_controls();
        self.ask_reads_again(term);
    }

    /// What was forwarded in terms before this one waits a moment longer for its answer.
    pub(super) fn shorten_forwards(&mut self, before: Term) {
        let soon = self.now + self.options.election_timeout;
        self.forwards.sent.shorten(before, soon);
    }

    /// Gives up waiting where the time is over.
    pub(super) fn expire_requests(&mut self) {
        let now = self.now;
        while let Some(request) = self.proposals.expired(now) {
            self.resolve(request, Outcome::Unknown);
        }
        while let Some(requests) = self.forwards.sent.expired(now) {
            for request in requests {
                self.resolve(request, Outcome::Unknown);
            }
        }
        self.expire_reads();
        self.expire_controls();
    }

    /// The leaders that were asked know this node no longer.
    pub(super) fn leave_proposals(&mut self) {
        for request in self.forwards.sent.take_all() {
            self.resolve(request, Outcome::Unknown);
        }
    }

    /// The node halts: every request gets the outcome that is true whatever happens elsewhere.
    pub(super) fn fail_requests(&mut self) {
        while let Some(request) = self.proposals.pop() {
            self.resolve(request, Outcome::Unknown);
        }
        for request in self.forwards.sent.take_all() {
            self.resolve(request, Outcome::Unknown);
        }
        for (request, _) in core::mem::take(&mut self.forwards.outgoing) {
            self.resolve(request, Outcome::Rejected(Rejection::Halted));
        }
        self.fail_reads();
        self.fail_controls();
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
