//! Leader election: §5.2, the voting restriction of §5.4.1, and pre-vote (dissertation §9.6).
//!
//! Read first: Figure 2, "RequestVote RPC".
//!
//! Always holds: one vote per term, durable before the reply leaves (S1); a candidate asks for votes,
//! and counts its own, only once its vote for itself is durable (S2).

use alloc::boxed::Box;
use alloc::collections::BTreeMap;

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

use crate::action::{Alert, HaltReason, Refusal};
use crate::message::{Body, Cause, Envelope, Session};
use crate::planted::{Bug, planted};
use crate::quorum::Tally;
use crate::types::{EntryId, Index, Member, NodeId, Span, Term, Time};

use super::follower::Follower;
use super::leader::Leader;
use super::{Action, Node, Role};

/// One attempt to become leader.
#[derive(Clone, Debug)]
pub(super) struct Campaign {
    pub(super) deadline: Time,
    /// Echoed by the answers that count.
    session: Session,
    ballots: BTreeMap<Member, bool>,
}

/// The share of an election timeout that chance adds: a pure function, so that no generator's state
/// has to be kept, compared or restored.
fn jitter(seed: u64, node: NodeId, term: Term, attempt: u64, below: Span) -> Span {
    let mut key = [0; 32];
    for (slot, word) in key.chunks_exact_mut(8).zip([seed, node.0, term.0, attempt]) {
        slot.copy_from_slice(&word.to_le_bytes());
    }
    Span(ChaCha8Rng::from_seed(key).next_u64() % below.0.max(1))
}

impl Node {
    /// Draws a new election timeout and returns when it ends.
    pub(super) fn draw_election_deadline(&mut self) -> Time {
        self.attempt += 1;
        let shortest = self.options.election_timeout;
        let chance = jitter(
            self.options.seed,
            self.me().node,
            self.hard_state.term,
            self.attempt,
            shortest,
        );
        self.timeout = Span(shortest.0 + chance.0);
        self.now + self.timeout
    }

    /// What this node is from now on; gives back what it was.
    fn change_role(&mut self, role: Role) -> Role {
        assert!(
            !matches!(
                (&self.role, &role),
                (Role::Leader(_), Role::PreCandidate(_) | Role::Candidate(_))
            ),
            "a leader follows before it campaigns"
        );
        let leader = self.leader();
        self.observed.note_leader(leader);
        core::mem::replace(&mut self.role, role)
    }

    /// Follows in `term`, which is the present one or a later one.
    pub(super) fn become_follower(&mut self, term: Term, leader: Option<Member>) {
        assert!(term >= self.hard_state.term, "the current term never falls");
        if matches!(self.role, Role::Leader(_)) {
            self.counted().led = Some(self.hard_state.term);
        }
        let newer = term > self.hard_state.term;
        if !newer && planted(Bug::SameTermClear) {
            self.hard_state.voted_for = None;
        }
        if newer {
            // The vote belongs to the old term; nobody has ours in the new one (S8).
            self.hard_state.term = term;
            self.hard_state.voted_for = None;
            self.persistence.forget_withheld();
            self.persistence.hard_state_changed();
        }
        // A follower's timer goes on running: only its leader or its own vote resets it (S20).
        let deadline = match &self.role {
            Role::Follower(follower) => follower.deadline,
            Role::PreCandidate(_) | Role::Candidate(_) | Role::Leader(_) => {
                self.draw_election_deadline()
            }
        };
        let mut follower = match &self.role {
            // What was learnt of the leader's log stays true as long as the leader leads.
            Role::Follower(follower) if !newer => follower.clone(),
            Role::Follower(_) | Role::PreCandidate(_) | Role::Candidate(_) | Role::Leader(_) => {
                Follower::new(deadline)
            }
        };
        follower.deadline = deadline;
        follower.leader = leader;
        let former = self.change_role(Role::Follower(follower));
        if let Role::Leader(leader) = former {
            while planted(Bug::FalseFailure)
                && let Some(request) = self.proposals.pop()
            {
                let outcome = self.not_leader();
                self.resolve(request, outcome);
            }
            if let Some(requests) = self.requests.made() {
                requests
                    .log_reads
                    .retain(|_, read| read.reader == super::LogReader::Apply);
            }
            self.end_reads(leader.reads);
            self.give_back(leader.held);
            self.end_change(leader.change);
            self.end_transfer(leader.transfer);
        }
    }

