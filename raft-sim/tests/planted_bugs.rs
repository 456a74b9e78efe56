//! Who watches the watchmen: each planted bug is caught, by the rule that the table says, in the run that it
//! says. `UPDATE_EXPECT=1` searches for all of them anew and writes `docs/planted-bugs.md`.
//!
//! Needs a build with `RUSTFLAGS="--cfg raft_planted"`; there is nothing here without.

#![cfg(raft_planted)]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fmt::Write as _;
use std::sync::{Mutex, PoisonError};

use raft_core::NodeId;
use raft_core::planted::{Bug, plant};
use raft_sim::graphs::{Course, Digraph};
use raft_sim::scenario::{self, ScenarioError};
use raft_sim::{Invariant, Profile, RegisterWorkload, Report, Schedule, Simulation};

/// One bug at a time: the switch is one for the whole process.
static SWITCH: Mutex<()> = Mutex::new(());

fn with<T>(bug: Bug, work: impl FnOnce() -> T) -> T {
    let _turn = SWITCH.lock().unwrap_or_else(PoisonError::into_inner);
    std::panic::set_hook(Box::new(|_| {}));
    plant(Some(bug));
    let result = work();
    plant(None);
    let _ = std::panic::take_hook();
    result
}

/// Some faults of ours only matter to disks that fail.
fn profile(bug: Bug) -> Profile {
    if matches!(
        bug,
        Bug::SyncErrorIgnored | Bug::SyncRetried | Bug::DamageIsTail | Bug::TornAccepted
    ) {
        return Profile::Detected;
    }
    Profile::Tolerated
}

fn simulation(bug: Bug) -> Simulation<RegisterWorkload> {
    Simulation::new(RegisterWorkload).profile(profile(bug))
}

/// A bug as the table has it.
#[derive(Debug, PartialEq, Eq)]
struct Row {
    id: String,
    /// Or `scenario`.
    profile: String,
    rule: String,
    /// Or the scenario's name.
    seed: String,
    /// In the run in which it is caught.
    events: u64,
    /// In that run and those of the seeds before it.
    all_events: u64,
    /// What the run shrinks to.
    steps: u64,
    faults: u64,
}

const SEEDS_MAX: u64 = 4_000;
const TABLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/planted-bugs.md");

/// So many runs at once, of which the first that breaks a rule counts.
const BLOCK: u64 = 64;

/// What chance needs too long for, and a story tells in a dozen lines.
fn told_by(bug: Bug) -> Option<&'static str> {
    let stories = [
        (Bug::UpToDateOrder, "election-restriction"),
        (Bug::OneMajorityElects, "joint-election"),
        (Bug::ChangeTooEarly, "change-before-own-commit"),
        (Bug::AckMiscount, "one-answer-of-five"),
        (Bug::LeaseThroughTransfer, "lease-given-back"),
        (Bug::LeaseFromAnswer, "lease-from-its-asking"),
        (Bug::PromiseForgotten, "promise-outlives-restart"),
    ];
    let told = stories.into_iter().find(|(known, _)| *known == bug);
    told.map(|(_, name)| name)
}

/// The rule that a scenario breaks.
fn broken_by(name: &str) -> String {
    let path = format!("{}/scenarios/{name}.txt", env!("CARGO_MANIFEST_DIR"));
    match scenario::run(&std::fs::read_to_string(path).unwrap()) {
        Err(ScenarioError::Violation { violation, .. }) => violation.invariant.code().to_string(),
        other => panic!("scenario {name} breaks no rule: {other:?}"),
    }
}

fn search(bug: Bug) -> Row {
    if let Some(name) = told_by(bug) {
        return Row {
            id: bug.id().to_string(),
            profile: "scenario".to_string(),
            rule: broken_by(name),
            seed: name.to_string(),
            events: 0,
            all_events: 0,
            steps: 0,
            faults: 0,
        };
    }
    let simulation = simulation(bug);
    let mut all_events = 0;
    for first in (0..SEEDS_MAX).step_by(usize::try_from(BLOCK).unwrap()) {
        for report in block(&simulation, first) {
            all_events += report.events;
            let Some(violation) = report.violation else {
                continue;
            };
            let shrunk = simulation.shrink(report.seed).unwrap();
            return Row {
                id: bug.id().to_string(),
                profile: profile(bug).to_string(),
                rule: violation.invariant.code().to_string(),
                seed: report.seed.to_string(),
                events: report.events,
                all_events,
                steps: shrunk.lines.len() as u64,
                faults: shrunk.plan.faults.len() as u64,
            };
        }
    }
    Row {
        id: bug.id().to_string(),
        profile: profile(bug).to_string(),
        rule: MISSED.to_string(),
        seed: MISSED.to_string(),
        events: 0,
        all_events,
        steps: 0,
        faults: 0,
    }
}

