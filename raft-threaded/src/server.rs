//! Starting and stopping a server in a program of one's own.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use crossbeam_channel::Receiver;
use mio::net::TcpListener;
use raft_core::replica::StateMachine;
use raft_core::wal::{SnapshotStore, Wal, WalOptions};
use raft_core::{Configuration, Identity, Options, Restored};
use tracing::info;

use crate::client::Client;
use crate::error::{StartError, StopError};
use crate::folder::{open, recovery};
use crate::random::random;
use crate::runtime::around::{Around, Doors, poller};
use crate::runtime::calls::Call;
use crate::runtime::clock;
use crate::runtime::front::{Front, NoFront};
use crate::runtime::inbox;
use crate::runtime::log_thread;
use crate::runtime::replica_thread::TCP_TOKENS;
use crate::runtime::snapshots::{SnapshotThreads, Snapshots};
use crate::status::ServerStatus;
use crate::transport::tcp::Tcp;
use crate::transport::{Introduction, Transport};

/// Answers of the log thread that may wait; more than the node has writes and reads under way.
pub(crate) const LOG_EVENTS_WAITING: usize = 1_024;
/// Files of the log that are kept for later: by default two segments are written from one snapshot to the next.
const FILES_KEPT: usize = 2;

/// Where a server keeps its data and how it is reached.
///
/// ```no_run
/// use raft_threaded::ServerOptions;
///
/// let options = ServerOptions::new("data/node-1", "127.0.0.1:7101".parse().unwrap());
/// ```
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// The data folder, made by [`init`](crate::init) or [`init_joiner`](crate::init_joiner).
    pub data: PathBuf,
    /// Where to listen for peers; they dial the address that the configuration names.
    pub listen: SocketAddr,
    /// How the node behaves; the unit of its times is the nanosecond.
    pub node: Options,
    /// How the log is kept.
    pub log: WalOptions,
}

impl ServerOptions {
    /// Options with every tunable at its default.
    #[must_use]
    pub fn new(data: impl Into<PathBuf>, listen: SocketAddr) -> Self {
        Self {
            data: data.into(),
            listen,
            node: Options::default(),
            log: WalOptions::default(),
        }
    }
}

/// A running server: a node, its log, its state machine, and the threads that drive them.
///
/// Dropping it stops it in order, as [`Server::shutdown`] does.
pub struct Server<S: StateMachine> {
    identity: Identity,
    doors: Doors<S>,
    replica: Option<Driver>,
    log: Option<JoinHandle<()>>,
    snapshots: Vec<JoinHandle<()>>,
}

impl<S> Server<S>
where
    S: StateMachine + Send + 'static,
    S::Command: Send,
    S::Query: Send,
    S::Reply: Send,
{
    /// Opens the data folder, recovers its log, and starts to take part.
    ///
    /// # Errors
    ///
    /// If the folder holds no usable log or is in use, or the address is.
    pub fn start(options: ServerOptions, machine: S) -> Result<Self, StartError> {
        Self::start_with_front(options, machine, NoFront)
    }

    pub(crate) fn start_with_front<F: Front<S> + 'static>(
        mut options: ServerOptions,
        machine: S,
        mut front: F,
    ) -> Result<Self, StartError> {
        options
            .node
            .validate()
            .map_err(raft_core::RestoreError::from)?;
        let disk = open(&options.data)?;
        // Before the log is touched: a port in use must not cost the store one of its lives.
        let listener = listen(options.listen, "peers")?;
        let snapshots = disk.in_steps();
        let (mut wal, restored) =
            Wal::recover(disk, options.log).map_err(|error| recovery(&options.data, error))?;
        wal.keep_files(FILES_KEPT);
        let identity = restored.identity;
        // Nodes must not time out in step, whoever configures them alike.
        options.node.seed ^= u64::try_from(random()? >> 64).unwrap_or(0);

        let system = |what| move |error| StartError::System { what, error };
        let (poll, registry, bell) = poller()?;
        let mut tcp = Tcp::new(
            Introduction {
                identity,
                boot: restored.boot,
            },
            listener,
            TCP_TOKENS,
            frame_bytes_max(&options.node),
            &registry,
        )
        .map_err(system("the peer port cannot be polled"))?;
        tcp.set_members(&latest(&restored), clock::now());
        front
            .register(&registry)
            .map_err(system("the client port cannot be polled"))?;

        report(&restored);
        let snapshots = SnapshotStore::open(snapshots)
            .map_err(|error| recovery(&options.data, error.into()))?;
        let (snapshots, snapshot_threads) =
            Snapshots::start(snapshots, &bell).map_err(system("no snapshot threads"))?;
        let SnapshotThreads { threads, ended } = snapshot_threads;
        let (log_outlet, log_events) = inbox::inbox(LOG_EVENTS_WAITING, &bell);
        let jobs_waiting = options.node.inflight_persists_max as usize + 1_024;
        let (jobs, jobs_taken) = crossbeam_channel::bounded(jobs_waiting);
        let around = Around {
            registry,
            bell: Arc::clone(&bell),
            transport: Box::new(tcp),
            front,
            log: Box::new(jobs),
            log_events,
            snapshots,
            host: None,
        };
        let (thread, doors) = around.host(options.node, restored, machine)?;
        let log = thread::Builder::new()
            .name("raft-log".to_string())
            .spawn(move || log_thread::run(wal, &jobs_taken, log_outlet, ended))
            .map_err(system("no log thread"))?;
        let replica = thread::Builder::new()
            .name("raft-replica".to_string())
            .spawn(move || thread.run(poll, &bell))
            .map_err(system("no replica thread"))?;
        Ok(Self {
            identity,
            doors,
            replica: Some(Driver::Thread(replica)),
            log: Some(log),
            snapshots: threads,
        })
    }

    /// One that a thread drives which it shares with others; it tells when the server has ended.
    pub(crate) fn hosted(
        identity: Identity,
        doors: Doors<S>,
        ended: Receiver<Result<(), StopError>>,
        snapshots: Vec<JoinHandle<()>>,
    ) -> Self {
        Self {
            identity,
            doors,
            replica: Some(Driver::Host(ended)),
            log: None,
            snapshots,
        }
    }

    /// Who this server is, as its data folder says.
    #[must_use]
    pub const fn identity(&self) -> Identity {
        self.identity
    }

    /// A handle for calls from this process; clones are cheap and may go to any thread.
    #[must_use]
    pub fn client(&self) -> Client<S> {
        Client::new(self.doors.clone())
    }

    /// How the server is doing; `None` once it has stopped.
    #[must_use]
    pub fn status(&self) -> Option<ServerStatus> {
        self.client().status()
    }

    /// Something that stops the server in order from another thread, while this one waits for it.
    #[must_use]
    pub fn stopper(&self) -> Box<dyn Fn() + Send> {
        let calls = self.doors.calls.clone();
        Box::new(move || {
            calls.send(Call::Shutdown);
        })
    }

    /// Whether the server has stopped by itself; [`Server::wait`] tells why.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.replica.as_ref().is_none_or(Driver::is_finished)
    }

    /// Stops in order: what was acknowledged is on disk, and the log is closed.
    ///
    /// # Errors
    ///
    /// Why it had stopped before, if it had.
    pub fn shutdown(mut self) -> Result<(), StopError> {
        self.doors.calls.send(Call::Shutdown);
        self.join()
    }

    /// Waits until the server stops by itself.
    ///
    /// # Errors
    ///
    /// Why it stopped.
    pub fn wait(mut self) -> Result<(), StopError> {
        self.join()
    }
}