    /// A message from the leader of the present term: follow it, and wait anew.
    ///
    /// False if another node is known to lead this term, which no correct cluster can bring about.
    pub(super) fn hear_leader(&mut self, leader: Member) -> bool {
        if let Some(known) = self.leader()
            && known != leader
        {
            let term = self.hard_state.term;
            if self.apart.make().refused.count(Refusal::SecondLeader) == 1 {
                self.outbox.push(Action::Alert(Alert::TwoLeaders {
                    term,
                    known,
                    claims: leader,
                }));
            }
            return false;
        }
        self.end_vacancy();
        if !matches!(&self.role, Role::Follower(f) if f.leader == Some(leader)) {
            self.become_follower(self.hard_state.term, Some(leader));
            self.redirect_requests();
        }
        let (now, timeout) = (self.now, self.timeout);
        if let Role::Follower(follower) = &mut self.role {
            follower.contact = now;
            follower.deadline = now + timeout;
        }
        true
    }

    /// Whether nobody may be helped to replace the present leader: it has our promise, or was heard so
    /// lately that nobody needs another, unless it wants to be replaced itself (S19, S43).
    fn keeps_leader(&self, cause: Cause) -> bool {
        self.is_bound(cause) || (self.has_live_leader() && !self.lets_go(cause))
    }

    /// Whether a leader was heard so lately that nobody needs another.
    fn has_live_leader(&self) -> bool {
        match &self.role {
            // A leader that has lost its majority steps down by itself.
            Role::Leader(_) => true,
            Role::Follower(follower) => {
                follower.leader.is_some()
                    && self.now < follower.contact + self.options.election_timeout
            }
            Role::PreCandidate(_) | Role::Candidate(_) => planted(Bug::PreVoteKeepsLeader),
        }
    }

    /// Whether this node may lead: it is a voter, or cannot know yet that it no longer is (S30); and its
    /// state machine is whole, or will be by itself (S23).
    pub(super) fn may_campaign(&self) -> bool {
        if self.apply.restoring().is_some() {
            return false;
        }
        self.configuration().is_voter(self.me())
            || (self.configurations.latest_index() > self.commit_index
                && !self.configuration().voters.is_empty())
    }

    pub(super) fn on_campaign(&mut self) {
        if !matches!(self.role, Role::Leader(_))
            && self.may_campaign()
            && !self.is_bound(Cause::Timeout)
            && !self.disk_stalls()
        {
            self.start_pre_vote();
        }
    }

    pub(super) fn on_election_timeout(&mut self) {
        if !self.persistence.hard_state_is_durable() && matches!(self.role, Role::Candidate(_)) {
            // Its vote is on the way to the disk: asking goes on from there.
            let deadline = self.draw_election_deadline();
            if let Role::Candidate(campaign) = &mut self.role {
                campaign.deadline = deadline;
            }
            return;
        }
        // While the disk stalls, another term would only be one more to wait for.
        let fit = self.persistence.hard_state_is_durable() && !self.disk_stalls();
        let wants = self.options.priority > 0 && !self.is_bound(Cause::Timeout);
        if fit && wants && self.may_campaign() {
            if planted(Bug::NoPreVote) {
                self.start_election(Cause::Timeout);
                return;
            }
            self.start_pre_vote();
            return;
        }
        self.ask_membership();
        let deadline = self.draw_election_deadline();
        let mut follower = Follower::new(deadline);
        if let Role::Follower(former) = &self.role {
            follower = former.clone();
            follower.deadline = deadline;
            follower.leader = None;
        }
        self.change_role(Role::Follower(follower));
    }

    /// Asks whether an election could be won, without disturbing anybody's term.
    fn start_pre_vote(&mut self) {
        let Some(term) = self.next_term() else {
            return;
        };
        let deadline = self.draw_election_deadline();
        let session = Session {
            term,
            added: Index(0),
            counter: self.attempt,
        };
        // The known leader and the old ballot are forgotten here (S16).
        let mut ballots = BTreeMap::new();
        if self.configuration().is_voter(self.me()) {
            ballots.insert(self.me(), true);
        }
        self.change_role(Role::PreCandidate(Campaign {
            deadline,
            session,
            ballots,
        }));
        let last = self.shown_last();
        for voter in self.other_voters() {
            self.send(voter, session, Body::RequestPreVote { last });
        }
        self.count_ballots();
    }

