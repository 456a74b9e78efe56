//! Rates and ratios, as they are printed.

/// A quotient in tenths, rounded.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ratio(u64);

impl Ratio {
    pub(crate) fn of(this: u64, that: u64) -> Self {
        Self((this * 10 + that / 2) / that.max(1))
    }

    /// Whether it is at least a whole number.
    pub(crate) const fn reaches(self, bar: u64) -> bool {
        self.0 >= bar * 10
    }
}

impl std::fmt::Display for Ratio {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.0 / 10, self.0 % 10)
    }
}

/// What somebody did in all runs of one case, in commits per second.
#[derive(Debug)]
pub(crate) struct Runs {
    least: u64,
    pub(crate) median: u64,
    most: u64,
}

impl Runs {
    pub(crate) fn new(mut rates: Vec<u64>) -> Self {
        rates.sort_unstable();
        Self {
            least: rates[0],
            median: rates[rates.len() / 2],
            most: rates[rates.len() - 1],
        }
    }
}

impl std::fmt::Display for Runs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [least, median, most] =
            [self.least, self.median, self.most].map(|rate| (rate + 500) / 1_000);
        write!(f, "{median} ({least}–{most})")
    }
}
