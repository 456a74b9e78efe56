//! Reading records: one, a footer, or all of a segment, and what they say when put together.

use alloc::vec;
use alloc::vec::Vec;

use bytes::Bytes;

use crate::codec;
use crate::entry::{Entry, Payload};
use crate::planted::{Bug, planted};
use crate::types::Index;

use super::disk::{Disk, DiskError};
use super::range_crc::RangeCrc;
use super::record::{
    BadRecord, Content, Footer, Kind, RECORD_HEADER_BYTES, Record, Seed, decode_content, passes,
    peek_watermark, read_record, record_bytes,
};
use super::segment::{HEADER_BYTES, Header, Link, Summary};
use super::state::State;
use super::{RecoveryError, damaged};

/// A segment's records in order, each with where it begins.
pub(super) struct Walk {
    pub(super) records: Vec<(u64, Record)>,
    pub(super) end: u64,
    pub(super) chain: u32,
    /// Why it ends there.
    stopped: BadRecord,
}

impl Walk {
    pub(super) fn damage(&self, number: u64) -> RecoveryError {
        let BadRecord { expected, found } = self.stopped;
        damaged(
            number,
            self.end,
            alloc::format!("record crc {expected:#010x}"),
            alloc::format!("{found:#010x}"),
        )
    }
}

pub(super) fn read_all<D: Disk>(disk: &mut D, file: &D::File) -> Result<Bytes, DiskError> {
    let length = disk.length(file)?;
    let mut bytes = vec![0; usize::try_from(length).unwrap_or(usize::MAX)];
    let read = disk.read_at(file, 0, &mut bytes)?;
    bytes.truncate(read);
    Ok(Bytes::from(bytes))
}

pub(super) fn read_one<D: Disk>(
    disk: &mut D,
    file: &D::File,
    seed: Seed,
    offset: u64,
) -> Result<Option<Record>, DiskError> {
    let mut header = [0; RECORD_HEADER_BYTES];
    let length = disk.length(file)?;
    if disk.read_at(file, offset, &mut header)? < header.len() {
        return Ok(None);
    }
    let Some(size) = record_bytes(&header) else {
        return Ok(None);
    };
    if offset.saturating_add(size as u64) > length {
        return Ok(None);
    }
    let mut bytes = vec![0; size];
    let read = disk.read_at(file, offset, &mut bytes)?;
    bytes.truncate(read);
    Ok(read_record(seed, &Bytes::from(bytes), offset, offset).ok())
}

pub(super) fn read_footer<D: Disk>(
    disk: &mut D,
    file: &D::File,
    seed: Seed,
    link: Link,
) -> Result<Option<Summary>, DiskError> {
    let Some(record) = read_one(disk, file, seed, link.end)? else {
        return Ok(None);
    };
    if record.kind != Kind::Footer || record.previous != link.chain {
        return Ok(None);
    }
    let Ok(footer) = codec::decode_value::<Footer>(&record.payload) else {
        return Ok(None);
    };
    Ok(Summary::from_footer(&footer))
}

/// Reads records from the header on, until one is not there or `limit` is reached.
pub(super) fn walk(seed: Seed, bytes: &Bytes, limit: u64) -> Walk {
    let mut walk = Walk {
        records: Vec::new(),
        end: HEADER_BYTES as u64,
        chain: seed.header,
        stopped: BadRecord {
            expected: 0,
            found: 0,
        },
    };
    while walk.end < limit {
        match read_record(seed, bytes, 0, walk.end) {
            Err(bad) => {
                walk.stopped = bad;
                break;
            }
            Ok(record) if record.previous != walk.chain => {
                walk.stopped = BadRecord {
                    expected: walk.chain,
                    found: record.previous,
                };
                break;
            }
            // Written when the segment was about to be sealed; the next one never came to be.
            Ok(record) if record.kind == Kind::Footer => break,
            Ok(record) => {
                let begin = walk.end;
                walk.end = record.next;
                walk.chain = record.crc;
                walk.records.push((begin, record));
            }
        }
    }
    walk
}

