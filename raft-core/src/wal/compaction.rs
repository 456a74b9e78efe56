//! Compaction: the log begins later, and what lies before is dropped (§7).
//!
//! Always holds: a file goes only after a record that says that it is not needed was synced (S62); term and
//! vote are in every segment's first record, so none of them goes with a file.

use alloc::vec::Vec;

use crate::action::CompactLog;
use crate::planted::{Bug, planted};

use super::Wal;
use super::disk::{Disk, DiskError};
use super::segment::segment_name;
use super::spare::{Room, SPARE_NAME, Spare, kept_name};
use super::state::Change;

impl<D: Disk> Wal<D> {
    /// Lets the log begin later: makes that durable, and everything that was taken in before, then drops the
    /// segments that hold nothing above. What was asked for before and is late changes nothing.
    ///
    /// # Errors
    ///
    /// [`DiskError::Full`] if there is not even room for the record; it may be tried again, or left until the
    /// next compaction. After any other error the log refuses everything.
    ///
    /// # Panics
    ///
    /// If there is no snapshot of what would be dropped, or the log ends before.
    pub fn compact(&mut self, log: &CompactLog) -> Result<(), DiskError> {
        self.check_failed()?;
        if log.base.index <= self.state.base.id.index {
            return Ok(());
        }
        let snapshot = self.state.snapshot.as_ref();
        assert!(
            snapshot.is_some_and(|snapshot| log.base.index <= snapshot.id.index),
            "what is compacted is in a snapshot"
        );
        assert!(
            log.base.index <= self.last,
            "a log is compacted up to an entry that it holds"
        );
        let above = self.point_of(log.base.index.next());
        let oldest = above.map_or(self.current.seed.number, |place| self.points[place].segment);
        let change = Change::compacted(log, oldest);
        self.record(None, Some(&change), &[], Room::Scarce)?;
        match above {
            Some(place) => drop(self.points.drain(..place)),
            None => self.points.clear(),
        }
        if planted(Bug::DropBeforeSync) {
            self.oldest_synced = self.state.oldest;
            return self.drop_unneeded();
        }
        self.sync()
    }

    /// Drops the segments of which the disk knows that they are not needed; the first that is large enough
    /// becomes the next one's file, and some more are kept for those after it.
    pub(super) fn drop_unneeded(&mut self) -> Result<(), DiskError> {
        let unneeded = self.segments.range(..self.oldest_synced);
        let unneeded: Vec<u64> = unneeded.map(|(number, _)| *number).collect();
        if unneeded.is_empty() {
            return Ok(());
        }
        self.reading = None;
        for number in unneeded {
            let result = self.drop_segment(number);
            self.remember_failure(result)?;
        }
        let result = self.disk.sync_directory();
        self.remember_failure(result)
    }

    fn drop_segment(&mut self, number: u64) -> Result<(), DiskError> {
        let (name, size) = (segment_name(number), self.options.segment_bytes);
        let file = self.disk.open(&name)?;
        let filled = self.disk.length(&file)?;
        let wanted = self.spare.as_ref().is_none_or(|spare| spare.filled < size);
        if wanted && filled >= size {
            self.disk.rename(&name, SPARE_NAME)?;
            self.spare = Some(Spare { file, filled });
        } else if filled >= size && self.kept.len() < self.kept_max {
            let kept = kept_name(number);
            self.disk.rename(&name, &kept)?;
            self.kept.push(kept);
        } else {
            self.disk.remove(&name)?;
        }
        let dropped = self.segments.remove(&number);
        // Where the store changed, those of the former one go first, as at a start.
        let next = self.segments.values().next();
        match (dropped, next) {
            (Some(dropped), Some(next)) if dropped.store() != next.store() => {
                self.disk.sync_directory()
            }
            (Some(_) | None, Some(_) | None) => Ok(()),
        }
    }
}
