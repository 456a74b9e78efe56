//! `raft-kv init`: what it makes, and what it refuses to make.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use support::run;

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
                .contains("db1:7101 is given for node 1 and for node 3"),
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
