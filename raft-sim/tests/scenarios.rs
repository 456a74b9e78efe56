//! The text scenarios. `UPDATE_EXPECT=1` writes the states that are the case into them; then read them.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::path::PathBuf;

use raft_sim::scenario::{self, ScenarioError};

fn files() -> Vec<PathBuf> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let files = std::fs::read_dir(folder).unwrap();
    let mut files: Vec<PathBuf> = files.map(|file| file.unwrap().path()).collect();
    files.sort();
    files
}

#[test]
fn every_scenario_goes_as_it_says() {
    let files = files();
    assert!(files.len() >= 16);
    for path in files {
        let text = std::fs::read_to_string(&path).unwrap();
        if std::env::var_os("UPDATE_EXPECT").is_some() {
            std::fs::write(&path, scenario::updated(&text).unwrap()).unwrap();
        } else if let Err(error) = scenario::run(&text) {
            panic!("{}: {error}", path.display());
        }
    }
}

#[test]
fn a_scenario_that_goes_otherwise_says_what_was_expected_and_found() {
    let text = "cluster 1\ncampaign 1\n----\n1: follower term=0 commit=0 last=0\n";
    let error = scenario::run(text).unwrap_err();
    assert_eq!(
        error.to_string(),
        "line 4: expected\n1: follower term=0 commit=0 last=0\nfound\n1: leader term=1 commit=1 last=1\n"
    );
    let updated = scenario::updated(text).unwrap();
    scenario::run(&updated).unwrap();
    assert_eq!(scenario::updated(&updated).unwrap(), updated);
}

#[test]
fn a_line_that_cannot_be_understood_is_told_with_its_number() {
    for (text, line) in [
        ("campaign 1", 1),
        ("cluster 0", 1),
        ("cluster 3\n\n# fine\nexplode 1", 4),
        ("cluster 3\ncampaign 4", 2),
        ("cluster 3\nlog 1 2 1", 2),
        ("cluster 3\nstart 1\nstart 1", 3),
        ("cluster 3\npropose 1 x", 2),
        ("cluster 3\nread 1 xx", 2),
        ("cluster 3\nwait 3", 2),
        ("cluster 3\npartition 1 | x", 2),
        ("cluster 3\ncut 1-2", 2),
    ] {
        match scenario::run(text) {
            Err(ScenarioError::Command { line: found, .. }) => assert_eq!(found, line, "{text}"),
            other => panic!("{text}: {other:?}"),
        }
    }
}
