//! Whole clusters in one process: real replicas over real logs on a virtual network.

#![expect(
    clippy::cast_possible_truncation,
    reason = "a test that cannot go on has failed, and looks only at what it is about"
)]

use std::collections::BTreeMap;

use raft_core::replica::{Applied, RequestError, Serde, StateMachine};
use raft_core::{DiskHealth, NodeId, Rejection, RequestId, RoleKind, Span};
use raft_sim::{Cluster, Network};

/// Remembers every command in order: what was lost, repeated or reordered shows.
#[derive(Debug, Default)]
struct Journal(Vec<u64>);

impl StateMachine for Journal {
    type Command = Serde<u64>;
    type Query = ();
    type Reply = Vec<u64>;

    fn apply(&mut self, entry: Applied<Serde<u64>>) -> Vec<u64> {
        self.0.push(entry.command.0);
        vec![entry.command.0]
    }

    fn query(&self, (): &()) -> Vec<u64> {
        self.0.clone()
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

fn others(cluster: &Cluster<Journal>, node: NodeId) -> Vec<NodeId> {
    let mut nodes = cluster.nodes();
    nodes.retain(|other| *other != node);
    nodes
}

fn write(cluster: &mut Cluster<Journal>, node: NodeId, value: u64) {
    let request = cluster.propose(node, Serde(value));
    cluster.run_until(|cluster| cluster.reply(request).is_some());
    assert_eq!(cluster.reply(request), Some(&Ok(vec![value])));
}

#[test]
fn three_nodes_elect_a_leader_and_replicate() {
    let mut cluster = Cluster::<Journal>::new(3, 1, Network::default());
    let leader = cluster.elect();
    for value in 0..100 {
        write(&mut cluster, leader, value);
    }
    cluster.run_for(SECOND);
    for node in cluster.nodes() {
        assert_eq!(cluster.machine(node).0, (0..100).collect::<Vec<_>>());
    }
}

#[test]
fn a_follower_takes_writes_and_reads_for_its_leader() {
    let mut cluster = Cluster::<Journal>::new(3, 2, Network::default());
    let leader = cluster.elect();
    cluster.run_for(SECOND);
    let follower = others(&cluster, leader)[0];
    write(&mut cluster, follower, 7);
    let request = cluster.query(others(&cluster, leader)[1], ());
    cluster.run_until(|cluster| cluster.reply(request).is_some());
    assert_eq!(cluster.reply(request), Some(&Ok(vec![7])));
}

#[test]
fn a_partitioned_leader_steps_down_and_commits_nothing() {
    let mut cluster = Cluster::<Journal>::new(3, 3, Network::default());
    let old = cluster.elect();
    write(&mut cluster, old, 1);
    let rest = others(&cluster, old);
    cluster.partition(&[old], &rest);
    let lost = cluster.propose(old, Serde(2));
    cluster.run_for(SECOND);
    assert_ne!(cluster.status(old).role, RoleKind::Leader);
    let new = cluster.elect();
    assert_ne!(new, old);
    write(&mut cluster, new, 3);
    assert_eq!(cluster.reply(lost), None, "nobody can know yet");
    cluster.heal();
    cluster.run_until(|cluster| cluster.reply(lost).is_some());
    assert!(matches!(
        cluster.reply(lost),
        Some(Err(RequestError::Superseded(_)))
    ));
    cluster.run_for(SECOND);
    for node in cluster.nodes() {
        assert_eq!(cluster.machine(node).0, vec![1, 3]);
    }
}

/// Dissertation §9.6: pre-vote.
#[test]
fn a_node_that_was_cut_off_does_not_disturb_the_leader_when_it_returns() {
    let mut cluster = Cluster::<Journal>::new(3, 4, Network::default());
    let leader = cluster.elect();
    cluster.run_for(SECOND);
    let term = cluster.status(leader).term;
    let lonely = others(&cluster, leader)[0];
    let rest = others(&cluster, lonely);
    cluster.partition(&[lonely], &rest);
    cluster.run_for(Span(10 * SECOND.0));
    cluster.heal();
    cluster.run_for(SECOND);
    assert_eq!(cluster.leader(), Some(leader));
    assert_eq!(cluster.status(leader).term, term);
    assert_eq!(cluster.status(lonely).term, term);
}

#[test]
fn everything_acknowledged_survives_the_loss_of_power_of_all_nodes() {
    let mut cluster = Cluster::<Journal>::new(3, 5, Network::default());
    let leader = cluster.elect();
    for value in 0..20 {
        write(&mut cluster, leader, value);
    }
    for node in cluster.nodes() {
        cluster.lose_power(node);
    }
    for node in cluster.nodes() {
        cluster.start(node).expect("the log is whole");
    }
    let leader = cluster.elect();
    write(&mut cluster, leader, 20);
    assert_eq!(cluster.machine(leader).0, (0..=20).collect::<Vec<_>>());
}

/// Its disk takes nothing more, and it knows.
fn fill(cluster: &mut Cluster<Journal>, leader: NodeId, node: NodeId) {
    let disk = cluster.disk(node);
    disk.set_capacity(Some(disk.used()));
    let mut value = 1_000;
    while cluster.status(node).disk != DiskHealth::Full {
        let request = cluster.propose(leader, Serde(value));
        cluster.run_until(|cluster| cluster.reply(request).is_some());
        value += 1;
    }
}

fn answer(cluster: &mut Cluster<Journal>, request: RequestId) -> Result<Vec<u64>, RequestError> {
    cluster.run_until(|cluster| cluster.reply(request).is_some());
    cluster.reply(request).cloned().expect("it was waited for")
}

#[test]
fn a_follower_with_a_full_disk_says_so_at_once_and_answers_again_when_it_has_room() {
    let mut cluster = Cluster::<Journal>::new(3, 8, Network::default());
    let leader = cluster.elect();
    let follower = others(&cluster, leader)[0];
    fill(&mut cluster, leader, follower);
    write(&mut cluster, leader, 1);
    let before = cluster.now();
    let full = RequestError::Rejected(Rejection::OwnStorageFull);
    let write_there = cluster.propose(follower, Serde(2));
    assert_eq!(answer(&mut cluster, write_there), Err(full));
    // What was written last has no room there, so that nobody could be told of it.
    let read_there = cluster.query(follower, ());
    assert_eq!(answer(&mut cluster, read_there), Err(full));
    assert!(cluster.now() < before + SECOND);
    cluster.disk(follower).set_capacity(None);
    cluster.run_until(|cluster| cluster.status(follower).disk == DiskHealth::Healthy);
    let read_there = cluster.query(follower, ());
    let all = answer(&mut cluster, read_there).expect("there is room");
    assert_eq!(all.last(), Some(&1));
}

#[test]
fn what_was_asked_of_a_follower_while_its_disk_filled_up_has_an_outcome_though_it_stays_full() {
    let mut cluster = Cluster::<Journal>::new(3, 10, Network::default());
    let leader = cluster.elect();
    let follower = others(&cluster, leader)[0];
    let disk = cluster.disk(follower);
    disk.set_capacity(Some(disk.used()));
    let mut requests = Vec::new();
    while cluster.status(follower).disk != DiskHealth::Full {
        requests.push(cluster.propose(follower, Serde(1)));
        cluster.advance();
    }
    for request in &requests {
        cluster.run_until(|cluster| cluster.reply(*request).is_some());
    }
    let lost = requests.iter().filter(|request| {
        matches!(
            cluster.reply(**request),
            Some(Err(RequestError::ReplyLost(_)))
        )
    });
    assert!(
        lost.count() > 0,
        "some were committed and found no room here"
    );
}

#[test]
fn a_leader_with_a_full_disk_lets_another_lead_and_writes_go_on() {
    let mut cluster = Cluster::<Journal>::new(3, 9, Network::default());
    let first = cluster.elect();
    fill(&mut cluster, first, first);
    cluster.run_until(|cluster| cluster.leader().is_some_and(|leader| leader != first));
    let leader = cluster.leader().expect("it was waited for");
    cluster.run_until(|cluster| {
        cluster.status(leader).commit_index == cluster.status(leader).last.index
    });
    write(&mut cluster, leader, 1);
}

#[test]
fn a_failed_sync_halts_the_node_and_the_rest_goes_on() {
    let mut cluster = Cluster::<Journal>::new(3, 6, Network::default());
    let leader = cluster.elect();
    write(&mut cluster, leader, 1);
    cluster.disk(leader).fail_next_sync();
    let request = cluster.propose(leader, Serde(2));
    cluster.run_until(|cluster| cluster.halted(leader).is_some());
    let unknown = cluster.reply(request);
    assert!(
        unknown.is_none() || matches!(unknown, Some(Ok(_) | Err(RequestError::Unknown))),
        "{unknown:?}"
    );
    let next = cluster.elect();
    assert_ne!(next, leader);
    write(&mut cluster, next, 3);
}

/// Random faults from one seed: crashes with and without power, partitions, a bad network. Every
/// acknowledged write must be in every log, once, and nothing that was definitely refused.
fn survive(seed: u64, nodes: u64) {
    let mut cluster = Cluster::<Journal>::new(nodes, seed, Network::bad());
    let mut asked: BTreeMap<RequestId, u64> = BTreeMap::new();
    let all = cluster.nodes();
    let pick = |cluster: &mut Cluster<Journal>| all[cluster.draw(nodes) as usize];
    let mut reads: Vec<(RequestId, Vec<u64>)> = Vec::new();
    for step in 0..400 {
        let node = pick(&mut cluster);
        match cluster.draw(20) {
            0 if cluster.is_running(node) => cluster.kill(node),
            1 if cluster.is_running(node) => cluster.lose_power(node),
            2..=4 if !cluster.is_running(node) => cluster.start(node).expect("the log is whole"),
            5 => {
                let other = pick(&mut cluster);
                cluster.partition(&[node], &[other]);
            }
            6 | 7 => cluster.heal(),
            8 => {
                let other = pick(&mut cluster);
                cluster.cut(node, other);
            }
            9 if cluster.is_running(node) => {
                // A read must see every write acknowledged before it was asked.
                let seen = asked
                    .iter()
                    .filter(|(r, _)| matches!(cluster.reply(**r), Some(Ok(_))));
                let seen = seen.map(|(_, value)| *value).collect();
                reads.push((cluster.query(node, ()), seen));
            }
            _ if cluster.is_running(node) => {
                let request = cluster.propose(node, Serde(step));
                asked.insert(request, step);
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
    cluster.run_for(Span(10 * SECOND.0));
    let leader = cluster.leader().expect("a healed cluster has a leader");
    write(&mut cluster, leader, 1_000);
    cluster.run_for(SECOND);
    let journal = cluster.machine(leader).0.clone();
    for node in cluster.nodes() {
        assert_eq!(cluster.machine(node).0, journal, "node {node} agrees");
    }
    for (request, value) in &asked {
        let times = journal.iter().filter(|v| *v == value).count();
        match cluster.reply(*request) {
            Some(Ok(_)) => assert_eq!(times, 1, "acknowledged {value} is there once"),
            Some(Err(
                RequestError::Rejected(_)
                | RequestError::Superseded(_)
                | RequestError::SessionExpired
                | RequestError::SequencePassed { .. }
                | RequestError::WindowFull { .. },
            )) => {
                assert_eq!(times, 0, "refused {value} is not there");
            }
            Some(Err(RequestError::ReplyLost(_))) => assert_eq!(times, 1),
            Some(Err(RequestError::Unknown | RequestError::Undecodable)) | None => {
                assert!(times <= 1, "{value} is not there twice");
            }
        }
    }
    for (request, seen) in reads {
        if let Some(Ok(found)) = cluster.reply(request) {
            assert!(
                seen.iter().all(|value| found.contains(value)),
                "a read is not stale"
            );
        }
    }
}

/// How many seeds to run: a few, or what `RAFT_SEEDS` says (`.ci/nightly` says thousands).
fn seeds(few: u64) -> std::ops::Range<u64> {
    let many = std::env::var("RAFT_SEEDS").ok();
    0..many.map_or(few, |many| many.parse().expect("RAFT_SEEDS is a number"))
}

#[test]
fn three_nodes_survive_random_faults() {
    for seed in seeds(40) {
        survive(seed, 3);
    }
}

#[test]
fn five_nodes_survive_random_faults() {
    for seed in seeds(15) {
        survive(1_000_000 + seed, 5);
    }
}
