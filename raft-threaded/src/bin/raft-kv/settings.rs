//! What one node is told by flags, or by a file.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use raft_core::{Options, OptionsError, Span};
use serde::Deserialize;

use super::failure::{Failure, not_understood};
use super::values;

/// The shortest election timeout that has room for two heartbeats, in milliseconds.
const ELECTION_TIMEOUT_MIN: u64 = 2;
const MIB: u64 = 1 << 20;
/// The most MiB of log between two snapshots: a TiB.
const SNAPSHOT_LOG_MIB_MAX: u64 = 1 << 20;

/// The settings of one node.
#[derive(Clone, Debug, Default, Deserialize, clap::Args)]
#[serde(deny_unknown_fields)]
pub(super) struct Settings {
    /// The node's id, checked against the data folder; needed by --join to make one.
    #[arg(long, value_name = "ID", value_parser = values::node_id)]
    pub(super) id: Option<u64>,
    /// The node's data folder, made by `raft-kv init`, or with --join.
    #[arg(long, value_name = "DIR")]
    pub(super) data: Option<PathBuf>,
    /// Where to listen for peers, which dial the address that `init` or `attach` was given.
    #[arg(long, value_name = "IP:PORT", value_parser = values::ip_port)]
    pub(super) peer_addr: Option<SocketAddr>,
    /// Where to listen for clients and for verbs such as `status` [default: 127.0.0.1:6379].
    #[arg(long, value_name = "IP:PORT", value_parser = values::ip_port)]
    pub(super) client_addr: Option<SocketAddr>,
    /// How often a leader lets its followers know, in milliseconds; at most half of --election-timeout-ms
    /// [default: 50].
    #[arg(long, value_name = "MS", value_parser = values::millis)]
    heartbeat_ms: Option<u64>,
    /// The shortest silence after which followers elect another leader, in milliseconds [default: 250].
    #[arg(long, value_name = "MS", value_parser = values::millis)]
    election_timeout_ms: Option<u64>,
    /// For how long followers promise their leader to help nobody else to lead, in milliseconds; at most
    /// --election-timeout-ms. Reads after RAFT.READS LEASE rest on it; with 0 they ask a majority, as all
    /// others do [default: 0].
    #[arg(long, value_name = "MS", value_parser = values::millis)]
    lease_ms: Option<u64>,
    /// How much faster one node's clock may run than another's, in thousandths, 0 to 500; leases are shortened
    /// by as much [default: 50].
    #[arg(long, value_name = "N", value_parser = values::number(0..=500_u32))]
    clock_drift_per_mille: Option<u32>,
    /// After how many MiB of log the node takes its next snapshot: more of them make fewer snapshots, a longer log
    /// and a slower start [default: 64].
    #[arg(long, value_name = "MIB", value_parser = values::number(1..=SNAPSHOT_LOG_MIB_MAX))]
    snapshot_log_mib: Option<u64>,
    /// What to log: error, warn, info, debug, or a filter such as raft_threaded=debug [default: info].
    #[arg(long, value_name = "FILTER")]
    pub(super) log: Option<String>,
}

impl Settings {
    pub(super) fn read(file: &Path) -> Result<Self, Failure> {
        let name = file.display();
        let text = std::fs::read_to_string(file)
            .map_err(|error| format!("the settings in {name} cannot be read: {error}"))?;
        toml::from_str(&text).map_err(|error| {
            not_understood(format!("the settings in {name} are not right: {error}"))
        })
    }

    /// These, and others where these say nothing.
    pub(super) fn or(self, other: Self) -> Self {
        Self {
            id: self.id.or(other.id),
            data: self.data.or(other.data),
            peer_addr: self.peer_addr.or(other.peer_addr),
            client_addr: self.client_addr.or(other.client_addr),
            heartbeat_ms: self.heartbeat_ms.or(other.heartbeat_ms),
            election_timeout_ms: self.election_timeout_ms.or(other.election_timeout_ms),
            lease_ms: self.lease_ms.or(other.lease_ms),
            clock_drift_per_mille: self.clock_drift_per_mille.or(other.clock_drift_per_mille),
            snapshot_log_mib: self.snapshot_log_mib.or(other.snapshot_log_mib),
            log: self.log.or(other.log),
        }
    }

