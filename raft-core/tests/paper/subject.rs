//! The node under test, number 1, whose peers, clock and disk are played by the test.

use raft_core::{
    Action, Body, Boot, Bytes, Cause, ClusterId, Configuration, Consistency, Entry, EntryId,
    Envelope, Event, GroupId, HaltReason, HardState, Identity, Index, Input, Member, MemberChange,
    MembershipChange, Node, NodeId, Options, Outcome, Payload, Persist, RequestId, Restored,
    RoleKind, Round, Session, SnapshotMeta, SnapshotTicket, Span, StorageId, Term, TermRuns, Time,
};

pub(crate) fn member(node: u64) -> Member {
    Member {
        node: NodeId(node),
        store: StorageId(u128::from(node) + 100),
    }
}

pub(crate) fn id(term: u64, index: u64) -> EntryId {
    EntryId {
        term: Term(term),
        index: Index(index),
    }
}

pub(crate) fn command(term: u64, index: u64) -> Entry {
    let text = format!("{term}.{index}");
    Entry {
        id: id(term, index),
        payload: Payload::Command(Bytes::from(text)),
    }
}

/// A run of commands: `log(&[(1, 1), (2, 2)])` has an entry of term 1 and one of term 2.
pub(crate) fn log(ids: &[(u64, u64)]) -> Vec<Entry> {
    ids.iter()
        .map(|(term, index)| command(*term, *index))
        .collect()
}

/// What the store of node 1 of so many voters holds when it was just made.
pub(crate) fn empty(voters: u64) -> Restored {
    Restored::new(
        identity(),
        Configuration::of_voters((1..=voters).map(member)),
    )
}

/// A snapshot up to an entry, taken in that entry's term, of a cluster of three.
pub(crate) fn snapshot(term: u64, index: u64) -> SnapshotMeta {
    SnapshotMeta {
        id: id(term, index),
        term: Term(term),
        configured: EntryId::ZERO,
        configuration: Configuration::of_voters((1..=3).map(member)).into(),
    }
}

/// A session of replication or of a ballot, as a peer would name it.
pub(crate) fn session(term: u64) -> Session {
    Session {
        term: Term(term),
        ..Session::default()
    }
}

pub(crate) fn append(previous: EntryId, commit: u64, entries: Vec<Entry>) -> Body {
    Body::AppendEntries {
        previous,
        commit: Index(commit),
        entries: entries.into(),
    }
}

/// A heartbeat that asks for no promise.
pub(crate) fn heartbeat(commit: u64, round: u64) -> Body {
    Body::Heartbeat {
        commit: Index(commit),
        read_index: Index(commit),
        round: Round(round),
        promise: Span(0),
        priority: 1,
    }
}

/// A request for a vote, because nobody was heard to lead.
pub(crate) fn request_vote(last: EntryId) -> Body {
    Body::RequestVote {
        last,
        cause: Cause::Timeout,
    }
}

fn identity() -> Identity {
    Identity {
        group: GroupId(0),
        cluster: ClusterId(1),
        member: member(1),
    }
}

#[derive(Clone)]
pub(crate) struct Subject {
    pub(crate) node: Node,
    pub(crate) now: Time,
    voters: u64,
}

impl Subject {
    const START: Time = Time(1_000_000_000);

    /// Node 1 of so many voters, with nothing in its log.
    pub(crate) fn new(voters: u64) -> Self {
        Self::restored(voters, HardState::default(), vec![])
    }

    /// Node 1 with a past: a term, a vote and a log, all durable.
    pub(crate) fn restored(voters: u64, hard_state: HardState, entries: Vec<Entry>) -> Self {
        Self::with_options(voters, hard_state, entries, Options::default())
    }

    pub(crate) fn with_options(
        voters: u64,
        hard_state: HardState,
        entries: Vec<Entry>,
        options: Options,
    ) -> Self {
        let mut terms = TermRuns::new(EntryId::ZERO);
        entries.iter().for_each(|entry| terms.append(entry.id));
        Self::build(voters, hard_state, terms, entries, options)
    }

