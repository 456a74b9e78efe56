//! Schedules as files: what a shrunk failure is kept as.
//!
//! A header says what cluster it is for; then each line says one thing that happens. `raft-sim replay`
//! plays one, and so does a test: [`Schedule::parse`], then [`Schedule::assert_clean`].

use std::collections::BTreeMap;
use std::fmt;

use raft_core::{Options, Span};

use crate::judge::Violation;
use crate::registers::{RegisterCommand, RegisterQuery, RegisterWorkload};
use crate::schedule::{Play, play};
use crate::schedule_line::{Line, LineError};
use crate::shrink::Shrunk;
use crate::simulation::{Plan, Scope, Simulation, request};
use crate::workload::Request;

/// A cluster of registers, and what happens to it.
///
/// ```
/// let schedule = raft_sim::Schedule::parse("
///     nodes 1
///     start 1
///     timeout 1
///     disk 1
///     disk 1
///     request 1 1 a=5
///     disk 1
/// ")?;
/// schedule.assert_clean();
/// # Ok::<(), raft_sim::ScheduleError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Schedule {
    /// What the cluster is like.
    pub plan: Plan,
    /// The fault of our own making that must be planted for the failure to show.
    pub plant: Option<String>,
    /// What clients ask, by number.
    pub requests: BTreeMap<u64, Request<RegisterCommand, RegisterQuery>>,
    /// What happens.
    pub lines: Vec<Line>,
}

/// A file that is no schedule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {error}")]
pub struct ScheduleError {
    /// Which line, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub error: LineError,
}

type Get = fn(&Options) -> u64;
type Set = fn(&mut Options, u64);

/// The options that a header may name.
const OPTIONS: [(&str, Get, Set); 28] = [
    (
        "heartbeat_interval",
        |o| o.heartbeat_interval.0,
        |o, v| o.heartbeat_interval = Span(v),
    ),
    (
        "election_timeout",
        |o| o.election_timeout.0,
        |o, v| o.election_timeout = Span(v),
    ),
    (
        "request_timeout",
        |o| o.request_timeout.0,
        |o, v| o.request_timeout = Span(v),
    ),
    (
        "command_bytes_max",
        |o| o.command_bytes_max,
        |o, v| o.command_bytes_max = v,
    ),
    (
        "append_bytes_max",
        |o| o.append_bytes_max,
        |o, v| o.append_bytes_max = v,
    ),
    (
        "inflight_appends_max",
        |o| o.inflight_appends_max.into(),
        |o, v| o.inflight_appends_max = small(v),
    ),
    (
        "inflight_bytes_max",
        |o| o.inflight_bytes_max,
        |o, v| o.inflight_bytes_max = v,
    ),
    (
        "uncommitted_bytes_max",
        |o| o.uncommitted_bytes_max,
        |o, v| o.uncommitted_bytes_max = v,
    ),
    (
        "undurable_bytes_max",
        |o| o.undurable_bytes_max,
        |o, v| o.undurable_bytes_max = v,
    ),
    (
        "inflight_persists_max",
        |o| o.inflight_persists_max.into(),
        |o, v| o.inflight_persists_max = small(v),
    ),
    (
        "tail_bytes_max",
        |o| o.tail_bytes_max,
        |o, v| o.tail_bytes_max = v,
    ),
    (
        "apply_bytes_max",
        |o| o.apply_bytes_max,
        |o, v| o.apply_bytes_max = v,
    ),
    (
        "requests_max",
        |o| o.requests_max.into(),
        |o, v| o.requests_max = small(v),
    ),
    (
        "priority",
        |o| o.priority.into(),
        |o, v| o.priority = small(v),
    ),
    (
        "lease_promise",
        |o| o.lease_promise.0,
        |o, v| o.lease_promise = Span(v),
    ),
    (
        "clock_drift_per_mille",
        |o| o.clock_drift_per_mille.into(),
        |o, v| o.clock_drift_per_mille = small(v),
    ),
    (
        "disk_stall_timeout",
        |o| o.disk_stall_timeout.0,
        |o, v| o.disk_stall_timeout = Span(v),
    ),
    (
        "catch_up_timeout",
        |o| o.catch_up_timeout.0,
        |o, v| o.catch_up_timeout = Span(v),
    ),
    (
        "catch_up_rounds",
        |o| o.catch_up_rounds.into(),
        |o, v| o.catch_up_rounds = small(v),
    ),
    (
        "snapshot_log_bytes",
        |o| o.snapshot_log_bytes,
        |o, v| o.snapshot_log_bytes = v,
    ),
    (
        "compact_keep_bytes",
        |o| o.compact_keep_bytes,
        |o, v| o.compact_keep_bytes = v,
    ),
    (
        "compact_wait_bytes_max",
        |o| o.compact_wait_bytes_max,
        |o, v| o.compact_wait_bytes_max = v,
    ),
    (
        "snapshot_chunk_bytes",
        |o| o.snapshot_chunk_bytes,
        |o, v| o.snapshot_chunk_bytes = v,
    ),
    (
        "snapshot_chunks_max",
        |o| o.snapshot_chunks_max.into(),
        |o, v| o.snapshot_chunks_max = small(v),
    ),
    (
        "snapshot_bytes_per_timeout",
        |o| o.snapshot_bytes_per_timeout,
        |o, v| o.snapshot_bytes_per_timeout = v,
    ),
    (
        "session_timeout",
        |o| o.session_timeout.0,
        |o, v| o.session_timeout = Span(v),
    ),
    (
        "sessions_max",
        |o| o.sessions_max.into(),
        |o, v| o.sessions_max = small(v),
    ),
    ("seed", |o| o.seed, |o, v| o.seed = v),
];

