//! Nodes in one thread: what they send is moved, not encoded, and the disk and the state machine take no time.

pub(crate) mod node;

use std::collections::VecDeque;
use std::hint::black_box;

use raft_core::{Action, Bytes, Envelope, Event, Input, Node, RequestId, RoleKind, Time};

use self::node::{carried_out, node};

/// A node, and whether it was handed something since it was drained.
struct Place {
    node: Node,
    handed: bool,
}

impl Place {
    fn handle(&mut self, input: Input) {
        self.handed = true;
        self.node.handle(Event { at: Time(1), input });
    }
}

/// A cluster whose first node leads, and a load of commands of one size.
pub(crate) struct Cluster {
    places: Vec<Place>,
    queue: VecDeque<Box<Envelope>>,
    actions: Vec<Action>,
    requests: u64,
    payload: Bytes,
}

impl Cluster {
    /// So many nodes, and commands of so many bytes.
    pub(crate) fn new(nodes: u64, bytes: usize) -> Self {
        let place = |id| Place {
            node: node(id, nodes),
            handed: false,
        };
        let mut cluster = Self {
            places: (1..=nodes).map(place).collect(),
            queue: VecDeque::new(),
            actions: Vec::new(),
            requests: 0,
            payload: Bytes::from(vec![7; bytes]),
        };
        cluster.places[0].handle(Input::Campaign);
        cluster.settle();
        assert_eq!(cluster.places[0].node.status().role, RoleKind::Leader);
        cluster
    }

    fn settle(&mut self) {
        loop {
            for place in &mut self.places {
                // What a node is handed while it is drained comes from its own disk and state machine.
                while place.handed {
                    place.handed = false;
                    place.node.drain(&mut self.actions);
                    black_box(&self.actions);
                    for action in self.actions.drain(..) {
                        if let Action::Send(envelope) = action {
                            self.queue.push_back(envelope);
                        } else if let Some(done) = carried_out(&action) {
                            place.handle(done);
                        }
                    }
                }
            }
            if self.queue.is_empty() {
                return;
            }
            while let Some(envelope) = self.queue.pop_front() {
                let to = usize::try_from(envelope.to.node.0 - 1).expect("a few nodes");
                self.places[to].handle(Input::Receive(envelope));
            }
        }
    }

    /// Proposes so many commands at the leader, and lets everything happen until nothing more does.
    pub(crate) fn round(&mut self, proposals: u64) {
        let leader = &mut self.places[0];
        for _ in 0..proposals {
            self.requests += 1;
            let request = RequestId(self.requests);
            let command = self.payload.clone();
            leader.handle(Input::Propose { request, command });
        }
        self.settle();
    }
}
