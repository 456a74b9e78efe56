//! How fast simulated time passes, with every rule checked: events a second on one core (throughput), and the
//! reference load against its own time.
//!
//! `cargo bench -p raft-sim`

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use raft_core::Span;
use raft_sim::{Profile, RegisterWorkload, Simulation};

const MINUTE: Span = Span(60_000_000_000);

fn simulator(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("simulator");
    group.sample_size(20);
    for profile in [Profile::Reference, Profile::Tolerated] {
        let simulation = Simulation::new(RegisterWorkload)
            .nodes(5)
            .time(MINUTE)
            .profile(profile);
        // The same ten runs again and again: what they consist of is the same, too.
        let events: u64 = (0..10).map(|seed| simulation.run(seed).events).sum();
        let simulated: u64 = (0..10).map(|seed| simulation.run(seed).time.0).sum();
        group.throughput(Throughput::Elements(events));
        group.bench_function(format!("{profile}: events"), |bencher| {
            bencher.iter(|| (0..10).map(|seed| simulation.run(seed).events).sum::<u64>());
        });
        group.throughput(Throughput::Elements(simulated / 1_000_000_000));
        group.bench_function(format!("{profile}: simulated seconds"), |bencher| {
            bencher.iter(|| (0..10).map(|seed| simulation.run(seed).time.0).sum::<u64>());
        });
    }
    group.finish();
}

criterion_group!(benches, simulator);
criterion_main!(benches);
