//! Commands that are meant for the node itself.

use super::support::{Client, Cluster, Value, eventually, request};
use super::{one_node, shown};

#[test]
fn members_are_shown_as_maps_and_configurations_by_their_entry() {
    let cluster = Cluster::started(3);
    let leader = cluster.wait_for_leader();
    let mut client = Client::connect(cluster.nodes[leader].client).unwrap();
    let Value::Array(members) = client.call(&["RAFT.MEMBERS"]).unwrap() else {
        panic!("RAFT.MEMBERS answers an array");
    };
    assert_eq!(members.len(), 3);
    for (member, node) in members.iter().zip(&cluster.nodes) {
        let Value::Array(pairs) = member else {
            panic!("a member is a map");
        };
        let named = |name: &str| {
            let place = pairs
                .iter()
                .step_by(2)
                .position(|key| *key == Value::bulk(name));
            pairs[place.unwrap() * 2 + 1].clone()
        };
        assert_eq!(named("id"), Value::Integer(i64::try_from(node.id).unwrap()));
        assert_eq!(named("role"), Value::bulk("voter"));
        assert_eq!(
            named("address"),
            Value::bulk(&format!("127.0.0.1:{}", node.peer))
        );
        assert!(matches!(named("match_index"), Value::Integer(_)));
        let leads = node.id == cluster.nodes[leader].id;
        assert_eq!(named("leader"), Value::Integer(i64::from(leads)));
    }
    let info = shown(&client.call(&["INFO"]).unwrap());
    for line in [
        "raft_voters:1,2,3",
        "raft_learners:",
        "raft_configuration_id:0.0",
        "raft_first_index:1",
        "raft_disk:healthy",
    ] {
        assert!(info.contains(line), "{line}: {info}");
    }
}

#[test]
fn an_order_to_the_node_is_compared_with_what_it_expects() {
    let cluster = Cluster::started(3);
    let leader = cluster.wait_for_leader();
    let mut client = Client::connect(cluster.nodes[leader].client).unwrap();
    let other = cluster.nodes[(leader + 1) % 3].id.to_string();
    let changed = eventually("the change", || {
        let reply = client
            .call(&["RAFT.DEMOTE", &other, "EXPECT", "0.0"])
            .unwrap();
        (!shown(&reply).starts_with("(error) BUSY")).then_some(reply)
    });
    let Value::Bulk(Some(id)) = changed else {
        panic!("a change answers its entry: {changed:?}");
    };
    let stale = shown(
        &client
            .call(&["RAFT.PROMOTE", &other, "EXPECT", "0.0"])
            .unwrap(),
    );
    let id = String::from_utf8(id).unwrap();
    let expected = format!("(error) ERR the configuration in force is {id}, expected 0.0:");
    assert!(stale.starts_with(&expected), "{stale}");
    let promoted = client
        .call(&["RAFT.PROMOTE", &other, "EXPECT", &id])
        .unwrap();
    assert!(matches!(promoted, Value::Bulk(Some(_))), "{promoted:?}");
}

#[test]
fn orders_keep_their_place_in_a_pipeline() {
    let (_cluster, mut client) = one_node();
    let mut pipeline = request(&["SET", "a", "1"]);
    pipeline.extend(request(&["RAFT.SNAPSHOT"]));
    pipeline.extend(request(&["GET", "a"]));
    pipeline.extend(request(&["RAFT.SOLO"]));
    pipeline.extend(request(&["SET", "a", "2"]));
    pipeline.extend(request(&["GET", "a"]));
    client.send(&pipeline).unwrap();
    assert_eq!(client.receive().unwrap(), Value::ok());
    assert!(matches!(client.receive().unwrap(), Value::Bulk(Some(_))));
    assert_eq!(client.receive().unwrap(), Value::bulk("1"));
    assert!(matches!(client.receive().unwrap(), Value::Array(_)));
    // Whatever became of it while the node left its cluster.
    let second = client.receive().unwrap();
    let read = client.receive().unwrap();
    assert!(
        second != Value::ok() || read == Value::bulk("2"),
        "{second:?} {read:?}"
    );
}
