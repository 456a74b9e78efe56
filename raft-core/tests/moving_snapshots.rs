//! Whole replicas that fall behind and catch up by snapshots, over stores in memory that lose what was not
//! reported durable, and a network that loses, repeats and reorders.

#![expect(
    clippy::cast_possible_truncation,
    clippy::too_many_lines,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a test that cannot go on has failed, and looks only at what it is about"
)]

use std::collections::{BTreeMap, VecDeque};

use raft_core::replica::{
    Applied, Image, Output, Replica, ReplicaImage, RequestError, Serde, SnapshotRefusal,
    StateMachine,
};
use raft_core::wal::Chunk;
use raft_core::{
    Action, Boot, ClusterId, CompactLog, Configuration, Entry, EntryId, Envelope, Event, GroupId,
    HaltReason, HardState, Identity, Index, Input, LogReadOutcome, Member, NodeId, Options,
    Payload, Persist, ReadLog, RequestId, Restored, SnapshotMark, SnapshotMeta, Span, StorageId,
    TermRuns, Time,
};

/// Remembers every command in order.
#[derive(Debug, Default)]
struct Journal(Vec<u64>);

impl StateMachine for Journal {
    type Command = Serde<u64>;
    type Query = ();
    type Reply = usize;

    fn apply(&mut self, entry: Applied<Serde<u64>>) -> usize {
        self.0.push(entry.command.0);
        self.0.len()
    }

    fn query(&self, (): &()) -> usize {
        self.0.len()
    }

    type Image = Serde<Vec<u64>>;

    fn image(&self) -> Serde<Vec<u64>> {
        Serde(self.0.clone())
    }

    fn restore(&mut self, image: Serde<Vec<u64>>) {
        self.0 = image.0;
    }
}

type Contents = ReplicaImage<Serde<Vec<u64>>>;

/// A snapshot as one file: what it is, what it contains, and a sum over both.
fn encode(meta: &SnapshotMeta, image: &Contents) -> Vec<u8> {
    let mut file = Vec::new();
    Serde(meta.clone()).write(&mut file).unwrap();
    image.write(&mut file).unwrap();
    let sum = sum(&file);
    file.extend_from_slice(&sum.to_le_bytes());
    file
}

fn decode(file: &[u8]) -> Option<(SnapshotMeta, Contents)> {
    let (mut contents, end) = file.split_at_checked(file.len().checked_sub(8)?)?;
    if sum(contents).to_le_bytes() != end {
        return None;
    }
    let meta = Serde::<SnapshotMeta>::read(&mut contents).ok()?;
    Some((meta.0, Contents::read(&mut contents).ok()?))
}

fn sum(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(7, |sum, byte| sum * 31 % 1_000_003 + u64::from(*byte))
}

/// What a machine keeps when its process dies.
struct Disk {
    identity: Identity,
    boot: Boot,
    hard_state: HardState,
    base: EntryId,
    configured: EntryId,
    configuration: std::sync::Arc<Configuration>,
    entries: BTreeMap<Index, Entry>,
    snapshot: Option<SnapshotMeta>,
    files: BTreeMap<EntryId, Vec<u8>>,
    /// A file that is not whole yet.
    partial: Option<(EntryId, u64, Vec<u8>)>,
}

