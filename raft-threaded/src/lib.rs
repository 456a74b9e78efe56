//! Raft on std threads: TCP, a write-ahead log on files, and nothing to wait for but the disk.
//!
//! A [`Server`] is one node of a cluster with a state machine of yours; [`init`] makes the data folders
//! of a new cluster. Two threads do all the work: one owns the replica and every socket, one the log;
//! two more work on snapshots beside them.
//!
//! ```
//! use raft_core::NodeId;
//! use raft_core::replica::{Applied, Serde, StateMachine};
//! use raft_threaded::{Seat, Server, ServerOptions, init};
//!
//! #[derive(Default)]
//! struct Counter(u64);
//!
//! impl StateMachine for Counter {
//!     type Command = Serde<u64>;
//!     type Query = ();
//!     type Reply = u64;
//!
//!     fn apply(&mut self, entry: Applied<Serde<u64>>) -> u64 {
//!         self.0 += entry.command.0;
//!         self.0
//!     }
//!
//!     fn query(&self, (): &()) -> u64 {
//!         self.0
//!     }
//!
//!     type Image = Serde<u64>;
//!
//!     fn image(&self) -> Serde<u64> {
//!         Serde(self.0)
//!     }
//!
//!     fn restore(&mut self, image: Serde<u64>) {
//!         self.0 = image.0;
//!     }
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! let data = folder.path().join("node-1");
//! init(&[Seat { node: NodeId(1), data: data.clone(), address: "127.0.0.1:0".into() }])?;
//! let server = Server::start(ServerOptions::new(data, "127.0.0.1:0".parse()?), Counter::default())?;
//! let client = server.client();
//! # while server.status().is_some_and(|status| !status.is_leader()) {}
//! assert_eq!(client.propose(Serde(2))?, 2);
//! assert_eq!(client.propose(Serde(3))?, 5);
//! assert_eq!(client.query(())?, 5);
//! server.shutdown()?;
//! # Ok(())
//! # }
//! ```
//!
//! # In one process
//!
//! Servers of one process need neither sockets nor files: a [`Network`] hands their messages over, and a
//! [`MemoryDisk`] keeps what they would lose. A client that waits for one of them drives them itself, so that a
//! commit takes no other thread.
//!
//! [`Client::submit`] and [`Client::queue`] are for many commands under way, of either kind of server.
//!
//! # Deliberately absent
//!
//! No async, no thread per connection, no clock in the state machine. What a node decides is decided in
//! [`raft_core`]; this crate is glue.

#![forbid(unsafe_code)]

mod client;
mod disk;
mod error;
mod folder;
#[cfg(feature = "raft-kv")]
pub mod kv;
mod membership;
mod memory;
mod moves;
mod network;
mod orders;
mod place;
mod queue;
mod random;
#[cfg(feature = "raft-kv")]
pub mod resp;
mod runtime;
mod server;
mod standing;
mod status;
mod stopped;
mod transport;

pub use self::client::Client;
pub use self::disk::{FileDisk, NamedFile};
pub use self::error::{ClientError, JoinerError, StartError, StopError};
pub use self::folder::{Seat, identity_of, init, init_joiner};
pub use self::membership::{Alone, Force, Joiner, Part};
pub use self::memory::{MemoryDisk, MemoryFile};
pub use self::moves::MoveError;
pub use self::network::{Network, NetworkOptions};
pub use self::place::{AddressError, NodeIdError, check_address, parse_node_id};
pub use self::queue::Queue;
pub use self::server::{Server, ServerOptions};
pub use self::status::{MemberStatus, ServerStatus};
pub use self::stopped::{StoppedError, reset_stopped, solo_stopped};
pub use self::transport::{FrameError, Hello, HelloError, Introduction, Opening};

/// The README's examples, which are compiled and run like any other.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
