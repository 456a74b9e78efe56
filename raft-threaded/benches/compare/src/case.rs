//! What is measured, what it is to come to, and what RedisRaft came to where it could be measured.

/// What a load asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Set,
    /// Linearizable.
    Get,
}

/// Whom a figure is held against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    Redis,
    Etcd,
    /// By way of the two others.
    RedisRaft,
}

/// What a figure is to come to.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Bar {
    /// At least so many thousandths of the requests per second of a peer; more would be welcome.
    Rate(Peer, u64, Option<u64>),
    /// A median latency of at most so many microseconds.
    P50(u64),
    /// A 99th percentile of at most so many thousandths of a peer's.
    P99(Peer, u64),
}

/// One load.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) clients: u64,
    pub(crate) pipeline: u64,
    pub(crate) bars: &'static [Bar],
    pub(crate) redis_raft: RedisRaft,
}

/// What RedisRaft and its neighbours came to on another day, each in the same unit; 0 where nothing was measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RedisRaft {
    pub(crate) rate: u64,
    pub(crate) p99: u64,
    /// Beside it, etcd.
    pub(crate) etcd_rate: u64,
    pub(crate) etcd_p99: u64,
    /// Beside it, one Redis.
    pub(crate) redis_rate: u64,
    pub(crate) redis_p99: u64,
    /// Whether the three took turns.
    pub(crate) interleaved: bool,
}

impl RedisRaft {
    /// Its requests per second, one Redis's, etcd's.
    pub(crate) const fn rates(&self) -> [u64; 3] {
        [self.rate, self.redis_rate, self.etcd_rate]
    }

    /// The 99th percentiles of their latencies, in the same order.
    pub(crate) const fn p99s(&self) -> [u64; 3] {
        [self.p99, self.redis_p99, self.etcd_p99]
    }
}

/// Length of values, in bytes.
pub(crate) const VALUE_BYTES: u64 = 128;
/// How many keys are written.
pub(crate) const KEYS: u64 = 100_000;
/// How many keys are read: few enough to be written before.
pub(crate) const READ_KEYS: u64 = 1_000;

/// In the order in which they run.
pub(crate) const CASES: [Case; 6] = [
    Case {
        name: "SET, 1 client",
        kind: Kind::Set,
        clients: 1,
        pipeline: 1,
        bars: &[
            Bar::Rate(Peer::RedisRaft, 1_200, Some(1_500)),
            Bar::Rate(Peer::Etcd, 3_000, Some(4_500)),
            Bar::P50(600),
        ],
        redis_raft: RedisRaft {
            etcd_rate: 351,
            redis_rate: 2_500,
            ..redis_raft(1_020)
        },
    },
    Case {
        name: "SET, 16 clients",
        kind: Kind::Set,
        clients: 16,
        pipeline: 1,
        bars: &[
            Bar::Rate(Peer::RedisRaft, 1_400, Some(1_700)),
            Bar::Rate(Peer::Etcd, 5_000, Some(7_000)),
        ],
        redis_raft: RedisRaft {
            etcd_rate: 1_672,
            interleaved: false,
            ..redis_raft(7_200)
        },
    },
    Case {
        name: "SET, 64 clients",
        kind: Kind::Set,
        clients: 64,
        pipeline: 1,
        bars: &[
            Bar::Rate(Peer::RedisRaft, 2_500, None),
            Bar::Rate(Peer::Etcd, 8_000, None),
            Bar::Rate(Peer::Redis, 800, None),
            Bar::P99(Peer::Etcd, 125),
            Bar::P99(Peer::RedisRaft, 400),
        ],
        redis_raft: RedisRaft {
            p99: 11_700,
            etcd_rate: 3_740,
            etcd_p99: 37_000,
            redis_rate: 36_900,
            redis_p99: 3_200,
            ..redis_raft(12_300)
        },
    },
    Case {
        name: "SET, 256 clients",
        kind: Kind::Set,
        clients: 256,
        pipeline: 1,
        bars: &[
            Bar::Rate(Peer::RedisRaft, 2_500, None),
            Bar::Rate(Peer::Etcd, 8_000, None),
        ],
        redis_raft: RedisRaft {
            etcd_rate: 6_000,
            redis_rate: 49_100,
            ..redis_raft(16_600)
        },
    },
    Case {
        name: "SET, 50 clients, 16 pipelined",
        kind: Kind::Set,
        clients: 50,
        pipeline: 16,
        bars: &[
            Bar::Rate(Peer::RedisRaft, 20_000, None),
            Bar::Rate(Peer::Redis, 1_500, None),
        ],
        redis_raft: RedisRaft {
            redis_rate: 181_000,
            ..redis_raft(16_800)
        },
    },
    Case {
        name: "GET, 64 clients",
        kind: Kind::Get,
        clients: 64,
        pipeline: 1,
        bars: &[
            Bar::Rate(Peer::RedisRaft, 1_600, None),
            Bar::Rate(Peer::Etcd, 9_000, None),
        ],
        redis_raft: RedisRaft {
            etcd_rate: 4_507,
            interleaved: false,
            ..redis_raft(25_800)
        },
    },
];

/// So many requests per second in rounds with the others.
const fn redis_raft(rate: u64) -> RedisRaft {
    RedisRaft {
        rate,
        p99: 0,
        etcd_rate: 0,
        etcd_p99: 0,
        redis_rate: 0,
        redis_p99: 0,
        interleaved: true,
    }
}
