//! When requests are due. All times are nanoseconds since the load began.

/// What ends a load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// No request is due from then on.
    At(u64),
    /// So many requests that count.
    After(u64),
}

/// How long answers are waited for at the end; and in the middle, if only their number ends a load.
const PATIENCE: u64 = 10_000_000_000;

impl End {
    /// When a load is given up, by when its last answer came.
    pub(super) fn give_up_at(self, warm_up: u64, last_answer: u64) -> u64 {
        let since = match self {
            Self::At(end) => end,
            Self::After(_) => last_answer.max(warm_up),
        };
        since.saturating_add(PATIENCE)
    }

    /// How long the part of a load that counts took, by when its last answer came.
    pub(super) fn elapsed(self, warm_up: u64, last_answer: u64) -> u64 {
        let end = match self {
            Self::At(end) => end.max(last_answer),
            Self::After(_) => last_answer,
        };
        end.saturating_sub(warm_up).max(1)
    }
}

/// When each request is due.
///
/// In a closed loop one is due whenever there is room for it. In an open loop they are due at a fixed rate,
/// whether or not the server keeps up: one that has to wait stays due since then, and none is left out, so that
/// a server that stalls cannot hide it.
#[derive(Debug)]
pub(super) struct Schedule {
    /// Requests in a second of an open loop; none in a closed one.
    rate: Option<u64>,
    /// What is due earlier only warms up.
    counts_from: u64,
    end: End,
    taken: u64,
    counted: u64,
}

impl Schedule {
    pub(super) fn new(rate: Option<u64>, counts_from: u64, end: End) -> Self {
        Self {
            rate,
            counts_from,
            end,
            taken: 0,
            counted: 0,
        }
    }

    /// Takes the next request that is due by now, if one is; returns since when.
    pub(super) fn take(&mut self, now: u64) -> Option<u64> {
        let due = self.next_due(now).filter(|due| *due <= now)?;
        self.taken += 1;
        self.counted += u64::from(self.counts(due));
        Some(due)
    }

    /// When the next request is due, which may be long ago; none if there is no further one.
    pub(super) fn next_due(&self, now: u64) -> Option<u64> {
        let due = match self.rate {
            None => now,
            Some(rate) => {
                let due = u128::from(self.taken) * 1_000_000_000 / u128::from(rate);
                u64::try_from(due).unwrap_or(u64::MAX)
            }
        };
        let over = match self.end {
            End::At(end) => due >= end,
            End::After(count) => self.counted >= count,
        };
        (!over).then_some(due)
    }

    /// Whether a request that was due then counts, or only warms up.
    pub(super) fn counts(&self, due: u64) -> bool {
        due >= self.counts_from
    }

    /// Whether requests are due at a rate of their own.
    pub(super) fn is_open(&self) -> bool {
        self.rate.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quickcheck::quickcheck;

    const SECOND: u64 = 1_000_000_000;

    fn taken(schedule: &mut Schedule, now: u64) -> Vec<u64> {
        std::iter::from_fn(|| schedule.take(now)).collect()
    }

    #[test]
    fn what_a_stall_held_up_is_due_since_it_should_have_been_sent() {
        let mut schedule = Schedule::new(Some(4), 0, End::At(2 * SECOND));
        assert_eq!(taken(&mut schedule, 0), [0]);
        assert_eq!(schedule.take(SECOND / 8), None);
        assert_eq!(schedule.next_due(SECOND / 8), Some(SECOND / 4));
        // Nobody had room for a second.
        let late = [
            SECOND / 4,
            SECOND / 2,
            SECOND * 3 / 4,
            SECOND,
            SECOND * 5 / 4,
        ];
        assert_eq!(taken(&mut schedule, SECOND * 5 / 4), late);
    }

    #[test]
    fn what_was_due_before_the_end_is_still_sent_after_it() {
        let mut schedule = Schedule::new(Some(4), 0, End::At(SECOND));
        assert_eq!(taken(&mut schedule, 10 * SECOND).len(), 4);
        assert_eq!(schedule.next_due(10 * SECOND), None);
    }

    #[test]
    fn a_closed_loop_asks_whenever_there_is_room_until_the_end() {
        let mut schedule = Schedule::new(None, 0, End::At(SECOND));
        assert_eq!(schedule.take(7), Some(7));
        assert_eq!(schedule.take(7), Some(7));
        assert_eq!(schedule.take(SECOND), None);
    }

    #[test]
    fn requests_that_warm_up_are_not_among_those_that_were_asked_for() {
        let mut closed = Schedule::new(None, 10, End::After(2));
        let counted: Vec<bool> = [0, 9, 10, 11, 12]
            .into_iter()
            .map_while(|now| closed.take(now))
            .map(|due| due >= 10)
            .collect();
        assert_eq!(counted, [false, false, true, true]);
        let mut open = Schedule::new(Some(SECOND), 10, End::After(2));
        assert_eq!(taken(&mut open, SECOND).last(), Some(&11));
    }

    quickcheck! {
        fn however_late_somebody_looks_the_times_are_the_same(rate: u32, looks: Vec<u32>) -> bool {
            let rate = u64::from(rate).max(1);
            let end = End::After(100);
            let mut looks: Vec<u64> = looks.into_iter().map(u64::from).collect();
            looks.sort_unstable();
            let mut schedule = Schedule::new(Some(rate), 0, end);
            let mut found: Vec<u64> = looks.iter().flat_map(|now| taken(&mut schedule, *now)).collect();
            found.extend(taken(&mut schedule, u64::MAX));
            let at_once = taken(&mut Schedule::new(Some(rate), 0, end), u64::MAX);
            found == at_once && found.len() == 100
        }
    }
}
