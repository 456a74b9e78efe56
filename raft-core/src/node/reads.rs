//! Linearizable reads without a log entry (dissertation §6.4).
//!
//! Always holds: a read is answered at an index that covers the leader's first entry of its term
//! (S37), and only after a round that began later was answered by a majority (S38), or while the leader
//! has a lease where that was asked for.

use alloc::vec::Vec;

use crate::action::{Outcome, Refusal, Rejection};
use crate::event::Consistency;
use crate::message::{Body, Envelope, Session};
use crate::planted::{Bug, planted};
use crate::rare::Rare;
use crate::read_queue::ReadQueue;
use crate::sent_requests::{Sent, SentRequests};
use crate::types::{Index, Member, RequestId, Round, Term, Time};

use super::{Node, Role};

/// Who waits for a read index at a leader.
#[derive(Clone, Copy, Debug)]
pub(super) enum Reader {
    /// A caller of this node.
    Local(RequestId),
    /// Another node, in this exchange.
    Peer(Member, Session),
}

/// Reads of this node on their way through a leader.
#[derive(Clone, Debug, Default)]
pub(super) struct ReadForwards {
    /// Not sent yet: what one drain sends is one question.
    outgoing: Vec<RequestId>,
    /// Likewise, for those that a lease may answer.
    outgoing_lease: Vec<RequestId>,
    /// When the first of those gives up that were asked of an earlier leader.
    oldest: Option<Time>,
    sent: SentRequests,
}

impl ReadForwards {
    pub(super) const fn new() -> Self {
        Self {
            outgoing: Vec::new(),
            outgoing_lease: Vec::new(),
            oldest: None,
            sent: SentRequests::new(),
        }
    }

    pub(super) fn is_nothing(&self) -> bool {
        !self.is_waiting() && self.oldest.is_none() && self.sent.is_empty()
    }

    pub(super) fn next_deadline(&self) -> Option<Time> {
        let waiting = self.oldest.filter(|_| self.is_waiting());
        self.sent.next_deadline().into_iter().chain(waiting).min()
    }

    pub(super) fn is_waiting(&self) -> bool {
        !self.outgoing.is_empty() || !self.outgoing_lease.is_empty()
    }

    /// Reads that are worth an answer until `deadline` are asked once more.
    fn put_back(&mut self, requests: impl IntoIterator<Item = RequestId>, deadline: Time) {
        self.outgoing.extend(requests);
        self.oldest = Some(self.oldest.map_or(deadline, |oldest| oldest.min(deadline)));
    }

    /// Nobody can be asked yet, and whoever will lead has no lease to speak of; `deadline` is when what was
    /// asked for just now gives up.
    fn wait(&mut self, deadline: Time) {
        let lease = core::mem::take(&mut self.outgoing_lease);
        self.put_back(lease, deadline);
    }
}

impl Node {
    pub(super) fn on_read(&mut self, request: RequestId, consistency: Consistency) {
        if !self.admit(request) {
            return;
        }
        let deadline = self.request_deadline();
        if planted(Bug::LocalRead) && matches!(self.role, Role::Leader(_)) {
            self.resolve(request, Outcome::ReadReady(self.commit_index));
            return;
        }
        if self.may_answer_now(consistency) {
            self.answer_read(Reader::Local(request), self.commit_index);
            return;
        }
        match &mut self.role {
            Role::Leader(leader) => leader.reads.make().push(Reader::Local(request), deadline),
            Role::Follower(_) | Role::PreCandidate(_) | Role::Candidate(_) => match consistency {
                Consistency::Linearizable => self.requests.make().reads.outgoing.push(request),
                Consistency::Lease => self.requests.make().reads.outgoing_lease.push(request),
            },
        }
    }

    /// Whether a read was handed to no leader yet.
    pub(super) fn is_read_waiting(&self) -> bool {
        let requests = self.requests.get();
        requests.is_some_and(|requests| requests.reads.is_waiting())
    }

    /// Begins rounds, asks the leader, and answers what is confirmed.
    pub(super) fn flush_reads(&mut self) {
        if self.is_read_waiting() {
            self.flush_read_forwards();
        }
        if matches!(&self.role, Role::Leader(leader) if leader.reads.needs_round()) {
            self.broadcast_heartbeat();
        }
        self.answer_confirmed_reads();
    }

