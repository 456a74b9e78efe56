//! What a node takes that does nothing, of this core and of tikv's: memory, and time to see that nothing is due. Also
//! how often each asks for memory when it does something.

#[path = "../clock.rs"]
mod clock;
#[path = "../../../cluster/mod.rs"]
mod cluster;
mod group;
#[path = "../tikv.rs"]
mod tikv;

use std::collections::BTreeSet;
use std::hint::black_box;
use std::sync::Arc;

use allocation_counter::{AllocationInfo, measure};
use raft::RawNode;
use raft::storage::MemStorage;
use raft_core::{Node, Options, Span, Time};

use crate::clock::processor_nanos;
use crate::tikv::Mode;

/// Of one group, all of them voters.
const NODES: u64 = 3;
/// How many groups a process has a node of.
const GROUPS: u64 = 10_000;
/// Odd, so that one of them is the median.
const RUNS: usize = 7;
/// What tikv's core is run with where batches are possible; when idle, nothing depends on it.
const BATCHED: Mode = Mode {
    batch_append: true,
    skip_bcast_commit: false,
};

fn main() {
    memory();
    println!();
    allocations();
    println!();
    times();
}

/// What was asked for and not given back.
fn kept<T>(make: impl FnOnce() -> T) -> u64 {
    let mut made = None;
    let AllocationInfo { bytes_current, .. } = measure(|| made = Some(make()));
    drop(made);
    u64::try_from(bytes_current).expect("nothing is given back that was not asked for")
}

fn memory() {
    // A process has one of these for all its groups.
    let options = Arc::new(Options::default());
    println!("| bytes of memory, of {NODES} voters | ours | tikv |\n| --- | --: | --: |");
    println!(
        "| the type itself | {} | {} |",
        size_of::<Node>(),
        size_of::<RawNode<MemStorage>>()
    );
    println!(
        "| a new follower, with what it points to | {} | {} |",
        kept(|| Box::new(cluster::node::node_with(1, NODES, options.clone()))),
        kept(|| Box::new(tikv::node(BATCHED, 1, NODES)))
    );
    let [ours, tikv] = [
        by_role(group::idle(NODES, &options)),
        by_role(tikv::Cluster::new(BATCHED, NODES, 0).nodes),
    ];
    for (at, role) in ["an elected leader", "one of its followers"]
        .iter()
        .enumerate()
    {
        println!("| {role} | {} | {} |", ours[at], tikv[at]);
    }
}

/// What the first node of a group gives back, and what the others do, on average; what they share, the last one does.
fn by_role<T>(group: Vec<T>) -> [u64; 2] {
    let others = group.len() as u64 - 1;
    let mut given_back = group.into_iter().map(Box::new).map(|node| {
        let AllocationInfo { bytes_current, .. } = measure(|| drop(node));
        bytes_current.unsigned_abs()
    });
    let leader = given_back.next().expect("a group has a first node");
    [leader, given_back.sum::<u64>() / others]
}

/// Of all nodes together, in thousandths.
fn allocations_per_commit(outstanding: u64, mut round: impl FnMut(u64)) -> u64 {
    let rounds = 65_536 / outstanding;
    // Buffers grow to their size first.
    for _ in 0..rounds {
        round(outstanding);
    }
    let counted = measure(|| {
        for _ in 0..rounds {
            round(outstanding);
        }
    });
    counted.count_total * 1_000 / (rounds * outstanding)
}

fn allocations() {
    println!("| allocations per commit, {NODES} nodes, 128 B | ours | tikv |\n| --- | --: | --: |");
    for outstanding in [1, 64, 1_024] {
        let mut ours = cluster::Cluster::new(NODES, 128);
        let mode = Mode {
            batch_append: outstanding > 1,
            ..BATCHED
        };
        let mut tikv = tikv::Cluster::new(mode, NODES, 128);
        let [ours, tikv] = [
            allocations_per_commit(outstanding, |proposals| ours.round(proposals)),
            allocations_per_commit(outstanding, |proposals| tikv.round(proposals)),
        ];
        println!(
            "| {outstanding} outstanding | {}.{:03} | {}.{:03} |",
            ours / 1_000,
            ours % 1_000,
            tikv / 1_000,
            tikv % 1_000
        );
    }
}

/// Nanoseconds of one of `times` calls: the median of some runs, and the least and the most.
fn nanos(times: u64, mut call: impl FnMut(u64)) -> String {
    let mut runs = [0; RUNS];
    for run in &mut runs {
        let start = processor_nanos();
        (0..times).for_each(&mut call);
        // In tenths, because some of them take less than two.
        *run = (processor_nanos() - start) * 10 / times;
    }
    runs.sort_unstable();
    let [median, least, most] =
        [runs[RUNS / 2], runs[0], runs[RUNS - 1]].map(|t| format!("{}.{}", t / 10, t % 10));
    format!("{median} ({least}–{most})")
}

fn times() {
    println!("| nanoseconds, {GROUPS} groups, a follower of each | |\n| --- | --: |");
    let ours: Vec<Node> = (0..GROUPS).map(|_| cluster::node::node(1, NODES)).collect();
    let mut deadlines = Deadlines::of(&ours);
    println!(
        "| ours: which deadline is the next, of all groups together | {} |",
        nanos(1_000_000, |_| {
            black_box(black_box(&deadlines).next());
        })
    );
    println!(
        "| ours: a message postpones one group's deadline | {} |",
        nanos(1_000_000, |message| deadlines.postpone(message))
    );
    println!(
        "| ours: `next_deadline()`, per group | {} |",
        nanos(GROUPS * 100, |at| {
            black_box(ours[group(at)].next_deadline());
        })
    );
    let new = |_| tikv::node(BATCHED, 1, NODES);
    let mut tikv: Vec<RawNode<MemStorage>> = (0..GROUPS).map(new).collect();
    println!(
        "| tikv: `tick()`, per group and tick | {} |",
        nanos(GROUPS * 100, |at| {
            black_box(tikv[group(at)].tick());
        })
    );
    println!(
        "| tikv: `tick()` and `has_ready()`, per group and tick | {} |",
        nanos(GROUPS * 100, |at| {
            let node = &mut tikv[group(at)];
            black_box((node.tick(), node.has_ready()));
        })
    );
}

/// Groups in turns.
fn group(at: u64) -> usize {
    usize::try_from(at % GROUPS).expect("some thousands of groups")
}

/// What a driver of many groups keeps so that it need not ask all of them.
struct Deadlines {
    sorted: BTreeSet<(Time, usize)>,
    of_groups: Vec<Time>,
}

impl Deadlines {
    fn of(nodes: &[Node]) -> Self {
        let spread = |group| Span(u64::try_from(group).expect("a count") * 25_000);
        let of_groups: Vec<Time> = nodes
            .iter()
            .enumerate()
            .map(|(at, node)| node.next_deadline().expect("a node that runs") + spread(at))
            .collect();
        let sorted = of_groups.iter().copied().zip(0..).collect();
        Self { sorted, of_groups }
    }

    fn next(&self) -> Option<&(Time, usize)> {
        self.sorted.first()
    }

    /// Of any group but the one that was postponed before, as messages come.
    fn postpone(&mut self, message: u64) {
        let group = group(message * 7_919);
        let deadline = &mut self.of_groups[group];
        self.sorted.remove(&(*deadline, group));
        *deadline = *deadline + Span::from_millis(250);
        self.sorted.insert((*deadline, group));
    }
}
