//! How long nodes with a long log take to vote again, and how fast they apply what is in it.

use std::time::Duration;

use serde_json::Value;

use crate::Failure;
use crate::clock::{micros, now};
use crate::figures::{Spread, thousandths, verdict, write_rate, write_thousandths};
use crate::systems::{NODES, Scene, ours, within};
use crate::writes::Writes;
use crate::{install, machine};

/// The log that the bars are about.
pub(crate) const ENTRIES: u64 = 10_000_000;
const VALUE_BYTES: u64 = 128;
const KEYS: u64 = 100_000;
const CLIENTS: u64 = 50;
const PIPELINE: u64 = 64;
/// In how many parts the log is written, so that one sees how far it is.
const PARTS: u64 = 20;
/// How much of a disk an entry takes on one node, with room to spare.
const ENTRY_BYTES_MAX: u64 = 300;
/// A TiB of log for a snapshot: there is none.
const WITHOUT_SNAPSHOTS: &[&str] = &["--snapshot-log-mib=1048576"];
/// What is to be reached: how many milliseconds it may take to vote, and entries per second.
const VOTING_MILLIS: u64 = 3_000;
const REPLAY_RATE: u64 = 2_000_000;
/// How long a start may take until the log is applied: slower ones tell nothing.
const PATIENCE: Duration = Duration::from_secs(1_800);

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) entries: u64,
    pub(crate) snapshot_mib: u64,
    pub(crate) trials: u64,
}

/// Who is killed, and where the log is then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Cached,
    OnDisk,
    Everybody,
}

impl Way {
    const ALL: [Self; 3] = [Self::Cached, Self::OnDisk, Self::Everybody];

    const fn name(self) -> &'static str {
        match self {
            Self::Cached => "a follower is killed; the system has its log in memory",
            Self::OnDisk => "the same; its log is on the disk and nowhere else",
            Self::Everybody => "all are killed; until one leads",
        }
    }
}

/// What one start came to.
#[derive(Clone, Copy, Debug)]
struct Start {
    /// From the start of the process, in milliseconds.
    voting: u64,
    /// Entries per second, of those that were not applied when it voted.
    replay: Option<u64>,
}

/// Measures and prints.
///
/// # Errors
///
/// The disk has no room for it, a process ends, or somebody interrupted.
pub(crate) fn run(scene: &Scene, plan: Plan) -> Result<(), Failure> {
    let room =
        (plan.entries * ENTRY_BYTES_MAX * NODES as u64).max(install::room(plan.snapshot_mib));
    machine::require_room(scene.folder.path(), room)?;
    let mut cluster = ours::Cluster::start_with(scene, WITHOUT_SNAPSHOTS)?;
    write(scene, &mut cluster, plan.entries)?;
    let leader = cluster.settle_within(PATIENCE)?;
    let taken = machine::taken_by(&cluster.data(leader))?;
    let mut rows = Way::ALL.map(|way| (way, Vec::new()));
    for trial in 1..=plan.trials {
        // They take turns, because only what was measured at the same time can be compared.
        for (way, starts) in &mut rows {
            let start = start(scene, &mut cluster, *way)?;
            let voting = write_thousandths(start.voting);
            let replay = start.replay.map_or("–".to_string(), write_rate);
            eprintln!(
                "start {trial} of {}: {}: voting after {voting} s, replay {replay} entries/s",
                plan.trials,
                way.name()
            );
            starts.push(start);
        }
    }
    drop(cluster);
    let installs = install::measure(scene, plan.snapshot_mib, plan.trials)?;

    println!(
        "- {}; starts of each kind: {}",
        machine::computer(),
        plan.trials
    );
    println!(
        "- the log: {} entries of {VALUE_BYTES} B and a key, {} MB on each node\n",
        plan.entries,
        taken / 1_000_000
    );
    println!("| start | votes after, s | bar | | replay, entries/s | bar | |");
    println!("| --- | --: | --- | --- | --: | --- | --- |");
    for (way, starts) in rows {
        row(way, &starts, plan.entries);
    }
    println!();
    install::print(&installs);
    Ok(())
}

