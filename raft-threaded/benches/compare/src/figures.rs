//! Figures of several rounds, and how people write them.

/// What one load of one system came to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Figure {
    /// Requests per second.
    pub(crate) rate: u64,
    /// Half of the requests were answered in so many microseconds.
    pub(crate) p50: u64,
    /// 99 of a hundred were.
    pub(crate) p99: u64,
}

/// The median of some numbers, the least and the most of them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spread {
    pub(crate) least: u64,
    pub(crate) median: u64,
    pub(crate) most: u64,
}

impl Spread {
    /// None of no numbers.
    pub(crate) fn of(numbers: impl IntoIterator<Item = u64>) -> Option<Self> {
        let mut numbers: Vec<u64> = numbers.into_iter().collect();
        numbers.sort_unstable();
        let (least, most) = (*numbers.first()?, *numbers.last()?);
        let half = numbers.len() / 2;
        // Of an even count, two stand in the middle.
        let median = if numbers.len().is_multiple_of(2) {
            numbers[half - 1].midpoint(numbers[half])
        } else {
            numbers[half]
        };
        Some(Self {
            least,
            median,
            most,
        })
    }

    /// The same of other numbers, which grow with these.
    pub(crate) fn map(self, other: impl Fn(u64) -> u64) -> Self {
        Self {
            least: other(self.least),
            median: other(self.median),
            most: other(self.most),
        }
    }

    /// As it stands in a table, each number written in the same way.
    pub(crate) fn show(self, write: fn(u64) -> String) -> String {
        let Self {
            least,
            median,
            most,
        } = self;
        if least == most {
            return write(median);
        }
        format!("{} ({}–{})", write(median), write(least), write(most))
    }
}

/// A quotient in thousandths, rounded.
pub(crate) fn thousandths(this: u64, that: u64) -> u64 {
    (this * 1_000 + that / 2) / that.max(1)
}

/// A number of thousandths, with as many digits as mean something.
pub(crate) fn write_thousandths(number: u64) -> String {
    let digits = match number {
        0..200 => 3,
        200..9_995 => 2,
        9_995..99_950 => 1,
        _ => 0,
    };
    let unit = 10_u64.pow(3 - digits);
    let rounded = (number + unit / 2) / unit;
    let one = 10_u64.pow(digits);
    let (whole, part) = (rounded / one, rounded % one);
    let width = digits as usize;
    if width == 0 {
        return whole.to_string();
    }
    format!("{whole}.{part:0width$}")
}

/// Whether a bar is met, as it stands in a table.
pub(crate) const fn verdict(met: bool) -> &'static str {
    if met { "met" } else { "**not met**" }
}

/// Requests per second, in thousands where there are many.
pub(crate) fn write_rate(rate: u64) -> String {
    if rate < 1_000 {
        return rate.to_string();
    }
    format!("{} k", write_thousandths(rate))
}

/// Microseconds, as milliseconds.
pub(crate) fn write_millis(micros: u64) -> String {
    write_thousandths(micros)
}

/// The microseconds in what a program wrote as milliseconds, such as `0.391`.
pub(crate) fn read_millis(text: &str) -> Option<u64> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let part: String = part.chars().chain("000".chars()).take(3).collect();
    Some(whole.parse::<u64>().ok()? * 1_000 + part.parse::<u64>().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_with_as_many_digits_as_mean_something() {
        let rates = [351, 1_020, 9_996, 12_345, 99_949, 480_700];
        let written = rates.map(write_rate);
        let expected = ["351", "1.02 k", "10.0 k", "12.3 k", "99.9 k", "481 k"];
        assert_eq!(written, expected);
        let millis = [4, 391, 1_600, 37_000].map(write_millis);
        assert_eq!(millis, ["0.004", "0.39", "1.60", "37.0"]);
    }

    #[test]
    fn what_redis_benchmark_writes_is_read_to_the_microsecond() {
        let read = ["0.391", "12", "1.5", "x", "1.x"].map(read_millis);
        assert_eq!(read, [Some(391), Some(12_000), Some(1_500), None, None]);
    }

    #[test]
    fn a_spread_tells_the_median_and_how_far_the_others_were() {
        let spread = Spread::of([7, 1, 5]).unwrap();
        assert_eq!(spread.show(|n| n.to_string()), "5 (1–7)");
        assert_eq!(Spread::of([1, 9, 3, 4]).unwrap().median, 3);
        assert_eq!(Spread::of([4]).unwrap().show(|n| n.to_string()), "4");
        assert!(Spread::of([]).is_none());
    }
}
