//! Deterministic worlds around `raft-core`: real replicas and real logs, on virtual time, a virtual
//! network and virtual disks.
//!
//! [`Cluster`] runs the code that production runs, [`raft_core::replica::Replica`] over
//! [`raft_core::wal::Wal`], and decides everything else from one seed: message delay, loss and
//! duplication, sync latency, partitions, crashes with or without loss of power.
//!
//! ```
//! use raft_core::Bytes;
//! use raft_core::replica::{Applied, StateMachine};
//! use raft_sim::{Cluster, Network};
//!
//! /// Remembers the last command.
//! #[derive(Debug, Default)]
//! struct Last(Bytes);
//!
//! impl StateMachine for Last {
//!     type Command = Bytes;
//!     type Query = ();
//!     type Reply = Bytes;
//!
//!     fn apply(&mut self, entry: Applied<Bytes>) -> Bytes {
//!         self.0 = entry.command;
//!         self.0.clone()
//!     }
//!
//!     fn query(&self, (): &()) -> Bytes {
//!         self.0.clone()
//!     }
//! }
//!
//! let mut cluster = Cluster::<Last>::new(3, 42, Network::default());
//! let leader = cluster.elect();
//! let request = cluster.propose(leader, Bytes::from_static(b"x"));
//! cluster.run_until(|cluster| cluster.reply(request).is_some());
//! assert_eq!(cluster.reply(request), Some(&Ok(Bytes::from_static(b"x"))));
//! ```

#![forbid(unsafe_code)]

mod world;

pub use self::world::{Cluster, MemoryDisk, MemoryFile, Network};
