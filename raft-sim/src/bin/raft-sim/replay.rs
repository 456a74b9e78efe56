//! `raft-sim replay`: the story of a run, event by event.

use std::io::Write as _;
use std::path::PathBuf;

use raft_core::NodeId;
use raft_sim::{Happening, Schedule, Trace, Violation};

use crate::{Ending, Failure, scope};

/// A run to look at: one that a seed stands for, or a schedule.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    Seed(u64),
    File(PathBuf),
}

impl std::str::FromStr for Source {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(text
            .parse()
            .map_or_else(|_| Self::File(text.into()), Self::Seed))
    }
}

/// A run that was looked at.
pub(crate) struct Seen {
    pub(crate) title: String,
    pub(crate) subtitle: String,
    pub(crate) nodes: u64,
    pub(crate) trace: Trace,
    pub(crate) violation: Option<Violation>,
}

impl Source {
    pub(crate) fn see(&self, scope: &scope::Arguments) -> Result<Seen, Failure> {
        match self {
            Self::Seed(seed) => {
                let simulation = scope.simulation()?;
                let plan = simulation.plan(*seed);
                let (report, trace) = simulation.trace(*seed);
                Ok(Seen {
                    title: format!("seed {seed}, profile {}", report.profile),
                    subtitle: report
                        .to_string()
                        .lines()
                        .next()
                        .unwrap_or_default()
                        .to_string(),
                    nodes: plan.servers(),
                    trace,
                    violation: report.violation,
                })
            }
            Self::File(path) => {
                let schedule = read_schedule(path)?;
                let played = schedule.play(true);
                Ok(Seen {
                    title: path.display().to_string(),
                    subtitle: format!("{} steps", schedule.lines.len()),
                    nodes: schedule.plan.servers(),
                    trace: played.trace,
                    violation: played.violation,
                })
            }
        }
    }
}

fn read_schedule(path: &std::path::Path) -> Result<Schedule, Failure> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        Failure::Usage(format!(
            "expected a seed or a schedule file, found {}: {error}",
            path.display()
        ))
    })?;
    let schedule = Schedule::parse(&text);
    let schedule =
        schedule.map_err(|error| Failure::Usage(format!("{}: {error}", path.display())))?;
    scope::plant(schedule.plant.as_deref())?;
    Ok(schedule)
}

/// Tell the story of a run, event by event
///
/// Examples:
///   raft-sim replay 17 --last 50
///   raft-sim replay 17 --node 2 --kind role --kind down --kind up
///   raft-sim replay failure.schedule
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Arguments {
    /// A seed, or a file with a schedule that `raft-sim shrink` wrote.
    #[arg(value_name = "SEED|FILE")]
    source: Source,
    #[command(flatten)]
    scope: scope::Arguments,
    /// Only what this node does or gets; may be given more than once.
    #[arg(long)]
    node: Vec<u64>,
    /// Only events of this kind: role, commit, durable, log, message, down, up, cut, heal, disk, clock,
    /// pause, ask, answer, alert, note; may be given more than once.
    #[arg(long, value_parser = KINDS)]
    kind: Vec<String>,
    /// Only events from this simulated millisecond on.
    #[arg(long, value_name = "MS", default_value_t = 0)]
    from: u64,
    /// Only events up to this simulated millisecond.
    #[arg(long, value_name = "MS")]
    to: Option<u64>,
    /// Only the last so many of them.
    #[arg(long, value_name = "N")]
    last: Option<usize>,
}

/// What [`Happening::kind`] may say.
const KINDS: [&str; 16] = [
    "role", "commit", "durable", "log", "message", "down", "up", "cut", "heal", "disk", "clock",
    "pause", "ask", "answer", "alert", "note",
];

impl Arguments {
    fn wants(&self, what: &Happening) -> bool {
        let mut sender = None;
        if let Happening::Message { from, .. } = what {
            sender = Some(*from);
        }
        let of = |node: Option<NodeId>| node.is_some_and(|node| self.node.contains(&node.0));
        let node = self.node.is_empty() || of(what.node()) || of(sender);
        node && (self.kind.is_empty() || self.kind.iter().any(|kind| kind == what.kind()))
    }
}

pub(crate) fn run(arguments: &Arguments) -> Result<Ending, Failure> {
    let seen = arguments.source.see(&arguments.scope)?;
    let to = arguments.to.unwrap_or(u64::MAX);
    let events = seen.trace.events.iter().filter(|event| {
        let millis = event.at.0 / 1_000_000;
        millis >= arguments.from && millis <= to && arguments.wants(&event.what)
    });
    let events: Vec<_> = events.collect();
    let skip = arguments
        .last
        .map_or(0, |last| events.len().saturating_sub(last));
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    for event in &events[skip..] {
        // Whoever reads may stop reading.
        if writeln!(out, "{event}").is_err() {
            break;
        }
    }
    let _ = out.flush();
    drop(out);
    crate::print(&format!("{}: {}\n", seen.title, seen.subtitle));
    Ok(match seen.violation {
        None => Ending::Held,
        Some(violation) => {
            crate::print(&format!("{violation}\n"));
            Ending::Broken
        }
    })
}
