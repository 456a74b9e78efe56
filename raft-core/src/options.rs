//! Tunables.

use crate::error::OptionsError;
use crate::types::Span;

/// How a node behaves; the same on every node of a cluster, unless a field says otherwise.
///
/// ```
/// use raft_core::{Options, Span};
///
/// let options = Options { heartbeat_interval: Span::from_millis(20), ..Options::default() };
/// assert!(options.validate().is_ok());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// How often a leader lets its followers know.
    ///
    /// In the driver's unit; default 50 ms; at least 1 and at most half of `election_timeout`.
    pub heartbeat_interval: Span,
    /// The shortest silence after which a follower looks for a new leader; each waits between once
    /// and twice as long. Also how long a leader goes on without hearing a majority.
    ///
    /// In the driver's unit; default 250 ms; at least twice `heartbeat_interval`.
    pub election_timeout: Span,
    /// After this long a request without an outcome gets one: unknown, or no quorum.
    ///
    /// In the driver's unit; default 5 s; at least `election_timeout`.
    pub request_timeout: Span,
    /// Decides the election jitter, together with node, term and attempt.
    ///
    /// Default 0; any value; may differ between nodes.
    pub seed: u64,
    /// The largest command.
    ///
    /// Default 16 MiB; legal 1 B to 256 MiB.
    pub command_bytes_max: u64,
    /// Most entry bytes in one `AppendEntries`, and in one `Persist`; a single larger entry still goes
    /// alone.
    ///
    /// Default 1 MiB; legal 1 B to 64 MiB.
    pub append_bytes_max: u64,
    /// Most appends on their way to one peer.
    ///
    /// Default 256; legal 1 to 65,536.
    pub inflight_appends_max: u32,
    /// Most entry bytes on their way to one peer; one append may always go.
    ///
    /// Default 16 MiB; legal 1 B to 1 GiB.
    pub inflight_bytes_max: u64,
    /// Most entry bytes a leader holds uncommitted; one proposal may always go.
    ///
    /// Default 64 MiB; legal 1 B to 1 GiB.
    pub uncommitted_bytes_max: u64,
    /// Most entry bytes waiting for the disk; past it a follower refuses appends and a leader
    /// proposals.
    ///
    /// Default 64 MiB; legal 1 B to 1 GiB.
    pub undurable_bytes_max: u64,
    /// Most writes handed to the log lane and not yet reported durable; what comes later joins one
    /// larger write.
    ///
    /// Default 64; legal 1 to 65,536.
    pub inflight_persists_max: u32,
    /// Entry bytes kept in memory besides those that wait for the disk.
    ///
    /// Default 16 MiB; legal 0 B to 16 GiB.
    pub tail_bytes_max: u64,
    /// Most entry bytes in one `Apply`, and in one read of the log; a single larger entry goes alone.
    ///
    /// Default 4 MiB; legal 1 B to 64 MiB.
    pub apply_bytes_max: u64,
    /// Most requests of this node without an outcome, and most it holds for other nodes.
    ///
    /// Default 65,536; legal 1 to 16,777,216.
    pub requests_max: u32,
    /// Whether the node compares its state before and after every event with the rules of Figure 2, and
    /// panics if it broke one itself.
    ///
    /// Default: in debug builds. The simulator always does.
    pub check_invariants: bool,
}

impl Default for Options {
    fn default() -> Self {
        const MIB: u64 = 1 << 20;
        Self {
            heartbeat_interval: Span::from_millis(50),
            election_timeout: Span::from_millis(250),
            request_timeout: Span::from_millis(5_000),
            seed: 0,
            command_bytes_max: 16 * MIB,
            append_bytes_max: MIB,
            inflight_appends_max: 256,
            inflight_bytes_max: 16 * MIB,
            uncommitted_bytes_max: 64 * MIB,
            undurable_bytes_max: 64 * MIB,
            inflight_persists_max: 64,
            tail_bytes_max: 16 * MIB,
            apply_bytes_max: 4 * MIB,
            requests_max: 65_536,
            check_invariants: cfg!(debug_assertions),
        }
    }
}

impl Options {
    /// Checks every field against its legal range.
    ///
    /// # Errors
    ///
    /// The first field out of range, with its value and the range.
    pub fn validate(&self) -> Result<(), OptionsError> {
        const MIB: u64 = 1 << 20;
        const GIB: u64 = 1 << 30;
        let checks: [(&'static str, u64, u64, u64); 13] = [
            (
                "heartbeat_interval",
                self.heartbeat_interval.0,
                1,
                self.election_timeout.0 / 2,
            ),
            // A quarter of all time leaves room for doubling it.
            ("election_timeout", self.election_timeout.0, 2, u64::MAX / 4),
            (
                "request_timeout",
                self.request_timeout.0,
                self.election_timeout.0,
                u64::MAX,
            ),
            ("command_bytes_max", self.command_bytes_max, 1, 256 * MIB),
            ("append_bytes_max", self.append_bytes_max, 1, 64 * MIB),
            (
                "inflight_appends_max",
                self.inflight_appends_max.into(),
                1,
                65_536,
            ),
            ("inflight_bytes_max", self.inflight_bytes_max, 1, GIB),
            ("uncommitted_bytes_max", self.uncommitted_bytes_max, 1, GIB),
            ("undurable_bytes_max", self.undurable_bytes_max, 1, GIB),
            (
                "inflight_persists_max",
                self.inflight_persists_max.into(),
                1,
                65_536,
            ),
            ("tail_bytes_max", self.tail_bytes_max, 0, 16 * GIB),
            ("apply_bytes_max", self.apply_bytes_max, 1, 64 * MIB),
            ("requests_max", self.requests_max.into(), 1, 16_777_216),
        ];
        for (option, value, low, high) in checks {
            if value < low || value > high {
                return Err(OptionsError {
                    option,
                    value,
                    low,
                    high,
                });
            }
        }
        Ok(())
    }
}
