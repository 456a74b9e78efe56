//! Writes in great numbers, by `raft-kv bench`.

use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::Failure;
use crate::clock::now;
use crate::systems::Scene;

/// Between two looks at what the writes do to the servers.
const LOOK: Duration = Duration::from_millis(100);
/// How long they may take altogether: slower ones tell nothing.
const PATIENCE: Duration = Duration::from_secs(3_600);

/// So many SETs, in an order that the seed makes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Writes {
    pub(crate) requests: u64,
    pub(crate) clients: u64,
    /// Under way from each client.
    pub(crate) pipeline: u64,
    pub(crate) keys: u64,
    pub(crate) value_bytes: u64,
    /// No two of the same scene have the same.
    pub(crate) seed: u64,
}

/// What became of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Written {
    /// Writes per second, of those that were answered.
    pub(crate) rate: u64,
    /// Writes that were refused, or never answered.
    pub(crate) failed: u64,
}

impl Writes {
    /// Sends them to the server at that port, and looks at something again and again meanwhile.
    ///
    /// # Errors
    ///
    /// The load fails, or what is looked at does, or somebody interrupted.
    pub(crate) fn run(
        self,
        scene: &Scene,
        port: u16,
        mut look: impl FnMut() -> Result<(), Failure>,
    ) -> Result<Written, Failure> {
        let mut bench = Command::new(&scene.raft_kv);
        bench
            .args(["bench", "--json"])
            .arg(format!("--to=127.0.0.1:{port}"))
            .arg(format!("--requests={}", self.requests))
            .arg(format!("--clients={}", self.clients))
            .arg(format!("--pipeline={}", self.pipeline))
            .arg(format!("--keys={}", self.keys))
            .arg(format!("--value-bytes={}", self.value_bytes))
            .arg(format!("--seed={}", self.seed));
        let log = scene.log(&format!("writes-{}.log", self.seed));
        let mut load = scene.stage.start(&mut bench, log)?;
        let end = now() + PATIENCE;
        let status = loop {
            if let Some(status) = load.ended_within(LOOK)? {
                break status;
            }
            scene.stage.check()?;
            look()?;
            if now() >= end {
                return Err(load.failed("the writes do not come to an end"));
            }
        };
        scene.stage.check()?;
        if !status.success() {
            return Err(load.failed("the writes failed"));
        }
        let said: Value = serde_json::from_str(&load.said()?)?;
        Ok(written(&said).ok_or("raft-kv bench does not say what was written")?)
    }
}

/// What the report says.
fn written(report: &Value) -> Option<Written> {
    let number = |name: &str| report[name].as_u64();
    let errors = report["errors"].as_object()?;
    let errors = errors.values().map(|errors| errors["count"].as_u64());
    let errors = errors.sum::<Option<u64>>()?;
    Some(Written {
        rate: number("requests_per_second")?,
        failed: errors + number("lost")? + number("unanswered")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn whatever_was_not_written_has_failed() {
        let report = json!({
            "requests_per_second": 1_234,
            "errors": { "BUSY": { "count": 2 }, "UNKNOWN": { "count": 3 } },
            "lost": 10,
            "unanswered": 100,
        });
        let expected = Written {
            rate: 1_234,
            failed: 115,
        };
        assert_eq!(written(&report), Some(expected));
        assert_eq!(written(&json!({ "errors": {} })), None);
    }
}
