//! What the program says to whoever types: help, errors, and how it ends.

#![cfg(feature = "raft-kv")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};

use support::{Cluster, free_port, run};

#[test]
fn an_unknown_flag_is_refused_with_the_usage() {
    let ran = run(&["local", "--nodez", "3"]);
    assert_eq!(ran.code, Some(2));
    assert!(
        ran.err.contains("unexpected argument '--nodez'"),
        "{}",
        ran.err
    );
    assert!(ran.err.contains("Usage: raft-kv local"), "{}", ran.err);
}

#[test]
fn every_verb_explains_itself() {
    for verb in [
        "local",
        "init",
        "serve",
        "status",
        "members",
        "attach",
        "detach",
        "promote",
        "demote",
        "move",
        "transfer",
        "step-down",
        "snapshot",
        "solo",
        "reset",
        "bench",
    ] {
        let ran = run(&[verb, "--help"]);
        let example = format!("  raft-kv {verb}");
        assert!(
            ran.success && ran.out.contains("Usage: raft-kv") && ran.out.contains(&example),
            "{}",
            ran.out
        );
    }
    let help = run(&["--help"]).out;
    assert!(help.contains("redis-cli"), "{help}");
    for code in [
        "0  done",
        "1  understood",
        "2  not understood",
        "3  an order",
    ] {
        assert!(help.contains(code), "{help}");
    }
}

#[test]
fn status_shows_what_a_node_knows() {
    let cluster = Cluster::started(1);
    let to = format!("127.0.0.1:{}", cluster.nodes[0].client);
    let table = run(&["status", "--to", &to]);
    for row in [
        "id             1",
        "role           leader",
        "leader         1",
    ] {
        assert!(table.out.contains(row), "{}", table.out);
    }
    assert!(!table.out.contains("disk"), "{}", table.out);
    let peers = format!("127.0.0.1:{}", cluster.nodes[0].peer);
    let strange = run(&["status", "--to", &peers]).err;
    assert!(
        strange.contains("no status from") && !strange.contains("ERR "),
        "{strange}"
    );
    let json = run(&["status", "--to", &to, "--json"]).out;
    let status: serde_json::Value = serde_json::from_str(&json).unwrap();
    for field in [
        "id",
        "role",
        "term",
        "leader",
        "commit_index",
        "applied_index",
        "process_id",
        "disk",
    ] {
        assert!(!status[field].is_null(), "{field}: {json}");
    }
    assert_eq!(status["cluster_id"].as_str().unwrap().len(), 32);
    let nobody = run(&["status", "--to", &format!("127.0.0.1:{}", free_port())]);
    assert!(
        !nobody.success && nobody.err.contains("is a raft-kv node listening"),
        "{}",
        nobody.err
    );
}

/// Somebody takes the order and falls silent: nobody knows what became of it, and the exit code says so.
#[test]
fn an_order_whose_outcome_nobody_knows_has_an_exit_code_of_its_own() {
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let to = silent.local_addr().unwrap().to_string();
    let ran = run(&["step-down", "--to", &to, "--timeout", "1"]);
    assert_eq!(ran.code, Some(3), "{}", ran.err);
    assert!(
        ran.err.contains("step-down at 127.0.0.1") && ran.err.contains("it may have been done"),
        "{}",
        ran.err
    );
    drop(silent);
    let ran = run(&["step-down", "--to", &to]);
    assert_eq!(ran.code, Some(1), "{}", ran.err);
    assert!(
        ran.err.contains("is a raft-kv node listening"),
        "{}",
        ran.err
    );
}

