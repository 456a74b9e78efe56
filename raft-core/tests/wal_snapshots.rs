//! Snapshot files on a disk that forgets, tears, fills up and is switched off in the middle.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::sync::Arc;

use raft_core::replica::{ImageError, Sink, Source};
use raft_core::wal::{Disk, DiskError, RecoveryError, SnapshotError, SnapshotStore, Wal};
use raft_core::{
    ClusterId, Configuration, EntryId, GroupId, Identity, Index, Member, NodeId, SnapshotMeta,
    StorageId, Term,
};
use raft_sim::MemoryDisk;

const MEMBER: Member = Member {
    node: NodeId(1),
    store: StorageId(0xa1),
};

/// More than two blocks.
const LARGE: usize = 150_000;

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
    (1..=251).cycle().take(bytes).collect()
}

/// Takes a snapshot of that many bytes, in pieces that do not fit blocks.
fn take(
    store: &mut SnapshotStore<MemoryDisk>,
    meta: &SnapshotMeta,
    bytes: usize,
) -> Result<u64, SnapshotError> {
    store.take(meta, &mut |sink: &mut dyn Sink| {
        let image = image(bytes);
        image.chunks(1_000).try_for_each(|piece| sink.write(piece))
    })
}

fn read(store: &mut SnapshotStore<MemoryDisk>, id: EntryId) -> Result<Vec<u8>, SnapshotError> {
    let mut reader = store.read(id)?;
    let mut found = Vec::new();
    let mut buffer = [0; 777];
    loop {
        let count = reader.read(&mut buffer)?;
        if count == 0 {
            break;
        }
        found.extend_from_slice(&buffer[..count]);
    }
    reader.finish()?;
    Ok(found)
}

fn open(disk: &MemoryDisk) -> SnapshotStore<MemoryDisk> {
    SnapshotStore::open(disk.clone()).unwrap()
}

fn coin(random: &mut u64) -> bool {
    *random = random
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1_442_695_040_888_963_407);
    (*random >> 33).is_multiple_of(2)
}

/// A disk with one large snapshot, and the file's bytes.
fn taken() -> (MemoryDisk, Vec<u8>) {
    let disk = MemoryDisk::new();
    take(&mut open(&disk), &meta(2, 9), LARGE).unwrap();
    let name = disk.names().pop().unwrap();
    let bytes = disk.file(&name).unwrap();
    (disk, bytes)
}

/// Receives what is still wanted, in pieces of that size.
fn receive(
    store: &mut SnapshotStore<MemoryDisk>,
    bytes: &[u8],
    piece: usize,
) -> Result<SnapshotMeta, SnapshotError> {
    let mut at = store.begin_receive(id(2, 9), bytes.len() as u64)?;
    while at < bytes.len() as u64 {
        let from = usize::try_from(at).unwrap();
        let to = bytes.len().min(from + piece);
        at = store.receive(id(2, 9), at, &bytes[from..to])?;
    }
    store.finish_receive(id(2, 9))
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

#[test]
fn the_newest_is_told_by_its_place_in_the_log_and_only_what_is_kept_stays() {
    let disk = MemoryDisk::new();
    let mut store = open(&disk);
    for (term, index) in [(2, 9), (3, 100), (2, 10)] {
        take(&mut store, &meta(term, index), 10).unwrap();
    }
    let metas = vec![meta(2, 9), meta(2, 10), meta(3, 100)];
    assert_eq!(store.metas(), Ok(metas));
    assert_eq!(store.latest(), Ok(Some(meta(3, 100))));
    store.retain(&[id(2, 10)]).unwrap();
    disk.lose_power(0);
    assert_eq!(open(&disk).metas(), Ok(vec![meta(2, 10)]));
    let gone = open(&disk).read(id(3, 100)).map(|_| ());
    assert!(
        matches!(gone, Err(SnapshotError::Missing { .. })),
        "{gone:?}"
    );
}

/// S62: a snapshot has its name only when it is whole and durable.
#[test]
fn switched_off_at_every_operation_a_snapshot_is_whole_or_not_there() {
    for seed in 0..4_u64 {
        for cut in 0.. {
            let disk = MemoryDisk::new();
            let mut store = open(&disk);
            take(&mut store, &meta(1, 5), 1_000).unwrap();
            disk.turn_off_after(disk.operations() + cut);
            let done = take(&mut store, &meta(2, 9), LARGE).is_ok();
            let mut random = seed * 1_009 + cut;
            disk.lose_power_where(|| coin(&mut random));
            let mut store = open(&disk);
            assert_eq!(read(&mut store, id(1, 5)), Ok(image(1_000)));
            if done || store.metas().unwrap().len() == 2 {
                assert_eq!(read(&mut store, id(2, 9)), Ok(image(LARGE)));
            }
            assert!(disk.names().iter().all(|name| name.ends_with(".snap")));
            if done {
                break;
            }
        }
    }
}

#[test]
fn no_room_for_a_snapshot_leaves_nothing_behind() {
    let disk = MemoryDisk::new();
    let mut store = open(&disk);
    take(&mut store, &meta(1, 5), 1_000).unwrap();
    let used = disk.used();
    disk.set_capacity(Some(used + 100_000));
    let full = take(&mut store, &meta(2, 9), LARGE);
    assert!(matches!(full, Err(SnapshotError::Full { .. })), "{full:?}");
    assert_eq!(disk.used(), used);
    // What the state machine says, and a sink whose refusal is not passed on.
    let given_up = store.take(&meta(2, 9), &mut |_| {
        Err(ImageError::Malformed("of no use".to_string()))
    });
    assert!(
        matches!(given_up, Err(SnapshotError::Image(_))),
        "{given_up:?}"
    );
    let ignored = store.take(&meta(2, 9), &mut |sink| {
        let _ = sink.write(&image(LARGE));
        Ok(())
    });
    assert!(
        matches!(ignored, Err(SnapshotError::Full { .. })),
        "{ignored:?}"
    );
    assert_eq!(store.metas(), Ok(vec![meta(1, 5)]));
    assert_eq!(disk.used(), used);
}

#[test]
fn after_a_failed_sync_there_is_no_snapshot() {
    let disk = MemoryDisk::new();
    let mut store = open(&disk);
    disk.fail_next_sync();
    let failed = take(&mut store, &meta(2, 9), 1_000);
    assert!(matches!(
        failed,
        Err(SnapshotError::Disk(DiskError::Failed { .. }))
    ));
    assert_eq!(store.metas(), Ok(vec![]));
}

#[test]
fn no_flipped_bit_and_no_cut_goes_unseen() {
    let disk = MemoryDisk::new();
    take(&mut open(&disk), &meta(2, 9), 200).unwrap();
    let name = disk.names().pop().unwrap();
    let bytes = disk.file(&name).unwrap();
    let mut images = Vec::new();
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        images.push(flipped);
    }
    images.extend((0..bytes.len()).map(|cut| bytes[..cut].to_vec()));
    images.push([&bytes[..], &[0]].concat());
    for damaged in images {
        disk.set_file(&name, damaged.clone());
        let mut store = open(&disk);
        let found = read(&mut store, id(2, 9));
        assert!(found.is_err(), "{found:?}");
        // Nor by who receives it.
        let received = receive(&mut open(&MemoryDisk::new()), &damaged, 100);
        assert!(
            matches!(
                received,
                Err(SnapshotError::Damaged { .. } | SnapshotError::Version { .. })
            ),
            "{received:?}"
        );
    }
}

