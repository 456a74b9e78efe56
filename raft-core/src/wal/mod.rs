//! The write-ahead log: a file format and its recovery, over a small [`Disk`].
//!
//! Read first: `docs/wal-format.md`, which draws every byte and names every crash window.
//!
//! Always holds: one sync makes every record before it durable, and a record is there wholly or not at
//! all; nothing read from a page cache is trusted before it was synced anew; what was synced and is
//! damaged is reported, never dropped.

mod chain;
mod disk;
mod range_crc;
mod record;
mod recovery;
mod segment;
mod snapshot_file;
mod snapshot_store;
mod walk;

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use crate::action::{Persist, ReadLog};
use crate::configuration::Configuration;
use crate::entry::Entry;
use crate::error::OptionsError;
use crate::event::LogReadOutcome;
use crate::planted::{Bug, planted};
use crate::types::{Boot, EntryId, HardState, Identity, Index};

pub use self::disk::{Disk, DiskError};
use self::record::{
    Control, Footer, Kind, Seed, Start, append_pad, append_record, encode_persist, padded,
};
pub use self::recovery::RecoveryError;
use self::segment::{Beginning, Header, Link, Summary, segment_name};
pub use self::snapshot_file::{SnapshotError, SnapshotReader};
pub use self::snapshot_store::{Chunk, SnapshotStore};

/// Tunables of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WalOptions {
    /// The size of a segment. A single larger record still gets one of its own.
    ///
    /// Default 32 MiB; legal 4 KiB to 4 GiB, in multiples of 4 KiB.
    pub segment_bytes: u64,
    /// How much of the log's end to hand to the node in memory at a start.
    ///
    /// Default 16 MiB; any value.
    pub tail_bytes_max: u64,
}

impl Default for WalOptions {
    fn default() -> Self {
        Self {
            segment_bytes: 32 << 20,
            tail_bytes_max: 16 << 20,
        }
    }
}

impl WalOptions {
    /// Checks every field against its legal range.
    ///
    /// # Errors
    ///
    /// The field out of range, with its value and the range.
    pub const fn validate(&self) -> Result<(), OptionsError> {
        let (value, low, high) = (self.segment_bytes, 4 << 10, 4 << 30);
        if value < low || value > high || !value.is_multiple_of(4 << 10) {
            return Err(OptionsError {
                option: "segment_bytes (a multiple of 4096)",
                value,
                low,
                high,
            });
        }
        Ok(())
    }
}

/// What a log has done since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WalStats {
    /// Writes of the log lane.
    pub persists: u64,
    /// Syncs that made them durable: fewer when many share one.
    pub syncs: u64,
    /// Bytes of records.
    pub bytes: u64,
    /// Segments begun.
    pub segments: u64,
}

/// The log of one store.
///
/// [`Wal::append`] any number of writes, then [`Wal::sync`] once: when it returns they are durable, and
/// the last one's `Persisted` may be reported.
#[derive(Debug)]
pub struct Wal<D: Disk> {
    disk: D,
    options: WalOptions,
    identity: Identity,
    hard_state: HardState,
    base: EntryId,
    /// What makes each segment's checksums its own, by number.
    seeds: BTreeMap<u64, Seed>,
    current: Current,
    /// The segment that is written to.
    file: D::File,
    /// The sealed segment that was read last.
    reading: Option<(u64, D::File)>,
    /// Records not yet written.
    buffer: Vec<u8>,
    /// Where to start reading from which entry: index, segment, offset, ascending in index.
    points: Vec<Point>,
    spare: Option<Spare<D::File>>,
    failed: bool,
    stats: WalStats,
}

