//! Nodes that leave their cluster with everything they have, and when that is certain.
//!
//! A node is the member of a cluster of its own from the moment it is told to be (DESIGN, P6), and forgets that if
//! it dies before it is durable. Until then the cluster that it leaves is the one that is judged; afterwards it is
//! whichever has everything that was acknowledged.
//!
//! Always holds: what a node hands to its disk as the member that it is going to be is held against nobody before
//! the disk has it.

use raft_core::wal::{SnapshotStore, Wal};
use raft_core::{
    Action, ClusterId, EntryId, Event, Input, Member, Node, NodeId, Persist, PersistId, RequestId,
    Restored, Status,
};

use super::disk::MemoryDisk;
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
    /// They were told so by their data folders, while they did not run.
    pub(crate) stopped: u64,
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

    /// A node that does not run becomes a member by what is on its disk, as `raft-kv solo --data` does it; the
    /// machine may be off before that is done.
    pub(super) fn leave_stopped(&mut self, member: Member) {
        let node = member.node;
        let disk = self.server(node).disk.clone();
        let Ok((mut wal, restored)) = Wal::recover(disk.clone(), self.wal_options) else {
            return;
        };
        self.recovered(node, &restored);
        let identity = restored.identity;
        let votes = |alone: &Node| alone.status().configuration.is_voter(identity.member);
        let alone = Node::new(self.now, self.options, restored);
        let Some(mut alone) = alone.ok().filter(votes) else {
            return;
        };
        if !self.judge.may_go_alone(node) {
            return;
        }
        let cluster = self.next_cluster(Order::Solo);
        self.counts.alone.stopped += 1;
        let leaving = Leaving {
            member,
            cluster,
            writes: Vec::new(),
        };
        self.leaving.insert(node, leaving);
        let mut inputs = vec![Input::Solo {
            request: RequestId(self.last_order),
            expect: identity.cluster,
            cluster,
            store: member.store,
        }];
        while let Some(input) = inputs.pop() {
            let at = self.now;
            for action in alone.step(Event { at, input }) {
                let done = if let Action::Persist(persist) = action {
                    self.write_stopped(node, &mut wal, &persist)
                } else if let Action::RestoreSnapshot { snapshot } = action {
                    // No state machine is here that could become it; but one must be able to.
                    whole(&disk, snapshot.id)
                } else {
                    continue;
                };
                let Some(input) = done else {
                    return;
                };
                inputs.push(input);
            }
        }
        // What could not be said behind the last write is found out by the next start.
        let _ = wal.close();
    }

    /// Writes and syncs at once; nothing, if the machine is off by then.
    fn write_stopped(
        &mut self,
        node: NodeId,
        wal: &mut Wal<MemoryDisk>,
        persist: &Persist,
    ) -> Option<Input> {
        let leaving = self.leaving.get_mut(&node);
        if !leaving.is_some_and(|leaving| leaving.keeps(persist)) {
            self.judge.persisting(node, persist, None);
        }
        wal.append(persist).ok()?;
        wal.sync().ok()?;
        let Persist {
            store, boot, id, ..
        } = *persist;
        self.settle_synced(node, id);
        self.judge.synced(node, id);
        Some(Input::Persisted { store, boot, id })
    }

    /// A node's disk has everything up to this write for certain.
    pub(super) fn settle_synced(&mut self, node: NodeId, id: PersistId) {
        let leaving = self.leaving.get(&node);
        let done = leaving.is_some_and(|leaving| {
            let mut writes = leaving.writes.iter();
            let named = writes.find(|write| write.identity.is_some());
            named.is_some_and(|write| write.id <= id)
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
            self.left.insert(self.server(node).member);
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

/// Whether a snapshot can be read to its end.
fn whole(disk: &MemoryDisk, id: EntryId) -> Option<Input> {
    let mut snapshots = SnapshotStore::open(disk.clone()).ok()?;
    snapshots.read(id).ok()?.finish().ok()?;
    Some(Input::SnapshotRestored { id })
}
