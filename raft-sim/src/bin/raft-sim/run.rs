//! `raft-sim run`: a sweep over seeds, on all cores, with what it amounted to.

use std::io::IsTerminal as _;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use indicatif::{ProgressBar, ProgressStyle};
use raft_core::Span;
use raft_sim::sweep::{Record, Sweep, simulated};
use raft_sim::{RegisterWorkload, Simulation, Verdict};
use rayon::iter::{IntoParallelIterator as _, ParallelIterator as _};

use crate::{Ending, Failure, scope};

/// Run many seeds, and say what they amounted to
///
/// Examples:
///   raft-sim run --seeds 0..2000
///   raft-sim run --seeds 0..100000 --profile detected --shard 3/16 --json > shard-3.jsonl
///   parallel raft-sim run --seeds 0..100000 --shard {#}/16 --json '>' {#}.jsonl ::: $(seq 16)
///
/// A Kubernetes indexed job passes --shard $((JOB_COMPLETION_INDEX + 1))/N, a Slurm array
/// --shard $SLURM_ARRAY_TASK_ID/$SLURM_ARRAY_TASK_COUNT; `raft-sim merge` puts the records together.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Arguments {
    /// Which seeds: from the first up to, and without, the second.
    #[arg(long, value_name = "A..B", default_value = "0..200", value_parser = parse_seeds)]
    seeds: Range<u64>,
    /// One seed only.
    #[arg(long, conflicts_with = "seeds")]
    seed: Option<u64>,
    #[command(flatten)]
    scope: scope::Arguments,
    /// Every n-th seed only, beginning with the k-th.
    #[arg(long, value_name = "K/N", default_value = "1/1", value_parser = parse_shard)]
    shard: Shard,
    /// How many runs at once; as many as there are cores if not given.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=1024))]
    jobs: Option<u64>,
    /// One line of JSON for each run instead of the table.
    #[arg(long)]
    json: bool,
}

/// Which part of a sweep is done here.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shard {
    number: u64,
    of: u64,
}

impl Shard {
    /// Those whose turn it is.
    pub(crate) fn pick<T>(self, all: impl IntoIterator<Item = T>) -> Vec<T> {
        let turns = (1..=self.of).cycle();
        let own = all
            .into_iter()
            .zip(turns)
            .filter(|(_, turn)| *turn == self.number);
        own.map(|(one, _)| one).collect()
    }
}

fn parse_seeds(text: &str) -> Result<Range<u64>, String> {
    let parse = || {
        let (from, to) = text.split_once("..")?;
        let (from, to) = (from.parse().ok()?, to.parse().ok()?);
        (from < to).then_some(from..to)
    };
    parse().ok_or_else(|| "expected two ascending numbers like 0..2000".to_string())
}

pub(crate) fn parse_shard(text: &str) -> Result<Shard, String> {
    let parse = || {
        let (number, of) = text.split_once('/')?;
        let (number, of) = (number.parse().ok()?, of.parse().ok()?);
        (1 <= number && number <= of).then_some(Shard { number, of })
    };
    parse().ok_or_else(|| "expected k/n with k from 1 to n, like 1/4".to_string())
}

/// What was done so far, for the progress bar.
#[derive(Debug, Default)]
struct Done {
    events: AtomicU64,
    simulated_ms: AtomicU64,
    faults: AtomicU64,
}

pub(crate) fn run(arguments: &Arguments) -> Result<Ending, Failure> {
    let seeds = arguments
        .seed
        .map_or(arguments.seeds.clone(), |seed| seed..seed.saturating_add(1));
    let own: Vec<u64> = arguments.shard.pick(seeds.clone());
    let simulation = arguments.scope.simulation()?;
    let planted = arguments.scope.planted();
    let pool = pool(arguments.jobs)?;
    let bar = progress(own.len() as u64, "seeds, {per_sec}, {msg}");
    let done = Done::default();
    let records: Vec<Record> = pool.install(|| {
        own.into_par_iter()
            .map(|seed| one(&simulation, &seeds, seed, planted.clone(), &bar, &done))
            .collect()
    });
    summarize(&bar, &done);
    let sweep = Sweep::new(records).map_err(|error| Failure::Own(error.to_string()))?;
    show(&sweep, arguments.json)
}

/// So many threads, or one for each core.
pub(crate) fn pool(jobs: Option<u64>) -> Result<rayon::ThreadPool, Failure> {
    let jobs = jobs.map_or(0, |jobs| usize::try_from(jobs).unwrap_or(1));
    let pool = rayon::ThreadPoolBuilder::new().num_threads(jobs).build();
    pool.map_err(|error| Failure::Own(error.to_string()))
}

fn one(
    simulation: &Simulation<RegisterWorkload>,
    seeds: &Range<u64>,
    seed: u64,
    planted: Option<String>,
    bar: &ProgressBar,
    done: &Done,
) -> Record {
    let report = simulation.run(seed);
    let events = done.events.fetch_add(report.events, Ordering::Relaxed) + report.events;
    let millis = report.time.0 / 1_000_000;
    let millis = done.simulated_ms.fetch_add(millis, Ordering::Relaxed) + millis;
    let hits: u64 = report.hits.values().sum();
    let hits = done.faults.fetch_add(hits, Ordering::Relaxed) + hits;
    bar.inc(1);
    bar.set_message(rates(bar, events, millis, hits));
    Record::new(simulation.scope(), seeds, planted, &report)
}

fn rates(bar: &ProgressBar, events: u64, simulated_ms: u64, faults: u64) -> String {
    let millis = u64::try_from(bar.elapsed().as_millis())
        .unwrap_or(u64::MAX)
        .max(1);
    format!(
        "{} k events/s, {} simulated s/s, {faults} faults hit",
        events / millis,
        simulated_ms / millis
    )
}

/// A bar that says how many there are of what, on a terminal.
pub(crate) fn progress(length: u64, of_what: &str) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(length);
    let template = format!("{{wide_bar}} {{pos}}/{{len}} {of_what}, {{eta}} left");
    if let Ok(style) = ProgressStyle::with_template(&template) {
        bar.set_style(style);
    }
    bar
}

/// How fast it went, on standard error: the table is the same every time.
fn summarize(bar: &ProgressBar, done: &Done) {
    let events = done.events.load(Ordering::Relaxed);
    let millis = done.simulated_ms.load(Ordering::Relaxed);
    let faults = done.faults.load(Ordering::Relaxed);
    let rates = rates(bar, events, millis, faults);
    bar.finish_and_clear();
    let simulated = simulated(Span(millis.saturating_mul(1_000_000)));
    eprintln!("{simulated} simulated in {:.1?}: {rates}", bar.elapsed());
}

/// Prints a sweep, and says how it ended.
pub(crate) fn show(sweep: &Sweep, json: bool) -> Result<Ending, Failure> {
    let mut out = String::new();
    if json {
        for record in sweep.records() {
            let line = serde_json::to_string(record);
            out += &line.map_err(|error| Failure::Own(error.to_string()))?;
            out.push('\n');
        }
    } else {
        out = sweep.to_string();
    }
    crate::print(&out);
    Ok(match sweep.verdict() {
        Some(Verdict::Violation) => Ending::Broken,
        Some(Verdict::Clean) => Ending::Held,
        Some(Verdict::Hollow) | None => Ending::NothingProved,
    })
}
