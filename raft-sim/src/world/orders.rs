//! What operators order of simulated servers, and what becomes of their stores by it.
//!
//! Always holds: the judge knows of another store, or of another cluster, before that does anything.

use raft_core::replica::RequestError;
use raft_core::{ClusterId, Configuration, Member, NodeId, Outcome, RequestId, Time};

use super::disk::MemoryDisk;
use super::mechanism::{World, create};
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
        if order == Order::Solo && self.server(node).process.is_none() {
            self.leave_stopped(next);
            return request;
        }
        if order == Order::Solo && !self.may_go_alone(node) {
            return request;
        }
        if let Some(status) = self.status(node) {
            let clusters = (status.identity.cluster, self.next_cluster(order));
            self.orders.insert(request, (node, order));
            let members = |other| self.server(other).member;
            let input = order.input(request, &members, next, clusters);
            self.handle(at, node, input);
            self.leaves(next);
        } else if order == Order::Reset {
            self.empty(next);
        }
        request
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
            self.leaving.remove(&node);
        }
    }

    /// An order has its outcome.
    pub(super) fn ordered(&mut self, request: RequestId, outcome: Result<Outcome, RequestError>) {
        match self.orders.remove(&request) {
            Some((node, order)) => {
                if outcome.is_ok() {
                    self.carried_out = Some(request);
                }
                if matches!(outcome, Ok(Outcome::Alone { .. })) && self.is_leaving(node) {
                    let text = "says that it is alone, which its disk does not have".to_string();
                    self.judge.report(Some(node), Invariant::I11, text);
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
