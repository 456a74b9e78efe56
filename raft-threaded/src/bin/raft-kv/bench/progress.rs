//! A line a second for whoever watches.

use std::io::{IsTerminal, stderr};

use super::tally::Tally;

const SECOND: u64 = 1_000_000_000;

/// What is shown while a load runs. All times are nanoseconds since it began.
#[derive(Debug)]
pub(super) struct Progress {
    /// When the next line is shown.
    next: u64,
    /// What the last line was about.
    answered: u64,
    shown_at: u64,
}

impl Progress {
    /// Shows something if somebody looks at it.
    pub(super) fn on_terminal() -> Self {
        if stderr().is_terminal() {
            Self::first_at(SECOND)
        } else {
            Self::hidden()
        }
    }

    /// Shows nothing.
    pub(super) fn hidden() -> Self {
        Self::first_at(u64::MAX)
    }

    fn first_at(next: u64) -> Self {
        Self {
            next,
            answered: 0,
            shown_at: 0,
        }
    }

    pub(super) fn next(&self) -> u64 {
        self.next
    }

    pub(super) fn show(&mut self, now: u64, warm_up: u64, tally: &Tally) {
        if now >= self.next {
            eprintln!("{}", self.line(now, warm_up, tally));
            self.next = (now / SECOND + 1) * SECOND;
        }
    }

    /// What happened since the last line.
    fn line(&mut self, now: u64, warm_up: u64, tally: &Tally) -> String {
        let seconds = now / SECOND;
        if seconds * SECOND <= warm_up {
            return format!("{seconds} s: warming up");
        }
        let (answered, refused, lost) = (tally.answered(), tally.refused(), tally.lost);
        let since = u128::from(now - self.shown_at.max(warm_up)).max(1);
        let rate = u128::from(answered - self.answered) * u128::from(SECOND) / since;
        (self.answered, self.shown_at) = (answered, now);
        format!("{seconds} s: {rate} requests a second; {refused} errors and {lost} lost so far")
    }
}

#[cfg(test)]
mod tests {
    use super::super::replies::Outcome;
    use super::super::requests::Kind;
    use super::*;

    #[test]
    fn a_line_tells_what_happened_since_the_one_before() {
        let mut progress = Progress::hidden();
        let mut tally = Tally::new();
        let warm_up = SECOND + SECOND / 2;
        let line = progress.line(SECOND, warm_up, &tally);
        assert_eq!(line, "1 s: warming up");
        // Nothing to speak of counts yet.
        let line = progress.line(SECOND + 1, SECOND, &tally);
        assert_eq!(line, "1 s: warming up");
        for (lines, expected) in [(100, 200), (50, 50)].into_iter().enumerate() {
            for _ in 0..expected.0 {
                tally.answer(Kind::Read, Outcome::Done, 1, 0);
            }
            let line = progress.line((2 + lines as u64) * SECOND, warm_up, &tally);
            let expected = format!("{} requests a second", expected.1);
            assert!(line.contains(&expected), "{line}");
        }
    }
}
