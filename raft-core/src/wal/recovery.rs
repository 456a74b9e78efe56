//! Opening a log: what is believed, what is rewritten, what is refused.
//!
//! Always holds: a node is made only from what was synced during this very start. What lies past the
//! last offset known to be synced may be in a page cache only; acknowledged from there, it could be
//! lost with the power. Hence it is copied into a fresh segment, which is synced before anything else
//! happens.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

use bytes::Bytes;

use crate::codec;
use crate::configuration::Configuration;
use crate::entry::{Entry, Payload};
use crate::node::Restored;
use crate::term_runs::TermRuns;
use crate::types::{Boot, EntryId, HardState, Identity, Index};

use super::disk::{Disk, DiskError};
use super::record::{
    BadRecord, Footer, Kind, RECORD_HEADER_BYTES, Record, Seed, Start, decode_persist,
    encode_persist, peek_watermark, read_record, record_bytes, record_size,
};
use super::segment::{
    Beginning, HEADER_BYTES, Header, Link, Summary, segment_name, segment_number,
};
use super::{
    Control, Current, FILL_BYTES, FRESH_NAME, Point, SPARE_NAME, Spare, Wal, WalOptions, WalStats,
    damaged, name_segment, seal,
};

/// Why a log cannot be opened: the operator must act, and nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecoveryError {
    /// There is no log.
    #[error("there is no log here")]
    Empty,
    /// A log is there already.
    #[error("a log is here already: {file}")]
    Exists {
        /// One of its files.
        file: String,
    },
    /// A file that should be a segment is something else.
    #[error("{file} is not a segment of this log: it does not begin with \"raft-wal\"")]
    NotALog {
        /// The file.
        file: String,
    },
    /// Another version wrote it.
    #[error("{file} has format {version} with codec {codec}, expected format 1 with codec 1")]
    Version {
        /// The file.
        file: String,
        /// Its format version.
        version: u16,
        /// Its codec.
        codec: u8,
    },
    /// Something that was synced is not there any more. The store must not vote again: it may have
    /// promised what it can no longer show.
    #[error(
        "the log is damaged: {file} at offset {offset}: expected {expected}, found {found}; this \
         store must not vote again: remove the node from the cluster and add it with a new store"
    )]
    Damaged {
        /// The file.
        file: String,
        /// Where in it.
        offset: u64,
        /// What belongs there.
        expected: String,
        /// What is there.
        found: String,
    },
    /// A segment belongs to another store.
    #[error("{file} belongs to {found:?}, the rest of the log to {expected:?}")]
    Foreign {
        /// The file.
        file: String,
        /// Whose the rest is.
        expected: Identity,
        /// Whose it is.
        found: Identity,
    },
    /// The disk failed.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

/// A segment's records in order, each with where it begins.
struct Walk {
    records: Vec<(u64, Record)>,
    end: u64,
    chain: u32,
    /// Why it ends there.
    stopped: BadRecord,
}

/// The log as far as segments were taken in.
struct Recovered {
    /// A start record was found.
    begun: bool,
    start: Start,
    hard_state: HardState,
    terms: TermRuns,
    configurations: Vec<(Index, Arc<Configuration>)>,
    points: Vec<Point>,
}

impl<D: Disk> Wal<D> {
    /// Reads whose log this is, and nothing else.
    ///
    /// # Errors
    ///
    /// If there is no log, or its newest segment is none.
    pub fn peek(disk: &mut D) -> Result<Identity, RecoveryError> {
        let names = disk.list()?;
        let newest = names.iter().filter_map(|name| segment_number(name)).max();
        let newest = newest.ok_or(RecoveryError::Empty)?;
        Ok(read_header(disk, newest)?.header.identity)
    }

