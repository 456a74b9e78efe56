//! What the tests share.

#![allow(
    dead_code,
    unreachable_pub,
    unused_imports,
    reason = "each test file uses its own part of this"
)]

mod counter;
#[cfg(feature = "raft-kv")]
mod raft_kv;

use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread;
use std::time::{Duration, Instant};

pub use self::counter::{Counter, add, leader, sum};
#[cfg(feature = "raft-kv")]
pub use self::raft_kv::*;

/// How long anything may take before a test gives up; nothing is decided by it.
const PATIENCE: Duration = Duration::from_secs(60);

/// Asks again and again until there is an answer.
pub fn eventually<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    #[expect(
        clippy::disallowed_methods,
        reason = "only to give up, never to decide"
    )]
    let start = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(start.elapsed() < PATIENCE, "never came: {what}");
        thread::park_timeout(Duration::from_millis(5));
    }
}

/// A port that was free a moment ago, and lies below those that the system gives to connections, one of
/// which could take it while its node is down.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let own = u16::try_from(std::process::id() % 1_000).unwrap() * 20;
    let free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
    let next = || 10_000 + (own + NEXT.fetch_add(1, Ordering::Relaxed)) % 22_000;
    std::iter::repeat_with(next).find(free).unwrap()
}
