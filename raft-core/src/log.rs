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
use crate::term_runs::TermRuns;
use crate::types::{EntryId, Index, Term};

/// Runs that are kept: what is on its way to a disk and a state machine that are a little late.
const RUNS_KEPT: usize = 8;

/// All terms, a bounded tail of entries, and how much of the whole is durable.
#[derive(Clone, Debug)]
pub(crate) struct Log {
    terms: TermRuns,
    sizes: LogSizes,
    tail: VecDeque<Entry>,
    tail_bytes: u64,
    durable: Index,
    undurable_bytes: u64,
    /// Runs of entries that were sliced or received lately and are in memory, oldest first: peers at the same
    /// place, the disk and the state machine share them.
    runs: VecDeque<Run>,
}

#[derive(Clone, Debug)]
struct Run {
    from: Index,
    entries: Arc<[Entry]>,
    bytes: u64,
}

impl Run {
    fn last(&self) -> Index {
        Index(self.from.previous().0 + self.entries.len() as u64)
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
        for entry in &tail {
            sizes.appended(entry.memory_bytes());
        }
        Self {
            durable,
            sizes,
            tail_bytes: tail.iter().map(Entry::memory_bytes).sum(),
            tail: tail.into(),
            terms,
            undurable_bytes: 0,
            runs: VecDeque::new(),
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

    /// Bytes that the entries in memory take.
    pub(crate) const fn tail_bytes(&self) -> u64 {
        self.tail_bytes
    }

    /// The first index that is in memory; one past the last if none is.
    fn tail_first(&self) -> Index {
        Index(self.last().index.0 + 1 - self.tail.len() as u64)
    }

    /// Whether the entry at `index` can be read without the disk.
    pub(crate) fn in_memory(&self, index: Index) -> bool {
        index >= self.tail_first() && index <= self.last().index
    }

    /// Adds an entry, which is not durable yet.
    pub(crate) fn append(&mut self, entry: Entry) {
        self.terms.append(entry.id);
        let bytes = entry.memory_bytes();
        self.sizes.appended(bytes);
        self.tail_bytes += bytes;
        self.undurable_bytes += bytes;
        self.tail.push_back(entry);
    }

    /// Adds entries, which are not durable yet, and which others have to be handed just so.
    pub(crate) fn append_run(&mut self, entries: &Arc<[Entry]>) {
        let Some(first) = entries.first() else {
            return;
        };
        let before = self.tail_bytes;
        for entry in &entries[..] {
            self.append(entry.clone());
        }
        self.remember(Run {
            from: first.id.index,
            entries: entries.clone(),
            bytes: self.tail_bytes - before,
        });
    }

    fn remember(&mut self, run: Run) {
        if self.runs.len() == RUNS_KEPT {
            self.runs.pop_front();
        }
        self.runs.push_back(run);
    }

    /// Removes every entry from `from` on.
    pub(crate) fn truncate(&mut self, from: Index) {
        self.runs.clear();
        while self.last().index >= from {
            let last = self.last().index;
            if let Some(entry) = self.tail.pop_back() {
                let bytes = entry.memory_bytes();
                self.tail_bytes -= bytes;
                if last > self.durable {
                    self.undurable_bytes -= bytes;
                }
                self.sizes.popped(bytes);
                self.terms.truncate(last);
            } else {
                // Older entries were never loaded after a restart.
                self.sizes.truncated(from);
                self.terms.truncate(from);
            }
        }
        self.durable = self.durable.min(from.previous());
        assert!(
            self.durable <= self.last().index,
            "what is durable is in the log"
        );
    }

    /// Entries up to `durable` are on disk.
    pub(crate) fn set_durable(&mut self, durable: Index) {
        assert!(durable >= self.durable, "what is durable stays so");
        assert!(
            durable <= self.last().index,
            "what is durable is in the log"
        );
        let first = self.tail_first();
        // What an installed snapshot replaced was taken off already.
        let mut index = self.durable.next().max(first);
        while index <= durable {
            // Lossless: the place in memory is below the length of the tail.
            #[expect(
                clippy::cast_possible_truncation,
                reason = "below the length of the tail"
            )]
            let place = (index.0 - first.0) as usize;
            self.undurable_bytes -= self.tail[place].memory_bytes();
            index = index.next();
        }
        self.durable = durable;
    }

