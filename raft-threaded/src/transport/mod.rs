//! Messages between nodes: one-way, lossy by contract, bounded, never blocking.
//!
//! Each node dials each peer and only writes there; what it accepts, it only reads. A connection
//! begins with an [`Opening`]: a [`Hello`] that says who speaks to whom and where the dialer is reached, or
//! the question who is here. A dialer that is reached elsewhere from then on says so in a [`Hello`] between two
//! messages. A refusal is told to the dialer in a sentence.
//!
//! Servers of one process need no sockets: [`in_process`] hands messages over as they are.

pub(crate) mod ask;
pub(crate) mod frame;
pub(crate) mod hello;
pub(crate) mod in_process;
mod incoming;
mod outgoing;
mod peers;
mod places;
mod queue;
mod refusals;
pub(crate) mod tcp;

use std::net::SocketAddr;
use std::time::Duration;

use mio::event::Event;
use mio::{Registry, Token};
use raft_core::{Configuration, Envelope, Identity, Member, Time};

use self::ask::AskError;
pub use self::frame::FrameError;
pub use self::hello::{Hello, HelloError, Introduction, Opening};

/// What happened between this node and its peers.
#[derive(Debug)]
pub(crate) enum TransportEvent {
    /// A message arrived.
    Received(Box<Envelope>),
    /// What was on its way to this peer may be lost.
    Unreachable(Member),
    /// A name has to be looked up, on a thread that may block.
    Resolve(Member, String),
}

/// Takes messages to peers, and brings theirs: in the thread that owns the replica, which it never holds up.
pub(crate) trait Transport: Send {
    /// Connects to the members of a configuration, besides those who come by themselves.
    fn set_members(&mut self, configuration: &Configuration, now: Time);

    /// This node joined a cluster, or left one and is another member now.
    fn set_identity(&mut self, identity: Identity, now: Time, registry: &Registry);

    /// Who this node is.
    fn identity(&self) -> Identity;

    /// Whether a message to this member is likely to arrive.
    fn reaches(&self, member: Member) -> bool;

    /// Queues a message, or drops it.
    fn send(&mut self, envelope: Box<Envelope>, events: &mut Vec<TransportEvent>);

    /// Lets go what was queued.
    fn flush(&mut self, now: Time, registry: &Registry, events: &mut Vec<TransportEvent>);

    /// Takes in what has arrived, a bounded turn for each peer.
    fn receive(&mut self, now: Time, registry: &Registry, events: &mut Vec<TransportEvent>);

    /// Whether a socket with this token is one of its own.
    fn owns(&self, token: Token) -> bool;

    /// A socket of its own is ready.
    fn on_ready(
        &mut self,
        event: &Event,
        now: Time,
        registry: &Registry,
        events: &mut Vec<TransportEvent>,
    );

    /// A name was looked up.
    fn resolved(
        &mut self,
        whom: (Member, &str),
        addresses: &Result<Vec<SocketAddr>, String>,
        now: Time,
        registry: &Registry,
    );

    /// Does what is due.
    fn tick(&mut self, now: Time, registry: &Registry, events: &mut Vec<TransportEvent>);

    /// When to come back though nothing happens.
    fn next_deadline(&self) -> Option<Time>;

    /// Somebody to ask, on a thread that may wait, who is at an address.
    fn inquiry(&self) -> Box<dyn Inquiry>;
}

/// Asks who is where peers are looked for.
pub(crate) trait Inquiry: Send {
    /// Who is at an address; may wait for so long for each place that it may mean.
    fn who_is(&self, address: &str, patience: Duration) -> Result<Introduction, AskError>;
}
