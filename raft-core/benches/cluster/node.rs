//! One of several nodes, whose disk and state machine take no time.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "actions may be added; healthy nodes need only some"
)]

use std::sync::Arc;

use raft_core::{
    Action, ClusterId, Configuration, GroupId, Identity, Input, Member, Node, NodeId, Options,
    Restored, StorageId, Time,
};

const ROUND_BYTES: u64 = 2 << 20;

fn member(node: u64) -> Member {
    Member {
        node: NodeId(node),
        store: StorageId(node.into()),
    }
}

/// One of so many nodes, all of them voters, with an empty log.
pub(crate) fn node(id: u64, nodes: u64) -> Node {
    // Room for the largest round in one append, as the other core has it, whose batches have no bound.
    let options = Options {
        append_bytes_max: ROUND_BYTES,
        ..Options::default()
    };
    node_with(id, nodes, options)
}

/// The same; groups may share their options.
pub(crate) fn node_with(id: u64, nodes: u64, options: impl Into<Arc<Options>>) -> Node {
    Node::new(Time(1), options, restored(id, nodes)).expect("a new node")
}

/// What a new node finds on its disk.
pub(crate) fn restored(id: u64, nodes: u64) -> Restored {
    Restored::new(
        Identity {
            group: GroupId(0),
            cluster: ClusterId(1),
            member: member(id),
        },
        Configuration::of_voters((1..=nodes).map(member)),
    )
}

/// What the disk or the state machine says to an action at once, if it is for one of them.
pub(crate) fn carried_out(action: &Action) -> Option<Input> {
    match action {
        Action::Persist(persist) => Some(Input::Persisted {
            store: persist.store,
            boot: persist.boot,
            id: persist.id,
        }),
        Action::Apply { entries } => {
            let index = entries[entries.len() - 1].id.index;
            Some(Input::Applied { index })
        }
        _ => None,
    }
}
