//! What clients and operators ask of a cluster's nodes, and what became of it.

use raft_core::replica::{RequestError, SnapshotRefusal};
use raft_core::{EntryId, NodeId, Outcome, RequestId};

use super::cluster::Cluster;
use crate::machine::{Machine, OpId};
use crate::order::Order;
use crate::schedule_line::Step;

impl<S: Machine> Cluster<S> {
    /// Proposes a command at a node; ask [`Cluster::reply`] for what became of it.
    pub fn propose(&mut self, node: NodeId, command: S::Command) -> RequestId {
        self.last_op += 1;
        self.propose_as(self.last_op, node, command);
        RequestId(self.last_op)
    }

    /// Asks a linearizable query at a node.
    pub fn query(&mut self, node: NodeId, query: S::Query) -> RequestId {
        self.last_op += 1;
        self.query_as(self.last_op, node, query);
        RequestId(self.last_op)
    }

    pub(crate) fn propose_as(&mut self, op: OpId, node: NodeId, command: S::Command) {
        self.record(|| Step::Request { node, op });
        let at = self.local(node);
        self.world.propose(at, node, op, command);
        self.settle(node);
    }

    pub(crate) fn query_as(&mut self, op: OpId, node: NodeId, query: S::Query) {
        self.record(|| Step::Request { node, op });
        let at = self.local(node);
        self.world.query(at, node, op, query);
        self.settle(node);
    }

    /// What became of a request; `None` while it is not decided, or if its node died.
    #[must_use]
    pub fn reply(&self, request: RequestId) -> Option<&Result<S::Reply, RequestError>> {
        self.replies.get(&request)
    }

    /// Orders a change of membership or leadership at a node; ask [`Cluster::ordered`] for what became of
    /// it.
    pub fn order(&mut self, node: NodeId, order: Order) -> RequestId {
        self.record(|| Step::Order { node, order });
        let at = self.local(node);
        let request = self.world.order(at, node, order);
        self.settle(node);
        request
    }

    /// What became of an order; `None` while it is not decided, or if its node died.
    #[must_use]
    pub fn ordered(&self, request: RequestId) -> Option<&Result<Outcome, RequestError>> {
        self.ordered.get(&request)
    }

    /// Asks a node for a snapshot; ask [`Cluster::snapshotted`] for what became of it.
    pub fn snapshot(&mut self, node: NodeId) -> RequestId {
        self.record(|| Step::Snapshot { node });
        let at = self.local(node);
        let request = self.world.snapshot(at, node);
        self.settle(node);
        request
    }

    /// The snapshot that a node was asked for; `None` while the disk does not rely on it, or if its node died.
    #[must_use]
    pub fn snapshotted(&self, request: RequestId) -> Option<Result<EntryId, SnapshotRefusal>> {
        self.snapshots.get(&request).copied()
    }
}
