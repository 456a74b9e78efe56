//! What operators order of a healed cluster: it must be carried out (V6).
//!
//! Always holds: an order is given only where enough stores are left to carry it out.

use raft_core::{Member, NodeId, Span};

use super::fault::FaultKind;
use super::run::Run;
use crate::judge::Invariant;
use crate::order::Order;
use crate::workload::Workload;

impl<W: Workload> Run<'_, W> {
    /// In a healed cluster a change of membership is made, and its joint phase ends (V6).
    pub(super) fn change_something(&mut self) {
        let mut faults = self.plan.faults.iter();
        let ordered = faults.any(|fault| matches!(fault.kind, FaultKind::Order { .. }));
        if ordered {
            self.replace_emptied();
        }
        let Some(leader) = self.cluster.leader().filter(|_| ordered) else {
            return;
        };
        let voters = self.voters_of(leader);
        let left = self.left_of(&voters);
        let follower = left.iter().find(|node| **node != leader).copied();
        // Those whose stores are lost vote no more, and have to be outvoted by the rest.
        let enough = 2 * left.len() > voters.len() + 1;
        let Some(node) = follower.filter(|_| enough && !self.is_over()) else {
            return;
        };
        self.carry_out(Order::Demote { node });
        self.carry_out(Order::Promote { node });
        self.carry_out(Order::Transfer { to: None });
        self.tell_outsiders();
    }

    /// Whose store was emptied comes back as another member, in its own place.
    fn replace_emptied(&mut self) {
        let Some(leader) = self.cluster.leader() else {
            return;
        };
        let mut dead = self.voters_of(leader);
        dead.retain(|voter| !self.takes_part(*voter));
        for Member { node, .. } in dead {
            // One that went on alone, and was too late, is where it is: a cluster of its own.
            let elsewhere = self.lost.contains(&node) || self.is_stranger(node);
            if !elsewhere && !self.is_over() {
                self.carry_out(Order::Replace {
                    old: node,
                    new: node,
                });
            }
        }
    }

    /// Whoever was removed knows it, or has been told (V6).
    fn tell_outsiders(&mut self) {
        let end = self.cluster.now() + Span(8 * self.longest_timeout().0);
        let told = self.run_until(end, |run| run.uninformed().is_none());
        if !told && let Some(node) = self.uninformed() {
            let text = format!("node {node} was removed, and nobody has told it");
            self.report(Invariant::V6, &text);
        }
    }

    /// A node that believes to be a member, and is none.
    fn uninformed(&self) -> Option<NodeId> {
        let world = &self.cluster.world;
        let leader = world.leader().and_then(|(node, _)| world.status(node))?;
        let mut nodes = world.nodes().filter(|node| !self.is_stranger(*node));
        nodes.find(|node| {
            let Some(status) = world.status(*node) else {
                return false;
            };
            let member = status.identity.member;
            let alerted = world.removed.contains(node);
            let believes = status.configuration.contains(member);
            believes && !leader.configuration.contains(member) && !alerted
        })
    }

    /// An order is given until it is carried out: one may come too early, or while another one is.
    fn carry_out(&mut self, order: Order) {
        let mut given = Vec::new();
        let pause = Span(self.longest_timeout().0 / 4);
        let mut next = self.cluster.now();
        let end = self.cluster.now() + self.patience();
        let carried_out = self.run_until(end, |run| {
            let world = &run.cluster.world;
            let done = world.carried_out.is_some_and(|done| given.contains(&done));
            // Whoever lost its answer looks.
            if done || (!given.is_empty() && run.is_as_ordered(order)) {
                return run.has_converged();
            }
            if world.orders.is_empty() && run.cluster.now() >= next {
                next = run.cluster.now() + pause;
                let leader = run.cluster.leader().unwrap_or(NodeId(1));
                given.push(run.cluster.order(leader, order));
            }
            false
        });
        if !carried_out && !self.is_over() {
            let text = format!("a healed cluster does not carry out an order: {order}");
            self.report(Invariant::V6, &text);
        }
    }

    /// Whether the membership is what an order asks for.
    fn is_as_ordered(&self, order: Order) -> bool {
        let world = &self.cluster.world;
        let Some((leader, _)) = world.leader() else {
            return false;
        };
        let Some(configuration) = world.status(leader).map(|status| status.configuration) else {
            return false;
        };
        let member = |node| world.server(node).member;
        match order {
            Order::Add { node } | Order::AddAtOnce { node } | Order::Promote { node } => {
                configuration.is_voter(member(node))
            }
            Order::Replace { old, new } => {
                configuration.is_voter(member(new))
                    && (old == new || !configuration.contains(member(old)))
            }
            Order::Learner { node } | Order::Demote { node } => {
                configuration.learners.contains(&member(node))
            }
            Order::Remove { node } | Order::RemoveAtOnce { node } => {
                !configuration.contains(member(node))
            }
            Order::Transfer { .. } | Order::StepDown | Order::Reset | Order::Solo => false,
        }
    }
}
