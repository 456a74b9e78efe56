//! What a load ends with: a table for people, JSON for scripts.

use serde_json::{Map, Value, json};

use super::Arguments;
use super::tally::Tally;

/// The latencies that are told, by their names in a table, in JSON, and the share of answers that are as fast.
const QUANTILES: [(&str, &str, f64); 5] = [
    ("p50", "p50", 0.5),
    ("p90", "p90", 0.9),
    ("p99", "p99", 0.99),
    ("p99.9", "p999", 0.999),
    ("max", "max", 1.0),
];

/// What became of a load.
#[derive(Clone, Copy, Debug)]
pub(super) struct Report<'a> {
    pub(super) arguments: &'a Arguments,
    pub(super) tally: &'a Tally,
    /// How long the part that counts took, in nanoseconds.
    pub(super) elapsed: u64,
}

impl Report<'_> {
    /// Answers in a second.
    fn throughput(&self) -> u64 {
        let answers = u128::from(self.tally.answered()) * 1_000_000_000;
        u64::try_from(answers / u128::from(self.elapsed.max(1))).unwrap_or(u64::MAX)
    }

    /// The rows of the table.
    pub(super) fn rows(&self) -> Vec<(String, String)> {
        let tally = self.tally;
        let mut rows: Vec<(String, String)> = Vec::new();
        let mut row = |name: &str, text: String| rows.push((name.to_string(), text));
        let (answered, lost, unanswered) = (tally.answered(), tally.lost, tally.unanswered);
        row(
            "requests",
            format!("{answered} answered, {lost} lost, {unanswered} unanswered"),
        );
        let not_found = tally.not_found;
        row(
            "reads",
            format!("{}, {not_found} of which found no value", tally.reads),
        );
        row("writes", tally.writes.to_string());
        if tally.errors.is_empty() {
            row("errors", "none".to_string());
        }
        for (kind, errors) in &tally.errors {
            // It comes from elsewhere, and this may be a terminal.
            let (kind, example) = (kind.escape_debug(), errors.example.escape_debug());
            row(
                "errors",
                format!("{} {kind}, the first: {example}", errors.count),
            );
        }
        row("reconnects", tally.reconnects.to_string());
        row(
            "throughput",
            format!(
                "{} requests a second, for {} s",
                self.throughput(),
                thousandths(self.elapsed / 1_000_000)
            ),
        );
        for (name, _, quantile) in QUANTILES {
            let latency = tally.latencies.value_at_quantile(quantile);
            row(name, format!("{} ms", thousandths(latency / 1_000)));
        }
        rows
    }

    /// All of it, for scripts.
    pub(super) fn json(&self) -> Value {
        let Arguments {
            to,
            clients,
            pipeline,
            rate,
            warmup,
            keys,
            value_bytes,
            reads,
            seed,
            ..
        } = self.arguments;
        let tally = self.tally;
        let errors = tally.errors.iter().map(|(kind, errors)| {
            let errors = json!({ "count": errors.count, "example": errors.example });
            (kind.clone(), errors)
        });
        let latencies = QUANTILES.iter().map(|(_, name, quantile)| {
            let latency = tally.latencies.value_at_quantile(*quantile);
            ((*name).to_string(), json!(latency / 1_000))
        });
        json!({
            "to": to,
            "clients": clients,
            "pipeline": pipeline,
            "rate": rate,
            "warmup_s": warmup,
            "keys": keys,
            "value_bytes": value_bytes,
            "reads_percent": reads,
            "seed": seed,
            "answered": tally.answered(),
            "reads": tally.reads,
            "not_found": tally.not_found,
            "writes": tally.writes,
            "errors": errors.collect::<Map<_, _>>(),
            "lost": tally.lost,
            "unanswered": tally.unanswered,
            "reconnects": tally.reconnects,
            "elapsed_ms": self.elapsed / 1_000_000,
            "requests_per_second": self.throughput(),
            "latency_us": latencies.collect::<Map<_, _>>(),
        })
    }
}

/// A number of thousandths as people write it.
fn thousandths(number: u64) -> String {
    format!("{}.{:03}", number / 1_000, number % 1_000)
}

#[cfg(test)]
pub(super) mod tests {
    use clap::Parser;

    use super::super::replies::Outcome;
    use super::super::requests::Kind;
    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        arguments: Arguments,
    }

    /// A load whose last answer was that one.
    pub(in super::super) fn check(last: Outcome, tell: impl FnOnce(&Report<'_>)) {
        let Line { arguments } = Line::parse_from(["bench", "--reads", "25", "--rate", "100"]);
        let mut tally = Tally::new();
        for millis in 1..=99 {
            tally.answer(Kind::Write, Outcome::Done, millis * 1_000_000, 0);
        }
        tally.answer(Kind::Read, last, 250_000_000, 0);
        tell(&Report {
            arguments: &arguments,
            tally: &tally,
            elapsed: 2_500_000_000,
        });
    }

    fn refused() -> Outcome {
        Outcome::Error("BUSY \u{1b}[2J".to_string())
    }

    #[test]
    fn the_table_tells_what_was_answered_how_fast_and_what_was_refused() {
        check(refused(), |report| {
            let rows = report.rows();
            let row = |name: &str| {
                let row = rows.iter().find(|(found, _)| found == name);
                &row.unwrap().1[..]
            };
            assert_eq!(row("requests"), "100 answered, 0 lost, 0 unanswered");
            assert_eq!(row("throughput"), "40 requests a second, for 2.500 s");
            assert_eq!(row("errors"), r"1 BUSY, the first: BUSY \u{1b}[2J");
            for (name, millis) in [
                ("p50", "50."),
                ("p90", "90."),
                ("p99", "99."),
                ("max", "250."),
            ] {
                assert!(row(name).starts_with(millis), "{name}: {}", row(name));
            }
        });
    }

    #[test]
    fn scripts_get_whole_numbers_in_the_units_that_the_names_say() {
        check(refused(), |report| {
            let json = report.json();
            assert_eq!(json["answered"], 100);
            assert_eq!(json["reads"], 1);
            assert_eq!(json["requests_per_second"], 40);
            assert_eq!(json["errors"]["BUSY"]["count"], 1);
            assert_eq!(json["rate"], 100);
            let p99 = json["latency_us"]["p99"].as_u64().unwrap();
            assert!((98_900..99_200).contains(&p99), "{p99}");
        });
    }

    #[test]
    fn a_load_without_an_answer_is_told_as_well() {
        let Line { arguments } = Line::parse_from(["bench"]);
        let report = Report {
            arguments: &arguments,
            tally: &Tally::new(),
            elapsed: 1,
        };
        let last = report.rows().pop().unwrap();
        assert_eq!(last, ("max".to_string(), "0.000 ms".to_string()));
    }
}
