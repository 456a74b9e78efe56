//! Snapshots of real processes.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use support::{Cluster, check, done, set, wait_for_log};

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
