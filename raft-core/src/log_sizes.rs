//! How many bytes lie between two places of the log, roughly and in bounded memory: what compaction asks.
//!
//! Always holds: an answer never exceeds the truth, so whoever keeps as much as it says keeps enough; what
//! is not known counts as nothing.

use alloc::collections::VecDeque;

use crate::types::Index;

/// Places remembered at most: 16 KiB.
const MILESTONES_MAX: usize = 1_024;
/// The finest spacing, in bytes of entries.
const SPACING_MIN: u64 = 1_024;

/// Milestones along the log, each a little further on in bytes than the one before.
///
/// When there are too many of them every other one is forgotten, so that the error stays a small share of
/// the whole.
#[derive(Clone, Debug)]
pub(crate) struct LogSizes {
    /// Never empty: a place, and the bytes up to and including it since the first one.
    milestones: VecDeque<Milestone>,
    last: Milestone,
    spacing: u64,
}

#[derive(Clone, Copy, Debug)]
struct Milestone {
    index: Index,
    bytes: u64,
}

impl LogSizes {
    /// Nothing is known of entries up to `start`.
    pub(crate) fn new(start: Index) -> Self {
        let start = Milestone {
            index: start,
            bytes: 0,
        };
        Self {
            milestones: VecDeque::from([start]),
            last: start,
            spacing: SPACING_MIN,
        }
    }

    /// Entries follow the last one, of so many bytes each and so many together.
    pub(crate) fn appended(&mut self, entries: impl ExactSizeIterator<Item = u64>, together: u64) {
        let mut before = self.milestones.back().map_or(0, |back| back.bytes);
        let end = self.last.bytes.saturating_add(together);
        if end - before < self.spacing {
            // None of them gets as far as the next milestone.
            self.last.bytes = end;
            self.last.index.0 += entries.len() as u64;
            return;
        }
        for bytes in entries {
            self.last = Milestone {
                index: self.last.index.next(),
                bytes: self.last.bytes.saturating_add(bytes),
            };
            if self.last.bytes - before >= self.spacing {
                self.milestones.push_back(self.last);
                if self.milestones.len() > MILESTONES_MAX {
                    self.thin();
                }
                before = self.milestones.back().map_or(0, |back| back.bytes);
            }
        }
    }

    fn thin(&mut self) {
        self.spacing = self.spacing.saturating_mul(2);
        let (spacing, mut kept) = (self.spacing, None);
        self.milestones.retain(|milestone| {
            let keep = kept.is_none_or(|kept| milestone.bytes - kept >= spacing);
            if keep {
                kept = Some(milestone.bytes);
            }
            keep
        });
    }

    /// The last entry, of so many bytes, is gone.
    pub(crate) fn popped(&mut self, bytes: u64) {
        self.truncated(self.last.index);
        self.last.bytes = self.last.bytes.saturating_sub(bytes);
        assert!(
            self.milestones
                .back()
                .is_some_and(|back| back.bytes <= self.last.bytes),
            "what an entry took is what it gives back"
        );
    }

    /// Entries from `from` on are gone, which were not known.
    pub(crate) fn truncated(&mut self, from: Index) {
        let last = from.previous();
        while self.milestones.back().is_some_and(|back| back.index > last) {
            self.milestones.pop_back();
        }
        self.last.index = self.last.index.min(last);
        if self.milestones.is_empty() {
            *self = Self::new(last);
        }
    }

    /// The log begins after `base` from now on.
    pub(crate) fn compacted(&mut self, base: Index) {
        while self
            .milestones
            .front()
            .is_some_and(|front| front.index < base)
        {
            self.milestones.pop_front();
        }
        if self.milestones.is_empty() {
            self.milestones.push_back(self.last);
        }
        if self.milestones.len() < MILESTONES_MAX / 4 {
            self.spacing = (self.spacing / 2).max(SPACING_MIN);
        }
    }

