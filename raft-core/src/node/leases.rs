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
use crate::planted::{Bug, planted};
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
        let now = self.now;
        if let Role::Leader(leader) = &mut self.role
            && round <= leader.round
            && let Some(begun) = leader.rounds.begun_at(round)
            && let Some(peer) = leader.peers.get_mut(member)
        {
            peer.confirmed = peer.confirmed.max(Some(begun));
            let since = if planted(Bug::LeaseFromAnswer) {
                now
            } else {
                begun
            };
            peer.promised_until = peer.promised_until.max(since + worth);
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
        until.is_some_and(|until| self.now < until || planted(Bug::LeaseWithoutEnd))
    }

    /// Gives back all promises: what `TimeoutNow` must name. There is no lease again before an entry is
    /// committed that is appended from now on (S40, S42).
    pub(super) fn void_lease(&mut self) -> Round {
        let last = self.log.last().index;
        let Role::Leader(leader) = &mut self.role else {
            unreachable!("only a leader has promises to give back");
        };
        if planted(Bug::LeaseThroughTransfer) {
            return leader.round;
        }
        leader.rounds.release(leader.round, last);
        for peer in leader.peers.values_mut() {
            peer.promised_until = Time(0);
        }
        leader.round
    }

    /// The leader asks this node to take over and gives back what it was promised: campaigns at once,
    /// without asking first (dissertation §3.10). False if it must not, or cannot just now.
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

#[cfg(test)]
mod tests {
    use alloc::boxed::Box;
    use alloc::vec;
    use alloc::vec::Vec;

    use super::super::{Node, Restored};
    use crate::action::{Action, Outcome, RoleKind};
    use crate::configuration::Configuration;
    use crate::event::{Consistency, Event, Input};
    use crate::message::{AppendOutcome, Body, Cause, DiskHealth, Envelope, LeaderRound, Session};
    use crate::options::Options;
    use crate::types::{
        Boot, ClusterId, GroupId, Identity, Index, Member, NodeId, RequestId, Round, Span,
        StorageId, Term, Time,
    };

    const PROMISE: Span = Span(200);

    fn identity(node: u64) -> Identity {
        Identity {
            group: GroupId(0),
            cluster: ClusterId(1),
            member: Member {
                node: NodeId(node),
                store: StorageId(node.into()),
            },
        }
    }

    /// Node 1 of three, whose disk and state machine take no time.
    struct Subject {
        node: Node,
        now: Time,
    }

    impl Subject {
        fn new() -> Self {
            let options = Options {
                heartbeat_interval: Span(50),
                election_timeout: Span(250),
                lease_promise: PROMISE,
                clock_drift_per_mille: 0,
                ..Options::default()
            };
            let voters = [1, 2, 3].map(|node| identity(node).member);
            let restored = Restored::new(identity(1), Configuration::of_voters(voters));
            let now = Time(1_000);
            let node = Node::new(now, options, restored).expect("the options are legal");
            Self { node, now }
        }

        /// Takes an input and the completions of what follows; everything it did.
        fn step(&mut self, input: Input) -> Vec<Action> {
            let (mut all, mut inputs) = (Vec::new(), vec![input]);
            while let Some(input) = inputs.pop() {
                let actions = self.node.step(Event {
                    at: self.now,
                    input,
                });
                for action in &actions {
                    if let Action::Persist(persist) = action {
                        inputs.push(Input::Persisted {
                            store: persist.store,
                            boot: persist.boot,
                            id: persist.id,
                        });
                    }
                }
                all.extend(actions);
            }
            all
        }

        fn receive(&mut self, term: u64, session: Session, body: Body) -> Vec<Action> {
            self.step(Input::Receive(Box::new(Envelope {
                from: identity(2),
                boot: Boot(1),
                to: identity(1).member,
                term: Term(term),
                session,
                body,
            })))
        }

        /// Node 2 helps to elect it and has its log, up to `last`.
        fn lead(&mut self) {
            let asked = self.step(Input::Campaign);
            let session = sessions(&asked)[0];
            let granted = true;
            let asked = self.receive(0, session, Body::PreVoteReply { granted });
            let session = sessions(&asked)[0];
            self.receive(1, session, Body::VoteReply { granted });
            self.matched(1);
            assert_eq!(self.node.status().role, RoleKind::Leader);
        }

        fn matched(&mut self, last: u64) {
            let reply = AppendOutcome::Matched(Index(last));
            self.receive(1, replication(), Body::AppendReply(reply));
            assert_eq!(self.node.status().commit_index, Index(last));
        }

        /// The next regular heartbeat: its round, and the promise it asks for.
        fn beat(&mut self) -> (Round, Span) {
            self.now = self.node.next_deadline().expect("it runs");
            let ticked = self.step(Input::Tick);
            let beats = ticked.iter().find_map(|action| {
                let Action::Send(envelope) = action else {
                    return None;
                };
                let Body::Heartbeat { round, promise, .. } = envelope.body else {
                    return None;
                };
                Some((round, promise))
            });
            beats.expect("a leader beats")
        }

