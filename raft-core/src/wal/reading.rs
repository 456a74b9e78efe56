//! Reading entries back.
//!
//! Always holds: points ascend in index and in place, and what is read from one up to the next is what the
//! log holds there.

use alloc::vec::Vec;

use crate::action::ReadLog;
use crate::entry::Entry;
use crate::event::LogReadOutcome;
use crate::types::Index;

use super::disk::Disk;
use super::record::{self, Kind};
use super::segment::segment_name;
use super::{Wal, walk};

/// Where a run of entries begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Point {
    pub(super) first: Index,
    pub(super) segment: u64,
    pub(super) offset: u64,
}

impl<D: Disk> Wal<D> {
    /// Reads entries back, checking them on the way.
    pub fn read(&mut self, request: &ReadLog) -> LogReadOutcome {
        if request.from <= self.state.base.id.index {
            return LogReadOutcome::Compacted;
        }
        match self.read_entries(request.from, request.to, request.bytes_max) {
            Some(entries) if !entries.is_empty() => LogReadOutcome::Entries(entries),
            Some(_) | None => LogReadOutcome::Damaged,
        }
    }

    /// Takes over what the last record changed in the present segment's points.
    pub(super) fn merge_points(&mut self) {
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
                    Kind::Persist | Kind::Change => {}
                    Kind::Pad => continue,
                    // The end of the segment: what follows lies at the next point.
                    Kind::Start | Kind::Footer | Kind::Close => break,
                }
                let content = record::decode_content(&record).ok()??;
                for entry in content.entries {
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

    /// The last point from which the entry can be read; none if there is no such entry.
    pub(super) fn point_of(&self, index: Index) -> Option<usize> {
        let place = self.points.partition_point(|point| point.first <= index);
        place.checked_sub(1).filter(|_| index <= self.last)
    }

    fn is_unwritten(&self, segment: u64, offset: u64) -> bool {
        let written = self.current.end - self.buffer.len() as u64;
        segment == self.current.seed.number && offset >= written
    }

    fn read_record_at(&mut self, segment: u64, offset: u64) -> Option<record::Record> {
        let seed = self.segments.get(&segment)?.seed;
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
