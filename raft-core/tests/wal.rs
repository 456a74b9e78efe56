//! The log on a disk that forgets, tears, fills up and is switched off in the middle.

#![expect(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    clippy::cast_possible_truncation,
    reason = "a test that cannot go on has failed, and looks only at what it is about"
)]

use std::sync::Arc;

use raft_core::wal::{Disk, DiskError, RecoveryError, Wal, WalOptions};
use raft_core::{
    Boot, Bytes, ClusterId, Configuration, Entry, EntryId, GroupId, HardState, Identity, Index,
    LogReadOutcome, Member, NodeId, Payload, Persist, PersistId, ReadLog, ReadTicket, Restored,
    StorageId, Term,
};
use raft_sim::MemoryDisk;

const MEMBER: Member = Member {
    node: NodeId(1),
    store: StorageId(0xa1),
};

fn options() -> WalOptions {
    WalOptions {
        segment_bytes: 8 << 10,
        tail_bytes_max: 1 << 20,
    }
}

fn new_store() -> MemoryDisk {
    store_of(ClusterId(0xc1))
}

fn store_of(cluster: ClusterId) -> MemoryDisk {
    let mut disk = MemoryDisk::new();
    let identity = Identity {
        group: GroupId(0),
        cluster,
        member: MEMBER,
    };
    Wal::create(&mut disk, identity, &Configuration::of_voters([MEMBER])).unwrap();
    disk
}

fn open(disk: &MemoryDisk) -> (Wal<MemoryDisk>, Restored) {
    Wal::recover(disk.clone(), options()).unwrap()
}

fn entry(term: u64, index: u64, bytes: usize) -> Entry {
    let mut payload = vec![0xee; bytes];
    payload[..16].copy_from_slice(&[term.to_le_bytes(), index.to_le_bytes()].concat());
    Entry {
        id: EntryId {
            term: Term(term),
            index: Index(index),
        },
        payload: Payload::Command(Bytes::from(payload)),
    }
}

fn entries(term: u64, indexes: std::ops::RangeInclusive<u64>, bytes: usize) -> Vec<Entry> {
    indexes.map(|index| entry(term, index, bytes)).collect()
}

fn persist(term: u64, entries: Vec<Entry>) -> Persist {
    Persist {
        id: PersistId(1),
        store: MEMBER.store,
        boot: Boot(1),
        hard_state: Some(Box::new(HardState {
            term: Term(term),
            voted_for: Some(MEMBER),
            ..HardState::default()
        })),
        snapshot: None,
        identity: None,
        entries: entries.into(),
    }
}

fn read_all(wal: &mut Wal<MemoryDisk>, from: u64, to: u64) -> Vec<Entry> {
    let mut found: Vec<Entry> = Vec::new();
    while from + (found.len() as u64) <= to {
        let request = ReadLog {
            ticket: ReadTicket(1),
            from: Index(from + found.len() as u64),
            to: Index(to),
            bytes_max: 3_000,
        };
        match wal.read(&request) {
            LogReadOutcome::Entries(more) => found.extend(more),
            other => panic!("{request:?}: {other:?}"),
        }
    }
    found
}

/// What a store must show after a crash: the log, term by term, and the term and vote.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Model {
    log: Vec<Entry>,
    term: u64,
}

impl Model {
    fn apply(&mut self, persist: &Persist) {
        if let Some(first) = persist.entries.first() {
            self.log
                .truncate(usize::try_from(first.id.index.0).unwrap() - 1);
            self.log.extend(persist.entries.iter().cloned());
        }
        self.term = persist
            .hard_state
            .as_ref()
            .map_or(self.term, |state| state.term.0);
    }

    fn shown_by(wal: &mut Wal<MemoryDisk>, restored: &Restored) -> Self {
        let last = restored.terms.last().index.0;
        let log = read_all(wal, 1, last);
        for entry in &log {
            assert_eq!(restored.terms.term(entry.id.index), Some(entry.id.term));
        }
        let tail = log.len() - restored.tail.len();
        assert_eq!(log[tail..], restored.tail[..], "the tail is the log's end");
        Self {
            log,
            term: restored.hard_state.term.0,
        }
    }
}

