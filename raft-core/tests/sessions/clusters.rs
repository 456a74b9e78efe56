//! Sessions across nodes, under the simulator's judge.

use raft_core::replica::{ClientSession, RequestError, Serde, Serial, SessionId};
use raft_core::{NodeId, Options, RequestId, Span};
use raft_sim::{Cluster, Network};

use crate::alone::{Journal, serial};

const SECOND: Span = Span(1_000_000_000);

fn others(cluster: &Cluster<Journal>, node: NodeId) -> Vec<NodeId> {
    let mut nodes = cluster.nodes();
    nodes.retain(|other| *other != node);
    nodes
}

fn register(cluster: &mut Cluster<Journal>, node: NodeId) -> SessionId {
    let request = cluster.register(node);
    cluster.run_until(|cluster| cluster.session(request).is_some());
    cluster.session(request).unwrap()
}

fn send(cluster: &mut Cluster<Journal>, node: NodeId, serial: Serial, value: u64) -> Vec<u64> {
    let request = cluster.propose_in(node, serial, Serde(value));
    cluster.run_until(|cluster| cluster.reply(request).is_some());
    match cluster.reply(request) {
        Some(Ok(reply)) => reply.clone(),
        other => panic!("{other:?}"),
    }
}

/// A client whose leader died after committing its command, and before saying so, sends it again.
#[test]
fn a_write_that_is_sent_again_to_the_next_leader_takes_effect_once() {
    for seed in 0..20 {
        let mut cluster = Cluster::<Journal>::new(3, seed, Network::default());
        let old = cluster.elect();
        let session = register(&mut cluster, old);
        let first = cluster.propose_in(old, serial(session, 1, 1), Serde(7));
        cluster.run_until(|cluster| {
            let rest = others(cluster, old);
            rest.iter()
                .all(|n| cluster.status(*n).last == cluster.status(old).last)
        });
        cluster.kill(old);
        assert_eq!(cluster.reply(first), None, "nobody was told");
        let rest = others(&cluster, old);
        cluster.run_until(|cluster| cluster.leader().is_some_and(|leader| leader != old));
        cluster.run_for(SECOND);
        for node in rest {
            assert_eq!(
                send(&mut cluster, node, serial(session, 1, 1), 7),
                [1, 7, 7]
            );
        }
        cluster.start(old).unwrap();
        cluster.run_for(SECOND);
        assert_eq!(send(&mut cluster, old, serial(session, 1, 1), 7), [1, 7, 7]);
        for node in cluster.nodes() {
            assert_eq!(cluster.machine(node).0, [7], "node {node}");
        }
    }
}

/// Whether it is told first that its request became an entry, or that the entry is committed.
#[test]
fn a_follower_registers_and_proposes_for_its_leader() {
    for seed in 0..40 {
        let network = Network {
            delay_min: 1_000,
            delay_max: 20_000_000,
            ..Network::default()
        };
        let mut cluster = Cluster::<Journal>::new(3, seed, network);
        let leader = cluster.elect();
        cluster.run_for(SECOND);
        let followers = others(&cluster, leader);
        let session = register(&mut cluster, followers[0]);
        for node in [followers[1], followers[0]] {
            assert_eq!(send(&mut cluster, node, serial(session, 1, 1), 6), [1, 6]);
        }
    }
}

/// Two attempts at once: both are appended, one is executed, both are answered alike.
#[test]
fn a_command_that_is_sent_twice_at_once_takes_effect_once() {
    let mut cluster = Cluster::<Journal>::new(3, 5, Network::default());
    let leader = cluster.elect();
    cluster.run_for(SECOND);
    let session = register(&mut cluster, leader);
    let requests: Vec<RequestId> = cluster
        .nodes()
        .into_iter()
        .map(|node| cluster.propose_in(node, serial(session, 1, 1), Serde(8)))
        .collect();
    cluster.run_until(|cluster| requests.iter().all(|r| cluster.reply(*r).is_some()));
    for request in requests {
        assert_eq!(cluster.reply(request), Some(&Ok(vec![1, 8, 8, 8])));
    }
    assert_eq!(cluster.machine(leader).0, [8]);
}

