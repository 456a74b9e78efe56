//! The virtual world: servers and their disks, links and clocks.

mod alone;
mod clock;
mod cluster;
mod disk;
mod events;
mod faults;
mod network;
mod orders;
mod outputs;
mod requests;
mod server;
mod sessions;
mod snapshot_lane;
mod traffic;

mod mechanism;

pub(crate) use self::clock::TRUE_RATE;
pub use self::cluster::Cluster;
pub use self::disk::{MemoryDisk, MemoryFile};
pub(crate) use self::mechanism::{Fresh, Setup, WAL_OPTIONS, World};
pub use self::network::Network;
pub use self::server::Death;
pub(crate) use self::sessions::Heard;
pub use self::sessions::Repeat;
