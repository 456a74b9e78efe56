//! Whether writes stay as fast, and the data folders as small, while more and more is written.
//!
//! A machine does not stay as fast as it was for as long as that takes, so another cluster, which has just begun,
//! bears the same load beside every part.

use crate::Failure;
use crate::figures::{Spread, thousandths, verdict, write_rate, write_thousandths};
use crate::machine;
use crate::recovery::index;
use crate::systems::{NODES, Scene, ours};
use crate::writes::Writes;

const GB: u64 = 1_000_000_000;
const MB: u64 = 1_000_000;
const CLIENTS: u64 = 50;
const PIPELINE: u64 = 16;
/// Writes of which is learnt how long their entries are.
const FIRST_WRITES: u64 = 50_000;
/// What the folder of a node may take besides its state: the log behind a snapshot and before the next, segments that
/// are kept for later, and some room.
const FOLDER_BYTES_MAX: u64 = GB;
/// What a key takes on a node besides its value.
const KEY_BYTES_MAX: u64 = 100;
/// Where a key is: in the state, and in the old, the new and the unfinished snapshot.
const COPIES: u64 = 4;
/// How often a key is written before a new cluster is measured, and how many bytes of values are: it has taken
/// snapshots then, and uses files of its log again.
const WARM_UP_KEYS: u64 = 3;
const WARM_UP_BYTES: u64 = 300 * MB;
/// How many times as much is written in a slice as by a new cluster beside it.
const SHARE: u64 = 10;
/// How far, in thousandths, the second half may be from the first.
const FLAT: u64 = 100;
/// How far the folders may grow from the first half to the second, in thousandths: a segment more or less is a fifth
/// of them, and what grows with the log doubles.
const GROWN_MAX: u64 = 1_500;

/// How much is written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) gigabytes: u64,
    pub(crate) slices: u64,
    pub(crate) keys: u64,
    pub(crate) value_bytes: u64,
}

impl Plan {
    fn writes(self, requests: u64, seed: u64) -> Writes {
        Writes {
            requests,
            clients: CLIENTS,
            pipeline: PIPELINE,
            keys: self.keys,
            value_bytes: self.value_bytes,
            seed,
        }
    }

    /// What a folder may take at most.
    fn folder_bytes_max(self) -> u64 {
        FOLDER_BYTES_MAX + self.keys * COPIES * (self.value_bytes + KEY_BYTES_MAX)
    }
}

/// A part of all writes.
#[derive(Clone, Copy, Debug)]
struct Slice {
    /// What was in the log at its end, had it been kept.
    log_bytes: u64,
    rate: u64,
    /// What a new cluster did right after it.
    new: u64,
    failed: u64,
    /// The most that the folder of a node took meanwhile.
    folder: u64,
}

/// Measures and prints.
///
/// # Errors
///
/// The disk has no room for it, a process ends, or somebody interrupted.
pub(crate) fn run(scene: &Scene, plan: Plan) -> Result<(), Failure> {
    let clusters = 2;
    let room = plan.folder_bytes_max() * NODES as u64 * clusters;
    machine::require_room(scene.folder.path(), room)?;
    let mut cluster = ours::Cluster::start(scene)?;
    let leader = cluster.settle()?;
    // One node stays up to the end, so that what it wrote since its start is all that was written.
    let witness = (leader + 1) % NODES;
    let first = plan.writes(FIRST_WRITES, 0);
    first.run(scene, cluster.port(leader), || Ok(()))?;
    cluster.settle()?;
    let entry_bytes = (log_bytes(&cluster, witness)? / FIRST_WRITES).max(1);
    let requests = (plan.gigabytes * GB / plan.slices / entry_bytes).max(1);
    let mut slices = Vec::new();
    for number in 1..=plan.slices {
        let leader = cluster.leader()?;
        let mut folder = 0;
        let slice = plan.writes(requests, number);
        let written = slice.run(scene, cluster.port(leader), || {
            for node in 0..NODES {
                folder = folder.max(machine::taken_by(&cluster.data(node))?);
            }
            Ok(())
        })?;
        cluster.settle()?;
        let slice = Slice {
            log_bytes: log_bytes(&cluster, witness)?,
            rate: written.rate,
            new: new_cluster(scene, plan, requests / SHARE, plan.slices + number)?,
            failed: written.failed,
            folder,
        };
        eprintln!(
            "slice {number} of {}: {} writes/s, a new cluster {}; {} GB written to the log, a folder takes {} MB",
            plan.slices,
            write_rate(slice.rate),
            write_rate(slice.new),
            gigabytes(slice.log_bytes),
            slice.folder / MB
        );
        slices.push(slice);
    }
    println!(
        "- {}; {requests} writes of {} B in each slice, {entry_bytes} B each in the log, on {} keys\n",
        machine::computer(),
        plan.value_bytes,
        plan.keys
    );
    print(&slices);
    Ok(())
}