/// Whoever leads, all nodes end a session with the same entry.
#[test]
fn a_silent_session_ends_on_all_nodes_though_leaders_change() {
    let timeout = Span(40 * SECOND.0);
    let options = Options {
        session_timeout: timeout,
        seed: 3,
        ..Options::default()
    };
    let mut cluster = Cluster::<Journal>::with_options(3, Network::default(), options);
    let leader = cluster.elect();
    let (silent, loud) = (
        register(&mut cluster, leader),
        register(&mut cluster, leader),
    );
    let mut account = ClientSession::new(loud);
    for round in 0..12 {
        let leader = cluster.elect();
        let serial = account.begin().unwrap();
        send(&mut cluster, leader, serial, round);
        account.answered(serial.sequence);
        cluster.run_for(Span(timeout.0 / 5));
        if round % 3 == 2 {
            cluster.kill(leader);
            cluster.run_for(SECOND);
            cluster.start(leader).unwrap();
        }
    }
    cluster.run_for(SECOND);
    for node in cluster.nodes() {
        let request = cluster.propose_in(node, serial(silent, 1, 1), Serde(9));
        cluster.run_until(|cluster| cluster.reply(request).is_some());
        let expired = Err(RequestError::SessionExpired);
        assert_eq!(cluster.reply(request), Some(&expired), "node {node}");
    }
    let serial = account.begin().unwrap();
    let leader = cluster.elect();
    send(&mut cluster, leader, serial, 10);
    cluster.run_for(SECOND);
    for node in cluster.nodes() {
        assert_eq!(cluster.machine(node).0.len(), 13, "node {node}");
    }
}

/// Two may believe to lead at a time, and both measure: what is committed of it is real time, counted once.
#[test]
fn the_clock_of_sessions_is_never_ahead_of_time_however_leaders_overlap() {
    for seed in 0..10 {
        let options = Options {
            // Told every 625 ms.
            session_timeout: Options::default().request_timeout,
            seed,
            ..Options::default()
        };
        let mut cluster = Cluster::<Journal>::with_options(3, Network::default(), options);
        let leader = cluster.elect();
        let session = register(&mut cluster, leader);
        let begun = cluster.now();
        for value in 0..20 {
            let leader = cluster.elect();
            // Asked once: the client does not care.
            cluster.propose_in(leader, serial(session, value, value), Serde(value));
            cluster.run_for(SECOND);
            let rest = others(&cluster, leader);
            cluster.heal();
            match cluster.draw(3) {
                0 => cluster.partition(&[leader], &rest),
                1 => cluster.cut(rest[0], leader),
                _ => {}
            }
            let real = cluster.now() - begun;
            for node in cluster.nodes() {
                let clock = cluster.sessions(node).clock();
                assert!(clock <= real, "seed {seed}: {clock:?} of {real:?} passed");
            }
        }
        cluster.heal();
        cluster.run_for(Span(2 * SECOND.0));
        let leader = cluster.elect();
        // Little is lost: from the last time a leader told it until the next one began to measure.
        let told = cluster.sessions(leader).clock();
        assert!(
            told > Span((cluster.now() - begun).0 / 4),
            "seed {seed}: {told:?}"
        );
        cluster.run_until(|cluster| {
            let mut nodes = cluster.nodes().into_iter();
            nodes.all(|node| cluster.sessions(node) == cluster.sessions(leader))
        });
    }
}

/// Messages are lost and repeated, nodes die and lose power, and a client sends each command until it has an
/// answer: each takes effect once, in the order in which they were answered.
#[test]
fn a_stubborn_client_is_served_once_whatever_fails() {
    for seed in 0..40 {
        let network = Network {
            lost_per_mille: 50,
            repeated_per_mille: 50,
            ..Network::default()
        };
        let mut cluster = Cluster::<Journal>::new(3, seed, network);
        let leader = cluster.elect();
        let session = register(&mut cluster, leader);
        let mut account = ClientSession::new(session);
        for value in 0..10 {
            let sequence = account.begin().unwrap().sequence;
            persist_until_answered(&mut cluster, account.again(sequence).unwrap(), value);
            account.answered(sequence);
        }
        for node in cluster.nodes() {
            if !cluster.is_running(node) {
                cluster.start(node).unwrap();
            }
        }
        cluster.run_for(Span(5 * SECOND.0));
        for node in cluster.nodes() {
            assert_eq!(
                cluster.machine(node).0,
                (0..10).collect::<Vec<_>>(),
                "seed {seed}"
            );
        }
    }
}

fn persist_until_answered(cluster: &mut Cluster<Journal>, serial: Serial, value: u64) {
    for _ in 0..1_000 {
        let node = NodeId(1 + cluster.draw(3));
        if !cluster.is_running(node) {
            cluster.start(node).unwrap();
        }
        let request = cluster.propose_in(node, serial, Serde(value));
        let patience = Span(1 + cluster.draw(SECOND.0 / 4));
        match cluster.draw(4) {
            0 => {
                let short = Span(1 + cluster.draw(SECOND.0 / 100));
                cluster.run_for(short);
                cluster.lose_power(node);
            }
            1 => {
                let other = NodeId(1 + cluster.draw(3));
                cluster.kill(other);
            }
            _ => {}
        }
        cluster.run_for(patience);
        match cluster.reply(request) {
            Some(Ok(reply)) => {
                assert_eq!(reply[0], value + 1);
                return;
            }
            Some(Err(error @ (RequestError::SessionExpired | RequestError::Undecodable))) => {
                panic!("{error}")
            }
            Some(Err(_)) | None => {}
        }
        if let Some(violation) = cluster.violation() {
            panic!("{violation}");
        }
    }
    panic!("no answer");
}
