//! Every command as a client sees it, against a real node.

#![cfg(feature = "raft-kv")]
#![expect(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a test that cannot go on has failed, and looks only at what it is about"
)]

mod orders;
mod sessions;
#[path = "../support/mod.rs"]
mod support;

use support::{Client, Cluster, Value, eventually, request};

fn one_node() -> (Cluster, Client) {
    let cluster = Cluster::started(1);
    let client = Client::connect(cluster.nodes[0].client).unwrap();
    (cluster, client)
}

/// Runs a script: each line a command, `->`, and the reply in redis-cli's manner.
fn check(client: &mut Client, script: &str) {
    for line in script
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
    {
        let (command, expected) = line.split_once(" -> ").unwrap();
        let words: Vec<&str> = command
            .split(' ')
            .map(|w| if w == "''" { "" } else { w })
            .collect();
        let reply = client.call(&words).unwrap();
        assert_eq!(shown(&reply), expected, "{command}");
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::Simple(text) => text.clone(),
        Value::Error(text) => format!("(error) {text}"),
        Value::Integer(number) => format!("(integer) {number}"),
        Value::Bulk(None) => "(nil)".to_string(),
        Value::Bulk(Some(bytes)) => format!("{:?}", String::from_utf8_lossy(bytes)),
        Value::Array(values) => {
            let values: Vec<String> = values.iter().map(shown).collect();
            format!("[{}]", values.join(" "))
        }
    }
}

#[test]
fn strings_work_as_in_redis() {
    let (_cluster, mut client) = one_node();
    check(
        &mut client,
        r#"
        GET a -> (nil)
        SET a 1 -> OK
        GET a -> "1"
        SET a 2 NX -> (nil)
        SET a 2 XX GET -> "1"
        SET b 1 XX -> (nil)
        SET b 1 NX GET -> (nil)
        SETNX b 2 -> (integer) 0
        SETNX c '' -> (integer) 1
        GETSET b 3 -> "1"
        GETDEL b -> "3"
        GETDEL b -> (nil)
        MSET x 1 y 2 -> OK
        MGET x nothing y -> ["1" (nil) "2"]
        EXISTS x x nothing -> (integer) 2
        DEL x y nothing -> (integer) 2
        INCR n -> (integer) 1
        INCRBY n 41 -> (integer) 42
        DECR n -> (integer) 41
        DECRBY n 1 -> (integer) 40
        APPEND n 2 -> (integer) 3
        GET n -> "402"
        STRLEN n -> (integer) 3
        STRLEN nothing -> (integer) 0
        TYPE n -> string
        TYPE nothing -> none
        SET word abc -> OK
        INCR word -> (error) ERR value is not an integer or out of range
        SET big 9223372036854775807 -> OK
        INCR big -> (error) ERR increment or decrement would overflow
        DBSIZE -> (integer) 5
        FLUSHALL -> OK
        DBSIZE -> (integer) 0
        "#,
    );
}

#[test]
fn what_is_not_offered_is_refused_in_rediss_words() {
    let (_cluster, mut client) = one_node();
    check(
        &mut client,
        r"
        LPUSH a 1 -> (error) ERR unknown command 'LPUSH', with args beginning with: 'a' '1'
        GET -> (error) ERR wrong number of arguments for 'get' command
        SET a 1 EX 5 -> (error) ERR option EX is not supported: this server has no expiry
        SELECT 1 -> (error) ERR DB index is out of range: there is only 0
        CONFIG SET a b -> (error) ERR unknown subcommand 'SET' of CONFIG
        HELLO 4 -> (error) NOPROTO unsupported protocol version
        PING -> PONG
        ",
    );
}

#[test]
fn scan_finds_every_key_once_and_keeps_to_its_pattern() {
    let (_cluster, mut client) = one_node();
    let mut words = vec!["MSET".to_string()];
    for key in 0..1_000 {
        words.extend([format!("key:{key}"), key.to_string()]);
    }
    assert_eq!(client.call(&words).unwrap(), Value::ok());
    let (mut cursor, mut found) = ("0".to_string(), Vec::new());
    loop {
        let words = ["SCAN", &cursor, "MATCH", "key:*5", "COUNT", "17"];
        let Value::Array(page) = client.call(&words).unwrap() else {
            panic!("SCAN answers an array");
        };
        let [Value::Bulk(Some(next)), Value::Array(keys)] = &page[..] else {
            panic!("SCAN answers a cursor and keys: {page:?}");
        };
        found.extend(keys.iter().map(shown));
        cursor = String::from_utf8(next.clone()).unwrap();
        if cursor == "0" {
            break;
        }
    }
    found.sort();
    let before = found.len();
    found.dedup();
    assert_eq!((before, found.len()), (100, 100));
}

#[test]
fn both_versions_of_the_protocol_are_spoken() {
    let (_cluster, mut client) = one_node();
    let Value::Array(two) = client.call(&["HELLO"]).unwrap() else {
        panic!("HELLO answers an array in version 2");
    };
    assert_eq!(two.len(), 14);
    assert!(
        matches!(client.call(&["HELLO", "3"]).unwrap(), Value::Array(three) if three == {
            let mut expected = two.clone();
            expected[5] = Value::Integer(3);
            expected
        })
    );
    client.send(&request(&["GET", "nothing"])).unwrap();
    assert_eq!(client.receive().unwrap(), Value::Bulk(None));
}