impl<S: StateMachine> fmt::Debug for Server<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut server = f.debug_struct("Server");
        server
            .field("identity", &self.identity)
            .finish_non_exhaustive()
    }
}

/// What drives the replica.
enum Driver {
    /// A thread of its own.
    Thread(JoinHandle<Result<(), StopError>>),
    /// One that other servers have as well, which says when this one has ended.
    Host(Receiver<Result<(), StopError>>),
}

impl Driver {
    fn is_finished(&self) -> bool {
        match self {
            Self::Thread(thread) => thread.is_finished(),
            Self::Host(ended) => !ended.is_empty(),
        }
    }

    fn join(self) -> Result<(), StopError> {
        let panicked = Err(StopError::Panicked { thread: "replica" });
        match self {
            Self::Thread(thread) => thread.join().unwrap_or(panicked),
            Self::Host(ended) => ended.recv().unwrap_or(panicked),
        }
    }
}

impl<S: StateMachine> Server<S> {
    fn join(&mut self) -> Result<(), StopError> {
        let panicked = |thread| StopError::Panicked { thread };
        let mut result = Ok(());
        if let Some(replica) = self.replica.take() {
            result = replica.join();
        }
        if let Some(log) = self.log.take()
            && log.join().is_err()
        {
            result = Err(panicked("log"));
        }
        for snapshots in self.snapshots.drain(..) {
            if snapshots.join().is_err() {
                result = Err(panicked("snapshot"));
            }
        }
        result
    }
}

impl<S: StateMachine> Drop for Server<S> {
    fn drop(&mut self) {
        self.doors.calls.send(Call::Shutdown);
        // Nobody is left to tell.
        let _ = self.join();
    }
}

pub(crate) fn report(restored: &Restored) {
    let identity = restored.identity;
    info!(
        node = identity.member.node.0,
        cluster = %identity.cluster,
        store = %identity.member.store,
        boot = restored.boot.0,
        term = restored.hard_state.term.0,
        snapshot = restored.snapshot.as_ref().map(|snapshot| snapshot.id.index.0),
        last = restored.terms.last().index.0,
        "recovered"
    );
}

/// The longest message: what carries entries, and something around them.
fn frame_bytes_max(options: &Options) -> u64 {
    options.append_bytes_max.max(options.command_bytes_max) + (8 << 20)
}

/// The configuration in force when a log was recovered.
fn latest(restored: &Restored) -> Arc<Configuration> {
    let newest = restored.configurations.last();
    newest.map_or_else(|| restored.configuration.clone(), |(_, c)| c.clone())
}

/// Listens, or says what is wrong with the address.
pub(crate) fn listen(
    address: SocketAddr,
    purpose: &'static str,
) -> Result<TcpListener, StartError> {
    TcpListener::bind(address).map_err(|error| StartError::Listen {
        address,
        purpose,
        error,
    })
}