    /// Opens the log: reads what is durable, rewrites what may not be, begins the store's next life,
    /// and only then tells what a node may be made from.
    ///
    /// # Errors
    ///
    /// If there is no log, or it cannot be believed. Nothing was changed then.
    pub fn recover(mut disk: D, options: WalOptions) -> Result<(Self, Restored), RecoveryError> {
        let names = disk.list()?;
        let Chain { headers, stale } = open_chain(&mut disk, &names)?;
        let Some((newest, sealed)) = headers.split_last() else {
            return Err(RecoveryError::Empty);
        };
        let mut recovered = Recovered::default();
        for (place, segment) in sealed.iter().enumerate() {
            let link = headers[place + 1].header.link;
            recovered.take_in_sealed(&mut disk, segment, link)?;
        }
        let (header, seed) = (newest.header, newest.seed);
        let file = disk.open(&segment_name(header.number))?;
        let bytes = read_all(&mut disk, &file)?;
        let walk = walk(seed, &bytes, u64::MAX);
        if walk.end < header.begun {
            return Err(walk.damage(header.number));
        }
        let synced = known_synced(&header, &walk)?;
        check_torn(seed, &bytes, &walk)?;

        // A short segment is copied whole, so that restarts do not pile up segments.
        let keep = synced > options.segment_bytes / 4;
        let split = walk
            .records
            .partition_point(|(offset, _)| keep && *offset < synced);
        let (kept, copied) = walk.records.split_at(split);
        let mut footer = None;
        let mut link = header.link;
        if keep {
            let (summary, hard_state) = summarize(header.number, kept)?;
            let start = first_start(header.number, kept)?;
            recovered.take_in(header.number, &summary, hard_state, start)?;
            footer = Some(summary.footer(recovered.hard_state));
            link = Link {
                previous: header.number,
                end: synced,
                chain: kept.last().map_or(seed.header, |(_, record)| record.crc),
            };
        } else if let Some(start) = first_start(header.number, copied)? {
            recovered.begin(start);
        }
        let (records, summary) = recovered.rewrite(&header, copied)?;
        let tail = load_tail(header.number, &walk.records, options.tail_bytes_max)?;

        // Everything above only read. From here on the disk changes, and the fresh segment is durable
        // before anything that it replaces is touched.
        let spare = prepare(&mut disk, &names, options.segment_bytes)?;
        let fresh = Header {
            number: header.number + 1,
            link,
            ..header
        };
        let beginning = Beginning::new(fresh, spare.filled, &records);
        disk.write_at(&spare.file, 0, &beginning.bytes)?;
        name_segment(&mut disk, &spare.file, fresh.number)?;

        let kept = headers
            .iter()
            .filter(|s| keep || s.header.number != header.number);
        let mut seeds: BTreeMap<u64, Seed> = kept.map(|s| (s.header.number, s.seed)).collect();
        seeds.insert(fresh.number, beginning.seed);
        let mut spare_left = None;
        match footer {
            Some(footer) => seal(&mut disk, &file, seed, link, &footer)?,
            None => spare_left = recycle(&mut disk, file, header.number, options.segment_bytes)?,
        }
        for name in stale {
            disk.remove(&name)?;
        }
        let wal = Self {
            disk,
            options,
            identity: header.identity,
            hard_state: recovered.hard_state,
            base: recovered.start.base,
            seeds,
            current: Current::new(&beginning, summary),
            file: spare.file,
            reading: None,
            buffer: Vec::new(),
            points: recovered.points,
            spare: spare_left,
            failed: false,
            stats: WalStats::default(),
        };
        let restored = Restored {
            identity: wal.identity,
            boot: recovered.start.boot,
            hard_state: wal.hard_state,
            terms: recovered.terms,
            tail,
            configuration: Arc::new(recovered.start.configuration),
            configurations: recovered.configurations,
        };
        Ok((wal, restored))
    }
}

/// A segment is not needed any more: its file becomes the next one's, if it is large enough.
fn recycle<D: Disk>(
    disk: &mut D,
    file: D::File,
    number: u64,
    segment_bytes: u64,
) -> Result<Option<Spare<D::File>>, DiskError> {
    let name = segment_name(number);
    let filled = disk.length(&file)?;
    if filled < segment_bytes {
        disk.remove(&name)?;
        disk.sync_directory()?;
        return Ok(None);
    }
    disk.rename(&name, SPARE_NAME)?;
    disk.sync_directory()?;
    Ok(Some(Spare { file, filled }))
}

impl Default for Recovered {
    fn default() -> Self {
        let start = Start {
            boot: Boot(0),
            hard_state: HardState::default(),
            base: EntryId::ZERO,
            configuration: Configuration::default(),
        };
        Self {
            begun: false,
            terms: TermRuns::new(start.base),
            start,
            hard_state: HardState::default(),
            configurations: Vec::new(),
            points: Vec::new(),
        }
    }
}