/// Writes that append, rewind within a segment and across segments, and fill several segments.
fn script() -> Vec<Persist> {
    let mut script = vec![
        persist(1, entries(1, 1..=3, 100)),
        persist(1, entries(1, 4..=4, 100)),
        persist(2, vec![]),
        persist(2, entries(2, 3..=6, 200)),
    ];
    for round in 0..12 {
        let from = 5 + round * 3;
        let term = 3 + round;
        script.push(persist(term, entries(term, from..=from + 4, 150)));
    }
    script.push(persist(20, entries(20, 10..=12, 100)));
    script.push(persist(20, entries(20, 13..=13, 20_000)));
    script.push(persist(20, entries(20, 14..=20, 100)));
    script
}

fn model(script: &[Persist]) -> Model {
    let mut model = Model {
        log: Vec::new(),
        term: 0,
    };
    for persist in script {
        model.apply(persist);
    }
    model
}

#[test]
fn what_was_synced_is_there_after_a_restart_and_read_back_from_anywhere() {
    let disk = new_store();
    let (mut wal, _) = open(&disk);
    for persist in script() {
        wal.append(&persist).unwrap();
        wal.sync().unwrap();
    }
    let expected = model(&script());
    assert_eq!(read_all(&mut wal, 1, 20), expected.log);
    drop(wal);
    for life in 2..6 {
        let (mut wal, restored) = open(&disk);
        assert_eq!(restored.boot, Boot(life));
        assert_eq!(Model::shown_by(&mut wal, &restored), expected);
        for from in 1..=20 {
            assert_eq!(
                read_all(&mut wal, from, 20),
                expected.log[from as usize - 1..]
            );
        }
    }
}

#[test]
fn many_writes_share_one_sync() {
    let disk = new_store();
    let (mut wal, _) = open(&disk);
    let before = disk.syncs();
    for index in 1..=100 {
        wal.append(&persist(1, entries(1, index..=index, 16)))
            .unwrap();
    }
    wal.sync().unwrap();
    // One for the batch; the segments it filled needed theirs.
    let rotations = wal.stats().segments * 3;
    assert_eq!(wal.stats().syncs, 1);
    assert!(disk.syncs() - before <= 1 + rotations);
}

/// Found by review: what is neither in memory nor written yet must not look damaged.
#[test]
fn a_read_past_what_is_written_ends_there() {
    let disk = new_store();
    let (mut wal, _) = open(&disk);
    wal.append(&persist(1, entries(1, 1..=1, 100))).unwrap();
    wal.sync().unwrap();
    wal.append(&persist(1, entries(1, 2..=2, 100))).unwrap();
    let request = ReadLog {
        ticket: ReadTicket(1),
        from: Index(1),
        to: Index(2),
        bytes_max: 1 << 20,
    };
    assert!(matches!(wal.read(&request), LogReadOutcome::Entries(found) if found.len() == 1));
}

/// The machine goes off at every single operation of a long script, any part of what was unsynced
/// survives, recovery itself is cut off as well, and still: what was synced is there, and nothing that
/// was never written.
#[test]
fn switched_off_at_every_operation_the_log_is_a_prefix_that_holds_what_was_synced() {
    let script = script();
    let mut total = 0;
    for seed in 0..3_u64 {
        let mut cut = 0;
        loop {
            let (finished, synced, disk) = run_until_off(&script, cut);
            let mut random = seed * 1_000_003 + cut;
            disk.lose_power_where(|| coin(&mut random));
            recover_in_pieces(&disk, &mut random);
            let (mut wal, restored) = open(&disk);
            let shown = Model::shown_by(&mut wal, &restored);
            let allowed = (synced..=script.len()).any(|n| model(&script[..n]) == shown);
            assert!(
                allowed,
                "seed {seed}, off after {cut}: {synced} writes were synced, found {} entries, term {}",
                shown.log.len(),
                shown.term
            );
            total += 1;
            cut += 1;
            if finished {
                break;
            }
        }
    }
    assert!(total > 200, "the script has many operations: {total}");
}

