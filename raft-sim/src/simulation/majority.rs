//! Which nodes have to heal for a cluster to go on, while everything else stays as bad as it is.
//!
//! Always holds: they are a majority of every configuration that any node believes in, so whichever of these is
//! decided among them, the others are not needed.

use raft_core::{Configuration, Index, Member, Members, NodeId};

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

    /// Whether everybody whose vote somebody counts on is there to give it, as far as anybody can know: whoever
    /// changes who takes part while one of them has left, or may have, can lose the majority of the rest.
    pub(super) fn is_complete(&self) -> bool {
        let world = &self.cluster.world;
        let leaves = |node: &NodeId| world.is_leaving(*node);
        let servers = self.takers();
        !servers.iter().any(leaves)
            && self.believed(&servers).all(|(_, configuration)| {
                let mut voters = configuration.voters.iter().chain(&configuration.outgoing);
                !voters.any(|voter| world.left.contains(voter))
            })
    }

    /// Whether nobody is about to take part who does not, nor the other way round.
    pub(super) fn is_settled(&self) -> bool {
        let mut believed = self.believed(&self.takers());
        self.cluster.world.orders.is_empty()
            && self.is_complete()
            && !believed.any(|(_, configuration)| configuration.is_joint())
    }

    /// What these nodes believe about who takes part, and since when.
    fn believed<'a>(
        &'a self,
        nodes: &[NodeId],
    ) -> impl Iterator<Item = (Index, &'a Configuration)> + use<'a, W> {
        let judge = &self.cluster.world.judge;
        let believed = nodes
            .iter()
            .filter_map(|node| judge.configuration_of(*node));
        believed.collect::<Vec<_>>().into_iter()
    }

    fn can_go_on_with(&self, nodes: &[NodeId]) -> bool {
        let mut believed = self.believed(&self.takers());
        believed.all(|(since, configuration)| {
            [&configuration.voters, &configuration.outgoing]
                .into_iter()
                .all(|voters| voters.is_empty() || self.is_majority(nodes, voters, since))
        })
    }

    fn is_majority(&self, nodes: &[NodeId], voters: &Members, since: Index) -> bool {
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