impl Recovered {
    fn begin(&mut self, start: Start) {
        if !self.begun {
            self.terms = TermRuns::new(start.base);
        }
        self.begun = true;
        self.hard_state = start.hard_state;
        self.start = start;
    }

    /// Takes in a sealed segment, by its footer if it has one.
    fn take_in_sealed<D: Disk>(
        &mut self,
        disk: &mut D,
        segment: &Segment,
        link: Link,
    ) -> Result<(), RecoveryError> {
        let (number, seed) = (segment.header.number, segment.seed);
        let file = disk.open(&segment_name(number))?;
        if let Some((summary, hard_state)) = read_footer(disk, &file, seed, link)? {
            let first = read_one(disk, &file, seed, HEADER_BYTES as u64)?;
            let Some(first) = first.filter(|record| record.previous == seed.header) else {
                return Err(damaged(
                    number,
                    HEADER_BYTES as u64,
                    "a first record",
                    "none",
                ));
            };
            let start = first_start(number, &[(HEADER_BYTES as u64, first)])?;
            return self.take_in(number, &summary, Some(hard_state), start);
        }
        let bytes = read_all(disk, &file)?;
        let walk = walk(seed, &bytes, link.end);
        if walk.end != link.end || walk.chain != link.chain {
            return Err(walk.damage(number));
        }
        let (summary, hard_state) = summarize(number, &walk.records)?;
        let start = first_start(number, &walk.records)?;
        self.take_in(number, &summary, hard_state, start)
    }

    fn take_in(
        &mut self,
        number: u64,
        summary: &Summary,
        hard_state: Option<HardState>,
        start: Option<Start>,
    ) -> Result<(), RecoveryError> {
        if let Some(start) = start {
            self.begin(start);
        }
        if !self.begun {
            return Err(damaged(
                number,
                HEADER_BYTES as u64,
                "a start record",
                "none",
            ));
        }
        if let (Some(first), Some(added)) = (summary.first(), summary.terms()) {
            let last = self.terms.last().index;
            if !self.terms.splice(first, added.runs(), added.last().index) {
                let expected = alloc::format!("entries that follow entry {last}");
                return Err(damaged(number, HEADER_BYTES as u64, expected, first));
            }
            self.configurations.retain(|(at, _)| *at < first);
            self.points.retain(|point| point.first < first);
        }
        self.configurations
            .extend(summary.configurations.iter().cloned());
        self.points
            .extend(summary.points.iter().map(|(first, offset)| Point {
                first: *first,
                segment: number,
                offset: *offset,
            }));
        self.hard_state = hard_state.unwrap_or(self.hard_state);
        Ok(())
    }

    /// What the segment begins with in which the store's next life begins: what must be known first,
    /// then whatever has to be copied.
    fn rewrite(
        &mut self,
        newest: &Header,
        copied: &[(u64, Record)],
    ) -> Result<(Vec<(Kind, Vec<u8>)>, Summary), RecoveryError> {
        let (_, hard_state) = summarize(newest.number, copied)?;
        self.hard_state = hard_state.unwrap_or(self.hard_state);
        self.start.boot = self.start.boot.next();
        self.start.hard_state = self.hard_state;
        let start = self.start.record();
        let mut offset = HEADER_BYTES as u64 + record_size(start.1.len());
        let mut records = vec![start];
        let mut summary = Summary::new();
        for (at, record) in copied {
            let Some((_, entries)) = persist_of(newest.number, *at, record)? else {
                continue;
            };
            if entries.is_empty() {
                continue;
            }
            assert!(
                summary.add(offset, &entries),
                "what was summarized once can be summarized again"
            );
            let control = Control {
                watermark: 0,
                hard_state: None,
            };
            let mut payload = Vec::new();
            encode_persist(&control, &entries, &mut payload);
            offset += record_size(payload.len());
            records.push((Kind::Persist, payload));
        }
        self.take_in(newest.number + 1, &summary, None, None)?;
        Ok((records, summary))
    }
}

impl Walk {
    fn damage(&self, number: u64) -> RecoveryError {
        let BadRecord { expected, found } = self.stopped;
        damaged(
            number,
            self.end,
            alloc::format!("record crc {expected:#010x}"),
            alloc::format!("{found:#010x}"),
        )
    }
}

