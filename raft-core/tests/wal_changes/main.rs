//! What changes a log besides entries (snapshot marks, identity, compaction, wiping) against a naive model,
//! on a disk that forgets and is switched off at every operation.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod cases;

use std::sync::Arc;

use raft_core::replica::{read_part, write_part};
use raft_core::wal::{DiskError, SnapshotStore, Wal, WalOptions};
use raft_core::{
    Boot, Bytes, ClusterId, CompactLog, Configuration, Entry, EntryId, GroupId, HardState,
    Identity, Index, LogReadOutcome, Member, NodeId, Payload, Persist, PersistId, ReadLog,
    ReadTicket, Restored, SnapshotMark, SnapshotMeta, StorageId, Term,
};
use raft_sim::MemoryDisk;

const OPTIONS: WalOptions = WalOptions {
    segment_bytes: 8 << 10,
    tail_bytes_max: 1 << 20,
};

fn member(store: u128) -> Member {
    Member {
        node: NodeId(1),
        store: StorageId(store),
    }
}

fn identity(cluster: u128, store: u128) -> Identity {
    Identity {
        group: GroupId(0),
        cluster: ClusterId(cluster),
        member: member(store),
    }
}

fn configuration(store: u64) -> Arc<Configuration> {
    Arc::new(Configuration::of_voters([member(store.into())]))
}

struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

/// What a store is, as simply as it can be said.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Model {
    identity: Identity,
    hard_state: HardState,
    base: SnapshotMeta,
    snapshot: Option<SnapshotMeta>,
    /// The entries above the base.
    log: Vec<Entry>,
    /// The store's id when it was empty: what its snapshots must not outlive.
    born: StorageId,
}

impl Model {
    fn empty(identity: Identity, configuration: Arc<Configuration>) -> Self {
        let base = SnapshotMeta {
            id: EntryId::ZERO,
            term: Term(0),
            configured: EntryId::ZERO,
            configuration,
        };
        Self {
            identity,
            hard_state: HardState::default(),
            base,
            snapshot: None,
            log: Vec::new(),
            born: identity.member.store,
        }
    }

    fn last(&self) -> EntryId {
        self.log.last().map_or(self.base.id, |entry| entry.id)
    }

    /// What a snapshot at an entry of the log would be one of.
    fn meta_at(&self, index: u64) -> SnapshotMeta {
        let mut meta = self.base.clone();
        for entry in self.log.iter().filter(|entry| entry.id.index.0 <= index) {
            meta.id = entry.id;
            if let Payload::Configuration(configuration) = &entry.payload {
                meta.configured = entry.id;
                meta.configuration = configuration.clone();
            }
        }
        meta
    }

    fn persist(&mut self, persist: &Persist) {
        match persist.snapshot.as_deref() {
            Some(SnapshotMark::Taken(meta)) => self.snapshot = Some(meta.clone()),
            Some(SnapshotMark::Installed(meta)) => {
                self.snapshot = Some(meta.clone());
                self.base = SnapshotMeta {
                    term: meta.id.term,
                    ..meta.clone()
                };
                self.log.clear();
            }
            None => {}
        }
        self.identity = persist
            .identity
            .as_deref()
            .copied()
            .unwrap_or(self.identity);
        self.hard_state = persist
            .hard_state
            .as_deref()
            .copied()
            .unwrap_or(self.hard_state);
        if let Some(first) = persist.entries.first() {
            self.log.retain(|entry| entry.id.index < first.id.index);
            self.log.extend(persist.entries.iter().cloned());
        }
    }

    fn compact(&mut self, log: &CompactLog) {
        self.base = SnapshotMeta {
            id: log.base,
            term: log.base.term,
            configured: log.configured,
            configuration: log.configuration.clone(),
        };
        self.log.retain(|entry| entry.id.index > log.base.index);
    }

