//! Messages between nodes: one-way, lossy by contract, bounded, never blocking.
//!
//! Each node dials each peer and only writes there; what it accepts, it only reads. A connection
//! begins with an [`Opening`]: a [`Hello`] that says who speaks to whom and where the dialer is reached, or
//! the question who is here. A dialer that is reached elsewhere from then on says so in a [`Hello`] between two
//! messages. A refusal is told to the dialer in a sentence.

pub(crate) mod ask;
pub(crate) mod frame;
pub(crate) mod hello;
mod incoming;
mod outgoing;
mod peers;
mod places;
mod queue;
mod refusals;
pub(crate) mod tcp;

pub use self::frame::FrameError;
pub use self::hello::{Hello, HelloError, Introduction, Opening};