/// How many writes a second a cluster makes that has not had many.
fn new_cluster(scene: &Scene, plan: Plan, requests: u64, seed: u64) -> Result<u64, Failure> {
    let mut cluster = ours::Cluster::start(scene)?;
    let leader = cluster.settle()?;
    let enough = (plan.keys * WARM_UP_KEYS).max(WARM_UP_BYTES / plan.value_bytes);
    let warm_up = plan.writes(enough, plan.slices + seed);
    warm_up.run(scene, cluster.port(leader), || Ok(()))?;
    let measured = plan.writes(requests.max(1), seed);
    let written = measured.run(scene, cluster.port(leader), || Ok(()))?;
    Ok(written.rate)
}

fn log_bytes(cluster: &ours::Cluster, node: usize) -> Result<u64, Failure> {
    let status = cluster.status(node);
    let bytes = status.and_then(|status| index(&status, "log_bytes"));
    Ok(bytes.ok_or("a node does not say how much it wrote")?)
}

fn gigabytes(bytes: u64) -> String {
    write_thousandths(bytes / MB)
}

fn print(slices: &[Slice]) {
    println!(
        "| in the log so far, GB | writes/s | × the first | a new cluster's | × a new cluster's | failed | a node's folder, at most, MB |"
    );
    println!("| --: | --: | --: | --: | --: | --: | --: |");
    let first = slices.first().map_or(0, |slice| slice.rate);
    for slice in slices {
        println!(
            "| {} | {} | {} | {} | {} | {} | {} |",
            gigabytes(slice.log_bytes),
            write_rate(slice.rate),
            write_thousandths(thousandths(slice.rate, first)),
            write_rate(slice.new),
            write_thousandths(by_a_new_one(slice)),
            slice.failed,
            slice.folder / MB
        );
    }
    println!("\n| | found | to reach | |");
    println!("| --- | --: | --- | --- |");
    if let Some(kept) = kept(slices) {
        let flat = (1_000 - FLAT..=1_000 + FLAT).contains(&kept);
        println!(
            "| rates by a new cluster's, the median of the second half × that of the first | {} | 0.90–1.10 | {} |",
            write_thousandths(kept),
            verdict(flat)
        );
    }
    let grown = grown(slices);
    println!(
        "| the folder in the second half, × the first half | {} | ≤ 1.50 | {} |",
        write_thousandths(grown),
        verdict(grown <= GROWN_MAX)
    );
}

/// A slice's rate by that of a new cluster, in thousandths.
fn by_a_new_one(slice: &Slice) -> u64 {
    thousandths(slice.rate, slice.new)
}

/// The median of the second half's rates by that of the first's, in thousandths, each by that of a new cluster.
fn kept(slices: &[Slice]) -> Option<u64> {
    let (first, second) = slices.split_at(slices.len() / 2);
    let median = |half: &[Slice]| Some(Spread::of(half.iter().map(by_a_new_one))?.median);
    Some(thousandths(median(second)?, median(first)?))
}

/// The most that the folder took in the second half by that of the first, in thousandths.
fn grown(slices: &[Slice]) -> u64 {
    let (first, second) = slices.split_at(slices.len() / 2);
    let most = |half: &[Slice]| half.iter().map(|slice| slice.folder).max();
    thousandths(most(second).unwrap_or(0), most(first).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slices(found: &[(u64, u64, u64)]) -> Vec<Slice> {
        let slice = |(rate, new, folder): &(u64, u64, u64)| Slice {
            log_bytes: 0,
            rate: *rate,
            new: *new,
            failed: 0,
            folder: *folder,
        };
        found.iter().map(slice).collect()
    }

    #[test]
    fn a_machine_that_gets_slower_is_told_from_a_cluster_that_does() {
        let machine = [(1_000, 1_000), (900, 900), (700, 700), (500, 500)];
        let cluster = [(1_000, 1_000), (900, 1_000), (700, 1_000), (500, 1_000)];
        let kept = |rates: [(u64, u64); 4]| kept(&slices(&rates.map(|(rate, new)| (rate, new, 1))));
        assert_eq!(kept(machine), Some(1_000));
        assert_eq!(kept(cluster), Some(632));
    }

    #[test]
    fn a_folder_that_goes_on_growing_is_seen() {
        assert_eq!(
            grown(&slices(&[100, 300, 290, 310].map(|folder| (1, 1, folder)))),
            1_033
        );
        assert_eq!(
            grown(&slices(&[100, 200, 300, 400].map(|folder| (1, 1, folder)))),
            2_000
        );
    }
}