/// Runs the script until the machine goes off; whether it ended before, how many writes were synced,
/// and the disk.
fn run_until_off(script: &[Persist], operations: u64) -> (bool, usize, MemoryDisk) {
    let disk = new_store();
    let (wal, _) = open(&disk);
    let mut wal = wal;
    disk.turn_off_after(disk.operations() + operations);
    let mut synced = 0;
    for (place, persist) in script.iter().enumerate() {
        let done = wal.append(persist).and_then(|()| wal.write());
        // Every third write shares its sync with the next.
        let done = done.and_then(|()| if place % 3 == 0 { Ok(()) } else { wal.sync() });
        match done {
            Ok(()) if place % 3 == 0 => {}
            Ok(()) => synced = place + 1,
            Err(_) => return (false, synced, disk),
        }
        let _ = wal.maintain();
    }
    let finished = wal.close().is_ok();
    (finished, synced, disk)
}

/// The power fails in recovery, too, a few times, further along each time.
fn recover_in_pieces(disk: &MemoryDisk, random: &mut u64) {
    for operations in [0, 2, 5, 7, 9, 11] {
        disk.turn_off_after(disk.operations() + operations);
        let _ = Wal::recover(disk.clone(), options());
        disk.lose_power_where(|| coin(random));
    }
}

fn coin(random: &mut u64) -> bool {
    *random = random
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1_442_695_040_888_963_407);
    (*random >> 33).is_multiple_of(2)
}

/// The newest segment's name and bytes after a short run without a restart.
fn short_log() -> (MemoryDisk, String, Vec<u8>, u64) {
    let disk = new_store();
    let (mut wal, _) = open(&disk);
    for index in 1..=4 {
        wal.append(&persist(1, entries(1, index..=index, 40)))
            .unwrap();
        wal.sync().unwrap();
    }
    drop(wal);
    let name = disk
        .names()
        .into_iter()
        .rfind(|n| n.ends_with(".wal"))
        .unwrap();
    let bytes = disk.file(&name).unwrap();
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap() as u64 + 1;
    (disk, name, bytes, end)
}

#[test]
fn cut_at_every_byte_of_its_last_records_the_log_recovers_what_came_before() {
    let (disk, name, bytes, end) = short_log();
    let mut found = Vec::new();
    for cut in (end - 1_700)..=end {
        let image = disk.image();
        let mut torn = bytes.clone();
        torn[usize::try_from(cut).unwrap()..].fill(0);
        image.set_file(&name, torn);
        let (mut wal, restored) = Wal::recover(image, options()).unwrap();
        let shown = Model::shown_by(&mut wal, &restored);
        assert_eq!(shown.log, entries(1, 1..=shown.log.len() as u64, 40));
        found.push(shown.log.len());
    }
    assert!(found.is_sorted(), "a later cut leaves more: {found:?}");
    found.dedup();
    assert_eq!(
        found,
        [0, 1, 2, 3, 4],
        "each write is there wholly or not at all"
    );
}

#[test]
fn a_file_that_became_shorter_is_damage() {
    let (disk, name, mut bytes, _) = short_log();
    bytes.truncate(bytes.len() - 1);
    disk.set_file(&name, bytes);
    let error = Wal::recover(disk, options()).unwrap_err();
    assert!(matches!(error, RecoveryError::Damaged { .. }), "{error}");
}

/// Every bit of what is known to be synced: refused with file and offset, or without effect. Never a
/// shorter log.
#[test]
fn no_flipped_bit_of_what_was_synced_goes_unseen() {
    let (disk, _, _, _) = short_log();
    // Closed in order, so that the last write, too, is known to be synced.
    let (wal, _) = open(&disk);
    wal.close().unwrap();
    let name = disk
        .names()
        .into_iter()
        .rfind(|n| n.ends_with(".wal"))
        .unwrap();
    let bytes = disk.file(&name).unwrap();
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    let close_at = end - end % 512;
    let mut refused = 0;
    for bit in 0..(close_at * 8) {
        let image = disk.image();
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        image.set_file(&name, flipped);
        match Wal::recover(image, options()) {
            Ok((_, restored)) => assert_eq!(restored.terms.last().index, Index(4), "bit {bit}"),
            Err(RecoveryError::Disk(error)) => panic!("bit {bit}: {error}"),
            Err(_) => refused += 1,
        }
    }
    assert_eq!(refused, close_at * 8, "every bit lies under a checksum");
}

