//! Real processes, killed without warning: nothing that was acknowledged is lost.

#![cfg(feature = "raft-kv")]
#![expect(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a test that cannot go on has failed, and looks only at what it is about"
)]

mod support;

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use support::{Client, Cluster, Node, Value, done, eventually, request};

/// Writes keys of its own through one node until told to stop; returns how many keys were
/// acknowledged, without gaps in what it counts: a key is acknowledged or not counted.
fn write_through(port: u16, writer: usize, stop: &AtomicBool, count: &AtomicU64) -> Vec<u64> {
    let mut acknowledged = Vec::new();
    let mut client = None;
    for key in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let Ok(mut connected) = client.take().map_or_else(|| Client::connect(port), Ok) else {
            // Its node is down; somebody will start it again.
            thread::yield_now();
            continue;
        };
        let name = format!("{writer}:{key}");
        let reply = connected.call(&["SET", &name, &key.to_string()]);
        if reply.as_ref().is_ok_and(|reply| *reply == Value::ok()) {
            acknowledged.push(key);
            count.fetch_add(1, Ordering::Relaxed);
        }
        if reply.is_ok() {
            client = Some(connected);
        }
    }
    acknowledged
}

fn check_all(cluster: &Cluster, acknowledged: &[Vec<u64>]) {
    for node in &cluster.nodes {
        for (writer, keys) in acknowledged.iter().enumerate() {
            // A node that was started last may not listen yet.
            let mut client = eventually("the node to listen", || Client::connect(node.client).ok());
            for chunk in keys.chunks(500) {
                let names = chunk.iter().map(|key| format!("{writer}:{key}"));
                let words: Vec<String> = ["MGET".to_string()].into_iter().chain(names).collect();
                // A node that has just started may not have heard of a leader yet.
                let values = eventually("the values", || match client.call(&words).unwrap() {
                    Value::Array(values) => Some(values),
                    _ => None,
                });
                for (key, value) in chunk.iter().zip(values) {
                    let expected = Value::bulk(&key.to_string());
                    assert_eq!(value, expected, "{writer}:{key} at node {}", node.id);
                }
            }
        }
    }
}

/// Four writers through all nodes, while `disturb` does its worst.
fn write_while(cluster: &mut Cluster, disturb: impl FnOnce(&mut Cluster, &AtomicU64)) {
    let ports: Vec<u16> = cluster.nodes.iter().map(|node| node.client).collect();
    let (stop, count) = (AtomicBool::new(false), AtomicU64::new(0));
    let results = Mutex::new(vec![Vec::new(); 4]);
    thread::scope(|scope| {
        for writer in 0..4 {
            let (port, stop, count, results) =
                (ports[writer % ports.len()], &stop, &count, &results);
            scope.spawn(move || {
                let acknowledged = write_through(port, writer, stop, count);
                results.lock().unwrap()[writer] = acknowledged;
            });
        }
        disturb(cluster, &count);
        stop.store(true, Ordering::Relaxed);
    });
    let acknowledged = results.into_inner().unwrap();
    assert!(acknowledged.iter().all(|keys| !keys.is_empty()));
    cluster.wait_for_leader();
    check_all(cluster, &acknowledged);
}

/// Some more writes were acknowledged.
fn wait_for_progress(count: &AtomicU64) {
    let before = count.load(Ordering::Relaxed);
    eventually("more acknowledged writes", || {
        (count.load(Ordering::Relaxed) > before + 50).then_some(())
    });
}

#[test]
fn no_acknowledged_write_is_lost_when_the_leader_is_killed_ten_times() {
    let mut cluster = Cluster::started(3);
    write_while(&mut cluster, |cluster, count| {
        for _ in 0..10 {
            wait_for_progress(count);
            let leader = cluster.wait_for_leader();
            cluster.nodes[leader].kill();
            let next = cluster.wait_for_leader();
            assert_ne!(next, leader);
            wait_for_progress(count);
            cluster.nodes[leader].start();
        }
    });
}

#[test]
fn no_acknowledged_write_is_lost_when_all_nodes_are_killed_at_once() {
    let mut cluster = Cluster::started(3);
    write_while(&mut cluster, |cluster, count| {
        for _ in 0..3 {
            wait_for_progress(count);
            for node in &mut cluster.nodes {
                node.kill();
            }
            cluster.start_all();
        }
        wait_for_progress(count);
    });
}

#[test]
fn no_acknowledged_write_is_lost_while_a_cluster_grows_to_five_nodes_and_shrinks_to_two() {
    let mut cluster = Cluster::started(1);
    write_while(&mut cluster, |cluster, count| {
        for _ in 0..2 {
            wait_for_progress(count);
            let joiners = [cluster.add_joiner(), cluster.add_joiner()];
            let [one, other] = joiners.map(|joiner| cluster.nodes[joiner].place());
            done(&["attach", "--to", &cluster.nodes[0].to(), &one, &other]);
        }
        assert_eq!(cluster.nodes[0].status("voters").unwrap(), "[1,2,3,4,5]");
        wait_for_progress(count);
        let leader = cluster.wait_for_leader();
        cluster.nodes[leader].kill();
        cluster.wait_for_leader();
        cluster.nodes[leader].start();
        wait_for_progress(count);
        let leader = cluster.wait_for_leader();
        done(&["detach", "--to", &cluster.nodes[leader].to(), "2", "3", "4"]);
        wait_for_progress(count);
        // Nobody needs them any more.
        cluster.nodes.drain(1..4).for_each(|mut node| node.kill());
        wait_for_progress(count);
        done(&["snapshot", "--to", &cluster.nodes[0].to()]);
    });
    assert_eq!(cluster.nodes[1].status("voters").unwrap(), "[1,5]");
}

