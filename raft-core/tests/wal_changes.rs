//! What changes a log besides entries (snapshot marks, identity, compaction, wiping) against a naive model,
//! on a disk that forgets and is switched off at every operation.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::sync::Arc;

use raft_core::replica::{read_part, write_part};
use raft_core::wal::{
    Disk, DiskError, RecoveryError, SnapshotError, SnapshotStore, Wal, WalOptions,
};
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
        match &persist.snapshot {
            Some(SnapshotMark::Taken(meta)) => self.snapshot = Some(meta.clone()),
            Some(SnapshotMark::Installed(meta)) => {
                self.snapshot = Some(meta.clone());
                self.base = meta.clone();
                self.log.clear();
            }
            None => {}
        }
        self.identity = persist.identity.unwrap_or(self.identity);
        self.hard_state = persist.hard_state.unwrap_or(self.hard_state);
        if let Some(first) = persist.entries.first() {
            self.log.retain(|entry| entry.id.index < first.id.index);
            self.log.extend(persist.entries.iter().cloned());
        }
    }

    fn compact(&mut self, log: &CompactLog) {
        self.base = SnapshotMeta {
            id: log.base,
            configured: log.configured,
            configuration: log.configuration.clone(),
        };
        self.log.retain(|entry| entry.id.index > log.base.index);
    }

    /// Reads everything back.
    fn shown_by(wal: &mut Wal<MemoryDisk>, restored: &Restored) -> Self {
        let base = SnapshotMeta {
            id: restored.terms.base(),
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

    /// Opens it, and looks whether it is one of what it may be.
    fn open(disk: MemoryDisk, possible: Vec<Model>, drawn: u128) -> Self {
        let (mut wal, restored) = Wal::recover(disk.clone(), OPTIONS).unwrap();
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
                .then_some(after.hard_state),
            snapshot,
            identity,
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

/// A record is there for what it replaces, too: below the base nothing of it is needed, and above it is the
/// only one to say that what came before is void.
#[test]
fn what_was_replaced_does_not_come_back_when_the_log_begins_behind_it() {
    for last in 15..90 {
        for first in [last - 12, last - 3, last - 1, last] {
            replace_and_compact(last, first);
        }
    }
}

/// A log up to `last`, then two entries of a newer term from `first` on, a snapshot of all, and a log that
/// begins there. The machine dies before anything says that the last writes were synced.
fn replace_and_compact(last: u64, first: u64) {
    let mut store = Store::new();
    for index in 1..=last {
        store.write(None, vec![command(1, index)]);
        if index % 4 == 0 {
            store.sync().unwrap();
        }
    }
    store.write(None, vec![command(2, first), command(2, first + 1)]);
    let meta = store.model().meta_at(first + 1);
    store.write_snapshot(&meta).unwrap();
    store.write(Some(SnapshotMark::Taken(meta)), vec![]);
    while store.model().base.id.index.0 <= first {
        store.compact(&mut Random(1)).unwrap();
    }
    let Store {
        disk,
        possible,
        drawn,
        ..
    } = store;
    let mut store = Store::open(disk, possible, drawn);
    assert_eq!(store.model().last().index.0, first + 1);
    store.write(None, vec![command(2, first + 2)]);
    store.sync().unwrap();
    let Store {
        disk,
        possible,
        drawn,
        ..
    } = store;
    drop(Store::open(disk, possible, drawn));
}

fn command(term: u64, index: u64) -> Entry {
    Entry {
        id: EntryId {
            term: Term(term),
            index: Index(index),
        },
        payload: Payload::Command(Bytes::from(vec![7; 150])),
    }
}

impl Store {
    /// Takes in one write of the present term, or of that of its entries.
    fn write(&mut self, snapshot: Option<SnapshotMark>, entries: Vec<Entry>) {
        let mut model = self.model().clone();
        let term = entries.last().map_or(Term(0), |entry| entry.id.term);
        let persist = Persist {
            id: PersistId(1),
            store: model.identity.member.store,
            boot: Boot(1),
            hard_state: Some(HardState {
                term: term.max(model.hard_state.term),
                ..model.hard_state
            }),
            snapshot,
            identity: None,
            entries: entries.into(),
        };
        model.persist(&persist);
        self.wal.append(&persist).unwrap();
        self.possible.push(model);
    }

    /// A store with a few segments, a snapshot at entry 20, and a log that begins there.
    fn compacted() -> Self {
        let mut store = Self::new();
        for index in 1..=80 {
            store.write(None, vec![command(1, index)]);
            store.sync().unwrap();
        }
        let meta = store.model().meta_at(60);
        store.write_snapshot(&meta).unwrap();
        store.write(Some(SnapshotMark::Taken(meta)), vec![]);
        let before = store.segments().len();
        while store.model().base.id.index < Index(60) {
            store.compact(&mut Random(1)).unwrap();
        }
        assert!(store.segments().len() < before, "segments were dropped");
        store
    }

    fn segments(&self) -> Vec<String> {
        let mut names = self.disk.names();
        names.retain(|name| name.ends_with(".wal"));
        names
    }

    fn snapshot_file(&self) -> String {
        let names = self.disk.names();
        names
            .into_iter()
            .find(|name| name.ends_with(".snap"))
            .unwrap()
    }
}

#[test]
fn a_dropped_segment_becomes_the_next_one() {
    let store = Store::compacted();
    assert!(store.disk.names().contains(&"spare".to_string()));
    let spare = store.disk.file("spare").unwrap();
    assert_eq!(spare.len() as u64, OPTIONS.segment_bytes);
    assert!(spare.iter().any(|byte| *byte != 0), "it was used before");
}

/// The log cannot say what the state machine holds, so this is damage, like that of a segment.
#[test]
fn a_log_that_begins_after_a_snapshot_is_not_opened_without_it() {
    let store = Store::compacted();
    let name = store.snapshot_file();
    let bytes = store.disk.file(&name).unwrap();

    let disk = store.disk.image();
    disk.clone().remove(&name).unwrap();
    let error = Wal::recover(disk, OPTIONS).unwrap_err();
    assert!(
        matches!(&error, RecoveryError::Damaged { file, .. } if *file == name),
        "{error}"
    );
    assert!(error.to_string().contains("found no file"), "{error}");

    // A flipped bit at its beginning, and a file that became shorter.
    let mut flipped = bytes.clone();
    flipped[30] ^= 1;
    let shorter = bytes[..bytes.len() - 1].to_vec();
    for damaged in [flipped, shorter] {
        let disk = store.disk.image();
        disk.set_file(&name, damaged);
        let error = Wal::recover(disk, OPTIONS).unwrap_err();
        assert!(
            matches!(&error, RecoveryError::Damaged { file, .. } if *file == name),
            "{error}"
        );
    }

    // Damage further in is found by who reads it.
    let disk = store.disk.image();
    let mut flipped = bytes;
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    disk.set_file(&name, flipped);
    let (_, restored) = Wal::recover(disk.clone(), OPTIONS).unwrap();
    let id = restored.snapshot.unwrap().id;
    let mut snapshots = SnapshotStore::open(disk).unwrap();
    let read = snapshots.read(id).unwrap().finish();
    assert!(
        matches!(read, Err(SnapshotError::Damaged { .. })),
        "{read:?}"
    );
}

#[test]
fn a_log_that_holds_everything_does_without_its_snapshot() {
    let mut store = Store::new();
    store.write(None, vec![command(1, 1), command(1, 2)]);
    let meta = store.model().meta_at(2);
    store.write_snapshot(&meta).unwrap();
    store.write(Some(SnapshotMark::Taken(meta)), vec![]);
    store.sync().unwrap();
    let (_, restored) = Wal::recover(store.disk.image(), OPTIONS).unwrap();
    assert!(restored.snapshot.is_some());
    let name = store.snapshot_file();
    store.disk.remove(&name).unwrap();
    let (_, restored) = Wal::recover(store.disk.image(), OPTIONS).unwrap();
    assert_eq!(restored.snapshot, None);
    assert_eq!(restored.terms.last().index, Index(2));
}

/// The record that says where the log begins is as well guarded as any other: with segments gone, no bit of
/// what is left goes unseen.
#[test]
fn no_flipped_bit_of_a_compacted_log_goes_unseen() {
    let Store {
        disk,
        wal,
        possible,
        ..
    } = Store::compacted();
    wal.close().unwrap();
    let (wal, _) = Wal::recover(disk.clone(), OPTIONS).unwrap();
    wal.close().unwrap();
    let expected = possible.last().unwrap();
    let name = disk
        .names()
        .into_iter()
        .rfind(|name| name.ends_with(".wal"))
        .unwrap();
    let bytes = disk.file(&name).unwrap();
    // Nothing was written since the start: behind what the segment begins with is what closed it.
    let close_at = usize::from(u16::from_le_bytes([bytes[92], bytes[93]]));
    for bit in 0..close_at * 8 {
        let image = disk.image();
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        image.set_file(&name, flipped);
        let found = Wal::recover(image, OPTIONS);
        assert!(!matches!(found, Err(RecoveryError::Disk(_))), "bit {bit}");
        if let Ok((_, restored)) = found {
            panic!(
                "bit {bit} of {name}: {:?} of {:?}",
                restored.terms.last(),
                expected.last()
            );
        }
    }
}

#[test]
fn a_segment_that_is_needed_and_gone_is_damage() {
    let store = Store::compacted();
    let segments = store.segments();
    assert!(segments.len() > 1);
    store.disk.clone().remove(&segments[0]).unwrap();
    let error = Wal::recover(store.disk, OPTIONS).unwrap_err();
    assert!(
        matches!(&error, RecoveryError::Damaged { file, .. } if *file == segments[0]),
        "{error}"
    );
}

#[test]
fn peek_tells_who_the_store_became() {
    let mut store = Store::new();
    store
        .append(&mut Random(3), None, Some(identity(7, 8)))
        .unwrap();
    store.wal.sync().unwrap();
    assert_eq!(Wal::peek(&mut store.disk).unwrap(), identity(7, 8));
    store.drawn = 8;
    store.wipe().unwrap();
    assert_eq!(Wal::peek(&mut store.disk).unwrap(), identity(0, 9));
}

/// A full disk is what compaction is to help with, so the record that says so gets along with little room.
#[test]
fn a_log_is_compacted_on_a_full_disk() {
    let mut store = Store::new();
    for index in 1..=80 {
        store.write(None, vec![command(1, index)]);
        store.sync().unwrap();
    }
    let meta = store.model().meta_at(80);
    store.write_snapshot(&meta).unwrap();
    store.write(Some(SnapshotMark::Taken(meta)), vec![]);
    store.sync().unwrap();
    let used = store.disk.used();
    store.disk.set_capacity(Some(used + 1_500));
    let mut index = 80;
    let full = loop {
        let next = Persist {
            id: PersistId(1),
            store: StorageId(0xa1),
            boot: Boot(1),
            hard_state: None,
            snapshot: None,
            identity: None,
            entries: vec![command(1, index + 1)].into(),
        };
        match store.wal.append(&next).and_then(|()| store.wal.sync()) {
            Ok(()) => {
                store.possible.last_mut().unwrap().persist(&next);
                index += 1;
            }
            Err(error) => break error,
        }
    };
    assert!(matches!(full, DiskError::Full { .. }), "{full}");
    store.compact(&mut Random(0)).unwrap();
    assert!(store.disk.used() < used, "there is room again");
    store.write(None, vec![command(1, index + 1)]);
    store.sync().unwrap();
    let Store {
        disk,
        possible,
        drawn,
        ..
    } = store;
    drop(Store::open(disk, possible, drawn));
}