/// The segment that is written to.
#[derive(Debug)]
struct Current {
    seed: Seed,
    /// What it held when it got its name.
    begun: u64,
    /// Where the next record goes.
    end: u64,
    /// Everything before is synced.
    synced: u64,
    /// The checksum of the last record.
    chain: u32,
    summary: Summary,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Point {
    first: Index,
    segment: u64,
    offset: u64,
}

/// A file that becomes the next segment once it is zero-filled, or was a segment that is not needed any
/// more.
#[derive(Debug)]
struct Spare<F> {
    file: F,
    filled: u64,
}

const SPARE_NAME: &str = "spare";
/// Where a segment that takes the place of another is made.
const FRESH_NAME: &str = "fresh";
/// Room at a segment's end for the record that says that the log is at rest.
const REST_BYTES: u64 = 64;
/// How much of a spare is filled at a time.
const FILL_BYTES: usize = 1 << 20;

impl<D: Disk> Wal<D> {
    /// Makes the log of a new store, which then holds nothing but who it is and the configuration its
    /// log begins with.
    ///
    /// # Errors
    ///
    /// [`RecoveryError::Exists`] if the disk holds a log already, or what the disk says.
    pub fn create(
        disk: &mut D,
        identity: Identity,
        configuration: &Configuration,
    ) -> Result<(), RecoveryError> {
        let names = disk.list()?;
        if let Some(file) = names
            .iter()
            .find(|name| segment::segment_number(name).is_some())
        {
            return Err(RecoveryError::Exists { file: file.clone() });
        }
        // What an earlier store left behind is no part of this one.
        for name in names
            .iter()
            .filter(|name| *name == SPARE_NAME || *name == FRESH_NAME)
        {
            disk.remove(name)?;
        }
        let header = Header {
            number: 1,
            identity,
            link: Link::default(),
            begun: 0,
            allocated: 0,
        };
        let start = Start {
            boot: Boot(0),
            hard_state: HardState::default(),
            base: EntryId::ZERO,
            configuration: configuration.clone(),
        };
        let beginning = Beginning::new(header, 0, &[start.record()]);
        let file = disk.create(FRESH_NAME)?;
        disk.write_at(&file, 0, &beginning.bytes)?;
        disk.sync(&file)?;
        disk.rename(FRESH_NAME, &segment_name(1))?;
        disk.sync_directory()?;
        Ok(())
    }

    /// Who this store is.
    pub const fn identity(&self) -> Identity {
        self.identity
    }

    /// What was done so far.
    pub const fn stats(&self) -> WalStats {
        self.stats
    }

    /// Takes in one write. It is durable after the next [`Wal::sync`].
    ///
    /// # Errors
    ///
    /// [`DiskError::Full`] if a segment is needed and there is no room for one; the write was not taken
    /// in, may be tried again, and nothing else may come before it. After any other error the log
    /// refuses everything: what the disk holds is no longer known.
    ///
    /// # Panics
    ///
    /// If the entries do not follow what the log holds.
    pub fn append(&mut self, persist: &Persist) -> Result<(), DiskError> {
        self.check_failed()?;
        let control = Control {
            watermark: self.current.synced,
            hard_state: persist.hard_state,
        };
        let before = self.buffer.len();
        let chain = append_record(
            self.current.seed,
            self.current.chain,
            Kind::Persist,
            &mut self.buffer,
            |out| encode_persist(&control, &persist.entries, out),
        );
        let size = (self.buffer.len() - before) as u64;
        let used = self.current.end > self.current.begun;
        // The rest of its last sector has to fit as well, and what says that the log is at rest.
        let needed = padded(self.current.end + size) + REST_BYTES;
        if used && needed > self.options.segment_bytes {
            self.buffer.truncate(before);
            self.rotate()?;
            return self.append(persist);
        }
        let offset = self.current.end;
        self.current.end += size;
        self.current.chain = chain;
        assert!(
            self.current.summary.add(offset, &persist.entries),
            "entries follow what the log holds"
        );
        self.hard_state = persist.hard_state.unwrap_or(self.hard_state);
        self.merge_points();
        self.stats.persists += 1;
        self.stats.bytes += size;
        Ok(())
    }

    /// Hands every write taken in so far to the disk, without making it durable: the death of the
    /// process does not lose it any more, the loss of power may.
    ///
    /// # Errors
    ///
    /// As [`Wal::sync`].
    pub fn write(&mut self) -> Result<(), DiskError> {
        self.check_failed()?;
        if planted(Bug::SyncBeforeWrite) {
            return Ok(());
        }
        self.flush()
    }