#[test]
fn what_is_sent_in_chunks_arrives_whole() {
    let (disk, bytes) = taken();
    let mut from = open(&disk);
    let disk = MemoryDisk::new();
    let mut to = open(&disk);
    let total = from.chunk(id(2, 9), 0, 0).unwrap().total;
    let mut at = to.begin_receive(id(2, 9), total).unwrap();
    while at < total {
        let chunk = from.chunk(id(2, 9), at, 7_001).unwrap();
        assert_eq!(chunk.total, total);
        // Sent twice, as a network may.
        to.receive(id(2, 9), at, &chunk.bytes).unwrap();
        at = to.receive(id(2, 9), at, &chunk.bytes).unwrap();
    }
    assert_eq!(from.chunk(id(2, 9), total, 7_001).unwrap().bytes.len(), 0);
    assert_eq!(to.finish_receive(id(2, 9)), Ok(meta(2, 9)));
    disk.lose_power(0);
    assert_eq!(read(&mut open(&disk), id(2, 9)), Ok(image(LARGE)));
    assert_eq!(disk.file(&disk.names()[0]), Some(bytes));
}

#[test]
fn what_does_not_follow_is_refused() {
    let mut store = open(&MemoryDisk::new());
    let none = store.receive(id(2, 9), 0, &[1]);
    assert!(matches!(none, Err(SnapshotError::NotReceiving { .. })));
    store.begin_receive(id(2, 9), 10).unwrap();
    store.receive(id(2, 9), 0, &[1, 2, 3]).unwrap();
    let gap = store.receive(id(2, 9), 4, &[1]);
    let (expected, found) = (3, 4);
    assert_eq!(gap, Err(SnapshotError::OutOfPlace { expected, found }));
    let long = store.receive(id(2, 9), 3, &[0; 8]);
    let (expected, found) = (10, 11);
    assert_eq!(long, Err(SnapshotError::Length { expected, found }));
    let early = store.finish_receive(id(2, 9));
    let (expected, found) = (10, 3);
    assert_eq!(early, Err(SnapshotError::Length { expected, found }));
    let other = store.receive(id(3, 9), 3, &[1]);
    assert!(matches!(other, Err(SnapshotError::NotReceiving { .. })));
}

