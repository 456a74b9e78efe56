//! `raft-sim check`: was what clients saw linearizable?

use std::io::{BufReader, Read};
use std::path::PathBuf;

use indicatif::ProgressBar;
use raft_core::Span;
use raft_sim::history::{HistoryError, ModelKind, Verdict, check, parse, picture};

use crate::{Ending, Failure};

/// Say whether what clients saw was linearizable
///
/// A history is a file of JSON lines shaped like Jepsen's operations:
///   {"index":0,"time":12,"process":3,"type":"invoke","f":"cas","key":"x","value":[1,2]}
/// `type` is invoke, ok, fail (had no effect) or info (nobody knows); `f` is read, write, cas, or append in
/// the model kv.
///
/// Exit codes: 0 linearizable, 100 not, 3 not decided in time, 2 a file that cannot be understood.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Arguments {
    /// The history; - for standard input.
    file: PathBuf,
    /// What each key is: register, or kv with strings to append to.
    #[arg(long, default_value_t = ModelKind::Register)]
    model: ModelKind,
    /// How long to look: 500ms, 60s, 10m.
    #[arg(long, default_value = "60s", value_parser = crate::scope::parse_time)]
    timeout: Span,
    /// Where to draw a counterexample.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<Ending, Failure> {
    let path = &arguments.file;
    let reader: Box<dyn Read> = if path.as_os_str() == "-" {
        Box::new(std::io::stdin())
    } else {
        Box::new(std::fs::File::open(path).map_err(|error| Failure::reading(path, &error))?)
    };
    let operations = parse(BufReader::new(reader), arguments.model);
    let operations = operations
        .map_err(|error: HistoryError| Failure::Usage(format!("{}: {error}", path.display())))?;
    if operations.is_empty() {
        crate::print("no operation in it says anything\n");
        return Ok(Ending::NothingProved);
    }
    let clock = ProgressBar::hidden();
    let late = || clock.elapsed().as_nanos() > u128::from(arguments.timeout.0);
    match check(&operations, arguments.model, late) {
        Verdict::Linearizable => {
            crate::print(&format!("linearizable: {} operations\n", operations.len()));
            Ok(Ending::Held)
        }
        Verdict::NotLinearizable(found) => {
            crate::print(&format!("not linearizable\n{found}\n"));
            if let Some(path) = &arguments.html {
                std::fs::write(path, picture(&found)).map_err(|e| Failure::writing(path, &e))?;
                crate::print(&format!("{}: open it in a browser\n", path.display()));
            }
            Ok(Ending::Broken)
        }
        Verdict::Unknown { keys } => {
            crate::print(&format!(
                "unknown: not decided in time for {} keys, {} among them; give it a longer --timeout\n",
                keys.len(),
                keys.first().map_or("none", String::as_str)
            ));
            Ok(Ending::Undecided)
        }
    }
}
