//! For how long nothing is written when the leader is killed, and when it hands over.

use crate::Failure;
use crate::figures::{Spread, write_millis};
use crate::stage::Stage;
use crate::systems::{Scene, etcd, eventually, ours};
use crate::writer::{Target, Writer};

/// What the median and the worst of killed leaders are to be at most, in microseconds.
const KILLED_MEDIAN: u64 = 400_000;
const KILLED_WORST: u64 = 1_000_000;
/// What a handover is to be at most.
const HANDED_OVER_WORST: u64 = 50_000;
/// Writes before the leader goes, so that all is as usual.
const WRITES_BEFORE: u64 = 200;
/// Writes after the next one has begun, so that nothing comes behind.
const WRITES_AFTER: u64 = 200;

/// What happens to the leader.
#[derive(Clone, Copy, Debug)]
enum Way {
    Killed,
    HandsOver,
    /// What the machine does to writes by itself.
    Stays,
}

const WAYS_OF_OURS: [(Way, &str); 3] = [
    (Way::Killed, "ours, leader killed"),
    (Way::HandsOver, "ours, `raft-kv transfer`"),
    (Way::Stays, "ours, nothing happens"),
];
const WAYS_OF_ETCD: [(Way, &str); 2] = [
    (Way::Killed, "etcd, leader killed"),
    (Way::Stays, "etcd, nothing happens"),
];

/// A cluster whose leader is taken away, and comes back.
trait Cluster {
    fn target(&self) -> Target;
    /// Waits until everybody is there and has everything; returns who leads.
    fn settle(&mut self) -> Result<usize, Failure>;
    fn kill(&mut self, node: usize);
    fn start_node(&mut self, node: usize) -> Result<(), Failure>;
    fn hand_over(&mut self, leader: usize) -> Result<(), Failure>;
}

impl Cluster for ours::Cluster {
    fn target(&self) -> Target {
        Target::resp(self.ports())
    }

    fn settle(&mut self) -> Result<usize, Failure> {
        self.settle()
    }

    fn kill(&mut self, node: usize) {
        self.kill(node);
    }

    fn start_node(&mut self, node: usize) -> Result<(), Failure> {
        self.start_node(node)
    }

    fn hand_over(&mut self, leader: usize) -> Result<(), Failure> {
        self.transfer(leader)
    }
}

impl Cluster for etcd::Cluster {
    fn target(&self) -> Target {
        Target::etcd(self.ports())
    }

    fn settle(&mut self) -> Result<usize, Failure> {
        self.settle()
    }

    fn kill(&mut self, node: usize) {
        self.kill(node);
    }

    fn start_node(&mut self, node: usize) -> Result<(), Failure> {
        self.start_node(node)
    }

    fn hand_over(&mut self, _: usize) -> Result<(), Failure> {
        Err("etcd's leader is killed and not asked to hand over".into())
    }
}

/// Measures and prints.
///
/// # Errors
///
/// A cluster does not come back, or somebody interrupted.
pub(crate) fn run(scene: &Scene, trials: u64, with_etcd: bool) -> Result<(), Failure> {
    let mut rows = Vec::new();
    let mut cluster = ours::Cluster::start(scene)?;
    for (way, name) in WAYS_OF_OURS {
        rows.push((
            name,
            Some(way),
            gaps(scene, &mut cluster, name, way, trials)?,
        ));
    }
    drop(cluster);
    if with_etcd {
        let mut cluster = etcd::Cluster::start(scene)?;
        for (way, name) in WAYS_OF_ETCD {
            rows.push((name, None, gaps(scene, &mut cluster, name, way, trials)?));
        }
    }
    println!("| longest time without a write, ms | trials | median | least–most | to reach | |");
    println!("| --- | --: | --: | --: | --- | --- |");
    for (name, bar, gaps) in rows {
        row(name, bar, &gaps);
    }
    Ok(())
}

/// A row of the table, and what is to be reached where something is.
fn row(name: &str, bar: Option<Way>, gaps: &[u64]) {
    let Some(spread) = Spread::of(gaps.iter().copied()) else {
        return;
    };
    let (wanted, met) = match bar {
        Some(Way::Killed) => (
            "median ≤ 400, most ≤ 1000",
            Some(spread.median <= KILLED_MEDIAN && spread.most <= KILLED_WORST),
        ),
        Some(Way::HandsOver) => ("most ≤ 50", Some(spread.most <= HANDED_OVER_WORST)),
        Some(Way::Stays) | None => ("", None),
    };
    let met = match met {
        Some(true) => "met",
        Some(false) => "**not met**",
        None => "",
    };
    let [median, least, most] = [spread.median, spread.least, spread.most].map(write_millis);
    let trials = gaps.len();
    println!("| {name} | {trials} | {median} | {least}–{most} | {wanted} | {met} |");
}

/// The longest gap of each trial, in microseconds.
fn gaps(
    scene: &Scene,
    cluster: &mut impl Cluster,
    name: &str,
    way: Way,
    trials: u64,
) -> Result<Vec<u64>, Failure> {
    let mut gaps = Vec::new();
    for trial in 1..=trials {
        let gap = gap(&scene.stage, cluster, way)?;
        eprintln!(
            "trial {trial} of {trials}: {name}: {} ms",
            write_millis(gap)
        );
        gaps.push(gap);
    }
    Ok(gaps)
}

fn gap(stage: &Stage, cluster: &mut impl Cluster, way: Way) -> Result<u64, Failure> {
    let leader = cluster.settle()?;
    let writer = Writer::default();
    std::thread::scope(|scope| {
        let handle = writer.start(scope, stage, cluster.target())?;
        let gap = lose_leader(stage, &writer, cluster, way, leader);
        writer.stop();
        handle.join().map_err(|_| "the writer panicked")?;
        gap
    })
}

fn lose_leader(
    stage: &Stage,
    writer: &Writer,
    cluster: &mut impl Cluster,
    way: Way,
    leader: usize,
) -> Result<u64, Failure> {
    wait_for(stage, writer, WRITES_BEFORE)?;
    writer.forget_gaps();
    match way {
        Way::Killed => cluster.kill(leader),
        Way::HandsOver => cluster.hand_over(leader)?,
        Way::Stays => {}
    }
    wait_for(stage, writer, WRITES_AFTER)?;
    let gap = writer.longest_gap();
    match way {
        Way::Killed => cluster.start_node(leader)?,
        Way::HandsOver | Way::Stays => {}
    }
    Ok(gap)
}

/// Waits until so many more writes are acknowledged.
fn wait_for(stage: &Stage, writer: &Writer, writes: u64) -> Result<(), Failure> {
    let enough = writer.acknowledged() + writes;
    eventually(stage, "writes to be acknowledged", || {
        Ok((writer.acknowledged() >= enough).then_some(()))
    })
}