impl Disk {
    fn write(&mut self, write: Write) {
        match write {
            Write::Persist(persist) => self.persist(&persist),
            Write::Compact(compact) => {
                self.base = compact.base;
                self.configured = compact.configured;
                self.configuration = compact.configuration;
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
            let id = mark.meta().id;
            assert!(self.files.contains_key(&id), "what is relied on is there");
            self.snapshot = Some(mark.meta().clone());
        }
        if let Some(SnapshotMark::Installed(snapshot)) = persist.snapshot.as_deref() {
            self.base = snapshot.id;
            self.configured = snapshot.configured;
            self.configuration = snapshot.configuration.clone();
            self.entries.clear();
        }
        if let Some(first) = persist.entries.first() {
            self.entries.retain(|index, _| *index < first.id.index);
        }
        for entry in persist.entries.iter() {
            self.entries.insert(entry.id.index, entry.clone());
        }
    }

    fn restored(&self) -> Restored {
        let mut terms = TermRuns::new(self.base);
        self.entries
            .values()
            .for_each(|entry| terms.append(entry.id));
        let configurations = self
            .entries
            .values()
            .filter_map(|entry| match &entry.payload {
                Payload::Configuration(configuration) => {
                    Some((entry.id.index, configuration.clone()))
                }
                Payload::Noop | Payload::Command(_) => None,
            });
        Restored {
            identity: self.identity,
            boot: self.boot,
            hard_state: self.hard_state,
            terms,
            tail: Vec::new(),
            configuration: self.configuration.clone(),
            configured: self.configured,
            configurations: configurations.collect(),
            snapshot: self.snapshot.clone(),
        }
    }
}

enum Write {
    Persist(Persist),
    Compact(CompactLog),
}

/// One life of a replica, and what its lanes have yet to do.
struct Life {
    replica: Replica<Journal>,
    log: VecDeque<Write>,
    reads: VecDeque<ReadLog>,
    snapshots: VecDeque<Output<Journal>>,
    halted: Option<HaltReason>,
}

struct Site {
    disk: Disk,
    life: Option<Life>,
}

struct Group {
    sites: Vec<Site>,
    network: Vec<Envelope>,
    now: u64,
    chance: u64,
    options: Options,
    replies: BTreeMap<RequestId, Result<usize, RequestError>>,
    taken: BTreeMap<RequestId, Result<EntryId, SnapshotRefusal>>,
    /// The contents of every snapshot that was taken.
    known: BTreeMap<EntryId, Vec<u64>>,
    restores: u32,
    lost_percent: u64,
}

fn options() -> Options {
    Options {
        heartbeat_interval: Span(50),
        election_timeout: Span(250),
        request_timeout: Span(2_000),
        disk_stall_timeout: Span(2_000),
        catch_up_timeout: Span(10_000),
        session_timeout: Span(3_600_000),
        snapshot_log_bytes: 1_000,
        compact_keep_bytes: 200,
        compact_wait_bytes_max: 400,
        snapshot_chunk_bytes: 24,
        tail_bytes_max: 100,
        ..Options::default()
    }
}

fn member(node: u64) -> Member {
    Member {
        node: NodeId(node),
        store: StorageId(u128::from(node) + 100),
    }
}

impl Group {
    fn new(seed: u64, options: Options) -> Self {
        let configuration = Configuration::of_voters((1..=3).map(member));
        let sites = (1..=3).map(|node| Site {
            disk: Disk {
                identity: Identity {
                    group: GroupId(0),
                    cluster: ClusterId(1),
                    member: member(node),
                },
                boot: Boot(0),
                hard_state: HardState::default(),
                base: EntryId::ZERO,
                configured: EntryId::ZERO,
                configuration: configuration.clone().into(),
                entries: BTreeMap::new(),
                snapshot: None,
                files: BTreeMap::new(),
                partial: None,
            },
            life: None,
        });
        let mut group = Self {
            sites: sites.collect(),
            network: Vec::new(),
            now: 0,
            chance: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
            options,
            replies: BTreeMap::new(),
            taken: BTreeMap::new(),
            known: BTreeMap::new(),
            restores: 0,
            lost_percent: 0,
        };
        (0..3).for_each(|site| group.start(site));
        group
    }

    fn draw(&mut self, bound: u64) -> u64 {
        self.chance ^= self.chance << 13;
        self.chance ^= self.chance >> 7;
        self.chance ^= self.chance << 17;
        (self.chance >> 11) % bound
    }

    fn at(&self) -> Time {
        Time(self.now)
    }

    fn start(&mut self, site: usize) {
        let at = self.at();
        let disk = &mut self.sites[site].disk;
        disk.boot = disk.boot.next();
        let options = Options {
            seed: site as u64,
            ..self.options
        };
        let replica = Replica::new(at, options, disk.restored(), Journal::default()).unwrap();
        self.sites[site].life = Some(Life {
            replica,
            log: VecDeque::new(),
            reads: VecDeque::new(),
            snapshots: VecDeque::new(),
            halted: None,
        });
        self.drain(site);
    }

    /// The process dies; some of what its log lane had yet to do was done.
    fn crash(&mut self, site: usize) {
        let Some(mut life) = self.sites[site].life.take() else {
            return;
        };
        let survive = self.draw(life.log.len() as u64 + 1);
        let disk = &mut self.sites[site].disk;
        life.log
            .drain(..survive as usize)
            .for_each(|write| disk.write(write));
        // Of a file that was not synced, any part from its end on is gone.
        if let Some((_, _, written)) = &mut self.sites[site].disk.partial {
            let length = written.len() as u64;
            let left = self.chance % (length + 1);
            written.truncate(left as usize);
        }
    }

