//! `raft-sim scenario`: small stories, told as text.

use std::path::PathBuf;

use raft_sim::scenario::{self, ScenarioError};

use crate::{Ending, Failure};

/// Run text scenarios
///
/// With UPDATE_EXPECT=1 in the environment the states that are the case are written into the files.
///
/// Example: raft-sim scenario raft-sim/scenarios/*.txt
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Arguments {
    /// The files.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// A bug to plant in the code under test, by its id.
    #[cfg(raft_planted)]
    #[arg(long)]
    plant: Option<String>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<Ending, Failure> {
    #[cfg(raft_planted)]
    crate::scope::plant(arguments.plant.as_deref())?;
    let update = std::env::var_os("UPDATE_EXPECT").is_some();
    let mut ending = Ending::Held;
    for path in &arguments.files {
        let text = std::fs::read_to_string(path).map_err(|error| Failure::reading(path, &error))?;
        let result = if update {
            scenario::updated(&text).map(|text| std::fs::write(path, text))
        } else {
            scenario::run(&text).map(Ok)
        };
        match result {
            Ok(Ok(())) => crate::print(&format!("{}: as it says\n", path.display())),
            Ok(Err(error)) => return Err(Failure::writing(path, &error)),
            Err(error @ ScenarioError::Command { .. }) => {
                return Err(Failure::Usage(format!("{}: {error}", path.display())));
            }
            Err(error) => {
                crate::print(&format!("{}: {error}\n", path.display()));
                ending = Ending::Broken;
            }
        }
    }
    Ok(ending)
}
