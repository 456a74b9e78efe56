//! Entries that follow one another and are handed out together.
//!
//! Always holds: the sums are those of the entries that are left.

use alloc::sync::Arc;

use crate::entry::Entry;
use crate::types::Index;

/// What entries take together.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sums {
    /// What the bounds on memory count.
    pub(crate) memory: u64,
    /// What the quota of uncommitted bytes counts.
    pub(crate) quota: u64,
}

impl Sums {
    /// Those of no entries.
    pub(crate) const NOTHING: Self = Self {
        memory: 0,
        quota: 0,
    };

    pub(crate) fn of(entry: &Entry) -> Self {
        Self {
            memory: entry.memory_bytes(),
            quota: entry.quota_bytes(),
        }
    }

    pub(crate) const fn add(&mut self, other: Self) {
        self.memory += other.memory;
        self.quota += other.quota;
    }

    pub(crate) const fn subtract(&mut self, other: Self) {
        self.memory -= other.memory;
        self.quota -= other.quota;
    }
}

/// At least one entry, of which the last ones may have been truncated.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    first: Index,
    last: Index,
    entries: Arc<[Entry]>,
    sums: Sums,
}

impl Run {
    #[inline(always)]
    pub(crate) fn new(entries: Arc<[Entry]>) -> Self {
        let mut sums = Sums::default();
        for entry in &entries[..] {
            sums.add(Sums::of(entry));
        }
        Self::with_sums(entries, sums)
    }

    /// Entries whose sums are known.
    pub(crate) fn with_sums(entries: Arc<[Entry]>, sums: Sums) -> Self {
        Self {
            first: entries[0].id.index,
            last: entries[entries.len() - 1].id.index,
            entries,
            sums,
        }
    }

    pub(crate) const fn first(&self) -> Index {
        self.first
    }

    pub(crate) const fn last(&self) -> Index {
        self.last
    }

    pub(crate) fn len(&self) -> usize {
        count(self.first, self.last)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.last < self.first
    }

    pub(crate) const fn sums(&self) -> Sums {
        self.sums
    }

    /// Whether nothing of it was truncated, so that it can be shared.
    pub(crate) fn is_whole(&self) -> bool {
        self.len() == self.entries.len()
    }

    /// All of it; it is whole.
    pub(crate) fn shared(&self) -> Arc<[Entry]> {
        self.entries.clone()
    }

    pub(crate) fn entries(&self) -> &[Entry] {
        &self.entries[..self.len()]
    }

    pub(crate) fn get(&self, index: Index) -> Option<&Entry> {
        let place = index.0.checked_sub(self.first.0)?;
        self.entries().get(usize::try_from(place).ok()?)
    }

    /// Sums over those of its entries that lie in `from..=to`.
    pub(crate) fn sums_between(&self, from: Index, to: Index) -> Sums {
        if from <= self.first && self.last() <= to {
            return self.sums;
        }
        let mut sums = Sums::default();
        let (skipped, wanted) = (count(self.first, from.previous()), count(self.first, to));
        for entry in self.entries().iter().take(wanted).skip(skipped) {
            sums.add(Sums::of(entry));
        }
        sums
    }

    /// Removes the last entry.
    pub(crate) fn pop(&mut self) -> Sums {
        let popped = self.entries().last().map(Sums::of).unwrap_or_default();
        self.last = self.last.previous();
        self.sums.subtract(popped);
        popped
    }
}

/// How many entries there are from `first` to `last`.
pub(crate) fn count(first: Index, last: Index) -> usize {
    let count = last.0.saturating_add(1).saturating_sub(first.0);
    usize::try_from(count).unwrap_or(usize::MAX)
}
