//! The node that is given an order, and for how long its outcome is waited for.

use std::time::{Duration, Instant};

use super::failure::Failure;
use super::resp_client::{Answer, CallError, call};
use super::values;

/// The longest wait for an outcome, in seconds: a day.
const TIMEOUT_MAX: u64 = 86_400;
/// How often an order is given that comes too early, if there is time for it.
const ATTEMPTS: u32 = 25;
const BETWEEN_ATTEMPTS: Duration = Duration::from_millis(200);
/// No time at all is none that a socket could wait.
const PATIENCE_MIN: Duration = Duration::from_millis(1);

/// The node that is asked.
#[derive(Debug, clap::Args)]
pub(super) struct Target {
    /// The client address of any node of the cluster.
    #[arg(long, value_name = "HOST:PORT", value_parser = values::host_port, default_value = "127.0.0.1:6379")]
    to: String,
    /// How long to wait for the outcome, in seconds, all attempts included.
    #[arg(long, value_name = "SECONDS", default_value_t = 120, value_parser = values::number(1..=TIMEOUT_MAX))]
    timeout: u64,
}

/// Nothing was heard of an order that was sent: it may have been carried out.
#[derive(Debug, thiserror::Error)]
#[error(
    "{verb} at {to}: {error}; it may have been done, or may yet: `raft-kv {shows} --to {to}` shows{next}",
    next = next(verb)
)]
pub(super) struct OutcomeUnknown {
    verb: &'static str,
    to: String,
    error: String,
    /// Which verb shows what became of it.
    shows: &'static str,
}

/// What else helps if an order was interrupted.
fn next(verb: &str) -> &'static str {
    if verb == "attach" {
        ". Nodes that are learners now were left halfway: the same command finishes it, `raft-kv detach` takes it back"
    } else {
        ""
    }
}

/// What programs say for what people type.
const VERBS: [(&str, &str); 12] = [
    ("RAFT.ATTACH", "attach"),
    ("RAFT.DETACH", "detach"),
    ("RAFT.PROMOTE", "promote"),
    ("RAFT.DEMOTE", "demote"),
    ("RAFT.MOVE", "move"),
    ("RAFT.TRANSFER", "transfer"),
    ("RAFT.STEPDOWN", "step-down"),
    ("RAFT.SNAPSHOT", "snapshot"),
    ("RAFT.SOLO", "solo"),
    ("RAFT.RESET", "reset"),
    ("RAFT.MEMBERS", "members"),
    ("RAFT.STATUS", "status"),
];

impl Target {
    /// Gives an order and waits for its outcome.
    pub(super) fn order(&self, words: &[String]) -> Result<Answer, Failure> {
        let to = &self.to;
        let unknown = |error: String| OutcomeUnknown {
            verb: verb(&words[0]),
            to: to.clone(),
            error,
            shows: match verb(&words[0]) {
                // About the node that was asked, and nobody else.
                "solo" | "reset" | "snapshot" => "status",
                _ => "members",
            },
        };
        match self.ask(words) {
            Ok(answer) => Ok(answer),
            Err(CallError::Refused(error)) if error.starts_with("UNKNOWN ") => {
                Err(unknown(error).into())
            }
            Err(CallError::NotAnswered(error)) => Err(unknown(error.to_string()).into()),
            Err(error @ (CallError::NotAsked(_) | CallError::Nonsense(_))) => {
                Err(format!("{to}: {error}").into())
            }
            Err(CallError::Refused(error)) => Err(format!("{to}: {}", for_people(&error)).into()),
        }
    }

    /// Asks again, for a while, where it is certain that nothing was done and that it soon may be.
    fn ask(&self, words: &[String]) -> Result<Answer, CallError> {
        let (_sender, never) = crossbeam_channel::bounded::<()>(0);
        let end = now() + Duration::from_secs(self.timeout);
        let mut attempts = 0;
        loop {
            let left = end.saturating_duration_since(now());
            let answer = call(&self.to, words, left.max(PATIENCE_MIN));
            attempts += 1;
            let time_left = now() + BETWEEN_ATTEMPTS < end;
            match answer {
                Err(CallError::Refused(error))
                    if is_early(&error) && attempts < ATTEMPTS && time_left =>
                {
                    let _ = never.recv_timeout(BETWEEN_ATTEMPTS);
                }
                answer => return answer,
            }
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "somebody waits, and said for how long"
)]
fn now() -> Instant {
    Instant::now()
}

fn verb(command: &str) -> &'static str {
    let known = VERBS.iter().find(|(name, _)| *name == command);
    known.map_or("the order", |(_, verb)| verb)
}

/// Whether a new leader, or the end of another order, may be all that is missing.
fn is_early(error: &str) -> bool {
    let kinds = ["BUSY ", "CLUSTERDOWN ", "NOTLEADER "];
    kinds.iter().any(|kind| error.starts_with(kind))
}

/// Programs look at the first word of an error, which people need only where it is one, and give other commands.
fn for_people(error: &str) -> String {
    let error = error.strip_prefix("ERR ").unwrap_or(error);
    let mut text = error.replace(" (FORCE)", " (--force)");
    for (command, verb) in VERBS {
        text = text.replace(command, &format!("`raft-kv {verb}`"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_are_told_what_they_can_type() {
        let told = for_people("ERR look at it with RAFT.MEMBERS and RAFT.STATUS, and order again");
        assert_eq!(
            told,
            "look at it with `raft-kv members` and `raft-kv status`, and order again"
        );
        let told = for_people("ERR nobody answers at db7:7103 (FORCE)");
        assert_eq!(told, "nobody answers at db7:7103 (--force)");
        assert!(for_people("BUSY it is").starts_with("BUSY "));
    }
}
