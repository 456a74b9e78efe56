//! The write-ahead log: a file format and its recovery, over a small [`Disk`].
//!
//! Read first: `docs/wal-format.md`, which draws every byte and names every crash window.
//!
//! Always holds: one sync makes every record before it durable, and a record is there wholly or not at
//! all; nothing read from a page cache is trusted before it was synced anew; what was synced and is
//! damaged is reported, never dropped.

mod chain;
mod compaction;
mod disk;
mod error;
mod options;
mod range_crc;
mod reading;
mod record;
mod recovered;
mod recovery;
mod rotation;
mod segment;
mod snapshot_error;
mod snapshot_file;
mod snapshot_image;
mod snapshot_name;
mod snapshot_store;
mod spare;
mod state;
mod walk;
mod wipe;

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::action::Persist;
use crate::configuration::Configuration;
use crate::entry::Entry;
use crate::planted::{Bug, planted};
use crate::types::{HardState, Identity, Index};

use self::chain::Segment;
pub use self::disk::{Disk, DiskError};
pub use self::error::RecoveryError;
pub use self::options::{WalOptions, WalStats};
use self::reading::Point;
use self::record::{Control, Kind, append_pad, append_record, encode_content, padded};
use self::rotation::Current;
use self::segment::{Beginning, Header, Link, segment_name};
pub use self::snapshot_error::SnapshotError;
pub use self::snapshot_image::SnapshotReader;
pub use self::snapshot_store::{Chunk, SnapshotStore};
use self::spare::{Room, SPARE_NAME, Spare, is_kept};
use self::state::{Change, State};

/// The log of one store.
///
/// [`Wal::append`] any number of writes, then [`Wal::sync`] once: when it returns they are durable, and
/// the last one's `Persisted` may be reported.
#[derive(Debug)]
pub struct Wal<D: Disk> {
    disk: D,
    options: WalOptions,
    identity: Identity,
    state: State,
    /// The last entry, or the base of an empty log.
    last: Index,
    /// What the disk is known to hold the log without: segments before this one are not needed.
    oldest_synced: u64,
    /// The segments that are there, by number.
    segments: BTreeMap<u64, Segment>,
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
    /// Files of segments that are not needed any more, for later spares.
    kept: Vec<String>,
    kept_max: usize,
    failed: bool,
    stats: WalStats,
}

/// Where a segment that takes the place of another is made.
const FRESH_NAME: &str = "fresh";
/// Room at a segment's end for the record that says that the log is at rest.
const REST_BYTES: u64 = 64;

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
        let used = names.iter().find(|name| {
            segment::segment_number(name).is_some() || snapshot_name::is_whole_snapshot(name)
        });
        if let Some(file) = used {
            return Err(RecoveryError::Exists { file: file.clone() });
        }
        // What an earlier store left behind is no part of this one.
        for name in names.iter().filter(|name| {
            *name == SPARE_NAME
                || *name == FRESH_NAME
                || is_kept(name)
                || snapshot_name::is_snapshot(name)
        }) {
            disk.remove(name)?;
        }
        let header = Header {
            number: 1,
            identity,
            former: identity.member.store,
            link: Link::default(),
            begun: 0,
            allocated: 0,
        };
        let state = State::new(configuration, header.number);
        let beginning = Beginning::new(header, 0, &[state.record()]);
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

    /// From now on keeps so many files of segments that are not needed any more, besides the next segment's, in
    /// place of removing them: as many as one compaction drops save writing as much as the log itself once more, in
    /// zeroes. A start removes what was kept before.
    pub const fn keep_files(&mut self, files: usize) {
        self.kept_max = files;
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
        let change = Change::of(persist);
        self.record(
            persist.hard_state.as_deref().copied(),
            change.as_ref(),
            &persist.entries,
            Room::Whole,
        )?;
        self.stats.persists += 1;
        Ok(())
    }

    /// Takes in one record.
    fn record(
        &mut self,
        hard_state: Option<HardState>,
        change: Option<&Change>,
        entries: &[Entry],
        room: Room,
    ) -> Result<(), DiskError> {
        self.check_failed()?;
        let control = Control {
            watermark: self.current.synced,
            hard_state,
        };
        let kind = change.map_or(Kind::Persist, |_| Kind::Change);
        let before = self.buffer.len();
        let Current { seed, chain, .. } = self.current;
        let chain = append_record(seed, chain, kind, &mut self.buffer, |out| {
            encode_content(&control, change, entries, out);
        });
        let size = (self.buffer.len() - before) as u64;
        let used = self.current.end > self.current.begun;
        // The rest of its last sector has to fit as well, and what says that the log is at rest.
        let needed = padded(self.current.end + size) + REST_BYTES;
        if used && needed > self.options.segment_bytes {
            self.buffer.truncate(before);
            self.rotate(room)?;
            return self.record(hard_state, change, entries, room);
        }
        let offset = self.current.end;
        self.current.end += size;
        self.current.chain = chain;
        self.take_in(offset, hard_state, change, entries);
        self.stats.bytes += size;
        Ok(())
    }

    /// What is known of the log follows a record that was taken in.
    fn take_in(
        &mut self,
        offset: u64,
        hard_state: Option<HardState>,
        change: Option<&Change>,
        entries: &[Entry],
    ) {
        if let Some(meta) = change.and_then(Change::installed) {
            assert!(
                meta.id.index >= self.state.base.id.index,
                "a log does not begin earlier than it did"
            );
            self.current.summary.restart();
            self.points.clear();
            self.last = meta.id.index;
        }
        self.state
            .follow(self.current.seed.number, hard_state, change);
        if let Some(identity) = change.and_then(|change| change.identity) {
            assert!(
                (identity.group, identity.member.node)
                    == (self.identity.group, self.identity.member.node),
                "a store stays with its node and group"
            );
            self.identity = identity;
        }
        if let (Some(first), Some(last)) = (entries.first(), entries.last()) {
            let first = first.id.index;
            assert!(
                first > self.state.base.id.index && first <= self.last.next(),
                "the log has no hole"
            );
            self.last = last.id.index;
        }
        assert!(
            self.current.summary.add(offset, entries),
            "entries follow what the log holds"
        );
        self.merge_points();
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
        if planted(Bug::SyncErrorIgnored) {
            result = Ok(());
        }
        self.remember_failure(result)?;
        self.current.synced = self.current.end;
        self.stats.syncs += 1;
        self.oldest_synced = self.state.oldest;
        self.drop_unneeded()
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
            encode_content(&control, None, &[], out);
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
        if planted(Bug::CutShort) {
            self.buffer.clear();
        }
        self.remember_failure(result)?;
        self.buffer.clear();
        Ok(())
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