    fn flush_read_forwards(&mut self) {
        let leads = matches!(self.role, Role::Leader(_));
        if !leads && self.leader_for_reads().is_none() && self.awaits_leader() {
            let deadline = self.request_deadline();
            self.requests.make().reads.wait(deadline);
            return;
        }
        let forwards = &mut self.requests.make().reads;
        let oldest = forwards.oldest.take();
        let linearizable = core::mem::take(&mut forwards.outgoing);
        let lease = core::mem::take(&mut forwards.outgoing_lease);
        self.forward_reads(linearizable, Consistency::Linearizable, oldest);
        self.forward_reads(lease, Consistency::Lease, None);
    }

    fn may_answer_now(&self, consistency: Consistency) -> bool {
        match consistency {
            Consistency::Linearizable => false,
            Consistency::Lease => self.has_lease(),
        }
    }

    /// Hands reads to the leader; `oldest` is when the first of those gives up that were asked before.
    fn forward_reads(
        &mut self,
        requests: Vec<RequestId>,
        consistency: Consistency,
        oldest: Option<Time>,
    ) {
        if requests.is_empty() {
            return;
        }
        let latest = self.request_deadline();
        let deadline = oldest.map_or(latest, |oldest| oldest.min(latest));
        let answers = self.leader_for_reads();
        let leader = match &mut self.role {
            Role::Follower(_) => answers,
            Role::Leader(leader) => {
                for request in requests {
                    leader.reads.make().push(Reader::Local(request), deadline);
                }
                return;
            }
            Role::PreCandidate(_) | Role::Candidate(_) => None,
        };
        let Some(leader) = leader else {
            for request in requests {
                let outcome = self.not_leader();
                self.resolve(request, outcome);
            }
            return;
        };
        let sent = Sent {
            leader,
            term: self.hard_state.term,
            requests,
            commands: Vec::new(),
            deadline,
        };
        let counted = self.counted();
        counted.reads += 1;
        let number = counted.reads;
        let session = self.requests.make().reads.sent.send(number, sent);
        self.send(leader, session, Body::ForwardRead { consistency });
    }

    fn answer_confirmed_reads(&mut self) {
        let Role::Leader(leader) = &self.role else {
            return;
        };
        if leader.reads.len() == 0 {
            return;
        }
        let (me, latest, committed) = (self.me(), leader.round, self.commit_index);
        let confirmed = self.configuration().reached(|member| {
            if member == me {
                latest
            } else {
                leader.peers.get(member).map_or(Round(0), |peer| peer.round)
            }
        });
        let Some(mut confirmed) = confirmed else {
            return;
        };
        if planted(Bug::ReadBeforeRound) {
            confirmed = latest;
        }
        if planted(Bug::AckMiscount) {
            let answered = leader.peers.values().map(|peer| peer.round);
            confirmed = answered.max().unwrap_or(confirmed);
        }
        while let Role::Leader(leader) = &mut self.role
            && let Some(reads) = leader.reads.made()
            && let Some((index, readers)) = reads.confirmed(confirmed, committed)
        {
            for reader in readers {
                self.answer_read(reader, index);
            }
        }
    }

    fn answer_read(&mut self, reader: Reader, index: Index) {
        match reader {
            Reader::Local(request) => self.resolve(request, Outcome::ReadReady(index)),
            Reader::Peer(member, session) => {
                // It may read once it has applied so much, so it must hear of it.
                self.tell_commit(member, index);
                let index = Some(index);
                self.send(member, session, Body::ForwardReadReply { index });
            }
        }
    }

    pub(super) fn on_forward_read(&mut self, envelope: &Envelope, consistency: Consistency) {
        let (origin, session) = (envelope.from.member, envelope.session);
        if !self.configuration().contains(origin) {
            self.refuse(origin, Refusal::StaleSession);
            return;
        }
        if session.term == self.hard_state.term && self.may_answer_now(consistency) {
            self.answer_read(Reader::Peer(origin, session), self.commit_index);
            return;
        }
        let requests_max = self.options.requests_max as usize;
        let deadline = self.request_deadline();
        match &mut self.role {
            Role::Leader(leader)
                if session.term == self.hard_state.term && leader.reads.len() < requests_max =>
            {
                leader
                    .reads
                    .make()
                    .push(Reader::Peer(origin, session), deadline);
            }
            Role::Leader(_) | Role::Follower(_) | Role::PreCandidate(_) | Role::Candidate(_) => {
                self.send(origin, session, Body::ForwardReadReply { index: None });
            }
        }
    }

