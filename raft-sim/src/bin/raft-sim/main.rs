//! `raft-sim`: a cluster's worst year in a minute.

mod check;
mod graphs;
mod merge;
mod replay;
mod run;
mod scenario;
mod scope;
mod shrink;
mod view;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Every event brings some small pieces of memory, and frees others.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Sweeps simulated Raft clusters through faults, and shows what went wrong.
///
/// Start with `raft-sim run --seeds 0..200`. Everything that happens in a run is decided by its seed: what
/// one run finds can be replayed, looked at and made small.
///
/// Exit codes: 0 everything held; 100 a rule was broken, or a history is not linearizable; 3 not decided in
/// time; 4 nothing ran, or nothing was proved; 2 the command or a file cannot be understood; 1 a failure of
/// the simulator's own.
#[derive(Debug, Parser)]
#[command(name = "raft-sim", version, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

/// What to do; each verb says of itself what it does.
#[derive(Debug, Subcommand)]
enum Verb {
    Run(run::Arguments),
    Merge(merge::Arguments),
    Replay(replay::Arguments),
    View(view::Arguments),
    Shrink(shrink::Arguments),
    Check(check::Arguments),
    Scenario(scenario::Arguments),
    Graphs(graphs::Arguments),
}

/// How a verb ends that could do its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    Held,
    Broken,
    Undecided,
    NothingProved,
}

/// Why a verb could not do its work.
#[derive(Debug)]
enum Failure {
    /// The caller's: a file or an argument.
    Usage(String),
    /// Ours, or the machine's.
    Own(String),
}

impl Failure {
    fn reading(path: &std::path::Path, error: &dyn std::fmt::Display) -> Self {
        Self::Usage(format!("cannot read {}: {error}", path.display()))
    }

    fn writing(path: &std::path::Path, error: &std::io::Error) -> Self {
        Self::Own(format!("cannot write {}: {error}", path.display()))
    }
}

/// Writes to standard output; whoever reads it may stop reading.
fn print(text: &str) {
    use std::io::Write as _;

    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

fn main() -> ExitCode {
    let verb = Arguments::parse().verb;
    // A panic inside a run is a finding, and is reported as one.
    std::panic::set_hook(Box::new(|_| {}));
    let work = || match verb {
        Verb::Run(arguments) => run::run(&arguments),
        Verb::Merge(arguments) => merge::run(&arguments),
        Verb::Replay(arguments) => replay::run(&arguments),
        Verb::View(arguments) => view::run(&arguments),
        Verb::Shrink(arguments) => shrink::run(&arguments),
        Verb::Check(arguments) => check::run(&arguments),
        Verb::Scenario(arguments) => scenario::run(&arguments),
        Verb::Graphs(arguments) => graphs::run(&arguments),
    };
    let result = std::panic::catch_unwind(work);
    match result {
        Ok(Ok(Ending::Held)) => ExitCode::SUCCESS,
        Ok(Ok(Ending::Broken)) => ExitCode::from(100),
        Ok(Ok(Ending::Undecided)) => ExitCode::from(3),
        Ok(Ok(Ending::NothingProved)) => ExitCode::from(4),
        Ok(Err(Failure::Usage(text))) => {
            eprintln!("raft-sim: {text}");
            ExitCode::from(2)
        }
        Ok(Err(Failure::Own(text))) => {
            eprintln!("raft-sim: {text}");
            ExitCode::FAILURE
        }
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
            eprintln!(
                "raft-sim: a bug of its own: {}",
                text.unwrap_or("no message")
            );
            ExitCode::FAILURE
        }
    }
}