    /// Node 1 with a disk that has nothing on it, and these options.
    pub(crate) fn with(voters: u64, options: Options) -> Self {
        Self::with_options(voters, HardState::default(), vec![], options)
    }

    /// Node 1 with a past of which nothing is in memory.
    pub(crate) fn with_log_on_disk(voters: u64, hard_state: HardState, entries: &[Entry]) -> Self {
        let mut terms = TermRuns::new(EntryId::ZERO);
        entries.iter().for_each(|entry| terms.append(entry.id));
        Self::build(voters, hard_state, terms, vec![], Options::default())
    }

    /// Node 1 whose log was compacted up to `base`, with a snapshot of just that.
    pub(crate) fn compacted(base: EntryId, entries: Vec<Entry>) -> Self {
        let mut terms = TermRuns::new(base);
        entries.iter().for_each(|entry| terms.append(entry.id));
        let restored = Restored {
            hard_state: HardState {
                term: terms.last().term,
                ..HardState::default()
            },
            terms,
            tail: entries,
            snapshot: Some(snapshot(base.term.0, base.index.0)),
            ..empty(3)
        };
        Self::from_store(3, restored, Options::default())
    }

    /// Node 1 leads, in the middle of a change from nodes 1, 2, 3 to nodes 1, 4, 5: the joint configuration
    /// is its entry 2, and on no other disk yet.
    pub(crate) fn joint(options: Options) -> Self {
        let configuration = Configuration {
            learners: [4, 5].map(member).into(),
            ..Configuration::of_voters([1, 2, 3].map(member))
        };
        let restored = Restored::new(identity(), configuration);
        let mut subject = Self::of(5, restored, options, Self::START);
        subject.elect();
        for peer in 2..=5 {
            subject.matched(peer, 1);
        }
        let promote = [4, 5].map(|node| MemberChange::Promote { node: NodeId(node) });
        let remove = [2, 3].map(|node| MemberChange::Remove { node: NodeId(node) });
        subject.settle(Input::ChangeMembership {
            request: RequestId(99),
            change: MembershipChange::new(promote.into_iter().chain(remove)),
        });
        assert!(subject.node.status().configuration.is_joint());
        subject
    }

    fn build(
        voters: u64,
        hard_state: HardState,
        terms: TermRuns,
        tail: Vec<Entry>,
        options: Options,
    ) -> Self {
        let restored = Restored {
            hard_state,
            terms,
            tail,
            ..empty(voters)
        };
        Self::from_store(voters, restored, options)
    }

    /// Node 1 started again at this moment, with an empty log.
    pub(crate) fn restarted(voters: u64, state: HardState, options: Options, now: Time) -> Self {
        let restored = Restored {
            hard_state: state,
            ..empty(voters)
        };
        Self::of(voters, restored, options, now)
    }

    pub(crate) fn from_store(voters: u64, restored: Restored, options: Options) -> Self {
        Self::of(voters, restored, options, Self::START)
    }

    fn of(voters: u64, restored: Restored, options: Options, now: Time) -> Self {
        Self {
            node: Node::new(now, options, restored).unwrap(),
            now,
            voters,
        }
    }

    pub(crate) fn step(&mut self, input: Input) -> Vec<Action> {
        let at = self.now;
        self.node.step(Event { at, input })
    }

    /// A message from a peer, as it is now in `term`.
    pub(crate) fn receive(
        &mut self,
        from: u64,
        term: u64,
        session: Session,
        body: Body,
    ) -> Vec<Action> {
        let envelope = self.envelope(from, term, session, body);
        self.step(Input::Receive(envelope))
    }

    pub(crate) fn envelope(
        &self,
        from: u64,
        term: u64,
        session: Session,
        body: Body,
    ) -> Box<Envelope> {
        Box::new(Envelope {
            from: Identity {
                group: GroupId(0),
                cluster: ClusterId(1),
                member: member(from),
            },
            boot: Boot(1),
            to: member(1),
            term: Term(term),
            session,
            body,
        })
    }