        fn promised(&mut self, round: Round) {
            let body = Body::HeartbeatReply {
                round,
                received: Index(1),
                matched: Index(1),
                promised: PROMISE,
                disk: DiskHealth::Healthy,
            };
            self.receive(1, replication(), body);
        }

        fn has_lease(&self) -> bool {
            let mut asked = self.node.clone();
            let said = asked.step(Event {
                at: self.now,
                input: Input::Read {
                    request: RequestId(1),
                    consistency: Consistency::Lease,
                },
            });
            said.iter().any(|action| {
                matches!(
                    action,
                    Action::Resolve {
                        outcome: Outcome::ReadReady(_),
                        ..
                    }
                )
            })
        }

        fn propose(&mut self) {
            self.step(Input::Propose {
                request: RequestId(2),
                command: bytes::Bytes::from_static(b"x"),
            });
        }
    }

    fn replication() -> Session {
        Session {
            term: Term(1),
            ..Session::default()
        }
    }

    fn sessions(actions: &[Action]) -> Vec<Session> {
        let mut sessions = Vec::new();
        for action in actions {
            if let Action::Send(envelope) = action {
                sessions.push(envelope.session);
            }
        }
        sessions
    }

    fn back(leader: u64, round: Round) -> LeaderRound {
        LeaderRound {
            leader: identity(leader).member,
            term: Term(1),
            round,
        }
    }

    /// S40, S42: nothing that was promised before counts any more, however late it is told.
    #[test]
    fn a_lease_given_back_resumes_only_by_later_rounds_after_a_fresh_entry_is_committed() {
        let mut subject = Subject::new();
        subject.lead();
        let (first, wanted) = subject.beat();
        assert_eq!(wanted, PROMISE);
        subject.promised(first);
        assert!(subject.has_lease());
        let (second, _) = subject.beat();
        assert_eq!(subject.node.void_lease(), second);
        assert!(!subject.has_lease());
        subject.promised(second);
        assert!(!subject.has_lease());
        let (third, wanted) = subject.beat();
        assert_eq!(wanted, Span(0), "nobody is to promise meanwhile");
        subject.promised(second);
        subject.propose();
        subject.matched(2);
        assert!(!subject.has_lease());
        let (fourth, wanted) = subject.beat();
        assert_eq!(wanted, PROMISE);
        assert!(fourth > third);
        subject.promised(second);
        assert!(!subject.has_lease());
        subject.promised(fourth);
        assert!(subject.has_lease());
    }

    /// S42: the leader's own vote is a promise, too: it goes with the lease, and comes back with it.
    #[test]
    fn a_leader_votes_for_its_successor_until_it_goes_on_leading() {
        let ask = |subject: &mut Subject, round| {
            let last = subject.node.status().last;
            let cause = Cause::Transfer(back(1, round));
            let session = Session {
                term: Term(2),
                ..Session::default()
            };
            subject.receive(2, session, Body::RequestVote { last, cause });
            subject.node.status().role
        };
        let mut subject = Subject::new();
        subject.lead();
        let (round, _) = subject.beat();
        assert_eq!(ask(&mut subject, round), RoleKind::Leader, "not given back");
        let round = subject.node.void_lease();
        let mut gone_on = Subject {
            node: subject.node.clone(),
            now: subject.now,
        };
        assert_eq!(ask(&mut subject, round), RoleKind::Follower);
        assert_eq!(subject.node.status().term, Term(2));
        gone_on.propose();
        gone_on.matched(2);
        assert_eq!(ask(&mut gone_on, round), RoleKind::Leader);
    }

    /// S40, S41: the target has promised like everybody, and a late `TimeoutNow` does not move it.
    #[test]
    fn the_target_of_a_transfer_campaigns_at_once_unless_it_promised_later() {
        let beat = |subject: &mut Subject, round| {
            let body = Body::Heartbeat {
                commit: Index(0),
                read_index: Index(0),
                round: Round(round),
                promise: PROMISE,
                priority: 1,
            };
            subject.receive(1, replication(), body);
        };
        let mut subject = Subject::new();
        beat(&mut subject, 5);
        assert!(!subject.node.campaign_for_leader(back(2, Round(4))));
        assert!(!subject.node.campaign_for_leader(back(3, Round(9))));
        assert_eq!(subject.node.status().role, RoleKind::Follower);
        assert!(subject.node.campaign_for_leader(back(2, Round(5))));
        assert_eq!(subject.node.status().role, RoleKind::Candidate);
        let asked = subject.step(Input::Tick);
        let votes = asked.iter().filter(|action| {
            let cause = Cause::Transfer(back(2, Round(5)));
            matches!(action, Action::Send(e) if matches!(e.body, Body::RequestVote { cause: c, .. } if c == cause))
        });
        assert_eq!(votes.count(), 2);
    }
}
