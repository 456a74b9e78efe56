//! Leases (dissertation §6.4.1): reads that rest on what followers promised, and how old a state is.
//!
//! A heartbeat asks for a promise of some length, and the answer says how much of it was given: until so
//! much later, by its own clock and counted from when it was asked, the follower neither votes for anybody
//! nor campaigns, in whatever term it may be by then. A leader that a majority of every set of voters
//! (S27) has promised to therefore knows that nobody was elected after it. What each promise is worth by
//! the leader's clock is counted from when the round was *begun* and shortened by what clocks may drift
//! apart (S39); rounds begun for reads count like any other.
//!
//! Why a lease read is linearizable: an entry of the leader's term is committed, so everything that any
//! earlier leader acknowledged is (S37); no later leader was elected up to the moment the driver's clock
//! was read, which was after the question arrived; so nothing was acknowledged anywhere that the commit
//! index does not cover.
//!
//! - *The leader itself* counts as promising without end, as long as it leads: a leader gives no vote, and
//!   one that stops leading to give it answers no lease read any more. What it promised to an earlier leader
//!   binds it like everybody.
//! - *Promises to earlier leaders* are replaced by those to a later one. The later one was elected by a
//!   majority, every member of which gave its vote after its promise was over or given back, and takes no
//!   message of the earlier term after that; so the earlier lease is over. The longest end is kept anyhow.
//! - *Restarts* (S43). The longest promise ever given is part of the hard state, and durable before an
//!   answer tells of it. A voter that starts again cannot know when it gave its last one, nor to whom: it
//!   behaves as if that had been the moment it started. A leader that starts again has no lease.
//! - *A repeated vote* is a vote given before the promise, or one in the term of a leader that was elected
//!   already: it is answered again.
//! - *Transfers* (S40, S42) must not wait for promises to end, so the leader gives them back: it forgets
//!   its lease, asks for no more promises, and names in `TimeoutNow` its latest round. The target's requests
//!   for votes carry that, and voters disregard a promise to that leader, in that term, that was asked for
//!   in a round up to that one. If the target does not take over, the leader asks for promises again once
//!   an entry that it appended afterwards is committed. Those are of later rounds, and the lease counts no
//!   others. A request for a vote that was delayed until then still carries the earlier round, which
//!   does not cover them. What is given back is a fact about the past and stays true; nothing depends on when
//!   it arrives.
//!
//! Always holds: a promise is kept whatever happens to terms, roles and leaders meanwhile.

use crate::lease::worth;
use crate::message::{Cause, Envelope, LeaderRound};
use crate::types::{Member, Round, Span, Time};

use super::{Node, Role};

impl Node {
    /// The leader asks for a promise: how much of it is given, once that survives a restart.
    ///
    /// No more than an election timeout: whoever has promised cannot replace a leader that died.
    pub(super) fn promise(&mut self, heartbeat: &Envelope, round: Round, wanted: Span) -> Span {
        let length = wanted.min(self.options.election_timeout);
        if length == Span(0) {
            return length;
        }
        let asked = LeaderRound {
            leader: heartbeat.from.member,
            term: heartbeat.term,
            round,
        };
        self.promise.give(self.now + length, asked);
        if length > self.hard_state.promised {
            self.hard_state.promised = length;
            self.persistence.hard_state_changed();
        }
        // It binds already, but nobody may rely on it before the disk remembers.
        if self.persistence.hard_state_is_durable() {
            length
        } else {
            Span(0)
        }
    }

    /// Whether a promise forbids to take part in an election that has this cause.
    pub(super) fn is_bound(&self, cause: Cause) -> bool {
        self.promise.binds(self.now, cause)
    }

    /// Whether the leader that was heard lately wants to be replaced.
    pub(super) fn lets_go(&self, cause: Cause) -> bool {
        match (cause, &self.role) {
            (Cause::Timeout, _) => false,
            // A late request finds a leader that goes on.
            (Cause::Transfer(back), Role::Leader(leader)) => {
                (back.leader, back.term) == (self.me(), self.hard_state.term)
                    && leader.rounds.is_released(back.round, self.commit_index)
            }
            (
                Cause::Transfer(_),
                Role::Follower(_) | Role::PreCandidate(_) | Role::Candidate(_),
            ) => true,
        }
    }

    /// The promise that a heartbeat asks for.
    pub(super) fn wanted_promise(&self) -> Span {
        match &self.role {
            Role::Leader(leader) if leader.rounds.may_ask(self.commit_index) => {
                self.options.lease_promise
            }
            Role::Leader(_) | Role::Follower(_) | Role::PreCandidate(_) | Role::Candidate(_) => {
                Span(0)
            }
        }
    }

    /// A round was answered, with a promise.
    pub(super) fn note_round(&mut self, member: Member, round: Round, promised: Span) {
        let promised = promised.min(self.options.lease_promise);
        let worth = worth(promised, self.options.clock_drift_per_mille);
        if let Role::Leader(leader) = &mut self.role
            && round <= leader.round
            && let Some(begun) = leader.rounds.begun_at(round)
            && let Some(peer) = leader.peers.get_mut(&member)
        {
            peer.confirmed = peer.confirmed.max(Some(begun));
            peer.promised_until = peer.promised_until.max(begun + worth);
        }
        self.note_confirmed();
    }

    /// Whether nobody else can have been elected by now.
    pub(super) fn has_lease(&self) -> bool {
        let Role::Leader(leader) = &self.role else {
            return false;
        };
        let ready = self.commit_index >= leader.noop && leader.rounds.may_ask(self.commit_index);
        if self.options.lease_promise == Span(0) || !ready {
            return false;
        }
        let until = self.of_majority(Time(u64::MAX), |peer| peer.promised_until);
        until.is_some_and(|until| self.now < until)
    }

    /// Gives back all promises: what `TimeoutNow` must name. There is no lease again before an entry is
    /// committed that is appended from now on (S40, S42).
    #[cfg_attr(not(test), expect(dead_code, reason = "transfers call it"))]
    pub(super) fn void_lease(&mut self) -> Round {
        let last = self.log.last().index;
        let Role::Leader(leader) = &mut self.role else {
            unreachable!("only a leader has promises to give back");
        };
        leader.rounds.release(leader.round, last);
        for peer in leader.peers.values_mut() {
            peer.promised_until = Time(0);
        }
        leader.round
    }

    /// The leader asks this node to take over and gives back what it was promised: campaigns at once,
    /// without asking first (dissertation §3.10). False if it must not, or cannot just now.
    #[cfg_attr(not(test), expect(dead_code, reason = "transfers call it"))]
    pub(super) fn campaign_for_leader(&mut self, back: LeaderRound) -> bool {
        let cause = Cause::Transfer(back);
        let fit = self.persistence.hard_state_is_durable() && !self.disk_stalls();
        if !fit || self.is_bound(cause) || !self.configuration().is_voter(self.me()) {
            return false;
        }
        self.start_election(cause);
        true
    }
}
