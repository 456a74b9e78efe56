//! The log as consensus sees it: every term, and the newest entries.
//!
//! Always holds: entries that are not durable or not committed are in memory; what was evicted can
//! be read back from the disk and will never be truncated.
//!
//! `durable` may lie below the place where the log begins: after a snapshot was installed, until the disk
//! has it too.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::entry::Entry;
use crate::log_sizes::LogSizes;
use crate::rare::{Rare, Seldom};
use crate::run::{Run, Sums, count};
use crate::term_runs::TermRuns;
use crate::types::{EntryId, Index, Term};

/// What was read from the disk is kept in runs of so many entries: a run leaves memory as a whole.
const RESTORED_RUN: usize = 64;

/// All terms, a bounded tail of entries, and how much of the whole is durable.
///
/// The tail is kept in runs, as they were received, or as they were first asked for: peers at the same place, the
/// disk and the state machine are handed a run as it is, and nothing is done for each of its entries.
#[derive(Clone, Debug)]
pub(crate) struct Log {
    terms: TermRuns,
    sizes: LogSizes,
    /// Oldest first, each following the one before.
    runs: VecDeque<Run>,
    open: Rare<Open>,
    /// The first index that counts as in memory; one past the last if none does. The oldest run may begin
    /// before it.
    first: Index,
    tail_bytes: u64,
    durable: Index,
    undurable_bytes: u64,
}

/// What was appended after the last run and nobody has asked for yet: only a leader's log has any.
#[derive(Clone, Debug, Default)]
struct Open {
    entries: Vec<Entry>,
    sums: Sums,
}

impl Seldom for Open {
    const NOTHING: &'static Self = &Self {
        entries: Vec::new(),
        sums: Sums::NOTHING,
    };

    fn is_nothing(&self) -> bool {
        self.entries.is_empty()
    }
}

impl Log {
    /// A log whose entries are all durable; `tail` is its end, as much of it as was loaded.
    pub(crate) fn new(terms: TermRuns, tail: Vec<Entry>) -> Self {
        let durable = terms.last().index;
        assert!(
            tail.last().is_none_or(|last| last.id == terms.last()),
            "the tail is the end of the log"
        );
        let unknown = Index(durable.0.saturating_sub(tail.len() as u64));
        let mut sizes = LogSizes::new(unknown);
        let runs: VecDeque<Run> = tail
            .chunks(RESTORED_RUN)
            .map(|chunk| Run::new(chunk.into()))
            .collect();
        for run in &runs {
            let entries = run.entries().iter().map(Entry::memory_bytes);
            sizes.appended(entries, run.sums().memory);
        }
        Self {
            terms,
            sizes,
            tail_bytes: runs.iter().map(|run| run.sums().memory).sum(),
            runs,
            open: Rare::new(),
            first: unknown.next(),
            durable,
            undurable_bytes: 0,
        }
    }

    pub(crate) fn terms(&self) -> &TermRuns {
        &self.terms
    }

    /// How its bytes are spread over its entries.
    pub(crate) const fn sizes(&self) -> &LogSizes {
        &self.sizes
    }

    /// The place before the first entry.
    pub(crate) const fn base(&self) -> EntryId {
        self.terms.base()
    }

    pub(crate) fn last(&self) -> EntryId {
        self.terms.last()
    }

    pub(crate) fn term(&self, index: Index) -> Option<Term> {
        self.terms.term(index)
    }

    pub(crate) const fn durable(&self) -> Index {
        self.durable
    }

    pub(crate) const fn undurable_bytes(&self) -> u64 {
        self.undurable_bytes
    }

    /// Bytes of the entries that count as in memory. The oldest run is kept until the last of it does not.
    pub(crate) const fn tail_bytes(&self) -> u64 {
        self.tail_bytes
    }

    /// Whether the entry at `index` can be read without the disk.
    pub(crate) fn in_memory(&self, index: Index) -> bool {
        index >= self.first && index <= self.last().index
    }

    /// Adds an entry, which is not durable yet; returns what it takes.
    pub(crate) fn append(&mut self, entry: Entry) -> Sums {
        self.terms.append(entry.id);
        let sums = Sums::of(&entry);
        self.sizes.appended([sums.memory].into_iter(), sums.memory);
        self.tail_bytes += sums.memory;
        self.undurable_bytes += sums.memory;
        let open = self.open.make();
        open.sums.add(sums);
        open.entries.push(entry);
        sums
    }

