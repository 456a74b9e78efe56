//! Entries handed out: in runs as they are where that is what is asked for.

use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::entry::Entry;
use crate::run::{Run, count};
use crate::types::Index;

use super::Log;

impl Log {
    /// Entries from `from`, which is in memory, up to `to`, but not past `bytes_max` unless the first
    /// alone is; and their bytes.
    #[inline(always)]
    pub(crate) fn slice(&mut self, from: Index, to: Index, bytes_max: u64) -> (Arc<[Entry]>, u64) {
        self.newest(from, to, bytes_max)
            .unwrap_or_else(|| self.slice_any(from, to, bytes_max))
    }

    /// Nearly always it is the newest run, whole, that is asked for; or the one before, for a follower hears with
    /// an append that those before it are committed.
    #[inline(always)]
    fn newest(&self, from: Index, to: Index, bytes_max: u64) -> Option<(Arc<[Entry]>, u64)> {
        if from < self.first {
            return None;
        }
        for place in 1..=2 {
            if let Some(run) = self.runs.get(self.runs.len().wrapping_sub(place))
                && (run.first(), run.last()) == (from, to)
                && (run.sums().memory <= bytes_max || from == to)
                && run.is_whole()
            {
                return Some((run.shared(), run.sums().memory));
            }
        }
        None
    }

    fn slice_any(&mut self, from: Index, to: Index, bytes_max: u64) -> (Arc<[Entry]>, u64) {
        assert!(self.in_memory(from), "only entries in memory are sliced");
        let to = to.min(self.last().index);
        if !self.open.entries.is_empty() && to >= self.open_first() {
            self.close_up_to(from.previous());
            self.close(self.fitting(to, bytes_max));
            if let Some(newest) = self.newest(from, to, bytes_max) {
                return newest;
            }
        }
        if let Some(run) = self.runs.get(self.place_of(from))
            && self.is_wanted(run, from, to, bytes_max)
        {
            return (run.shared(), run.sums().memory);
        }
        self.cut(from, to, bytes_max)
    }

    /// How many of the entries that nobody has asked for yet lie at or below `to` and go together; at least one.
    fn fitting(&self, to: Index, bytes_max: u64) -> usize {
        let wanted = count(self.open_first(), to).min(self.open.entries.len());
        if wanted == self.open.entries.len() && self.open.sums.memory <= bytes_max {
            return wanted;
        }
        let mut bytes = 0_u64;
        let fits = self.open.entries[..wanted].iter().take_while(|entry| {
            bytes = bytes.saturating_add(entry.memory_bytes());
            bytes <= bytes_max
        });
        fits.count().max(1)
    }

    /// Whether a run is just what is asked for.
    fn is_wanted(&self, run: &Run, from: Index, to: Index, bytes_max: u64) -> bool {
        let (last, bytes) = (run.last(), run.sums().memory);
        if !run.is_whole() || run.first() != from || last > to {
            return false;
        }
        let fits = bytes <= bytes_max || run.len() == 1;
        let next_fits = || {
            let next = self.entry(last.next()).map_or(0, Entry::memory_bytes);
            bytes.saturating_add(next) <= bytes_max
        };
        fits && (last == to || !next_fits())
    }

    fn cut(&self, from: Index, to: Index, bytes_max: u64) -> (Arc<[Entry]>, u64) {
        let (mut entries, mut bytes) = (Vec::new(), 0_u64);
        let place = self.place_of(from);
        let runs = self.runs.range(place.min(self.runs.len())..);
        let kept = runs.flat_map(Run::entries).chain(&self.open.entries);
        let wanted = kept
            .skip_while(|entry| entry.id.index < from)
            .take_while(|entry| entry.id.index <= to);
        for entry in wanted {
            let with = bytes.saturating_add(entry.memory_bytes());
            if !entries.is_empty() && with > bytes_max {
                break;
            }
            bytes = with;
            entries.push(entry.clone());
        }
        (entries.into(), bytes)
    }
}
