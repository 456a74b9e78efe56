//! Whatever happens in whatever order, to a node and the store it is restarted from: no panic, and no
//! state that breaks a rule of `node/invariants.rs`, which debug builds check at every step.

use std::collections::BTreeMap;

use quickcheck::quickcheck;
use raft_core::{
    Action, AppendOutcome, Body, Boot, Bytes, CompactLog, Configuration, Entry, EntryId, HardState,
    Index, Input, LogReadOutcome, Options, Payload, Persist, RequestId, Restored, Round, Session,
    SnapshotMark, SnapshotMeta, SnapshotTicket, Span, Term, TermRuns,
};

use super::subject::{Subject, command, empty, id, member};

/// What a disk holds: writes as they were made durable, in order.
struct Store {
    boot: Boot,
    hard_state: HardState,
    base: EntryId,
    configured: EntryId,
    configuration: std::sync::Arc<Configuration>,
    entries: BTreeMap<Index, Entry>,
    snapshot: Option<SnapshotMeta>,
}

impl Store {
    fn write(&mut self, write: &Write) {
        match write {
            Write::Persist(persist) => self.persist(persist),
            Write::Compact(compact) => {
                let covered = self.snapshot.as_ref().map(|snapshot| snapshot.id.index);
                assert!(Some(compact.base.index) <= covered, "S62");
                self.base = compact.base;
                self.configured = compact.configured;
                self.configuration = compact.configuration.clone();
                self.entries.retain(|index, _| *index > compact.base.index);
            }
        }
    }

    fn persist(&mut self, persist: &Persist) {
        self.hard_state = persist
            .hard_state
            .as_deref()
            .copied()
            .unwrap_or(self.hard_state);
        if let Some(mark) = &persist.snapshot {
            self.snapshot = Some(mark.meta().clone());
        }
        if let Some(SnapshotMark::Installed(snapshot)) = persist.snapshot.as_deref() {
            self.base = snapshot.id;
            self.configured = snapshot.configured;
            self.configuration = snapshot.configuration.clone();
            self.entries.clear();
        }
        if let Some(first) = persist.entries.first() {
            let last = self.entries.keys().next_back().copied();
            let last = last.unwrap_or(self.base.index);
            assert!(first.id.index <= last.next(), "the log has no hole");
            assert!(
                first.id.index > self.base.index,
                "what is compacted is not written"
            );
            self.entries.retain(|index, _| *index < first.id.index);
        }
        for entry in persist.entries.iter() {
            self.entries.insert(entry.id.index, entry.clone());
        }
    }

    fn restored(&self) -> Restored {
        let mut terms = TermRuns::new(self.base);
        let mut configurations = Vec::new();
        for entry in self.entries.values() {
            terms.append(entry.id);
            if let Payload::Configuration(configuration) = &entry.payload {
                configurations.push((entry.id.index, configuration.clone()));
            }
        }
        Restored {
            boot: self.boot,
            hard_state: self.hard_state,
            terms,
            configuration: self.configuration.clone(),
            configured: self.configured,
            configurations,
            snapshot: self.snapshot.clone(),
            ..empty(3)
        }
    }
}

#[derive(Clone)]
enum Write {
    Persist(Box<Persist>),
    Compact(CompactLog),
}

/// A node, its store, and what is on its way between them.
struct Storm {
    subject: Subject,
    store: Store,
    writes: Vec<Write>,
    asked: Vec<(u64, Session, Body)>,
    ticket: SnapshotTicket,
    reads: Vec<raft_core::ReadLog>,
    restoring: Option<EntryId>,
    handed: Index,
}

fn options() -> Options {
    Options {
        compact_keep_bytes: 0,
        compact_wait_bytes_max: 1_500,
        tail_bytes_max: 200,
        append_bytes_max: 300,
        inflight_persists_max: 3,
        ..Options::default()
    }
}

impl Storm {
    fn new() -> Self {
        let Restored {
            configuration,
            configured,
            ..
        } = empty(3);
        Self {
            subject: Subject::from_store(3, empty(3), options()),
            store: Store {
                boot: Boot(1),
                hard_state: HardState::default(),
                base: EntryId::ZERO,
                configured,
                configuration,
                entries: BTreeMap::new(),
                snapshot: None,
            },
            writes: Vec::new(),
            asked: Vec::new(),
            ticket: SnapshotTicket(0),
            reads: Vec::new(),
            restoring: None,
            handed: Index(0),
        }
    }

