//! What leases are made of: promises given, rounds begun, and what a promise is worth by another clock
//! (dissertation §6.4.1).
//!
//! Always holds: nothing here outlasts what was promised, whatever is rounded, forgotten or repeated.

use alloc::collections::VecDeque;

use crate::message::{Cause, LeaderRound};
use crate::planted::{Bug, planted};
use crate::rare::{Rare, Seldom};
use crate::types::{Index, Round, Span, Time};

/// How long a leader may rely on a promise, by its own clock, from when it asked for it.
///
/// The follower counts from when it was asked, which is later; its clock may run faster, by so many
/// thousandths; and it counts whole units of time, one of which may have been over when it began. So this
/// is the longest time during which the follower's clock cannot have counted that far.
pub(crate) fn worth(promised: Span, drift_per_mille: u32) -> Span {
    let whole = u128::from(promised.0.saturating_sub(1));
    let worth = whole * 1_000 / (1_000 + u128::from(drift_per_mille));
    Span(u64::try_from(worth).unwrap_or_else(|_| unreachable!("it is no more than was promised")))
}

/// What a node has promised: until when it helps nobody else to lead. It promises nothing where there are no leases.
#[derive(Clone, Debug, Default)]
pub(crate) struct Promise(Rare<Promised>);

#[derive(Clone, Copy, Debug, Default)]
struct Promised {
    /// The end of what an earlier life of this node may have promised, nobody knows to whom.
    restored: Time,
    /// The end of what this life promised.
    until: Time,
    /// The latest round that asked for it.
    asked: Option<LeaderRound>,
}

impl Seldom for Promised {
    const NOTHING: &'static Self = &Self {
        restored: Time(0),
        until: Time(0),
        asked: None,
    };

    fn is_nothing(&self) -> bool {
        self.restored == Time(0) && self.until == Time(0) && self.asked.is_none()
    }
}

impl Promise {
    /// What a node must assume that starts at `at` and has never promised more than `longest`.
    pub(crate) fn restored(at: Time, longest: Span) -> Self {
        let mut promise = Self::default();
        if longest > Span(0) && !planted(Bug::PromiseForgotten) {
            promise.0.make().restored = at + longest;
        }
        promise
    }

    /// Promises until `until`, as `asked`. Rounds may arrive in any order: the latest is remembered, and
    /// the longest promise is kept.
    pub(crate) fn give(&mut self, until: Time, asked: LeaderRound) {
        let promised = self.0.make();
        promised.until = promised.until.max(until);
        let later = promised
            .asked
            .is_none_or(|known| (known.term, known.round) < (asked.term, asked.round));
        if later {
            promised.asked = Some(asked);
        }
    }

    /// Whether it forbids to take part in an election that has this cause.
    pub(crate) fn binds(&self, now: Time, cause: Cause) -> bool {
        let Some(promised) = self.0.get() else {
            return false;
        };
        let released = match (cause, promised.asked) {
            (Cause::Transfer(back), Some(asked)) => {
                (back.leader, back.term) == (asked.leader, asked.term) && asked.round <= back.round
            }
            (Cause::Transfer(_) | Cause::Timeout, _) => false,
        };
        now < promised.restored || (now < promised.until && !released)
    }
}

/// Into how many parts the time is cut for which rounds are remembered.
const PARTS: usize = 64;

/// How many heartbeats fit into that time, and no more room is taken: most leaders have no reads to begin rounds for.
const BEATS: usize = 8;

/// When a leader began its rounds, and whether what they are promised makes a lease.
#[derive(Clone, Debug)]
pub(crate) struct Rounds {
    /// The first round of a part of time and when it began; those that follow it count as begun then.
    begun: VecDeque<(Round, Time)>,
    /// The promises were given back, when the log ended here.
    released: Option<(Round, Index)>,
}

impl Rounds {
    pub(crate) fn new() -> Self {
        Self {
            // What heartbeats take, without reads between them.
            begun: VecDeque::with_capacity(BEATS),
            released: None,
        }
    }

    /// A round begins. Rounds of the last `window` are remembered, in so few parts that reads may begin
    /// as many as they like.
    pub(crate) fn begin(&mut self, round: Round, now: Time, window: Span) {
        let part = Span(window.0.div_ceil(PARTS as u64).max(1));
        if let Some((last, at)) = self.begun.back() {
            assert!(round > *last, "rounds are numbered upwards");
            if now < *at + part {
                return;
            }
        }
        while self.begun.front().is_some_and(|(_, at)| *at + window < now) {
            self.begun.pop_front();
        }
        self.begun.push_back((round, now));
    }

