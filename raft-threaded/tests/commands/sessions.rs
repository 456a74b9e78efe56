//! Writes that take effect once: `RAFT.SESSION` and `RAFT.ONCE`.

use super::support::{self, Client, Cluster, Value, eventually, request};
use super::{check, one_node, shown};

fn session(client: &mut Client) -> String {
    eventually("a session", || {
        match client.call(&["RAFT.SESSION"]).unwrap() {
            Value::Bulk(Some(session)) => Some(String::from_utf8(session).unwrap()),
            _ => None,
        }
    })
}

#[test]
fn a_write_of_a_session_takes_effect_once_and_is_answered_alike_at_every_node() {
    let cluster = Cluster::started(3);
    let connect = |node: &support::Node| Client::connect(node.client).unwrap();
    let mut clients: Vec<Client> = cluster.nodes.iter().map(connect).collect();
    let session = session(&mut clients[0]);
    let writes = [
        ("INCR n", "(integer) 1"),
        ("INCRBY n 41", "(integer) 42"),
        ("APPEND n !", "(integer) 3"),
        (
            "INCR n",
            "(error) ERR value is not an integer or out of range",
        ),
        ("SET n 1 GET", "\"42!\""),
        ("SET n 2", "OK"),
        ("SET n 3 NX", "(nil)"),
        ("GETDEL n", "\"2\""),
        ("DEL n", "(integer) 0"),
        ("MSET n 1 m 2", "OK"),
        ("SETNX n 2", "(integer) 0"),
        ("DECR n", "(integer) 0"),
    ];
    for (sequence, (command, expected)) in writes.into_iter().enumerate() {
        let words = format!("RAFT.ONCE {session} {sequence} {command}");
        let words: Vec<&str> = words.split(' ').collect();
        for place in 0..6 {
            let reply = eventually("an answer", || {
                let reply = clients[place % 3].call(&words).unwrap();
                (!reply.says_again()).then_some(shown(&reply))
            });
            assert_eq!(reply, expected, "{words:?}");
        }
    }
    check(&mut clients[0], r#"MGET n m -> ["0" "2"]"#);
}

#[test]
fn what_a_session_will_not_do_says_what_to_do_next() {
    let (_cluster, mut client) = one_node();
    let session = session(&mut client);
    check(
        &mut client,
        &format!(
            r#"
        RAFT.ONCE {session} 4 INCR n -> (integer) 1
        RAFT.ONCE {session} 4 INCRBY n 1 -> (integer) 1
        RAFT.ONCE {session} 4 INCRBY n 2 -> (error) REUSED sequence 4 of session {session} was used before, for another command, which was carried out; this one was not: give it a higher sequence than any before
        RAFT.ONCE {session} 4 SET n 9 -> (error) REUSED sequence 4 of session {session} was used before, for another command, which was carried out; this one was not: give it a higher sequence than any before
        GET n -> "1"
        RAFT.ONCE {session} 3 INCR n -> (error) PASSED sequence 3 is not executed any more, and its reply is forgotten: a later command of session {session} said that every sequence below 4 has its answer; give a new command a higher sequence than any before
        RAFT.ONCE 7.99 4 INCR n -> (error) NOSESSION session 7.99 has expired or never was, and what it has no answer to may have taken effect; begin another with RAFT.SESSION
        RAFT.ONCE {session} 5 GET n -> (error) ERR 'GET' changes nothing, however often it is sent: send it without RAFT.ONCE
        RAFT.ONCE {session} five INCR n -> (error) ERR 'five' is no sequence, which is a number, higher for each new command
        GET n -> "1"
        "#
        ),
    );
    // More than is kept for a session.
    let value = "v".repeat(5_000);
    assert_eq!(client.call(&["SET", "big", &value]).unwrap(), Value::ok());
    let words = ["RAFT.ONCE", &session, "6", "GETDEL", "big"];
    assert_eq!(client.call(&words).unwrap(), Value::bulk(&value));
    let lost = shown(&client.call(&words).unwrap());
    assert!(
        lost.starts_with("(error) REPLYLOST it took effect as entry ")
            && lost.ends_with("look at the store, and go on with the next sequence"),
        "{lost}"
    );
}

#[test]
fn a_client_with_several_writes_on_their_way_says_how_far_it_has_its_answers() {
    let (_cluster, mut client) = one_node();
    let session = session(&mut client);
    let once = |sequence: &str, lowest: &str| {
        request(&[
            "RAFT.ONCE",
            &session,
            sequence,
            "LOWEST",
            lowest,
            "INCR",
            "n",
        ])
    };
    // The second does not pass the first, which is sent again after it.
    let mut pipeline = once("2", "1");
    pipeline.extend(once("1", "1"));
    pipeline.extend(once("2", "1"));
    pipeline.extend(once("3", "2"));
    pipeline.extend(once("1", "1"));
    client.send(&pipeline).unwrap();
    for expected in [1, 2, 1, 3] {
        assert_eq!(client.receive().unwrap(), Value::Integer(expected));
    }
    let passed = shown(&client.receive().unwrap());
    assert!(passed.starts_with("(error) PASSED sequence 1 "), "{passed}");
}