    fn step(&mut self, input: Input) {
        for action in self.subject.step(input) {
            match action {
                Action::Persist(persist) => self.writes.push(Write::Persist(Box::new(persist))),
                Action::CompactLog(compact) => self.writes.push(Write::Compact(compact)),
                Action::ReadLog(read) => self.reads.push(read),
                Action::ReceiveSnapshot { ticket, .. } => self.ticket = ticket,
                Action::RestoreSnapshot { snapshot } => self.restoring = Some(snapshot.id),
                Action::Apply { entries } => {
                    assert!(self.restoring.is_none(), "nothing is applied meanwhile");
                    self.handed = entries.last().unwrap().id.index;
                }
                Action::Send(envelope) => {
                    let to = envelope.to.node.0;
                    self.asked.push((to, envelope.session, envelope.body));
                }
                _ => {}
            }
        }
    }

    fn receive(&mut self, from: u64, term: u64, session: Session, body: Body) {
        let envelope = self.subject.envelope(from, term, session, body);
        self.step(Input::Receive(envelope));
    }

    /// Some of what was written becomes durable.
    fn sync(&mut self, count: usize) {
        let count = count.min(self.writes.len());
        let mut done = None;
        for write in self.writes.drain(..count) {
            self.store.write(&write);
            if let Write::Persist(persist) = write {
                done = Some((persist.store, persist.boot, persist.id));
            }
        }
        if let Some((store, boot, id)) = done {
            self.step(Input::Persisted { store, boot, id });
        }
    }

    /// The process ends; of what was not reported durable some is.
    fn restart(&mut self, count: usize) {
        let count = count.min(self.writes.len());
        self.writes
            .drain(..count)
            .for_each(|write| self.store.write(&write));
        self.store.boot = self.store.boot.next();
        self.subject = Subject::from_store(3, self.store.restored(), options());
        self.writes.clear();
        self.asked.clear();
        self.reads.clear();
        self.restoring = None;
        self.step(Input::Tick);
    }

    /// Everybody asked for a vote grants it.
    fn grant(&mut self) {
        for (from, session, body) in std::mem::take(&mut self.asked) {
            let granted = match body {
                Body::RequestPreVote { .. } => Body::PreVoteReply { granted: true },
                Body::RequestVote { .. } => Body::VoteReply { granted: true },
                _ => continue,
            };
            self.receive(from, self.subject.term(), session, granted);
        }
    }

    fn read(&mut self, amount: u64) {
        let Some(read) = self.reads.pop() else {
            return;
        };
        let found = self.store.entries.range(read.from..=read.to);
        let found: Vec<Entry> = found.map(|(_, entry)| entry.clone()).take(3).collect();
        let whole = found
            .first()
            .is_some_and(|first| first.id.index == read.from);
        let outcome = match (whole, amount % 9) {
            (_, 8) => LogReadOutcome::Damaged,
            (true, _) => LogReadOutcome::Entries(found),
            (false, _) => LogReadOutcome::Compacted,
        };
        let ticket = read.ticket;
        self.step(Input::LogRead { ticket, outcome });
    }

    /// A leader's message, which may contradict everything that was said before.
    fn lead(&mut self, kind: u8, a: u64, b: u64, c: u64) {
        let term = self.subject.term().max(1) + u64::from(a.is_multiple_of(16));
        let session = Session {
            term: Term(term),
            ..Session::default()
        };
        let last = self.subject.last();
        let commit = self.subject.commit();
        let previous = match b % 4 {
            0 => id(b % 3, c % 12),
            1 => id(last.term.0, commit),
            _ => last,
        };
        let body = match kind {
            0 => Body::AppendEntries {
                previous,
                commit: Index(previous.index.0 + c % 4),
                entries: (1..=a % 8)
                    .map(|n| entry(term, previous.index.0 + n, a + n))
                    .collect(),
            },
            1 => Body::InstallSnapshot {
                id: id(last.term.0.max(b % (term + 1)), commit + c % 8),
                source: member(2 + a % 2),
            },
            _ => Body::Heartbeat {
                commit: Index(commit + c % 4),
                read_index: Index(commit + c % 4),
                priority: 1,
                round: Round(a),
                promise: Span(0),
            },
        };
        self.receive(2 + a % 2, term, session, body);
    }

