//! The most memory that each process of ours held while it was asked for more than it can do, beside its limits.

use std::process::Command;
use std::time::Duration;

use raft_core::Options;
use rustix::process::Signal;
use serde_json::Value;

use crate::Failure;
use crate::resp::{Client, request};
use crate::stage::Process;
use crate::systems::{NODES, Scene, ours};

const MIB: u64 = 1 << 20;
/// Clients that write.
const CLIENTS: u64 = 256;
/// Writes on their way from each.
const PIPELINE: u64 = 64;
const VALUE_BYTES: u64 = 4 << 10;
const KEYS: u64 = 1_000;
/// Clients that ask and never read an answer.
const SLOW_READERS: u64 = 64;
/// How many bytes of requests a slow reader tries to send: for answers of a hundred times as many.
const SLOW_BYTES: usize = 1 << 20;
/// How long a server may take nothing before a slow reader gives up, as it should have to.
const SLOW_PATIENCE: Duration = Duration::from_millis(100);
/// A server with so much to do may be slow to take another client.
const CONNECT_PATIENCE: Duration = Duration::from_secs(10);
/// Besides the time of the load itself.
const LOAD_PATIENCE: Duration = Duration::from_secs(60);

/// Of a connection of raft-kv: `kv/connection.rs`.
const CLIENT_INPUT_BYTES: u64 = 256 << 10;
const CLIENT_OUTPUT_BYTES: u64 = MIB;
const CLIENT_REPLIES_BYTES: u64 = 16 * MIB;
/// What a frame may have besides its entries: `server.rs`.
const FRAME_REST_BYTES: u64 = 8 * MIB;
/// Frames that wait for a peer, of the largest kind: `transport/tcp.rs`.
const FRAMES_WAITING: u64 = 4;