    /// Starts the next term as its candidate.
    pub(super) fn start_election(&mut self, cause: Cause) {
        assert!(
            !self.is_bound(cause),
            "a node that promised not to does not campaign"
        );
        if planted(Bug::NoTermBump) && self.hard_state.voted_for == Some(self.me()) {
            self.campaign_in_present_term(cause);
            return;
        }
        if let Some(term) = self.next_term() {
            self.hard_state.term = term;
            self.campaign_in_present_term(cause);
        }
    }

    /// Becomes the candidate of a term in which this node has not voted.
    pub(super) fn campaign_in_present_term(&mut self, cause: Cause) {
        let term = self.hard_state.term;
        let own = self.configuration().is_voter(self.me());
        self.hard_state.voted_for = own
            .then_some(self.me())
            .filter(|_| !planted(Bug::NoSelfVote));
        self.persistence.forget_withheld();
        self.persistence.hard_state_changed();
        let deadline = self.draw_election_deadline();
        let session = Session {
            term,
            added: Index(0),
            counter: self.attempt,
        };
        self.change_role(Role::Candidate(Campaign {
            deadline,
            session,
            ballots: BTreeMap::new(),
        }));
        let last = self.shown_last();
        for voter in self.other_voters() {
            self.send_when_durable(voter, session, Body::RequestVote { last, cause });
        }
    }

    /// The last entry, as voters are told of it.
    fn shown_last(&self) -> EntryId {
        let mut last = self.log.last();
        if planted(Bug::TornPair) {
            last.term = self.hard_state.term;
        }
        last
    }

    /// The term an election would begin; none is ever used twice, so the last one ends the node.
    pub(super) fn next_term(&mut self) -> Option<Term> {
        let term = self.hard_state.term.next();
        if term == self.hard_state.term {
            self.halt(HaltReason::TermExhausted);
            return None;
        }
        Some(term)
    }

    pub(super) fn other_voters(&self) -> alloc::vec::Vec<Member> {
        let configuration = self.configuration();
        let mut voters = configuration.voters.clone();
        voters.extend(&configuration.outgoing);
        voters.remove(&self.me());
        voters.into_iter().collect()
    }

    /// The vote for itself is durable: now it counts.
    #[inline(always)]
    pub(super) fn count_own_vote(&mut self) {
        let me = self.me();
        if let Role::Candidate(campaign) = &mut self.role
            && (self.hard_state.voted_for == Some(me) || planted(Bug::NoSelfVote))
        {
            campaign.ballots.insert(me, true);
            self.count_ballots();
        }
    }

    fn count_ballots(&mut self) {
        let (Role::PreCandidate(campaign) | Role::Candidate(campaign)) = &self.role else {
            return;
        };
        let tally = self
            .configuration()
            .tally(|member| campaign.ballots.get(&member).copied());
        match (tally, &self.role) {
            (Tally::Won, Role::PreCandidate(_)) => self.start_election(Cause::Timeout),
            (Tally::Won, Role::Candidate(_)) => self.become_leader(),
            // Lost or open, the next attempt begins when the timer ends.
            (Tally::Won | Tally::Lost | Tally::Open, _) => {}
        }
    }

    fn become_leader(&mut self) {
        if planted(Bug::DropUncommitted) {
            self.truncate(self.commit_index.next());
        }
        let leader = Leader::new(
            self.now,
            self.options.heartbeat_interval,
            self.log.last().index.next(),
        );
        self.change_role(Role::Leader(Box::new(leader)));
        if let Some(counted) = &mut self.counted {
            counted.led = None;
            counted.proposals_seen.clear();
            counted.controls_seen.clear();
        }
        self.redirect_requests();
        self.refresh_peers();
        // Nothing older commits by counting, so an entry of our own must follow at once (S44).
        if !planted(Bug::NoNoop) {
            self.append_own(crate::entry::Payload::Noop);
        }
    }

