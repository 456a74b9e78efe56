//! How long a search may go on.
//!
//! Always holds: what is decided depends on counted steps, unless the caller says that time is up.

/// Steps between two questions to the caller.
const STEPS_PER_QUESTION: u64 = 1024;

/// Counts steps, and asks the caller now and then whether to stop.
pub(super) struct Budget<'a> {
    left: u64,
    until_question: u64,
    out_of_time: &'a mut dyn FnMut() -> bool,
    stopped: bool,
}

impl<'a> Budget<'a> {
    /// No steps yet: see `allow`.
    pub(super) fn new(out_of_time: &'a mut dyn FnMut() -> bool) -> Self {
        Self {
            left: 0,
            until_question: STEPS_PER_QUESTION,
            out_of_time,
            stopped: false,
        }
    }

    /// From now on there are this many steps.
    pub(super) fn allow(&mut self, steps: u64) {
        self.left = steps;
    }

    pub(super) const fn left(&self) -> u64 {
        self.left
    }

    pub(super) fn spend(&mut self, steps: u64) {
        self.left = self.left.saturating_sub(steps);
        self.until_question = self.until_question.saturating_sub(steps);
        if self.until_question == 0 && !self.stopped {
            self.until_question = STEPS_PER_QUESTION;
            self.stopped = (self.out_of_time)();
        }
    }

    /// Whether the allowed steps are used up, or time is.
    pub(super) const fn is_spent(&self) -> bool {
        self.left == 0 || self.stopped
    }

    /// Whether the caller said that time is up, which is final.
    pub(super) const fn is_stopped(&self) -> bool {
        self.stopped
    }
}

#[cfg(test)]
mod tests {
    use super::Budget;

    #[test]
    fn the_caller_is_asked_now_and_then_and_its_yes_is_final() {
        let mut asked = 0;
        let mut out_of_time = || {
            asked += 1;
            asked == 2
        };
        let mut budget = Budget::new(&mut out_of_time);
        assert!(budget.is_spent(), "nothing was allowed");
        budget.allow(u64::MAX);
        budget.spend(1023);
        budget.spend(1024);
        assert!(!budget.is_spent());
        budget.spend(1024);
        assert!(budget.is_spent());
        budget.allow(5_000);
        budget.spend(4_000);
        assert!(budget.is_stopped() && budget.is_spent());
        assert_eq!(asked, 2);
    }
}
