//! Clusters of real processes that grow, shrink and lose members, as their operators order it.

#![cfg(feature = "raft-kv")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use support::{
    Client, Cluster, Value, ask, check, done, eventually, free_port, refused, run, set,
    wait_for_log,
};

#[test]
fn a_node_that_waits_is_attached_has_everything_and_votes() {
    let mut cluster = Cluster::started(1);
    set(&cluster, 0, "before");
    let joiner = cluster.add_joiner();
    wait_for_log(&cluster, joiner, "raft-kv attach --to");
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

/// What a node's clients are told, once it is what is expected.
fn told(cluster: &Cluster, node: usize, words: &[&str], expected: &str) {
    ask(cluster, node, words, |reply| match reply {
        Value::Error(error) => error.contains(expected).then_some(()),
        Value::Simple(_) | Value::Bulk(_) | Value::Integer(_) | Value::Array(_) => None,
    });
}

#[test]
fn a_node_that_waits_says_so_and_what_to_do() {
    let mut cluster = Cluster::started(1);
    let joiner = cluster.add_joiner();
    let mut client = Client::connect(cluster.nodes[joiner].client).unwrap();
    for words in [
        &["GET", "a"][..],
        &["SET", "a", "1"],
        &["RAFT.SESSION"],
        &["RAFT.ONCE", "1.2", "1", "INCR", "a"],
        &["RAFT.STALE", "GET", "a"],
        &["RAFT.TRANSFER"],
        &["RAFT.DETACH", "2"],
    ] {
        let Value::Error(error) = client.call(words).unwrap() else {
            panic!("{words:?} is refused");
        };
        assert!(
            error.starts_with("NOTMEMBER node 2 is in no cluster")
                && error
                    .contains("raft-kv attach --to CLIENT-ADDRESS-OF-A-MEMBER 2=HOST:PEER-PORT"),
            "{words:?}: {error}"
        );
    }
    let to = cluster.nodes[joiner].to();
    let status = run(&["status", "--to", &to]);
    assert!(
        status.out.contains("role           waiting"),
        "{}",
        status.out
    );
    for json in [None, Some("--json")] {
        let mut arguments = vec!["members", "--to", &to];
        arguments.extend(json);
        let members = run(&arguments);
        assert_eq!((members.code, members.out.as_str()), (Some(1), ""));
        assert!(
            members.err.contains("node 2 is in no cluster")
                && members.err.contains("waits to be attached"),
            "{}",
            members.err
        );
    }
    let said = refused(&["detach", "--to", &to, "1"]);
    assert!(said.contains("in no cluster"), "{said}");
}

/// The field of a member as a node's status tells it.
fn member(cluster: &Cluster, asked: usize, id: u64, field: &str) -> Option<String> {
    let ran = run(&["members", "--json", "--to", &cluster.nodes[asked].to()]);
    let members: serde_json::Value = serde_json::from_str(&ran.out).ok()?;
    let members = members["members"].as_array()?;
    let found = members.iter().find(|member| member["id"] == id)?;
    Some(found[field].to_string().replace('"', ""))
}

#[test]
fn a_learner_receives_everything_is_promoted_and_demoted_again() {
    let mut cluster = Cluster::started(1);
    let to = cluster.nodes[0].to();
    let joiner = cluster.add_joiner();
    let place = cluster.nodes[joiner].place();
    done(&["attach", "--to", &to, &place, "--learner"]);
    assert_eq!(member(&cluster, 0, 2, "role").unwrap(), "learner");
    assert_eq!(cluster.nodes[0].status("voters").unwrap(), "[1]");
    assert_eq!(cluster.nodes[0].status("learners").unwrap(), "[2]");
    set(&cluster, 0, "a");
    check(&cluster, joiner, "a");
    let said = refused(&["transfer", "--to", &to, "--node", "2"]);
    assert!(said.contains("node 2 is not a voter"), "{said}");
    done(&["promote", "--to", &to, "2"]);
    assert_eq!(member(&cluster, 0, 2, "role").unwrap(), "voter");
    done(&["demote", "--to", &cluster.nodes[joiner].to(), "2"]);
    assert_eq!(member(&cluster, 0, 2, "role").unwrap(), "learner");
    let table = run(&["members", "--to", &to]).out;
    assert!(
        table.contains("2      learner") && table.contains("1      voter     leader"),
        "{table}"
    );
}

#[test]
fn what_cannot_be_attached_is_told_with_what_would_work() {
    let mut cluster = Cluster::started(1);
    let other = Cluster::started(1);
    let to = cluster.nodes[0].to();
    let attach = |place: &str| refused(&["attach", "--to", &to, place]);
    let nobody = attach(&format!("4=127.0.0.1:{}", free_port()));
    assert!(
        nobody.contains("does not answer") && nobody.contains("raft-kv serve --join --id 4"),
        "{nobody}"
    );
    let client_port = attach(&format!("4={}", other.nodes[0].to()));
    assert!(
        client_port.contains("the address at which it listens for peers"),
        "{client_port}"
    );
    let joiner = cluster.add_joiner();
    let peer = cluster.nodes[joiner].peer;
    let misnamed = attach(&format!("4=127.0.0.1:{peer}"));
    assert!(
        misnamed.contains("is node 2, and node 4 is to be attached"),
        "{misnamed}"
    );
    let occupied = attach(&other.nodes[0].place());
    assert!(
        occupied.contains("belongs to cluster") && occupied.contains("reset"),
        "{occupied}"
    );
    let place = cluster.nodes[joiner].place();
    let stale = refused(&["attach", "--to", &to, &place, "--expect", "1.7777"]);
    let found = cluster.nodes[0].status("configuration_id").unwrap();
    let expected = format!("the configuration in force is {found}, expected 1.7777:");
    assert!(stale.contains(&expected), "{stale}");
    let nonsense = run(&["attach", "--to", &to, "db4:7104"]);
    assert_eq!(nonsense.code, Some(2));
    assert!(
        nonsense.err.contains("expected ID=HOST:PORT"),
        "{}",
        nonsense.err
    );
    done(&["attach", "--to", &to, &place]);
    let again = attach(&place);
    assert!(again.contains("node 2 is a member already"), "{again}");
}

#[test]
fn what_would_harm_a_cluster_is_refused_unless_it_is_forced() {
    let mut cluster = Cluster::started(1);
    let to = cluster.nodes[0].to();
    let last = refused(&["detach", "--to", &to, "1"]);
    assert!(last.contains("would leave no voter"), "{last}");
    let unknown = refused(&["detach", "--to", &to, "9"]);
    assert!(unknown.contains("node 9 is not a member"), "{unknown}");
    let alone = refused(&["transfer", "--to", &to]);
    assert!(alone.contains("no other voter"), "{alone}");
    let member = refused(&["reset", "--to", &to]);
    assert!(
        member.contains("node 1 is a member") && member.contains("detach it first"),
        "{member}"
    );
    let joiner = cluster.add_joiner();
    done(&["attach", "--to", &to, &cluster.nodes[joiner].place()]);
    let others = refused(&["solo", "--to", &to]);
    assert!(
        others.contains("1 other voter takes part") && others.contains("two histories"),
        "{others}"
    );
    let elsewhere = "00000000000000000000000000000001";
    let other = refused(&["solo", "--to", &to, "--force", "--expect", elsewhere]);
    let found = cluster.nodes[0].status("cluster_id").unwrap();
    let expected = format!("the node is in cluster {found}, expected {elsewhere}");
    assert!(other.contains(&expected), "{other}");
}

#[test]
fn leadership_moves_where_it_is_asked_to_and_away_from_whoever_steps_down() {
    let cluster = Cluster::started(3);
    let leader = cluster.wait_for_leader();
    let target = (leader + 1) % 3;
    // Any node takes the order, also the one that neither leads nor is to.
    let to = cluster.nodes[(leader + 2) % 3].to();
    let id = cluster.nodes[target].id.to_string();
    done(&["transfer", "--to", &to, "--node", &id]);
    eventually("the target to lead", || {
        (cluster.leader() == Some(target)).then_some(())
    });
    let said = refused(&["transfer", "--to", &to, "--node", &id]);
    assert!(said.contains("leads already"), "{said}");
    done(&["step-down", "--to", &to]);
    eventually("another leader", || {
        cluster.leader().filter(|other| *other != target)
    });
}

#[test]
fn a_detached_leader_hands_over_is_reset_by_an_order_and_comes_back() {
    let mut cluster = Cluster::started(3);
    set(&cluster, 0, "before");
    let leader = cluster.wait_for_leader();
    let (leader_to, id) = (
        cluster.nodes[leader].to(),
        cluster.nodes[leader].id.to_string(),
    );
    let to = cluster.nodes[(leader + 1) % 3].to();
    done(&["detach", "--to", &leader_to, &id]);
    eventually("a leader among the others", || {
        cluster.leader().filter(|other| *other != leader)
    });
    set(&cluster, (leader + 1) % 3, "without");
    wait_for_log(&cluster, leader, "no member of the new configuration");
    let removed = "NOTMEMBER node";
    told(&cluster, leader, &["GET", "before"], removed);
    told(&cluster, leader, &["RAFT.STALE", "GET", "before"], removed);
    let status = run(&["status", "--to", &leader_to]).out;
    assert!(status.contains("role           removed"), "{status}");
    let members = run(&["members", "--to", &leader_to]);
    assert!(members.success && members.err.contains("ask a member"));
    let store = cluster.nodes[leader].status("store_id").unwrap();
    done(&["reset", "--to", &leader_to]);
    // The process starts again by itself, and waits.
    let zero = "0".repeat(32);
    let emptied = eventually("the node to wait again", || {
        cluster.nodes[leader]
            .status("cluster_id")
            .filter(|id| *id == zero)?;
        cluster.nodes[leader].status("store_id")
    });
    assert_ne!(emptied, store, "another chain of promises");
    let log = cluster.nodes[leader].log();
    assert!(!log.contains("ERROR"), "it was ordered: {log}");
    done(&["attach", "--to", &to, &cluster.nodes[leader].place()]);
    check(&cluster, leader, "before");
    check(&cluster, leader, "without");
    cluster.nodes[leader].stop();
}

#[test]
fn a_node_that_was_detached_while_it_was_away_is_told_and_may_come_back() {
    let mut cluster = Cluster::started(3);
    set(&cluster, 0, "before");
    cluster.nodes[2].kill();
    let leader = cluster.wait_for_leader();
    let to = cluster.nodes[leader].to();
    done(&["detach", "--to", &to, "3"]);
    // Who removed it goes on telling it for a while through the log; whoever leads after that does not.
    done(&["transfer", "--to", &to]);
    cluster.nodes[2].start();
    wait_for_log(&cluster, 2, "this node was removed from its cluster");
    told(
        &cluster,
        2,
        &["SET", "a", "1"],
        "while it was away: ask a member",
    );
    assert_eq!(cluster.nodes[2].status("standing").unwrap(), "removed");
    cluster.nodes[2].stop();
    let data = cluster.nodes[2].data.display().to_string();
    let said = refused(&["reset", "--data", &data]);
    assert!(
        said.contains("force it if it was detached while it was away (--force)"),
        "{said}"
    );
    done(&["reset", "--data", &data, "--force"]);
    cluster.nodes[2].start();
    eventually("the node to wait", || cluster.nodes[2].status("id"));
    done(&["attach", "--to", &to, &cluster.nodes[2].place()]);
    check(&cluster, 2, "before");
}

/// Whoever was away while everybody else was replaced knows none of those who lead now, nor where they are: it
/// answers them where they say.
#[test]
fn a_node_comes_back_to_a_cluster_in_which_it_knows_nobody() {
    let mut cluster = Cluster::started(3);
    set(&cluster, 0, "before");
    cluster.nodes[2].kill();
    let leader = cluster.wait_for_leader();
    let (four, five) = (cluster.add_joiner(), cluster.add_joiner());
    let to = cluster.nodes[leader].to();
    done(&[
        "attach",
        "--to",
        &to,
        &cluster.nodes[four].place(),
        &cluster.nodes[five].place(),
    ]);
    done(&["detach", "--to", &to, "1", "2"]);
    set(&cluster, four, "after");
    for gone in 0..2 {
        cluster.nodes[gone].kill();
    }
    // The snapshot that joiners began with may have replaced the log before.
    cluster.nodes[2].start();
    check(&cluster, 2, "before");
    check(&cluster, 2, "after");
    assert_eq!(cluster.nodes[2].status("voters").unwrap(), "[3,4,5]");
}