    pub(super) fn on_request_pre_vote(&mut self, envelope: &Envelope, last: EntryId) {
        if planted(Bug::LowPreVoteIgnored) && envelope.session.term <= self.hard_state.term {
            return;
        }
        let granted = envelope.session.term > self.hard_state.term
            && self.is_up_to_date(last)
            && !self.keeps_leader(Cause::Timeout)
            && !self.refuses(envelope.from.member);
        // Nothing else changes: no term, no vote, no timer (S13).
        self.send(
            envelope.from.member,
            envelope.session,
            Body::PreVoteReply { granted },
        );
        if !granted {
            self.tell_outsider(envelope.from.member, envelope.session, last);
        }
    }

    /// Never: a candidate may be in a configuration that has not come here yet (§4.1).
    fn refuses(&self, candidate: Member) -> bool {
        planted(Bug::StrangersRefused) && !self.configuration().is_voter(candidate)
    }

    pub(super) fn on_request_vote(&mut self, envelope: &Envelope, last: EntryId, cause: Cause) {
        let candidate = envelope.from.member;
        let follows = match cause {
            Cause::Timeout => true,
            Cause::Transfer(back) => back.term < envelope.term && back.term.next() == envelope.term,
        };
        if envelope.session.term != envelope.term || !follows {
            self.refuse(candidate, Refusal::Malformed);
            return;
        }
        if envelope.term > self.hard_state.term {
            if self.keeps_leader(cause) {
                return;
            }
            self.become_follower(envelope.term, None);
        }
        assert!(
            !planted(Bug::FollowerAsserts) || self.role_may_vote(),
            "only a node without a leader is asked for its vote"
        );
        let open = match self.hard_state.voted_for {
            None => self.role_may_vote() && !self.is_bound(cause),
            // Its question, or our answer, was lost or repeated (S9).
            Some(voted_for) => voted_for == candidate,
        };
        let granted = envelope.term == self.hard_state.term
            && open
            && self.is_up_to_date(last)
            && !self.refuses(candidate);
        if !granted {
            self.send(
                candidate,
                envelope.session,
                Body::VoteReply { granted: false },
            );
            return;
        }
        if self.hard_state.voted_for.is_none() {
            self.hard_state.voted_for = Some(candidate);
            self.persistence.hard_state_changed();
        }
        let (now, timeout) = (self.now, self.timeout);
        if let Role::Follower(follower) = &mut self.role {
            follower.deadline = now + timeout;
        }
        self.send_when_durable(
            candidate,
            envelope.session,
            Body::VoteReply { granted: true },
        );
    }

    /// A node that leads, or knows who leads its term, has no vote left to give in it.
    fn role_may_vote(&self) -> bool {
        match &self.role {
            Role::Follower(follower) => follower.leader.is_none(),
            Role::PreCandidate(_) | Role::Candidate(_) => true,
            Role::Leader(_) => false,
        }
    }

    /// §5.4.1: the candidate's log is at least as up-to-date as ours (S10).
    fn is_up_to_date(&self, last: EntryId) -> bool {
        let own = self.log.last();
        if planted(Bug::UpToDateOrder) {
            return (last.index, last.term) >= (own.index, own.term);
        }
        last >= own
    }

    /// A ballot came back; a late one answers a question nobody asks any more (S17).
    pub(super) fn on_ballot(&mut self, envelope: &Envelope, granted: bool) {
        let voter = envelope.from.member;
        // Whoever has no vote is not remembered, so that forged ballots take no memory.
        if !self.configuration().is_voter(voter) {
            return;
        }
        let ((Role::PreCandidate(campaign), Body::PreVoteReply { .. })
        | (Role::Candidate(campaign), Body::VoteReply { .. })) = (&mut self.role, &envelope.body)
        else {
            return;
        };
        let current = campaign.session == envelope.session;
        if current || (planted(Bug::StaleGrant) && matches!(self.role, Role::Candidate(_))) {
            let (Role::PreCandidate(campaign) | Role::Candidate(campaign)) = &mut self.role else {
                return;
            };
            // The first answer stands, so that a repeated one counts once (S9).
            let granted = granted || planted(Bug::RejectionCounts);
            campaign.ballots.entry(voter).or_insert(granted);
            self.count_ballots();
        }
    }
}
