//! A cluster in one process, without sockets or files.

use std::fmt;
use std::sync::Arc;
use std::thread;

use mio::Registry;
use raft_core::replica::StateMachine;
use raft_core::wal::{Disk, SnapshotStore, Wal, WalOptions};
use raft_core::{Boot, NodeId, Options};

use crate::error::StartError;
use crate::folder::{init_in_memory, init_joiner_in_memory};
use crate::memory::MemoryDisk;
use crate::random::random;
use crate::runtime::around::{Around, poller};
use crate::runtime::front::NoFront;
use crate::runtime::host::{Host, Seated};
use crate::runtime::inbox;
use crate::runtime::lane::AtOnce;
use crate::runtime::snapshots::{SnapshotThreads, Snapshots};
use crate::server::{LOG_EVENTS_WAITING, Server, report};
use crate::transport::Introduction;
use crate::transport::in_process::{Exchange, address_of};

/// Servers of this process that hand their messages to each other.
///
/// One thread drives all of them, so that neither a message nor the disk costs a wake: for tests of a program that
/// embeds a [`Server`], for state that is to survive no longer than the process, and for whatever is to run
/// before there is a second machine. Everything else is as with sockets and files: members come and go, leaders
/// are replaced, a server that is stopped goes on from its disk.
///
/// Its servers stand still while any state machine of theirs is at work, or a callback of
/// [`Client::submit`](crate::Client::submit): neither may wait for one of them, nor start, stop or drop any, nor drop
/// the network.
///
/// The servers stay when the network is dropped; only no further one can be started in it.
///
/// ```
/// use raft_core::NodeId;
/// # use raft_core::replica::{Applied, Serde, StateMachine};
/// use raft_threaded::{Network, NetworkOptions, Server};
/// #
/// # #[derive(Default)]
/// # struct Counter(u64);
/// #
/// # impl StateMachine for Counter {
/// #     type Command = Serde<u64>;
/// #     type Query = ();
/// #     type Reply = u64;
/// #     fn apply(&mut self, entry: Applied<Serde<u64>>) -> u64 {
/// #         self.0 += entry.command.0;
/// #         self.0
/// #     }
/// #     fn query(&self, (): &()) -> u64 {
/// #         self.0
/// #     }
/// #     type Image = Serde<u64>;
/// #     fn image(&self) -> Serde<u64> {
/// #         Serde(self.0)
/// #     }
/// #     fn restore(&mut self, image: Serde<u64>) {
/// #         self.0 = image.0;
/// #     }
/// # }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let network = Network::new()?;
/// let mut servers = Vec::new();
/// for disk in Network::init(&[NodeId(1), NodeId(2), NodeId(3)])? {
///     servers.push(network.start(NetworkOptions::default(), disk, Counter::default())?);
/// }
/// # while !servers.iter().any(|server| server.status().is_some_and(|status| status.is_leader())) {}
/// # while servers[2].client().query(()).is_err() {}
/// assert_eq!(servers[2].client().propose(Serde(2))?, 2);
/// assert_eq!(servers[0].client().query(())?, 2);
/// # Ok(())
/// # }
/// ```
pub struct Network {
    exchange: Exchange,
    host: Arc<Host>,
    registry: Registry,
}

/// How a server in a [`Network`] behaves.
///
/// ```
/// use raft_core::{Options, Span};
/// use raft_threaded::NetworkOptions;
///
/// let defaults = NetworkOptions::default();
/// let options = NetworkOptions {
///     node: Options {
///         election_timeout: Span::from_millis(500),
///         ..defaults.node
///     },
///     ..defaults
/// };
/// assert!(options.node.validate().is_ok());
/// ```
#[derive(Clone, Copy, Debug)]
pub struct NetworkOptions {
    /// How the node behaves; the unit of its times is the nanosecond.
    pub node: Options,
    /// How the log is kept; segments are smaller than in files, because there is one in reserve.
    ///
    /// Default: segments of 4 MiB.
    pub log: WalOptions,
}

impl Default for NetworkOptions {
    fn default() -> Self {
        Self {
            node: Options {
                tail_bytes_max: 256 << 10,
                ..Options::default()
            },
            log: WalOptions {
                segment_bytes: 4 << 20,
                ..WalOptions::default()
            },
        }
    }
}

impl Network {
    /// One without any server, and the thread that is to drive them.
    ///
    /// # Errors
    ///
    /// If the operating system has no thread or no poller.
    pub fn new() -> Result<Self, StartError> {
        let (poll, registry, bell) = poller()?;
        let host = Arc::new(Host::new(bell));
        let driven = Arc::clone(&host);
        thread::Builder::new()
            .name("raft-network".to_string())
            .spawn(move || driven.run(poll))
            .map_err(|error| StartError::System {
                what: "no network thread",
                error,
            })?;
        Ok(Self {
            exchange: Exchange::default(),
            host,
            registry,
        })
    }

