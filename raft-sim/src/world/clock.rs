//! Clocks that do not agree.

use raft_core::{Span, Time};

/// Parts in a million: the rate of a clock that is right.
pub(crate) const TRUE_RATE: u64 = 1_000_000;

/// One server's monotonic clock, against the time of the world.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LocalClock {
    /// When it was looked at or changed last, in both times.
    world: Time,
    local: Time,
    /// Local nanoseconds in a million of the world's.
    rate: u64,
}

impl LocalClock {
    pub(crate) const fn new() -> Self {
        Self {
            world: Time(0),
            local: Time(0),
            rate: TRUE_RATE,
        }
    }

    /// What it shows.
    pub(crate) fn at(&self, world: Time) -> Time {
        let passed = u128::from((world - self.world).0) * u128::from(self.rate);
        let passed = passed / u128::from(TRUE_RATE);
        self.local + Span(u64::try_from(passed).unwrap_or(u64::MAX))
    }

    /// When it will show at least that.
    pub(crate) fn when(&self, local: Time) -> Time {
        let wanted = u128::from((local - self.local).0) * u128::from(TRUE_RATE);
        let wanted = wanted.div_ceil(u128::from(self.rate));
        self.world + Span(u64::try_from(wanted).unwrap_or(u64::MAX))
    }

    pub(crate) fn set_rate(&mut self, world: Time, rate: u64) {
        self.local = self.at(world);
        self.world = world;
        self.rate = rate.max(1);
    }

    /// Time that nobody lived through: the machine was suspended.
    pub(crate) fn jump(&mut self, world: Time, span: Span) {
        self.local = self.at(world) + span;
        self.world = world;
    }
}

#[cfg(test)]
mod tests {
    use super::LocalClock;
    use quickcheck::quickcheck;
    use raft_core::{Span, Time};

    quickcheck! {
        fn a_clock_shows_a_moment_when_it_says_it_will(changes: Vec<(u32, u32, u32)>) -> bool {
            let mut clock = LocalClock::new();
            let mut now = Time(0);
            changes.into_iter().all(|(wait, rate, jump)| {
                now = now + Span(wait.into());
                let before = clock.at(now);
                clock.set_rate(now, 500_000 + u64::from(rate) % 1_000_000);
                let same = clock.at(now) == before;
                clock.jump(now, Span(jump.into()));
                let deadline = clock.at(now) + Span(12_345);
                let when = clock.when(deadline);
                same && clock.at(when) >= deadline && clock.at(Time(when.0 - 1)) < deadline
            })
        }
    }
}
