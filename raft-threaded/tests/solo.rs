//! Survivors that go on alone.

#![cfg(feature = "raft-kv")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use support::{Cluster, check, done, eventually, refused, set};

#[test]
fn the_last_survivor_goes_on_alone_and_a_new_cluster_grows_from_it() {
    let mut cluster = Cluster::started(3);
    set(&cluster, 0, "before");
    let leader = cluster.wait_for_leader();
    for lost in (0..3).filter(|lost| *lost != leader) {
        cluster.nodes[lost].kill();
    }
    let (to, old) = (
        cluster.nodes[leader].to(),
        cluster.nodes[leader].status("cluster_id").unwrap(),
    );
    let said = done(&["solo", "--to", &to, "--force", "--expect", &old]);
    assert!(said.contains("a cluster of its own now"), "{said}");
    assert_ne!(cluster.nodes[leader].status("cluster_id").unwrap(), old);
    check(&cluster, leader, "before");
    set(&cluster, leader, "alone");
    let joiner = cluster.add_joiner();
    done(&["attach", "--to", &to, &cluster.nodes[joiner].place()]);
    check(&cluster, joiner, "alone");
    // One of the old cluster that comes back is refused, and harms nobody.
    let back = (leader + 1) % 3;
    cluster.nodes[back].start();
    set(&cluster, joiner, "after");
    let place = cluster.nodes[back].place();
    let said = eventually("the old node to answer", || {
        let said = refused(&["attach", "--to", &to, &place]);
        (!said.contains("does not answer")).then_some(said)
    });
    assert!(
        said.contains("is a member already") || said.contains("belongs to cluster"),
        "{said}"
    );
}

#[test]
fn a_stopped_node_goes_on_alone_with_everything_it_had() {
    let mut cluster = Cluster::started(3);
    set(&cluster, 0, "before");
    let leader = cluster.wait_for_leader();
    // Part of it is in a snapshot, as with every node that runs for long.
    done(&["snapshot", "--to", &cluster.nodes[leader].to()]);
    for node in &mut cluster.nodes {
        node.stop();
    }
    let data = cluster.nodes[leader].data.display().to_string();
    let said = refused(&["solo", "--data", &data]);
    assert!(
        said.contains("2 other voters") && said.contains("(--force)"),
        "{said}"
    );
    done(&["solo", "--data", &data, "--force"]);
    cluster.nodes[leader].start();
    check(&cluster, leader, "before");
    set(&cluster, leader, "after");
    assert_eq!(
        cluster.nodes[leader].status("voters").unwrap(),
        format!("[{}]", leader + 1)
    );
    let said = refused(&["solo", "--data", &data, "--force"]);
    assert!(said.contains("in use by another process"), "{said}");
}