    /// Makes every write taken in so far durable, with one sync.
    ///
    /// # Errors
    ///
    /// [`DiskError::Full`] if there is no room; it may be tried again. After any other error the log
    /// refuses everything, because what a failed sync left behind is not known.
    pub fn sync(&mut self) -> Result<(), DiskError> {
        self.check_failed()?;
        if self.current.synced == self.current.end {
            return Ok(());
        }
        self.pad();
        if !planted(Bug::SyncBeforeWrite) {
            self.flush()?;
        }
        let mut result = self.disk.sync(&self.file).map_err(no_retry);
        if result.is_err() && planted(Bug::SyncRetried) {
            result = self.disk.sync(&self.file).map_err(no_retry);
        }
        self.remember_failure(result)?;
        self.current.synced = self.current.end;
        self.stats.syncs += 1;
        Ok(())
    }

    /// Fills the last sector, so that no later write can harm what is synced.
    fn pad(&mut self) {
        let before = self.buffer.len();
        let Current {
            seed, chain, end, ..
        } = self.current;
        self.current.chain = append_pad(seed, chain, end, &mut self.buffer);
        self.current.end += (self.buffer.len() - before) as u64;
    }

    /// Does one step of the work that is best done while nothing waits: preparing the next segment.
    /// True if there is more of it.
    ///
    /// # Errors
    ///
    /// [`DiskError::Full`] if there is no room for another segment; the log goes on until the present
    /// one is full. After any other error the log refuses everything.
    pub fn maintain(&mut self) -> Result<bool, DiskError> {
        self.check_failed()?;
        let result = self.fill_spare();
        self.remember_failure(result)
    }

    /// Reads entries back, checking them on the way.
    pub fn read(&mut self, request: &ReadLog) -> LogReadOutcome {
        match self.read_entries(request.from, request.to, request.bytes_max) {
            Some(entries) if !entries.is_empty() => LogReadOutcome::Entries(entries),
            Some(_) if request.from <= self.base.index => LogReadOutcome::Compacted,
            Some(_) | None => LogReadOutcome::Damaged,
        }
    }

    /// Ends the log in order: everything is synced and says so, so that damage to any of it can be told
    /// from a torn end.
    ///
    /// # Errors
    ///
    /// What the disk says; everything that was synced before stays.
    pub fn close(mut self) -> Result<(), DiskError> {
        self.sync()?;
        self.rest()?;
        self.disk.sync(&self.file)
    }

    /// Says on the disk, though without a sync, that everything is synced, if it is: damage to the last
    /// write can then be told from a torn end even before the next one. For quiet moments; the next
    /// write takes the place of what this writes.
    ///
    /// # Errors
    ///
    /// What the disk says, after which the log refuses everything. A full disk is none: nothing depends
    /// on this.
    pub fn rest(&mut self) -> Result<(), DiskError> {
        self.check_failed()?;
        let Current {
            seed,
            chain,
            end,
            synced,
            ..
        } = self.current;
        let control = Control {
            watermark: synced,
            hard_state: None,
        };
        let mut record = Vec::new();
        append_record(seed, chain, Kind::Close, &mut record, |out| {
            encode_persist(&control, &[], out);
        });
        if synced != end {
            return Ok(());
        }
        match self.disk.write_at(&self.file, end, &record) {
            Ok(()) | Err(DiskError::Full { .. }) => Ok(()),
            Err(error) => self.remember_failure(Err(error)),
        }
    }

    /// Writes the records that are only in memory. Written again at the same place, should that be cut
    /// short by a full disk.
    fn flush(&mut self) -> Result<(), DiskError> {
        let offset = self.current.end - self.buffer.len() as u64;
        let result = self.disk.write_at(&self.file, offset, &self.buffer);
        self.remember_failure(result)?;
        self.buffer.clear();
        Ok(())
    }

