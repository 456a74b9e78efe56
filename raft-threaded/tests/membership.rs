//! Clusters of real processes that grow, shrink and lose members, as their operators order it.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use support::{Client, Cluster, Ran, Value, eventually, free_port, run};

/// Orders something, again for as long as the answer is that it is not the time for it.
fn order(arguments: &[&str]) -> Ran {
    eventually("an order to be taken", || {
        let ran = run(arguments);
        let later = ["BUSY ", "CLUSTERDOWN ", "NOTLEADER "];
        let later = later.iter().any(|kind| ran.err.contains(kind));
        (!later).then_some(ran)
    })
}

fn done(arguments: &[&str]) -> String {
    let ran = order(arguments);
    assert!(ran.success, "{arguments:?}: {}{}", ran.out, ran.err);
    ran.out
}

/// What an order that changes nothing says.
fn refused(arguments: &[&str]) -> String {
    let ran = order(arguments);
    assert_eq!(ran.code, Some(1), "{arguments:?}: {}{}", ran.out, ran.err);
    ran.err
}

fn set(cluster: &Cluster, node: usize, key: &str) {
    let mut client = Client::connect(cluster.nodes[node].client).unwrap();
    eventually("a write to be taken", || {
        let reply = client.call(&["SET", key, key]).unwrap();
        (reply == Value::ok()).then_some(())
    });
}

/// The value, as this node answers it linearizably.
fn check(cluster: &Cluster, node: usize, key: &str) {
    let mut client = Client::connect(cluster.nodes[node].client).unwrap();
    let found = eventually("a linearizable answer", || {
        match client.call(&["GET", key]).unwrap() {
            Value::Bulk(found) => Some(found),
            Value::Simple(_) | Value::Error(_) | Value::Integer(_) | Value::Array(_) => None,
        }
    });
    assert_eq!(
        found,
        Some(key.as_bytes().to_vec()),
        "{key} at node {}",
        node + 1
    );
}

#[test]
fn a_node_that_waits_is_attached_has_everything_and_votes() {
    let mut cluster = Cluster::started(1);
    set(&cluster, 0, "before");
    let joiner = cluster.add_joiner();
    assert!(
        cluster.nodes[joiner].log().contains("raft-kv attach --to"),
        "{}",
        cluster.nodes[joiner].log()
    );
    let to = cluster.nodes[0].to();
    let said = done(&["attach", "--to", &to, &cluster.nodes[joiner].place()]);
    assert!(
        said.starts_with("attached 2; the configuration is "),
        "{said}"
    );
    check(&cluster, joiner, "before");
    set(&cluster, joiner, "after");
    check(&cluster, 0, "after");
    assert_eq!(cluster.nodes[joiner].status("voters").unwrap(), "[1,2]");
    // It is a member for good: after a restart, too, of both.
    for node in &mut cluster.nodes {
        node.stop();
    }
    cluster.start_all();
    for node in 0..2 {
        check(&cluster, node, "before");
        check(&cluster, node, "after");
    }
}
