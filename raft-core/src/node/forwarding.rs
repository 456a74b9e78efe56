//! Proposals on their way through a leader: from this node to another one, and from others to this one.
//!
//! Always holds: what is not handed to a leader yet was never appended, so it can be handed to any, or be
//! refused. It waits in the order in which it came, and what a leader gives back goes first or not at all,
//! so that nothing overtakes what was proposed before it.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;

use bytes::Bytes;

use crate::action::{Outcome, Quota, Refusal, Rejection};
use crate::entry::{OVERHEAD_BYTES, Payload};
use crate::forward_window::ForwardWindow;
use crate::message::{Body, Envelope, ForwardOutcome, Session};
use crate::options::Options;
use crate::planted::{Bug, planted};
use crate::sent_requests::{Sent, SentRequests, bytes_of};
use crate::types::{Boot, EntryId, Index, Member, RequestId, Term, Time};

use super::{Node, Role};

/// A proposal that no leader was handed yet.
#[derive(Clone, Debug)]
pub(super) struct Unsent {
    pub(super) request: RequestId,
    pub(super) command: Bytes,
    pub(super) deadline: Time,
}

impl Unsent {
    const fn bytes(&self) -> u64 {
        self.command.len() as u64 + OVERHEAD_BYTES
    }
}

/// Proposals of this node on their way through a leader.
#[derive(Clone, Debug)]
pub(super) struct Forwards {
    /// Not sent yet: what one drain sends goes together.
    outgoing: VecDeque<Unsent>,
    outgoing_bytes: u64,
    /// How many of them, at the front, a leader gave back.
    returned: usize,
    /// The message that the last of those was in.
    returned_in: u64,
    /// The term of the leader that was handed something last.
    handed_in: Term,
    sent: SentRequests,
}

impl Forwards {
    pub(super) const fn new(boot: Boot) -> Self {
        Self {
            outgoing: VecDeque::new(),
            outgoing_bytes: 0,
            returned: 0,
            returned_in: 0,
            handed_in: Term(0),
            sent: SentRequests::new(boot),
        }
    }

    pub(super) fn next_deadline(&self) -> Option<Time> {
        let waiting = self.outgoing.front().map(|unsent| unsent.deadline);
        self.sent.next_deadline().into_iter().chain(waiting).min()
    }

    pub(super) fn is_waiting(&self) -> bool {
        !self.outgoing.is_empty()
    }

    pub(super) fn push(&mut self, unsent: Unsent) {
        self.outgoing_bytes += unsent.bytes();
        self.outgoing.push_back(unsent);
    }

    /// A leader of `term` is handed something.
    pub(super) const fn handed(&mut self, term: Term) {
        self.handed_in = term;
    }

    fn pop(&mut self) -> Option<Unsent> {
        let unsent = self.outgoing.pop_front()?;
        self.outgoing_bytes -= unsent.bytes();
        self.returned = self.returned.saturating_sub(1);
        Some(unsent)
    }

    /// The newest, if there is more than may wait.
    fn pop_beyond(&mut self, bytes_max: u64) -> Option<Unsent> {
        if self.outgoing_bytes <= bytes_max {
            return None;
        }
        let unsent = self.outgoing.pop_back()?;
        self.outgoing_bytes -= unsent.bytes();
        self.returned = self.returned.min(self.outgoing.len());
        Some(unsent)
    }

    /// The next one whose time is up before it was sent.
    fn pop_expired(&mut self, now: Time) -> Option<Unsent> {
        let first = self.outgoing.front()?;
        if first.deadline > now {
            return None;
        }
        self.pop()
    }

    /// Whether what a leader of that term gives back, of that message, can still be handed to the next one
    /// without coming behind what was proposed after it.
    const fn takes_back(&self, term: Term, message: u64) -> bool {
        term.0 >= self.handed_in.0 && (self.returned == 0 || message > self.returned_in)
    }

