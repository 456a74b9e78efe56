//! Three nodes in one thread: commits per second of the consensus core alone.
//!
//! Messages are moved, not encoded; the disk and the state machine take no time. A round proposes so
//! many commands at the leader, then lets everything happen until nothing more does. The
//! followers hear of the last commit with the next round's append, as they do in production.

mod cluster;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

use crate::cluster::Cluster;

fn commits(criterion: &mut Criterion) {
    let sizes = [3, 5].map(|nodes| [16, 128, 1_024].map(|bytes| (nodes, bytes)));
    for (nodes, bytes) in sizes.concat() {
        let mut group = criterion.benchmark_group(format!("commits/{nodes} nodes/{bytes} B"));
        for outstanding in [1, 64, 1_024] {
            group.throughput(Throughput::Elements(outstanding));
            let mut cluster = Cluster::new(nodes, bytes);
            let id = BenchmarkId::from_parameter(outstanding);
            group.bench_function(id, |bencher| bencher.iter(|| cluster.round(outstanding)));
        }
        group.finish();
    }
}

criterion_group!(benches, commits);
criterion_main!(benches);