    fn follow(&mut self, kind: u8, a: u64, b: u64) {
        let term = self.subject.term();
        let session = Session {
            term: Term(term),
            ..Session::default()
        };
        let last = self.subject.last().index.0;
        let index = Index(if a.is_multiple_of(3) {
            last
        } else {
            b % (last + 2)
        });
        let body = match kind {
            0 => Body::AppendReply(AppendOutcome::Matched(index)),
            1 => Body::AppendReply(AppendOutcome::Conflict {
                previous: index,
                hint: id(a % 4, b % (index.0 + 1)),
            }),
            2 => Body::AppendReply(AppendOutcome::Blank),
            _ => Body::HeartbeatReply {
                round: Round(a % 4),
                received: index,
                matched: Index(index.0 / (1 + a % 2)),
                promised: Span(0),
                disk: raft_core::DiskHealth::Healthy,
            },
        };
        self.receive(2 + b % 2, term, session, body);
    }

    fn snapshot(&mut self, kind: u8, a: u64, b: u64) {
        let applied = self.subject.node.status().last_applied;
        let commit = self.subject.commit();
        let made_up = SnapshotMeta {
            id: id(a % 9, commit + b % 9),
            term: Term(b % 9),
            configured: id(a % 3, (commit + b) * (a % 2)),
            configuration: Configuration::of_voters((1..=3 + a % 2).map(member)).into(),
        };
        let index = Index(applied.0.saturating_sub(a % 4));
        let own = self.subject.node.snapshot_meta(index);
        match kind {
            0 => self.step(Input::SnapshotTaken {
                snapshot: own.unwrap_or(made_up),
            }),
            1 => self.step(Input::SnapshotReceived {
                ticket: SnapshotTicket(
                    self.ticket.0.saturating_sub(u64::from(b.is_multiple_of(4))),
                ),
                snapshot: made_up,
            }),
            2 => self.step(Input::SnapshotFailed {
                ticket: self.ticket,
            }),
            _ => self.step(Input::SnapshotTaken { snapshot: made_up }),
        }
    }

    fn happen(&mut self, kind: u8, a: u64, b: u64, c: u64) {
        match kind % 20 {
            kind @ 0..=2 => self.lead(kind, a, b, c),
            kind @ 3..=6 => self.follow(kind - 3, a, b),
            kind @ 7..=10 => self.snapshot(kind - 7, a, b),
            11 | 12 => self.sync(1 + small(a)),
            13 => {
                let index = self.handed;
                self.step(Input::Applied { index });
            }
            14 => {
                if let Some(id) = self.restoring.take() {
                    self.handed = id.index;
                    self.step(Input::SnapshotRestored { id });
                }
            }
            15 => {
                self.step(Input::Campaign);
                self.grant();
                self.sync(9);
                self.grant();
            }
            16 => {
                if let Some(deadline) = self.subject.node.next_deadline() {
                    self.subject.now = deadline;
                }
                self.step(Input::Tick);
            }
            17 => self.read(a),
            18 if a.is_multiple_of(8) => self.restart(small(b)),
            _ => self.step(Input::Propose {
                request: RequestId(a),
                command: Bytes::from("x".repeat(self.writes.len() * 99)),
            }),
        }
    }
}

/// A small count.
fn small(number: u64) -> usize {
    usize::try_from(number % 4).unwrap()
}

fn entry(term: u64, index: u64, kind: u64) -> Entry {
    let mut entry = command(term, index);
    if kind.is_multiple_of(11) {
        let configuration = Configuration::of_voters((1..=3 + kind % 2).map(member));
        entry.payload = Payload::Configuration(configuration.into());
    }
    entry
}

quickcheck! {
    /// Leaders that contradict each other halt the node; nothing makes it panic, nor leaves a store from
    /// which no node can be made.
    fn a_node_and_its_store_stand_whatever_happens(steps: Vec<(u8, u8, u8, u8)>) -> bool {
        let mut storm = Storm::new();
        for (kind, a, b, c) in steps {
            storm.happen(kind, a.into(), b.into(), c.into());
            if storm.subject.node.status().halted.is_some() {
                storm.restart(usize::from(a % 4));
            }
        }
        true
    }
}
