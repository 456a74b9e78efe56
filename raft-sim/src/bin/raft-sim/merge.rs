//! `raft-sim merge`: the records of shards, put together.

use std::path::PathBuf;

use raft_sim::sweep::{Record, Sweep};

use crate::{Ending, Failure};

/// Put the records of shards together, as if they had been one sweep
///
/// Example: raft-sim merge shard-*.jsonl
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Arguments {
    /// Files that `raft-sim run --json` wrote.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// One line of JSON for each run instead of the table.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<Ending, Failure> {
    let mut records: Vec<Record> = Vec::new();
    for path in &arguments.files {
        let text = std::fs::read_to_string(path).map_err(|error| Failure::reading(path, &error))?;
        for (place, line) in text
            .lines()
            .enumerate()
            .filter(|(_, line)| !line.trim().is_empty())
        {
            let record = serde_json::from_str(line).map_err(|error| {
                Failure::Usage(format!(
                    "{} line {}: expected a record of raft-sim run --json: {error}",
                    path.display(),
                    place + 1
                ))
            });
            records.push(record?);
        }
    }
    let sweep = Sweep::new(records).map_err(|error| Failure::Usage(error.to_string()))?;
    sweep
        .check_whole()
        .map_err(|error| Failure::Usage(error.to_string()))?;
    crate::run::show(&sweep, arguments.json)
}