/// The transfer is cut off at every operation, any part of it survives, and it goes on: never with a byte
/// that is not the sender's, and never from the beginning if the first block is there.
#[test]
fn switched_off_at_every_operation_a_transfer_goes_on() {
    let (_, bytes) = taken();
    let mut resumed = 0;
    for seed in 0..4_u64 {
        for cut in 0.. {
            let disk = MemoryDisk::new();
            disk.turn_off_after(cut);
            let done = receive(&mut open(&disk), &bytes, 10_000).is_ok();
            let mut random = seed * 1_009 + cut;
            disk.lose_power_where(|| coin(&mut random) || seed == 1);
            let mut store = open(&disk);
            if done {
                assert_eq!(read(&mut store, id(2, 9)), Ok(image(LARGE)));
                break;
            }
            let at = store.begin_receive(id(2, 9), bytes.len() as u64).unwrap();
            resumed += u64::from(at > 0);
            assert_eq!(receive(&mut store, &bytes, 10_000), Ok(meta(2, 9)));
            disk.lose_power(0);
            assert_eq!(read(&mut open(&disk), id(2, 9)), Ok(image(LARGE)));
        }
    }
    assert!(resumed > 10, "{resumed} transfers went on");
}

/// A sync failed before the process died: the page cache shows what the device never got. What is believed
/// of it is written anew.
#[test]
fn what_a_page_cache_shows_of_a_transfer_is_written_anew() {
    let (_, bytes) = taken();
    let disk = MemoryDisk::new();
    let mut store = open(&disk);
    let total = bytes.len() as u64;
    store.begin_receive(id(2, 9), total).unwrap();
    store.receive(id(2, 9), 0, &bytes[..140_000]).unwrap();
    drop(store);
    disk.clone().sync_directory().unwrap();
    let mut other = disk.clone();
    let name = disk.names().pop().unwrap();
    let file = other.open(&name).unwrap();
    disk.fail_next_sync();
    other.sync(&file).unwrap_err();
    let mut store = open(&disk);
    assert!(store.begin_receive(id(2, 9), total).unwrap() > 130_000);
    assert_eq!(receive(&mut store, &bytes, 10_000), Ok(meta(2, 9)));
    disk.lose_power(0);
    assert_eq!(read(&mut open(&disk), id(2, 9)), Ok(image(LARGE)));
}

#[test]
fn a_transfer_of_another_snapshot_or_file_begins_anew() {
    let (_, bytes) = taken();
    let total = bytes.len() as u64;
    let disk = MemoryDisk::new();
    let mut store = open(&disk);
    store.begin_receive(id(2, 9), total).unwrap();
    store.receive(id(2, 9), 0, &bytes[..100_000]).unwrap();
    assert_eq!(store.begin_receive(id(2, 9), total), Ok(100_000));
    assert_eq!(store.begin_receive(id(2, 9), total + 1), Ok(0));
    store.receive(id(2, 9), 0, &bytes[..100_000]).unwrap();
    assert_eq!(store.begin_receive(id(3, 10), 500), Ok(0));
    assert_eq!(disk.names().len(), 1, "{:?}", disk.names());
    // A newer one that was installed leaves nothing to go on with.
    drop(store);
    let mut store = open(&disk);
    take(&mut store, &meta(4, 11), 10).unwrap();
    store.retain(&[id(4, 11)]).unwrap();
    assert_eq!(disk.names().len(), 1, "{:?}", disk.names());
}

/// Bytes of two files of one snapshot make none.
#[test]
fn a_file_mixed_from_two_is_damaged_and_removed() {
    let (_, bytes) = taken();
    let disk = MemoryDisk::new();
    let mut other = open(&disk);
    let total = other.take(&meta(2, 9), &mut |sink| sink.write(&vec![9; LARGE]));
    assert_eq!(total, Ok(bytes.len() as u64));
    let foreign = other.chunk(id(2, 9), 0, 70_000).unwrap().bytes;
    let disk = MemoryDisk::new();
    let mut store = open(&disk);
    store.begin_receive(id(2, 9), bytes.len() as u64).unwrap();
    store.receive(id(2, 9), 0, &foreign).unwrap();
    store.receive(id(2, 9), 70_000, &bytes[70_000..]).unwrap();
    let error = store.finish_receive(id(2, 9)).unwrap_err().to_string();
    assert!(error.contains("expected block crc 0x"), "{error}");
    assert_eq!(disk.names().len(), 0);
    assert_eq!(receive(&mut store, &bytes, 50_000), Ok(meta(2, 9)));
}

#[test]
fn a_disk_that_fills_up_during_a_transfer_has_its_room_back() {
    let (_, bytes) = taken();
    let disk = MemoryDisk::new();
    disk.set_capacity(Some(100_000));
    let full = receive(&mut open(&disk), &bytes, 10_000);
    assert!(matches!(full, Err(SnapshotError::Full { .. })), "{full:?}");
    assert_eq!(disk.used(), 0);
}

#[test]
fn a_folder_with_snapshots_is_not_empty() {
    let (mut disk, _) = taken();
    let identity = Identity {
        group: GroupId(0),
        cluster: ClusterId(1),
        member: MEMBER,
    };
    let error = Wal::create(&mut disk, identity, &Configuration::default()).unwrap_err();
    assert!(matches!(error, RecoveryError::Exists { .. }), "{error}");
}