    /// Reads everything back.
    fn shown_by(wal: &mut Wal<MemoryDisk>, restored: &Restored) -> Self {
        let base = SnapshotMeta {
            id: restored.terms.base(),
            term: restored.terms.base().term,
            configured: restored.configured,
            configuration: restored.configuration.clone(),
        };
        let mut model = Self {
            identity: restored.identity,
            hard_state: restored.hard_state,
            snapshot: restored.snapshot.clone(),
            log: read_all(wal, base.id.index, restored.terms.last().index),
            base,
            born: StorageId(0),
        };
        assert_eq!(wal.identity(), restored.identity);
        assert_eq!(model.last(), restored.terms.last());
        let mut configurations = Vec::new();
        for entry in &model.log {
            assert_eq!(restored.terms.term(entry.id.index), Some(entry.id.term));
            if let Payload::Configuration(configuration) = &entry.payload {
                configurations.push((entry.id.index, configuration.clone()));
            }
        }
        assert_eq!(restored.configurations, configurations);
        let tail = model.log.split_off(model.log.len() - restored.tail.len());
        assert_eq!(tail, restored.tail, "the tail is the log's end");
        model.log.extend(tail);
        model
    }
}

fn read_all(wal: &mut Wal<MemoryDisk>, base: Index, last: Index) -> Vec<Entry> {
    let mut found: Vec<Entry> = Vec::new();
    let request = |from| ReadLog {
        ticket: ReadTicket(1),
        from,
        to: last,
        bytes_max: 3_000,
    };
    if base > Index(0) {
        let below = wal.read(&request(base));
        assert!(matches!(below, LogReadOutcome::Compacted), "{below:?}");
    }
    let mut from = base.next();
    while from <= last {
        let LogReadOutcome::Entries(more) = wal.read(&request(from)) else {
            panic!("entry {from} of {last} cannot be read");
        };
        assert_eq!(more[0].id.index, from);
        found.extend(more);
        from = found.last().unwrap().id.index.next();
    }
    found
}

/// A store with its snapshots, and all that it may be after a crash: what was synced last, and every write
/// since.
struct Store {
    disk: MemoryDisk,
    wal: Wal<MemoryDisk>,
    snapshots: SnapshotStore<MemoryDisk>,
    possible: Vec<Model>,
    /// For ids that were never used.
    drawn: u128,
}

impl Store {
    fn new() -> Self {
        let mut disk = MemoryDisk::new();
        let identity = identity(0xc1, 0xa1);
        Wal::create(&mut disk, identity, &configuration(0xa1)).unwrap();
        Self::open(
            disk,
            vec![Model::empty(identity, configuration(0xa1))],
            0x100,
        )
    }

    /// The process ends, and another one opens what it wrote.
    fn reopened(self) -> Self {
        let Self {
            disk,
            possible,
            drawn,
            ..
        } = self;
        Self::open(disk, possible, drawn)
    }

    /// Opens it, and looks whether it is one of what it may be.
    fn open(disk: MemoryDisk, possible: Vec<Model>, drawn: u128) -> Self {
        let (mut wal, restored) = Wal::recover(disk.clone(), OPTIONS).unwrap();
        wal.keep_files(usize::try_from(drawn % 3).unwrap());
        let mut snapshots = SnapshotStore::open(disk.clone()).unwrap();
        let mut model = Model::shown_by(&mut wal, &restored);
        let same = |other: &Model| {
            model.born = other.born;
            *other == model
        };
        if let Some(place) = possible.iter().position(same) {
            let metas = snapshots.metas().unwrap();
            assert!(model.snapshot.iter().all(|meta| metas.contains(meta)));
            for meta in metas {
                check_image(&mut snapshots, &meta, model.born);
            }
            return Self {
                disk,
                wal,
                snapshots,
                possible: vec![possible[place].clone()],
                drawn,
            };
        }
        panic!(
            "found {model:#?}\n\nwhich is none of {} possible: {possible:#?}",
            possible.len()
        );
    }

    fn model(&self) -> &Model {
        self.possible.last().unwrap()
    }

    /// Does something; what was begun may be there after a crash.
    fn act(&mut self, random: &mut Random) -> Result<(), DiskError> {
        match random.below(16) {
            0..8 => self.append(random, None, None)?,
            8 => {
                let before = self.model().identity;
                self.drawn += 1;
                let next = if random.below(2) == 0 {
                    identity(self.drawn, self.drawn)
                } else {
                    before
                };
                self.append(random, None, Some(next))?;
            }
            9 | 10 => self.take(random)?,
            11 => self.install(random)?,
            12 | 13 => self.compact(random)?,
            14 if random.below(4) == 0 => self.wipe()?,
            _ => {
                self.wal.rest()?;
                while self.wal.maintain()? {}
            }
        }
        if random.below(2) == 0 {
            self.sync()?;
        }
        if random.below(4) == 0 {
            self.wal.write()?;
            let Model { base, log, .. } = self.model().clone();
            let last = self.model().last().index;
            assert_eq!(read_all(&mut self.wal, base.id.index, last), log);
        }
        Ok(())
    }

