//! What many runs amounted to, and how they are written down one by one.
//!
//! Always holds: the records of a sweep, in the order of their seeds, say everything that its table does;
//! so the records of shards make the table of the whole.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

use raft_core::Span;
use serde::{Deserialize, Serialize};

use crate::judge::{Violation, mix};
use crate::simulation::{Profile, Report, Scope, Verdict};

/// One run, as a line of JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// The version of the simulator: the same seed means the same run only within one.
    pub version: String,
    /// Which faults there were to choose from.
    pub profile: String,
    /// How many voters were asked for; `null` for any.
    pub nodes_asked: Option<u64>,
    /// For how long things went wrong, in nanoseconds of the run's own time.
    pub time_ns: u64,
    /// The first seed of the whole sweep.
    pub from: u64,
    /// One past its last seed.
    pub to: u64,
    /// The fault of our own making that was planted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub planted: Option<String>,
    /// What the run was drawn from.
    pub seed: u64,
    /// How many voters there were.
    pub nodes: u64,
    /// `clean`, `hollow` or `violation`.
    pub verdict: String,
    /// The broken rule.
    pub violation: Option<Broken>,
    /// A rule that was broken after something that no protocol can mask.
    pub excused: Option<Broken>,
    /// Things that happened.
    pub events: u64,
    /// How long the run took, in nanoseconds of its own time.
    pub simulated_ns: u64,
    /// Entries committed.
    pub committed: u64,
    /// Requests answered.
    pub acknowledged: u64,
    /// Leaders elected.
    pub elections: u64,
    /// Lives of nodes.
    pub starts: u64,
    /// Messages sent.
    pub messages: u64,
    /// Alerts, and nodes that halted.
    pub alerts: u64,
    /// Comparisons made by the judge.
    pub checks: u64,
    /// What went wrong, and how often.
    pub hits: BTreeMap<String, u64>,
    /// What stands for everything that happened, in hexadecimal.
    pub hash: String,
}

/// A broken rule, as a line of JSON has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Broken {
    /// Its code.
    pub code: String,
    /// Who broke it.
    pub node: Option<u64>,
    /// What happened.
    pub text: String,
}

impl Broken {
    pub(crate) fn of(violation: &Violation) -> Self {
        Self {
            code: violation.invariant.code().to_string(),
            node: violation.node.map(|node| node.0),
            text: violation.text.clone(),
        }
    }
}

impl Record {
    /// A run of a scope, written down.
    #[must_use]
    pub fn new(
        scope: &Scope,
        seeds: &Range<u64>,
        planted: Option<String>,
        report: &Report,
    ) -> Self {
        let hits = report.hits.iter();
        Self {
            version: env!("CARGO_PKG_VERSION").to_string(),
            profile: scope.profile.to_string(),
            nodes_asked: scope.nodes,
            time_ns: scope.time.0,
            from: seeds.start,
            to: seeds.end,
            planted,
            seed: report.seed,
            nodes: report.nodes,
            verdict: report.verdict.as_str().to_string(),
            violation: report.violation.as_ref().map(Broken::of),
            excused: report.excused.as_ref().map(Broken::of),
            events: report.events,
            simulated_ns: report.time.0,
            committed: report.committed,
            acknowledged: report.acknowledged,
            elections: report.elections,
            starts: report.starts,
            messages: report.messages,
            alerts: report.alerts,
            checks: report.checks,
            hits: hits
                .map(|(name, count)| ((*name).to_string(), *count))
                .collect(),
            hash: format!("{:016x}", report.hash),
        }
    }

    /// What runs of one sweep have in common.
    fn is_of_one_sweep(&self, other: &Self) -> bool {
        let common = |record: &Self| {
            let text = (
                record.version.clone(),
                record.profile.clone(),
                record.planted.clone(),
            );
            (
                text,
                record.nodes_asked,
                record.time_ns,
                record.from,
                record.to,
            )
        };
        common(self) == common(other)
    }
}

/// Records that do not make one sweep.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SweepError {
    /// Two runs differ in more than their seed.
    #[error(
        "seed {one} and seed {other} are not of one sweep: version, profile, nodes, time, seeds or bug differ"
    )]
    Mixed {
        /// A run.
        one: u64,
        /// Another one.
        other: u64,
    },
    /// A seed comes twice.
    #[error("seed {seed} comes twice; give every shard once")]
    Twice {
        /// Which.
        seed: u64,
    },
    /// Seeds of the sweep are missing.
    #[error("seed {first} is missing, and {more} more; is a shard missing?")]
    Missing {
        /// The first one.
        first: u64,
        /// How many besides it.
        more: u64,
    },
}

/// Many runs.
#[derive(Clone, Debug, Default)]
pub struct Sweep {
    records: BTreeMap<u64, Record>,
}

impl Sweep {
    /// Puts records together.
    ///
    /// # Errors
    ///
    /// If they are of different sweeps, or a seed comes twice.
    pub fn new(records: impl IntoIterator<Item = Record>) -> Result<Self, SweepError> {
        let mut sweep = Self::default();
        for record in records {
            let seed = record.seed;
            if let Some(first) = sweep.records.values().next()
                && !first.is_of_one_sweep(&record)
            {
                let one = first.seed;
                return Err(SweepError::Mixed { one, other: seed });
            }
            if sweep.records.insert(seed, record).is_some() {
                return Err(SweepError::Twice { seed });
            }
        }
        Ok(sweep)
    }