    /// The log begins after `base` from now on, which is durable.
    pub(crate) fn compact(&mut self, base: Index) {
        assert!(base <= self.durable, "only what is durable is compacted");
        self.runs.clear();
        self.terms.compact(base);
        self.sizes.compacted(base);
        while self
            .tail
            .front()
            .is_some_and(|front| front.id.index <= base)
        {
            self.pop_front();
        }
    }

    /// The log is discarded whole and begins anew after `base`, which lies above `committed`. Of what is
    /// durable only the committed part is in the new log, too.
    pub(crate) fn install(&mut self, base: EntryId, committed: Index) {
        assert!(
            base.index > committed,
            "a snapshot takes the place of what is behind it"
        );
        self.runs.clear();
        self.terms = TermRuns::new(base);
        self.sizes = LogSizes::new(base.index);
        self.tail.clear();
        self.tail_bytes = 0;
        self.undurable_bytes = 0;
        self.durable = self.durable.min(committed);
    }

    fn pop_front(&mut self) {
        if let Some(front) = self.tail.pop_front() {
            self.tail_bytes -= front.memory_bytes();
        }
    }

    /// Entries from `from`, which is in memory, up to `to`, but not past `bytes_max` unless the first
    /// alone is.
    pub(crate) fn slice(&mut self, from: Index, to: Index, bytes_max: u64) -> Arc<[Entry]> {
        let mut runs = self.runs.iter().rev();
        if let Some(run) = runs.find(|run| self.is_wanted(run, from, to, bytes_max)) {
            return run.entries.clone();
        }
        let (entries, bytes) = self.cut(from, to, bytes_max);
        self.remember(Run {
            from,
            entries: entries.clone(),
            bytes,
        });
        entries
    }

    /// Likewise, for whoever is the last to be handed these entries.
    pub(crate) fn last_slice(&mut self, from: Index, to: Index, bytes_max: u64) -> Arc<[Entry]> {
        let mut runs = self.runs.iter();
        let place = runs.position(|run| self.is_wanted(run, from, to, bytes_max));
        let run = place.and_then(|place| self.runs.remove(place));
        match run {
            Some(run) => run.entries,
            None => self.cut(from, to, bytes_max).0,
        }
    }

    /// Whether a run is just what is asked for.
    fn is_wanted(&self, run: &Run, from: Index, to: Index, bytes_max: u64) -> bool {
        run.from == from
            && run.last() == to.min(self.last().index)
            && (run.bytes <= bytes_max || run.entries.len() == 1)
    }

    fn cut(&self, from: Index, to: Index, bytes_max: u64) -> (Arc<[Entry]>, u64) {
        assert!(self.in_memory(from), "only entries in memory are sliced");
        let first = self.tail_first();
        #[expect(
            clippy::cast_possible_truncation,
            reason = "below the length of the tail"
        )]
        let start = (from.0 - first.0) as usize;
        let wanted = usize::try_from(to.0.saturating_sub(from.0).saturating_add(1));
        let end = wanted
            .unwrap_or(usize::MAX)
            .saturating_add(start)
            .min(self.tail.len());
        let (mut bytes, mut count) = (0_u64, 0);
        for entry in self.tail.range(start..end) {
            let with = bytes.saturating_add(entry.memory_bytes());
            if count > 0 && with > bytes_max {
                break;
            }
            bytes = with;
            count += 1;
        }
        let entries = self.tail.range(start..start + count).cloned();
        (entries.collect(), bytes)
    }

    /// Quota bytes of the entries in `from..=to`, all of which are in memory.
    pub(crate) fn quota_bytes(&self, from: Index, to: Index) -> u64 {
        let first = self.tail_first();
        let mut sum = 0;
        let mut index = from;
        while index <= to {
            #[expect(
                clippy::cast_possible_truncation,
                reason = "below the length of the tail"
            )]
            let place = (index.0 - first.0) as usize;
            sum += self.tail[place].quota_bytes();
            index = index.next();
        }
        sum
    }

    /// Drops the oldest entries from memory while it holds more than `bytes_max`, but none that is
    /// not durable, nor one above `committed`.
    pub(crate) fn evict(&mut self, committed: Index, bytes_max: u64) {
        if self.tail_bytes <= bytes_max {
            return;
        }
        let limit = self.durable.min(committed);
        while self.tail_bytes > bytes_max {
            let Some(front) = self.tail.front() else {
                break;
            };
            if front.id.index > limit {
                break;
            }
            self.pop_front();
        }
        let first = self.tail_first();
        self.runs.retain(|run| run.from >= first);
    }
}

