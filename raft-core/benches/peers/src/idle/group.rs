//! A group of our nodes on their own: without the buffers of a driver, which are not theirs.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "actions may be added; a group that only elects needs few of them"
)]

use std::collections::VecDeque;

use raft_core::{
    Action, ClusterId, Configuration, Event, GroupId, Identity, Input, Member, Node, NodeId,
    Options, Restored, RoleKind, StorageId, Time,
};

const NOW: Time = Time(1);

fn member(node: u64) -> Member {
    Member {
        node: NodeId(node),
        store: StorageId(node.into()),
    }
}

/// One of so many nodes, all of them voters, with an empty log.
pub(crate) fn node(id: u64, nodes: u64) -> Node {
    let restored = Restored::new(
        Identity {
            group: GroupId(0),
            cluster: ClusterId(1),
            member: member(id),
        },
        Configuration::of_voters((1..=nodes).map(member)),
    );
    Node::new(NOW, Options::default(), restored).expect("a new node")
}

/// So many nodes, of which the first leads, and all know it.
pub(crate) fn elected(nodes: u64) -> Vec<Node> {
    let mut group: Vec<Node> = (1..=nodes).map(|id| node(id, nodes)).collect();
    let mut inputs = VecDeque::from([(0, Input::Campaign)]);
    while let Some((at, input)) = inputs.pop_front() {
        for action in group[at].step(Event { at: NOW, input }) {
            match action {
                Action::Send(envelope) => {
                    let to = usize::try_from(envelope.to.node.0 - 1).expect("a few nodes");
                    inputs.push_back((to, Input::Receive(envelope)));
                }
                Action::Persist(persist) => inputs.push_back((
                    at,
                    Input::Persisted {
                        store: persist.store,
                        boot: persist.boot,
                        id: persist.id,
                    },
                )),
                Action::Apply { entries } => {
                    let index = entries[entries.len() - 1].id.index;
                    inputs.push_back((at, Input::Applied { index }));
                }
                other => drop(other),
            }
        }
    }
    assert_eq!(group[0].status().role, RoleKind::Leader);
    let leader = group[0].status().leader;
    assert!(leader.is_some() && group.iter().all(|node| node.status().leader == leader));
    group
}
