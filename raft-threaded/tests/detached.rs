//! Nodes that were detached, and come back.

#![cfg(feature = "raft-kv")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use support::{Cluster, check, done, eventually, run, set};

/// The node says that it is no member, and that it may come back as it is.
fn wait_until_removed(cluster: &Cluster, node: usize) {
    eventually("the node to know that it was removed", || {
        let standing = cluster.nodes[node].status("standing")?;
        (standing == "removed").then_some(())
    });
    let ran = run(&["promote", "--to", &cluster.nodes[node].to(), "1"]);
    assert_eq!(ran.code, Some(1), "{}", ran.err);
    assert!(
        ran.err.contains("was removed") && ran.err.contains("`raft-kv attach` takes it back"),
        "{}",
        ran.err
    );
}

/// A store stands for the same promises as before, whether its node is a member or not.
#[test]
fn a_detached_node_is_attached_again_as_it_is_and_gets_what_it_missed() {
    let cluster = Cluster::started(3);
    set(&cluster, 0, "before");
    let leader = cluster.wait_for_leader();
    let detached = (leader + 1) % 3;
    let (to, node) = (cluster.nodes[leader].to(), &cluster.nodes[detached]);
    let store = node.status("store_id").unwrap();
    done(&["detach", "--to", &to, &node.id.to_string()]);
    set(&cluster, leader, "meanwhile");
    wait_until_removed(&cluster, detached);
    done(&["attach", "--to", &to, &node.place()]);
    check(&cluster, detached, "before");
    check(&cluster, detached, "meanwhile");
    assert_eq!(node.status("store_id").unwrap(), store, "nothing was wiped");
}

#[test]
fn a_node_that_was_detached_while_it_was_away_is_attached_again_as_it_is() {
    let mut cluster = Cluster::started(3);
    set(&cluster, 0, "before");
    let leader = cluster.wait_for_leader();
    let detached = (leader + 1) % 3;
    let to = cluster.nodes[leader].to();
    cluster.nodes[detached].kill();
    done(&[
        "detach",
        "--to",
        &to,
        &cluster.nodes[detached].id.to_string(),
    ]);
    // Who removed it goes on telling it for a while through the log; whoever leads after that does not.
    done(&["transfer", "--to", &to]);
    set(&cluster, leader, "meanwhile");
    cluster.nodes[detached].start();
    wait_until_removed(&cluster, detached);
    done(&["attach", "--to", &to, &cluster.nodes[detached].place()]);
    check(&cluster, detached, "before");
    check(&cluster, detached, "meanwhile");
}
