//! Members that move to another address, and operators who mistake it.

#![cfg(feature = "raft-kv")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::thread;

use support::{
    Client, Cluster, Gate, Held, Ran, Value, ask, check, done, eventually, free_port, let_lead,
    order, refused, request, run, set,
};

/// Three voters, two of which were attached: those did not know where they are when they were greeted first.
fn grown() -> Cluster {
    let mut cluster = Cluster::started(1);
    let (two, three) = (cluster.add_joiner(), cluster.add_joiner());
    let to = cluster.nodes[0].to();
    let (two, three) = (cluster.nodes[two].place(), cluster.nodes[three].place());
    done(&["attach", "--to", &to, &two, &three]);
    cluster
}

/// Where nobody is, for this node.
fn nowhere(cluster: &Cluster, node: usize) -> String {
    format!("{}=127.0.0.1:{}", cluster.nodes[node].id, free_port())
}

/// Where a node is looked for, as another one knows it.
fn address(cluster: &Cluster, asked: usize, id: u64) -> String {
    let ran = run(&["members", "--json", "--to", &cluster.nodes[asked].to()]);
    let members: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    let mut members = members["members"].as_array().unwrap().iter();
    let member = members.find(|member| member["id"] == id).unwrap();
    format!("{id}={}", member["address"].as_str().unwrap())
}

/// Orders a move to where the member is, and does something else after it has said who it is and before that is
/// heard; nothing if the question was given up meanwhile.
fn move_meanwhile(
    cluster: &Cluster,
    (by, node): (usize, usize),
    meanwhile: impl FnOnce(),
) -> Option<Ran> {
    let gate = Gate::before(&cluster.nodes[node], Held::Answers);
    let place = format!("{}=127.0.0.1:{}", cluster.nodes[node].id, gate.port);
    let ran = thread::scope(|scope| {
        let moved = scope.spawn(|| order(&["move", "--to", &cluster.nodes[by].to(), &place]));
        gate.wait_until_answered();
        meanwhile();
        gate.open();
        moved.join().unwrap()
    });
    (!ran.err.contains("does not say who it is")).then_some(ran)
}

fn assert_overtaken(ran: &Ran) {
    let stale = "the configuration in force is";
    assert_eq!(ran.code, Some(1), "{}{}", ran.out, ran.err);
    assert!(ran.err.contains(stale), "{}", ran.err);
}

#[test]
fn a_node_moves_to_another_address() {
    let mut cluster = Cluster::started(3);
    set(&cluster, 0, "before");
    let leader = cluster.wait_for_leader();
    let moving = (leader + 1) % 3;
    cluster.nodes[moving].peer = free_port();
    let to = cluster.nodes[leader].to();
    let place = cluster.nodes[moving].place();
    done(&["move", "--to", &to, &place, "--force"]);
    // Still at the old place, and still reached there.
    set(&cluster, moving, "meanwhile");
    cluster.nodes[moving].stop();
    cluster.nodes[moving].start();
    check(&cluster, moving, "meanwhile");
    // All must reach it: it is the one that the others need.
    cluster.nodes[(leader + 2) % 3].kill();
    set(&cluster, leader, "after");
    check(&cluster, moving, "after");
}

#[test]
fn a_node_that_is_at_its_new_address_already_moves_without_force() {
    let mut cluster = Cluster::started(3);
    let leader = cluster.wait_for_leader();
    let moving = (leader + 1) % 3;
    let to = cluster.nodes[leader].to();
    cluster.nodes[moving].stop();
    cluster.nodes[moving].peer = free_port();
    let place = cluster.nodes[moving].place();
    let said = refused(&["move", "--to", &to, &place]);
    assert!(
        said.contains("nobody answers at")
            && said.contains("force it if it will start there later"),
        "{said}"
    );
    cluster.nodes[moving].start();
    eventually("the node to answer", || cluster.nodes[moving].status("id"));
    done(&["move", "--to", &to, &place]);
    set(&cluster, moving, "there");
    check(&cluster, leader, "there");
}

#[test]
fn an_address_at_which_somebody_else_is_is_refused() {
    let mut cluster = Cluster::started(3);
    let other = Cluster::started(3);
    let to = cluster.nodes[0].to();
    let before = cluster.nodes[0].status("configuration_id");
    let move_to = |address: String| refused(&["move", "--to", &to, &format!("3={address}")]);
    let joiner = cluster.add_joiner();
    let place = |node: &support::Node| format!("127.0.0.1:{}", node.peer);
    let said = move_to(place(&cluster.nodes[joiner]));
    assert!(said.contains("and node 4 is there"), "{said}");
    let said = move_to(place(&other.nodes[2]));
    assert!(said.contains("expected the member with store"), "{said}");
    let said = move_to(cluster.nodes[1].to());
    assert!(said.contains("listens for peers"), "{said}");
    let said = refused(&["move", "--to", &to, "9=127.0.0.1:1"]);
    assert!(said.contains("node 9 is not a member"), "{said}");
    assert_eq!(cluster.nodes[0].status("configuration_id"), before);
}

