//! Snapshot files on a disk that forgets, tears, fills up and is switched off in the middle.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::sync::Arc;

use raft_core::replica::{Sink, Source};
use raft_core::wal::{SnapshotError, SnapshotStore};
use raft_core::{Configuration, EntryId, Index, Member, NodeId, SnapshotMeta, StorageId, Term};
use raft_sim::MemoryDisk;

const MEMBER: Member = Member {
    node: NodeId(1),
    store: StorageId(0xa1),
};

fn id(term: u64, index: u64) -> EntryId {
    EntryId {
        term: Term(term),
        index: Index(index),
    }
}

fn meta(term: u64, index: u64) -> SnapshotMeta {
    SnapshotMeta {
        term: Term(9),
        id: id(term, index),
        configured: id(1, 1),
        configuration: Arc::new(Configuration::of_voters([MEMBER])),
    }
}

fn image(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|n| (n * 7 % 251) as u8 + 1).collect()
}

/// Takes a snapshot of that many bytes, in pieces that do not fit blocks.
fn take(
    store: &mut SnapshotStore<MemoryDisk>,
    meta: &SnapshotMeta,
    bytes: usize,
) -> Result<u64, SnapshotError> {
    store.take(meta, &mut |sink: &mut dyn Sink| {
        image(bytes)
            .chunks(1_000)
            .try_for_each(|piece| sink.write(piece))
    })
}

fn read(store: &mut SnapshotStore<MemoryDisk>, id: EntryId) -> Result<Vec<u8>, SnapshotError> {
    let mut reader = store.read(id)?;
    let mut found = Vec::new();
    let mut buffer = [0; 777];
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => found.extend_from_slice(&buffer[..count]),
            Err(error) => return Err(error.into()),
        }
    }
    reader.finish()?;
    Ok(found)
}

fn open(disk: &MemoryDisk) -> SnapshotStore<MemoryDisk> {
    SnapshotStore::open(disk.clone()).unwrap()
}

#[test]
fn what_was_taken_is_read_back_whatever_its_size() {
    for bytes in [0, 1, 999, 65_535, 65_536, 65_537, 131_072, 200_000] {
        let disk = MemoryDisk::new();
        let total = take(&mut open(&disk), &meta(2, 9), bytes).unwrap();
        disk.lose_power(0);
        let mut store = open(&disk);
        assert_eq!(store.length(id(2, 9)), Ok(total));
        assert_eq!(store.latest(), Ok(Some(meta(2, 9))));
        assert_eq!(read(&mut store, id(2, 9)), Ok(image(bytes)));
        assert_eq!(store.read(id(2, 9)).unwrap().meta(), &meta(2, 9));
    }
}