    /// Checks that no seed of the sweep is missing.
    ///
    /// # Errors
    ///
    /// How many are, and the first of them.
    pub fn check_whole(&self) -> Result<(), SweepError> {
        let Some(first) = self.records.values().next() else {
            return Ok(());
        };
        let wanted = first.from..first.to;
        let mut missing = wanted.filter(|seed| !self.records.contains_key(seed));
        match missing.next() {
            None => Ok(()),
            Some(first) => Err(SweepError::Missing {
                first,
                more: missing.count() as u64,
            }),
        }
    }

    /// The records, in the order of their seeds.
    pub fn records(&self) -> impl Iterator<Item = &Record> {
        self.records.values()
    }

    /// How the whole ended: a violation if there was one, hollow if nothing was proved.
    #[must_use]
    pub fn verdict(&self) -> Option<Verdict> {
        let is = |verdict: Verdict| self.records.values().any(|r| r.verdict == verdict.as_str());
        [Verdict::Violation, Verdict::Clean, Verdict::Hollow]
            .into_iter()
            .find(|v| is(*v))
    }

    fn sum(&self, of: impl Fn(&Record) -> u64) -> u64 {
        self.records.values().map(of).sum()
    }

    fn count(&self, verdict: Verdict) -> usize {
        self.records
            .values()
            .filter(|r| r.verdict == verdict.as_str())
            .count()
    }

    /// One number for all courses.
    #[must_use]
    pub fn hash(&self) -> u64 {
        let hashes = self.records.values();
        let hashes = hashes.map(|record| u64::from_str_radix(&record.hash, 16).unwrap_or(0));
        hashes.fold(0, mix)
    }
}

/// A number with its thousands apart.
struct Thousands(u64);

impl fmt::Display for Thousands {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.0.to_string();
        let mut text = String::new();
        for (place, digit) in digits.chars().enumerate() {
            if place > 0 && (digits.len() - place).is_multiple_of(3) {
                text.push(',');
            }
            text.push(digit);
        }
        f.pad_integral(true, "", &text)
    }
}

/// A length of simulated time, as people say it.
#[must_use]
pub fn simulated(span: Span) -> String {
    let seconds = span.0 / 1_000_000_000;
    match seconds {
        0..=599 => format!("{seconds} s"),
        600..=35_999 => format!("{} min", seconds / 60),
        36_000..=863_999 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

impl fmt::Display for Sweep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Some(first), Some(last)) =
            (self.records.values().next(), self.records.values().last())
        else {
            return writeln!(f, "nothing ran");
        };
        writeln!(
            f,
            "profile {}, seeds {} to {}, {} of faults each",
            first.profile,
            first.seed,
            last.seed,
            simulated(Span(first.time_ns))
        )?;
        let runs = self.records.len();
        let rows = [
            ("runs", runs as u64),
            ("  clean", self.count(Verdict::Clean) as u64),
            ("  proved nothing", self.count(Verdict::Hollow) as u64),
            ("  broke a rule", self.count(Verdict::Violation) as u64),
            ("events", self.sum(|r| r.events)),
            ("messages", self.sum(|r| r.messages)),
            ("entries committed", self.sum(|r| r.committed)),
            ("requests answered", self.sum(|r| r.acknowledged)),
            ("leaders elected", self.sum(|r| r.elections)),
            ("lives of nodes", self.sum(|r| r.starts)),
            ("comparisons", self.sum(|r| r.checks)),
            ("alerts and halts", self.sum(|r| r.alerts)),
        ];
        for (name, value) in rows {
            writeln!(f, "{name:<28} {:>16}", Thousands(value))?;
        }
        let time = simulated(Span(self.sum(|r| r.simulated_ns)));
        writeln!(f, "{:<28} {time:>16}", "simulated time")?;
        writeln!(f, "{:<28} {:016x}", "hash of all courses", self.hash())?;
        let mut hits: BTreeMap<&str, u64> = BTreeMap::new();
        for record in self.records.values() {
            for (name, count) in &record.hits {
                *hits.entry(name).or_default() += count;
            }
        }
        if !hits.is_empty() {
            writeln!(f, "faults hit")?;
        }
        for (name, count) in hits {
            writeln!(f, "  {name:<26} {:>16}", Thousands(count))?;
        }
        if first.profile == Profile::Outside.as_str() {
            let excused = self.records.values().filter(|r| r.excused.is_some());
            let (excused, silent): (Vec<_>, Vec<_>) = excused.partition(|r| r.alerts > 0);
            writeln!(
                f,
                "rules broken after faults from outside: {} runs in which some node said so, {} in which none did",
                excused.len(),
                silent.len()
            )?;
        }
        self.show_violations(f)
    }
}

/// So many violations are shown; the rest is counted.
const SHOWN: usize = 20;

impl Sweep {
    fn show_violations(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let broken = self.records.values().filter_map(|record| {
            let violation = record.violation.as_ref()?;
            Some((record, violation))
        });
        for (record, violation) in broken.clone().take(SHOWN) {
            write!(f, "\nseed {}: {}: ", record.seed, violation.code)?;
            if let Some(node) = violation.node {
                write!(f, "node {node}: ")?;
            }
            writeln!(f, "{}", violation.text)?;
            let mut flags = format!(" --profile {}", record.profile);
            if let Some(nodes) = record.nodes_asked {
                flags += &format!(" --nodes {nodes}");
            }
            flags += &format!(" --time {}ms", record.time_ns / 1_000_000);
            if let Some(bug) = &record.planted {
                flags += &format!(" --plant {bug}");
            }
            writeln!(f, "  raft-sim shrink {}{flags}", record.seed)?;
            writeln!(f, "  raft-sim view {}{flags} --html run.html", record.seed)?;
        }
        match broken.count() {
            count if count > SHOWN => writeln!(f, "\nand {} more", count - SHOWN),
            _ => Ok(()),
        }
    }
}