    /// The disk finishes every write in these actions.
    pub(crate) fn persisted(&mut self, actions: &[Action]) -> Vec<Action> {
        match persists(actions).last() {
            Some(last) => self.step(Input::Persisted {
                store: last.store,
                boot: last.boot,
                id: last.id,
            }),
            None => vec![],
        }
    }

    /// Steps, with a disk and a state machine that take no time; everything that came of it.
    pub(crate) fn settle(&mut self, input: Input) -> Vec<Action> {
        let mut all = self.step(input);
        let mut last = all.clone();
        while !last.is_empty() {
            let mut next = self.persisted(&last);
            for action in &last {
                match action {
                    Action::Apply { entries } => {
                        let index = entries.last().unwrap().id.index;
                        next.extend(self.step(Input::Applied { index }));
                    }
                    Action::RestoreSnapshot { snapshot } => {
                        let id = snapshot.id;
                        next.extend(self.step(Input::SnapshotRestored { id }));
                    }
                    _ => {}
                }
            }
            all.extend(next.iter().cloned());
            last = next;
        }
        all
    }

    /// Time passes up to the node's own deadline.
    pub(crate) fn time_out(&mut self) -> Vec<Action> {
        self.now = self.node.next_deadline().unwrap();
        self.step(Input::Tick)
    }

    /// The node wins the next election, with every voter's help.
    pub(crate) fn elect(&mut self) -> Vec<Action> {
        let mut actions = self.settle(Input::Campaign);
        for granted in [
            Body::PreVoteReply { granted: true },
            Body::VoteReply { granted: true },
        ] {
            let asked: Vec<Envelope> = sent(&actions).cloned().collect();
            for question in asked {
                if self.role() == RoleKind::Leader {
                    break;
                }
                let (Body::RequestPreVote { .. } | Body::RequestVote { .. }) = question.body else {
                    continue;
                };
                let from = question.to.node.0;
                let term = self.term();
                let reply = self.envelope(from, term, question.session, granted.clone());
                actions.extend(self.settle(Input::Receive(reply)));
            }
        }
        assert_eq!(self.role(), RoleKind::Leader);
        actions
    }

    /// The state machine is written down as it is now, and the disk has it at once.
    pub(crate) fn take_snapshot(&mut self) -> Vec<Action> {
        let applied = self.node.status().last_applied;
        let snapshot = self.node.snapshot_meta(applied).unwrap();
        self.settle(Input::SnapshotTaken { snapshot })
    }

    /// A follower says how much it has, in the leader's present exchange with it.
    pub(crate) fn matched(&mut self, from: u64, index: u64) -> Vec<Action> {
        let reply = raft_core::AppendOutcome::Matched(Index(index));
        let (term, session) = (self.term(), session(self.term()));
        let reply = self.envelope(from, term, session, Body::AppendReply(reply));
        self.settle(Input::Receive(reply))
    }

    /// The same of a peer that the configuration at `added` brought in.
    pub(crate) fn matched_since(&mut self, from: u64, added: u64, index: u64) -> Vec<Action> {
        let reply = raft_core::AppendOutcome::Matched(Index(index));
        let session = Session {
            added: Index(added),
            ..session(self.term())
        };
        let reply = self.envelope(from, self.term(), session, Body::AppendReply(reply));
        self.settle(Input::Receive(reply))
    }

    pub(crate) fn heartbeat_reply(&mut self, from: u64, round: u64, got: u64) -> Vec<Action> {
        self.promised(from, round, got, Span(0))
    }

    /// A follower answers a heartbeat, and promises.
    pub(crate) fn promised(
        &mut self,
        from: u64,
        round: u64,
        got: u64,
        promised: Span,
    ) -> Vec<Action> {
        let body = Body::HeartbeatReply {
            round: Round(round),
            received: Index(got),
            matched: Index(got),
            promised,
            disk: raft_core::DiskHealth::Healthy,
        };
        let (term, session) = (self.term(), session(self.term()));
        let reply = self.envelope(from, term, session, body);
        self.settle(Input::Receive(reply))
    }

    pub(crate) fn propose(&mut self, request: u64) -> Vec<Action> {
        self.settle(Input::Propose {
            request: RequestId(request),
            command: Bytes::from(format!("command {request}")),
        })
    }