    /// The last place with at least so many bytes of entries between it and `end`; zero if none is known.
    pub(crate) fn behind(&self, end: Index, bytes: u64) -> Index {
        if bytes == 0 {
            return end;
        }
        let known = self.up_to(end);
        let after = self
            .milestones
            .partition_point(|milestone| milestone.bytes.saturating_add(bytes) <= known);
        match after.checked_sub(1) {
            Some(place) => self.milestones[place].index,
            None => Index(0),
        }
    }

    /// Bytes of the entries after `from` up to `to`, at least.
    pub(crate) fn between(&self, from: Index, to: Index) -> u64 {
        let place = self
            .milestones
            .partition_point(|milestone| milestone.index < from);
        let before = self.milestones.get(place).unwrap_or(&self.last).bytes;
        self.up_to(to).saturating_sub(before)
    }

    /// Bytes up to `index`, at least.
    fn up_to(&self, index: Index) -> u64 {
        if index >= self.last.index {
            return self.last.bytes;
        }
        let after = self
            .milestones
            .partition_point(|milestone| milestone.index <= index);
        after
            .checked_sub(1)
            .map_or(0, |place| self.milestones[place].bytes)
    }
}

#[cfg(test)]
#[expect(clippy::cast_possible_truncation, reason = "small numbers")]
mod tests {
    use super::{LogSizes, MILESTONES_MAX};
    use crate::types::Index;
    use alloc::vec::Vec;
    use quickcheck::quickcheck;

    /// Bytes of the entries after `from` up to `to`, in a plain list.
    fn truth(list: &[u64], from: u64, to: u64) -> u64 {
        list[from as usize..to.max(from) as usize].iter().sum()
    }

    quickcheck! {
        /// Against a plain list of sizes: enough is kept, and little more.
        fn as_much_as_was_asked_for_lies_behind_the_answer(steps: Vec<(u8, u16)>, bytes: u16) -> bool {
            let (mut sizes, mut list, mut base) = (LogSizes::new(Index(0)), Vec::<u64>::new(), 0);
            let bytes = u64::from(bytes) + 1;
            for (kind, amount) in steps {
                let (last, amount) = (list.len() as u64, u64::from(amount));
                match kind % 8 {
                    0 if last > base => sizes.popped(list.pop().unwrap_or(0)),
                    1 if kind % 3 == 0 => {
                        base += amount % (last - base + 1);
                        sizes.compacted(Index(base));
                    }
                    _ => {
                        list.push(amount % 5_000);
                        sizes.appended([amount % 5_000].into_iter(), amount % 5_000);
                    }
                }
                let last = list.len() as u64;
                let end = base + amount % (last - base + 1);
                let answer = sizes.behind(Index(end), bytes).0;
                let kept = truth(&list, answer, end);
                // A spacing at either end, and the entry that goes across it.
                let bound = bytes + 2 * (sizes.spacing + 5_000);
                let found = sizes.between(Index(base), Index(end));
                if (answer > 0 && kept < bytes)
                    || (answer > base && kept > bound)
                    || (answer <= base && truth(&list, base, end) > bound)
                    || found > truth(&list, base, end)
                    || found + bound < truth(&list, base, end)
                {
                    return false;
                }
            }
            true
        }
    }

    #[test]
    fn a_long_log_takes_no_more_memory_than_a_short_one_and_stays_precise() {
        let mut sizes = LogSizes::new(Index(0));
        (0..1_000_000).for_each(|_| sizes.appended([1_000].into_iter(), 1_000));
        assert!(sizes.milestones.len() <= MILESTONES_MAX);
        let place = sizes.behind(Index(1_000_000), 100_000_000).0;
        assert!((896_000..=900_000).contains(&place), "{place}");
    }

    #[test]
    fn what_was_there_before_a_restart_counts_as_nothing() {
        let mut sizes = LogSizes::new(Index(50));
        sizes.appended([2_000].into_iter(), 2_000);
        assert_eq!(sizes.behind(Index(51), 2_000), Index(50));
        assert_eq!(sizes.behind(Index(51), 2_001), Index(0));
        assert_eq!(sizes.behind(Index(40), 1), Index(0));
        sizes.truncated(Index(30));
        sizes.appended([3_000].into_iter(), 3_000);
        assert_eq!(sizes.behind(Index(30), 3_000), Index(29));
    }
}