/// The last batch was synced and acknowledged, then damaged: a torn end looks the same, unless something
/// behind it knows better.
#[test]
fn damage_to_the_last_write_shows_once_the_log_rested() {
    let disk = new_store();
    let (mut wal, _) = open(&disk);
    for index in 1..=3 {
        wal.append(&persist(1, entries(1, index..=index, 64)))
            .unwrap();
        wal.sync().unwrap();
        let before = disk.image();
        wal.rest().unwrap();
        // The process dies: what is in the page cache stays.
        let whole = disk.image();
        assert_eq!(open(&whole).1.terms.last().index, Index(index));
        for (disk, seen) in [(before, false), (disk.image(), true)] {
            let name = disk.names().pop().unwrap();
            let mut bytes = disk.file(&name).unwrap();
            let mark = index.to_le_bytes();
            let last = bytes
                .windows(16)
                .rposition(|w| w[..8] == [1, 0, 0, 0, 0, 0, 0, 0] && w[8..] == mark);
            bytes[last.unwrap() + 20] ^= 1;
            disk.set_file(&name, bytes);
            let found = Wal::recover(disk, options());
            match found {
                Ok((_, restored)) => {
                    assert!(!seen, "damage to entry {index} is taken for a torn end");
                    assert_eq!(restored.terms.last().index, Index(index - 1));
                }
                Err(error) => assert!(matches!(error, RecoveryError::Damaged { .. }) && seen),
            }
        }
    }
}

#[test]
fn damage_is_told_with_file_offset_expected_and_found() {
    let (disk, name, mut bytes, _) = short_log();
    bytes[600] ^= 1;
    disk.set_file(&name, bytes);
    let error = Wal::recover(disk, options()).unwrap_err().to_string();
    assert!(error.contains(&name), "{error}");
    assert!(error.contains("at offset"), "{error}");
    assert!(error.contains("expected record crc 0x"), "{error}");
    assert!(error.contains("must not vote again"), "{error}");
}

#[test]
fn foreign_and_newer_files_are_refused_and_left_alone() {
    let empty = Wal::recover(MemoryDisk::new(), options()).unwrap_err();
    assert_eq!(empty, RecoveryError::Empty);

    let disk = new_store();
    disk.set_file("00000000000000000001.wal", vec![b'x'; 4_096]);
    let error = Wal::recover(disk, options()).unwrap_err();
    assert!(matches!(error, RecoveryError::NotALog { .. }), "{error}");

    let disk = new_store();
    let mut bytes = disk.file("00000000000000000001.wal").unwrap();
    bytes[8] = 9;
    disk.set_file("00000000000000000001.wal", bytes);
    let error = Wal::recover(disk, options()).unwrap_err().to_string();
    assert!(error.contains("format 9"), "{error}");

    // A segment of another store, with a higher number, does not take this one's place.
    let disk = new_store();
    let other = store_of(ClusterId(0xc2));
    drop(Wal::recover(other.clone(), options()).unwrap());
    let stray = other
        .names()
        .into_iter()
        .find(|name| name.ends_with(".wal"))
        .unwrap();
    disk.set_file(&stray, other.file(&stray).unwrap());
    let error = Wal::recover(disk.clone(), options()).unwrap_err();
    assert!(matches!(error, RecoveryError::Foreign { .. }), "{error}");
    assert!(
        disk.names()
            .contains(&"00000000000000000001.wal".to_string())
    );
}

#[test]
fn a_segment_size_out_of_range_is_refused_with_the_range() {
    let options = WalOptions {
        segment_bytes: 5_000,
        ..options()
    };
    let error = Wal::recover(new_store(), options).unwrap_err().to_string();
    assert!(
        error.contains("is 5000, expected 4096 to 4294967296"),
        "{error}"
    );
}

