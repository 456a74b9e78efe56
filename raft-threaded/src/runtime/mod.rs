//! The threads of a server: one owns the replica and every socket, one owns the log.

pub(crate) mod clock;
pub(crate) mod front;
pub(crate) mod inbox;
pub(crate) mod log_thread;
pub(crate) mod order;
pub(crate) mod replica_thread;
pub(crate) mod socket;