/// A segment whose header was read.
struct Segment {
    header: Header,
    seed: Seed,
}

/// The segments of a log, oldest first.
struct Chain {
    headers: Vec<Segment>,
    /// Files that a crash left behind, and nothing refers to.
    stale: Vec<String>,
}

/// Reads the header of every segment that the newest one leads back to.
fn open_chain<D: Disk>(disk: &mut D, names: &[String]) -> Result<Chain, RecoveryError> {
    let mut numbers: Vec<u64> = names.iter().filter_map(|n| segment_number(n)).collect();
    numbers.sort_unstable();
    let mut chain = Chain {
        headers: Vec::new(),
        stale: Vec::new(),
    };
    let mut wanted = numbers.last().copied().unwrap_or(0);
    while wanted != 0 {
        if numbers.binary_search(&wanted).is_err() {
            return Err(damaged(wanted, 0, "a segment", "no file"));
        }
        let segment = read_header(disk, wanted)?;
        check_same_store(chain.headers.first(), &segment)?;
        wanted = segment.header.link.previous;
        chain.headers.push(segment);
    }
    for number in numbers {
        if chain.headers.iter().any(|s| s.header.number == number) {
            continue;
        }
        // Left behind when a crash came between a new segment and the end of an old one.
        check_same_store(chain.headers.first(), &read_header(disk, number)?)?;
        chain.stale.push(segment_name(number));
    }
    chain.headers.reverse();
    if names.iter().any(|name| name == FRESH_NAME) {
        chain.stale.push(String::from(FRESH_NAME));
    }
    Ok(chain)
}

/// No file of another store is believed, or removed.
fn check_same_store(newest: Option<&Segment>, segment: &Segment) -> Result<(), RecoveryError> {
    match newest {
        Some(newest) if newest.header.identity != segment.header.identity => {
            Err(RecoveryError::Foreign {
                file: segment_name(segment.header.number),
                expected: newest.header.identity,
                found: segment.header.identity,
            })
        }
        Some(_) | None => Ok(()),
    }
}

fn read_header<D: Disk>(disk: &mut D, number: u64) -> Result<Segment, RecoveryError> {
    let name = segment_name(number);
    let file = disk.open(&name)?;
    let mut bytes = [0; HEADER_BYTES];
    let read = disk.read_at(&file, 0, &mut bytes)?;
    if read < HEADER_BYTES {
        let found = alloc::format!("{read} bytes");
        return Err(damaged(number, 0, "a segment header of 128 bytes", found));
    }
    let (header, crc) = Header::decode(&name, &bytes)?;
    if header.number != number || header.link.previous >= number {
        let expected = alloc::format!("segment {number}");
        let found = alloc::format!("{} after {}", header.number, header.link.previous);
        return Err(damaged(number, 16, expected, found));
    }
    let length = disk.length(&file)?;
    if length < header.allocated {
        let expected = alloc::format!("{} bytes", header.allocated);
        let found = alloc::format!("a file of {length}");
        return Err(damaged(number, length, expected, found));
    }
    let seed = header.seed(crc);
    Ok(Segment { header, seed })
}