    fn with(&mut self, site: usize, act: impl FnOnce(&mut Replica<Journal>, Time)) {
        let at = self.at();
        if let Some(life) = &mut self.sites[site].life {
            act(&mut life.replica, at);
            self.drain(site);
        }
    }

    fn tell(&mut self, site: usize, input: Input) {
        self.with(site, |replica, at| replica.handle(Event { at, input }));
    }

    fn drain(&mut self, site: usize) {
        let mut outputs = Vec::new();
        let Some(life) = &mut self.sites[site].life else {
            return;
        };
        life.replica.drain(&mut outputs);
        for output in outputs {
            match output {
                Output::Action(Action::Send(envelope)) => self.network.push(*envelope),
                Output::Action(Action::Persist(persist)) => {
                    life.log.push_back(Write::Persist(persist));
                }
                Output::Action(Action::CompactLog(compact)) => {
                    life.log.push_back(Write::Compact(compact));
                }
                Output::Action(Action::ReadLog(read)) => life.reads.push_back(read),
                Output::Action(Action::Halt(reason)) => life.halted = Some(reason),
                Output::Action(_) => {}
                Output::Reply { request, result } => {
                    let before = self.replies.insert(request, result);
                    assert_eq!(before, None, "one outcome");
                }
                Output::Snapshot { request, result } => {
                    let before = self.taken.insert(request, result);
                    assert_eq!(before, None, "one outcome");
                }
                output => life.snapshots.push_back(output),
            }
        }
    }

    /// The log lane does the next thing.
    fn log_lane(&mut self, site: usize) {
        let Site {
            disk,
            life: Some(life),
        } = &mut self.sites[site]
        else {
            return;
        };
        let input = if let Some(read) = life.reads.pop_front() {
            let found = disk.entries.range(read.from..=read.to);
            let found: Vec<Entry> = found.map(|(_, entry)| entry.clone()).take(3).collect();
            let whole = found.first().is_some_and(|e| e.id.index == read.from);
            let outcome = if whole {
                LogReadOutcome::Entries(found)
            } else {
                LogReadOutcome::Compacted
            };
            let ticket = read.ticket;
            Input::LogRead { ticket, outcome }
        } else {
            match life.log.pop_front() {
                Some(Write::Persist(persist)) => {
                    disk.persist(&persist);
                    let Persist {
                        store, boot, id, ..
                    } = persist;
                    Input::Persisted { store, boot, id }
                }
                Some(compact @ Write::Compact(_)) => {
                    disk.write(compact);
                    return;
                }
                None => return,
            }
        };
        self.tell(site, input);
    }

    /// The thread that keeps snapshots does the next thing.
    fn snapshot_lane(&mut self, site: usize) {
        let Site {
            disk,
            life: Some(life),
        } = &mut self.sites[site]
        else {
            return;
        };
        let Some(job) = life.snapshots.pop_front() else {
            return;
        };
        match job {
            Output::TakeSnapshot { snapshot, image } => {
                let contents = &image.machine().0;
                let known = self.known.entry(snapshot.id).or_insert(contents.clone());
                assert_eq!(known, contents, "one place, one state");
                disk.files.insert(snapshot.id, encode(&snapshot, &image));
                self.tell(site, Input::SnapshotTaken { snapshot });
            }
            Output::RestoreSnapshot { snapshot } => {
                let id = snapshot.id;
                let file = disk.files.get(&id).expect("a file in use is kept");
                let image = decode(file);
                self.restores += 1;
                self.with(site, |replica, at| match image {
                    Some((_, image)) => replica.restored(at, id, image),
                    None => replica.restore_failed(at, id),
                });
            }
            Output::ReadChunk(read) => {
                let file = disk.files.get(&read.id);
                let chunk = file.map(|file| {
                    let from = (read.offset as usize).min(file.len());
                    let to = (from + read.bytes_max as usize).min(file.len());
                    Chunk {
                        total: file.len() as u64,
                        bytes: file[from..to].to_vec().into(),
                    }
                });
                self.with(site, |replica, at| replica.chunk_read(at, &read, chunk));
            }
            Output::BeginReceive { id, total } => {
                let partial = disk.partial.take();
                let same = partial.filter(|(had, of, _)| (*had, *of) == (id, total));
                let (_, _, written) = disk.partial.insert(same.unwrap_or((id, total, vec![])));
                let offset = written.len() as u64;
                self.with(site, |replica, at| replica.receive_begun(at, id, offset));
            }
            Output::WriteChunk { id, offset, bytes } => {
                let Some((_, total, written)) = disk.partial.as_mut().filter(|p| p.0 == id) else {
                    return;
                };
                assert_eq!(offset, written.len() as u64, "parts come in order");
                written.extend_from_slice(&bytes);
                let end = written.len() as u64;
                assert!(end <= *total);
                self.with(site, |replica, at| replica.chunk_written(at, id, end));
            }
            Output::FinishReceive { id } => {
                let partial = disk.partial.take().filter(|p| p.0 == id);
                let file = partial.map(|(_, _, file)| file);
                let meta = file.as_deref().and_then(decode).map(|(meta, _)| meta);
                if let (Some(file), Some(_)) = (file, &meta) {
                    disk.files.insert(id, file);
                }
                self.with(site, |replica, at| match meta {
                    Some(meta) => replica.received(at, meta),
                    None => replica.receive_failed(at, id),
                });
            }
            Output::RetainSnapshots { keep } => {
                disk.files.retain(|id, _| keep.contains(id));
                assert!(
                    disk.snapshot
                        .as_ref()
                        .is_none_or(|s| disk.files.contains_key(&s.id)),
                    "what the log relies on stays"
                );
            }
            Output::Action(_)
            | Output::Reply { .. }
            | Output::Done { .. }
            | Output::Registered { .. }
            | Output::Snapshot { .. } => unreachable!(),
        }
    }