    /// When the round began, or a little earlier; `None` if that is forgotten.
    pub(crate) fn begun_at(&self, round: Round) -> Option<Time> {
        let place = self.begun.partition_point(|(first, _)| *first <= round);
        Some(self.begun[place.checked_sub(1)?].1)
    }

    /// Gives back what was promised up to `round`; the log ends at `last` now.
    pub(crate) fn release(&mut self, round: Round, last: Index) {
        self.begun.clear();
        self.released = Some((round, last));
    }

    /// Whether promises may be asked for and relied on: they were never given back, or an entry appended
    /// since is committed (S42).
    pub(crate) fn may_ask(&self, committed: Index) -> bool {
        self.released.is_none_or(|(_, last)| committed > last)
    }

    /// Whether the promises up to exactly this round were given back, and none was asked for since.
    pub(crate) fn is_released(&self, round: Round, committed: Index) -> bool {
        self.released
            .is_some_and(|(back, last)| back == round && committed <= last)
    }
}

#[cfg(test)]
mod tests {
    use super::{PARTS, Promise, Rounds, worth};
    use crate::message::{Cause, LeaderRound};
    use crate::types::{Member, NodeId, Round, Span, StorageId, Term, Time};
    use quickcheck::quickcheck;

    fn asked(term: u64, round: u64) -> LeaderRound {
        LeaderRound {
            leader: Member {
                node: NodeId(term),
                store: StorageId(1),
            },
            term: Term(term),
            round: Round(round),
        }
    }

    quickcheck! {
        /// By a clock that is faster by the whole bound, and whose unit was nearly over, no promise is
        /// over before the lease is. // S39
        fn a_lease_ends_before_the_promise_does(promised: u64, drift: u32) -> bool {
            let drift = drift % 501;
            let worth = u128::from(worth(Span(promised), drift).0);
            // What the fast clock counts while the slow one counts `worth`, in thousandths.
            let counted = worth * u128::from(1_000 + drift);
            promised == 0 || counted <= u128::from(promised - 1) * 1_000
        }

        /// A round that is remembered began no earlier than the part of time it is in, and never later
        /// than it did; and memory is bounded.
        fn a_round_counts_from_when_it_began_or_a_little_earlier(steps: alloc::vec::Vec<u8>, window: u16) -> bool {
            let window = Span(u64::from(window));
            let (mut rounds, mut now) = (Rounds::new(), Time(0));
            let mut truth = alloc::vec::Vec::new();
            for step in steps {
                now = now + Span(u64::from(step));
                truth.push(now);
                rounds.begin(Round(truth.len() as u64), now, window);
            }
            let part = window.0.div_ceil(PARTS as u64).max(1);
            rounds.begun.len() <= PARTS + 2 && truth.iter().enumerate().all(|(place, at)| {
                match rounds.begun_at(Round(place as u64 + 1)) {
                    Some(begun) => begun <= *at && *at < begun + Span(part),
                    None => *at + window < now + Span(part),
                }
            })
        }
    }

    #[test]
    fn a_promise_of_nothing_binds_nobody() {
        let mut promise = Promise::restored(Time(50), Span(0));
        assert!(!promise.binds(Time(0), Cause::Timeout));
        promise.give(Time(60), asked(1, 1));
        assert!(promise.binds(Time(59), Cause::Timeout));
        assert!(!promise.binds(Time(60), Cause::Timeout));
    }

    /// S42: what a leader gives back are the promises it asked for until then, and no later one.
    #[test]
    fn a_promise_is_given_back_by_the_leader_that_has_it_and_up_to_a_round() {
        let mut promise = Promise::restored(Time(0), Span(0));
        promise.give(Time(100), asked(2, 5));
        for (back, binds) in [
            (asked(2, 4), true),
            (asked(2, 5), false),
            (asked(2, 6), false),
            (asked(1, 9), true),
            (asked(3, 9), true),
        ] {
            assert_eq!(promise.binds(Time(99), Cause::Transfer(back)), binds);
        }
        // A late round does not hide that a later one was promised.
        promise.give(Time(100), asked(2, 3));
        assert!(promise.binds(Time(99), Cause::Transfer(asked(2, 4))));
    }

    /// S43: it may have been given to anybody.
    #[test]
    fn what_an_earlier_life_promised_is_never_given_back() {
        let mut promise = Promise::restored(Time(10), Span(100));
        promise.give(Time(50), asked(2, 5));
        let back = Cause::Transfer(asked(2, 5));
        assert!(promise.binds(Time(109), back));
        assert!(!promise.binds(Time(110), back));
    }
}
