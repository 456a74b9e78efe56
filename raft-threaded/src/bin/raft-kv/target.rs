//! The node that is given an order, and for how long its outcome is waited for.

use std::time::{Duration, Instant};

use super::failure::Failure;
use super::resp_client::{Answer, CallError, call};
use super::values;
use super::verbs::verb;

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
            Err(
                error @ (CallError::NotAsked(_) | CallError::Refused(_) | CallError::Nonsense(_)),
            ) => Err(format!("{to}: {error}").into()),
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

/// Whether a new leader, or the end of another order, may be all that is missing.
fn is_early(error: &str) -> bool {
    let kinds = ["BUSY ", "CLUSTERDOWN ", "NOTLEADER "];
    kinds.iter().any(|kind| error.starts_with(kind))
}
