//! `raft-kv local`: a whole cluster on this machine.

#![cfg(feature = "raft-kv")]
#![expect(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a test that cannot go on has failed, and looks only at what it is about"
)]

mod support;

use std::io::{BufRead, BufReader, Read};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::Stdio;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU16, Ordering};

use support::{Client, Value, done, eventually, free_port, raft_kv, run};

/// A base whose ports were free a moment ago, and are not given to another test of this process.
fn free_base_port() -> u16 {
    static FIRST: LazyLock<u16> = LazyLock::new(|| free_port() + 300);
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let free = |port: u16| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
    let fits = |base: &u16| (1..=4).all(|node| free(base + node) && free(base + 100 + node));
    let next = || *FIRST + NEXT.fetch_add(10, Ordering::Relaxed) % 400;
    std::iter::repeat_with(next).find(fits).unwrap()
}

#[test]
fn a_local_cluster_runs_shows_its_leader_stops_on_a_signal_and_has_everything_afterwards() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("data");
    let base = free_base_port();
    for round in 0..2 {
        let mut child = raft_kv()
            .args(["local", "--dir"])
            .arg(&dir)
            .args((round == 0).then(|| format!("--base-port={base}")))
            .args((round == 0).then_some("--spare=1"))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap())
            .lines()
            .map(Result::unwrap);
        lines
            .find(|line| line.contains("leads, term"))
            .expect("the leader is shown");
        for node in 1..=3 {
            let mut client = Client::connect(base + node).unwrap();
            let counted = eventually("the node to hear of the leader", || {
                match client.call(&["INCR", "n"]).unwrap() {
                    Value::Integer(n) => Some(n),
                    _ => None,
                }
            });
            assert_eq!(counted, i64::from(round * 3 + node));
        }
        if round == 0 {
            let (to, place) = (base + 1, base + 104);
            let (to, place) = (format!("127.0.0.1:{to}"), format!("4=127.0.0.1:{place}"));
            done(&["attach", "--to", &to, &place]);
        }
        let spare = eventually("the spare node to know", || {
            let reply = Client::connect(base + 4).ok()?.call(&["GET", "n"]).ok()?;
            (!matches!(reply, Value::Error(_))).then_some(reply)
        });
        assert_eq!(spare, Value::bulk(&(round * 3 + 3).to_string()));
        let id = i32::try_from(child.id()).unwrap();
        let process = rustix::process::Pid::from_raw(id).unwrap();
        rustix::process::kill_process(process, rustix::process::Signal::TERM).unwrap();
        assert!(child.wait().unwrap().success());
        let mut rest = String::new();
        lines.for_each(|line| rest.push_str(&line));
        assert!(rest.contains("Stopping."), "{rest}");
        assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, base + 1)).is_err());
    }
    let said = run(&["local", "--dir", dir.to_str().unwrap(), "--nodes", "5"]).err;
    assert!(said.contains("holds a cluster of 3 nodes"), "{said}");
    let mut log = String::new();
    let file = std::fs::File::open(dir.join("node-1.log")).unwrap();
    BufReader::new(file).read_to_string(&mut log).unwrap();
    assert!(log.contains("stopped"), "{log}");
}

/// A folder keeps the ports it was made with: those that cannot be used would stay with it.
#[test]
fn a_local_cluster_that_cannot_listen_makes_no_folder() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("data");
    let base = free_base_port();
    let _taken = TcpListener::bind((Ipv4Addr::LOCALHOST, base + 102)).unwrap();
    let port = base.to_string();
    let ran = run(&[
        "local",
        "--dir",
        dir.to_str().unwrap(),
        "--base-port",
        &port,
    ]);
    assert_eq!(ran.code, Some(1), "{}", ran.err);
    let expected = format!("port {} of node 2 cannot be used", base + 102);
    assert!(ran.err.contains(&expected), "{}", ran.err);
    assert!(!dir.exists(), "nothing was made");
}

#[test]
fn a_local_cluster_of_too_many_nodes_is_not_understood() {
    let ran = run(&["local", "--dir", "/nowhere", "--nodes", "5", "--spare", "5"]);
    assert_eq!(ran.code, Some(2), "{}", ran.err);
    assert!(
        ran.err
            .contains("expected at most 9 nodes, spare ones included, found 10"),
        "{}",
        ran.err
    );
}