/// Something that is limited: what, how much of it, how many there are.
type Limit = (&'static str, u64, u64);

/// Loads a cluster and prints what its processes held.
///
/// # Errors
///
/// A process ends, or somebody interrupted.
pub(crate) fn run(scene: &Scene, seconds: u64) -> Result<(), Failure> {
    let mut cluster = ours::Cluster::start(scene)?;
    let leader = cluster.settle()?;
    let before = peaks(&cluster)?;
    let paused = (leader + 1) % NODES;
    let mut load = start_load(scene, cluster.port(leader), seconds)?;
    // Once they find values, they are answered at length.
    scene.stage.pause(Duration::from_secs(1))?;
    let slow = slow_readers(scene, cluster.port(leader))?;
    eprintln!("{} clients read no answers", slow.len());
    signal(&cluster, paused, Signal::STOP)?;
    eprintln!("node {} stands still", paused + 1);
    scene.stage.pause(Duration::from_secs(seconds / 3))?;
    signal(&cluster, paused, Signal::CONT)?;
    eprintln!("node {} goes on", paused + 1);
    let patience = LOAD_PATIENCE + Duration::from_secs(seconds);
    let ended = load.ended_within(patience)?;
    scene.stage.check()?;
    if !ended.is_some_and(|status| status.success()) {
        return Err(load.failed("the load failed"));
    }
    let report: Value = serde_json::from_str(&load.said()?)?;
    cluster.settle()?;
    print_peaks(&before, &peaks(&cluster)?, leader, paused);
    print_limits();
    println!(
        "\nIn {seconds} s {} writes of {VALUE_BYTES} B were answered, with errors: {}.",
        report["answered"],
        errors(&report)
    );
    Ok(())
}

/// How many of each kind.
fn errors(report: &Value) -> String {
    let kinds = report["errors"].as_object().into_iter().flatten();
    let told = kinds.map(|(kind, errors)| format!("{} {kind}", errors["count"]));
    let told: Vec<String> = told.collect();
    if told.is_empty() {
        return "none".to_string();
    }
    told.join(", ")
}

fn start_load(scene: &Scene, port: u16, seconds: u64) -> Result<Process, Failure> {
    let mut bench = Command::new(&scene.raft_kv);
    bench
        .args(["bench", "--json"])
        .arg(format!("--to=127.0.0.1:{port}"))
        .arg(format!("--clients={CLIENTS}"))
        .arg(format!("--pipeline={PIPELINE}"))
        .arg(format!("--value-bytes={VALUE_BYTES}"))
        .arg(format!("--keys={KEYS}"))
        .arg(format!("--seconds={seconds}"));
    eprintln!("{CLIENTS} clients write, {PIPELINE} pipelined, for {seconds} s");
    scene.stage.start(&mut bench, scene.log("load.log"))
}

/// They stay connected while they are kept.
fn slow_readers(scene: &Scene, port: u16) -> Result<Vec<Client>, Failure> {
    let get = request(&[b"GET", b"key:000000000001"]);
    let gets = get.repeat(SLOW_BYTES / get.len());
    let mut clients = Vec::new();
    for _ in 0..SLOW_READERS {
        let mut client = Client::connect(port, CONNECT_PATIENCE)?;
        client.set_patience(SLOW_PATIENCE)?;
        // That the server takes no more is how it limits what it keeps.
        let _ = client.send(&gets);
        clients.push(client);
        scene.stage.check()?;
    }
    Ok(clients)
}

fn signal(cluster: &ours::Cluster, node: usize, signal: Signal) -> Result<(), Failure> {
    let process = cluster.process(node);
    process.ok_or("a node does not run")?.signal(signal)
}

/// The most that was resident of each process, in KiB.
fn peaks(cluster: &ours::Cluster) -> Result<Vec<u64>, Failure> {
    let peak = |node| {
        let id = cluster.process(node)?.id();
        let status = std::fs::read_to_string(format!("/proc/{id}/status")).ok()?;
        let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
        line.split_whitespace().nth(1)?.parse().ok()
    };
    let peaks: Option<Vec<u64>> = (0..NODES).map(peak).collect();
    Ok(peaks.ok_or("Linux does not say how much memory a process held")?)
}

fn print_peaks(before: &[u64], peaks: &[u64], leader: usize, paused: usize) {
    println!("| node | most memory held, MiB | idle, MiB |");
    println!("| --- | --: | --: |");
    for (node, (peak, before)) in peaks.iter().zip(before).enumerate() {
        let role = match node {
            _ if node == leader => "leader when it began",
            _ if node == paused => "follower that stood still for a third of the time",
            _ => "follower",
        };
        println!("| {role} | {} | {} |", peak / 1_024, before / 1_024);
    }
    println!();
}

/// What a leader may hold at most, by the defaults of `Options` and the constants of raft-kv.
fn limits() -> [Limit; 11] {
    let options = Options::default();
    let frame = options.append_bytes_max.max(options.command_bytes_max) + FRAME_REST_BYTES;
    let (peers, clients) = (NODES as u64 - 1, CLIENTS + SLOW_READERS);
    let parts = u64::from(options.snapshot_chunks_max);
    [
        ("the state: keys with their values", VALUE_BYTES, KEYS),
        (
            "entries kept in memory, `tail_bytes_max`",
            options.tail_bytes_max,
            1,
        ),
        (
            "entries that wait for the disk, `undurable_bytes_max`",
            options.undurable_bytes_max,
            1,
        ),
        (
            "entries that are not committed, `uncommitted_bytes_max`",
            options.uncommitted_bytes_max,
            1,
        ),
        (
            "entries read to be applied, `apply_bytes_max`",
            options.apply_bytes_max,
            1,
        ),
        (
            "entries on their way to a peer, `inflight_bytes_max`",
            options.inflight_bytes_max,
            peers,
        ),
        (
            "frames that wait for a peer's connection",
            FRAMES_WAITING * frame,
            peers,
        ),
        (
            "parts of a snapshot on their way, `snapshot_chunk_bytes`",
            options.snapshot_chunk_bytes,
            parts,
        ),
        (
            "a client's commands that are not understood yet",
            CLIENT_INPUT_BYTES,
            clients,
        ),
        (
            "a client's replies that are not written yet",
            CLIENT_OUTPUT_BYTES,
            clients,
        ),
        (
            "a client's replies that wait for earlier ones",
            CLIENT_REPLIES_BYTES,
            clients,
        ),
    ]
}

fn print_limits() {
    println!("| limit of a leader | MiB each | how many | MiB together |");
    println!("| --- | --: | --: | --: |");
    let mut sum = 0;
    for (name, bytes, count) in limits() {
        let all = bytes * count;
        sum += all;
        let each = crate::figures::write_thousandths(bytes * 1_000 / MIB);
        println!("| {name} | {each} | {count} | {} |", all / MIB);
    }
    println!("| all | | | {} |", sum / MIB);
}