    fn sync(&mut self) -> Result<(), DiskError> {
        self.wal.sync()?;
        self.possible.drain(..self.possible.len() - 1);
        let keep: Vec<EntryId> = self.model().snapshot.iter().map(|meta| meta.id).collect();
        if !keep.is_empty() {
            self.snapshots.retain(&keep).map_err(|_| off())?;
        }
        Ok(())
    }

    fn append(
        &mut self,
        random: &mut Random,
        snapshot: Option<SnapshotMark>,
        identity: Option<Identity>,
    ) -> Result<(), DiskError> {
        let mut after = self.model().clone();
        after.hard_state.term.0 += random.below(2);
        let begins = match &snapshot {
            Some(SnapshotMark::Installed(meta)) => meta.id,
            Some(SnapshotMark::Taken(_)) | None => after.last(),
        };
        let term = begins.term.max(after.hard_state.term);
        after.hard_state.term = term;
        after.hard_state.voted_for = Some(after.identity.member);
        // Entries that a snapshot holds are committed, and not replaced.
        let fixed = snapshot.as_ref().map(SnapshotMark::meta);
        let fixed = fixed
            .or(after.snapshot.as_ref())
            .map_or(0, |meta| meta.id.index.0);
        let back = random
            .below(4)
            .min(begins.index.0 - fixed.min(begins.index.0));
        let first = begins.index.0 + 1 - if random.below(3) == 0 { back } else { 0 };
        let end = first + random.below(5);
        let entries = (first..end).map(|index| {
            let id = EntryId {
                term,
                index: Index(index),
            };
            let payload = match random.below(8) {
                0 => Payload::Configuration(configuration(term.0 * 1_000 + index)),
                1 => Payload::Noop,
                _ => {
                    let size = usize::try_from(16 + random.below(900)).unwrap();
                    Payload::Command(Bytes::from(vec![u8::try_from(index % 256).unwrap(); size]))
                }
            };
            Entry { id, payload }
        });
        let entries: Vec<Entry> = entries.collect();
        let persist = Persist {
            id: PersistId(1),
            store: after.identity.member.store,
            boot: Boot(1),
            hard_state: (random.below(2) == 0 || term > self.model().hard_state.term)
                .then(|| Box::new(after.hard_state)),
            snapshot: snapshot.map(Box::new),
            identity: identity.map(Box::new),
            entries: entries.into(),
        };
        let mut model = self.model().clone();
        model.persist(&persist);
        self.wal.append(&persist)?;
        self.possible.push(model);
        Ok(())
    }

    fn take(&mut self, random: &mut Random) -> Result<(), DiskError> {
        let model = self.model();
        let from = model.snapshot.as_ref().map_or(0, |meta| meta.id.index.0);
        let last = model.last().index.0;
        if last <= from {
            return Ok(());
        }
        let behind = random.below(last - from) * random.below(2);
        let meta = model.meta_at(last - behind);
        self.write_snapshot(&meta)?;
        self.append(random, Some(SnapshotMark::Taken(meta)), None)
    }

    fn install(&mut self, random: &mut Random) -> Result<(), DiskError> {
        let model = self.model().clone();
        let from = model.snapshot.as_ref().map_or(0, |meta| meta.id.index.0);
        let mut meta = model.base.clone();
        meta.id.index = Index(from + 1 + random.below(12));
        meta.id.term = Term(model.hard_state.term.0 + 1);
        meta.term = meta.id.term;
        meta.configured = meta.id;
        meta.configuration = configuration(meta.id.index.0);
        self.write_snapshot(&meta)?;
        let adopted = (random.below(3) == 0).then_some(model.identity);
        self.append(random, Some(SnapshotMark::Installed(meta)), adopted)
    }

    fn write_snapshot(&mut self, meta: &SnapshotMeta) -> Result<(), DiskError> {
        let image = image(self.model().born);
        let taken = self
            .snapshots
            .take(meta, &mut |sink| write_part(sink, &image));
        taken.map(|_| ()).map_err(|_| off())
    }