/// What the table says of a bug that no run caught.
const MISSED: &str = "missed";

/// The reports of a block of seeds, in their order.
fn block(simulation: &Simulation<RegisterWorkload>, first: u64) -> Vec<Report> {
    let half = |from: u64| {
        let simulation = simulation.clone();
        move || {
            (from..from + BLOCK / 2)
                .map(|seed| simulation.run(seed))
                .collect::<Vec<_>>()
        }
    };
    let (one, other) = (half(first), half(first + BLOCK / 2));
    std::thread::scope(|scope| {
        let other = scope.spawn(other);
        let mut reports = one();
        reports.extend(other.join().unwrap());
        reports
    })
}

fn table(rows: &[Row]) -> String {
    let mut text = String::from(HEAD);
    for (bug, row) in Bug::ALL.iter().copied().zip(rows) {
        let number = |number: u64| match number {
            0 => "–".to_string(),
            number => number.to_string(),
        };
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} | {} | {} | {} |",
            row.id,
            bug.about().trim_end_matches('.'),
            row.profile,
            row.rule,
            row.seed,
            number(row.events),
            number(row.all_events),
            number(row.steps),
            row.faults
        );
    }
    text.push_str(&never_first(rows));
    text
}

/// What the table says of the rules that are in none of its rows.
fn never_first(rows: &[Row]) -> String {
    let found = |code: &str| rows.iter().any(|row| row.rule == code);
    let shown_elsewhere = [Invariant::V5, Invariant::I19, Invariant::Own];
    let others = Invariant::ALL.iter();
    let others = others.filter(|rule| !found(rule.code()) && !shown_elsewhere.contains(rule));
    let others: Vec<&str> = others.map(|rule| rule.code()).collect();
    let untrusted = if others.is_empty() {
        String::from("Every other rule caught something first.")
    } else {
        format!(
            "A rule that never caught anything first is not to be trusted as much as the others: {}.",
            others.join(", ")
        )
    };
    format!(
        "\n{untrusted}\nV5 is shown to work by `tests/planted_bugs.rs`, I19 and rules of a state machine's own by \
         `tests/simulation.rs`.\n"
    )
}

const HEAD: &str = "\
# Planted bugs

How strong are the simulator's checks? Each of these faults was planted in the code under test, one at a time
(`raft-core/src/planted.rs`; they are compiled in only with `RUSTFLAGS=\"--cfg raft_planted\"`), and seeds were
run from 0 on until a rule was broken. *Events* are those of the run that caught it, *all events* those of that
run and all before it; *steps* and *faults* are what `raft-sim shrink` left of it. A bug that keeps something
from happening has no schedule of steps: leaving things out would keep it from happening, too. One that chance
does not find within minutes is caught by a text scenario, under the same judge; one that is *missed* was not
caught in 4,000 runs.

Written by `UPDATE_EXPECT=1 RUSTFLAGS=\"--cfg raft_planted\" cargo test --release -p raft-sim --test
planted_bugs --target-dir target/planted`; without `UPDATE_EXPECT` the same test checks, for every line, that
the run of that seed is stopped by that rule after so many events. Ids are those of the project's test plan,
where it has the fault; D14, E22, L21 to L23, M18, M19 and R15 to R19 are ours. *I20* is a panic: nodes here check
their own state, too, and see some of these first.

Faults of the test plan that one line cannot bring about here:

- There is no place for them. Terms and votes are one value that is written at once (E03); each role takes only
  the answers to its own questions (E14); there is no scan that could stop (C02), and entries carry their index
  (L14); configurations count from the append on (M03, M07), and members are known by their store, so that none
  comes back without what it acknowledged (L20, M16); completions name the last write (D15).
- Something else undoes them. A leader of an earlier term steps down by itself (E17, check-quorum); a stale refusal
  is L06 (L10); heartbeats tell a leader how far its follower is (L12); nobody goes on fetching a snapshot that the
  log got ahead of (S03), and an image is read whole before anything is replaced by it (S13).
- Plans do not get there. Nobody forges snapshots (S11).

| id | fault | profile | caught by | seed | events | all events | steps | faults |
| --- | --- | --- | --- | --: | --: | --: | --: | --: |
";