    /// How the node behaves, or which setting is out of its range.
    pub(super) fn node_options(&self) -> Result<Options, Failure> {
        // Of what is too short for itself, no other setting is right.
        if let Some(found @ ..ELECTION_TIMEOUT_MIN) = self.election_timeout_ms {
            let least = ELECTION_TIMEOUT_MIN;
            return Err(not_understood(format!(
                "--election-timeout-ms is {found} ms, expected {least} ms or more"
            )));
        }
        let mut node = Options::default();
        let set = |option: &mut Span, millis: Option<u64>| {
            *option = millis.map_or(*option, Span::from_millis);
        };
        set(&mut node.heartbeat_interval, self.heartbeat_ms);
        set(&mut node.election_timeout, self.election_timeout_ms);
        set(&mut node.lease_promise, self.lease_ms);
        if let Some(drift) = self.clock_drift_per_mille {
            node.clock_drift_per_mille = drift;
        }
        if let Some(mib) = self.snapshot_log_mib {
            node.snapshot_log_bytes = mib.saturating_mul(MIB);
        }
        // Whoever waits longer for a leader waits longer for everything that may need another one.
        for patience in [
            &mut node.request_timeout,
            &mut node.disk_stall_timeout,
            &mut node.catch_up_timeout,
            &mut node.session_timeout,
        ] {
            *patience = node.election_timeout.max(*patience);
        }
        node.validate()
            .map_err(|error| not_understood(explain(&error)))?;
        Ok(node)
    }
}

/// What is wrong with a setting, in its own name and unit.
fn explain(error: &OptionsError) -> String {
    const NANOS: u64 = 1_000_000;
    let OptionsError {
        value, low, high, ..
    } = *error;
    let millis = |flag: &str| {
        let (value, low, high) = (value / NANOS, low.div_ceil(NANOS), high / NANOS);
        format!("--{flag} is {value} ms, expected {low} to {high} ms")
    };
    match error.option {
        "heartbeat_interval" => format!(
            "{}: at most half of --election-timeout-ms",
            millis("heartbeat-ms")
        ),
        "election_timeout" => millis("election-timeout-ms"),
        "lease_promise" => format!(
            "{}: no longer than --election-timeout-ms",
            millis("lease-ms")
        ),
        "clock_drift_per_mille" => {
            format!("--clock-drift-per-mille is {value}, expected {low} to {high}")
        }
        // Only whole ones can be asked for, and the least that is legal is less than one.
        "snapshot_log_bytes" => format!(
            "--snapshot-log-mib is {}, expected 1 to {SNAPSHOT_LOG_MIB_MAX}",
            value / MIB
        ),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(settings: &Settings) -> String {
        settings.node_options().unwrap_err().to_string()
    }

    #[test]
    fn a_setting_out_of_its_range_is_named_by_its_flag_in_its_own_unit() {
        let heartbeat = Settings {
            heartbeat_ms: Some(300),
            ..Settings::default()
        };
        assert_eq!(
            refused(&heartbeat),
            "--heartbeat-ms is 300 ms, expected 1 to 125 ms: at most half of --election-timeout-ms"
        );
        let election = Settings {
            election_timeout_ms: Some(1),
            ..Settings::default()
        };
        assert_eq!(
            refused(&election),
            "--election-timeout-ms is 1 ms, expected 2 ms or more"
        );
        let lease = Settings {
            lease_ms: Some(251),
            ..Settings::default()
        };
        assert_eq!(
            refused(&lease),
            "--lease-ms is 251 ms, expected 0 to 250 ms: no longer than --election-timeout-ms"
        );
        let drift = Settings {
            clock_drift_per_mille: Some(501),
            ..Settings::default()
        };
        assert_eq!(
            refused(&drift),
            "--clock-drift-per-mille is 501, expected 0 to 500"
        );
        for (mib, found) in [(0, "0"), (SNAPSHOT_LOG_MIB_MAX + 1, "1048577")] {
            let snapshots = Settings {
                snapshot_log_mib: Some(mib),
                ..Settings::default()
            };
            assert_eq!(
                refused(&snapshots),
                format!("--snapshot-log-mib is {found}, expected 1 to 1048576")
            );
        }
    }

    #[test]
    fn snapshots_are_as_far_apart_as_is_asked_for() {
        let settings = Settings {
            snapshot_log_mib: Some(3),
            ..Settings::default()
        };
        let options = settings.node_options().unwrap();
        assert_eq!(options.snapshot_log_bytes, 3 << 20);
        let options = Settings::default().node_options().unwrap();
        assert_eq!(options.snapshot_log_bytes, 64 << 20);
    }

    #[test]
    fn a_long_election_timeout_needs_no_other_setting() {
        let settings = Settings {
            election_timeout_ms: Some(4_000_000),
            lease_ms: Some(4_000_000),
            ..Settings::default()
        };
        let options = settings.node_options().unwrap();
        assert_eq!(options.request_timeout, Span::from_millis(4_000_000));
        assert_eq!(options.lease_promise, Span::from_millis(4_000_000));
        let short = Settings {
            election_timeout_ms: Some(100),
            ..Settings::default()
        };
        let options = short.node_options().unwrap();
        assert_eq!(options.request_timeout, Options::default().request_timeout);
    }
}