/// Up to which offset header and records themselves say that everything was synced.
pub(super) fn known_synced(header: &Header, bytes: &Bytes, walk: &Walk) -> u64 {
    let records = walk.records.iter();
    let watermarks = records.filter_map(|(offset, _)| peek_watermark(bytes, *offset));
    if planted(Bug::CacheTrusted) {
        return walk.end;
    }
    watermarks.fold(header.begun, u64::max)
}

/// Tells a torn end from damage: a record behind the gap that knows the gap to have been synced proves
/// that something was lost which may have been promised.
pub(super) fn check_torn(seed: Seed, bytes: &Bytes, walk: &Walk) -> Result<(), RecoveryError> {
    if planted(Bug::DamageIsTail) {
        return Ok(());
    }
    let mut ranges = None;
    let mut offset = walk.end;
    while offset + (RECORD_HEADER_BYTES as u64) < bytes.len() as u64 {
        let knows = peek_watermark(bytes, offset)
            .is_some_and(|mark| mark > walk.end && mark <= offset && mark.is_multiple_of(8));
        if knows {
            let ranges = ranges.get_or_insert_with(|| RangeCrc::new(bytes));
            let place = usize::try_from(offset).unwrap_or(usize::MAX);
            if passes(seed, bytes, ranges, place) {
                return Err(walk.damage(seed.number));
            }
        }
        offset += 8;
    }
    Ok(())
}

/// The content of a record that carries a control part; `None` for the others.
pub(super) fn content_of(
    number: u64,
    offset: u64,
    record: &Record,
) -> Result<Option<Content>, RecoveryError> {
    decode_content(record).map_err(|error| damaged(number, offset, "a record that decodes", error))
}

/// A segment's first record: what the store was when it began.
pub(super) fn first_state(number: u64, records: &[(u64, Record)]) -> Result<State, RecoveryError> {
    let start = records.first().filter(|(_, r)| r.kind == Kind::Start);
    let Some((offset, record)) = start else {
        let at = HEADER_BYTES as u64;
        return Err(damaged(number, at, "a start record", "none"));
    };
    codec::decode_value(&record.payload)
        .map_err(|error| damaged(number, *offset, "a start record that decodes", error))
}

pub(super) fn summarize(number: u64, records: &[(u64, Record)]) -> Result<Summary, RecoveryError> {
    let mut summary = Summary::new();
    for (offset, record) in records {
        let Some(content) = content_of(number, *offset, record)? else {
            continue;
        };
        if content.voids_log() {
            summary.restart();
        }
        let entries = &content.entries;
        if !summary.add(*offset, entries) {
            let found = entries.first().map_or(Index(0), |entry| entry.id.index);
            return Err(damaged(
                number,
                *offset,
                "entries that follow the log",
                found,
            ));
        }
    }
    Ok(summary)
}

/// The end of the log in memory, as far as the newest segment holds it, above its base: of the records that are not void; its payloads are copied, so
/// that they do not keep the whole segment alive.
pub(super) fn load_tail(
    number: u64,
    records: &[(u64, Record)],
    base: Index,
    bytes_max: u64,
) -> Result<Vec<Entry>, RecoveryError> {
    let mut tail: Vec<Entry> = Vec::new();
    for (offset, record) in records {
        let Some(content) = content_of(number, *offset, record)? else {
            continue;
        };
        let entries = content.entries;
        if let Some(first) = entries.first() {
            let keep = tail.partition_point(|entry| entry.id.index < first.id.index);
            tail.truncate(keep);
        }
        tail.extend(entries);
    }
    let above = tail.partition_point(|entry| entry.id.index <= base);
    tail.drain(..above);
    let mut bytes = 0_u64;
    let within = |entry: &&Entry| {
        bytes = bytes.saturating_add(entry.memory_bytes());
        bytes <= bytes_max
    };
    let count = tail.iter().rev().take_while(within).count();
    let mut tail = tail.split_off(tail.len() - count);
    for entry in &mut tail {
        if let Payload::Command(command) = &mut entry.payload {
            *command = Bytes::copy_from_slice(command);
        }
    }
    Ok(tail)
}
