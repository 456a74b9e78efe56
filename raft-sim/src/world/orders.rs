//! What operators order of simulated servers, and what becomes of their stores by it.
//!
//! Always holds: the judge knows of another store, or of another cluster, before that does anything.

use raft_core::replica::RequestError;
use raft_core::wal::Wal;
use raft_core::{ClusterId, Configuration, Member, NodeId, Outcome, RequestId, Status, Time};

use super::disk::MemoryDisk;
use super::mechanism::{World, create};
use super::server::Process;
use crate::judge::Invariant;
use crate::machine::Machine;
use crate::order::{Order, member};
use crate::trace::Happening;

impl<S: Machine> World<S> {
    /// An operator orders something.
    pub(crate) fn order(&mut self, at: Time, node: NodeId, order: Order) -> RequestId {
        self.last_order += 1;
        let request = RequestId(self.last_order);
        self.note(|| Happening::order(node, order));
        let mut next = self.server(node).member;
        if matches!(order, Order::Reset | Order::Solo) {
            let server = self.server_mut(node);
            server.changes += 1;
            next = member(node, server.changes);
        }
        if order == Order::Solo && !self.may_go_alone(node) {
            return request;
        }
        if let Some(status) = self.status(node) {
            let cluster = status.identity.cluster;
            let clusters = (cluster, ClusterId(cluster.0 + 1));
            self.orders.insert(request, (node, order));
            let members = |other| self.server(other).member;
            let input = order.input(request, &members, next, clusters);
            self.handle(at, node, input);
        } else if order == Order::Reset {
            self.empty(next);
        }
        if order == Order::Solo {
            self.go_alone(at, next);
        }
        request
    }

    /// Whether nothing that was acknowledged is lost if a node goes on alone, as far as an operator can wish, and
    /// nothing keeps it from doing so.
    pub(crate) fn may_go_alone(&self, node: NodeId) -> bool {
        let server = self.server(node);
        let sound = server.process.as_ref().is_some_and(Process::lane_is_sound);
        let voter = |status: Status<'_>| status.configuration.is_voter(status.identity.member);
        sound
            && server.death.is_none()
            && server.disk.is_sound()
            && self.status(node).is_some_and(voter)
            && self.judge.may_go_alone(node)
    }

    /// A node that was told to goes on alone, and has that on its disk before anything else happens.
    fn go_alone(&mut self, at: Time, member: Member) {
        let node = member.node;
        let status = self.status(node);
        if status.is_none_or(|status| status.identity.member != member) {
            return;
        }
        self.server_mut(node).member = member;
        self.removed.clear();
        self.cluster = ClusterId(self.cluster.0 + 1);
        self.judge.alone(member);
        let others: Vec<NodeId> = self.nodes().filter(|other| *other != node).collect();
        for other in others {
            if self.belongs_to_a_cluster(other) {
                self.judge.estrange(other);
            }
        }
        self.drain(node);
        while self.lane_is_busy(node) {
            self.lane(at, node);
            self.drain(node);
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

    /// The store of a node that does not run is emptied, and becomes another one, if the disk lets it.
    fn empty(&mut self, member: Member) {
        let server = self.server_mut(member.node);
        server.halted = None;
        let mut disk = server.disk.clone();
        disk.become_image(&MemoryDisk::new());
        let nobody = Configuration::default();
        if create(&mut disk, member, ClusterId::NONE, &nobody).is_ok() {
            self.is_now(member.node, member);
        }
    }

    /// A server's store is this one: what another one promised ended with it.
    pub(super) fn is_now(&mut self, node: NodeId, member: Member) {
        let server = self.server_mut(node);
        if server.member != member {
            server.member = member;
            self.judge.replaced(member);
            self.removed.remove(&node);
        }
    }

    /// An order has its outcome.
    pub(super) fn ordered(&mut self, request: RequestId, outcome: Result<Outcome, RequestError>) {
        match self.orders.remove(&request) {
            Some((node, order)) => {
                if outcome.is_ok() {
                    self.carried_out = Some(request);
                }
                self.note(|| Happening::ordered(node, order, &outcome));
                self.effects.ordered.push((request, order, outcome));
            }
            None => {
                let text = format!("order {request} has a second outcome: {outcome:?}");
                self.judge.report(None, Invariant::V3, text);
            }
        }
    }
}
