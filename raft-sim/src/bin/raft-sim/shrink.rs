//! `raft-sim shrink`: a failing run, made small, as a story and as a test.

use std::io::IsTerminal as _;
use std::path::PathBuf;

use indicatif::ProgressBar;
use raft_sim::{Schedule, Shrunk};

use crate::{Ending, Failure, scope};

/// Make a failing run as small as it gets
///
/// First whatever is done to the cluster is left out, then whatever happens in it, as long as the same rule
/// is broken.
///
/// Example: raft-sim shrink 17 --schedule failure.schedule --emit-test failure.rs
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Arguments {
    /// The seed of a run in which a rule is broken.
    seed: u64,
    #[command(flatten)]
    scope: scope::Arguments,
    /// Where to write a test that fails as long as the rule is broken.
    #[arg(long, value_name = "FILE")]
    emit_test: Option<PathBuf>,
    /// Where to write the small run, for `raft-sim replay` and `raft-sim view`.
    #[arg(long, value_name = "FILE")]
    schedule: Option<PathBuf>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<Ending, Failure> {
    let simulation = arguments.scope.simulation()?;
    let planted = arguments.scope.planted();
    let bar = if std::io::stderr().is_terminal() {
        ProgressBar::new_spinner()
    } else {
        ProgressBar::hidden()
    };
    let shrunk = simulation.shrink_with(arguments.seed, |tries| {
        bar.set_message(format!("try {tries}"));
        bar.tick();
    });
    bar.finish_and_clear();
    let Some(shrunk) = shrunk else {
        crate::print(&format!("seed {}: no rule is broken\n", arguments.seed));
        return Ok(Ending::NothingProved);
    };
    let schedule = Schedule::of(&shrunk, planted.clone());
    if shrunk.lines.is_empty() {
        crate::print(&shrunk.story());
    } else {
        crate::print(&format!("# {}\n{schedule}", shrunk.violation));
    }
    eprintln!(
        "{} events became {} steps, {} faults and {} requests after {} tries",
        shrunk.events_before,
        shrunk.lines.len(),
        shrunk.plan.faults.len(),
        shrunk.plan.requests.len(),
        shrunk.tries
    );
    if let Some(path) = &arguments.emit_test {
        let text = test(arguments, &shrunk, &schedule);
        std::fs::write(path, text).map_err(|error| Failure::writing(path, &error))?;
    }
    if let Some(path) = &arguments.schedule {
        if shrunk.lines.is_empty() {
            return Err(Failure::Usage(format!(
                "no schedule of single events breaks {} again (one cannot show that something never \
                 happens, nor a rule of a state machine's own); use --emit-test, or view the seed",
                shrunk.violation.invariant
            )));
        }
        let text = format!("# {}\n{schedule}", shrunk.violation);
        std::fs::write(path, text).map_err(|error| Failure::writing(path, &error))?;
    }
    Ok(Ending::Broken)
}

/// A test to paste, which fails as long as the rule is broken.
fn test(arguments: &Arguments, shrunk: &Shrunk, schedule: &Schedule) -> String {
    let name = format!(
        "seed_{}_keeps_{}",
        arguments.seed,
        shrunk.violation.invariant.code()
    );
    let name = name.to_lowercase();
    let mut body = String::new();
    if let Some(bug) = &schedule.plant {
        body += &format!(
            "    let bug = raft_core::planted::Bug::ALL.iter().find(|bug| bug.id() == {bug:?});\n    \
             raft_core::planted::plant(bug.copied());\n"
        );
    }
    if shrunk.lines.is_empty() {
        let plan = &shrunk.plan;
        body += &format!(
            "    let simulation = raft_sim::Simulation::new(raft_sim::RegisterWorkload)\n        \
             .time(raft_core::Span({}))\n        \
             .profile(raft_sim::Profile::{:?})",
            arguments.scope.time().0,
            plan.profile
        );
        if let Some(nodes) = arguments.scope.nodes() {
            body += &format!("\n        .nodes({nodes})");
        }
        body += &format!(
            ";\n    let mut plan = simulation.plan({});\n    \
             plan.keep(&{:?}, &{:?});\n    \
             plan.network = raft_sim::{:?};\n    \
             plan.time = raft_core::Span({});\n    \
             simulation.run_plan(&plan).assert_clean();\n",
            plan.seed, shrunk.faults, shrunk.requests, plan.network, plan.time.0
        );
    } else {
        body += &format!(
            "    let schedule = raft_sim::Schedule::parse(\n        r\"\n{}        \",\n    );\n    \
             schedule.expect(\"a schedule\").assert_clean();\n",
            indented(schedule)
        );
    }
    format!(
        "/// {}\n#[test]\nfn {name}() {{\n{body}}}\n",
        shrunk.violation
    )
}

/// As lines of a raw string, which a schedule can always stand in.
fn indented(schedule: &Schedule) -> String {
    let text = schedule.to_string();
    text.lines()
        .map(|line| format!("        {line}\n"))
        .collect()
}
