//! What real processes hold in memory while one of them is dead and writes never end.

#![cfg(all(feature = "raft-kv", target_os = "linux"))]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use support::{Client, Cluster, Value, request};

/// Writes on their way at a time.
const PIPELINE: usize = 500;
const KEYS: usize = 1_000;
const VALUE_BYTES: usize = 1 << 10;
/// Between two looks at the nodes' memory.
const STEP: usize = 25_000;
/// A debug build holds 54 MiB, of which 16 are entries (`tail_bytes_max`), and goes up and down by 4.
const KIB_MAX: u64 = 96 << 10;
/// 150 MiB are written from the first look to the last.
const GROWTH_KIB_MAX: u64 = 16 << 10;

/// Overwrites the same keys again and again, until so many writes are acknowledged.
fn write(client: &mut Client, writes: usize) {
    let value = [b'v'; VALUE_BYTES];
    let mut acknowledged = 0;
    while acknowledged < writes {
        let mut pipeline = Vec::new();
        for place in 0..PIPELINE {
            let key = format!("key:{}", (acknowledged + place) % KEYS);
            pipeline.extend(request(&[b"SET", key.as_bytes(), &value]));
        }
        client.send(&pipeline).unwrap();
        for _ in 0..PIPELINE {
            let reply = client.receive().unwrap();
            if !reply.says_again() {
                assert_eq!(reply, Value::ok());
                acknowledged += 1;
            }
        }
    }
}

/// `VmRSS` of every node that lives, in KiB.
fn resident(cluster: &Cluster) -> Vec<u64> {
    let running = cluster.nodes.iter().filter(|node| node.is_started());
    let resident = running.map(|node| {
        let process = node.status("process_id").unwrap();
        let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:"));
        let field = line.unwrap().split_whitespace().nth(1);
        field.unwrap().parse().unwrap()
    });
    resident.collect()
}

/// Entries for the dead node stay on the disk, and not for long.
#[test]
fn a_leader_with_a_dead_follower_takes_no_more_memory_for_three_times_as_many_writes() {
    let mut cluster = Cluster::started(3);
    let leader = cluster.wait_for_leader();
    let mut client = Client::connect(cluster.nodes[leader].client).unwrap();
    // The leader streams to it when it dies.
    write(&mut client, 1_000);
    cluster.nodes[(leader + 1) % 3].kill();
    // With these a first snapshot is taken, and the log begins behind it.
    write(&mut client, STEP * 3);
    let mut figures = vec![resident(&cluster)];
    for _ in 0..6 {
        write(&mut client, STEP);
        figures.push(resident(&cluster));
    }
    for (place, before) in figures[0].iter().enumerate() {
        let after = figures.iter().map(|figures| figures[place]);
        let after = after.max().unwrap();
        assert!(
            after < before + GROWTH_KIB_MAX && after < KIB_MAX,
            "from {before} to {after} KiB, of both nodes every {STEP} writes: {figures:?}"
        );
    }
    let first = cluster.nodes[leader].status("first_index").unwrap();
    let first: usize = first.parse().unwrap();
    assert!(first > STEP, "the log still begins at {first}: {figures:?}");
}
