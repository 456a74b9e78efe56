//! The key-value store in the simulator, as any user's state machine would be: crashes, power loss,
//! partitions, full disks, and every answer compared with a store that never fails.

#![cfg(feature = "raft-kv")]
use bytes::Bytes;
use raft_core::Span;
use raft_sim::{Draw, Profile, Request, Simulation, Workload};
use raft_threaded::kv::{Condition, KvCommand, KvQuery, KvStore};

/// Clients that do what Redis clients do, on few keys, so that they meet.
struct RedisClients;

fn key(draw: &mut Draw) -> Bytes {
    Bytes::from(format!("key-{}", draw.below(6)))
}

fn value(draw: &mut Draw) -> Bytes {
    // Numbers often, so that counting succeeds; now and then something larger.
    match draw.below(10) {
        0 => Bytes::from(vec![b'x'; usize::try_from(draw.below(2_000)).unwrap_or(0)]),
        _ => Bytes::from(draw.below(1_000).to_string()),
    }
}

impl Workload for RedisClients {
    type Machine = KvStore;

    fn machine(&self) -> KvStore {
        KvStore::default()
    }

    fn request(&self, draw: &mut Draw) -> Request<KvCommand, KvQuery> {
        let (key, other) = (key(draw), key(draw));
        let command = match draw.below(14) {
            0..=3 => return Request::Query(KvQuery::Get(key)),
            4 => return Request::Query(KvQuery::MGet(vec![key, other])),
            5 => return Request::Query(KvQuery::DbSize),
            6 => KvCommand::Del(vec![key, other]),
            7 | 8 => KvCommand::IncrBy {
                key,
                by: draw.below(5).cast_signed() - 2,
            },
            9 => KvCommand::Append {
                key,
                value: value(draw),
            },
            _ => KvCommand::Set {
                key,
                value: value(draw),
                condition: draw.pick(&[Condition::Always, Condition::Absent, Condition::Present]),
                get: draw.percent(30),
            },
        };
        Request::Command(command)
    }
}

fn simulation() -> Simulation<RedisClients> {
    Simulation::new(RedisClients).time(Span(10_000_000_000))
}

#[test]
fn the_store_survives_whatever_a_cluster_tolerates() {
    simulation().check(0..40);
}

#[test]
fn the_store_survives_disks_that_fail_and_say_so() {
    simulation().profile(Profile::Detected).check(0..20);
}