fn read_all<D: Disk>(disk: &mut D, file: &D::File) -> Result<Bytes, DiskError> {
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

fn read_footer<D: Disk>(
    disk: &mut D,
    file: &D::File,
    seed: Seed,
    link: Link,
) -> Result<Option<(Summary, HardState)>, DiskError> {
    let Some(record) = read_one(disk, file, seed, link.end)? else {
        return Ok(None);
    };
    if record.kind != Kind::Footer || record.previous != link.chain {
        return Ok(None);
    }
    let Ok(footer) = codec::decode_value::<Footer>(&record.payload) else {
        return Ok(None);
    };
    Ok(Summary::from_footer(&footer).map(|summary| (summary, footer.hard_state)))
}

/// Reads records from the header on, until one is not there or `limit` is reached.
fn walk(seed: Seed, bytes: &Bytes, limit: u64) -> Walk {
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
fn known_synced(header: &Header, walk: &Walk) -> Result<u64, RecoveryError> {
    let mut synced = header.begun;
    for (offset, record) in &walk.records {
        if let Some((control, _)) = persist_of(header.number, *offset, record)? {
            synced = synced.max(control.watermark);
        }
    }
    Ok(synced)
}

/// Tells a torn end from damage: a record behind the gap that knows the gap to have been synced proves
/// that something was lost which may have been promised.
fn check_torn(seed: Seed, bytes: &Bytes, walk: &Walk) -> Result<(), RecoveryError> {
    let mut offset = walk.end;
    while offset + (RECORD_HEADER_BYTES as u64) < bytes.len() as u64 {
        // The checksum is computed only for what makes sense without it, so that no payload can make
        // this slow.
        let knows = peek_watermark(bytes, offset)
            .is_some_and(|mark| mark > walk.end && mark <= offset && mark.is_multiple_of(8));
        if knows && read_record(seed, bytes, 0, offset).is_ok() {
            return Err(walk.damage(seed.number));
        }
        offset += 8;
    }
    Ok(())
}

/// The content of a record that carries a control part; `None` for the others.
fn persist_of(
    number: u64,
    offset: u64,
    record: &Record,
) -> Result<Option<(Control, Vec<Entry>)>, RecoveryError> {
    match record.kind {
        Kind::Persist | Kind::Close => match decode_persist(&record.payload) {
            Ok(content) => Ok(Some(content)),
            Err(error) => Err(damaged(number, offset, "a record that decodes", error)),
        },
        Kind::Start | Kind::Footer | Kind::Pad => Ok(None),
    }
}

/// A segment's first record, if a life of the store begins with it.
fn first_start(number: u64, records: &[(u64, Record)]) -> Result<Option<Start>, RecoveryError> {
    let Some((offset, record)) = records.first() else {
        return Ok(None);
    };
    if record.kind != Kind::Start {
        return Ok(None);
    }
    codec::decode_value(&record.payload)
        .map(Some)
        .map_err(|error| damaged(number, *offset, "a start record that decodes", error))
}

fn summarize(
    number: u64,
    records: &[(u64, Record)],
) -> Result<(Summary, Option<HardState>), RecoveryError> {
    let mut summary = Summary::new();
    let mut hard_state = None;
    for (offset, record) in records {
        let Some((control, entries)) = persist_of(number, *offset, record)? else {
            continue;
        };
        if !summary.add(*offset, &entries) {
            let found = entries.first().map_or(Index(0), |entry| entry.id.index);
            return Err(damaged(
                number,
                *offset,
                "entries that follow the log",
                found,
            ));
        }
        hard_state = control.hard_state.or(hard_state);
    }
    Ok((summary, hard_state))
}

/// The end of the log in memory, as far as the newest segment holds it; its payloads are copied, so
/// that they do not keep the whole segment alive.
fn load_tail(
    number: u64,
    records: &[(u64, Record)],
    bytes_max: u64,
) -> Result<Vec<Entry>, RecoveryError> {
    let mut tail: Vec<Entry> = Vec::new();
    for (offset, record) in records {
        let Some((_, entries)) = persist_of(number, *offset, record)? else {
            continue;
        };
        if let Some(first) = entries.first() {
            let keep = tail.partition_point(|entry| entry.id.index < first.id.index);
            tail.truncate(keep);
        }
        tail.extend(entries);
    }
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

/// A zero-filled file under the spare's name: the one that is there, or a new one, of full size if there
/// is room for that.
fn prepare<D: Disk>(
    disk: &mut D,
    names: &[String],
    segment_bytes: u64,
) -> Result<Spare<D::File>, DiskError> {
    let there = names.iter().any(|name| name == SPARE_NAME);
    let file = if there {
        disk.open(SPARE_NAME)?
    } else {
        disk.create(SPARE_NAME)?
    };
    let mut filled = disk.length(&file)?;
    let zeroes = vec![0; FILL_BYTES];
    while filled < segment_bytes {
        let step = (segment_bytes - filled).min(FILL_BYTES as u64);
        let step = usize::try_from(step).unwrap_or(FILL_BYTES);
        match disk.write_at(&file, filled, &zeroes[..step]) {
            Ok(()) => filled += step as u64,
            // A node on a full disk still has its vote.
            Err(DiskError::Full { .. }) => break,
            Err(error) => return Err(error),
        }
    }
    let filled = disk.length(&file)?;
    Ok(Spare { file, filled })
}