    pub(crate) fn peers(&self) -> std::ops::RangeInclusive<u64> {
        2..=self.voters
    }

    pub(crate) fn role(&self) -> RoleKind {
        self.node.status().role
    }

    pub(crate) fn term(&self) -> u64 {
        self.node.status().term.0
    }

    pub(crate) fn commit(&self) -> u64 {
        self.node.status().commit_index.0
    }

    pub(crate) fn last(&self) -> EntryId {
        self.node.status().last
    }
}

pub(crate) fn sent(actions: &[Action]) -> impl Iterator<Item = &Envelope> {
    actions.iter().filter_map(|action| match action {
        Action::Send(envelope) => Some(&**envelope),
        _ => None,
    })
}

pub(crate) fn bodies(actions: &[Action]) -> Vec<Body> {
    sent(actions)
        .map(|envelope| envelope.body.clone())
        .collect()
}

pub(crate) fn persists(actions: &[Action]) -> impl Iterator<Item = &Persist> {
    actions.iter().filter_map(|action| match action {
        Action::Persist(persist) => Some(persist),
        _ => None,
    })
}

/// What the first write says of term, vote and promises.
pub(crate) fn written_state(actions: &[Action]) -> HardState {
    let write = persists(actions).next().unwrap();
    *write.hard_state.clone().unwrap()
}

/// The indexes handed to the state machine.
pub(crate) fn applied(actions: &[Action]) -> Vec<u64> {
    let entries = actions.iter().filter_map(|action| match action {
        Action::Apply { entries } => Some(entries),
        _ => None,
    });
    entries
        .flat_map(|entries| entries.iter().map(|e| e.id.index.0))
        .collect()
}

pub(crate) fn outcomes(actions: &[Action]) -> Vec<(u64, Outcome)> {
    let resolved = actions.iter().filter_map(|action| match action {
        Action::Resolve { request, outcome } => Some((request.0, *outcome)),
        _ => None,
    });
    resolved.collect()
}

pub(crate) fn halted(actions: &[Action]) -> Option<HaltReason> {
    actions.iter().find_map(|action| match action {
        Action::Halt(reason) => Some(*reason),
        _ => None,
    })
}

/// The latest round of heartbeats in these actions.
pub(crate) fn round_of(actions: &[Action]) -> u64 {
    latest_round(actions).expect("a round begins")
}

/// The latest round of heartbeats in these actions, if there is one.
pub(crate) fn latest_round(actions: &[Action]) -> Option<u64> {
    let rounds = bodies(actions).into_iter().filter_map(|body| match body {
        Body::Heartbeat { round, .. } => Some(round.0),
        _ => None,
    });
    rounds.max()
}

/// A read that a lease may answer.
pub(crate) fn lease_read_of(request: u64) -> Input {
    Input::Read {
        request: RequestId(request),
        consistency: Consistency::Lease,
    }
}

/// A linearizable read.
pub(crate) fn read_of(request: RequestId) -> Input {
    Input::Read {
        request,
        consistency: Consistency::Linearizable,
    }
}

/// What is fetched: the ticket, how new it must be, and from whom.
pub(crate) fn fetching(actions: &[Action]) -> Option<(SnapshotTicket, EntryId, u64)> {
    actions.iter().find_map(|action| match action {
        Action::ReceiveSnapshot {
            ticket,
            at_least,
            source,
        } => Some((*ticket, *at_least, source.node.0)),
        _ => None,
    })
}

/// The snapshots that the state machine is to become.
pub(crate) fn restores(actions: &[Action]) -> Vec<EntryId> {
    let restores = actions.iter().filter_map(|action| match action {
        Action::RestoreSnapshot { snapshot } => Some(snapshot.id),
        _ => None,
    });
    restores.collect()
}

/// Where the log is compacted to.
pub(crate) fn compactions(actions: &[Action]) -> Vec<EntryId> {
    let compactions = actions.iter().filter_map(|action| match action {
        Action::CompactLog(compact) => Some(compact.base),
        _ => None,
    });
    compactions.collect()
}
