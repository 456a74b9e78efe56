//! `raft-kv init`: what it makes, and what it refuses to make.

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
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("data").display().to_string();
    let said = run(&[
        "init",
        "--dir",
        &dir,
        "1=db1:7101",
        "2=db2:7101",
        "3=db1:7101",
    ]);
    assert!(
        !said.success
            && said
                .err
                .contains("node 3 at db1:7101 would be in the place of node 1"),
        "{}{}",
        said.out,
        said.err
    );
    assert!(!folder.path().join("data").exists(), "nothing was made");
}

#[test]
fn init_does_not_make_a_cluster_over_another() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("data").display().to_string();
    let arguments = [
        "init",
        "--dir",
        &dir,
        "1=127.0.0.1:7101",
        "2=127.0.0.1:7102",
    ];
    let first = run(&arguments);
    assert!(
        first.success && first.out.contains("raft-kv serve --id 2"),
        "{}",
        first.err
    );
    let second = run(&arguments);
    assert!(
        !second.success && second.err.contains("already"),
        "{}",
        second.err
    );
    let nonsense = run(&["init", "--dir", &dir, "1:7101"]);
    assert!(
        nonsense.err.contains("expected ID=HOST:PORT"),
        "{}",
        nonsense.err
    );
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
    assert!(!place.dir().join("node-1").exists(), "nothing was made");
    // What a file system keeps at its root, and what an attempt that was cut short leaves behind.
    fs::rename(foreign.join("spare"), foreign.join("lost+found")).unwrap();
    fs::write(foreign.join("fresh"), "").unwrap();
    let ran = place.init(&["1=db1:7101", "2=db2:7101"]);
    assert!(ran.success, "{}", ran.err);
}