#[test]
fn a_cluster_stopped_in_order_has_everything_when_it_is_started_again() {
    let mut cluster = Cluster::started(3);
    let port = cluster.nodes[0].client;
    let mut client = Client::connect(port).unwrap();
    for key in 0..100 {
        let key = key.to_string();
        assert_eq!(client.call(&["SET", &key, &key]).unwrap(), Value::ok());
    }
    for node in &mut cluster.nodes {
        node.stop();
    }
    cluster.start_all();
    for node in &cluster.nodes {
        let mut client = Client::connect(node.client).unwrap();
        let size = eventually("a linearizable answer", || {
            match client.call(&["DBSIZE"]).unwrap() {
                Value::Integer(size) => Some(size),
                _ => None,
            }
        });
        assert_eq!(size, 100);
    }
}

#[test]
fn a_follower_that_missed_much_catches_up() {
    let mut cluster = Cluster::started(3);
    let leader = cluster.wait_for_leader();
    let behind = (leader + 1) % 3;
    cluster.nodes[behind].kill();
    let mut client = Client::connect(cluster.nodes[leader].client).unwrap();
    let value = vec![b'v'; 1 << 20];
    // More than the leader keeps in memory, so that it has to read its log.
    for key in 0..24 {
        let key = format!("big:{key}");
        let reply = client.call(&[b"SET", key.as_bytes(), &value]).unwrap();
        assert_eq!(reply, Value::ok());
    }
    cluster.nodes[behind].start();
    let commit = cluster.nodes[leader].status("commit_index").unwrap();
    let commit: u64 = commit.parse().unwrap();
    eventually("the follower to catch up", || {
        let applied: u64 = cluster.nodes[behind]
            .status("applied_index")?
            .parse()
            .ok()?;
        (applied >= commit).then_some(())
    });
}

/// A client's session, whose commands are sent again until they are answered.
struct Session {
    name: String,
    /// Where the next command is tried first.
    place: usize,
}

impl Session {
    fn begin(cluster: &Cluster) -> Self {
        let mut place = 0;
        let name = eventually("a session", || {
            place += 1;
            let node = &cluster.nodes[place % cluster.nodes.len()];
            match Client::connect(node.client).ok()?.call(&["RAFT.SESSION"]) {
                Ok(Value::Bulk(Some(name))) => String::from_utf8(name).ok(),
                _ => None,
            }
        });
        Self { name, place }
    }

    fn words(&self, sequence: i64) -> [String; 5] {
        let sequence = sequence.to_string();
        ["RAFT.ONCE", &self.name, &sequence, "INCR", "n"].map(str::to_string)
    }

    /// Sends a command to one node after the other until one answers it.
    fn once(&mut self, cluster: &Cluster, sequence: i64) -> Value {
        eventually("the answer to a command of a session", || {
            self.place += 1;
            let node = &cluster.nodes[self.place % cluster.nodes.len()];
            self.ask(node, sequence)
        })
    }

    /// Sends a command to one node until that one answers it.
    fn once_at(&self, node: &Node, sequence: i64) -> Value {
        eventually("a node's answer to a command of a session", || {
            self.ask(node, sequence)
        })
    }

    fn ask(&self, node: &Node, sequence: i64) -> Option<Value> {
        let mut client = Client::connect(node.client).ok()?;
        let reply = client.call(&self.words(sequence)).ok()?;
        (!reply.says_again()).then_some(reply)
    }
}

fn count_at(node: &Node) -> i64 {
    eventually("the count", || {
        let mut client = Client::connect(node.client).ok()?;
        match client.call(&["GET", "n"]).ok()? {
            Value::Bulk(None) => Some(0),
            Value::Bulk(Some(count)) => String::from_utf8(count).ok()?.parse().ok(),
            _ => None,
        }
    })
}

/// Dissertation §6.3. The reply is lost with the leader, so that only sending the command again tells.
#[test]
fn a_retried_write_of_a_session_takes_effect_once_across_leader_changes_snapshots_and_restarts() {
    let mut cluster = Cluster::started(3);
    let mut session = Session::begin(&cluster);
    for sequence in 1..=3 {
        let leader = cluster.wait_for_leader();
        let mut client = Client::connect(cluster.nodes[leader].client).unwrap();
        let write = request(&session.words(sequence));
        client.send(&write).unwrap();
        if sequence != 2 {
            // It has taken effect for certain, and of the second nobody knows.
            eventually("the write to take effect", || {
                client.send(&write).unwrap();
                (count_at(&cluster.nodes[(leader + 1) % 3]) >= sequence).then_some(())
            });
        }
        cluster.nodes[leader].kill();
        let answer = session.once(&cluster, sequence);
        assert_eq!(answer, Value::Integer(sequence), "sequence {sequence}");
        cluster.nodes[leader].start();
    }
    for node in &cluster.nodes {
        let answer = session.once_at(node, 3);
        assert_eq!(answer, Value::Integer(3), "at node {}", node.id);
        done(&["snapshot", "--to", &node.to()]);
    }
    let leader = cluster.wait_for_leader();
    let follower = &mut cluster.nodes[(leader + 1) % 3];
    follower.kill();
    follower.start();
    // Its state, with the answer, comes from its snapshot.
    let answer = session.once_at(follower, 3);
    assert_eq!(answer, Value::Integer(3), "from the snapshot");
    assert_eq!(session.once(&cluster, 4), Value::Integer(4));
    cluster.nodes.iter_mut().for_each(Node::kill);
    cluster.start_all();
    for node in &cluster.nodes {
        let answer = session.once_at(node, 4);
        assert_eq!(answer, Value::Integer(4), "restarted, at node {}", node.id);
        assert_eq!(count_at(node), 4, "at node {}", node.id);
    }
}
