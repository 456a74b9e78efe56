//! Three nodes driven by hand, in one thread and without a disk: what a runtime of your own has to do.
//!
//! `cargo run -p raft-core --example custom_runtime`

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "actions may be added; a driver of three healthy nodes needs only some"
)]

use std::collections::VecDeque;

use raft_core::{
    Action, Bytes, ClusterId, Configuration, Envelope, Event, GroupId, Identity, Input, Member,
    Node, NodeId, Observation, Options, Payload, RequestId, Restored, StorageId, Time,
};

fn member(node: u64) -> Member {
    Member {
        node: NodeId(node),
        store: StorageId(node.into()),
    }
}

/// A new node: on a real disk, `raft_core::wal::Wal::recover` would tell all of this.
fn new_node(node: u64) -> Node {
    let restored = Restored::new(
        Identity {
            group: GroupId(0),
            cluster: ClusterId(0xc0ffee),
            member: member(node),
        },
        Configuration::of_voters((1..=3).map(member)),
    );
    Node::new(Time(0), Options::default(), restored).expect("nothing restored contradicts itself")
}

/// Carries out what one node asks for.
fn carry_out(
    node: &mut Node,
    actions: Vec<Action>,
    network: &mut VecDeque<Box<Envelope>>,
    now: Time,
) {
    for action in actions {
        let input = match action {
            // One-way, and it may be lost: the node sends again what matters.
            Action::Send(envelope) => {
                network.push_back(envelope);
                continue;
            }
            // Write `persist.hard_state` and `persist.entries` to a disk and sync, then:
            Action::Persist(persist) => Input::Persisted {
                store: persist.store,
                boot: persist.boot,
                id: persist.id,
            },
            // Feed the state machine, then:
            Action::Apply { entries } => {
                let id = node.status().identity.member.node;
                for entry in entries.iter() {
                    if let Payload::Command(command) = &entry.payload {
                        println!("node {id} applies {}: {command:?}", entry.id.index);
                    }
                }
                let index = entries[entries.len() - 1].id.index;
                Input::Applied { index }
            }
            Action::Resolve { request, outcome } => {
                println!("request {request} ended: {outcome:?}");
                continue;
            }
            Action::Observed(Observation::Role { term, role }) => {
                let id = node.status().identity.member.node;
                println!("node {id} is {} in term {term}", role.as_str());
                continue;
            }
            Action::Halt(reason) => panic!("{reason}"),
            // Nothing is evicted from memory in so short a run, hence no `ReadLog`.
            _ => continue,
        };
        let actions = node.step(Event { at: now, input });
        carry_out(node, actions, network, now);
    }
}

fn main() {
    let mut nodes: Vec<Node> = (1..=3).map(new_node).collect();
    let mut network = VecDeque::new();
    let mut now = Time(0);
    let mut proposed = false;
    for _ in 0..1_000 {
        // A real runtime would wait here for a message, a completion, or the earliest deadline.
        if network.is_empty() {
            let deadlines = nodes.iter().filter_map(Node::next_deadline);
            now = deadlines.min().unwrap_or(now);
            for node in &mut nodes {
                let actions = node.step(Event {
                    at: now,
                    input: Input::Tick,
                });
                carry_out(node, actions, &mut network, now);
            }
        }
        while let Some(envelope) = network.pop_front() {
            let to = usize::try_from(envelope.to.node.0 - 1).expect("three nodes");
            let input = Input::Receive(envelope);
            let actions = nodes[to].step(Event { at: now, input });
            carry_out(&mut nodes[to], actions, &mut network, now);
        }
        let applied = nodes.iter().all(|node| node.status().last_applied.0 == 2);
        if applied {
            return;
        }
        if let Some(leader) = nodes
            .iter()
            .position(|n| n.status().leader == Some(member_of(n)))
            && !proposed
        {
            proposed = true;
            let input = Input::Propose {
                request: RequestId(1),
                command: Bytes::from_static(b"hello"),
            };
            let actions = nodes[leader].step(Event { at: now, input });
            carry_out(&mut nodes[leader], actions, &mut network, now);
        }
    }
    panic!("three nodes without faults agree within a thousand steps");
}

fn member_of(node: &Node) -> Member {
    node.status().identity.member
}