    /// Seals the present segment and begins the next.
    fn rotate(&mut self) -> Result<(), DiskError> {
        // First what may fail for lack of room, while nothing has changed.
        while self.maintain()? {}
        self.pad();
        self.flush()?;
        let footer = self.current.summary.footer(self.hard_state);
        let link = Link {
            previous: self.current.seed.number,
            end: self.current.end,
            chain: self.current.chain,
        };
        let sealed = seal(&mut self.disk, &self.file, self.current.seed, link, &footer);
        self.remember_failure(sealed)?;
        let result = self.begin_from_spare(link);
        self.remember_failure(result)
    }

    fn begin_from_spare(&mut self, link: Link) -> Result<(), DiskError> {
        let Some(spare) = self.spare.take() else {
            unreachable!("a spare was just filled");
        };
        let header = Header {
            number: link.previous + 1,
            identity: self.identity,
            link,
            begun: 0,
            allocated: 0,
        };
        let beginning = Beginning::new(header, spare.filled, &[]);
        self.disk.write_at(&spare.file, 0, &beginning.bytes)?;
        name_segment(&mut self.disk, &spare.file, header.number)?;
        self.file = spare.file;
        self.seeds.insert(header.number, beginning.seed);
        self.current = Current::new(&beginning, Summary::new());
        self.stats.segments += 1;
        Ok(())
    }

    /// One step towards a full-size, zero-filled spare; true if there is more to do. Zeroes are written,
    /// not just reserved, because turning reserved blocks into written ones costs a journal commit at
    /// every sync.
    fn fill_spare(&mut self) -> Result<bool, DiskError> {
        let size = self.options.segment_bytes;
        let spare = match &mut self.spare {
            Some(spare) => spare,
            None => self.spare.insert(Spare {
                file: self.disk.create(SPARE_NAME)?,
                filled: 0,
            }),
        };
        if spare.filled >= size {
            return Ok(false);
        }
        spare.filled = fill_step(&mut self.disk, &spare.file, spare.filled, size)?;
        let done = spare.filled >= size;
        if done {
            self.disk.sync(&spare.file).map_err(no_retry)?;
        }
        Ok(!done)
    }

    /// A failure other than a full disk is final: what was written is not known any more.
    fn remember_failure<T>(&mut self, result: Result<T, DiskError>) -> Result<T, DiskError> {
        if let Err(DiskError::Failed { .. } | DiskError::NotFound { .. }) = &result {
            self.failed = true;
        }
        result
    }

    fn check_failed(&self) -> Result<(), DiskError> {
        if self.failed {
            return Err(DiskError::Failed {
                operation: "writing to",
                name: segment_name(self.current.seed.number),
                message: String::from("an earlier operation failed; restart to recover"),
            });
        }
        Ok(())
    }

    /// Takes over what the last record changed in the present segment's points.
    fn merge_points(&mut self) {
        let segment = self.current.seed.number;
        let Some((first, offset)) = self.current.summary.points.last().copied() else {
            return;
        };
        let newest = Point {
            first,
            segment,
            offset,
        };
        if self.points.last() != Some(&newest) {
            let keep = self.points.partition_point(|point| point.first < first);
            self.points.truncate(keep);
            self.points.push(newest);
        }
    }

    fn read_entries(&mut self, from: Index, to: Index, bytes_max: u64) -> Option<Vec<Entry>> {
        let mut entries: Vec<Entry> = Vec::new();
        let mut bytes = 0;
        let mut place = self.points.partition_point(|point| point.first <= from);
        let mut wanted = from;
        while wanted <= to && place > 0 {
            let point = self.points[place - 1];
            // From the next point on, later records say what is true.
            let next = self.points.get(place).map(|point| point.first);
            let limit = next.map_or(to, |next| to.min(next.previous()));
            let mut offset = point.offset;
            while wanted <= limit {
                if self.is_unwritten(point.segment, offset) {
                    break;
                }
                let record = self.read_record_at(point.segment, offset)?;
                offset = record.next;
                match record.kind {
                    Kind::Persist => {}
                    Kind::Pad => continue,
                    // The end of the segment: what follows lies at the next point.
                    Kind::Start | Kind::Footer | Kind::Close => break,
                }
                let (_, found) = record::decode_persist(&record.payload).ok()?;
                for entry in found {
                    if entry.id.index != wanted || wanted > limit {
                        continue;
                    }
                    bytes += entry.memory_bytes();
                    if bytes > bytes_max && !entries.is_empty() {
                        return Some(entries);
                    }
                    entries.push(entry);
                    wanted = wanted.next();
                }
            }
            if next.is_none_or(|next| next != wanted) {
                break;
            }
            place += 1;
        }
        Some(entries)
    }

