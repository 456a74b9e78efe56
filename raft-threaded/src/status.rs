//! What a server tells about itself.

use std::collections::BTreeMap;

use raft_core::{EntryId, Member, Members, RoleKind, Status};
use serde::Serialize;

use crate::standing::Standing;

/// A server at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ServerStatus {
    /// The node's id.
    pub id: u64,
    /// `follower`, `pre-candidate`, `candidate` or `leader`.
    pub role: String,
    /// `member`; `waiting` if the node belongs to no cluster; or `removed` if it is no member of its cluster any
    /// more, or not yet.
    pub standing: &'static str,
    /// The node's current term.
    pub term: u64,
    /// The node that leads that term, as far as this one knows.
    pub leader: Option<u64>,
    /// The last entry known to be committed.
    pub commit_index: u64,
    /// The last entry in the state machine.
    pub applied_index: u64,
    /// The first entry that the log may have; those before are in a snapshot.
    pub first_index: u64,
    /// The last entry of the log.
    pub last_index: u64,
    /// The latest snapshot on this node's disk, as `term.index` of the last entry in it.
    pub snapshot_id: Option<String>,
    /// The last entry that is on this node's disk.
    pub durable_index: u64,
    /// Whether the log's disk takes writes: `healthy`, `full`, or `stalled` for a write under way for longer than
    /// two seconds, or whatever `disk_stall_timeout` is. Free space, or let another node lead.
    pub disk: &'static str,
    /// The cluster's id, in hexadecimal; zero for a node that waits to be attached to one.
    pub cluster_id: String,
    /// The store's id, in hexadecimal.
    pub store_id: String,
    /// How often the store was opened.
    pub boot: u64,
    /// The process id.
    pub process_id: u32,
    /// The ids of the voters.
    pub voters: Vec<u64>,
    /// The ids of the voters that stop voting when the change of membership that is under way ends.
    pub outgoing: Vec<u64>,
    /// The ids of those who receive everything and are not counted.
    pub learners: Vec<u64>,
    /// The entry that made the configuration in force, as `term.index`: what a change may expect.
    pub configuration_id: String,
    /// Everybody who takes part.
    pub members: Vec<MemberStatus>,
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

/// A member as one node sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MemberStatus {
    /// Its id.
    pub id: u64,
    /// `voter`, `learner`, or `outgoing` for a voter that is on its way out.
    pub role: &'static str,
    /// Its store's id, in hexadecimal.
    pub store: String,
    /// Where it is reached by its peers, if the configuration says so.
    pub address: Option<String>,
    /// How much of the log it has for certain, as far as this node knows: the leader does.
    pub match_index: Option<u64>,
    /// Whether it leads, as far as this node knows.
    pub leader: bool,
}

/// An entry's id as it is shown, and as `EXPECT` takes it.
pub(crate) fn text(id: EntryId) -> String {
    format!("{}.{}", id.term, id.index)
}

fn ids(members: &Members) -> Vec<u64> {
    members.iter().map(|member| member.node.0).collect()
}

fn members(status: &Status<'_>) -> Vec<MemberStatus> {
    let configuration = status.configuration;
    let mut matched: BTreeMap<Member, u64> = status
        .peers()
        .map(|(member, matched, _)| (member, matched.0))
        .collect();
    // Of itself a node knows, too.
    matched.insert(status.identity.member, status.durable.0);
    let members = configuration.members().into_iter().map(|member| {
        let role = if configuration.voters.contains(&member) {
            "voter"
        } else if configuration.outgoing.contains(&member) {
            "outgoing"
        } else {
            "learner"
        };
        MemberStatus {
            id: member.node.0,
            role,
            store: member.store.to_string(),
            address: configuration.addresses.get(&member).cloned(),
            match_index: matched.get(&member).copied(),
            leader: status.leader == Some(member),
        }
    });
    members.collect()
}

impl ServerStatus {
    pub(crate) fn new(status: &Status<'_>, log: raft_core::wal::WalStats) -> Self {
        let refused = status.refused;
        Self {
            id: status.identity.member.node.0,
            role: status.role.as_str().to_string(),
            standing: Standing::of(status).as_str(),
            term: status.term.0,
            leader: status.leader.map(|leader| leader.node.0),
            commit_index: status.commit_index.0,
            applied_index: status.last_applied.0,
            first_index: status.first.0,
            last_index: status.last.index.0,
            snapshot_id: status.snapshot.map(text),
            durable_index: status.durable.0,
            disk: status.disk.as_str(),
            cluster_id: status.identity.cluster.to_string(),
            store_id: status.identity.member.store.to_string(),
            boot: status.boot.0,
            process_id: std::process::id(),
            voters: ids(&status.configuration.voters),
            outgoing: ids(&status.configuration.outgoing),
            learners: ids(&status.configuration.learners),
            configuration_id: text(status.configured),
            members: members(status),
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
