//! Orders to nodes that are stopped, by their data folders.

#![cfg(feature = "raft-kv")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use support::{Cluster, done, set};

/// A log says only now and then how far the commit index was: an operator took what it last said for what was
/// certain, and thirty thousand entries for doubtful of which eight were.
#[test]
fn a_stopped_node_that_goes_on_alone_says_what_it_cannot_know() {
    let mut cluster = Cluster::started(3);
    for key in ["a", "b", "c"] {
        set(&cluster, 0, key);
    }
    for node in &mut cluster.nodes {
        node.kill();
    }
    let data = cluster.nodes[0].data.display().to_string();
    let said = done(&["solo", "--data", &data, "--force"]);
    assert!(
        said.contains("were kept; some of the last ones may never have been committed")
            && said.contains("says only now and then"),
        "{said}"
    );
}

#[test]
fn what_the_only_voter_has_is_committed() {
    let mut cluster = Cluster::started(1);
    set(&cluster, 0, "a");
    cluster.nodes[0].kill();
    let data = cluster.nodes[0].data.display().to_string();
    let said = done(&["solo", "--data", &data]);
    assert_eq!(said, "the node is a cluster of its own now\n");
}