#[test]
fn a_pipeline_is_answered_in_order_and_each_command_sees_those_before_it() {
    let (_cluster, mut client) = one_node();
    let mut pipeline = Vec::new();
    for round in 0..200 {
        let round = round.to_string();
        pipeline.extend(request(&["SET", "a", &round]));
        pipeline.extend(request(&["GET", "a"]));
        pipeline.extend(request(&["PING"]));
    }
    client.send(&pipeline).unwrap();
    for round in 0..200 {
        assert_eq!(client.receive().unwrap(), Value::ok());
        assert_eq!(client.receive().unwrap(), Value::bulk(&round.to_string()));
        assert_eq!(client.receive().unwrap(), Value::Simple("PONG".to_string()));
    }
}

/// Found by review: back-pressure must end when there is room again.
#[test]
fn a_pipeline_larger_than_any_buffer_is_answered_to_its_end() {
    let (_cluster, mut client) = one_node();
    client.send(&request(&["COMMAND"]).repeat(3_000)).unwrap();
    for _ in 0..3_000 {
        assert!(matches!(client.receive().unwrap(), Value::Array(_)));
    }
    let value = vec![b'v'; 1 << 20];
    client.call(&[b"SET", &b"big"[..], &value]).unwrap();
    client.send(&request(&["GET", "big"]).repeat(100)).unwrap();
    for _ in 0..100 {
        assert_eq!(client.receive().unwrap(), Value::Bulk(Some(value.clone())));
    }
}

#[test]
fn a_client_that_ends_its_side_still_gets_every_answer() {
    let (_cluster, mut client) = one_node();
    let mut pipeline = Vec::new();
    for _ in 0..500 {
        pipeline.extend(request(&["INCR", "n"]));
        pipeline.extend(request(&["GET", "n"]));
    }
    client.send(&pipeline).unwrap();
    client.end().unwrap();
    for n in 1..=500 {
        assert_eq!(client.receive().unwrap(), Value::Integer(n));
        assert_eq!(client.receive().unwrap(), Value::bulk(&n.to_string()));
    }
    assert!(client.receive().is_err(), "then the connection ends");
}

#[test]
fn replies_are_in_the_protocol_of_their_commands() {
    let (_cluster, mut client) = one_node();
    let mut pipeline = request(&["GET", "nothing"]);
    pipeline.extend(request(&["HELLO", "3"]));
    pipeline.extend(request(&["GET", "nothing"]));
    client.send(&pipeline).unwrap();
    assert_eq!(client.line().unwrap(), "$-1");
    assert!(matches!(client.receive().unwrap(), Value::Array(_)));
    assert_eq!(client.line().unwrap(), "_");
}

#[test]
fn values_up_to_the_limit_work_and_larger_ones_are_refused_with_it() {
    let cluster = Cluster::started(3);
    for node in &cluster.nodes {
        let mut client = Client::connect(node.client).unwrap();
        let key = format!("big:{}", node.id);
        let value = vec![b'v'; 8 << 20];
        let reply = eventually("a leader for this node", || {
            match client.call(&[b"SET", key.as_bytes(), &value]).unwrap() {
                Value::Error(_) => None,
                reply => Some(reply),
            }
        });
        assert_eq!(reply, Value::ok());
        assert_eq!(
            client.call(&["GET", &key]).unwrap(),
            Value::Bulk(Some(value))
        );
        let value = vec![b'v'; (8 << 20) + 1];
        let refused = client.call(&[b"SET", key.as_bytes(), &value]).unwrap();
        let expected = "(error) ERR a value of 8388609 bytes exceeds the limit of 8388608 bytes";
        assert_eq!(shown(&refused), expected);
        assert_eq!(
            client.call(&["PING"]).unwrap(),
            Value::Simple("PONG".to_string())
        );
    }
}

#[test]
fn a_malformed_request_ends_its_connection_with_a_sentence_and_no_other() {
    let (cluster, mut client) = one_node();
    let port = cluster.nodes[0].client;
    for (nonsense, expected) in [
        ("*1\r\n:1\r\n", "ERR Protocol error: expected '$', got ':'"),
        (
            "*2\r\n$3\r\nGET\r\n$629145600\r\n",
            "ERR Protocol error: invalid bulk length '629145600'",
        ),
        (
            "*99999999\r\n",
            "ERR Protocol error: invalid multibulk length '99999999'",
        ),
    ] {
        let mut other = Client::connect(port).unwrap();
        other.send(nonsense.as_bytes()).unwrap();
        assert_eq!(other.receive().unwrap(), Value::Error(expected.to_string()));
        assert!(other.receive().is_err(), "the connection is closed");
    }
    check(&mut client, "PING -> PONG");
}

#[test]
fn without_a_majority_the_error_says_so_and_says_what_is_unknown() {
    let mut cluster = Cluster::started(3);
    let leader = cluster.wait_for_leader();
    for other in (0..3).filter(|other| *other != leader) {
        cluster.nodes[other].kill();
    }
    let mut client = Client::connect(cluster.nodes[leader].client).unwrap();
    // The first may have been taken before the leader stepped down: then nobody can know.
    let first = shown(&client.call(&["SET", "a", "1"]).unwrap());
    assert!(
        first.starts_with("(error) UNKNOWN ") || first.starts_with("(error) CLUSTERDOWN "),
        "{first}"
    );
    let later = eventually("the leader to step down", || {
        let reply = shown(&client.call(&["SET", "a", "1"]).unwrap());
        reply.starts_with("(error) CLUSTERDOWN ").then_some(reply)
    });
    assert_eq!(
        later,
        "(error) CLUSTERDOWN not the leader, and none is known"
    );
    let read = shown(&client.call(&["GET", "a"]).unwrap());
    assert!(read.starts_with("(error) CLUSTERDOWN "), "{read}");
}
