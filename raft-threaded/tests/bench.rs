//! `raft-kv bench`: a load on real servers, and on some that misbehave.

#![cfg(feature = "raft-kv")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};

use serde_json::Value as Json;
use support::{Client, Cluster, Ran, Value, free_port, run};

/// The report of a load that was carried out.
fn report(ran: &Ran) -> Json {
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    serde_json::from_str(&ran.out).unwrap()
}

fn bench(to: &str, more: &[&str]) -> Ran {
    run(&[&["bench", "--json", "--to", to], more].concat())
}

#[test]
fn every_request_is_answered_and_reads_are_as_many_as_asked_for() {
    let cluster = Cluster::started(1);
    let load = "--clients 7 --pipeline 4 --requests 2000 --reads 25 --keys 40 --value-bytes 10";
    let load: Vec<&str> = load.split(' ').collect();
    let report = report(&bench(&cluster.nodes[0].to(), &load));
    assert_eq!(report["answered"], 2_000, "{report}");
    assert_eq!(report["errors"], serde_json::json!({}), "{report}");
    for none in ["lost", "unanswered", "reconnects"] {
        assert_eq!(report[none], 0, "{report}");
    }
    let reads = report["reads"].as_u64().unwrap();
    // The seed says which requests are reads, so that it is the same in every run.
    assert!((450..550).contains(&reads), "{report}");
    assert_eq!(report["writes"], 2_000 - reads, "{report}");
    let mut client = Client::connect(cluster.nodes[0].client).unwrap();
    assert_eq!(client.call(&["DBSIZE"]).unwrap(), Value::Integer(40));
    let length = client.call(&["STRLEN", "key:000000000039"]).unwrap();
    assert_eq!(length, Value::Integer(10));
}

#[test]
fn a_load_at_a_fixed_rate_sends_every_request_and_people_get_a_table_and_a_page() {
    let cluster = Cluster::started(1);
    let to = cluster.nodes[0].to();
    let page = cluster.folder.path().join("load.html");
    let load = ["bench", "--to", &to, "--html", page.to_str().unwrap()];
    let load = [&load[..], &["--rate", "5000", "--requests", "500"]].concat();
    let ran = run(&load);
    assert!(ran.success, "{}", ran.err);
    for row in [
        "requests       500 answered, 0 lost, 0 unanswered",
        "writes         500",
        "errors         none",
        "throughput     ",
        "p99.9          ",
    ] {
        assert!(ran.out.contains(row), "{}", ran.out);
    }
    let page = std::fs::read_to_string(page).unwrap();
    assert!(page.contains("500 answered") && page.ends_with("</html>\n"));
}

#[test]
fn a_page_that_cannot_be_written_is_told_before_anything_is_sent() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let to = listener.local_addr().unwrap().to_string();
    let ran = bench(&to, &["--html", "/nowhere/load.html"]);
    assert_eq!(ran.code, Some(1), "{}", ran.err);
    let expected = "raft-kv: cannot write the page to /nowhere/load.html: ";
    assert!(ran.err.starts_with(expected), "{}", ran.err);
    listener.set_nonblocking(true).unwrap();
    assert!(listener.accept().is_err(), "nobody came");
}

#[test]
fn errors_are_counted_by_their_first_word_and_the_load_goes_on() {
    let mut cluster = Cluster::new(1);
    // It waits to be attached, and refuses everything until then.
    let joiner = cluster.add_joiner();
    let to = cluster.nodes[joiner].to();
    let report = report(&bench(&to, &["--requests", "300", "--reads", "50"]));
    assert_eq!(report["answered"], 300, "{report}");
    let refused = &report["errors"]["NOTMEMBER"];
    assert_eq!(refused["count"], 300, "{report}");
    let example = refused["example"].as_str().unwrap();
    assert!(
        example.starts_with("NOTMEMBER node 2 is in no cluster"),
        "{example}"
    );
}

/// A load on a server of our own; it is let go whatever it still waits for, once the load is over.
fn bench_at(serve: impl FnOnce(&TcpListener) + Send, more: &[&str]) -> (String, Ran) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let to = listener.local_addr().unwrap().to_string();
    let ran = std::thread::scope(|scope| {
        let serving = scope.spawn(|| serve(&listener));
        let ran = bench(&to, more);
        while !serving.is_finished() {
            drop(TcpStream::connect(&to));
            std::thread::yield_now();
        }
        ran
    });
    (to, ran)
}

