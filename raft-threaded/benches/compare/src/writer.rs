//! One client that writes in a loop, whoever leads, and when its writes were acknowledged.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread::{Builder, Scope, ScopedJoinHandle};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::Failure;
use crate::clock::{micros, now};
use crate::resp;
use crate::stage::Stage;
use crate::systems::etcd;

/// How long one try may take before the next node is tried.
pub(crate) const TRY_PATIENCE: Duration = Duration::from_millis(250);
/// How long the writer waits once no node took its write: a client that asked again at once would take the processor
/// from those it waits for.
const BACK_OFF: Duration = Duration::from_millis(5);

/// What is written to: one client for each node, which is connected when it is needed.
pub(crate) enum Target {
    Resp(Vec<(u16, Option<resp::Client>)>),
    Etcd(Vec<etcd::Client>),
}

impl Target {
    pub(crate) fn resp(ports: Vec<u16>) -> Self {
        Self::Resp(ports.into_iter().map(|port| (port, None)).collect())
    }

    pub(crate) fn etcd(ports: Vec<u16>) -> Self {
        let client = |port| etcd::Client::new(port, TRY_PATIENCE);
        Self::Etcd(ports.into_iter().map(client).collect())
    }

    fn nodes(&self) -> usize {
        match self {
            Self::Resp(clients) => clients.len(),
            Self::Etcd(clients) => clients.len(),
        }
    }

    /// Whether a node acknowledged a write.
    fn write(&mut self, node: usize) -> bool {
        match self {
            Self::Resp(clients) => {
                let (port, client) = &mut clients[node];
                if client.is_none() {
                    *client = resp::Client::connect(*port, TRY_PATIENCE).ok();
                }
                let answer = client.as_mut().map(|c| c.call(&[b"SET", b"key", b"value"]));
                let done = matches!(answer, Some(Ok(answer)) if answer == "OK");
                if !done {
                    // An answer that comes later would be taken for another one's.
                    *client = None;
                }
                done
            }
            // "key" and "value".
            Self::Etcd(clients) => clients[node]
                .call("kv/put", &json!({ "key": "a2V5", "value": "dmFsdWU=" }))
                .is_ok(),
        }
    }
}

/// What the writer saw so far.
#[derive(Debug, Default)]
struct Seen {
    acknowledged: u64,
    last: Option<Instant>,
    /// The longest time between two acknowledged writes, in microseconds.
    longest: u64,
}

/// The writer, for those who watch it.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    seen: Mutex<Seen>,
    stop: AtomicBool,
}

impl Writer {
    /// Writes until it is told to stop.
    pub(crate) fn start<'scope>(
        &'scope self,
        scope: &'scope Scope<'scope, '_>,
        stage: &'scope Stage,
        mut target: Target,
    ) -> Result<ScopedJoinHandle<'scope, ()>, Failure> {
        let write = move || {
            let mut node = 0;
            let mut failures = 0;
            while !self.stop.load(Ordering::SeqCst) && stage.check().is_ok() {
                if target.write(node) {
                    failures = 0;
                    self.acknowledge();
                    continue;
                }
                node = (node + 1) % target.nodes();
                failures += 1;
                if failures % target.nodes() == 0 && stage.pause(BACK_OFF).is_err() {
                    return;
                }
            }
        };
        let writer = Builder::new().name("writer".to_string());
        Ok(writer.spawn_scoped(scope, write)?)
    }

    fn acknowledge(&self) {
        let at = now();
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(last) = seen.last.replace(at) {
            seen.longest = seen.longest.max(micros(at - last));
        }
        seen.acknowledged += 1;
    }

    /// Writes that were acknowledged so far.
    pub(crate) fn acknowledged(&self) -> u64 {
        let seen = self.seen.lock();
        seen.unwrap_or_else(PoisonError::into_inner).acknowledged
    }

    /// Begins to look for the longest gap anew.
    pub(crate) fn forget_gaps(&self) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.longest = 0;
    }

    /// The longest time between two acknowledged writes, in microseconds.
    pub(crate) fn longest_gap(&self) -> u64 {
        let seen = self.seen.lock();
        seen.unwrap_or_else(PoisonError::into_inner).longest
    }

    pub(crate) fn stop(&self) {
        self.stop.store(true, Ordering::SeqCst);
    }
}