    /// Makes the disks of a new cluster, in the order of its nodes: each with a store id of its own, all of them
    /// voters of the first configuration.
    ///
    /// # Errors
    ///
    /// [`StartError::SameAddress`] if a node is named twice, because its id is its address here;
    /// [`StartError::System`] if the operating system has no randomness.
    pub fn init(nodes: &[NodeId]) -> Result<Vec<MemoryDisk>, StartError> {
        let twin = |(place, node)| nodes[..place].contains(node).then_some(*node);
        if let Some(node) = nodes.iter().enumerate().find_map(twin) {
            return Err(StartError::SameAddress {
                address: address_of(node),
                first: node,
                second: node,
            });
        }
        init_in_memory(nodes)
    }

    /// Makes the disk of a node that is to be attached to a cluster ([`Client::attach`](crate::Client::attach)):
    /// it holds nothing, belongs to no cluster, and never votes before.
    ///
    /// # Errors
    ///
    /// If the operating system has no randomness.
    pub fn init_joiner(node: NodeId) -> Result<MemoryDisk, StartError> {
        init_joiner_in_memory(node)
    }

    /// The address under which a node is attached.
    #[must_use]
    pub fn address(node: NodeId) -> String {
        address_of(node)
    }

    /// Recovers the log of a node, and lets it take part.
    ///
    /// Nothing else happens on the network's thread while the disk works, so it is to be one that nobody waits
    /// for: a [`MemoryDisk`], or one of the program's own.
    ///
    /// # Errors
    ///
    /// If the disk holds no usable log or fails, an option is out of its range, the node runs in this network
    /// already, or the operating system has no thread, poller or randomness.
    pub fn start<S, D>(
        &self,
        mut options: NetworkOptions,
        mut disk: D,
        machine: S,
    ) -> Result<Server<S>, StartError>
    where
        S: StateMachine<Command: Send, Query: Send, Reply: Send> + Send + 'static,
        D: Disk<File: Send> + Clone + Send + 'static,
    {
        options
            .node
            .validate()
            .map_err(raft_core::RestoreError::from)?;
        let mut introduction = Introduction {
            identity: Wal::peek(&mut disk)?,
            boot: Boot(0),
        };
        let node = introduction.identity.member.node;
        // Before the log is touched: a server that runs must not have its log taken from under it.
        let mut port = (self.exchange)
            .join(introduction, Arc::clone(self.host.bell()))
            .ok_or(StartError::Running { node })?;
        let snapshots =
            SnapshotStore::open(disk.clone()).map_err(raft_core::wal::RecoveryError::from)?;
        let (wal, restored) = Wal::recover(disk, options.log)?;
        introduction.boot = restored.boot;
        port.introduce(introduction);
        // Nodes must not time out in step, whoever configures them alike.
        options.node.seed ^= u64::try_from(random()? >> 64).unwrap_or(0);

        let system = |what| move |error| StartError::System { what, error };
        let registry = self.registry.try_clone().map_err(system("no poller"))?;
        report(&restored);
        let (
            snapshots,
            SnapshotThreads {
                threads,
                ended: idle,
            },
        ) = Snapshots::start(snapshots, self.host.bell()).map_err(system("no snapshot threads"))?;
        let (log_outlet, log_events) = inbox::silent(LOG_EVENTS_WAITING);
        let around = Around {
            registry,
            bell: Arc::clone(self.host.bell()),
            transport: Box::new(port),
            front: NoFront,
            log: Box::new(AtOnce::new(wal, log_outlet, idle)),
            log_events,
            snapshots,
            host: Some(Arc::clone(&self.host)),
        };
        let (guest, doors) = around.host(options.node, restored, machine)?;
        let (ends, ended) = crossbeam_channel::bounded(1);
        self.host.admit(Seated {
            guest: Box::new(guest),
            ended: ends,
        });
        Ok(Server::hosted(introduction.identity, doors, ended, threads))
    }

    /// From now on a node neither hears anybody nor is heard, as if its network were down; what is on its way is
    /// lost, besides what a server is taking in at this very moment. Its own clients still reach it.
    pub fn cut_off(&self, node: NodeId) {
        self.exchange.cut_off(node);
    }

    /// Ends what [`Network::cut_off`] began.
    pub fn reconnect(&self, node: NodeId) {
        self.exchange.reconnect(node);
    }
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Network").finish_non_exhaustive()
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        self.host.close();
    }
}
