//! How many bytes lie between two places of the log, roughly and in bounded memory: what compaction asks.
//!
//! Always holds: an answer never exceeds the truth, so whoever keeps as much as it says keeps enough; what
//! is not known counts as nothing.

use alloc::collections::VecDeque;

use crate::rare::{Rare, Seldom};
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
    milestones: Milestones,
    last: Milestone,
    /// As many bytes as the next milestone has, at least.
    due: u64,
}

/// A place, and the bytes up to and including it since the first one.
#[derive(Clone, Copy, Debug)]
struct Milestone {
    index: Index,
    bytes: u64,
}

/// At least one; a short log has no more, and needs no list.
#[derive(Clone, Debug)]
struct Milestones {
    first: Milestone,
    later: Rare<Later>,
}

/// The others.
#[derive(Clone, Debug)]
struct Later {
    list: VecDeque<Milestone>,
    /// How many bytes lie between one and the next, at least.
    spacing: u64,
}

impl Default for Later {
    fn default() -> Self {
        Self::NOTHING.clone()
    }
}

impl Seldom for Later {
    const NOTHING: &'static Self = &Self {
        list: VecDeque::new(),
        spacing: SPACING_MIN,
    };

    fn is_nothing(&self) -> bool {
        self.list.is_empty() && self.spacing == SPACING_MIN
    }
}

impl Milestones {
    fn len(&self) -> usize {
        1 + self.later.list.len()
    }

    fn back(&self) -> Milestone {
        *self.later.list.back().unwrap_or(&self.first)
    }

    fn get(&self, place: usize) -> Option<Milestone> {
        match place.checked_sub(1) {
            None => Some(self.first),
            Some(place) => self.later.list.get(place).copied(),
        }
    }

    /// How many there are, from the first on, of which this is true.
    fn count_while(&self, is_so: impl Fn(&Milestone) -> bool) -> usize {
        if is_so(&self.first) {
            1 + self.later.list.partition_point(is_so)
        } else {
            0
        }
    }

    /// Forgets the first, unless it is the only one.
    fn pop_front(&mut self) -> bool {
        let later = self.later.made();
        let next = later.and_then(|later| later.list.pop_front());
        if let Some(next) = next {
            self.first = next;
        }
        next.is_some()
    }
}

impl LogSizes {
    /// Nothing is known of entries up to `start`.
    pub(crate) fn new(start: Index) -> Self {
        let start = Milestone {
            index: start,
            bytes: 0,
        };
        Self {
            milestones: Milestones {
                first: start,
                later: Rare::new(),
            },
            last: start,
            due: SPACING_MIN,
        }
    }

    /// The milestones changed, or the spacing.
    fn reckon(&mut self) {
        let spacing = self.milestones.later.spacing;
        self.due = self.milestones.back().bytes.saturating_add(spacing);
    }

    /// Entries follow the last one, of so many bytes each and so many together.
    #[inline]
    pub(crate) fn appended(&mut self, entries: impl ExactSizeIterator<Item = u64>, together: u64) {
        let end = self.last.bytes.saturating_add(together);
        if end < self.due {
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
            if self.last.bytes >= self.due {
                self.milestones.later.make().list.push_back(self.last);
                if self.milestones.len() > MILESTONES_MAX {
                    self.thin();
                }
                self.reckon();
            }
        }
    }

    fn thin(&mut self) {
        let mut kept = self.milestones.first.bytes;
        let later = self.milestones.later.make();
        later.spacing = later.spacing.saturating_mul(2);
        let spacing = later.spacing;
        later.list.retain(|milestone| {
            let keep = milestone.bytes - kept >= spacing;
            if keep {
                kept = milestone.bytes;
            }
            keep
        });
    }

    /// The last entry, of so many bytes, is gone.
    pub(crate) fn popped(&mut self, bytes: u64) {
        self.truncated(self.last.index);
        self.last.bytes = self.last.bytes.saturating_sub(bytes);
        assert!(
            self.milestones.back().bytes <= self.last.bytes,
            "what an entry took is what it gives back"
        );
    }

    /// Entries from `from` on are gone, which were not known.
    pub(crate) fn truncated(&mut self, from: Index) {
        let last = from.previous();
        if let Some(later) = self.milestones.later.made() {
            while later.list.back().is_some_and(|back| back.index > last) {
                later.list.pop_back();
            }
        }
        self.last.index = self.last.index.min(last);
        if self.milestones.first.index > last {
            *self = Self::new(last);
        } else {
            self.reckon();
        }
    }

    /// The log begins after `base` from now on.
    pub(crate) fn compacted(&mut self, base: Index) {
        while self.milestones.first.index < base {
            if !self.milestones.pop_front() {
                self.milestones.first = self.last;
                break;
            }
        }
        if self.milestones.len() < MILESTONES_MAX / 4
            && let Some(later) = self.milestones.later.made()
        {
            later.spacing = (later.spacing / 2).max(SPACING_MIN);
        }
        self.reckon();
    }

    /// Keeps no list for one milestone.
    pub(crate) fn give_back(&mut self) {
        self.milestones.later.give_back();
    }

    /// The last place with at least so many bytes of entries between it and `end`; zero if none is known.
    pub(crate) fn behind(&self, end: Index, bytes: u64) -> Index {
        if bytes == 0 {
            return end;
        }
        let known = self.up_to(end);
        let after = self
            .milestones
            .count_while(|milestone| milestone.bytes.saturating_add(bytes) <= known);
        let place = after.checked_sub(1);
        let milestone = place.and_then(|place| self.milestones.get(place));
        milestone.map_or(Index(0), |milestone| milestone.index)
    }

    /// Bytes of the entries after `from` up to `to`, at least.
    pub(crate) fn between(&self, from: Index, to: Index) -> u64 {
        let place = self
            .milestones
            .count_while(|milestone| milestone.index < from);
        let before = self.milestones.get(place).unwrap_or(self.last).bytes;
        self.up_to(to).saturating_sub(before)
    }

    /// Bytes up to `index`, at least.
    fn up_to(&self, index: Index) -> u64 {
        if index >= self.last.index {
            return self.last.bytes;
        }
        let after = self
            .milestones
            .count_while(|milestone| milestone.index <= index);
        let place = after.checked_sub(1);
        let milestone = place.and_then(|place| self.milestones.get(place));
        milestone.map_or(0, |milestone| milestone.bytes)
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
                let bound = bytes + 2 * (sizes.milestones.later.spacing + 5_000);
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
