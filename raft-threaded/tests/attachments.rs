//! Attachments that are interrupted.

#![cfg(feature = "raft-kv")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
mod support;

use std::thread;

use support::{Cluster, Gate, Held, check, done, eventually, let_lead, order, set};

/// Waits until a node knows who leads, so that it can hand on what it is ordered.
fn wait_until_led(cluster: &Cluster, node: usize) {
    eventually("the node to hear of its leader", || {
        (cluster.nodes[node].status("leader")? != "null").then_some(())
    });
}

/// Lets somebody attach a node by way of `asked`, does `interrupt` as soon as it is a learner, and lets it catch up
/// then.
fn attach_meanwhile(cluster: &mut Cluster, asked: usize, interrupt: impl FnOnce(&mut Cluster)) {
    wait_until_led(cluster, asked);
    let to = cluster.nodes[asked].to();
    let joiner = cluster.add_joiner();
    let gate = Gate::before(&cluster.nodes[joiner], Held::Peers);
    let place = format!("4=127.0.0.1:{}", gate.port);
    let ran = thread::scope(|scope| {
        let attach = scope.spawn(|| order(&["attach", "--to", &to, &place]));
        eventually("the node to be a learner", || {
            (cluster.nodes[asked].status("learners")? == "[4]").then_some(())
        });
        interrupt(cluster);
        gate.open();
        attach.join().unwrap()
    });
    assert!(ran.success, "{}", ran.err);
    eventually("the node to vote", || {
        (cluster.nodes[asked].status("voters")? == "[1,2,3,4]").then_some(())
    });
    check(cluster, joiner, "before");
}

/// The new leader knew nothing of the order: the node stayed a learner, and whoever had ordered it was told that
/// the outcome is not known.
#[test]
fn an_attachment_whose_leader_leaves_goes_on_under_the_next() {
    let mut cluster = Cluster::started(3);
    set(&cluster, 0, "before");
    let leader = cluster.wait_for_leader();
    let next = (leader + 1) % 3;
    attach_meanwhile(&mut cluster, leader, |cluster| {
        let_lead(cluster, leader, next)
    });
}

#[test]
fn an_attachment_whose_leader_dies_goes_on_under_the_next() {
    let mut cluster = Cluster::started(3);
    set(&cluster, 0, "before");
    let leader = cluster.wait_for_leader();
    attach_meanwhile(&mut cluster, (leader + 1) % 3, |cluster| {
        cluster.nodes[leader].kill();
        cluster.wait_for_leader();
    });
}

/// The node that took the order was held up, somebody else promoted the learner and then demoted it again, for a
/// reason: it was promoted once more.
#[test]
fn an_attachment_that_somebody_else_finished_and_undid_is_left_alone() {
    let mut cluster = Cluster::started(3);
    let leader = cluster.wait_for_leader();
    let (asked, next) = ((leader + 1) % 3, (leader + 2) % 3);
    wait_until_led(&cluster, asked);
    let joiner = cluster.add_joiner();
    let gate = Gate::before(&cluster.nodes[joiner], Held::Peers);
    let place = format!("4=127.0.0.1:{}", gate.port);
    let to = |node: usize| cluster.nodes[node].to();
    let ran = thread::scope(|scope| {
        let attach = scope.spawn(|| order(&["attach", "--to", &to(asked), &place]));
        eventually("the node to be a learner", || {
            (cluster.nodes[asked].status("learners")? == "[4]").then_some(())
        });
        cluster.nodes[asked].pause();
        let id = cluster.nodes[next].id.to_string();
        done(&["transfer", "--to", &to(leader), "--node", &id]);
        gate.open();
        done(&["promote", "--to", &to(next), "4"]);
        done(&["demote", "--to", &to(next), "4"]);
        cluster.nodes[asked].resume();
        attach.join().unwrap()
    });
    assert_eq!(ran.code, Some(3), "nobody knows: {}{}", ran.out, ran.err);
    assert_eq!(cluster.nodes[next].status("voters").unwrap(), "[1,2,3]");
    assert_eq!(cluster.nodes[next].status("learners").unwrap(), "[4]");
}
