//! An idle cluster takes no memory, however long it idles.

#![expect(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a test that cannot go on has failed, and looks only at what it is about"
)]

use std::collections::VecDeque;

use raft_core::{
    Action, ClusterId, Configuration, Envelope, Event, GroupId, Identity, Index, Input, Member,
    Node, NodeId, Options, Restored, RoleKind, StorageId, Time,
};

fn member(node: u64) -> Member {
    Member {
        node: NodeId(node),
        store: StorageId(node.into()),
    }
}

fn node(id: u64) -> Node {
    let restored = Restored::new(
        Identity {
            group: GroupId(0),
            cluster: ClusterId(1),
            member: member(id),
        },
        Configuration::of_voters((1..=5).map(member)),
    );
    Node::new(Time(1), Options::default(), restored).unwrap()
}

/// Lets messages, disks and state machines take no time, until nothing more happens.
fn settle(
    nodes: &mut [Node],
    now: Time,
    queue: &mut VecDeque<Box<Envelope>>,
    actions: &mut Vec<Action>,
) {
    loop {
        let mut quiet = true;
        for node in nodes.iter_mut() {
            node.drain(actions);
            quiet &= actions.is_empty();
            for action in actions.drain(..) {
                let input = match action {
                    Action::Send(envelope) => {
                        queue.push_back(envelope);
                        continue;
                    }
                    Action::Persist(persist) => Input::Persisted {
                        store: persist.store,
                        boot: persist.boot,
                        id: persist.id,
                    },
                    Action::Apply { entries } => Input::Applied {
                        index: entries.last().unwrap().id.index,
                    },
                    _ => continue,
                };
                node.handle(Event { at: now, input });
            }
        }
        if quiet && queue.is_empty() {
            return;
        }
        for envelope in queue.drain(..) {
            let to = usize::try_from(envelope.to.node.0).unwrap() - 1;
            let input = Input::Receive(envelope);
            nodes[to].handle(Event { at: now, input });
        }
    }
}

#[test]
fn heartbeats_and_their_answers_allocate_nothing() {
    let mut nodes: Vec<Node> = (1..=5).map(node).collect();
    let (mut queue, mut actions, mut now) = (VecDeque::new(), Vec::new(), Time(1));
    nodes[0].handle(Event {
        at: now,
        input: Input::Campaign,
    });
    settle(&mut nodes, now, &mut queue, &mut actions);
    assert_eq!(nodes[0].status().role, RoleKind::Leader);
    let mut rounds = |count: u64| {
        for _ in 0..count {
            now = nodes[0].next_deadline().unwrap();
            let input = Input::Tick;
            nodes[0].handle(Event { at: now, input });
            settle(&mut nodes, now, &mut queue, &mut actions);
        }
    };
    rounds(3);
    let measured = allocation_counter::measure(|| rounds(100));
    assert_eq!(measured.count_total, 0, "{measured:?}");
    assert_eq!(nodes[4].status().commit_index, Index(1));
}
