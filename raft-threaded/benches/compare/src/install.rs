//! How fast an empty node gets a snapshot, beside what the disk and the network of this machine allow.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::Failure;
use crate::clock::{micros, now};
use crate::figures::{Spread, thousandths, verdict, write_thousandths};
use crate::recovery::index;
use crate::stage::Process;
use crate::systems::{NODES, Scene, ours, within};
use crate::writes::Writes;

const MIB: u64 = 1 << 20;
const VALUE_BYTES: u64 = 4 << 10;
const CLIENTS: u64 = 16;
const PIPELINE: u64 = 16;
/// Writes for each key, in random order: of twenty keys, nineteen are written.
const WRITES_PER_KEY: u64 = 3;
/// In how many parts they are written, so that one sees how far it is.
const PARTS: u64 = 12;
/// How many times the snapshot the disk has to have room for: the nodes' old, new and unfinished ones, the logs, and
/// the file that it is compared with.
const ROOM: u64 = 12;
/// What is written, and sent, at a time by what it is compared with.
const PIECE_BYTES: usize = 256 << 10;
/// In thousandths of what disk and network allow.
const BAR: u64 = 500;
const PATIENCE: Duration = Duration::from_secs(1_800);

/// One snapshot on its way, and the same number of bytes without any of us; in microseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Install {
    bytes: u64,
    /// Until the node has the snapshot on its disk.
    received: u64,
    /// Until the node has made its state of it.
    restored: u64,
    /// To write a file and sync it.
    disk: u64,
    /// To send it to another thread over TCP.
    network: u64,
}

impl Install {
    /// What the slower of disk and network would take, by what this took, in thousandths.
    fn share(self, taken: u64) -> u64 {
        thousandths(self.disk.max(self.network), taken)
    }
}

/// How much room there has to be for a snapshot of that many MiB, in bytes.
pub(crate) const fn room(mib: u64) -> u64 {
    mib * MIB * ROOM
}

/// Installs snapshots on a node that is emptied each time.
///
/// # Errors
///
/// A process ends or refuses, or somebody interrupted.
pub(crate) fn measure(scene: &Scene, mib: u64, trials: u64) -> Result<Vec<Install>, Failure> {
    let mut cluster = ours::Cluster::start(scene)?;
    let receiver = (cluster.settle()? + 1) % NODES;
    empty(scene, &mut cluster, receiver)?;
    write(scene, &mut cluster, mib * MIB / VALUE_BYTES)?;
    let leader = cluster.leader()?;
    eprintln!("the leader takes a snapshot");
    cluster.order(leader, "snapshot", &[])?;
    let mut installs = Vec::new();
    for trial in 1..=trials {
        if trial > 1 {
            empty(scene, &mut cluster, receiver)?;
        }
        let install = install(scene, &mut cluster, receiver)?;
        let [received, restored] =
            [install.received, install.restored].map(|t| write_thousandths(t / 1_000));
        eprintln!(
            "snapshot {trial} of {trials}: {} MB, received after {received} s, restored after {restored} s",
            install.bytes / 1_000_000
        );
        installs.push(install);
    }
    Ok(installs)
}

/// Takes the node out of the cluster and empties it.
fn empty(scene: &Scene, cluster: &mut ours::Cluster, receiver: usize) -> Result<(), Failure> {
    let leader = cluster.leader()?;
    let id = (receiver + 1).to_string();
    cluster.order(leader, "detach", &[&id])?;
    cluster.order(receiver, "reset", &[])?;
    within(&scene.stage, PATIENCE, "an empty node", || {
        cluster.check()?;
        let status = cluster.status(receiver);
        let waits = status.is_some_and(|status| status["standing"] == "waiting");
        Ok(waits.then_some(()))
    })
}

fn write(scene: &Scene, cluster: &mut ours::Cluster, keys: u64) -> Result<(), Failure> {
    for part in 1..=PARTS {
        eprintln!("writing {part} of {PARTS} parts of what is to be in the snapshot");
        let writes = Writes {
            requests: (keys * WRITES_PER_KEY).div_ceil(PARTS),
            clients: CLIENTS,
            pipeline: PIPELINE,
            keys,
            value_bytes: VALUE_BYTES,
            // Those of the log are below.
            seed: 1_000_000 + part,
        };
        let leader = cluster.leader()?;
        writes.run(scene, cluster.port(leader), || Ok(()))?;
    }
    Ok(())
}

fn install(
    scene: &Scene,
    cluster: &mut ours::Cluster,
    receiver: usize,
) -> Result<Install, Failure> {
    let leader = cluster.leader()?;
    let status = cluster
        .status(leader)
        .ok_or("the leader does not say how it is")?;
    let snapshot = status["snapshot_id"].as_str();
    let snapshot = snapshot.and_then(|id| id.split_once('.')?.1.parse::<u64>().ok());
    let snapshot = snapshot.ok_or("the leader has no snapshot")?;
    let bytes = snapshot_bytes(&cluster.data(leader))?;
    let folder = scene.fresh_folder("copied-")?;
    let disk = written(&folder.path().join("copy"), bytes)?;
    drop(folder);
    let network = sent(bytes)?;
    scene.stage.check()?;
    let begin = now();
    let mut attach = attach(scene, cluster, leader, receiver)?;
    let mut received = None;
    within(&scene.stage, PATIENCE, "a snapshot to be installed", || {
        cluster.check()?;
        let Some(status) = cluster.status(receiver) else {
            return Ok(None);
        };
        if received.is_none() && !status["snapshot_id"].is_null() {
            received = Some(micros(begin.elapsed()));
        }
        let restored = index(&status, "applied_index").is_some_and(|applied| applied >= snapshot);
        Ok(restored.then_some(()))
    })?;
    let restored = micros(begin.elapsed());
    let attached = attach.ended_within(PATIENCE)?;
    if !attached.is_some_and(|status| status.success()) {
        return Err(attach.failed("a node with a snapshot is not taken in"));
    }
    Ok(Install {
        bytes,
        received: received.unwrap_or(restored),
        restored,
        disk,
        network,
    })
}

