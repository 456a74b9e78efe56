//! What a server tells its operator, and its transport, of what becomes of its node.

use raft_core::replica::StateMachine;
use raft_core::{Alert, ClusterId, Configuration, DiskHealth, HaltReason, Observation};
use tracing::{error, info, warn};

use crate::runtime::attaching::note_configuration;
use crate::runtime::replica_thread::ReplicaThread;

impl<S: StateMachine, F> ReplicaThread<S, F> {
    pub(super) fn observe(&mut self, observation: Observation) {
        match observation {
            Observation::Role { term, role } => {
                info!(term = term.0, role = role.as_str(), "role");
            }
            Observation::Leader { term, leader } => {
                let leader = leader.map(|member| member.node.0);
                info!(term = term.0, leader, "leader");
            }
            Observation::Configuration { id, configuration } => {
                info!(index = id.index.0, ?configuration, "configuration");
                note_configuration(&mut self.state.attachments, &configuration, id);
                self.transport.set_members(&configuration, self.state.now);
                self.look_for_self(&configuration);
            }
            Observation::HandsOver { to, reason } => {
                info!(to = to.node.0, ?reason, "hands over");
            }
        }
    }

    /// Peers know this node by who it is: it may have joined a cluster, or have left one.
    pub(super) fn follow_identity(&mut self) {
        let identity = self.replica.status().identity;
        if identity != self.transport.identity() {
            info!(cluster = %identity.cluster, store = %identity.member.store, "another identity");
            let (now, registry) = (self.state.now, &self.registry);
            self.transport.set_identity(identity, now, registry);
        }
    }

    /// What the log says of this node when it starts.
    pub(crate) fn look_around(&mut self) {
        let status = self.replica.status();
        let member = status.identity.member;
        self.state.is_member = status.configuration.contains(member);
        if status.identity.cluster == ClusterId::NONE {
            info!("this node belongs to no cluster and waits to be attached to one");
        } else if !self.state.is_member && !status.configuration.voters.is_empty() {
            warn!(
                "this node is no member of its cluster any more; `raft-kv attach` takes it back, `raft-kv reset` \
                 empties it"
            );
        }
    }

    fn look_for_self(&mut self, configuration: &Configuration) {
        let is_member = configuration.contains(self.transport.identity().member);
        if core::mem::replace(&mut self.state.is_member, is_member) && !is_member {
            warn!(
                "this node is no member of the new configuration: as soon as that is committed, it has no \
                 part in the cluster any more; `raft-kv attach` takes it back, `raft-kv reset` empties it"
            );
        }
    }
}

/// What an operator should know is said with what to do about it.
pub(super) fn report(alert: &Alert, disk: DiskHealth) {
    if matches!(alert, Alert::Removed { .. }) {
        error!(%alert, "removed; `raft-kv attach` takes this node back, `raft-kv reset --force` empties it");
    } else {
        warn!(alert = words(alert, disk), "alert");
    }
}

fn words(alert: &Alert, disk: DiskHealth) -> String {
    // A write that waits for room takes as long as one to a device that is slow.
    if matches!(alert, Alert::DiskStalled) && disk == DiskHealth::Full {
        "a write to the log waits for room: the disk is full; free some at --data".to_string()
    } else {
        alert.to_string()
    }
}

/// An end that was ordered is no trouble.
pub(super) fn report_halt(reason: HaltReason) {
    if reason == HaltReason::Emptied {
        info!(
            "the store is empty, as it was ordered to be: the server ends, and waits to be attached when it is \
             started again"
        );
    } else {
        error!(%reason, "the node halted");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_not_called_a_slow_one() {
        let said = |disk| words(&Alert::DiskStalled, disk);
        assert!(said(DiskHealth::Full).contains("the disk is full"));
        assert!(said(DiskHealth::Stalled).contains("the disk stalls"));
    }
}