#[test]
fn the_program_has_its_own_name_and_version() {
    let version = run(&["--version"]).out;
    assert_eq!(version, format!("raft-kv {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn a_node_is_named_once() {
    for arguments in [
        &["detach", "2", "3", "2"][..],
        &["attach", "2=a:1", "2=b:1"],
    ] {
        let ran = run(arguments);
        assert_eq!(ran.code, Some(2), "{arguments:?}: {}", ran.err);
        assert!(ran.err.contains("node 2 is named twice"), "{}", ran.err);
    }
}

/// A node that refuses every order as too early; how often it was asked.
fn asked_until_given_up(arguments: &[&str]) -> (usize, support::Ran) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let to = listener.local_addr().unwrap().to_string();
    std::thread::scope(|scope| {
        let asked = scope.spawn(|| {
            let mut asked = 0;
            loop {
                let (mut stream, _) = listener.accept().unwrap();
                let mut request = [0; 256];
                if stream.read(&mut request).unwrap() == 0 {
                    return asked;
                }
                asked += 1;
                stream
                    .write_all(b"-BUSY it is, RAFT.STATUS says why\r\n")
                    .unwrap();
            }
        });
        let ran = run(&[arguments, &["--to", &to]].concat());
        // Whoever connects and says nothing is the end of it.
        drop(TcpStream::connect(&to).unwrap());
        (asked.join().unwrap(), ran)
    })
}

#[test]
fn an_order_that_comes_too_early_is_given_again_for_as_long_as_was_said() {
    let (asked, ran) = asked_until_given_up(&["step-down", "--timeout", "1"]);
    assert_eq!(ran.code, Some(1), "{}", ran.err);
    // Five times a second at most.
    assert!((1..=6).contains(&asked), "asked {asked} times");
    assert!(
        ran.err.contains("BUSY it is, `raft-kv status` says why"),
        "{}",
        ran.err
    );
    let (asked, _) = asked_until_given_up(&["step-down"]);
    assert_eq!(asked, 25);
}

/// A node that is reset starts again, and a second order may meet it while it does.
#[test]
fn an_order_to_a_node_that_ends_the_connection_says_what_happened_and_where_to_look() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let to = listener.local_addr().unwrap().to_string();
    // What was sent is not read, which is when a connection is reset.
    let ran = std::thread::scope(|scope| {
        scope.spawn(|| listener.accept().map(drop).unwrap());
        run(&["reset", "--to", &to])
    });
    assert_eq!(ran.code, Some(3), "{}", ran.err);
    let shows = format!("`raft-kv status --to {to}` shows");
    assert!(
        ran.err
            .contains("it stops, or starts again, as after a reset")
            && ran.err.contains(&shows),
        "{}",
        ran.err
    );
}

#[test]
fn a_value_that_is_none_is_told_with_what_was_expected() {
    for (arguments, expected) in [
        (&["promote", "x"][..], "the id of a node"),
        (&["detach", "1", "two"], "the id of a node"),
        (&["transfer", "--node", "db2"], "the id of a node"),
        (&["status", "--to", "127.0.0.1"], "expected HOST:PORT"),
        (&["members", "--to", "db1"], "expected HOST:PORT"),
        (&["reset", "--to", "db1:client"], "expected HOST:PORT"),
        (&["step-down", "--timeout", "0"], "a number from 1 to 86400"),
        (&["local", "--nodes", "ten"], "a number from 1 to 9"),
        (&["serve", "--id", "db1"], "the id of a node"),
        (&["serve", "--peer-addr", "db1:7101"], "expected IP:PORT"),
        (
            &["serve", "--heartbeat-ms", "50ms"],
            "a number of milliseconds",
        ),
        (&["solo", "--expect", "c1"], "32 hexadecimal digits"),
        (&["promote", "3", "--expect", "3-17"], "expected TERM.INDEX"),
        (&["attach", "4=db4:0"], "a port from 1 to 65535"),
    ] {
        let ran = run(arguments);
        let found = arguments.last().unwrap();
        assert_eq!(ran.code, Some(2), "{arguments:?}: {}", ran.err);
        assert!(
            ran.err.contains(expected) && ran.err.contains(&format!("'{found}'")),
            "{arguments:?}: {}",
            ran.err
        );
    }
}
