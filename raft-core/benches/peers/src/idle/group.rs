//! A group of our nodes on their own: without the buffers of a driver, which are not theirs.

use std::collections::VecDeque;
use std::sync::Arc;

use raft_core::{Action, Event, Input, Node, Options, RoleKind, Time};

use crate::cluster::node::{carried_out, node_with};

/// How often the leader lets its followers know before the group counts as idle.
const HEARTBEATS: u64 = 3;

/// So many nodes, of which the first leads, and all know it and have done nothing else for a while. They share their
/// options with all other groups.
pub(crate) fn idle(nodes: u64, options: &Arc<Options>) -> Vec<Node> {
    let new = |id| node_with(id, nodes, options.clone());
    let mut group: Vec<Node> = (1..=nodes).map(new).collect();
    settle(&mut group, Time(1), Input::Campaign);
    for _ in 0..HEARTBEATS {
        let due = group[0].next_deadline().expect("a leader beats");
        settle(&mut group, due, Input::Tick);
    }
    assert_eq!(group[0].status().role, RoleKind::Leader);
    let leader = group[0].status().leader;
    assert!(leader.is_some() && group.iter().all(|node| node.status().leader == leader));
    group
}

/// Hands an input to the first, and carries out what follows until nothing more does.
fn settle(group: &mut [Node], now: Time, input: Input) {
    let mut inputs = VecDeque::from([(0, input)]);
    while let Some((at, input)) = inputs.pop_front() {
        for action in group[at].step(Event { at: now, input }) {
            inputs.extend(carried_out(&action).map(|done| (at, done)));
            if let Action::Send(envelope) = action {
                let to = usize::try_from(envelope.to.node.0 - 1).expect("a few nodes");
                inputs.push_back((to, Input::Receive(envelope)));
            }
        }
    }
}
