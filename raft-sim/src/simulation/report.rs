//! What a run amounted to.

use std::collections::BTreeMap;
use std::fmt;

use raft_core::Span;

use crate::judge::Violation;

use super::profile::Profile;

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// Every rule held.
    Clean,
    /// Every rule held, but nothing was committed, or nothing went wrong: it proves nothing.
    Hollow,
    /// A rule was broken.
    Violation,
}

impl Verdict {
    /// One word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Clean => "clean",
            Self::Hollow => "hollow",
            Self::Violation => "violation",
        }
    }
}

/// One run in numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// What it was drawn from.
    pub seed: u64,
    /// How many voters there were.
    pub nodes: u64,
    /// Which faults were to choose from.
    pub profile: Profile,
    /// How it ended.
    pub verdict: Verdict,
    /// The broken rule.
    pub violation: Option<Violation>,
    /// A rule that was broken after something that no protocol can mask.
    pub excused: Option<Violation>,
    /// Things that happened: messages that arrived, timers, syncs.
    pub events: u64,
    /// How long it took, in the time of its world.
    pub time: Span,
    /// Entries that were committed.
    pub committed: u64,
    /// Requests that were answered.
    pub acknowledged: u64,
    /// Leaders that were elected.
    pub elections: u64,
    /// Lives of nodes.
    pub starts: u64,
    /// Messages that were sent.
    pub messages: u64,
    /// Alerts of nodes, and nodes that halted.
    pub alerts: u64,
    /// Comparisons that the judge made.
    pub checks: u64,
    /// How many facts the judge still remembered at the end: as many as nodes can still reach.
    pub remembered: u64,
    /// What went wrong, and how often.
    pub hits: BTreeMap<&'static str, u64>,
    /// A number that stands for everything that happened, and when.
    pub hash: u64,
}

impl Report {
    /// # Panics
    ///
    /// If a rule was broken, with the rule and how to see the run; for tests.
    pub fn assert_clean(&self) {
        assert!(self.verdict != Verdict::Violation, "{self}");
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "seed {}: {} nodes, profile {}, {} events in {} simulated ms, {} entries committed, {} \
             elections, {} starts, hash {:016x}: {}",
            self.seed,
            self.nodes,
            self.profile,
            self.events,
            self.time.0 / 1_000_000,
            self.committed,
            self.elections,
            self.starts,
            self.hash,
            self.verdict.as_str()
        )?;
        match &self.violation {
            Some(violation) => write!(f, "\n  {violation}"),
            None => Ok(()),
        }
    }
}
