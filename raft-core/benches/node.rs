//! Three nodes in one thread: commits per second of the consensus core alone.
//!
//! Messages are moved, not encoded; the disk and the state machine take no time. A round proposes so
//! many commands of 128 bytes at the leader, then lets everything happen until nothing more does. The
//! followers hear of the last commit with the next round's append, as they do in production.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "actions may be added; a driver of three healthy nodes needs only some"
)]

use std::collections::VecDeque;
use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use raft_core::{
    Action, Bytes, ClusterId, Configuration, Envelope, Event, GroupId, Identity, Input, Member,
    Node, NodeId, Options, RequestId, Restored, RoleKind, StorageId, Time,
};

struct Cluster {
    nodes: Vec<Node>,
    queue: VecDeque<Envelope>,
    actions: Vec<Action>,
    requests: u64,
    payload: Bytes,
}

fn member(node: u64) -> Member {
    Member {
        node: NodeId(node),
        store: StorageId(node.into()),
    }
}

impl Cluster {
    fn new(nodes: u64) -> Self {
        let node = |n| {
            let restored = Restored::new(
                Identity {
                    group: GroupId(0),
                    cluster: ClusterId(1),
                    member: member(n),
                },
                Configuration::of_voters((1..=nodes).map(member)),
            );
            Node::new(Time(1), Options::default(), restored).expect("a new node")
        };
        let mut cluster = Self {
            nodes: (1..=nodes).map(node).collect(),
            queue: VecDeque::new(),
            actions: Vec::new(),
            requests: 0,
            payload: Bytes::from(vec![7; 128]),
        };
        cluster.handle(0, Input::Campaign);
        cluster.settle();
        assert_eq!(cluster.nodes[0].status().role, RoleKind::Leader);
        cluster
    }

    fn handle(&mut self, node: usize, input: Input) {
        self.nodes[node].handle(Event { at: Time(1), input });
    }

    fn drain(&mut self, node: usize) -> bool {
        let mut actions = std::mem::take(&mut self.actions);
        self.nodes[node].drain(&mut actions);
        let busy = !actions.is_empty();
        for action in actions.drain(..) {
            match action {
                Action::Send(envelope) => self.queue.push_back(envelope),
                Action::Persist(persist) => self.handle(
                    node,
                    Input::Persisted {
                        store: persist.store,
                        boot: persist.boot,
                        id: persist.id,
                    },
                ),
                Action::Apply { entries } => {
                    let index = entries[entries.len() - 1].id.index;
                    self.handle(node, Input::Applied { index });
                    black_box(entries);
                }
                other => drop(black_box(other)),
            }
        }
        self.actions = actions;
        busy
    }

    fn settle(&mut self) {
        loop {
            let mut busy = false;
            for node in 0..self.nodes.len() {
                busy |= self.drain(node);
            }
            while let Some(envelope) = self.queue.pop_front() {
                busy = true;
                let to = usize::try_from(envelope.to.node.0 - 1).expect("a few nodes");
                self.handle(to, Input::Receive(envelope));
            }
            if !busy {
                return;
            }
        }
    }

    fn round(&mut self, proposals: u64) {
        for _ in 0..proposals {
            self.requests += 1;
            let request = RequestId(self.requests);
            let command = self.payload.clone();
            self.handle(0, Input::Propose { request, command });
        }
        self.settle();
    }
}

fn commits(criterion: &mut Criterion) {
    for nodes in [3, 5] {
        let mut group = criterion.benchmark_group(format!("commits/{nodes} nodes/128 B"));
        for outstanding in [1, 64, 1_024] {
            group.throughput(Throughput::Elements(outstanding));
            let mut cluster = Cluster::new(nodes);
            let id = BenchmarkId::from_parameter(outstanding);
            group.bench_function(id, |bencher| bencher.iter(|| cluster.round(outstanding)));
        }
        group.finish();
    }
}

criterion_group!(benches, commits);
criterion_main!(benches);