    /// Adds entries, which are not durable yet, and which others have to be handed just so.
    #[inline(always)]
    pub(crate) fn append_run(&mut self, entries: Arc<[Entry]>) {
        let (Some(first), Some(last)) = (entries.first(), entries.last()) else {
            return;
        };
        self.close(self.open.entries.len());
        let ids = entries.iter().map(|entry| entry.id);
        self.terms.append_run(first.id, last.id, ids);
        let run = Run::new(entries);
        let sizes = run.entries().iter().map(Entry::memory_bytes);
        self.sizes.appended(sizes, run.sums().memory);
        self.tail_bytes += run.sums().memory;
        self.undurable_bytes += run.sums().memory;
        self.push_run(run);
    }

    /// Makes a run of the first of those entries that nobody has asked for yet.
    fn close(&mut self, count: usize) {
        if count == 0 {
            return;
        }
        let open = self.open.make();
        let run = if count == open.entries.len() {
            let sums = core::mem::take(&mut open.sums);
            // Many commands come alone, and one need not be counted.
            let alone = if count == 1 { open.entries.pop() } else { None };
            let entries: Arc<[Entry]> = match alone {
                Some(alone) => Arc::new([alone]),
                None => open.entries.drain(..).collect(),
            };
            Run::with_sums(entries, sums)
        } else {
            let run = Run::new(open.entries.drain(..count).collect());
            open.sums.subtract(run.sums());
            run
        };
        self.push_run(run);
    }

    #[inline(always)]
    fn push_run(&mut self, run: Run) {
        if self.runs.capacity() == 0 {
            // Many logs never have a second one.
            self.runs.reserve_exact(1);
        }
        self.runs.push_back(run);
    }

    /// Likewise, of those up to an index; of none if they all lie behind it.
    fn close_up_to(&mut self, last: Index) {
        self.close(count(self.open_first(), last).min(self.open.entries.len()));
    }

    /// Keeps no more room than there is use for.
    pub(crate) fn give_back(&mut self) {
        self.open.give_back();
        self.sizes.give_back();
        if self.runs.capacity() > 2 * self.runs.len() {
            self.runs.shrink_to_fit();
        }
    }

    /// The index that the first entry after the last run has, or would have.
    fn open_first(&self) -> Index {
        Index(self.last().index.next().0 - self.open.entries.len() as u64)
    }

    /// Removes every entry from `from` on.
    pub(crate) fn truncate(&mut self, from: Index) {
        while self.last().index >= from && self.last().index >= self.first {
            self.pop();
        }
        if self.last().index >= from {
            // Older entries were never loaded after a restart.
            self.sizes.truncated(from);
            self.terms.truncate(from);
            self.first = from;
        }
        self.durable = self.durable.min(from.previous());
        assert!(
            self.durable <= self.last().index,
            "what is durable is in the log"
        );
    }

    /// Removes the last entry, which is in memory.
    fn pop(&mut self) {
        let last = self.last().index;
        let open = self.open.made();
        let popped = if let Some(open) = open
            && let Some(entry) = open.entries.pop()
        {
            let sums = Sums::of(&entry);
            open.sums.subtract(sums);
            sums
        } else {
            let run = self.runs.back_mut();
            let run = run.unwrap_or_else(|| panic!("what is in memory lies in a run"));
            let sums = run.pop();
            if run.is_empty() {
                self.runs.pop_back();
            }
            sums
        };
        self.tail_bytes -= popped.memory;
        if last > self.durable {
            self.undurable_bytes -= popped.memory;
        }
        self.sizes.popped(popped.memory);
        self.terms.truncate(last);
        if last == self.first {
            // What is left of the run before it does not count as in memory.
            self.runs.clear();
        }
    }

    /// Entries up to `durable` are on disk.
    #[inline(always)]
    pub(crate) fn set_durable(&mut self, durable: Index) {
        assert!(durable >= self.durable, "what is durable stays so");
        assert!(
            durable <= self.last().index,
            "what is durable is in the log"
        );
        // What an installed snapshot replaced was taken off already.
        let from = self.durable.next().max(self.first);
        self.undurable_bytes -= self.sums(from, durable).memory;
        self.durable = durable;
    }

    /// The log begins after `base` from now on, which is durable.
    pub(crate) fn compact(&mut self, base: Index) {
        assert!(base <= self.durable, "only what is durable is compacted");
        self.terms.compact(base);
        self.sizes.compacted(base);
        self.leave_memory(base.next());
    }

