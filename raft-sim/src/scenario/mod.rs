//! Scenarios: small stories about a cluster, as text that says what must be true afterwards.
//!
//! ```text
//! # A partitioned leader cannot commit.
//! cluster 3
//! campaign 1
//! partition 1 | 2,3
//! propose 1 x=1
//! ----
//! 1: leader term=1 commit=1 last=2
//! 2: follower term=1 commit=1 last=1
//! 3: follower term=1 commit=1 last=1
//! ```
//!
//! | command | what happens |
//! | --- | --- |
//! | `cluster N OPTION=VALUE …` | a new cluster of N voters, with tunables of [`raft_core::Options`], and with `spares=M` more servers that are no members yet; first in every scenario |
//! | `log N TERM …` | before it starts, a node's log holds entries of these terms |
//! | `start N`, `kill N`, `lose-power N` | a process begins or dies; a loss of power takes all that is not synced |
//! | `campaign N` | time passes until nobody waits for a leader any more, and this node tries to become one |
//! | `wait 100ms` | time passes, and every timer that ends is served |
//! | `propose N x=1`, `read N x` | a client asks: see [`crate::RegisterCommand`] |
//! | `partition 1,2 \| 3` | links between the groups are cut, in both directions |
//! | `cut 1>2`, `heal` | one link is cut in one direction; all links are mended, and nothing is blocked |
//! | `block 1>2 NAME WORD …` | messages that say all these words are lost on this link, once as many have passed as an `after N` says; `*` stands for any node |
//! | `hold 1>2 NAME WORD …`, `release` | such messages are kept back; all that were arrive now |
//! | `order N add 4` | a node is ordered to change the membership or the leadership: see [`crate::Order`] |
//! | `show logs`, `show members` | from now on, states show the terms of whole logs; who takes part |
//!
//! After each command everything that follows from it happens, without time passing. `----` ends the
//! commands; the state of every node and the answers since the last time are compared with the lines
//! below it, up to a blank one. Then there may be more commands.
//!
//! Always holds: a scenario has one course, and the judge looks on.

mod stage;

use std::fmt::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};

pub use self::stage::CommandError;
use self::stage::Stage;
use crate::judge::{Invariant, Violation};

/// A scenario that went otherwise, or is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScenarioError {
    /// A line cannot be understood or carried out.
    #[error("line {line}: {error}")]
    Command {
        /// Which line, from 1.
        line: usize,
        /// What is wrong with it.
        error: CommandError,
    },
    /// The states are not what the scenario says.
    #[error("line {line}: expected\n{expected}found\n{found}")]
    Differs {
        /// Where the expected states begin.
        line: usize,
        /// What the scenario says.
        expected: String,
        /// What is the case.
        found: String,
    },
    /// A rule of Raft was broken.
    #[error("line {line}: {violation}")]
    Violation {
        /// After which line.
        line: usize,
        /// Which, and how.
        violation: Violation,
    },
}

/// Runs a scenario.
///
/// # Errors
///
/// The first line that goes otherwise.
pub fn run(text: &str) -> Result<(), ScenarioError> {
    let mut differs = None;
    walk(text, |line, expected, found| {
        if expected != found && differs.is_none() {
            differs = Some(ScenarioError::Differs {
                line,
                expected: expected.to_string(),
                found: found.to_string(),
            });
        }
    })?;
    differs.map_or(Ok(()), Err)
}

/// The scenario with the states that are the case in place of those it says.
///
/// # Errors
///
/// The first line that cannot be carried out.
pub fn updated(text: &str) -> Result<String, ScenarioError> {
    let mut states = Vec::new();
    walk(text, |_, _, found| states.push(found.to_string()))?;
    let mut states = states.into_iter();
    let (mut out, mut skipping) = (String::new(), false);
    for line in text.lines() {
        if line.trim() == "----" {
            let _ = writeln!(out, "----");
            out.push_str(&states.next().unwrap_or_default());
            skipping = true;
        } else if line.trim().is_empty() || !skipping {
            skipping = false;
            let _ = writeln!(out, "{line}");
        }
    }
    Ok(out)
}

/// Carries out every command; `compare` is told each place where states are expected, those, and those
/// that are the case.
fn walk(text: &str, mut compare: impl FnMut(usize, &str, &str)) -> Result<(), ScenarioError> {
    let mut stage: Option<Stage> = None;
    let mut lines = text
        .lines()
        .enumerate()
        .map(|(place, line)| (place + 1, line.trim()));
    while let Some((number, line)) = lines.next() {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if line == "----" {
            let mut expected = String::new();
            for (_, line) in lines.by_ref() {
                if line.is_empty() {
                    break;
                }
                let _ = writeln!(expected, "{line}");
            }
            let found = stage.as_mut().map_or(String::new(), Stage::states);
            compare(number + 1, &expected, &found);
            continue;
        }
        let carried_out = catch_unwind(AssertUnwindSafe(|| match &mut stage {
            None => Stage::new(line).map(|new| stage = Some(new)),
            Some(stage) => stage.command(line),
        }));
        let result = carried_out.map_err(|panic| ScenarioError::Violation {
            line: number,
            violation: Violation {
                invariant: Invariant::I20,
                node: None,
                text: crate::panics::text(&*panic),
            },
        })?;
        result.map_err(|error| ScenarioError::Command {
            line: number,
            error,
        })?;
        if let Some(violation) = stage.as_ref().and_then(Stage::violation) {
            return Err(ScenarioError::Violation {
                line: number,
                violation,
            });
        }
    }
    Ok(())
}
