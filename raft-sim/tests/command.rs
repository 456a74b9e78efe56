//! The command, as people and scripts use it.

#![cfg(feature = "cli")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn raft_sim(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_raft-sim"));
    command
        .args(arguments)
        .env_remove("UPDATE_EXPECT")
        .output()
        .unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn here(path: &str) -> String {
    let path: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    path.to_str().unwrap().to_string()
}

const FEW: [&str; 5] = ["run", "--seeds", "10..22", "--time", "2s"];

#[test]
fn a_clean_sweep_ends_with_its_table_and_zero_and_is_the_same_again() {
    let output = raft_sim(&FEW);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let table = stdout(&output);
    for row in [
        "profile tolerated, seeds 10 to 21",
        "broke a rule",
        "hash of all courses",
        "faults hit",
    ] {
        assert!(table.contains(row), "{row} in {table}");
    }
    assert_eq!(table, stdout(&raft_sim(&FEW)));
    assert_eq!(
        table,
        stdout(&raft_sim(&[&FEW[..], &["--jobs", "1"]].concat()))
    );
}

#[test]
fn shards_merge_to_exactly_the_unsharded_run() {
    let folder = tempfile::tempdir().unwrap();
    let whole = raft_sim(&[&FEW[..], &["--json"]].concat());
    assert_eq!(stdout(&whole).lines().count(), 12);
    let mut files = Vec::new();
    for shard in 1..=4 {
        let output = raft_sim(&[&FEW[..], &["--json", "--shard", &format!("{shard}/4")]].concat());
        assert_eq!(output.status.code(), Some(0));
        let path = folder.path().join(format!("{shard}.jsonl"));
        std::fs::write(&path, output.stdout).unwrap();
        files.push(path.to_str().unwrap().to_string());
    }
    let files: Vec<&str> = files.iter().map(String::as_str).collect();
    let merged = raft_sim(&[&["merge", "--json"], &files[..]].concat());
    assert_eq!(merged.stdout, whole.stdout);
    assert_eq!(
        raft_sim(&[&["merge"], &files[..]].concat()).stdout,
        raft_sim(&FEW).stdout
    );

    let missing = raft_sim(&[&["merge"], &files[1..]].concat());
    assert_eq!(missing.status.code(), Some(2));
    assert!(
        stderr(&missing).contains("seed 10 is missing, and 2 more"),
        "{}",
        stderr(&missing)
    );
    let twice = raft_sim(&[&["merge"], &files[..], &files[..1]].concat());
    assert_eq!(twice.status.code(), Some(2));
    assert!(stderr(&twice).contains("comes twice"), "{}", stderr(&twice));
}

#[test]
fn what_proves_nothing_ends_with_4_and_what_is_no_command_with_2() {
    let hollow = raft_sim(&[
        "run",
        "--seed",
        "1",
        "--time",
        "0ms",
        "--profile",
        "outside",
    ]);
    assert_eq!(hollow.status.code(), Some(4), "{}", stdout(&hollow));
    for wrong in [
        &["run", "--seeds", "5..5"][..],
        &["run", "--seeds", "x"],
        &["run", "--shard", "5/4"],
        &["run", "--profile", "mild"],
        &["run", "--time", "60"],
        &["run", "--nodes", "0"],
        &["graphs", "--nodes", "6"],
        &["graphs", "--nodes", "3", "--graph", "1-4"],
        &["replay", "/nonexistent/file"],
        &["merge", "/nonexistent/file"],
        &["scenario", "/nonexistent/file"],
        &["check", "/nonexistent/file"],
    ] {
        let output = raft_sim(wrong);
        assert_eq!(output.status.code(), Some(2), "{wrong:?}");
        assert!(
            stderr(&output).contains("expected")
                || stderr(&output).contains("cannot read")
                || stderr(&output).contains("not in"),
            "{}",
            stderr(&output)
        );
    }
}