    /// The log is discarded whole and begins anew after `base`, which lies above `committed`. Of what is
    /// durable only the committed part is in the new log, too.
    pub(crate) fn install(&mut self, base: EntryId, committed: Index) {
        assert!(
            base.index > committed,
            "a snapshot takes the place of what is behind it"
        );
        self.terms = TermRuns::new(base);
        self.sizes = LogSizes::new(base.index);
        self.runs.clear();
        self.open = Rare::new();
        self.first = base.index.next();
        self.tail_bytes = 0;
        self.undurable_bytes = 0;
        self.durable = self.durable.min(committed);
    }

    /// Which run an index lies in; as many as there are if it lies after them.
    fn place_of(&self, index: Index) -> usize {
        let runs = self.runs.len();
        // Nearly every question is about one of the newest.
        for place in (runs.saturating_sub(4)..runs).rev() {
            if self.runs[place].last() < index {
                return place + 1;
            }
        }
        self.runs.partition_point(|run| run.last() < index)
    }

    fn entry(&self, index: Index) -> Option<&Entry> {
        match self.runs.get(self.place_of(index)) {
            Some(run) => run.get(index),
            None => self
                .open
                .entries
                .get(count(self.open_first(), index).checked_sub(1)?),
        }
    }

    /// Quota bytes of the entries in `from..=to`, all of which are in memory.
    pub(crate) fn quota_bytes(&self, from: Index, to: Index) -> u64 {
        self.sums(from, to).quota
    }

    /// Sums over the entries in `from..=to`, all of which are in memory.
    #[inline(always)]
    fn sums(&self, from: Index, to: Index) -> Sums {
        if let Some(run) = self.runs.back()
            && (run.first(), run.last()) == (from, to)
        {
            return run.sums();
        }
        self.sums_of_any(from, to)
    }

    fn sums_of_any(&self, from: Index, to: Index) -> Sums {
        let mut sums = Sums::default();
        if from > to {
            return sums;
        }
        for place in self.place_of(from)..self.runs.len() {
            let run = &self.runs[place];
            sums.add(run.sums_between(from, to));
            if run.last() >= to {
                return sums;
            }
        }
        let first = self.open_first();
        if from <= first && to == self.last().index {
            sums.add(self.open.sums);
        } else if to >= first {
            let (skipped, wanted) = (count(first, from.previous()), count(first, to));
            for entry in &self.open.entries[skipped..wanted] {
                sums.add(Sums::of(entry));
            }
        }
        sums
    }

    /// Drops the oldest entries from memory while it holds more than `bytes_max`, but none that is
    /// not durable, nor one above `committed`.
    #[inline(always)]
    pub(crate) fn evict(&mut self, committed: Index, bytes_max: u64) {
        if self.tail_bytes > bytes_max {
            self.evict_oldest(committed, bytes_max);
        }
    }

    fn evict_oldest(&mut self, committed: Index, bytes_max: u64) {
        let limit = self.durable.min(committed);
        self.close_up_to(limit);
        let (mut to, mut left) = (self.first, self.tail_bytes);
        for run in &self.runs {
            if left <= bytes_max || to > limit {
                break;
            }
            let whole = run.sums().memory;
            if run.first() == to && run.last() <= limit && left - whole >= bytes_max {
                left -= whole;
                to = run.last().next();
                continue;
            }
            while let Some(entry) = run.get(to).filter(|_| left > bytes_max && to <= limit) {
                left -= entry.memory_bytes();
                to = to.next();
            }
        }
        self.first = to;
        self.tail_bytes = left;
        self.drop_evicted();
    }

    /// What lies before `first` does not count as in memory any more.
    fn leave_memory(&mut self, first: Index) {
        if first <= self.first {
            return;
        }
        self.close_up_to(first.previous());
        self.tail_bytes -= self.sums(self.first, first.previous()).memory;
        self.first = first;
        self.drop_evicted();
    }

    fn drop_evicted(&mut self) {
        while self.runs.front().is_some_and(|run| run.last() < self.first) {
            self.runs.pop_front();
        }
    }
}

#[path = "log_slices.rs"]
mod slices;

#[cfg(test)]
#[expect(clippy::cast_possible_truncation, reason = "small numbers")]
#[path = "log_tests.rs"]
mod tests;
