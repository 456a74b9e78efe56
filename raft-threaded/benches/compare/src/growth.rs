//! Whether writes stay as fast, and the data folders as small, while more and more is written.

use crate::Failure;
use crate::figures::{thousandths, verdict, write_rate, write_thousandths};
use crate::machine;
use crate::recovery::index;
use crate::systems::{NODES, Scene, ours};
use crate::writes::Writes;

const GB: u64 = 1_000_000_000;
const MB: u64 = 1_000_000;
const VALUE_BYTES: u64 = 128;
const CLIENTS: u64 = 50;
const PIPELINE: u64 = 16;
/// Writes of which is learnt how long their entries are.
const FIRST_WRITES: u64 = 50_000;
/// What the folder of a node may take besides its state: the log behind a snapshot and before the next, segments that
/// are kept for later, and some room.
const FOLDER_BYTES_MAX: u64 = GB;
/// What a key takes on a node: in the state, and in the old, the new and the unfinished snapshot.
const KEY_BYTES_MAX: u64 = 1_000;
/// How far, in thousandths, a rate may be from that of the first slice.
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
}

/// A part of all writes.
#[derive(Clone, Copy, Debug)]
struct Slice {
    /// What was in the log at its end, had it been kept.
    log_bytes: u64,
    rate: u64,
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
    let room = (FOLDER_BYTES_MAX + plan.keys * KEY_BYTES_MAX) * NODES as u64;
    machine::require_room(scene.folder.path(), room)?;
    let mut cluster = ours::Cluster::start(scene)?;
    let leader = cluster.settle()?;
    let all = |requests, seed| Writes {
        requests,
        clients: CLIENTS,
        pipeline: PIPELINE,
        keys: plan.keys,
        value_bytes: VALUE_BYTES,
        seed,
    };
    // One node stays up to the end, so that what it wrote since its start is all that was written.
    let witness = (leader + 1) % NODES;
    all(FIRST_WRITES, 0).run(scene, cluster.port(leader), || Ok(()))?;
    cluster.settle()?;
    let entry_bytes = (log_bytes(&cluster, witness)? / FIRST_WRITES).max(1);
    let requests = (plan.gigabytes * GB / plan.slices / entry_bytes).max(1);
    let mut slices = Vec::new();
    for number in 1..=plan.slices {
        let leader = cluster.leader()?;
        let mut folder = 0;
        let written = all(requests, number).run(scene, cluster.port(leader), || {
            for node in 0..NODES {
                folder = folder.max(machine::taken_by(&cluster.data(node))?);
            }
            Ok(())
        })?;
        cluster.settle()?;
        let slice = Slice {
            log_bytes: log_bytes(&cluster, witness)?,
            rate: written.rate,
            failed: written.failed,
            folder,
        };
        eprintln!(
            "slice {number} of {}: {} writes/s, {} GB written to the log, a folder takes {} MB",
            plan.slices,
            write_rate(slice.rate),
            gigabytes(slice.log_bytes),
            slice.folder / MB
        );
        slices.push(slice);
    }
    println!(
        "- {}; {requests} writes of {VALUE_BYTES} B in each slice, {entry_bytes} B each in the log, on {} keys\n",
        machine::computer(),
        plan.keys
    );
    print(&slices);
    Ok(())
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
        "| in the log so far, GB | writes/s | × the first | failed | a node's folder, at most, MB |"
    );
    println!("| --: | --: | --: | --: | --: |");
    let first = slices.first().map_or(0, |slice| slice.rate);
    for slice in slices {
        println!(
            "| {} | {} | {} | {} | {} |",
            gigabytes(slice.log_bytes),
            write_rate(slice.rate),
            write_thousandths(thousandths(slice.rate, first)),
            slice.failed,
            slice.folder / MB
        );
    }
    println!("\n| | found | to reach | |");
    println!("| --- | --: | --- | --- |");
    if let Some((least, most)) = against_first(slices) {
        let flat = least >= 1_000 - FLAT && most <= 1_000 + FLAT;
        let [least, most] = [least, most].map(write_thousandths);
        println!(
            "| least and most, × the first slice | {least}–{most} | 0.90–1.10 | {} |",
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

/// The least and the most of the rates by that of the first slice, in thousandths.
fn against_first(slices: &[Slice]) -> Option<(u64, u64)> {
    let first = slices.first()?.rate;
    let rates = || slices.iter().map(|slice| thousandths(slice.rate, first));
    Some((rates().min()?, rates().max()?))
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

    fn slices(found: &[(u64, u64)]) -> Vec<Slice> {
        let slice = |(rate, folder): &(u64, u64)| Slice {
            log_bytes: 0,
            rate: *rate,
            failed: 0,
            folder: *folder,
        };
        found.iter().map(slice).collect()
    }

    #[test]
    fn every_slice_is_held_to_the_first() {
        let found = slices(&[(1_000, 1), (900, 1), (1_200, 1), (950, 1)]);
        assert_eq!(against_first(&found), Some((900, 1_200)));
        assert_eq!(against_first(&[]), None);
    }

    #[test]
    fn a_folder_that_goes_on_growing_is_seen() {
        assert_eq!(
            grown(&slices(&[(1, 100), (1, 300), (1, 290), (1, 310)])),
            1_033
        );
        assert_eq!(
            grown(&slices(&[(1, 100), (1, 200), (1, 300), (1, 400)])),
            2_000
        );
    }
}
