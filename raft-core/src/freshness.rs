//! How old a node's state is.
//!
//! Always holds: the state contains everything that was committed by the moment it is said to be of.

use alloc::boxed::Box;

use crate::types::{Index, Span, Time};

/// The moments at which it was known how far a state must be to be up to date.
///
/// Two of those that the state has not got to are kept: the one it will get to first, so that a state
/// which is always a little behind is known to get on, and the latest.
#[derive(Clone, Debug, Default)]
pub(crate) struct Freshness {
    /// The state is at least as of then.
    known: Option<Time>,
    /// Nothing while the state is up to date, as it is when nothing happens.
    ahead: Option<Box<Ahead>>,
}

/// What the state has not got to.
#[derive(Clone, Copy, Debug)]
struct Ahead {
    next: Mark,
    latest: Option<Mark>,
}

/// At a moment, everything committed lay at or below an index.
#[derive(Clone, Copy, Debug)]
struct Mark {
    index: Index,
    at: Time,
}

impl Freshness {
    /// Everything committed by `at` lies at or below `index`; the state is at `applied`.
    pub(crate) fn note(&mut self, index: Index, at: Time, applied: Index) {
        let mark = Mark { index, at };
        match &mut self.ahead {
            None if index <= applied => self.known = self.known.max(Some(at)),
            None => {
                self.ahead = Some(Box::new(Ahead {
                    next: mark,
                    latest: None,
                }));
            }
            // Later, and sooner got to: whatever claimed more is not needed, be it true or not.
            Some(ahead) if index <= ahead.next.index && ahead.next.at <= at => {
                **ahead = Ahead {
                    next: mark,
                    latest: None,
                };
            }
            Some(ahead) => ahead.latest = Some(mark),
        }
        self.advance(applied);
    }

    /// The state is at `applied`.
    pub(crate) fn advance(&mut self, applied: Index) {
        while let Some(ahead) = &mut self.ahead
            && ahead.next.index <= applied
        {
            self.known = self.known.max(Some(ahead.next.at));
            match ahead.latest.take() {
                Some(latest) => ahead.next = latest,
                None => self.ahead = None,
            }
        }
    }

    /// How old the state is at most; `None` while nothing is known.
    pub(crate) fn age(&self, now: Time) -> Option<Span> {
        self.known.map(|known| now - known)
    }
}

#[cfg(test)]
mod tests {
    use super::Freshness;
    use crate::types::{Index, Span, Time};
    use alloc::vec::Vec;
    use quickcheck::quickcheck;

    quickcheck! {
        /// Against all marks: never younger than it is, and no older than the mark before the last one
        /// that it got to.
        fn an_age_is_never_too_low(steps: Vec<(bool, u8)>) -> bool {
            let mut freshness = Freshness::default();
            let (mut now, mut committed, mut applied) = (Time(0), Index(0), Index(0));
            let mut marks: Vec<(Index, Time)> = Vec::new();
            for (noted, by) in steps {
                now = now + Span(1);
                let by = u64::from(by % 8);
                if noted {
                    committed = Index(committed.0 + by);
                    marks.push((committed, now));
                    freshness.note(committed, now, applied);
                } else {
                    applied = Index((applied.0 + by).min(committed.0));
                    freshness.advance(applied);
                }
                let reached = marks.iter().filter(|(index, _)| *index <= applied);
                let truth = reached.map(|(_, at)| *at).max();
                if freshness.known > truth {
                    return false;
                }
                let caught_up = applied == committed;
                if caught_up && freshness.known != truth {
                    return false;
                }
            }
            true
        }
    }

    #[test]
    fn a_state_that_is_always_behind_gets_on() {
        let mut freshness = Freshness::default();
        for step in 1..100 {
            let applied = Index(step * 10 - 15 * u64::from(step > 1));
            freshness.note(Index(step * 10), Time(step), Index(0));
            freshness.advance(applied);
        }
        assert!(freshness.age(Time(100)).is_some_and(|age| age <= Span(4)));
    }
}
