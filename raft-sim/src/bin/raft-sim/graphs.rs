//! `raft-sim graphs`: every shape that the links of a cluster can be left in.

use indicatif::ProgressBar;
use raft_sim::graphs::{Course, Digraph, GraphReport, NODES_MAX, Survey, timeouts};
use raft_sim::{Happening, Trace};
use rayon::iter::{IntoParallelIterator as _, ParallelIterator as _};

use crate::run::{Shard, parse_shard, progress};
use crate::{Ending, Failure};

/// Cut links until a graph is left, for every graph, and see who can still commit
///
/// In each course a healthy cluster elects a leader; then links are cut, one-way, so that just the graph's
/// links are left for good. Wherever a majority is linked each to each, in both directions, a leader must
/// commit new commands within 10 election timeouts, and go on without a new term (rule V5); and so it must
/// where one node is linked with a majority that has no longer log. Every shape of graph is run once for
/// each kind of node that can be the leader at that moment; in rounds after the first, another graph is
/// left for a while before.
///
/// Examples:
///   raft-sim graphs
///   raft-sim graphs --sample 200
///   raft-sim graphs --rounds 5 --shard 3/16 --json > shard-3.jsonl
///   raft-sim graphs --graph "1-2 1-3 2-3 4>1"     one graph, told as a story
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Arguments {
    /// How many nodes [2 to 5].
    #[arg(long, default_value_t = NODES_MAX, value_parser = clap::value_parser!(u32).range(2..=i64::from(NODES_MAX)))]
    nodes: u32,
    /// How many rounds: the first from a healthy cluster, the others from what another graph left.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    rounds: u64,
    /// So many graphs only, evenly spread over all shapes.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    sample: Option<u64>,
    /// This graph only, and what its nodes do: - for a link in both directions, > for one.
    #[arg(long, value_name = "LINKS", conflicts_with_all = ["sample", "shard", "json"])]
    graph: Option<String>,
    /// Every n-th graph only, beginning with the k-th.
    #[arg(long, value_name = "K/N", default_value = "1/1", value_parser = parse_shard)]
    shard: Shard,
    /// How many graphs at once; as many as there are cores if not given.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=1024))]
    jobs: Option<u64>,
    /// One line of JSON for each graph instead of the tables.
    #[arg(long)]
    json: bool,
    /// A bug to plant in the code under test, by its id.
    #[cfg(raft_planted)]
    #[arg(long)]
    plant: Option<String>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<Ending, Failure> {
    #[cfg(raft_planted)]
    crate::scope::plant(arguments.plant.as_deref())?;
    if let Some(links) = &arguments.graph {
        let graph = Digraph::parse(arguments.nodes, links);
        let graph = graph.map_err(|error| Failure::Usage(error.to_string()))?;
        return Ok(tell(graph, arguments.rounds));
    }
    let shapes = Digraph::shapes(arguments.nodes);
    let wanted = sample(&shapes, arguments.sample);
    let own: Vec<Digraph> = arguments.shard.pick(wanted);
    let pool = crate::run::pool(arguments.jobs)?;
    let bar = progress(own.len() as u64, "graphs, {per_sec}");
    let reports: Vec<GraphReport> = pool.install(|| {
        own.into_par_iter()
            .map(|graph| one(graph, arguments.rounds, &bar))
            .collect()
    });
    bar.finish_and_clear();
    let events: u64 = reports
        .iter()
        .flat_map(|r| &r.courses)
        .map(|(_, o)| o.events)
        .sum();
    eprintln!("{events} events in {:.1?}", bar.elapsed());
    let survey = Survey::new(arguments.nodes, arguments.rounds, reports);
    if arguments.json {
        for report in survey.reports() {
            let line = serde_json::to_string(&report.record());
            let line = line.map_err(|error| Failure::Own(error.to_string()))?;
            crate::print(&(line + "\n"));
        }
    } else {
        crate::print(&survey.to_string());
    }
    Ok(ending(&survey))
}

fn one(graph: Digraph, rounds: u64, bar: &ProgressBar) -> GraphReport {
    let report = GraphReport::run(graph, rounds);
    bar.inc(1);
    report
}

fn ending(survey: &Survey) -> Ending {
    if survey.is_broken() {
        return Ending::Broken;
    }
    if survey.proves_something() {
        return Ending::Held;
    }
    Ending::NothingProved
}

/// So many of the shapes, at equal distances.
fn sample(shapes: &[Digraph], wanted: Option<u64>) -> Vec<Digraph> {
    let of = shapes.len();
    let wanted = wanted.and_then(|wanted| usize::try_from(wanted).ok());
    let wanted = wanted.unwrap_or(of).min(of);
    (0..wanted)
        .map(|place| shapes[place * of / wanted])
        .collect()
}

/// One graph as a story for each course: who was what in which term, and which links were left.
fn tell(graph: Digraph, rounds: u64) -> Ending {
    let mut reports = Vec::new();
    for course in Course::all_of(graph, rounds) {
        let (outcome, trace) = course.trace();
        let wait = outcome.settled.map_or("never".to_string(), |span| {
            format!("from {} election timeouts after the cut on", timeouts(span))
        });
        let text = format!("{course}: commits {wait}\n{}\n", story(&trace));
        crate::print(&text);
        reports.push((course, outcome));
    }
    let report = GraphReport {
        graph,
        courses: reports,
    };
    for (_, outcome) in report.broken() {
        let violation = outcome.violation.as_ref().map(ToString::to_string);
        crate::print(&format!("{}\n", violation.unwrap_or_default()));
    }
    ending(&Survey::new(graph.nodes(), rounds, vec![report]))
}

fn story(trace: &Trace) -> String {
    let is_told = |what: &Happening| matches!(what, Happening::Role { .. } | Happening::Cut { .. });
    let told = trace.events.iter().filter(|event| is_told(&event.what));
    told.map(|event| format!("{event}\n")).collect()
}