#[cfg(test)]
#[expect(clippy::cast_possible_truncation, reason = "small numbers")]
mod tests {
    use super::Log;
    use crate::entry::{Entry, Payload};
    use crate::term_runs::TermRuns;
    use crate::types::{EntryId, Index, Term};
    use alloc::vec;
    use alloc::vec::Vec;
    use bytes::Bytes;
    use quickcheck::quickcheck;

    fn entry(term: u64, index: u64, bytes: u8) -> Entry {
        Entry {
            id: EntryId {
                term: Term(term),
                index: Index(index),
            },
            payload: Payload::Command(Bytes::from(vec![0; bytes.into()])),
        }
    }

    quickcheck! {
        /// Against a plain list: appended, truncated, made durable, evicted and compacted in any order,
        /// or replaced by a snapshot.
        fn the_log_knows_what_a_list_knows(steps: Vec<(u8, u8)>) -> bool {
            let mut log = Log::new(TermRuns::new(EntryId::ZERO), vec![]);
            let (mut list, mut durable, mut committed, mut term): (Vec<Entry>, u64, u64, u64) =
                (vec![], 0, 0, 1);
            let mut base = 0;
            for (kind, amount) in steps {
                let last = list.len() as u64;
                match kind % 8 {
                    0 | 1 => {
                        let entry = entry(term, last + 1, amount);
                        list.push(entry.clone());
                        log.append(entry);
                    }
                    2 if last > committed => {
                        let from = committed + 1 + u64::from(amount) % (last - committed);
                        list.truncate(from as usize - 1);
                        log.truncate(Index(from));
                        durable = durable.min(from - 1);
                        term += 1;
                    }
                    3 => {
                        durable += u64::from(amount) % (last - durable + 1);
                        log.set_durable(Index(durable));
                    }
                    4 if durable.min(committed) > base => {
                        base += u64::from(amount) % (durable.min(committed) - base + 1);
                        log.compact(Index(base));
                    }
                    5 if kind % 3 == 0 => {
                        term += 1;
                        base = committed + 1 + u64::from(amount) % 9;
                        list.truncate(committed as usize);
                        list.extend((committed + 1..=base).map(|index| entry(term, index, 0)));
                        log.install(list[base as usize - 1].id, Index(committed));
                        // The mark is durable at once.
                        log.set_durable(Index(base));
                        (durable, committed) = (base, base);
                    }
                    _ => {
                        committed += u64::from(amount) % (last - committed + 1);
                        log.evict(Index(committed), 300);
                    }
                }
                let waiting = list[durable as usize..].iter().map(Entry::memory_bytes);
                let mut kept_terms = list.iter().skip(base as usize);
                let terms = kept_terms.all(|e| log.term(e.id.index) == Some(e.id.term));
                let held = (1..=list.len() as u64).filter(|index| log.in_memory(Index(*index)));
                let held: Vec<u64> = held.collect();
                let needed = durable.min(committed);
                let kept = (needed + 1..=list.len() as u64).all(|index| held.contains(&index));
                let slices = held.iter().all(|from| {
                    let slice = log.slice(Index(*from), Index(u64::MAX), 200);
                    let bytes: u64 = slice.iter().map(Entry::memory_bytes).sum();
                    let expected = &list[*from as usize - 1..][..slice.len()];
                    slice[..] == *expected && !slice.is_empty() && (bytes <= 200 || slice.len() == 1)
                });
                if !terms || !kept || !slices || log.undurable_bytes() != waiting.sum::<u64>() {
                    return false;
                }
            }
            true
        }
    }
}
