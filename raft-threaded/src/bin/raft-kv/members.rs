//! `raft-kv members`: who takes part.

use raft_core::NodeId;
use raft_threaded::ClientError;
use serde_json::{Value, json};

use super::failure::Failure;
use super::resp_client::{STATUS_PATIENCE, ask_status};
use super::status::shown;
use super::values;

/// What `members` needs to know.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
How far a member is (MATCH INDEX, the last entry that it certainly has), the leader knows: ask that one, or read
`?`. A voter on its way out is `outgoing`.

Examples:
  raft-kv members --to db1:6379
  raft-kv members --to db1:6379 --json")]
pub(super) struct Arguments {
    /// The client address of any node of the cluster.
    #[arg(long, value_name = "HOST:PORT", value_parser = values::host_port, default_value = "127.0.0.1:6379")]
    to: String,
    /// Print JSON instead of a table.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let to = &arguments.to;
    let json = ask_status(to, STATUS_PATIENCE)
        .map_err(|error| format!("no members from {to}: {error}"))?;
    let status: Value = serde_json::from_str(&json)?;
    let id = &status["id"];
    match status["standing"].as_str() {
        Some("waiting") => {
            let node = NodeId(id.as_u64().unwrap_or_default());
            let error = ClientError::NoCluster { node };
            return Err(format!("{to}: {error}; or ask a member").into());
        }
        Some("removed") => eprintln!(
            "raft-kv: node {id} at {to} is no member any more, or not yet, and what it knows is old; ask a member"
        ),
        _ => {}
    }
    if arguments.json {
        let members = json!({
            "cluster_id": status["cluster_id"],
            "configuration_id": status["configuration_id"],
            "members": status["members"],
        });
        println!("{members}");
        return Ok(());
    }
    println!(
        "{:<6} {:<9} {:<7} {:<22} {:>12}  STORE",
        "ID", "ROLE", "LEADER", "ADDRESS", "MATCH INDEX"
    );
    for member in status["members"].as_array().into_iter().flatten() {
        let shown = |field: &str| shown(&member[field], "?");
        let leads = member["leader"] == true;
        println!(
            "{:<6} {:<9} {:<7} {:<22} {:>12}  {}",
            shown("id"),
            shown("role"),
            if leads { "leader" } else { "" },
            shown("address"),
            shown("match_index"),
            shown("store"),
        );
    }
    Ok(())
}
