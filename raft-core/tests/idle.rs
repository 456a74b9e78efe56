//! An idle cluster takes no memory, however long it idles, and each of its nodes keeps little.

#![expect(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a test that cannot go on has failed, and looks only at what it is about"
)]

use std::collections::VecDeque;
use std::sync::Arc;

use raft_core::{
    Action, Bytes, ClusterId, Configuration, Consistency, Envelope, Event, GroupId, Identity,
    Index, Input, Member, Node, NodeId, Options, RequestId, Restored, RoleKind, StorageId, Time,
};

fn member(node: u64) -> Member {
    Member {
        node: NodeId(node),
        store: StorageId(node.into()),
    }
}

/// A group whose messages, disks and state machines take no time. The first node leads.
struct Group {
    nodes: Vec<Node>,
    now: Time,
    queue: VecDeque<Box<Envelope>>,
    actions: Vec<Action>,
    outcomes: usize,
}

impl Group {
    fn elected(voters: u64, options: &Arc<Options>) -> Self {
        let node = |id| {
            let restored = Restored::new(
                Identity {
                    group: GroupId(0),
                    cluster: ClusterId(1),
                    member: member(id),
                },
                Configuration::of_voters((1..=voters).map(member)),
            );
            Node::new(Time(1), options.clone(), restored).unwrap()
        };
        let mut group = Self {
            nodes: (1..=voters).map(node).collect(),
            now: Time(1),
            queue: VecDeque::new(),
            actions: Vec::new(),
            outcomes: 0,
        };
        group.step(0, Input::Campaign);
        assert_eq!(group.nodes[0].status().role, RoleKind::Leader);
        group
    }

    /// Hands an input to a node, and lets everything happen until nothing more does.
    fn step(&mut self, node: usize, input: Input) {
        self.handle(node, input);
        self.settle();
    }

    fn handle(&mut self, node: usize, input: Input) {
        let at = self.now;
        self.nodes[node].handle(Event { at, input });
    }

    fn settle(&mut self) {
        loop {
            let mut quiet = true;
            for node in 0..self.nodes.len() {
                let mut actions = std::mem::take(&mut self.actions);
                self.nodes[node].drain(&mut actions);
                quiet &= actions.is_empty();
                for action in actions.drain(..) {
                    self.carry_out(node, action);
                }
                self.actions = actions;
            }
            if quiet && self.queue.is_empty() {
                return;
            }
            while let Some(envelope) = self.queue.pop_front() {
                let to = usize::try_from(envelope.to.node.0).unwrap() - 1;
                self.handle(to, Input::Receive(envelope));
            }
        }
    }

    fn carry_out(&mut self, node: usize, action: Action) {
        let input = match action {
            Action::Send(envelope) => {
                self.queue.push_back(envelope);
                return;
            }
            Action::Persist(persist) => Input::Persisted {
                store: persist.store,
                boot: persist.boot,
                id: persist.id,
            },
            Action::Apply { entries } => Input::Applied {
                index: entries.last().unwrap().id.index,
            },
            Action::Resolve { .. } => {
                self.outcomes += 1;
                return;
            }
            _ => return,
        };
        self.handle(node, input);
    }

    /// The leader lets its followers know so many times.
    fn beat(&mut self, times: u64) {
        for _ in 0..times {
            self.now = self.nodes[0].next_deadline().unwrap();
            self.step(0, Input::Tick);
        }
    }
}

#[test]
fn heartbeats_and_their_answers_allocate_nothing() {
    let mut group = Group::elected(5, &Arc::new(Options::default()));
    group.beat(3);
    let measured = allocation_counter::measure(|| group.beat(100));
    assert_eq!(measured.count_total, 0, "{measured:?}");
    assert_eq!(group.nodes[4].status().commit_index, Index(1));
}

/// What a node of a group of three gives back, options aside, which groups share: the first one leads. What it
/// shares with the others of its group counts as its own.
fn kept(node: usize, lived: impl Fn(&mut Group)) -> u64 {
    let options = Arc::new(Options::default());
    let mut group = Group::elected(3, &options);
    // In vain, so that all have heard of all.
    group.step(1, Input::Campaign);
    lived(&mut group);
    // Longer than anybody waits for a leader.
    group.beat(8);
    let node = Box::new(group.nodes.swap_remove(node));
    drop(group);
    let measured = allocation_counter::measure(|| drop(node));
    measured.bytes_current.unsigned_abs()
}

#[test]
fn a_follower_of_an_idle_group_keeps_no_more_than_a_kilobyte() {
    for node in [1, 2] {
        let bytes = kept(node, |_| {});
        assert!(bytes <= 1_024, "node {node}: {bytes}");
    }
}

#[test]
fn a_leader_of_an_idle_group_keeps_less_than_three_times_as_much() {
    let bytes = kept(0, |_| {});
    assert!(bytes <= 2_560, "{bytes}");
}

/// The counters that it needs to go on with, and nothing else.
#[test]
fn what_a_follower_needed_for_requests_it_gives_back_when_they_are_through() {
    let before = kept(2, |_| {});
    let after = kept(2, |group| {
        for request in 0..100 {
            let consistency = Consistency::Linearizable;
            let request = RequestId(request);
            group.handle(
                2,
                Input::Read {
                    request,
                    consistency,
                },
            );
        }
        group.settle();
        assert_eq!(group.outcomes, 100);
    });
    assert!(after <= before + 128, "{before} before, {after} after");
}

/// All that is left of a burst is the log.
#[test]
fn what_a_burst_of_proposals_needed_is_given_back() {
    let commands = |count: u64| {
        move |group: &mut Group| {
            for request in 0..count {
                let command = Bytes::from_static(b"x");
                let request = RequestId(request);
                group.handle(0, Input::Propose { request, command });
            }
            group.settle();
            assert_eq!(group.outcomes, usize::try_from(count).unwrap());
        }
    };
    for node in 0..3 {
        let (few, many) = (kept(node, commands(1)), kept(node, commands(1_000)));
        let log = 999 * size_of::<raft_core::Entry>() as u64;
        // The sizes of the log in steps of a kilobyte, in a list that grew by doubling.
        let sizes = 128 * 16;
        assert!(many <= few + log + sizes, "node {node}: {few} and {many}");
    }
}
