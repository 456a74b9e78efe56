//! What a server tells about itself.

use raft_core::{RoleKind, Status};
use serde::Serialize;

/// A server at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ServerStatus {
    /// The node's id.
    pub id: u64,
    /// `follower`, `pre-candidate`, `candidate` or `leader`.
    pub role: String,
    /// The node's current term.
    pub term: u64,
    /// The node that leads that term, as far as this one knows.
    pub leader: Option<u64>,
    /// The last entry known to be committed.
    pub commit_index: u64,
    /// The last entry in the state machine.
    pub applied_index: u64,
    /// The last entry of the log.
    pub last_index: u64,
    /// The last entry that is on this node's disk.
    pub durable_index: u64,
    /// The cluster's id, in hexadecimal.
    pub cluster_id: String,
    /// The store's id, in hexadecimal.
    pub store_id: String,
    /// How often the store was opened.
    pub boot: u64,
    /// The process id.
    pub process_id: u32,
    /// The ids of the voters.
    pub voters: Vec<u64>,
    /// Requests without an outcome.
    pub pending_requests: u32,
    /// Syncs of the log since the start.
    pub log_syncs: u64,
    /// Writes that those syncs made durable.
    pub log_writes: u64,
    /// Bytes of records in the log since the start.
    pub log_bytes: u64,
    /// Messages from peers that were refused, whatever the cause.
    pub refused_messages: u64,
    /// Why the node halted, if it did.
    pub halted: Option<String>,
}

impl ServerStatus {
    pub(crate) fn new(status: &Status<'_>, log: raft_core::wal::WalStats) -> Self {
        let refused = status.refused;
        Self {
            id: status.identity.member.node.0,
            role: status.role.as_str().to_string(),
            term: status.term.0,
            leader: status.leader.map(|leader| leader.node.0),
            commit_index: status.commit_index.0,
            applied_index: status.last_applied.0,
            last_index: status.last.index.0,
            durable_index: status.durable.0,
            cluster_id: status.identity.cluster.to_string(),
            store_id: status.identity.member.store.to_string(),
            boot: status.boot.0,
            process_id: std::process::id(),
            voters: status
                .configuration
                .voters
                .iter()
                .map(|m| m.node.0)
                .collect(),
            pending_requests: status.pending_requests,
            log_syncs: log.syncs,
            log_writes: log.persists,
            log_bytes: log.bytes,
            refused_messages: refused.foreign
                + refused.misaddressed
                + refused.earlier_boot
                + refused.stale_session
                + refused.malformed
                + refused.second_leader
                + refused.undurable,
            halted: status.halted.map(|reason| reason.to_string()),
        }
    }

    /// Whether this node leads.
    #[must_use]
    pub fn is_leader(&self) -> bool {
        self.role == RoleKind::Leader.as_str()
    }
}
