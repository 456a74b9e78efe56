//! What became of the requests. All times are nanoseconds.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;

use super::course::{Course, Slot};
use super::replies::Outcome;
use super::requests::Kind;

/// A latency is told from others that differ by a thousandth.
const DIGITS: u8 = 3;
/// What is slower counts as that slow: an hour.
const LATENCY_MAX: u64 = 3_600_000_000_000;
/// Kinds of errors that are counted apart.
const ERROR_KINDS_MAX: usize = 32;
/// Where the rest of them is counted.
const OTHER_KINDS: &str = "(others)";

/// Errors of one kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Errors {
    pub(super) count: u64,
    /// The first of them.
    pub(super) example: String,
}

/// What became of the requests that count.
#[derive(Debug)]
pub(super) struct Tally {
    /// Reads that were answered, errors included.
    pub(super) reads: u64,
    /// Writes that were answered, errors included.
    pub(super) writes: u64,
    /// Reads that found no value.
    pub(super) not_found: u64,
    /// Requests whose connection ended before their answer.
    pub(super) lost: u64,
    /// Requests that were due, and given up at the end.
    pub(super) unanswered: u64,
    /// Connections that were opened again.
    pub(super) reconnects: u64,
    /// Answers that are errors, by their first word.
    pub(super) errors: BTreeMap<String, Errors>,
    /// Of what was answered; of what was given up, until then.
    pub(super) latencies: Histogram<u64>,
    pub(super) course: Course,
}

impl Tally {
    pub(super) fn new() -> Self {
        Self {
            reads: 0,
            writes: 0,
            not_found: 0,
            lost: 0,
            unanswered: 0,
            reconnects: 0,
            errors: BTreeMap::new(),
            latencies: Histogram::new_with_bounds(1, LATENCY_MAX, DIGITS)
                .expect("the bounds of a histogram are in order"),
            course: Course::new(),
        }
    }

    /// A request was answered, so long after it was due.
    pub(super) fn answer(&mut self, kind: Kind, outcome: Outcome, latency: u64, at: u64) {
        match kind {
            Kind::Read => self.reads += 1,
            Kind::Write => self.writes += 1,
        }
        let mut errors = 0;
        match outcome {
            Outcome::Done => {}
            Outcome::Nothing => self.not_found += u64::from(kind == Kind::Read),
            Outcome::Error(text) => {
                errors = 1;
                self.error(text);
            }
        }
        self.latencies.saturating_record(latency);
        self.course.add(
            at,
            Slot {
                answered: 1,
                errors,
                slowest: latency,
            },
        );
    }

    /// A request was given up, so long after it was due: it took at least that long.
    pub(super) fn give_up(&mut self, waited: u64) {
        self.unanswered += 1;
        self.latencies.saturating_record(waited);
    }

    pub(super) fn answered(&self) -> u64 {
        self.reads + self.writes
    }

    /// Answers that are errors, of all kinds.
    pub(super) fn refused(&self) -> u64 {
        self.errors.values().map(|errors| errors.count).sum()
    }

    /// An answer that is an error, or what a server says of a connection as a whole.
    pub(super) fn error(&mut self, example: String) {
        let kind = example.split(' ').next().unwrap_or_default();
        let kind = if self.errors.len() < ERROR_KINDS_MAX || self.errors.contains_key(kind) {
            kind
        } else {
            OTHER_KINDS
        };
        if let Some(errors) = self.errors.get_mut(kind) {
            errors.count += 1;
        } else {
            let kind = kind.to_string();
            self.errors.insert(kind, Errors { count: 1, example });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refuse(tally: &mut Tally, text: &str) {
        let outcome = Outcome::Error(text.to_string());
        tally.answer(Kind::Write, outcome, 1_000, 0);
    }

    #[test]
    fn errors_are_counted_by_their_first_word_with_the_first_of_them_as_an_example() {
        let mut tally = Tally::new();
        refuse(&mut tally, "BUSY too many requests");
        refuse(&mut tally, "NOTLEADER ask node 2");
        refuse(&mut tally, "NOTLEADER ask node 3");
        let found: Vec<(&str, u64, &str)> = tally
            .errors
            .iter()
            .map(|(kind, errors)| (&kind[..], errors.count, &errors.example[..]))
            .collect();
        let expected = [
            ("BUSY", 1, "BUSY too many requests"),
            ("NOTLEADER", 2, "NOTLEADER ask node 2"),
        ];
        assert_eq!(found, expected);
        assert_eq!((tally.answered(), tally.refused()), (3, 3));
    }

    #[test]
    fn a_server_that_never_says_the_same_twice_takes_no_more_memory() {
        let mut tally = Tally::new();
        for kind in 0..1_000 {
            refuse(&mut tally, &format!("E{kind:04} no"));
        }
        assert_eq!(tally.errors.len(), ERROR_KINDS_MAX + 1);
        assert_eq!(tally.refused(), 1_000);
        refuse(&mut tally, "E0000 no");
        assert_eq!(tally.errors["E0000"].count, 2);
    }

    #[test]
    fn what_was_given_up_is_among_the_latencies_and_not_among_the_answers() {
        let mut tally = Tally::new();
        tally.answer(Kind::Read, Outcome::Nothing, 1_000_000, 0);
        tally.answer(Kind::Read, Outcome::Done, 1_000_000, 0);
        tally.give_up(5_000_000_000);
        assert_eq!(
            (tally.answered(), tally.unanswered, tally.not_found),
            (2, 1, 1)
        );
        assert!(tally.latencies.max() >= 5_000_000_000);
        tally.give_up(u64::MAX);
        assert!(tally.latencies.max() >= LATENCY_MAX);
    }
}
