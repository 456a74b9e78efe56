//! What is compared, each brought up on fresh folders and ports.

pub(crate) mod etcd;
pub(crate) mod ours;
pub(crate) mod redis;

use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use crate::Failure;
use crate::clock::now;
use crate::stage::Stage;

/// How many processes a cluster has.
pub(crate) const NODES: usize = 3;
/// How long a system may take to serve.
const START_PATIENCE: Duration = Duration::from_secs(60);
/// How long one answer to a question about the state may take.
const ANSWER_PATIENCE: Duration = Duration::from_secs(2);
/// Between two looks at a system that is to be ready.
const LOOK: Duration = Duration::from_millis(5);

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub(crate) enum System {
    /// Three processes of raft-kv.
    Ours,
    /// One process of Redis that syncs every write.
    Redis,
    /// Three processes of etcd.
    Etcd,
}

impl System {
    pub(crate) const ALL: [Self; 3] = [Self::Ours, Self::Redis, Self::Etcd];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::Redis => "Redis",
            Self::Etcd => "etcd",
        }
    }
}

/// Where everything happens.
#[derive(Debug)]
pub(crate) struct Scene {
    pub(crate) stage: Stage,
    /// Removed with everything in it.
    pub(crate) folder: tempfile::TempDir,
    /// What is measured.
    pub(crate) raft_kv: PathBuf,
    /// What puts a load on etcd, where that is measured.
    pub(crate) etcd_load: Option<PathBuf>,
}

impl Scene {
    /// A folder that nobody else uses, removed with everything in it.
    ///
    /// # Errors
    ///
    /// It cannot be made.
    pub(crate) fn fresh_folder(&self, name: &str) -> Result<tempfile::TempDir, Failure> {
        let mut folder = tempfile::Builder::new();
        Ok(folder.prefix(name).tempdir_in(self.folder.path())?)
    }

    pub(crate) fn log(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

/// A port that was free a moment ago, and lies below those that the system gives to connections, one of which could
/// take it while its process is down.
fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let own = u16::try_from(std::process::id() % 1_000).unwrap_or(0) * 20;
    let free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
    let next = || 10_000 + (own + NEXT.fetch_add(1, Ordering::Relaxed)) % 22_000;
    std::iter::repeat_with(next)
        .find(free)
        .expect("a port is free sooner or later")
}

/// Asks again and again until there is an answer.
///
/// # Errors
///
/// There is none for a long time, or somebody interrupted.
pub(crate) fn eventually<T>(
    stage: &Stage,
    what: &str,
    ask: impl FnMut() -> Result<Option<T>, Failure>,
) -> Result<T, Failure> {
    within(stage, START_PATIENCE, what, ask)
}

/// Asks again and again until there is an answer, for so long at most.
///
/// # Errors
///
/// There is none in time, or somebody interrupted.
pub(crate) fn within<T>(
    stage: &Stage,
    patience: Duration,
    what: &str,
    mut ask: impl FnMut() -> Result<Option<T>, Failure>,
) -> Result<T, Failure> {
    let end = now() + patience;
    loop {
        if let Some(answer) = ask()? {
            return Ok(answer);
        }
        if now() >= end {
            let seconds = patience.as_secs();
            return Err(format!("waited {seconds} s for {what}").into());
        }
        stage.pause(LOOK)?;
    }
}
