//! A node that goes on alone dies on the way: at every moment it is what its disk says, one or the other.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use raft_core::{NodeId, Options, RequestId, RoleKind, Span};
use raft_sim::{Cluster, Network, Order, Registers};

/// A cluster with something in its log, and a follower that is told to leave it.
fn left() -> (Cluster<Registers>, NodeId) {
    // Nodes act some time after they were told something, so that they can die in between.
    let network = Network {
        batch_max: 1_000_000,
        ..Network::default()
    };
    let mut cluster = Cluster::new(3, 1, network);
    let leader = cluster.elect();
    let request = cluster.propose(leader, "a=5".parse().unwrap());
    cluster.run_until(|cluster| cluster.reply(request).is_some());
    let leaver = NodeId(leader.0 % 3 + 1);
    cluster.run_until(|cluster| cluster.status(leaver).last_applied == cluster.commit_index());
    (cluster, leaver)
}

/// The node has written who it is going to be, and not synced it.
fn told_to_leave(cluster: &mut Cluster<Registers>, node: NodeId) -> RequestId {
    let order = cluster.order(node, Order::Solo);
    let before = cluster.disk(node).operations();
    cluster.run_until(|cluster| cluster.disk(node).operations() > before);
    order
}

fn voters(cluster: &Cluster<Registers>, node: NodeId) -> usize {
    cluster.status(node).configuration.voters.len()
}

/// Everybody is one cluster still, and goes on.
fn goes_on(cluster: &mut Cluster<Registers>) {
    let leader = cluster.elect();
    let request = cluster.propose(leader, "a+=1".parse().unwrap());
    cluster.run_until(|cluster| cluster.reply(request).is_some());
    let commit = cluster.commit_index();
    cluster.run_until(|cluster| {
        let mut nodes = cluster.nodes().into_iter();
        nodes.all(|node| cluster.status(node).last_applied >= commit)
    });
}

#[test]
fn power_that_is_lost_before_the_sync_leaves_the_node_in_its_cluster() {
    let (mut cluster, node) = left();
    told_to_leave(&mut cluster, node);
    assert_eq!(voters(&cluster, node), 1, "it believes that it is alone");
    cluster.kill(node);
    cluster.disk(node).lose_power(0);
    cluster.start(node).unwrap();
    assert_eq!(voters(&cluster, node), 3);
    goes_on(&mut cluster);
}

#[test]
fn a_process_that_dies_before_the_sync_is_what_the_page_cache_has() {
    let (mut cluster, node) = left();
    told_to_leave(&mut cluster, node);
    cluster.kill(node);
    cluster.start(node).unwrap();
    assert_eq!(voters(&cluster, node), 1);
    cluster.run_until(|cluster| cluster.status(node).role == RoleKind::Leader);
    let request = cluster.propose(node, "a+=1".parse().unwrap());
    cluster.run_until(|cluster| cluster.reply(request).is_some());
    assert_eq!(
        cluster.reply(request),
        Some(&Ok(Some(5))),
        "with everything it had"
    );
}

#[test]
fn a_node_that_dies_after_the_sync_and_before_its_answer_is_alone() {
    let (mut cluster, node) = left();
    let order = told_to_leave(&mut cluster, node);
    let before = cluster.disk(node).syncs();
    cluster.run_until(|cluster| cluster.disk(node).syncs() > before);
    cluster.lose_power(node);
    assert_eq!(cluster.ordered(order), None);
    cluster.start(node).unwrap();
    assert_eq!(voters(&cluster, node), 1);
    cluster.run_until(|cluster| cluster.status(node).role == RoleKind::Leader);
}

/// What was acknowledged by the others meanwhile is theirs, so they are the cluster that is judged.
#[test]
fn a_node_that_was_away_while_the_others_went_on_is_a_cluster_that_nobody_misses() {
    let (mut cluster, node) = left();
    told_to_leave(&mut cluster, node);
    cluster.kill(node);
    goes_on_without(&mut cluster, node);
    cluster.start(node).unwrap();
    cluster.run_for(Span(2 * Options::default().election_timeout.0));
    assert_eq!(cluster.status(node).role, RoleKind::Leader);
    goes_on_without(&mut cluster, node);
}

/// As `raft-kv solo --data` is cut short after each of its changes of the disk, and after all of them.
#[test]
fn a_stopped_node_that_loses_power_while_it_is_made_alone_is_one_or_the_other() {
    let (mut stayed, mut left_alone) = (0, 0);
    for operations in 0..40 {
        let (mut cluster, node) = left();
        cluster.kill(node);
        let disk = cluster.disk(node);
        disk.turn_off_after(disk.operations() + operations);
        cluster.order(node, Order::Solo);
        disk.lose_power(operations);
        cluster.start(node).unwrap();
        if voters(&cluster, node) == 3 {
            stayed += 1;
            goes_on(&mut cluster);
        } else {
            left_alone += 1;
            cluster.run_until(|cluster| cluster.status(node).role == RoleKind::Leader);
        }
    }
    assert!(
        stayed > 0 && left_alone > 0,
        "{stayed} stayed, {left_alone} left"
    );
}

fn goes_on_without(cluster: &mut Cluster<Registers>, node: NodeId) {
    cluster.run_until(|cluster| cluster.leader().is_some_and(|leader| leader != node));
    let leader = cluster.leader().unwrap();
    let request = cluster.propose(leader, "a+=1".parse().unwrap());
    cluster.run_until(|cluster| cluster.reply(request).is_some());
}
