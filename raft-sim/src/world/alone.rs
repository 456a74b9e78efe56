//! Nodes that leave their cluster with everything they have, and when that is certain.
//!
//! A node is the member of a cluster of its own from the moment it is told to be (DESIGN, P6), and forgets that if
//! it dies before it is durable. Until then the cluster that it leaves is the one that is judged; afterwards it is
//! whichever has everything that was acknowledged.
//!
//! Always holds: what a node hands to its disk as the member that it is going to be is held against nobody before
//! the disk has it.

use raft_core::wal::Wal;
use raft_core::{ClusterId, Member, NodeId, Persist, PersistId, Restored, Status};

use super::mechanism::World;
use super::server::Process;
use crate::machine::Machine;
use crate::order::Order;

/// A node on its way to be alone.
pub(super) struct Leaving {
    /// Who it is going to be.
    member: Member,
    cluster: ClusterId,
    /// What it handed to its disk as that.
    writes: Vec<Persist>,
}

/// What became of nodes that were told to go on alone, as numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct AloneCounts {
    /// They died before it was durable, and are what they were.
    pub(crate) undone: u64,
    /// They died when it was durable and before anybody was told.
    pub(crate) untold: u64,
    /// The others had gone on by then: two histories served.
    pub(crate) behind: u64,
}

impl Leaving {
    /// Keeps what is written as the member that the node is going to be; false if this comes before that.
    pub(super) fn keeps(&mut self, persist: &Persist) -> bool {
        let as_itself = persist.store == self.member.store;
        if as_itself {
            self.writes.push(persist.clone());
        }
        as_itself
    }
}

impl<S: Machine> World<S> {
    /// Whether nothing that was acknowledged is lost if a node goes on alone, as far as an operator can wish, and
    /// its disk does not keep it from doing so.
    pub(crate) fn may_go_alone(&self, node: NodeId) -> bool {
        let server = self.server(node);
        let sound = server.process.as_ref().is_some_and(Process::lane_is_sound);
        let voter = |status: Status<'_>| status.configuration.is_voter(status.identity.member);
        sound
            && !self.is_leaving(node)
            && server.disk.is_sound()
            && self.status(node).is_some_and(voter)
            && self.judge.may_go_alone(node)
    }

    /// Whether a node was told to go on alone, and nobody can know yet whether it will.
    pub(crate) fn is_leaving(&self, node: NodeId) -> bool {
        self.leaving.contains_key(&node)
    }

    /// The cluster that an order makes: another one each time, whoever takes it.
    pub(super) const fn next_cluster(&mut self, order: Order) -> ClusterId {
        if matches!(order, Order::Solo) {
            self.last_cluster.0 += 1;
        }
        self.last_cluster
    }

    /// A node was told to become a member, which it may have begun.
    pub(super) fn leaves(&mut self, member: Member) {
        let node = member.node;
        let Some(identity) = self.status(node).map(|status| status.identity) else {
            return;
        };
        if identity.member == member && self.server(node).member != member {
            let leaving = Leaving {
                member,
                cluster: identity.cluster,
                writes: Vec::new(),
            };
            self.leaving.insert(node, leaving);
        }
    }

    /// A node's disk has everything up to this write for certain.
    pub(super) fn settle_synced(&mut self, node: NodeId, id: PersistId) {
        let leaving = self.leaving.get(&node);
        let done = leaving.is_some_and(|leaving| {
            let first = leaving.writes.first();
            first.is_some_and(|write| write.id <= id)
        });
        if done && let Some(leaving) = self.leaving.remove(&node) {
            self.is_alone(leaving);
        }
    }

    /// A node begins a life, in which it is what its disk says.
    pub(super) fn settle_restored(&mut self, node: NodeId, restored: &Restored) {
        let Some(leaving) = self.leaving.remove(&node) else {
            return;
        };
        if restored.identity.member == leaving.member {
            self.counts.alone.untold += 1;
            self.is_alone(leaving);
        } else {
            self.counts.alone.undone += 1;
        }
    }

    /// It is certain that a node is a cluster of its own.
    fn is_alone(&mut self, leaving: Leaving) {
        let Leaving {
            member,
            cluster,
            writes,
        } = leaving;
        let node = member.node;
        if !self.judge.may_be_judged_by(node) {
            self.counts.alone.behind += 1;
            self.is_now(node, member);
            self.judge.estrange(node);
            return;
        }
        self.server_mut(node).member = member;
        self.removed.clear();
        self.cluster = cluster;
        self.judge.alone(member);
        let others: Vec<NodeId> = self.nodes().filter(|other| *other != node).collect();
        for other in others {
            if self.belongs_to_a_cluster(other) {
                self.judge.estrange(other);
            }
        }
        for write in &writes {
            self.judge.persisting(node, write, None);
        }
    }

    fn belongs_to_a_cluster(&self, node: NodeId) -> bool {
        if let Some(status) = self.status(node) {
            return status.identity.cluster != ClusterId::NONE;
        }
        // A full disk, for one, does not say.
        let disk = self.server(node).disk.image();
        let found = Wal::recover(disk, self.wal_options);
        found.map_or(true, |(_, restored)| {
            restored.identity.cluster != ClusterId::NONE
        })
    }
}