/// Sets an option by its name.
pub(crate) fn set_option(options: &mut Options, name: &str, value: &str) -> Result<(), LineError> {
    let wrong = |expected, found: &str| LineError {
        expected,
        found: found.to_string(),
    };
    let known = OPTIONS.iter().find(|(known, ..)| *known == name);
    let (_, _, set) = known.ok_or_else(|| wrong("an option of raft_core::Options", name))?;
    let value = value.parse().map_err(|_| wrong("a number", value))?;
    set(options, value);
    Ok(())
}

fn small(value: u64) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

impl Schedule {
    /// What is left of a failure of the simulator's own workload.
    #[must_use]
    pub fn of(shrunk: &Shrunk, plant: Option<String>) -> Self {
        let ask = |op| (op, request(&RegisterWorkload, shrunk.plan.seed, op));
        Self {
            plan: Plan {
                faults: Vec::new(),
                requests: Vec::new(),
                ..shrunk.plan.clone()
            },
            plant,
            requests: shrunk.ops().into_iter().map(ask).collect(),
            lines: shrunk.lines.clone(),
        }
    }

    /// Reads a schedule.
    ///
    /// # Errors
    ///
    /// The first line that says nothing known.
    pub fn parse(text: &str) -> Result<Self, ScheduleError> {
        let scope = Scope {
            nodes: Some(3),
            time: Span(0),
            profile: crate::simulation::Profile::Quiet,
        };
        let mut schedule = Self {
            plan: Plan::draw(0, &scope),
            plant: None,
            requests: BTreeMap::new(),
            lines: Vec::new(),
        };
        schedule.plan.options.seed = 0;
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let result = schedule.take(line);
            result.map_err(|error| ScheduleError {
                line: number + 1,
                error,
            })?;
        }
        schedule.check().map_err(|error| ScheduleError {
            line: text.lines().count(),
            error,
        })?;
        Ok(schedule)
    }

    /// What only shows once all of it is there.
    fn check(&self) -> Result<(), LineError> {
        let ranges = self.plan.options.validate();
        let ranges = ranges.and_then(|()| self.plan.wal_options.validate());
        ranges.map_err(|error| LineError {
            expected: "options in their ranges",
            found: error.to_string(),
        })?;
        let mut asked = self.lines.iter().filter_map(|line| line.step.asks());
        match asked.find(|op| !self.requests.contains_key(op)) {
            None => Ok(()),
            Some(op) => Err(LineError {
                expected: "what is asked behind the number of a request",
                found: format!("request {op} without"),
            }),
        }
    }

    fn take(&mut self, line: &str) -> Result<(), LineError> {
        let wrong = |expected| LineError {
            expected,
            found: line.to_string(),
        };
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["nodes", nodes] => {
                let nodes = nodes.parse().ok().filter(|nodes| (1..=64).contains(nodes));
                self.plan.nodes = nodes.ok_or_else(|| wrong("a number of nodes from 1 to 64"))?;
            }
            ["spares", spares] => {
                let spares = spares.parse().ok().filter(|spares| *spares <= 64);
                self.plan.spares = spares.ok_or_else(|| wrong("a number of spares up to 64"))?;
            }
            ["priorities", priorities @ ..] => {
                let priorities = priorities.iter().map(|priority| priority.parse().ok());
                let priorities: Option<Vec<u32>> = priorities.collect();
                self.plan.priorities =
                    priorities.ok_or_else(|| wrong("priorities and a number for each server"))?;
            }
            ["plant", bug] => self.plant = Some((*bug).to_string()),
            ["segment_bytes", bytes] => {
                let bytes = bytes
                    .parse()
                    .map_err(|_| wrong("segment_bytes and a number"))?;
                self.plan.wal_options.segment_bytes = bytes;
            }
            ["option", name, value] => set_option(&mut self.plan.options, name, value)?,
            _ => self.take_step(line, &words)?,
        }
        Ok(())
    }

    fn take_step(&mut self, line: &str, words: &[&str]) -> Result<(), LineError> {
        // What is asked stands behind the number of the request.
        let verb = words
            .iter()
            .position(|word| *word == "request" || *word == "in-session");
        let behind = verb.map(|verb| verb + if words[verb] == "request" { 3 } else { 7 });
        let what = behind.and_then(|behind| words.get(behind));
        let Some(what) = what.filter(|what| !what.starts_with('@')) else {
            self.lines.push(line.parse()?);
            return Ok(());
        };
        let rest = words.iter().enumerate();
        let rest = rest.filter(|(at, _)| Some(*at) != behind);
        let rest: Vec<&str> = rest.map(|(_, word)| *word).collect();
        let line: Line = rest.join(" ").parse()?;
        let Some(op) = line.step.asks() else {
            self.lines.push(line);
            return Ok(());
        };
        let command = what.parse().map(Request::Command);
        let request = command.or_else(|_| what.parse().map(Request::Query));
        let request = request.map_err(|_| LineError {
            expected: "a change of a register like a=5, a+=5 or a:3>5, or a register",
            found: (*what).to_string(),
        })?;
        self.requests.insert(op, request);
        self.lines.push(line);
        Ok(())
    }

    /// Plays it to its end, or to the first broken rule.
    #[must_use]
    pub fn play(&self, trace: bool) -> Play {
        let simulation = Simulation::new(RegisterWorkload);
        let ask = |op| self.requests.get(&op).cloned();
        play(simulation.setup(&self.plan), &self.lines, trace, &ask)
    }

    /// The rule that is broken on the way.
    #[must_use]
    pub fn violation(&self) -> Option<Violation> {
        self.play(false).violation
    }

    /// # Panics
    ///
    /// If a rule is broken on the way; for tests.
    pub fn assert_clean(&self) {
        let violation = self.violation();
        assert!(
            violation.is_none(),
            "{}",
            violation.map_or(String::new(), |v| v.to_string())
        );
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "nodes {}", self.plan.nodes)?;
        if self.plan.spares > 0 {
            writeln!(f, "spares {}", self.plan.spares)?;
        }
        if !self.plan.priorities.is_empty() {
            write!(f, "priorities")?;
            self.plan
                .priorities
                .iter()
                .try_for_each(|p| write!(f, " {p}"))?;
            writeln!(f)?;
        }
        if let Some(plant) = &self.plant {
            writeln!(f, "plant {plant}")?;
        }
        let default = Options::default();
        for (name, get, _) in OPTIONS {
            let value = get(&self.plan.options);
            if value != get(&default) {
                writeln!(f, "option {name} {value}")?;
            }
        }
        if self.plan.wal_options != crate::world::WAL_OPTIONS {
            writeln!(f, "segment_bytes {}", self.plan.wal_options.segment_bytes)?;
        }
        for line in &self.lines {
            let text = line.to_string();
            let Some(op) = line.step.asks() else {
                writeln!(f, "{text}")?;
                continue;
            };
            // What is asked follows its number.
            let (head, at) = match text.split_once(" @") {
                Some((head, at)) => (head.to_string(), format!(" @{at}")),
                None => (text, String::new()),
            };
            match self.requests.get(&op) {
                Some(Request::Command(command)) => writeln!(f, "{head} {command}{at}")?,
                Some(Request::Query(query)) => writeln!(f, "{head} {query}{at}")?,
                None => writeln!(f, "{head}{at}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Schedule;

    #[test]
    fn a_schedule_is_what_it_is_printed_as() {
        let text = "nodes 3\npriorities 1 2 1\nplant E02\noption election_timeout 500000000\nsegment_bytes 4096\n\
                    start 1\nhold timeout 1 @17\n\
                    deliver 1>2 RequestVote term=1 last=0@0 #2\nrequest 1 7 a:1>2 @99\nrequest 2 8 b\nregister 1 9\n\
                    in-session 1 10 9 1 1 7 a:1>2 @5\n\
                    lose-power 2 77\ndoom 3 4\ndoom 3 4 5\nact 1\nflip 1 spare 17\nroom 2 100\nroom 2\n\
                    turn-off 1 3\nfail-sync 3\nunreachable 1 2\n";
        let schedule = Schedule::parse(text).unwrap();
        assert_eq!(schedule.to_string(), text);
    }

    #[test]
    fn what_is_no_line_is_told_with_its_number() {
        for (text, line) in [
            ("nodes 3\n\n# fine\nexplode 1", 4),
            ("nodes 0", 1),
            ("option no_such 1", 1),
            ("start", 1),
            ("deliver 1-2 Heartbeat", 1),
            ("request 1 1 a-5", 1),
            ("lose-power 1 x", 1),
            ("option election_timeout 1", 1),
            ("segment_bytes 17\nnodes 3", 2),
            ("request 1 5", 1),
        ] {
            let error = Schedule::parse(text).unwrap_err();
            assert_eq!(error.line, line, "{text}: {error}");
        }
    }
}