    fn is_unwritten(&self, segment: u64, offset: u64) -> bool {
        let written = self.current.end - self.buffer.len() as u64;
        segment == self.current.seed.number && offset >= written
    }

    fn read_record_at(&mut self, segment: u64, offset: u64) -> Option<record::Record> {
        let seed = *self.seeds.get(&segment)?;
        if segment == self.current.seed.number {
            return walk::read_one(&mut self.disk, &self.file, seed, offset).ok()?;
        }
        let file = match self.reading.take() {
            Some((open, file)) if open == segment => file,
            Some(_) | None => self.disk.open(&segment_name(segment)).ok()?,
        };
        let record = walk::read_one(&mut self.disk, &file, seed, offset);
        self.reading = Some((segment, file));
        record.ok()?
    }
}

impl Current {
    const fn new(beginning: &Beginning, summary: Summary) -> Self {
        Self {
            seed: beginning.seed,
            begun: beginning.header.begun,
            end: beginning.header.begun,
            synced: beginning.header.begun,
            chain: beginning.chain,
            summary,
        }
    }
}

/// Ends a segment with its footer. The footer saves time at a start; without room for it the segment is
/// scanned instead.
fn seal<D: Disk>(
    disk: &mut D,
    file: &D::File,
    seed: Seed,
    link: Link,
    footer: &Footer,
) -> Result<(), DiskError> {
    let mut bytes = Vec::new();
    append_record(seed, link.chain, Kind::Footer, &mut bytes, |out| {
        crate::codec::encode_value(footer, out);
    });
    match disk.write_at(file, link.end, &bytes) {
        Ok(()) | Err(DiskError::Full { .. }) => disk.sync(file).map_err(no_retry),
        Err(error) => Err(error),
    }
}

/// Writes the next zeroes of a file that is to have a size; how many it has then.
fn fill_step<D: Disk>(
    disk: &mut D,
    file: &D::File,
    filled: u64,
    size: u64,
) -> Result<u64, DiskError> {
    let step = (size - filled).min(FILL_BYTES as u64);
    let zeroes = vec![0; usize::try_from(step).unwrap_or(FILL_BYTES)];
    disk.write_at(file, filled, &zeroes)?;
    Ok(filled + step)
}

/// Turns the spare into a segment: durable first, then named.
fn name_segment<D: Disk>(disk: &mut D, file: &D::File, number: u64) -> Result<(), DiskError> {
    disk.sync(file).map_err(no_retry)?;
    disk.rename(SPARE_NAME, &segment_name(number))
        .map_err(no_retry)?;
    if planted(Bug::NoDirectorySync) {
        return Ok(());
    }
    disk.sync_directory().map_err(no_retry)
}

/// Only writing may be tried again. A sync that ran out of room has lost what it was to keep, and would
/// succeed the next time without it.
fn no_retry(error: DiskError) -> DiskError {
    match error {
        DiskError::Full { name } => DiskError::Failed {
            operation: "syncing",
            name,
            message: String::from("no space left"),
        },
        DiskError::NotFound { .. } | DiskError::Failed { .. } => error,
    }
}

/// What damage looks like, in one sentence.
fn damaged(
    segment: u64,
    offset: u64,
    expected: impl core::fmt::Display,
    found: impl core::fmt::Display,
) -> RecoveryError {
    RecoveryError::Damaged {
        file: segment_name(segment),
        offset,
        expected: format!("{expected}"),
        found: format!("{found}"),
    }
}