#[test]
fn a_second_store_is_not_made_over_a_first() {
    let mut disk = new_store();
    let (wal, _) = open(&disk);
    let identity = wal.identity();
    drop(wal);
    let error = Wal::create(&mut disk, identity, &Configuration::default()).unwrap_err();
    assert!(matches!(error, RecoveryError::Exists { .. }), "{error}");
}

/// A full disk is not a failed one: the write waits, and goes on where it was.
#[test]
fn a_full_disk_loses_nothing_and_writing_goes_on_when_there_is_room() {
    let disk = new_store();
    let (mut wal, _) = open(&disk);
    // The next segment cannot be prepared: that is known while this one has room, for votes above all.
    disk.set_capacity(Some(10 << 10));
    let warning = loop {
        match wal.maintain() {
            Ok(more) => assert!(more, "there is no room for a whole spare"),
            Err(error) => break error,
        }
    };
    assert!(matches!(warning, DiskError::Full { .. }), "{warning}");
    wal.append(&persist(2, vec![])).unwrap();
    wal.sync().unwrap();
    let mut index = 0;
    let full = loop {
        let next = persist(2, entries(2, index + 1..=index + 1, 400));
        match wal.append(&next).and_then(|()| wal.sync()) {
            Ok(()) => index += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(full, DiskError::Full { .. }), "{full}");
    disk.set_capacity(None);
    for _ in 0..20 {
        index += 1;
        wal.append(&persist(2, entries(2, index..=index, 400)))
            .unwrap();
        wal.sync().unwrap();
    }
    drop(wal);
    let (mut wal, restored) = open(&disk);
    let shown = Model::shown_by(&mut wal, &restored);
    assert_eq!(shown.log.len() as u64, index);
    assert_eq!(shown.term, 2);
}

#[test]
fn a_node_on_a_full_disk_still_starts() {
    let disk = new_store();
    let (mut wal, _) = open(&disk);
    wal.append(&persist(7, entries(7, 1..=2, 100))).unwrap();
    wal.sync().unwrap();
    drop(wal);
    let mut spare = disk.clone();
    if disk.names().contains(&"spare".to_string()) {
        spare.remove("spare").unwrap();
    }
    disk.set_capacity(Some(12 << 10));
    // Found by review: not only once.
    for _ in 0..5 {
        let (mut wal, restored) = Wal::recover(disk.clone(), options()).unwrap();
        let shown = Model::shown_by(&mut wal, &restored);
        assert_eq!((shown.log.len(), shown.term), (2, 7));
    }
}

/// A hundred entries in a short segment, and room for a few sectors beside it.
fn short_segment_on_a_full_disk() -> (MemoryDisk, WalOptions) {
    let disk = new_store();
    let large = WalOptions {
        segment_bytes: 1 << 20,
        ..options()
    };
    let (mut wal, _) = Wal::recover(disk.clone(), large).unwrap();
    for index in 1..=100 {
        wal.append(&persist(7, entries(7, index..=index, 2_000)))
            .unwrap();
        wal.sync().unwrap();
    }
    drop(wal);
    if disk.names().contains(&"spare".to_string()) {
        disk.clone().remove("spare").unwrap();
    }
    disk.set_capacity(Some(disk.used() + (8 << 10)));
    (disk, large)
}

fn check_shown(disk: &MemoryDisk, options: WalOptions, last: usize, term: u64) {
    let (mut wal, restored) = Wal::recover(disk.clone(), options).unwrap();
    let shown = Model::shown_by(&mut wal, &restored);
    assert_eq!((shown.log.len(), shown.term), (last, term));
}

/// A short segment is copied whole, so that there are fewer: on a full disk there was no room for that, and a node
/// could not be started again although what has to be copied would have fitted.
#[test]
fn a_node_on_a_full_disk_copies_what_it_must_and_no_more() {
    let (disk, large) = short_segment_on_a_full_disk();
    for _ in 0..5 {
        check_shown(&disk, large, 100, 7);
    }
    disk.set_capacity(None);
    let (mut wal, _) = Wal::recover(disk.clone(), large).unwrap();
    wal.append(&persist(8, entries(8, 101..=101, 2_000)))
        .unwrap();
    wal.sync().unwrap();
    drop(wal);
    check_shown(&disk, large, 101, 8);
}

#[test]
fn a_start_on_a_full_disk_may_be_cut_short_anywhere() {
    let (full, large) = short_segment_on_a_full_disk();
    for operations in 0.. {
        let mut finished = false;
        for pattern in [0, 1, 2, 3, u64::MAX] {
            let disk = full.image();
            disk.turn_off_after(disk.operations() + operations);
            finished = Wal::recover(disk.clone(), large).is_ok();
            disk.lose_power(pattern);
            check_shown(&disk, large, 100, 7);
        }
        if finished {
            assert!(operations > 5, "a start changes a few things");
            return;
        }
    }
}

/// Found by review: payloads that look like records must not make a start take for ever.
#[test]
fn payloads_that_look_like_records_are_told_from_records() {
    let disk = new_store();
    let large = WalOptions {
        segment_bytes: 4 << 20,
        ..options()
    };
    let (mut wal, _) = Wal::recover(disk.clone(), large).unwrap();
    let mut forged = vec![0; 32];
    forged[4..8].copy_from_slice(&(1_u32 << 20).to_le_bytes());
    forged[12] = 2;
    forged[16] = 4;
    forged[20..24].copy_from_slice(&[251, 0, 16, 0]);
    let payload = Bytes::from(forged.repeat(64 << 10));
    let mut entries = entries(1, 1..=2, 16);
    entries[1].payload = Payload::Command(payload);
    wal.append(&persist(1, vec![entries[0].clone()])).unwrap();
    wal.sync().unwrap();
    wal.append(&persist(1, vec![entries[1].clone()])).unwrap();
    wal.write().unwrap();
    // The record is torn: its beginning is lost, its payload is there.
    let name = disk
        .names()
        .into_iter()
        .rfind(|n| n.ends_with(".wal"))
        .unwrap();
    let mut bytes = disk.file(&name).unwrap();
    let at = bytes
        .windows(32)
        .position(|window| window == forged)
        .unwrap();
    bytes[at - 40..at].fill(0);
    drop(wal);
    disk.set_file(&name, bytes);
    let (_, restored) = Wal::recover(disk, large).unwrap();
    assert_eq!(restored.terms.last().index, Index(1));
}

#[test]
fn after_a_failed_sync_nothing_is_acknowledged() {
    let disk = new_store();
    let (mut wal, _) = open(&disk);
    disk.fail_next_sync();
    wal.append(&persist(1, entries(1, 1..=1, 100))).unwrap();
    wal.sync().unwrap_err();
    wal.sync().unwrap_err();
    wal.append(&persist(1, entries(1, 2..=2, 100))).unwrap_err();
}

#[test]
fn configurations_survive_rotation_and_truncation() {
    let disk = new_store();
    let (mut wal, _) = open(&disk);
    let configuration = |n: u128| {
        Arc::new(Configuration::of_voters([Member {
            node: NodeId(1),
            store: StorageId(n),
        }]))
    };
    let change = |term: u64, index: u64, n| Entry {
        payload: Payload::Configuration(configuration(n)),
        ..entry(term, index, 16)
    };
    wal.append(&persist(
        1,
        vec![change(1, 1, 1), change(1, 2, 2), change(1, 3, 3)],
    ))
    .unwrap();
    for index in 4..40 {
        wal.append(&persist(1, entries(1, index..=index, 400)))
            .unwrap();
    }
    wal.append(&persist(2, vec![change(2, 3, 9)])).unwrap();
    wal.sync().unwrap();
    assert!(
        wal.stats().segments > 0,
        "the log was long enough to rotate"
    );
    drop(wal);
    let (_, restored) = open(&disk);
    let expected = vec![
        (Index(1), configuration(1)),
        (Index(2), configuration(2)),
        (Index(3), configuration(9)),
    ];
    assert_eq!(restored.configurations, expected);
}
