//! The terms of a whole log in a few words: one run for each term that has entries.
//!
//! Always holds: runs ascend in index and in term, and none is empty.

use alloc::vec::Vec;

use crate::types::{EntryId, Index, Term};

/// The terms of every entry of a log, run-length encoded, above the place where the log begins.
///
/// ```
/// use raft_core::{EntryId, Index, Term, TermRuns};
///
/// let mut runs = TermRuns::new(EntryId::ZERO);
/// runs.append(EntryId { term: Term(1), index: Index(1) });
/// runs.append(EntryId { term: Term(3), index: Index(2) });
/// assert_eq!(runs.term(Index(2)), Some(Term(3)));
/// assert_eq!(runs.term(Index(3)), None);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TermRuns {
    base: EntryId,
    runs: Vec<EntryId>,
    last: Index,
}

impl TermRuns {
    /// An empty log that begins after `base`.
    #[must_use]
    pub const fn new(base: EntryId) -> Self {
        Self {
            base,
            runs: Vec::new(),
            last: base.index,
        }
    }

    /// The place before the first entry: zero, or where the log was compacted to.
    #[must_use]
    pub const fn base(&self) -> EntryId {
        self.base
    }

    /// The last entry, or the base of an empty log.
    #[must_use]
    pub fn last(&self) -> EntryId {
        EntryId {
            term: self.runs.last().unwrap_or(&self.base).term,
            index: self.last,
        }
    }

    /// The term of the entry at `index`, or of the base; `None` outside.
    #[must_use]
    pub fn term(&self, index: Index) -> Option<Term> {
        if index == self.base.index {
            return Some(self.base.term);
        }
        if index < self.base.index || index > self.last {
            return None;
        }
        Some(self.run_of(index).term)
    }

    /// The run that covers `index`, which lies in the log.
    fn run_of(&self, index: Index) -> EntryId {
        match self.runs.last() {
            // Nearly every question is about the newest run.
            Some(run) if run.index <= index => *run,
            _ => self.runs[self.runs.partition_point(|run| run.index <= index) - 1],
        }
    }

    /// An entry was appended.
    ///
    /// # Panics
    ///
    /// If it does not follow the last one, or its term is lower.
    #[inline(always)]
    pub fn append(&mut self, id: EntryId) {
        let last = self.last();
        assert!(
            id.index == last.index.next(),
            "an entry is appended after the last"
        );
        assert!(id.term >= last.term, "terms never fall along the log");
        if self.runs.is_empty() || id.term > last.term {
            if self.runs.is_empty() {
                // Many logs never have a second one.
                self.runs.reserve_exact(1);
            }
            self.runs.push(id);
        }
        self.last = id.index;
    }

    /// Entries were appended that follow one another, with terms that do not fall.
    ///
    /// # Panics
    ///
    /// If the first one does not follow the last of the log, or its term is lower.
    #[inline(always)]
    pub(crate) fn append_run(
        &mut self,
        first: EntryId,
        last: EntryId,
        ids: impl Iterator<Item = EntryId>,
    ) {
        self.append(first);
        if first.term == last.term {
            self.last = last.index;
        } else {
            ids.skip(1).for_each(|id| self.append(id));
        }
    }

    /// Entries from `from` on are gone.
    ///
    /// # Panics
    ///
    /// If that would cut at or below the base, which is committed.
    pub fn truncate(&mut self, from: Index) {
        assert!(
            from > self.base.index,
            "the log is not truncated below its base"
        );
        while self.runs.last().is_some_and(|run| run.index >= from) {
            self.runs.pop();
        }
        self.last = self.last.min(from.previous());
    }

    /// The log begins after `base` from now on.
    ///
    /// # Panics
    ///
    /// If that is not a place in the log.
    pub fn compact(&mut self, base: Index) {
        let term = self.term(base);
        let term = term.unwrap_or_else(|| panic!("a log is compacted to a place in it"));
        self.base = EntryId { term, index: base };
        let covering = self.runs.partition_point(|run| run.index <= base);
        let goes_on = self.last > base
            && self
                .runs
                .get(covering)
                .is_none_or(|run| run.index > base.next());
        let first = covering.saturating_sub(usize::from(goes_on));
        self.runs.drain(..first);
        if goes_on && let Some(run) = self.runs.first_mut() {
            run.index = base.next();
        }
    }

    /// The last entry whose index and term both do not exceed the hint's: where two logs may still
    /// agree, found without walking entry by entry (§5.3, the optimization at its end).
    #[must_use]
    pub fn best_match(&self, hint: EntryId) -> EntryId {
        let index = hint.index.min(self.last);
        if index <= self.base.index {
            return self.base;
        }
        let run = self.run_of(index);
        if run.term <= hint.term {
            return EntryId {
                term: run.term,
                index,
            };
        }
        // The first run above the hint's term; what precedes it is the answer.
        let above = self.runs.partition_point(|run| run.term <= hint.term);
        let index = self.runs[above].index.previous();
        match above.checked_sub(1) {
            Some(below) => EntryId {
                term: self.runs[below].term,
                index,
            },
            None => self.base,
        }
    }

    /// The first entry of each run, oldest first.
    #[must_use]
    pub fn runs(&self) -> &[EntryId] {
        &self.runs
    }

    /// Replaces everything from the other's first entry on with the other's entries: how the logs of
    /// successive segments become one.
    ///
    /// False, and nothing changed, if they leave a gap or their terms fall.
    #[must_use]
    pub fn splice(&mut self, first: Index, other: &[EntryId], last: Index) -> bool {
        if first <= self.base.index || first > self.last.next() {
            return false;
        }
        let ascending = other
            .windows(2)
            .all(|pair| pair[0].index < pair[1].index && pair[0].term < pair[1].term);
        let term_before = self.term(first.previous()).unwrap_or(self.base.term);
        let starts_there = other.first().is_some_and(|run| run.index == first);
        let ends_there = other.last().is_some_and(|run| run.index <= last);
        if !ascending || !starts_there || !ends_there || other[0].term < term_before {
            return false;
        }
        self.truncate(first);
        let joined = usize::from(!self.runs.is_empty() && other[0].term == term_before);
        self.runs.extend_from_slice(&other[joined..]);
        self.last = last;
        true
    }
}