/// Takes one connection, answers so many requests on it, and reads one more before it ends it.
fn answer(listener: &TcpListener, requests: usize, with: &[u8]) {
    let stream = listener.accept().unwrap().0;
    let mut requests_of = BufReader::new(stream.try_clone().unwrap());
    let mut answers = stream;
    for request in 0..=requests {
        if !take_request(&mut requests_of) {
            return;
        }
        if request < requests {
            answers.write_all(with).unwrap();
        }
    }
}

/// Whether there was one: a write, which is seven lines.
fn take_request(stream: &mut BufReader<TcpStream>) -> bool {
    let mut line = String::new();
    (0..7).all(|_| stream.read_line(&mut line).unwrap_or(0) > 0)
}

#[test]
fn a_connection_that_ends_is_opened_again_and_what_was_sent_on_it_is_lost() {
    let serve = |listener: &TcpListener| {
        answer(listener, 3, b"+OK\r\n");
        answer(listener, 0, b"+OK\r\n");
        answer(listener, 100, b"+OK\r\n");
    };
    let (_, ran) = bench_at(serve, &["--clients", "1", "--requests", "10"]);
    let report = report(&ran);
    assert_eq!(report["answered"], 8, "{report}");
    assert_eq!(report["lost"], 2, "{report}");
    assert_eq!(report["reconnects"], 2, "{report}");
}

#[test]
fn connections_are_spread_over_the_servers() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let other = listener.local_addr().unwrap().to_string();
    let serve = |first: &TcpListener| {
        let second = listener.try_clone().unwrap();
        // Each takes one connection, so that both are asked or the load does not get through.
        std::thread::scope(|scope| {
            scope.spawn(move || answer(&second, 100, b"+OK\r\n"));
            answer(first, 100, b"+OK\r\n");
            drop(TcpStream::connect(&other));
        });
    };
    let to = &["--to", &other, "--clients", "2", "--requests", "10"];
    let (_, ran) = bench_at(serve, to);
    let report = report(&ran);
    assert_eq!(report["answered"], 10, "{report}");
    assert_eq!(report["to"].as_array().unwrap().len(), 2, "{report}");
}

#[test]
fn a_server_that_cannot_be_reached_is_named() {
    let to = format!("127.0.0.1:{}", free_port());
    let ran = bench(&to, &[]);
    assert_eq!(ran.code, Some(1), "{}", ran.err);
    let expected = format!("raft-kv: {to}: connection 1 of 50: ");
    assert!(ran.err.starts_with(&expected), "{}", ran.err);
    assert!(
        ran.err.ends_with("; does a server listen there?\n"),
        "{}",
        ran.err
    );
}

#[test]
fn a_server_that_speaks_something_else_is_named_with_what_it_said() {
    let serve = |listener: &TcpListener| answer(listener, 1, b"HTTP/1.1 400 Bad Request\r\n\r\n");
    let (to, ran) = bench_at(serve, &["--clients", "1"]);
    assert_eq!(ran.code, Some(1), "{}", ran.err);
    let expected = format!("raft-kv: {to}: it answered \"HTTP/1.1 400 Bad Request\"");
    assert!(ran.err.starts_with(&expected), "{}", ran.err);
}

#[test]
fn a_load_that_cannot_be_meant_is_not_understood() {
    for (arguments, expected) in [
        (&["--to", "db1"][..], "expected HOST:PORT"),
        (&["--to", "db1:1,db2"], "expected HOST:PORT"),
        (&["--clients", "0"], "a number from 1 to 10000"),
        (&["--reads", "101"], "a number from 0 to 100"),
        (&["--rate", "fast"], "a number from 1 to 10000000"),
        (
            &["--seconds", "9", "--requests", "9"],
            "cannot be used with",
        ),
    ] {
        let ran = run(&[&["bench"], arguments].concat());
        assert_eq!(ran.code, Some(2), "{arguments:?}: {}", ran.err);
        assert!(ran.err.contains(expected), "{arguments:?}: {}", ran.err);
    }
}

/// Most people have no use for it, and what it needs would more than double what they build.
#[cfg(not(feature = "etcd"))]
#[test]
fn a_load_on_etcd_says_how_to_build_a_program_that_has_it() {
    let ran = bench("127.0.0.1:2379", &["--etcd"]);
    assert_eq!(ran.code, Some(2), "{}", ran.err);
    for expected in ["--features etcd", "protoc"] {
        assert!(ran.err.contains(expected), "{}", ran.err);
    }
}
