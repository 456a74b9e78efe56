//! Whole clusters that take snapshots, over real logs on a virtual network.

#![expect(
    clippy::cast_possible_truncation,
    reason = "a test that cannot go on has failed, and looks only at what it is about"
)]

use raft_core::replica::{Applied, Serde, StateMachine};
use raft_core::{Index, NodeId, Options, Span};
use raft_sim::{Cluster, Network};

/// Remembers every command in order: what was lost, repeated or reordered shows.
#[derive(Debug, Default)]
struct Journal(Vec<u64>);

impl StateMachine for Journal {
    type Command = Serde<u64>;
    type Query = ();
    type Reply = u64;

    fn apply(&mut self, entry: Applied<Serde<u64>>) -> u64 {
        self.0.push(entry.command.0);
        entry.command.0
    }

    fn query(&self, (): &()) -> u64 {
        self.0.len() as u64
    }

    type Image = Serde<Vec<u64>>;

    fn image(&self) -> Serde<Vec<u64>> {
        Serde(self.0.clone())
    }

    fn restore(&mut self, image: Serde<Vec<u64>>) {
        self.0 = image.0;
    }
}

const SECOND: Span = Span(1_000_000_000);

fn options(seed: u64) -> Options {
    Options {
        seed,
        snapshot_log_bytes: 2_000,
        compact_keep_bytes: 300,
        compact_wait_bytes_max: 600,
        snapshot_chunk_bytes: 64,
        tail_bytes_max: 0,
        ..Options::default()
    }
}

fn write(cluster: &mut Cluster<Journal>, values: std::ops::Range<u64>) {
    for value in values {
        let leader = cluster.elect();
        let request = cluster.propose(leader, Serde(value));
        cluster
            .run_until(|cluster| cluster.reply(request).is_some() || !cluster.is_running(leader));
    }
}

fn others(cluster: &Cluster<Journal>, node: NodeId) -> Vec<NodeId> {
    let mut nodes = cluster.nodes();
    nodes.retain(|other| *other != node);
    nodes
}

/// Everybody's state is the same, and everybody's log is short.
fn check(cluster: &mut Cluster<Journal>) {
    cluster.run_for(Span(20 * SECOND.0));
    let leader = cluster.elect();
    write(cluster, 1_000_000..1_000_001);
    cluster.run_for(SECOND);
    let journal = cluster.machine(leader).0.clone();
    for node in cluster.nodes() {
        assert_eq!(cluster.machine(node).0, journal, "node {node} agrees");
        let status = cluster.status(node);
        let entries = status.last.index.0 - status.first.0;
        assert!(entries < 200, "node {node} keeps {entries} entries");
    }
}

#[test]
fn a_follower_that_was_cut_off_for_long_catches_up_by_a_snapshot() {
    let mut cluster = Cluster::<Journal>::with_options(3, Network::default(), options(1));
    let leader = cluster.elect();
    let lonely = others(&cluster, leader)[0];
    let rest = others(&cluster, lonely);
    cluster.partition(&[lonely], &rest);
    write(&mut cluster, 0..300);
    let first = cluster.status(leader).first;
    assert!(
        first > cluster.status(lonely).last.index,
        "the log was compacted"
    );
    cluster.heal();
    check(&mut cluster);
    let snapshot = cluster.status(lonely).snapshot.map(|id| id.index);
    assert!(snapshot >= Some(first.previous()), "a snapshot came");
}

#[test]
fn a_node_that_was_down_for_long_catches_up_by_a_snapshot_and_begins_from_it_again() {
    let mut cluster = Cluster::<Journal>::with_options(3, Network::default(), options(2));
    let leader = cluster.elect();
    let away = others(&cluster, leader)[0];
    cluster.lose_power(away);
    write(&mut cluster, 0..300);
    cluster.start(away).expect("the log is whole");
    check(&mut cluster);
    cluster.lose_power(away);
    cluster.start(away).expect("the log is whole");
    let restoring = cluster.status(away).restoring.map(|id| id.index);
    assert!(restoring > Some(Index(200)), "it begins from a snapshot");
    check(&mut cluster);
}

#[test]
fn an_operator_gets_a_snapshot_when_there_is_one_to_take() {
    let mut cluster = Cluster::<Journal>::with_options(3, Network::default(), Options::default());
    write(&mut cluster, 0..10);
    let leader = cluster.elect();
    let request = cluster.snapshot(leader);
    cluster.run_until(|cluster| cluster.snapshotted(request).is_some());
    let id = cluster.snapshotted(request).expect("just seen");
    assert_eq!(id.map(|id| id.index), Ok(cluster.status(leader).last.index));
    assert_eq!(cluster.status(leader).snapshot, id.ok());
}

/// Random faults, with small snapshots all the time.
fn survive(seed: u64, nodes: u64) {
    let mut cluster = Cluster::<Journal>::with_options(nodes, Network::bad(), options(seed));
    let all = cluster.nodes();
    let pick = |cluster: &mut Cluster<Journal>| all[cluster.draw(nodes) as usize];
    for step in 0..500 {
        let node = pick(&mut cluster);
        match cluster.draw(24) {
            0 if cluster.is_running(node) => cluster.kill(node),
            1 if cluster.is_running(node) => cluster.lose_power(node),
            2 | 3 if !cluster.is_running(node) => cluster.start(node).expect("the log is whole"),
            4 => {
                let other = pick(&mut cluster);
                cluster.partition(&[node], &[other]);
            }
            5 | 6 => cluster.heal(),
            7 if cluster.is_running(node) => {
                cluster.snapshot(node);
            }
            _ if cluster.is_running(node) => {
                for part in 0..8 {
                    cluster.propose(node, Serde(8 * step + part));
                }
            }
            _ => {}
        }
        let pause = cluster.draw(60_000_000);
        cluster.run_for(Span(pause));
    }
    cluster.heal();
    for node in cluster.nodes() {
        if !cluster.is_running(node) {
            cluster.start(node).expect("the log is whole");
        }
    }
    check(&mut cluster);
}

#[test]
fn clusters_that_take_snapshots_survive_random_faults() {
    for seed in 0..20 {
        survive(seed, 3);
    }
    for seed in 20..26 {
        survive(seed, 5);
    }
}