fn attach(
    scene: &Scene,
    cluster: &ours::Cluster,
    leader: usize,
    receiver: usize,
) -> Result<Process, Failure> {
    let mut attach = Command::new(&scene.raft_kv);
    attach
        .args(["attach", "--timeout=600", "--to"])
        .arg(format!("127.0.0.1:{}", cluster.port(leader)))
        .arg(cluster.seat(receiver));
    scene.stage.start(&mut attach, scene.log("attach.log"))
}

/// How long the largest snapshot in a data folder is.
fn snapshot_bytes(data: &Path) -> Result<u64, Failure> {
    let mut most = None;
    for entry in fs::read_dir(data)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with("snapshot-") {
            most = most.max(Some(entry.metadata()?.len()));
        }
    }
    Ok(most.ok_or("the leader has no file of its snapshot")?)
}

/// How many microseconds it takes to write so many bytes and to sync them.
fn written(path: &Path, bytes: u64) -> io::Result<u64> {
    let begin = now();
    let mut file = File::create(path)?;
    in_pieces(&mut file, bytes)?;
    file.sync_all()?;
    Ok(micros(begin.elapsed()))
}

/// How many microseconds it takes to send them to another thread, which says when it has all of them.
fn sent(bytes: u64) -> io::Result<u64> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let mut stream = TcpStream::connect(listener.local_addr()?)?;
    std::thread::scope(|scope| {
        // Moved in, so that it ends with this side.
        scope.spawn(move || receive(&listener, bytes));
        let begin = now();
        in_pieces(&mut stream, bytes)?;
        stream.read_exact(&mut [0])?;
        Ok(micros(begin.elapsed()))
    })
}

fn receive(listener: &TcpListener, bytes: u64) -> io::Result<()> {
    let (mut stream, _) = listener.accept()?;
    let mut left = bytes;
    let mut piece = vec![0; PIECE_BYTES];
    while left > 0 {
        let count = stream.read(&mut piece)?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        left = left.saturating_sub(count as u64);
    }
    stream.write_all(&[1])
}

fn in_pieces(to: &mut impl Write, bytes: u64) -> io::Result<()> {
    let piece = vec![1; PIECE_BYTES];
    let mut left = bytes;
    while left > 0 {
        let count = usize::try_from(left)
            .unwrap_or(PIECE_BYTES)
            .min(PIECE_BYTES);
        to.write_all(&piece[..count])?;
        left -= count as u64;
    }
    Ok(())
}

/// The table.
pub(crate) fn print(installs: &[Install]) {
    let Some(bytes) = installs.iter().map(|install| install.bytes).max() else {
        return;
    };
    println!(
        "| a snapshot of {} MB for an empty node | MB/s | of what disk and network allow | to reach | |",
        bytes / 1_000_000
    );
    println!("| --- | --: | --: | --- | --- |");
    let rate = |taken: fn(Install) -> u64| {
        let rates = installs.iter().map(|i| i.bytes / taken(*i).max(1));
        Spread::of(rates).map_or_else(String::new, |spread| spread.show(|rate| rate.to_string()))
    };
    let share = |taken: fn(Install) -> u64| {
        let shares = installs.iter().map(|i| i.share(taken(*i)));
        Spread::of(shares)
    };
    for (name, taken, bar) in [
        ("on its disk", (|i| i.received) as fn(Install) -> u64, true),
        ("in its state machine", |i| i.restored, true),
        ("a file of that size, written and synced", |i| i.disk, false),
        (
            "the same through a connection on this machine",
            |i| i.network,
            false,
        ),
    ] {
        let (share, wanted, met) = match share(taken).filter(|_| bar) {
            None => (String::new(), "", ""),
            Some(share) => (
                share.show(write_thousandths),
                "≥ 0.50",
                verdict(share.median >= BAR),
            ),
        };
        println!("| {name} | {} | {share} | {wanted} | {met} |", rate(taken));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_install_is_held_to_the_slower_of_disk_and_network() {
        let install = Install {
            bytes: 1_000,
            received: 40,
            restored: 80,
            disk: 20,
            network: 10,
        };
        assert_eq!(install.share(install.received), 500);
        assert_eq!(install.share(install.restored), 250);
    }

    #[test]
    fn all_bytes_are_written_and_arrive() {
        let bytes = PIECE_BYTES as u64 * 2 + 3;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("copy");
        written(&path, bytes).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().len(), bytes);
        sent(bytes).unwrap();
    }

    #[test]
    fn the_largest_snapshot_of_a_folder_counts() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path();
        assert!(snapshot_bytes(data).is_err());
        fs::write(data.join("snapshot-2"), [0; 7]).unwrap();
        fs::write(data.join("snapshot-1"), [0; 3]).unwrap();
        fs::write(data.join("segment"), [0; 99]).unwrap();
        assert_eq!(snapshot_bytes(data).unwrap(), 7);
    }
}