    fn deliver(&mut self) {
        if self.network.is_empty() {
            return;
        }
        let place = self.draw(self.network.len().min(8) as u64) as usize;
        let repeated = self.lost_percent > 0 && self.draw(100) < 5;
        let envelope = if repeated {
            self.network[place].clone()
        } else {
            self.network.remove(place)
        };
        let lost = self.draw(100) < self.lost_percent;
        let to = envelope.to.node.0 as usize - 1;
        if !lost {
            self.tell(to, Input::Receive(Box::new(envelope)));
        }
    }

    /// Something happens somewhere.
    fn step(&mut self) {
        let site = self.draw(3) as usize;
        match self.draw(16) {
            0..=6 => self.deliver(),
            7..=9 => self.log_lane(site),
            10..=13 => self.snapshot_lane(site),
            _ => {
                self.now += 1 + self.draw(4);
                let due = self.sites[site].life.as_ref();
                let due = due.and_then(|life| life.replica.next_deadline());
                if due.is_some_and(|due| due <= self.at()) {
                    self.tell(site, Input::Tick);
                    let life = self.sites[site].life.as_ref().unwrap();
                    let next = life.replica.next_deadline();
                    assert!(next.is_none_or(|next| next > self.at()), "no idle spin");
                }
            }
        }
    }

    fn run(&mut self, steps: u32) {
        (0..steps).for_each(|_| self.step());
    }

    fn leader(&self) -> Option<usize> {
        let statuses = self.sites.iter().enumerate().filter_map(|(site, s)| {
            let status = s.life.as_ref()?.replica.status();
            (status.role == raft_core::RoleKind::Leader).then_some((status.term, site))
        });
        statuses.max().map(|(_, site)| site)
    }

    fn run_until(&mut self, mut holds: impl FnMut(&Self) -> bool) {
        for _ in 0..400_000 {
            if holds(self) {
                return;
            }
            self.step();
        }
        panic!("what was waited for did not happen");
    }

    fn propose(&mut self, site: usize, value: u64) {
        self.with(site, |replica, at| {
            replica.propose(at, RequestId(value), &Serde(value));
        });
    }

    /// Writes through whoever leads, one after the other.
    fn write(&mut self, values: std::ops::Range<u64>) {
        for value in values {
            self.run_until(|group| group.leader().is_some());
            let leader = self.leader().unwrap();
            self.propose(leader, value);
            self.run_until(|group| group.replies.contains_key(&RequestId(value)));
        }
    }

    fn journal(&self, site: usize) -> &[u64] {
        &self.sites[site].life.as_ref().unwrap().replica.machine().0
    }

