//! Real processes of `raft-kv`, and a small client to talk to them.

mod client;
mod cluster;
mod gate;
mod node;

use std::path::{Path, PathBuf};
use std::process::Command;

pub use self::client::{Client, Value, request};
pub use self::cluster::Cluster;
pub use self::gate::{Gate, Held};
pub use self::node::Node;
use super::{PATIENCE, eventually, free_port};

/// The program under test.
pub fn raft_kv() -> Command {
    Command::new(env!("CARGO_BIN_EXE_raft-kv"))
}

/// What a run of the program printed, and how it ended.
pub struct Ran {
    pub success: bool,
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

pub fn run(arguments: &[&str]) -> Ran {
    let output = raft_kv().args(arguments).output().unwrap();
    Ran {
        success: output.status.success(),
        code: output.status.code(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Orders something, again for as long as the answer is that it is not the time for it.
pub fn order(arguments: &[&str]) -> Ran {
    eventually("an order to be taken", || {
        let ran = run(arguments);
        let later = ["BUSY ", "CLUSTERDOWN ", "NOTLEADER "];
        let later = later.iter().any(|kind| ran.err.contains(kind));
        (!later).then_some(ran)
    })
}

/// An order that is carried out; returns what was said.
pub fn done(arguments: &[&str]) -> String {
    let ran = order(arguments);
    assert!(ran.success, "{arguments:?}: {}{}", ran.out, ran.err);
    ran.out
}

/// What an order that changes nothing says.
pub fn refused(arguments: &[&str]) -> String {
    let ran = order(arguments);
    assert_eq!(ran.code, Some(1), "{arguments:?}: {}{}", ran.out, ran.err);
    ran.err
}

/// Asks a node again until there is an answer that counts.
pub fn ask<T>(
    cluster: &Cluster,
    node: usize,
    words: &[&str],
    take: impl Fn(Value) -> Option<T>,
) -> T {
    let port = cluster.nodes[node].client;
    eventually("an answer", || {
        take(Client::connect(port).ok()?.call(words).ok()?)
    })
}

/// A node's log says so.
pub fn wait_for_log(cluster: &Cluster, node: usize, words: &str) {
    eventually(words, || {
        cluster.nodes[node].log().contains(words).then_some(())
    });
}

/// Lets a node lead, by way of another one.
pub fn let_lead(cluster: &Cluster, by: usize, node: usize) {
    let id = cluster.nodes[node].id.to_string();
    done(&["transfer", "--to", &cluster.nodes[by].to(), "--node", &id]);
    eventually("the node to lead", || {
        (cluster.leader() == Some(node)).then_some(())
    });
}

pub fn set(cluster: &Cluster, node: usize, key: &str) {
    let words = ["SET", key, key];
    ask(cluster, node, &words, |reply| {
        (reply == Value::ok()).then_some(())
    });
}

/// The value, as this node answers it linearizably.
pub fn check(cluster: &Cluster, node: usize, key: &str) {
    let found = ask(cluster, node, &["GET", key], |reply| match reply {
        Value::Bulk(found) => Some(found),
        Value::Simple(_) | Value::Error(_) | Value::Integer(_) | Value::Array(_) => None,
    });
    let expected = Some(key.as_bytes().to_vec());
    assert_eq!(found, expected, "{key} at node {}", node + 1);
}

/// The newest segment of a data folder.
pub fn newest_segment(data: &Path) -> PathBuf {
    let files = std::fs::read_dir(data)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    files
        .filter(|path| path.extension().is_some_and(|e| e == "wal"))
        .max()
        .unwrap()
}