    fn compact(&mut self, random: &mut Random) -> Result<(), DiskError> {
        let mut model = self.model().clone();
        let Some(snapshot) = &model.snapshot else {
            return Ok(());
        };
        let (low, high) = (model.base.id.index.0, snapshot.id.index.0);
        if high <= low {
            return Ok(());
        }
        // Rarely not all of it, so that most of the time there is something to drop.
        let base = if random.below(3) == 0 {
            low + 1 + random.below(high - low)
        } else {
            high
        };
        let meta = model.meta_at(base);
        let log = CompactLog {
            base: meta.id,
            configured: meta.configured,
            configuration: meta.configuration,
        };
        model.compact(&log);
        self.possible.push(model);
        self.wal.compact(&log)?;
        self.possible.drain(..self.possible.len() - 1);
        Ok(())
    }

    fn wipe(&mut self) -> Result<(), DiskError> {
        self.drawn += 1;
        let empty = Model::empty(identity(0, self.drawn), Arc::default());
        self.possible.push(empty);
        self.wal.wipe(StorageId(self.drawn))?;
        self.possible.drain(..self.possible.len() - 1);
        let names = self.disk.names();
        let segments = names.iter().filter(|name| name.ends_with(".wal"));
        assert_eq!(segments.count(), 1, "{names:?}");
        assert!(!names.iter().any(|name| name.starts_with("snapshot")));
        Ok(())
    }
}

fn off() -> DiskError {
    DiskError::NotFound {
        name: "the machine is off".to_string(),
    }
}

fn image(born: StorageId) -> Vec<u8> {
    born.0.to_le_bytes().repeat(20)
}

fn check_image(snapshots: &mut SnapshotStore<MemoryDisk>, meta: &SnapshotMeta, born: StorageId) {
    let mut reader = snapshots.read(meta.id).unwrap();
    assert_eq!(reader.meta(), meta);
    assert_eq!(read_part(&mut reader).unwrap(), image(born));
    reader.finish().unwrap();
}

/// The power fails during starts, too.
fn recover_in_pieces(disk: &MemoryDisk, random: &mut Random) {
    for operations in [0, 1, 3, 4, 6, 8, 10, 13] {
        disk.turn_off_after(disk.operations() + operations);
        let _ = Wal::recover(disk.clone(), OPTIONS);
        disk.lose_power_where(|| random.below(2) == 0);
    }
}

/// Runs until the machine goes off after so many operations, or for a number of steps; true if it never did.
fn run(store: &mut Store, random: &mut Random, operations: u64, steps: u64) -> bool {
    let disk = store.disk.clone();
    disk.turn_off_after(disk.operations() + operations);
    let done = (0..steps).all(|_| store.act(random).is_ok());
    if done {
        disk.turn_off_after(u64::MAX);
    }
    done
}

/// D1, D12, D13, S12, and // S62 of the semantics: every cut of a long life leaves what was synced last, or
/// what was being written, and nothing between; and the log goes on from there.
#[test]
fn switched_off_at_every_operation_the_store_is_what_it_was_or_what_it_was_becoming() {
    let mut total = 0;
    for script in 0..12_u64 {
        for cut in 0.. {
            let mut store = Store::new();
            let mut random = Random(script * 7_919 + 1);
            let done = run(&mut store, &mut random, cut, 40);
            let Store {
                disk,
                possible,
                drawn,
                ..
            } = store;
            let mut chance = Random(script * 1_000_003 + cut);
            disk.lose_power_where(|| chance.below(2) == 0);
            recover_in_pieces(&disk, &mut chance);
            let mut store = Store::open(disk, possible, drawn);
            assert!(run(&mut store, &mut chance, u64::MAX / 2, 10));
            store.sync().unwrap();
            let Store {
                disk,
                wal,
                possible,
                drawn,
                ..
            } = store;
            wal.close().unwrap();
            disk.lose_power(0);
            drop(Store::open(disk, possible, drawn));
            total += 1;
            if done {
                break;
            }
        }
    }
    assert!(total > 800, "the scripts have many operations: {total}");
}

/// Many lives of one store, each ending in a loss of power.
#[test]
fn through_many_lives_the_store_is_one_of_what_it_may_be() {
    for seed in 0..150_u64 {
        let mut random = Random(seed);
        let mut store = Store::new();
        for _ in 0..8 {
            let operations = random.below(250);
            run(&mut store, &mut random, operations, 60);
            let Store {
                disk,
                possible,
                drawn,
                ..
            } = store;
            disk.lose_power_where(|| random.below(3) != 0);
            store = Store::open(disk, possible, drawn);
        }
    }
}