    /// Puts what a leader gave back before everything else that waits.
    fn put_back(&mut self, message: u64, unsent: Vec<Unsent>) {
        self.returned_in = message;
        for unsent in unsent {
            self.outgoing_bytes += unsent.bytes();
            self.outgoing.insert(self.returned, unsent);
            self.returned += 1;
        }
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

/// Messages of others that a leader keeps while it hands over: it will go on, or give them back.
#[derive(Clone, Debug, Default)]
pub(super) struct HeldForwards {
    messages: VecDeque<Held>,
    bytes: u64,
}

#[derive(Clone, Debug)]
struct Held {
    origin: Member,
    session: Session,
    commands: Vec<Bytes>,
}

impl Held {
    fn bytes(&self) -> u64 {
        OVERHEAD_BYTES + bytes_of(&self.commands)
    }
}

impl HeldForwards {
    /// False if there is no room for it: each is to be answered when leadership ends.
    fn push(&mut self, held: Held, options: &Options) -> bool {
        let bytes = self.bytes.saturating_add(held.bytes());
        let full = self.messages.len() >= options.requests_max as usize;
        if full || bytes > options.uncommitted_bytes_max {
            return false;
        }
        self.bytes = bytes;
        self.messages.push_back(held);
        true
    }

    pub(super) fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    fn pop(&mut self) -> Option<Held> {
        let held = self.messages.pop_front()?;
        self.bytes -= held.bytes();
        Some(held)
    }
}

impl Node {
    /// Hands what was collected to whoever leads, in as few messages as the bounds allow.
    pub(super) fn flush_forwards(&mut self) {
        if !self.forwards.is_waiting() {
            return;
        }
        match &self.role {
            Role::Leader(_) if self.hands_over() => self.refuse_beyond(),
            Role::Leader(_) => {
                while let Some(unsent) = self.forwards.pop() {
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
        while let Some(unsent) = self.forwards.pop() {
            self.resolve(unsent.request, outcome);
        }
    }

    /// What waits takes no more memory than what a leader may have uncommitted.
    fn refuse_beyond(&mut self) {
        let outcome = self.unserved();
        while let Some(unsent) = self.forwards.pop_beyond(self.options.uncommitted_bytes_max) {
            self.resolve(unsent.request, outcome);
        }
    }

    fn forward_outgoing(&mut self, leader: Member) {
        let Some(first) = self.forwards.outgoing.front() else {
            return;
        };
        // The one that came first has the least time left.
        let deadline = first.deadline;
        let (mut requests, mut commands, mut bytes) = (Vec::new(), Vec::new(), 0);
        while let Some(unsent) = self.forwards.pop() {
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
        self.forwards.handed(term);
        let kept = self.forwards.sent.kept_bytes() + bytes_of(&commands);
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
        let session = self.forwards.sent.send(sent);
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
            if leader.held.push(held, &self.options) {
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
            && let Some(held) = leader.held.pop()
        {
            self.answer_forwarded(held.origin, held.session, &held.commands);
        }
    }

    /// Leadership is over: others get back what was kept for them.
    pub(super) fn give_back(&mut self, mut held: HeldForwards) {
        while let Some(held) = held.pop() {
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
        let answered = self.forwards.sent.answered(from, session, |count| {
            count == outcomes.len() && are_ascending(outcomes)
        });
        let Some(sent) = answered else {
            self.refuse(from, Refusal::StaleSession);
            return;
        };
        let takes_back = self.forwards.takes_back(sent.term, session.counter);
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
            self.forwards.put_back(session.counter, returned);
            self.leader_resigned(from, sent.term);
        }
    }

    /// What was forwarded in terms before this one waits a moment longer for its answer.
    pub(super) fn shorten_forwards(&mut self, before: Term) {
        let soon = self.now + self.options.election_timeout;
        self.forwards.sent.shorten(before, soon);
    }

    /// Gives up waiting where the time is over.
    pub(super) fn expire_forwards(&mut self) {
        let now = self.now;
        while let Some(requests) = self.forwards.sent.expired(now) {
            for request in requests {
                self.resolve(request, Outcome::Unknown);
            }
        }
        let outcome = self.unserved();
        while let Some(unsent) = self.forwards.pop_expired(now) {
            self.resolve(unsent.request, outcome);
        }
    }

    /// The leaders that were asked know this node no longer.
    pub(super) fn leave_proposals(&mut self) {
        for request in self.forwards.sent.take_all() {
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
