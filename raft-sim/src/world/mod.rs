//! The virtual world: disks, and clusters on a virtual network.

mod cluster;
mod disk;

pub use self::cluster::{Cluster, Network};
pub use self::disk::{MemoryDisk, MemoryFile};
