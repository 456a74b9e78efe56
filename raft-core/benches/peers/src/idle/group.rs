//! A group of our nodes on their own: without the buffers of a driver, which are not theirs.

use std::collections::VecDeque;

use raft_core::{Action, Event, Input, Node, RoleKind, Time};

use crate::cluster::node::{carried_out, node};

const NOW: Time = Time(1);

/// So many nodes, of which the first leads, and all know it.
pub(crate) fn elected(nodes: u64) -> Vec<Node> {
    let mut group: Vec<Node> = (1..=nodes).map(|id| node(id, nodes)).collect();
    let mut inputs = VecDeque::from([(0, Input::Campaign)]);
    while let Some((at, input)) = inputs.pop_front() {
        for action in group[at].step(Event { at: NOW, input }) {
            inputs.extend(carried_out(&action).map(|done| (at, done)));
            if let Action::Send(envelope) = action {
                let to = usize::try_from(envelope.to.node.0 - 1).expect("a few nodes");
                inputs.push_back((to, Input::Receive(envelope)));
            }
        }
    }
    assert_eq!(group[0].status().role, RoleKind::Leader);
    let leader = group[0].status().leader;
    assert!(leader.is_some() && group.iter().all(|node| node.status().leader == leader));
    group
}