/// Two operators moved a node at a time, and the address that was found out first came into force last.
#[test]
fn a_move_that_was_overtaken_by_another_changes_nothing() {
    let cluster = Cluster::started(3);
    let leader = cluster.wait_for_leader();
    let moving = (leader + 1) % 3;
    let to = cluster.nodes[leader].to();
    eventually("the first move to be overtaken", || {
        let place = nowhere(&cluster, moving);
        let ran = move_meanwhile(&cluster, (leader, moving), || {
            done(&["move", "--to", &to, &place, "--force"]);
        })?;
        assert_overtaken(&ran);
        assert_eq!(address(&cluster, leader, cluster.nodes[moving].id), place);
        Some(())
    });
}

/// The member that had been asked was gone when its answer came, and the one in its place was sent to where the
/// other still was.
#[test]
fn a_move_of_a_member_in_whose_place_another_came_changes_nothing() {
    eventually("the move to be overtaken", || {
        let mut cluster = Cluster::started(3);
        let leader = cluster.wait_for_leader();
        let moving = (leader + 1) % 3;
        let replacement = cluster.add_replacement(moving);
        let (to, id) = (cluster.nodes[leader].to(), cluster.nodes[moving].id);
        let place = cluster.nodes[replacement].place();
        let ran = move_meanwhile(&cluster, (leader, moving), || {
            done(&["detach", "--to", &to, &id.to_string()]);
            done(&["attach", "--to", &to, &place, "--learner"]);
        })?;
        assert_overtaken(&ran);
        assert_eq!(address(&cluster, leader, id), place);
        Some(())
    });
}

/// What was expected took the place of what the node knew: it asked one member, and could have moved another.
#[test]
fn a_move_that_expects_what_its_node_does_not_know_asks_nobody() {
    let cluster = Cluster::started(1);
    let to = cluster.nodes[0].to();
    for place in [nowhere(&cluster, 0), "2=127.0.0.1:1".to_string()] {
        let said = refused(&["move", "--to", &to, &place, "--expect", "9.999"]);
        assert!(said.contains("expected 9.999"), "{said}");
    }
}

/// It was cut off at once, and so was whoever asked it: answers had no way back to it.
#[test]
fn a_node_whose_address_is_mistaken_is_reached_where_it_was() {
    let cluster = grown();
    let_lead(&cluster, 0, 2);
    let to = cluster.nodes[2].to();
    done(&["move", "--to", &to, &nowhere(&cluster, 2), "--force"]);
    for node in 0..3 {
        set(&cluster, node, "meanwhile");
        check(&cluster, node, "meanwhile");
    }
    let leader = cluster.wait_for_leader();
    assert_eq!(leader, 2, "its messages and their answers arrive");
    done(&["move", "--to", &to, &nowhere(&cluster, 2), "--force"]);
    done(&[
        "move",
        "--to",
        &cluster.nodes[0].to(),
        &cluster.nodes[2].place(),
    ]);
    check(&cluster, 2, "meanwhile");
}

/// Node 3 leads, and node 1 hears it and looks for it in the wrong place.
fn led_by_one_that_is_mistaken() -> Cluster {
    let mut cluster = grown();
    let_lead(&cluster, 0, 2);
    let to = cluster.nodes[2].to();
    done(&["move", "--to", &to, &nowhere(&cluster, 2), "--force"]);
    set(&cluster, 0, "moved");
    // What it knew of the leader besides what its log says is gone.
    cluster.nodes[0].stop();
    let large = "x".repeat(600 << 10);
    for key in ["a", "b", "c", "d"] {
        ask(&cluster, 1, &["SET", key, &large], |reply| {
            (reply == Value::ok()).then_some(())
        });
    }
    cluster.nodes[0].start();
    eventually("the restarted node to hear of its leader", || {
        (cluster.nodes[0].status("leader")? == "3").then_some(())
    });
    cluster
}

/// A leader sends nothing more to whoever does not answer, and whoever looks for it in the wrong place cannot:
/// the entry that says where it is never arrived, and the follower stayed behind until the leader was restarted.
#[test]
fn a_node_that_looks_for_its_leader_in_the_wrong_place_is_told_by_the_leader_itself() {
    let cluster = led_by_one_that_is_mistaken();
    let to = cluster.nodes[2].to();
    let place = cluster.nodes[2].place();
    let said = run(&["move", "--to", &cluster.nodes[0].to(), &place]);
    assert!(
        said.code == Some(1) && said.err.contains("not the leader"),
        "nothing was done, and another node can do it: {}",
        said.err
    );
    done(&["move", "--to", &to, &place]);
    check(&cluster, 0, "moved");
    set(&cluster, 0, "after");
    assert_eq!(cluster.wait_for_leader(), 2);
}

/// A write waited for its timeout, and then nobody knew what had become of it.
#[test]
fn a_write_that_would_not_reach_its_leader_is_refused_at_once_and_a_read_waits_until_it_does() {
    let cluster = led_by_one_that_is_mistaken();
    let mut reader = Client::connect(cluster.nodes[0].client).unwrap();
    reader.send(&request(&["GET", "moved"])).unwrap();
    let mut writer = Client::connect(cluster.nodes[0].client).unwrap();
    let Value::Error(said) = writer.call(&["SET", "moved", "again"]).unwrap() else {
        panic!("it cannot be done");
    };
    assert!(said.starts_with("NOTLEADER "), "{said}");
    let to = cluster.nodes[2].to();
    done(&["move", "--to", &to, &cluster.nodes[2].place()]);
    assert_eq!(reader.receive().unwrap(), Value::bulk("moved"));
}