    fn are_equal(&self) -> bool {
        let applied = |site: usize| {
            let life = self.sites[site].life.as_ref().unwrap();
            let status = life.replica.status();
            (status.last_applied, status.commit_index, status.last)
        };
        applied(0) == applied(1) && applied(1) == applied(2) && applied(0).0 == applied(0).2.index
    }
}

#[test]
fn a_replica_that_was_away_for_long_catches_up_by_a_snapshot() {
    let mut group = Group::new(1, options());
    group.run_until(|group| group.leader().is_some());
    let away = (group.leader().unwrap() + 1) % 3;
    group.crash(away);
    group.write(1..200);
    group.start(away);
    group.run_until(Group::are_equal);
    assert!(group.restores > 0, "the log was compacted");
    assert_eq!(group.journal(away), (1..200).collect::<Vec<_>>());
    for site in &group.sites {
        let entries = site.disk.entries.len();
        assert!(entries < 60, "{entries} entries are kept");
        assert!(site.disk.files.len() <= 3, "old snapshots go");
    }
}

#[test]
fn a_caller_gets_a_snapshot_or_the_one_there_is() {
    let mut group = Group::new(2, options());
    group.with(0, |replica, at| replica.snapshot(at, RequestId(1_000)));
    assert_eq!(
        group.taken.get(&RequestId(1_000)),
        Some(&Err(SnapshotRefusal::Nothing))
    );
    group.write(1..4);
    let leader = group.leader().unwrap();
    for request in [1_001, 1_002] {
        group.with(leader, |replica, at| {
            replica.snapshot(at, RequestId(request))
        });
        group.run_until(|group| group.taken.contains_key(&RequestId(request)));
    }
    let first = group.taken[&RequestId(1_001)].unwrap();
    assert_eq!(group.taken[&RequestId(1_002)], Ok(first));
    assert_eq!(group.known[&first], [1, 2, 3]);
    let mark = group.sites[leader].disk.snapshot.as_ref();
    assert_eq!(
        mark.map(|meta| meta.id),
        Some(first),
        "the disk relies on it"
    );
}

#[test]
fn a_replica_whose_snapshot_is_damaged_halts_and_says_so() {
    let mut group = Group::new(3, options());
    group.write(1..60);
    group.run_until(|group| group.sites[0].disk.snapshot.is_some());
    group.crash(0);
    let disk = &mut group.sites[0].disk;
    let id = disk.snapshot.as_ref().unwrap().id;
    disk.files.get_mut(&id).unwrap()[9] ^= 1;
    group.start(0);
    group.run_until(|group| group.sites[0].life.as_ref().unwrap().halted.is_some());
    let halted = group.sites[0].life.as_ref().unwrap().halted;
    assert_eq!(halted, Some(HaltReason::SnapshotDamaged { id }));
    assert_eq!(group.journal(0), [0; 0], "nothing was changed by it");
}

/// Random crashes and a bad network, and in the end every state is the same and has every acknowledged
/// command once.
fn survive(seed: u64) -> u32 {
    let mut group = Group::new(seed, options());
    group.lost_percent = 10;
    let mut value = 0;
    for round in 0..600 {
        let site = group.draw(3) as usize;
        match group.draw(24) {
            0 => group.crash(site),
            1..=3 if group.sites[site].life.is_none() => group.start(site),
            4 => group.with(site, |replica, at| {
                replica.snapshot(at, RequestId(1_000_000 + round))
            }),
            _ => {
                value += 1;
                group.propose(site, value);
            }
        }
        let steps = group.draw(120) as u32;
        group.run(steps);
    }
    group.lost_percent = 0;
    for site in 0..3 {
        if group.sites[site].life.is_none() {
            group.start(site);
        }
    }
    group.run_until(|group| group.leader().is_some());
    group.run_until(Group::are_equal);
    let journal = group.journal(0).to_vec();
    assert_eq!(group.journal(1), journal, "seed {seed}");
    assert_eq!(group.journal(2), journal, "seed {seed}");
    for (request, result) in &group.replies {
        let times = journal.iter().filter(|value| **value == request.0).count();
        match result {
            // A reply says how long the journal was with the command in it.
            Ok(length) => {
                assert_eq!(times, 1, "seed {seed}");
                assert_eq!(
                    journal[length - 1],
                    request.0,
                    "a reply of its own, seed {seed}"
                );
            }
            Err(RequestError::ReplyLost(_)) => assert_eq!(times, 1, "seed {seed}"),
            Err(RequestError::Rejected(_) | RequestError::Superseded(_)) => assert_eq!(times, 0),
            Err(RequestError::Unknown | RequestError::Undecodable) => assert!(times <= 1),
            Err(
                RequestError::SessionExpired
                | RequestError::SequencePassed { .. }
                | RequestError::WindowFull { .. },
            ) => unreachable!("nothing is asked in a session"),
        }
    }
    group.restores
}

#[test]
fn replicas_survive_random_faults_while_snapshots_move() {
    let restores: u32 = (0..30).map(survive).sum();
    assert!(restores > 100, "{restores} snapshots were restored");
}
