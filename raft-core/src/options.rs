//! Tunables.

use crate::error::OptionsError;
use crate::types::Span;

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const TIB: u64 = 1 << 40;

/// A tunable's name and value, and the range that is legal for it.
type Range = (&'static str, u64, u64, u64);

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
    /// The largest command, with what a replica puts in front of it: a byte, and 25 more in a session.
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
    /// Entry bytes kept in memory besides those that wait for the disk. What was received or sent together leaves
    /// memory together, so up to one append more stays.
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
    /// How much this node wants to lead: one that is caught up asks a leader of lower priority to hand
    /// over to it. With 0 it never leads unless it is told to.
    ///
    /// Default 1; legal 0 to 255; differs between nodes.
    pub priority: u32,
    /// For how long followers promise their leader to help nobody else to lead, which is what lease
    /// reads rest on (dissertation §6.4.1). Zero: no leases, and every read asks a majority.
    ///
    /// In the driver's unit; default 0; at most `election_timeout`.
    pub lease_promise: Span,
    /// How much faster one node's clock may run than another's, in thousandths: leases are shortened by
    /// as much.
    ///
    /// Default 50; legal 0 to 500.
    pub clock_drift_per_mille: u32,
    /// A write that takes longer makes a leader hand over, and keeps a follower from campaigning.
    ///
    /// In the driver's unit; default 2 s; at least `election_timeout`.
    pub disk_stall_timeout: Span,
    /// How long a new voter may make no progress in catching up before the change that adds it fails.
    ///
    /// In the driver's unit; default 10 s; at least `election_timeout`.
    pub catch_up_timeout: Span,
    /// In how many rounds a new voter must have caught up (dissertation §4.2.1).
    ///
    /// Default 10; legal 1 to 1,000.
    pub catch_up_rounds: u32,
    /// After how many bytes of applied entries the next snapshot is taken.
    ///
    /// Default 64 MiB; legal 1 B to 1 TiB.
    pub snapshot_log_bytes: u64,
    /// Bytes of entries kept in the log behind a snapshot, so that followers that were away for a moment
    /// need none.
    ///
    /// Default 16 MiB; legal 0 B to 1 TiB.
    pub compact_keep_bytes: u64,
    /// Most bytes of entries kept behind a snapshot for the sake of followers that are slow, or about to
    /// receive a snapshot; past it they need another one.
    ///
    /// Default 256 MiB; at least `compact_keep_bytes`, at most 1 TiB.
    pub compact_wait_bytes_max: u64,
    /// Most bytes in one part of a snapshot on its way.
    ///
    /// Default 256 KiB; legal 1 B to 8 MiB.
    pub snapshot_chunk_bytes: u64,
    /// How many parts of a snapshot may be asked for at once: they fill the way while each part is written.
    ///
    /// Default 16; legal 1 to 64.
    pub snapshot_chunks_max: u32,
    /// How many bytes of a snapshot are fetched in one unit of `election_timeout`; zero for as many as
    /// come.
    ///
    /// Default 0; any value.
    pub snapshot_bytes_per_timeout: u64,
    /// After how long without a command a client's session ends, in time during which there is a leader.
    ///
    /// In the driver's unit; default 1 h; at least `request_timeout`. The leader's goes with the entries by
    /// which time passes, so that all nodes do the same. A session ends at most a quarter later.
    pub session_timeout: Span,
    /// Most client sessions; registering another one ends the one that was silent longest.
    ///
    /// Default 65,536; legal 1 to 16,777,216. Goes with the request to register, from the node that was
    /// asked.
    pub sessions_max: u32,
    /// Most bytes of replies kept for one session, for commands that may be sent again; a reply that has no
    /// room is not kept. A new session takes it from the node that was asked to register it.
    ///
    /// Default 4 KiB, which makes 256 MiB for all sessions; legal 0 B to 1 MiB.
    pub session_reply_bytes_max: u32,
    /// Whether the node compares its state before and after every event with the rules of Figure 2, and
    /// panics if it broke one itself.
    ///
    /// Default: in debug builds. The simulator always does.
    pub check_invariants: bool,
}

