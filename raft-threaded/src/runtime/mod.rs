//! The threads of a server: one owns the replica and every socket, one the log, two work on snapshots.

pub(crate) mod answers;
pub(crate) mod around;
mod attaching;
pub(crate) mod calls;
pub(crate) mod clock;
pub(crate) mod front;
pub(crate) mod host;
pub(crate) mod inbox;
pub(crate) mod lane;
pub(crate) mod log_thread;
mod news;
pub(crate) mod order;
mod read_ahead;
mod receive_failures;
pub(crate) mod replica_thread;
mod request;
pub(crate) mod snapshot_thread;
pub(crate) mod snapshots;
pub(crate) mod socket;
pub(crate) mod waiter;
