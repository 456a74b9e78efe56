//! One situation each.

use raft_core::wal::{Disk, DiskError, RecoveryError, SnapshotError, SnapshotStore, Wal};
use raft_core::{
    Boot, Bytes, Entry, EntryId, HardState, Index, Payload, Persist, PersistId, SnapshotMark,
    StorageId, Term,
};

use super::{OPTIONS, Random, Store, identity};

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
    let mut store = store.reopened();
    assert_eq!(store.model().last().index.0, first + 1);
    store.write(None, vec![command(2, first + 2)]);
    store.sync().unwrap();
    drop(store.reopened());
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
            hard_state: Some(Box::new(HardState {
                term: term.max(model.hard_state.term),
                ..model.hard_state
            })),
            snapshot: snapshot.map(Box::new),
            identity: None,
            entries: entries.into(),
        };
        model.persist(&persist);
        self.wal.append(&persist).unwrap();
        self.possible.push(model);
    }

    /// A store with a few segments, a snapshot at entry 20, and a log that begins there.
    fn compacted() -> Self {
        Self::compacted_keeping(0)
    }

    fn compacted_keeping(files: usize) -> Self {
        let mut store = Self::new();
        store.wal.keep_files(files);
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

/// Half of what a node wrote to its disk were zeroes: each segment but the first after a compaction was filled anew.
#[test]
fn segments_that_were_kept_become_later_ones_until_a_start_removes_them() {
    let mut store = Store::compacted_keeping(2);
    let kept = |store: &Store| {
        let mut names = store.disk.names();
        names.retain(|name| name.starts_with("spare-"));
        names
    };
    let [first, second] = &kept(&store)[..] else {
        panic!("two are kept: {:?}", store.disk.names());
    };
    let bytes = store.disk.file(second).unwrap();
    let before = store.segments().len();
    let mut index = store.model().last().index.0;
    while store.segments().len() == before {
        index += 1;
        store.write(None, vec![command(1, index)]);
        store.sync().unwrap();
    }
    while store.wal.maintain().unwrap() {}
    assert_eq!(kept(&store), std::slice::from_ref(first));
    assert_eq!(store.disk.file("spare").unwrap(), bytes, "not filled anew");
    let store = store.reopened();
    assert_eq!(kept(&store), [""; 0]);
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
    drop(store.reopened());
}
