//! Which nodes have to heal for a cluster to go on, while everything else stays as bad as it is.
//!
//! Always holds: they are a majority of every configuration that any node believes in, so whichever of these is
//! decided among them, the others are not needed.

use std::collections::BTreeSet;

use raft_core::{Index, Member, NodeId};

use super::run::Run;
use crate::workload::Workload;

impl<W: Workload> Run<'_, W> {
    /// The plan's majority, with as many others as are needed because membership has changed since.
    pub(super) fn majority(&self) -> Vec<NodeId> {
        let mut others = self.takers();
        let mut nodes = self.plan.core.clone();
        nodes.retain(|node| others.contains(node));
        others.retain(|node| !nodes.contains(node));
        // Whoever came last is the first to be needed.
        while !self.can_go_on_with(&nodes) {
            let Some(node) = others.pop() else {
                break;
            };
            nodes.push(node);
        }
        nodes
    }

    /// Whether these are all there are, or a majority of every configuration that any node believes in.
    pub(super) fn needs_nobody_but(&self, nodes: &[NodeId]) -> bool {
        self.takers().iter().all(|node| nodes.contains(node)) || self.can_go_on_with(nodes)
    }

    /// The nodes that take part in this cluster, or may.
    fn takers(&self) -> Vec<NodeId> {
        let mut nodes = self.cluster.nodes();
        nodes.retain(|node| !self.is_stranger(*node) && !self.lost.contains(node));
        nodes
    }

    fn can_go_on_with(&self, nodes: &[NodeId]) -> bool {
        let servers = self.takers();
        let judge = &self.cluster.world.judge;
        let mut believed = servers
            .iter()
            .filter_map(|node| judge.configuration_of(*node));
        believed.all(|(since, configuration)| {
            [&configuration.voters, &configuration.outgoing]
                .into_iter()
                .all(|voters| voters.is_empty() || self.is_majority(nodes, voters, since))
        })
    }

    fn is_majority(&self, nodes: &[NodeId], voters: &BTreeSet<Member>, since: Index) -> bool {
        let able = voters.iter().filter(|voter| {
            nodes.contains(&voter.node)
                && self.takes_part(**voter)
                && !self.has_left(**voter, since)
        });
        2 * able.count() > voters.len()
    }

    /// Whether a member believes that it votes no more, in a configuration as late as this or later. It may have
    /// more of the log than those who count on its vote, and does not campaign itself.
    fn has_left(&self, member: Member, since: Index) -> bool {
        let believes = self.cluster.world.judge.configuration_of(member.node);
        believes.is_some_and(|(at, configuration)| at >= since && !configuration.is_voter(member))
    }
}
