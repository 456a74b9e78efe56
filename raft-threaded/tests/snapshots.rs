//! Snapshots of real processes.

#![cfg(feature = "raft-kv")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use support::{Cluster, check, done, eventually, set, wait_for_log};

#[test]
fn a_snapshot_is_taken_on_demand_and_a_node_starts_from_it() {
    let mut cluster = Cluster::started(1);
    let to = cluster.nodes[0].to();
    set(&cluster, 0, "before");
    let said = done(&["snapshot", "--to", &to]);
    let id = said.trim().rsplit(' ').next().unwrap().to_string();
    assert_eq!(
        cluster.nodes[0].status("snapshot_id").unwrap(),
        id,
        "{said}"
    );
    set(&cluster, 0, "after");
    cluster.nodes[0].stop();
    cluster.nodes[0].start();
    check(&cluster, 0, "before");
    check(&cluster, 0, "after");
    wait_for_log(&cluster, 0, "read a snapshot");
}

/// Its disk takes nothing, and its node is told of that later and later.
#[test]
fn a_node_that_could_not_receive_a_snapshot_for_a_while_goes_on_once_it_can() {
    let mut cluster = Cluster::started(1);
    set(&cluster, 0, "before");
    let to = cluster.nodes[0].to();
    let said = done(&["snapshot", "--to", &to]);
    let joiner = cluster.add_joiner();
    let (term, index) = said
        .trim()
        .rsplit_once(' ')
        .unwrap()
        .1
        .split_once('.')
        .unwrap();
    let name = format!("snapshot-{index:0>20}-{term:0>20}.part");
    let obstacle = cluster.nodes[joiner].data.join(name);
    std::fs::create_dir(&obstacle).unwrap();
    let place = cluster.nodes[joiner].place();
    done(&["attach", "--to", &to, &place, "--learner"]);
    eventually("the third failure", || {
        let log = cluster.nodes[joiner].log();
        (log.matches("a snapshot could not be received").count() >= 3).then_some(())
    });
    std::fs::remove_dir(&obstacle).unwrap();
    check(&cluster, joiner, "before");
}