    pub(super) fn on_forward_read_reply(&mut self, envelope: &Envelope, index: Option<Index>) {
        let from = envelope.from.member;
        let requests = self.requests.made();
        let sent = requests.and_then(|requests| {
            requests
                .reads
                .sent
                .answered(from, envelope.session, |_| true)
        });
        let Some(sent) = sent else {
            self.refuse(from, Refusal::StaleSession);
            return;
        };
        let Some(index) = index else {
            let reads = &mut self.requests.make().reads;
            reads.put_back(sent.requests, sent.deadline);
            self.leader_returned_read(from, sent.term);
            return;
        };
        for request in sent.requests {
            self.resolve(request, Outcome::ReadReady(index));
        }
    }

    /// Leadership is over: the next leader can confirm these.
    pub(super) fn end_reads(&mut self, reads: Rare<ReadQueue<Reader>>) {
        let Some(deadline) = reads.next_deadline() else {
            return;
        };
        let rest = reads.into_made().map(ReadQueue::into_rest);
        for reader in rest.into_iter().flatten() {
            match reader {
                Reader::Local(request) => {
                    self.requests.make().reads.put_back([request], deadline);
                }
                Reader::Peer(member, session) => {
                    self.send(member, session, Body::ForwardReadReply { index: None });
                }
            }
        }
    }

    /// The leader is heard: what was lost on the way to it is asked again.
    pub(super) fn ask_lost_reads(&mut self) {
        if core::mem::take(&mut self.asked_in_vain) {
            self.ask_reads_again(self.hard_state.term.next());
        }
    }

    /// What leaders of terms before this one were asked; any other has no lease to speak of yet.
    pub(super) fn ask_reads_again(&mut self, before: Term) {
        let Some(requests) = self.requests.made() else {
            return;
        };
        let forwards = &mut requests.reads;
        let earlier = forwards.sent.take_back(before);
        for sent in earlier {
            forwards.put_back(sent.requests, sent.deadline);
        }
    }

    pub(super) fn expire_reads(&mut self) {
        let now = self.now;
        while let Role::Leader(leader) = &mut self.role
            && let Some(reads) = leader.reads.made()
            && let Some(readers) = reads.expired(now)
        {
            for reader in readers {
                // Another node's question has a deadline there.
                if let Reader::Local(request) = reader {
                    self.resolve(request, Outcome::Rejected(Rejection::NoQuorum));
                }
            }
        }
        while let Some(requests) = self.requests.made()
            && let Some(expired) = requests.reads.sent.expired(now)
        {
            for request in expired {
                self.resolve(request, Outcome::Rejected(Rejection::NoQuorum));
            }
        }
        let Some(requests) = self.requests.made() else {
            return;
        };
        let reads = &mut requests.reads;
        if reads.oldest.take_if(|due| *due <= now).is_some() {
            for request in core::mem::take(&mut reads.outgoing) {
                self.resolve(request, Outcome::Rejected(Rejection::NoQuorum));
            }
        }
    }

    /// The leaders that were asked know this node no longer.
    pub(super) fn leave_reads(&mut self) {
        if let Some(requests) = self.requests.made() {
            let asked = requests.reads.sent.take_all();
            requests.reads.outgoing.extend(asked);
        }
    }

    pub(super) fn fail_reads(&mut self) {
        let Some(requests) = self.requests.made() else {
            return;
        };
        let asked = requests.reads.sent.take_all();
        let outgoing = core::mem::take(&mut requests.reads.outgoing);
        let lease = core::mem::take(&mut requests.reads.outgoing_lease);
        for request in asked.chain(outgoing).chain(lease) {
            self.resolve(request, Outcome::Rejected(Rejection::Halted));
        }
    }
}
