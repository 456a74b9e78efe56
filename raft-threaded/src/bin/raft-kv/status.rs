//! `raft-kv status`: how a node is.

use serde_json::Value;

use super::failure::Failure;
use super::resp_client::{STATUS_PATIENCE, ask_status};
use super::values;

/// What `status` needs to know.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The role is `leader`, `follower`, `pre-candidate` or `candidate`; `waiting` of a node that is to be attached to a
cluster, and `removed` of one that is no member any more, or not yet. An entry is shown as its index, and where its
term matters as TERM.INDEX. `none` is what a node does not know, or has not.

Examples:
  raft-kv status --to db1:6379
  raft-kv status --to db1:6379 --json")]
pub(super) struct Arguments {
    /// The client address of the node.
    #[arg(long, value_name = "HOST:PORT", value_parser = values::host_port, default_value = "127.0.0.1:6379")]
    to: String,
    /// Print JSON instead of a table.
    #[arg(long)]
    json: bool,
}

/// The rows of the table: a name for people, and where the value stands in the JSON.
const ROWS: [(&str, &str); 15] = [
    ("id", "id"),
    ("role", "role"),
    ("term", "term"),
    ("leader", "leader"),
    ("commit index", "commit_index"),
    ("applied index", "applied_index"),
    ("first index", "first_index"),
    ("last index", "last_index"),
    ("snapshot", "snapshot_id"),
    ("voters", "voters"),
    ("outgoing", "outgoing"),
    ("learners", "learners"),
    ("configuration", "configuration_id"),
    ("cluster id", "cluster_id"),
    ("process id", "process_id"),
];

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let to = &arguments.to;
    let json =
        ask_status(to, STATUS_PATIENCE).map_err(|error| format!("no status from {to}: {error}"))?;
    if arguments.json {
        println!("{json}");
        return Ok(());
    }
    let status: Value = serde_json::from_str(&json)?;
    for (name, field) in ROWS {
        // Who takes no part has no role in it.
        let value = match (field, &status["standing"]) {
            ("role", Value::String(standing)) if standing != "member" => standing.clone(),
            _ => shown(&status[field], "none"),
        };
        println!("{name:<14} {value}");
    }
    if let Some(trouble) = disk_trouble(&status) {
        println!("{:<14} {trouble}", "disk");
    }
    Ok(())
}

/// What is wrong with the disk, and what helps; nothing if it takes writes, as it should.
fn disk_trouble(status: &Value) -> Option<String> {
    let disk = status["disk"].as_str()?;
    let helps = match disk {
        "healthy" => return None,
        "full" => "free space at --data; no write is taken here until then",
        _ => {
            "writes take too long; look at the device, or let another node lead: `raft-kv transfer`"
        }
    };
    Some(format!("{disk}: {helps}"))
}

/// A value for people; what is not there is shown as `otherwise`.
pub(super) fn shown(value: &Value, otherwise: &str) -> String {
    match value {
        Value::Null => otherwise.to_string(),
        Value::String(text) => text.clone(),
        Value::Array(values) if values.is_empty() => otherwise.to_string(),
        Value::Array(values) => {
            let values: Vec<String> = values.iter().map(|value| shown(value, otherwise)).collect();
            values.join(" ")
        }
        Value::Bool(_) | Value::Number(_) | Value::Object(_) => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_disk_is_spoken_of_only_when_it_needs_somebody() {
        let trouble = |disk| disk_trouble(&json!({ "disk": disk }));
        assert_eq!(trouble("healthy"), None);
        assert!(trouble("full").unwrap().starts_with("full: free space"));
        assert!(trouble("stalled").unwrap().starts_with("stalled: "));
        // An older server does not say.
        assert_eq!(disk_trouble(&json!({})), None);
    }
}