/// A row of the table. Where all start at once they share the processors, so that replay is not held to the bar.
fn row(way: Way, starts: &[Start], entries: u64) {
    let voting = Spread::of(starts.iter().map(|start| start.voting));
    let Some(voting) = voting else {
        return;
    };
    let replay = Spread::of(starts.iter().filter_map(|start| start.replay));
    let fewer = if entries < ENTRIES {
        ", with fewer entries"
    } else {
        ""
    };
    let votes = verdict(voting.most < VOTING_MILLIS);
    let (rate, wanted, fast) = match (way, replay) {
        (_, None) => ("–".to_string(), "", String::new()),
        (Way::Everybody, Some(replay)) => (replay.show(write_rate), "", String::new()),
        (Way::Cached | Way::OnDisk, Some(replay)) => (
            replay.show(write_rate),
            "≥ 2000 k",
            format!("{}{fewer}", verdict(replay.median >= REPLAY_RATE)),
        ),
    };
    println!(
        "| {} | {} | most < 3 | {votes}{fewer} | {rate} | {wanted} | {fast} |",
        way.name(),
        voting.show(write_thousandths)
    );
}

/// Writes until the log has so many entries.
fn write(scene: &Scene, cluster: &mut ours::Cluster, entries: u64) -> Result<(), Failure> {
    for part in 1.. {
        let leader = cluster.leader()?;
        let status = cluster.status(leader);
        let last = status.and_then(|status| index(&status, "last_index"));
        let last = last.ok_or("the leader does not say how long its log is")?;
        eprintln!("the log has {last} of {entries} entries");
        let Some(missing) = entries.checked_sub(last).filter(|missing| *missing > 0) else {
            break;
        };
        let writes = Writes {
            requests: missing.min(entries.div_ceil(PARTS)),
            clients: CLIENTS,
            pipeline: PIPELINE,
            keys: KEYS,
            value_bytes: VALUE_BYTES,
            seed: part,
        };
        writes.run(scene, cluster.port(leader), || Ok(()))?;
    }
    Ok(())
}

pub(crate) fn index(status: &Value, name: &str) -> Option<u64> {
    status[name].as_u64()
}

/// Kills, starts again, and waits until everything is applied as before.
fn start(scene: &Scene, cluster: &mut ours::Cluster, way: Way) -> Result<Start, Failure> {
    let leader = cluster.settle_within(PATIENCE)?;
    let follower = (leader + 1) % NODES;
    let killed: Vec<usize> = match way {
        Way::Cached | Way::OnDisk => vec![follower],
        Way::Everybody => (0..NODES).collect(),
    };
    let status = cluster.status(follower);
    let all = status.and_then(|status| index(&status, "applied_index"));
    let all = all.ok_or("a node does not say what it has applied")?;
    for node in &killed {
        cluster.kill(*node);
    }
    if way == Way::OnDisk {
        machine::forget(&cluster.data(follower))?;
    }
    let begin = now();
    for node in &killed {
        cluster.start_node(*node)?;
    }
    let applied = within(&scene.stage, PATIENCE, "a node that votes", || {
        cluster.check()?;
        // A node says how it is once its log is recovered; of three, one is made leader by the votes of others.
        let votes = |status: &Value| way != Way::Everybody || status["role"] == "leader";
        let found = killed.iter().filter_map(|node| cluster.status(*node));
        let first = found.into_iter().find(votes);
        Ok(first.and_then(|status| index(&status, "applied_index")))
    })?;
    let voting = begin.elapsed();
    within(&scene.stage, PATIENCE, "a log to be applied", || {
        cluster.check()?;
        let done = |node: &usize| {
            let status = cluster.status(*node)?;
            Some(index(&status, "applied_index")? >= all)
        };
        Ok(killed
            .iter()
            .all(|node| done(node) == Some(true))
            .then_some(()))
    })?;
    Ok(Start {
        voting: micros(voting) / 1_000,
        replay: rate(
            all.saturating_sub(applied),
            micros(begin.elapsed() - voting),
        ),
    })
}

/// Entries per second; none where nothing was left to be applied.
fn rate(entries: u64, micros: u64) -> Option<u64> {
    (entries > 0).then(|| thousandths(entries * 1_000, micros))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replay_has_a_rate_if_anything_was_left_to_apply() {
        assert_eq!(rate(10_000_000, 5_000_000), Some(2_000_000));
        assert_eq!(rate(0, 5_000), None);
    }
}
