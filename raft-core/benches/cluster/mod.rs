//! Nodes in one thread: what they send is moved, not encoded, and the disk and the state machine take no time.

pub(crate) mod node;

use std::collections::VecDeque;
use std::hint::black_box;

use raft_core::{Action, Bytes, Envelope, Event, Input, Node, RequestId, RoleKind, Time};

use self::node::{carried_out, node};

/// A cluster whose first node leads, and a load of commands of one size.
pub(crate) struct Cluster {
    nodes: Vec<Node>,
    /// Whether a node was handed something since it was drained.
    handed: Vec<bool>,
    queue: VecDeque<Box<Envelope>>,
    actions: Vec<Action>,
    requests: u64,
    payload: Bytes,
}

impl Cluster {
    /// So many nodes, and commands of so many bytes.
    pub(crate) fn new(nodes: u64, bytes: usize) -> Self {
        let mut cluster = Self {
            nodes: (1..=nodes).map(|id| node(id, nodes)).collect(),
            handed: (1..=nodes).map(|_| false).collect(),
            queue: VecDeque::new(),
            actions: Vec::new(),
            requests: 0,
            payload: Bytes::from(vec![7; bytes]),
        };
        cluster.handle(0, Input::Campaign);
        cluster.settle();
        assert_eq!(cluster.nodes[0].status().role, RoleKind::Leader);
        cluster
    }

    fn handle(&mut self, node: usize, input: Input) {
        self.handed[node] = true;
        self.nodes[node].handle(Event { at: Time(1), input });
    }

    fn drain(&mut self, node: usize) {
        self.handed[node] = false;
        let mut actions = std::mem::take(&mut self.actions);
        self.nodes[node].drain(&mut actions);
        for action in actions.drain(..) {
            if let Action::Send(envelope) = action {
                self.queue.push_back(envelope);
                continue;
            }
            if let Some(done) = carried_out(&action) {
                self.handle(node, done);
            }
            black_box(&action);
        }
        self.actions = actions;
    }

    fn settle(&mut self) {
        loop {
            // What a node is handed while it is drained comes from its own disk and state machine.
            for node in 0..self.nodes.len() {
                while self.handed[node] {
                    self.drain(node);
                }
            }
            if self.queue.is_empty() {
                return;
            }
            while let Some(envelope) = self.queue.pop_front() {
                let to = usize::try_from(envelope.to.node.0 - 1).expect("a few nodes");
                self.handle(to, Input::Receive(envelope));
            }
        }
    }

    /// Proposes so many commands at the leader, and lets everything happen until nothing more does.
    pub(crate) fn round(&mut self, proposals: u64) {
        for _ in 0..proposals {
            self.requests += 1;
            let request = RequestId(self.requests);
            let command = self.payload.clone();
            self.handle(0, Input::Propose { request, command });
        }
        self.settle();
    }
}
