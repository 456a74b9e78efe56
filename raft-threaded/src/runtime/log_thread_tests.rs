//! What the log thread notes on a disk in memory.

use std::sync::Arc;

use raft_core::wal::{RecoveryError, WalOptions};
use raft_core::{
    Configuration, Entry, EntryId, Index, NodeId, Payload, SnapshotMark, SnapshotMeta, Term,
};

use super::*;
use crate::folder::init_in_memory;
use crate::memory::MemoryDisk;
use crate::runtime::inbox::silent;

const OPTIONS: WalOptions = WalOptions {
    segment_bytes: 64 << 10,
    tail_bytes_max: 64 << 10,
};

/// The file that is written to, and what it holds.
fn current(disk: &mut MemoryDisk) -> (String, Vec<u8>) {
    let names = disk.list().unwrap().into_iter();
    let name = names.filter(|name| name.ends_with(".wal")).max().unwrap();
    let file = disk.open(&name).unwrap();
    let length = disk.length(&file).unwrap();
    let mut bytes = vec![0; usize::try_from(length).unwrap()];
    disk.read_at(&file, 0, &mut bytes).unwrap();
    (name, bytes)
}

fn entry_id(index: u64) -> EntryId {
    EntryId {
        term: Term(1),
        index: Index(index),
    }
}

/// Nothing comes until the log has nothing more to do.
fn fall_quiet(log: &mut LogWork<MemoryDisk>) {
    while !log.prepared {
        assert!(log.work(), "a disk in memory does not fail");
    }
    log.rest();
}

/// A compaction wrote over what the log had said about its rest, and the log thought that it still stood there:
/// damage to the record of the compaction was taken for a torn end. Any damage to a log at rest shows.
#[test]
fn damage_to_a_compaction_shows_once_the_log_rests_again() {
    let mut disk = init_in_memory(&[NodeId(1)]).unwrap().remove(0);
    let (wal, restored) = Wal::recover(disk.clone(), OPTIONS).unwrap();
    let (events, _inbox) = silent(64);
    let (_, nobody) = crossbeam_channel::bounded(0);
    let mut log = LogWork::new(wal, events, nobody);

    let configuration = Arc::new(Configuration::default());
    let taken = SnapshotMeta {
        id: entry_id(2),
        term: Term(1),
        configured: entry_id(1),
        configuration: Arc::clone(&configuration),
    };
    let entries = [1, 2].map(|index| Entry {
        id: entry_id(index),
        payload: Payload::Noop,
    });
    log.take(LogJob::Write(Work::Persist(Persist {
        id: PersistId(1),
        store: restored.identity.member.store,
        boot: restored.boot,
        hard_state: None,
        snapshot: None,
        identity: None,
        entries: entries.into(),
    })));
    log.take(LogJob::Write(Work::Persist(Persist {
        id: PersistId(2),
        store: restored.identity.member.store,
        boot: restored.boot,
        hard_state: None,
        snapshot: Some(Box::new(SnapshotMark::Taken(taken))),
        identity: None,
        entries: Vec::new().into(),
    })));
    fall_quiet(&mut log);
    let (name, before) = current(&mut disk);

    log.take(LogJob::Write(Work::Compact(CompactLog {
        base: entry_id(2),
        configured: entry_id(1),
        configuration,
    })));
    assert!(log.work(), "a disk in memory does not fail");
    fall_quiet(&mut log);
    drop(log);

    let (same, after) = current(&mut disk);
    assert_eq!(name, same, "the compaction is in the same file");
    let written = before.iter().zip(&after).position(|(old, new)| old != new);
    let place = written.expect("the compaction is written");
    let file = disk.open(&name).unwrap();
    disk.write_at(&file, place as u64, &[!after[place]])
        .unwrap();
    match Wal::recover(disk, OPTIONS) {
        Err(RecoveryError::Damaged { .. }) => {}
        Err(other) => panic!("damage is called damage, not: {other}"),
        Ok(_) => panic!("damage to a log at rest is not taken for a torn end"),
    }
}
