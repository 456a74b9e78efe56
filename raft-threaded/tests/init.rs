//! `raft-kv init`: what it makes, and what it refuses to make.

#![cfg(feature = "raft-kv")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::fs;

use support::{Ran, run};

/// A folder to make folders in, which is gone afterwards.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn dir(&self) -> std::path::PathBuf {
        self.0.path().join("data")
    }

    fn init(&self, nodes: &[&str]) -> Ran {
        let dir = self.dir().display().to_string();
        run(&[&["init", "--dir", &dir], nodes].concat())
    }
}

#[test]
fn init_gives_no_two_nodes_one_address() {
    for (first, second) in [
        ("db1:7101", "db1:7101"),
        ("db1:7101", "DB1:7101"),
        ("localhost:7101", "127.0.0.1:7101"),
    ] {
        let place = Place::new();
        let nodes = [
            &format!("1={first}"),
            "2=db2:7101",
            &format!("3={second}")[..],
        ];
        let ran = place.init(&nodes);
        let expected = format!("node 3 at {second} would be in the place of node 1");
        assert_eq!(ran.code, Some(2), "{}", ran.err);
        assert!(ran.err.contains(&expected), "{}", ran.err);
        assert!(!place.dir().exists(), "nothing was made");
    }
}

#[test]
fn init_does_not_make_a_cluster_over_another() {
    let place = Place::new();
    let nodes = ["1=127.0.0.1:7101", "2=127.0.0.1:7102"];
    let first = place.init(&nodes);
    assert!(
        first.success && first.out.contains("raft-kv serve --id 2"),
        "{}",
        first.err
    );
    let second = place.init(&nodes);
    assert_eq!(second.code, Some(1), "{}", second.err);
    assert!(second.err.contains("already"), "{}", second.err);
}

/// A log takes the names that it needs: a file that had one of them was gone.
#[test]
fn init_leaves_a_folder_alone_that_holds_something_else() {
    let place = Place::new();
    let foreign = place.dir().join("node-2");
    fs::create_dir_all(&foreign).unwrap();
    fs::write(foreign.join("spare"), "keys").unwrap();
    let ran = place.init(&["1=db1:7101", "2=db2:7101"]);
    assert_eq!(ran.code, Some(1), "{}", ran.err);
    assert!(
        ran.err.contains("node-2 holds spare") && ran.err.contains("give another folder"),
        "{}",
        ran.err
    );
    assert_eq!(fs::read(foreign.join("spare")).unwrap(), b"keys");
    assert!(!foreign.join("lock").exists(), "it is left as it is");
    assert!(!place.dir().join("node-1").exists(), "nothing was made");
    // What a file system keeps at its root, and what an attempt that was cut short leaves behind.
    fs::rename(foreign.join("spare"), foreign.join("lost+found")).unwrap();
    fs::write(foreign.join("fresh"), "").unwrap();
    let ran = place.init(&["1=db1:7101", "2=db2:7101"]);
    assert!(ran.success, "{}", ran.err);
}

#[test]
fn init_says_what_a_node_looks_like() {
    for (node, expected) in [
        ("1:7101", "expected ID=HOST:PORT"),
        ("x=db1:7101", "'x' names no node: expected the id of a node"),
        ("1=db1:0", "'db1:0' is no address: expected HOST:PORT"),
        ("1=db1", "'db1' is no address: expected HOST:PORT"),
    ] {
        let ran = Place::new().init(&[node]);
        assert_eq!(ran.code, Some(2), "{node}: {}", ran.err);
        assert!(ran.err.contains(expected), "{node}: {}", ran.err);
    }
    let twice = Place::new().init(&["1=db1:7101", "1=db2:7101"]);
    assert_eq!(twice.code, Some(2), "{}", twice.err);
    assert!(
        twice
            .err
            .contains("node 1 is named twice; name each node once"),
        "{}",
        twice.err
    );
}

#[test]
fn init_counts_a_single_voter_as_one() {
    let ran = Place::new().init(&["1=db1:7101"]);
    assert!(ran.out.contains("with 1 voter:"), "{}", ran.out);
}