#[test]
fn a_run_is_replayed_as_a_story_and_drawn_as_a_page() {
    let scope = ["--time", "2s", "--nodes", "3"];
    let story = stdout(&raft_sim(&[&["replay", "7"], &scope[..]].concat()));
    assert!(
        story.contains("leader in term") && story.contains("AppendEntries"),
        "{story}"
    );
    let roles = stdout(&raft_sim(
        &[
            &["replay", "7", "--kind", "role", "--node", "2"],
            &scope[..],
        ]
        .concat(),
    ));
    let (last, events) = {
        let mut lines: Vec<&str> = roles.lines().collect();
        (lines.pop().unwrap_or_default(), lines)
    };
    assert!(last.starts_with("seed 7"), "{last}");
    assert!(
        !events.is_empty() && events.iter().all(|line| line.contains(" 2: ")),
        "{roles}"
    );

    let folder = tempfile::tempdir().unwrap();
    let page = folder.path().join("run.html");
    let path = page.to_str().unwrap();
    let output = raft_sim(&[&["view", "7", "--html", path], &scope[..]].concat());
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let html = std::fs::read_to_string(page).unwrap();
    assert!(html.contains("seed 7, profile tolerated") && !html.contains("/*TRACE*/"));
    assert!(
        !html.contains("http://") && !html.contains("https://"),
        "nothing is fetched"
    );
}

#[test]
fn a_seed_that_breaks_nothing_cannot_be_shrunk() {
    let output = raft_sim(&["shrink", "7", "--time", "1s"]);
    assert_eq!(output.status.code(), Some(4));
    assert!(stdout(&output).contains("no rule is broken"));
}

#[test]
fn histories_are_judged_with_exit_codes_that_say_how() {
    for (file, model, code, says) in [
        ("concurrent", "register", 0, "linearizable"),
        ("unknown", "register", 0, "linearizable"),
        ("cas", "register", 0, "linearizable"),
        ("append", "kv", 0, "linearizable"),
        ("stale-read", "register", 100, "not linearizable"),
        ("lost-write", "register", 100, "not linearizable"),
        ("append", "register", 2, "line"),
    ] {
        let path = here(&format!("tests/histories/{file}.jsonl"));
        let output = raft_sim(&["check", &path, "--model", model]);
        let said = stdout(&output) + &stderr(&output);
        assert_eq!(output.status.code(), Some(code), "{file}: {said}");
        assert!(said.contains(says), "{file}: {said}");
    }
    let folder = tempfile::tempdir().unwrap();
    let page = folder.path().join("found.html");
    let stale = here("tests/histories/stale-read.jsonl");
    raft_sim(&["check", &stale, "--html", page.to_str().unwrap()]);
    assert!(std::fs::read_to_string(page).unwrap().contains("<svg"));
}

#[test]
fn scenarios_run_from_the_command_line() {
    let figure = here("scenarios/figure-8.txt");
    assert_eq!(raft_sim(&["scenario", &figure]).status.code(), Some(0));
    let folder = tempfile::tempdir().unwrap();
    let wrong = folder.path().join("wrong.txt");
    std::fs::write(&wrong, "cluster 1\ncampaign 1\n----\n1: down\n").unwrap();
    assert_eq!(
        raft_sim(&["scenario", wrong.to_str().unwrap()])
            .status
            .code(),
        Some(100)
    );
    std::fs::write(&wrong, "cluster 1\nexplode\n").unwrap();
    let output = raft_sim(&["scenario", wrong.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        stderr(&output).contains("line 2: expected"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn graphs_of_links_end_with_their_tables_and_shards_are_parts_of_the_whole() {
    let output = raft_sim(&["graphs", "--nodes", "3"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let tables = stdout(&output);
    for row in ["16 graphs of 3 nodes, 36 courses", "Broken rules: none."] {
        assert!(tables.contains(row), "{row} in {tables}");
    }
    let json = |shard| {
        let output = raft_sim(&["graphs", "--nodes", "3", "--json", "--shard", shard]);
        stdout(&output)
            .lines()
            .map(str::to_string)
            .collect::<Vec<_>>()
    };
    let whole = json("1/1");
    assert_eq!(whole.len(), 16);
    let (one, other) = (json("1/2"), json("2/2"));
    let parts = one.iter().zip(&other).flat_map(|(a, b)| [a, b]);
    assert!(parts.eq(&whole));
}

#[test]
fn one_graph_is_told_as_a_story_and_ends_with_4_if_it_proves_nothing() {
    let story = |links| raft_sim(&["graphs", "--nodes", "3", "--graph", links]);
    let output = story("1-3 2>1 2>3");
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let text = stdout(&output);
    assert!(
        text.contains("`1-3 2>1 2>3` led by 2, round 0: commits from"),
        "{text}"
    );
    assert!(
        text.contains("these links are left") && text.contains("leader in term 2"),
        "{text}"
    );
    assert_eq!(story("1>2 2>3").status.code(), Some(4));
}
