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
use crate::types::{Boot, HardState, Identity, Index};

use super::disk::{Disk, DiskError};
use super::record::{
    BadRecord, Footer, Kind, RECORD_HEADER_BYTES, Record, Start, append_record, decode_persist,
    encode_persist, read_record, record_bytes,
};
use super::segment::{HEADER_BYTES, Header, Link, Summary, segment_name, segment_number};
use super::{
    Control, Current, FILL_BYTES, FRESH_NAME, Point, SPARE_NAME, Spare, Wal, WalOptions, WalStats,
    begin_segment, damaged,
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
#[derive(Default)]
struct Recovered {
    start: Option<Start>,
    hard_state: HardState,
    terms: Option<TermRuns>,
    configurations: Vec<(Index, Arc<Configuration>)>,
    points: Vec<Point>,
}

impl<D: Disk> Wal<D> {
    /// Opens the log: reads what is durable, rewrites what may not be, begins the store's next life,
    /// and only then tells what a node may be made from.
    ///
    /// # Errors
    ///
    /// If there is no log, or it cannot be believed. Nothing was changed then.
    pub fn recover(mut disk: D, options: WalOptions) -> Result<(Self, Restored), RecoveryError> {
        let names = disk.list()?;
        let Chain {
            mut files,
            headers,
            stale,
        } = open_chain(&mut disk, &names)?;
        let Some(((header, chain), _)) = headers.split_last() else {
            return Err(RecoveryError::Empty);
        };
        let mut recovered = Recovered::default();
        for pair in headers.windows(2) {
            let link = pair[1].0.link;
            recovered.take_in_sealed(&mut disk, &files[&pair[0].0.number], &pair[0], link)?;
        }
        let bytes = read_all(&mut disk, &files[&header.number])?;
        let walk = walk(header.number, &bytes, *chain, u64::MAX);
        let synced = known_synced(header.number, &walk)?;
        check_torn(header.number, &bytes, &walk)?;

        // A short segment is copied whole, so that restarts do not pile up segments.
        let keep = synced > options.segment_bytes / 4;
        let split = walk
            .records
            .partition_point(|(offset, _)| keep && *offset < synced);
        let (kept, copied) = walk.records.split_at(split);
        let link = if keep {
            Link {
                previous: header.number,
                end: synced,
                chain: kept.last().map_or(*chain, |(_, record)| record.crc),
            }
        } else {
            header.link
        };
        let mut footer = None;
        if keep {
            let (summary, hard_state) = summarize(header.number, kept)?;
            recovered.take_in(header.number, &summary, hard_state, first_start(kept)?)?;
            footer = Some(summary.footer(recovered.hard_state));
        }
        if let Some(start) = first_start(copied)? {
            recovered.begin(start);
        }
        let fresh = Header {
            number: header.number + 1,
            identity: header.identity,
            link,
        };
        let (mut fresh_bytes, current, boot) = recovered.rewrite(&fresh, copied)?;
        let tail = load_tail(header.number, &walk.records, options.tail_bytes_max)?;

        // Everything above only read. From here on the disk changes, and the fresh segment is durable
        // before anything that it replaces is touched.
        let file = prepare(&mut disk, &names, options.segment_bytes)?;
        disk.write_at(&file, 0, &fresh_bytes)?;
        disk.sync(&file)?;
        disk.rename(SPARE_NAME, &segment_name(fresh.number))?;
        disk.sync_directory()?;
        fresh_bytes.clear();
        files.insert(fresh.number, file);

        let Some(start) = recovered.start else {
            return Err(damaged(
                header.number,
                HEADER_BYTES as u64,
                "a start record",
                "none",
            ));
        };
        let mut wal = Self {
            disk,
            options,
            identity: header.identity,
            hard_state: recovered.hard_state,
            base: start.base,
            files,
            current,
            buffer: Vec::new(),
            points: recovered.points,
            spare: None,
            failed: false,
            stats: WalStats::default(),
        };
        match footer {
            Some(footer) => wal.seal(link, &footer)?,
            None => wal.recycle(header.number)?,
        }
        for name in stale {
            wal.disk.remove(&name)?;
        }
        let restored = Restored {
            identity: wal.identity,
            boot,
            hard_state: wal.hard_state,
            terms: recovered.terms.unwrap_or_else(|| TermRuns::new(start.base)),
            tail,
            configuration: Arc::new(start.configuration),
            configurations: recovered.configurations,
        };
        Ok((wal, restored))
    }

    /// A segment is not needed any more: its file becomes the next one's, if it is large enough.
    fn recycle(&mut self, number: u64) -> Result<(), DiskError> {
        let name = segment_name(number);
        let Some(file) = self.files.remove(&number) else {
            return Ok(());
        };
        let filled = self.disk.length(&file)?;
        if filled >= self.options.segment_bytes {
            self.disk.rename(&name, SPARE_NAME)?;
            self.spare = Some(Spare { file, filled });
        } else {
            self.disk.remove(&name)?;
        }
        self.disk.sync_directory()
    }
}

impl Recovered {
    fn begin(&mut self, start: Start) {
        if self.terms.is_none() {
            self.terms = Some(TermRuns::new(start.base));
        }
        self.hard_state = start.hard_state;
        self.start = Some(start);
    }

    /// Takes in a sealed segment, by its footer if it has one.
    fn take_in_sealed<D: Disk>(
        &mut self,
        disk: &mut D,
        file: &D::File,
        (header, chain): &(Header, u32),
        link: Link,
    ) -> Result<(), RecoveryError> {
        let number = header.number;
        if let Some((summary, hard_state)) = read_footer(disk, file, number, link)? {
            let first = read_one(disk, file, number, HEADER_BYTES as u64)?;
            let first: Vec<_> = first
                .map(|r| (HEADER_BYTES as u64, r))
                .into_iter()
                .collect();
            return self.take_in(number, &summary, Some(hard_state), first_start(&first)?);
        }
        let bytes = read_all(disk, file)?;
        let walk = walk(number, &bytes, *chain, link.end);
        if walk.end != link.end || walk.chain != link.chain {
            return Err(walk.damage(number));
        }
        let (summary, hard_state) = summarize(number, &walk.records)?;
        self.take_in(number, &summary, hard_state, first_start(&walk.records)?)
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
        let Some(terms) = &mut self.terms else {
            return Err(damaged(
                number,
                HEADER_BYTES as u64,
                "a start record",
                "none",
            ));
        };
        if let (Some(first), Some(added)) = (summary.first(), summary.terms()) {
            let last = terms.last().index;
            if !terms.splice(first, added.runs(), added.last().index) {
                let expected = alloc::format!("entries up to {} from the one after", last);
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

    /// The bytes of the segment that begins the next life: what must be known first, then whatever has
    /// to be copied.
    fn rewrite(
        &mut self,
        fresh: &Header,
        copied: &[(u64, Record)],
    ) -> Result<(Vec<u8>, Current, Boot), RecoveryError> {
        let number = fresh.number;
        let (_, hard_state) = summarize(number - 1, copied)?;
        self.hard_state = hard_state.unwrap_or(self.hard_state);
        let Some(start) = &mut self.start else {
            return Err(damaged(
                number - 1,
                HEADER_BYTES as u64,
                "a start record",
                "none",
            ));
        };
        start.boot = start.boot.next();
        start.hard_state = self.hard_state;
        let boot = start.boot;
        let (mut bytes, chain) = begin_segment(fresh);
        let mut chain = append_record(number, chain, Kind::Start, &mut bytes, |out| {
            codec::encode_value(start, out);
        });
        let mut summary = Summary::new();
        for (_, record) in copied {
            let Some((_, entries)) = persist_of(number - 1, record)? else {
                continue;
            };
            let offset = bytes.len() as u64;
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
            chain = append_record(number, chain, Kind::Persist, &mut bytes, |out| {
                encode_persist(&control, &entries, out);
            });
        }
        self.take_in(number, &summary, None, None)?;
        let end = bytes.len() as u64;
        let current = Current {
            number,
            end,
            synced: end,
            chain,
            summary,
        };
        Ok((bytes, current, boot))
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

/// The segments of a log, oldest first.
struct Chain<F> {
    files: BTreeMap<u64, F>,
    headers: Vec<(Header, u32)>,
    /// Files that a crash left behind, and nothing refers to.
    stale: Vec<String>,
}

/// Opens every segment that the newest one leads back to.
fn open_chain<D: Disk>(disk: &mut D, names: &[String]) -> Result<Chain<D::File>, RecoveryError> {
    let mut numbers: Vec<u64> = names.iter().filter_map(|n| segment_number(n)).collect();
    numbers.sort_unstable();
    let mut chain = Chain {
        files: BTreeMap::new(),
        headers: Vec::new(),
        stale: Vec::new(),
    };
    let mut wanted = numbers.last().copied().unwrap_or(0);
    while wanted != 0 {
        if numbers.binary_search(&wanted).is_err() {
            return Err(damaged(wanted, 0, "a segment", "no file"));
        }
        let name = segment_name(wanted);
        let file = disk.open(&name)?;
        let mut bytes = [0; HEADER_BYTES];
        let read = disk.read_at(&file, 0, &mut bytes)?;
        if read < HEADER_BYTES {
            let found = alloc::format!("{read} bytes");
            return Err(damaged(wanted, 0, "a segment header of 128 bytes", found));
        }
        let (header, crc) = Header::decode(&name, &bytes)?;
        if header.number != wanted || header.link.previous >= wanted {
            let expected = alloc::format!("segment {wanted}");
            let found = alloc::format!("{} after {}", header.number, header.link.previous);
            return Err(damaged(wanted, 16, expected, found));
        }
        if let Some((newest, _)) = chain.headers.first()
            && newest.identity != header.identity
        {
            return Err(RecoveryError::Foreign {
                file: name,
                expected: newest.identity,
                found: header.identity,
            });
        }
        chain.files.insert(wanted, file);
        chain.headers.push((header, crc));
        wanted = header.link.previous;
    }
    chain.headers.reverse();
    let kept = |number: &u64| chain.files.contains_key(number);
    let unlinked = numbers.iter().filter(|number| !kept(number));
    chain.stale = unlinked.map(|number| segment_name(*number)).collect();
    if names.iter().any(|name| name == FRESH_NAME) {
        chain.stale.push(String::from(FRESH_NAME));
    }
    Ok(chain)
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
    number: u64,
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
    Ok(read_record(number, &Bytes::from(bytes), offset, offset).ok())
}

fn read_footer<D: Disk>(
    disk: &mut D,
    file: &D::File,
    number: u64,
    link: Link,
) -> Result<Option<(Summary, HardState)>, DiskError> {
    let Some(record) = read_one(disk, file, number, link.end)? else {
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
fn walk(number: u64, bytes: &Bytes, header_crc: u32, limit: u64) -> Walk {
    let mut walk = Walk {
        records: Vec::new(),
        end: HEADER_BYTES as u64,
        chain: header_crc,
        stopped: BadRecord {
            expected: 0,
            found: 0,
        },
    };
    while walk.end < limit {
        match read_record(number, bytes, 0, walk.end) {
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

/// Up to which offset the records themselves say that everything was synced.
fn known_synced(number: u64, walk: &Walk) -> Result<u64, RecoveryError> {
    let mut synced = HEADER_BYTES as u64;
    for (_, record) in &walk.records {
        if let Some((control, _)) = persist_of(number, record)? {
            synced = synced.max(control.watermark);
        }
    }
    Ok(synced)
}

/// Tells a torn end from damage: a record behind the gap that knows the gap to have been synced proves
/// that something was lost which may have been promised.
fn check_torn(number: u64, bytes: &Bytes, walk: &Walk) -> Result<(), RecoveryError> {
    let mut offset = walk.end;
    while offset + (RECORD_HEADER_BYTES as u64) < bytes.len() as u64 {
        if let Ok(record) = read_record(number, bytes, 0, offset)
            && let Some((control, _)) = persist_of(number, &record)?
            && control.watermark > walk.end
        {
            return Err(walk.damage(number));
        }
        offset += 8;
    }
    Ok(())
}

/// The content of a record that carries a control part; `None` for the others.
fn persist_of(
    number: u64,
    record: &Record,
) -> Result<Option<(Control, Vec<Entry>)>, RecoveryError> {
    match record.kind {
        Kind::Persist | Kind::Close => match decode_persist(&record.payload) {
            Ok(content) => Ok(Some(content)),
            Err(error) => Err(damaged(number, record.next, "a record that decodes", error)),
        },
        Kind::Start | Kind::Footer => Ok(None),
    }
}

/// A segment's first record, if a life of the store begins with it.
fn first_start(records: &[(u64, Record)]) -> Result<Option<Start>, RecoveryError> {
    let Some((offset, record)) = records.first() else {
        return Ok(None);
    };
    if record.kind != Kind::Start {
        return Ok(None);
    }
    codec::decode_value(&record.payload)
        .map(Some)
        .map_err(|error| damaged(0, *offset, "a start record that decodes", error))
}

fn summarize(
    number: u64,
    records: &[(u64, Record)],
) -> Result<(Summary, Option<HardState>), RecoveryError> {
    let mut summary = Summary::new();
    let mut hard_state = None;
    for (offset, record) in records {
        let Some((control, entries)) = persist_of(number, record)? else {
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
    for (_, record) in records {
        let Some((_, entries)) = persist_of(number, record)? else {
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

/// A zero-filled file of full size under the spare's name: the one that is there, or a new one.
fn prepare<D: Disk>(
    disk: &mut D,
    names: &[String],
    segment_bytes: u64,
) -> Result<D::File, DiskError> {
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
        disk.write_at(&file, filled, &zeroes[..step])?;
        filled += step as u64;
    }
    Ok(file)
}
