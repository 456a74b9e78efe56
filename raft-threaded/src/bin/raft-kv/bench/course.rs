//! How a load went over time, in bounded memory: the longer it lasts, the coarser it is kept.

/// How long the first slots are, in nanoseconds.
const FIRST_WIDTH: u64 = 100_000_000;
/// More slots than that are never kept: two become one instead.
const SLOTS_MAX: usize = 1_000;

/// What was answered in one stretch of time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Slot {
    pub(super) answered: u64,
    /// How many of them with an error.
    pub(super) errors: u64,
    /// The longest of their latencies, in nanoseconds.
    pub(super) slowest: u64,
}

impl Slot {
    fn merge(&mut self, other: Self) {
        self.answered += other.answered;
        self.errors += other.errors;
        self.slowest = self.slowest.max(other.slowest);
    }
}

/// What was answered when.
#[derive(Debug)]
pub(super) struct Course {
    width: u64,
    slots: Vec<Slot>,
}

impl Course {
    pub(super) fn new() -> Self {
        Self {
            width: FIRST_WIDTH,
            slots: Vec::new(),
        }
    }

    /// Adds what was answered at that time, in nanoseconds since the first slot began.
    pub(super) fn add(&mut self, at: u64, what: Slot) {
        let slot = loop {
            match usize::try_from(at / self.width) {
                Ok(slot) if slot < SLOTS_MAX => break slot,
                _ => self.halve(),
            }
        };
        if self.slots.len() <= slot {
            self.slots.resize(slot + 1, Slot::default());
        }
        self.slots[slot].merge(what);
    }

    /// How long a slot is, in nanoseconds.
    pub(super) fn width(&self) -> u64 {
        self.width
    }

    pub(super) fn slots(&self) -> &[Slot] {
        &self.slots
    }

    fn halve(&mut self) {
        self.width *= 2;
        let pairs = self.slots.chunks(2);
        self.slots = pairs
            .map(|pair| {
                let mut both = Slot::default();
                pair.iter().for_each(|slot| both.merge(*slot));
                both
            })
            .collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(errors: u64, slowest: u64) -> Slot {
        Slot {
            answered: 1,
            errors,
            slowest,
        }
    }

    #[test]
    fn answers_are_added_up_in_the_stretch_of_time_they_came_in() {
        let mut course = Course::new();
        course.add(0, answered(0, 5));
        course.add(FIRST_WIDTH - 1, answered(1, 9));
        course.add(2 * FIRST_WIDTH, answered(0, 7));
        let first = Slot {
            answered: 2,
            errors: 1,
            slowest: 9,
        };
        assert_eq!(course.slots(), [first, Slot::default(), answered(0, 7)]);
    }

    #[test]
    fn a_day_takes_no_more_memory_than_a_minute_and_loses_no_answer() {
        let mut course = Course::new();
        let seconds = 86_400;
        for second in 0..seconds {
            course.add(second * 1_000_000_000, answered(second % 2, second));
        }
        assert!(course.slots().len() <= SLOTS_MAX);
        assert!(course.slots().len() > SLOTS_MAX / 3, "nor is it too coarse");
        let mut all = Slot::default();
        course.slots().iter().for_each(|slot| all.merge(*slot));
        assert_eq!((all.answered, all.errors), (seconds, seconds / 2));
        assert_eq!(all.slowest, seconds - 1);
        // Where it is, too: the last answers are in the last slot.
        let last = course.slots().len() as u64 - 1;
        assert_eq!(last, (seconds - 1) * 1_000_000_000 / course.width());
    }
}
