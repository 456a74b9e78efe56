//! Opening a log: what is believed, what is rewritten, what is refused.
//!
//! Always holds: a node is made only from what was synced during this very start. What lies past the
//! last offset known to be synced may be in a page cache only; acknowledged from there, it could be
//! lost with the power. Hence it is copied into a fresh segment, which is synced before anything else
//! happens.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

use crate::configuration::Configuration;
use crate::entry::Entry;
use crate::error::OptionsError;
use crate::node::Restored;
use crate::term_runs::TermRuns;
use crate::types::{Boot, EntryId, HardState, Identity, Index};

use super::chain::{Chain, Segment, open_chain, read_header};
use super::disk::{Disk, DiskError};
use super::record::{Footer, Kind, Record, Seed, Start, encode_persist, record_size};
use super::segment::{
    Beginning, HEADER_BYTES, Header, Link, Summary, segment_name, segment_number,
};
use super::walk::{
    check_torn, first_start, known_synced, load_tail, persist_of, read_all, read_footer, read_one,
    summarize, walk,
};
use super::{
    Control, Current, Point, SPARE_NAME, Spare, Wal, WalOptions, WalStats, damaged, fill_step,
    name_segment, seal,
};

/// Why a log cannot be opened: the operator must act. Unless the disk itself failed half way, nothing was
/// changed.
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
        expected: Box<Identity>,
        /// Whose it is.
        found: Box<Identity>,
    },
    /// A tunable is out of range.
    #[error(transparent)]
    Options(#[from] OptionsError),
    /// The disk failed.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

/// Records that are to be written, by kind and payload.
type Records = Vec<(Kind, Vec<u8>)>;

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
    /// If there is no log, or it cannot be believed; nothing was changed then. If the disk fails; what
    /// it holds is as good as before then.
    pub fn recover(mut disk: D, options: WalOptions) -> Result<(Self, Restored), RecoveryError> {
        options.validate()?;
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
        let synced = known_synced(&header, &bytes, &walk);
        check_torn(seed, &bytes, &walk)?;

        // A short segment is copied whole, so that restarts do not pile up segments.
        let keep = synced > options.segment_bytes / 4;
        let split = walk
            .records
            .partition_point(|(offset, _)| keep && *offset < synced);
        let (kept, copied) = walk.records.split_at(split);
        let (link, footer) = if keep {
            recovered.keep(newest, kept, synced)?
        } else {
            recovered.begin_again(&header, copied)?
        };
        let (records, summary) = recovered.rewrite(&header, copied)?;
        let tail = load_tail(header.number, &walk.records, options.tail_bytes_max)?;

        // Everything above only read. From here on the disk changes. Names that were only in a cache so
        // far are made durable before anything builds on them, and the fresh segment before anything
        // that it replaces is touched.
        disk.sync_directory()?;
        for name in stale {
            disk.remove(&name)?;
        }
        let needed = Beginning::size(&records);
        let spare = prepare(&mut disk, &names, needed, options.segment_bytes)?;
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
            points: core::mem::take(&mut recovered.points),
            spare: spare_left,
            failed: false,
            stats: WalStats::default(),
        };
        let restored = recovered.into_restored(header.identity, tail);
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

    fn into_restored(self, identity: Identity, tail: Vec<Entry>) -> Restored {
        Restored {
            identity,
            boot: self.start.boot,
            hard_state: self.hard_state,
            terms: self.terms,
            tail,
            configuration: Arc::new(self.start.configuration),
            configured: EntryId::ZERO,
            snapshot: None,
            configurations: self.configurations,
        }
    }

    /// The newest segment stays up to where it is known to be synced: how the next one follows it, and
    /// the footer that ends it.
    fn keep(
        &mut self,
        newest: &Segment,
        kept: &[(u64, Record)],
        synced: u64,
    ) -> Result<(Link, Option<Footer>), RecoveryError> {
        let number = newest.header.number;
        let (summary, hard_state) = summarize(number, kept)?;
        self.take_in(number, &summary, hard_state, first_start(number, kept)?)?;
        let last = kept.last().map(|(_, record)| record.crc);
        let link = Link {
            previous: number,
            end: synced,
            chain: last.unwrap_or(newest.seed.header),
        };
        Ok((link, Some(summary.footer(self.hard_state))))
    }

    /// The newest segment is copied whole: the next one takes its place.
    fn begin_again(
        &mut self,
        header: &Header,
        copied: &[(u64, Record)],
    ) -> Result<(Link, Option<Footer>), RecoveryError> {
        if let Some(start) = first_start(header.number, copied)? {
            self.begin(start);
        }
        Ok((header.link, None))
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
    ) -> Result<(Records, Summary), RecoveryError> {
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

/// Room for votes in a segment that had to be made on a full disk.
const HEADROOM_BYTES: u64 = 256 << 10;

/// A file under the spare's name: the one that is there, or a new one, zero-filled to full size if there
/// is room for that.
fn prepare<D: Disk>(
    disk: &mut D,
    names: &[String],
    needed: u64,
    segment_bytes: u64,
) -> Result<Spare<D::File>, DiskError> {
    let there = names.iter().any(|name| name == SPARE_NAME);
    let file = if there {
        disk.open(SPARE_NAME)?
    } else {
        disk.create(SPARE_NAME)?
    };
    match fill(disk, &file, segment_bytes) {
        Ok(()) => {}
        // A node on a full disk still has its vote, and leaves some room for its next start.
        Err(DiskError::Full { .. }) => {
            let file = disk.create(SPARE_NAME)?;
            match fill(disk, &file, needed + HEADROOM_BYTES) {
                Ok(()) | Err(DiskError::Full { .. }) => {}
                Err(error) => return Err(error),
            }
            let filled = disk.length(&file)?;
            return Ok(Spare { file, filled });
        }
        Err(error) => return Err(error),
    }
    let filled = disk.length(&file)?;
    Ok(Spare { file, filled })
}

/// Grows a file with zeros to a size.
fn fill<D: Disk>(disk: &mut D, file: &D::File, size: u64) -> Result<(), DiskError> {
    let mut filled = disk.length(file)?;
    while filled < size {
        filled = fill_step(disk, file, filled, size)?;
    }
    Ok(())
}