impl Default for Options {
    fn default() -> Self {
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
            priority: 1,
            lease_promise: Span(0),
            clock_drift_per_mille: 50,
            disk_stall_timeout: Span::from_millis(2_000),
            catch_up_timeout: Span::from_millis(10_000),
            catch_up_rounds: 10,
            snapshot_log_bytes: 64 * MIB,
            compact_keep_bytes: 16 * MIB,
            compact_wait_bytes_max: 256 * MIB,
            snapshot_chunk_bytes: MIB / 4,
            snapshot_chunks_max: 16,
            snapshot_bytes_per_timeout: 0,
            session_timeout: Span::from_millis(3_600_000),
            sessions_max: 65_536,
            session_reply_bytes_max: 4 << 10,
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
        let times = self.time_ranges();
        let quotas = self.quota_ranges();
        let logs = self.log_ranges();
        let all = times.into_iter().chain(quotas).chain(logs);
        for (option, value, low, high) in all {
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

    fn time_ranges(&self) -> [Range; 8] {
        let election = self.election_timeout.0;
        let (heartbeat, request) = (self.heartbeat_interval.0, self.request_timeout.0);
        // A quarter of all time leaves room for doubling it.
        let longest = u64::MAX / 4;
        [
            ("heartbeat_interval", heartbeat, 1, election / 2),
            ("election_timeout", election, 2, longest),
            ("request_timeout", request, election, u64::MAX),
            ("lease_promise", self.lease_promise.0, 0, election),
            (
                "clock_drift_per_mille",
                self.clock_drift_per_mille.into(),
                0,
                500,
            ),
            (
                "disk_stall_timeout",
                self.disk_stall_timeout.0,
                election,
                u64::MAX,
            ),
            (
                "catch_up_timeout",
                self.catch_up_timeout.0,
                election,
                u64::MAX,
            ),
            ("session_timeout", self.session_timeout.0, request, longest),
        ]
    }

    fn quota_ranges(&self) -> [Range; 10] {
        let (appends, persists) = (self.inflight_appends_max, self.inflight_persists_max);
        let replies = self.session_reply_bytes_max;
        [
            ("command_bytes_max", self.command_bytes_max, 1, 256 * MIB),
            ("append_bytes_max", self.append_bytes_max, 1, 64 * MIB),
            ("inflight_appends_max", appends.into(), 1, 65_536),
            ("inflight_bytes_max", self.inflight_bytes_max, 1, GIB),
            ("uncommitted_bytes_max", self.uncommitted_bytes_max, 1, GIB),
            ("undurable_bytes_max", self.undurable_bytes_max, 1, GIB),
            ("inflight_persists_max", persists.into(), 1, 65_536),
            ("requests_max", self.requests_max.into(), 1, 16_777_216),
            ("sessions_max", self.sessions_max.into(), 1, 16_777_216),
            ("session_reply_bytes_max", replies.into(), 0, MIB),
        ]
    }

    fn log_ranges(&self) -> [Range; 9] {
        let (keep, wait) = (self.compact_keep_bytes, self.compact_wait_bytes_max);
        let (chunk, chunks) = (self.snapshot_chunk_bytes, self.snapshot_chunks_max);
        [
            ("tail_bytes_max", self.tail_bytes_max, 0, 16 * GIB),
            ("apply_bytes_max", self.apply_bytes_max, 1, 64 * MIB),
            ("priority", self.priority.into(), 0, 255),
            ("catch_up_rounds", self.catch_up_rounds.into(), 1, 1_000),
            ("snapshot_log_bytes", self.snapshot_log_bytes, 1, TIB),
            ("compact_keep_bytes", keep, 0, TIB),
            ("compact_wait_bytes_max", wait, keep, TIB),
            ("snapshot_chunk_bytes", chunk, 1, 8 * MIB),
            ("snapshot_chunks_max", chunks.into(), 1, 64),
        ]
    }
}
