//! Reads of every kind, as clients of real processes choose them.

#![cfg(feature = "raft-kv")]
#![expect(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a test that cannot go on has failed, and looks only at what it is about"
)]

mod support;

use support::{Client, Cluster, Value, eventually};

fn connect(cluster: &Cluster, node: usize) -> Client {
    Client::connect(cluster.nodes[node].client).unwrap()
}

/// Sets a key and waits until every node has it applied.
fn set_everywhere(cluster: &Cluster, key: &str, value: &str) {
    for node in 0..cluster.nodes.len() {
        let mut client = connect(cluster, node);
        eventually("the write to be taken", || {
            let reply = client.call(&["SET", key, value]).unwrap();
            (reply == Value::ok()).then_some(())
        });
    }
}

fn error(value: &Value) -> &str {
    match value {
        Value::Error(error) => error,
        other => panic!("{other:?} is no error"),
    }
}

#[test]
fn a_follower_that_is_left_alone_answers_only_what_may_be_stale_and_says_how_old_it_is() {
    let mut cluster = Cluster::started(3);
    set_everywhere(&cluster, "a", "1");
    let leader = cluster.wait_for_leader();
    let left = (leader + 1) % 3;
    let mut stale = connect(&cluster, left);
    assert_eq!(stale.call(&["READONLY"]).unwrap(), Value::ok());
    eventually("the leader to say how far it is", || {
        let told = stale.call(&["RAFT.STALE", "GET", "a"]).unwrap();
        matches!(told, Value::Array(told) if matches!(told[0], Value::Integer(_))).then_some(())
    });
    for node in (0..3).filter(|node| *node != left) {
        cluster.nodes[node].kill();
    }

    // The choice is for every command that reads, and for this connection alone.
    for (command, expected) in [
        (vec!["GET", "a"], Value::bulk("1")),
        (
            vec!["MGET", "a", "b"],
            Value::Array(vec![Value::bulk("1"), Value::Bulk(None)]),
        ),
        (vec!["EXISTS", "a"], Value::Integer(1)),
        (vec!["STRLEN", "a"], Value::Integer(1)),
        (vec!["TYPE", "a"], Value::Simple("string".to_string())),
        (vec!["DBSIZE"], Value::Integer(1)),
        (
            vec!["SCAN", "0"],
            Value::Array(vec![Value::bulk("0"), Value::Array(vec![Value::bulk("a")])]),
        ),
        (vec!["RAFT.READS"], Value::bulk("STALE")),
    ] {
        assert_eq!(stale.call(&command).unwrap(), expected, "{command:?}");
    }
    let mut other = connect(&cluster, left);
    assert_eq!(
        other.call(&["RAFT.READS"]).unwrap(),
        Value::bulk("LINEARIZABLE")
    );
    let refused = other.call(&["GET", "a"]).unwrap();
    assert!(error(&refused).starts_with("CLUSTERDOWN "), "{refused:?}");

    // The age is told, and grows past whatever is allowed.
    let told = other.call(&["RAFT.STALE", "GET", "a"]).unwrap();
    let Value::Array(told) = told else {
        panic!("{told:?} is no age and reply");
    };
    assert!(
        matches!(told[..], [Value::Integer(0..), Value::Bulk(Some(_))]),
        "{told:?}"
    );
    assert_eq!(
        stale.call(&["RAFT.READS", "STALE", "3600000"]).unwrap(),
        Value::ok()
    );
    assert_eq!(stale.call(&["GET", "a"]).unwrap(), Value::bulk("1"));
    assert_eq!(
        stale.call(&["RAFT.READS", "STALE", "20"]).unwrap(),
        Value::ok()
    );
    let refused = eventually("the state to be too old", || {
        let reply = stale.call(&["GET", "a"]).unwrap();
        matches!(reply, Value::Error(_)).then_some(reply)
    });
    assert!(
        error(&refused).starts_with("STALE this node's state is ")
            && error(&refused)
                .ends_with("RAFT.READS allows 20 ms; ask another node, or allow more"),
        "{refused:?}"
    );
    assert_eq!(stale.call(&["READWRITE"]).unwrap(), Value::ok());
    let refused = stale.call(&["GET", "a"]).unwrap();
    assert!(error(&refused).starts_with("CLUSTERDOWN "), "{refused:?}");
    // A write is what it always is.
    let refused = stale.call(&["SET", "a", "2"]).unwrap();
    assert!(error(&refused).starts_with("CLUSTERDOWN "), "{refused:?}");
}

#[test]
fn a_connection_sees_its_own_writes_also_where_its_reads_may_be_stale() {
    let cluster = Cluster::started(3);
    let follower = (cluster.wait_for_leader() + 1) % 3;
    let mut client = connect(&cluster, follower);
    assert_eq!(client.call(&["READONLY"]).unwrap(), Value::ok());
    eventually("a write to be taken", || {
        (client.call(&["SET", "n", "0"]).unwrap() == Value::ok()).then_some(())
    });
    let mut left = 50;
    eventually("the writes to be taken", || {
        let sent = left;
        for _ in 0..sent {
            client.send(b"INCR n\r\nGET n\r\n").unwrap();
        }
        for _ in 0..sent {
            let (written, read) = (client.receive().unwrap(), client.receive().unwrap());
            // One that is lost to a change of leader shows nothing.
            if let Value::Integer(written) = written {
                assert_eq!(read, Value::bulk(&written.to_string()));
                left -= 1;
            }
        }
        (left == 0).then_some(())
    });
}

/// Nobody is left whom a leader could ask, and its lease is all that an answer can rest on. Should the lease
/// be over before the question comes, the cluster is made whole and all of it is tried again.
#[test]
fn a_lease_read_is_answered_by_a_leader_without_a_word_to_its_followers() {
    let mut cluster = Cluster::new(3);
    for node in &mut cluster.nodes {
        node.flags = ["--lease-ms=1500", "--election-timeout-ms=1500"]
            .map(String::from)
            .to_vec();
    }
    cluster.start_all();
    eventually("a lease to outlast the followers", || {
        let leader = cluster.wait_for_leader();
        let mut client = connect(&cluster, leader);
        // A read that asks the followers is when they promise; their disks have to remember that first.
        for _ in 0..3 {
            let set = client.call(&["SET", "a", "1"]).unwrap();
            (set == Value::ok()).then_some(())?;
            client.call(&["GET", "a"]).unwrap();
        }
        client.call(&["RAFT.READS", "LEASE"]).unwrap();
        let followers = (0..3).filter(|node| *node != leader);
        for node in followers.clone() {
            cluster.nodes[node].kill();
        }
        let reply = client.call(&["GET", "a"]).unwrap();
        for node in followers {
            cluster.nodes[node].start();
        }
        (reply == Value::bulk("1")).then_some(())
    });
}