fn rows() -> Vec<Row> {
    let text = std::fs::read_to_string(TABLE).unwrap();
    let lines = text
        .lines()
        .filter(|line| line.starts_with("| ") && !line.starts_with("| id"));
    let lines = lines.filter(|line| !line.starts_with("| ---"));
    lines
        .map(|line| {
            let cells: Vec<&str> = line.split('|').map(str::trim).collect();
            let number = |cell: &str| cell.parse().unwrap_or(0);
            Row {
                id: cells[1].to_string(),
                profile: cells[3].to_string(),
                rule: cells[4].to_string(),
                seed: cells[5].to_string(),
                events: number(cells[6]),
                all_events: number(cells[7]),
                steps: number(cells[8]),
                faults: number(cells[9]),
            }
        })
        .collect()
}

#[test]
fn every_planted_bug_is_caught_as_the_table_says() {
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        let rows: Vec<Row> = Bug::ALL
            .iter()
            .copied()
            .map(|bug| {
                let row = with(bug, || search(bug));
                eprintln!("{row:?}");
                row
            })
            .collect();
        std::fs::write(TABLE, table(&rows)).unwrap();
        return;
    }
    let rows = rows();
    assert_eq!(rows.len(), Bug::ALL.len(), "the table has every bug");
    for (bug, row) in Bug::ALL.iter().copied().zip(&rows) {
        assert_eq!(bug.id(), row.id);
        if let Some(name) = told_by(bug) {
            assert_eq!(with(bug, || broken_by(name)), row.rule, "{}", bug.id());
            continue;
        }
        assert_eq!(profile(bug).as_str(), row.profile);
        if row.rule == MISSED {
            continue;
        }
        let report = with(bug, || simulation(bug).run(row.seed.parse().unwrap()));
        let violation = report
            .violation
            .unwrap_or_else(|| panic!("{} is not caught", bug.id()));
        let found = (violation.invariant.code(), report.events);
        assert_eq!(
            found,
            (row.rule.as_str(), row.events),
            "{}: {violation}",
            bug.id()
        );
    }
}

/// What shrinking leaves is a schedule that fails with the bug, prints, parses, and passes without.
#[test]
fn a_shrunk_schedule_fails_with_its_bug_and_only_with_it() {
    for bug in [
        Bug::VoteBeforeSync,
        Bug::EvenQuorum,
        Bug::SelfUnflushed,
        Bug::LocalRead,
    ] {
        let (schedule, violation) = with(bug, || {
            let simulation = simulation(bug);
            let seed = (0..1_000)
                .find(|seed| simulation.run(*seed).violation.is_some())
                .unwrap();
            let shrunk = simulation.shrink(seed).unwrap();
            assert!(!shrunk.lines.is_empty() && (shrunk.lines.len() as u64) < shrunk.events_before);
            let text = Schedule::of(&shrunk, Some(bug.id().to_string())).to_string();
            let schedule = Schedule::parse(&text).unwrap();
            (schedule, shrunk.violation)
        });
        assert_eq!(
            with(bug, || schedule.violation()),
            Some(violation),
            "{}",
            bug.id()
        );
        let _turn = SWITCH.lock().unwrap_or_else(PoisonError::into_inner);
        assert_eq!(schedule.violation(), None, "{}", bug.id());
    }
}

/// Figure 8 catches what it was drawn for.
#[test]
fn figure_8_breaks_when_older_entries_commit_by_counting() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/scenarios/figure-8.txt");
    let text = std::fs::read_to_string(path).unwrap();
    assert!(with(Bug::Figure8, || scenario::run(&text)).is_err());
}

/// V5 sees who never steps down, and whose terms never end, on the smallest graphs on which that matters: a
/// leader that others hear and that hears nobody, with a majority linked each to each or one node to a
/// majority; a node that hears nobody and is heard.
#[test]
fn on_a_static_graph_of_links_v5_catches_what_keeps_a_majority_from_going_on() {
    for (bug, nodes, links, leader, says) in [
        (
            Bug::NoCheckQuorum,
            3,
            "1-3 2>1 2>3",
            2,
            "steadily after: never",
        ),
        (
            Bug::NoCheckQuorum,
            4,
            "1-2 1-3 4>1 4>2 4>3",
            4,
            "node 1 has the longest log",
        ),
        (Bug::NoPreVote, 3, "1-2 3>1", 1, "steadily after: 0.00"),
    ] {
        let course = Course {
            graph: Digraph::parse(nodes, links).unwrap(),
            leader: NodeId(leader),
            round: 0,
        };
        let violation = with(bug, || course.run()).violation.unwrap();
        assert_eq!(violation.invariant, Invariant::V5, "{}", bug.id());
        assert!(violation.text.contains(says), "{violation}");
        let _turn = SWITCH.lock().unwrap_or_else(PoisonError::into_inner);
        assert_eq!(course.run().violation, None, "{}", bug.id());
    }
}
