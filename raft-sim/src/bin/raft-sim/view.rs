//! `raft-sim view`: a run as a page.

use std::path::PathBuf;

use raft_sim::Timeline;

use crate::replay::Source;
use crate::{Ending, Failure, scope};

/// Draw a run as one page to look at in a browser
///
/// The page holds everything it needs, and may be sent and kept.
///
/// Example: raft-sim view 17 --html run.html
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Arguments {
    /// A seed, or a file with a schedule that `raft-sim shrink` wrote.
    #[arg(value_name = "SEED|FILE")]
    source: Source,
    #[command(flatten)]
    scope: scope::Arguments,
    /// Where to write the page.
    #[arg(long, value_name = "FILE", default_value = "run.html")]
    html: PathBuf,
}

pub(crate) fn run(arguments: &Arguments) -> Result<Ending, Failure> {
    let seen = arguments.source.see(&arguments.scope)?;
    let page = Timeline {
        title: &seen.title,
        subtitle: &seen.subtitle,
        nodes: seen.nodes,
        trace: &seen.trace,
        violation: seen.violation.as_ref(),
    };
    let path = &arguments.html;
    std::fs::write(path, page.html()).map_err(|error| Failure::writing(path, &error))?;
    crate::print(&format!(
        "{}: {} events, open it in a browser\n",
        path.display(),
        seen.trace.events.len()
    ));
    Ok(match seen.violation {
        None => Ending::Held,
        Some(violation) => {
            crate::print(&format!("{violation}\n"));
            Ending::Broken
        }
    })
}
