//! What brings requests into the replica thread besides the in-process client: a door with sockets of
//! its own.

use std::io;

use mio::Registry;
use mio::event::Event;
use raft_core::replica::{Serial, SessionId, Stale, StateMachine};
use raft_core::{Consistency, RequestId};

use crate::error::ClientError;
use crate::runtime::order::{Carried, Order};
use crate::status::ServerStatus;

/// A request on its way to the replica.
#[derive(Debug)]
pub(crate) enum Request<S: StateMachine> {
    /// Replicate it.
    Propose(RequestId, S::Command),
    /// Begin a session.
    Register(RequestId),
    /// Replicate it as a command of a session.
    ProposeIn(RequestId, Serial, S::Command),
    /// Answer it with this consistency.
    Query(RequestId, Consistency, S::Query),
    /// Answer it at once from the state of this node.
    QueryStale(RequestId, S::Query),
    /// Carry it out.
    Order(RequestId, Order),
}

/// Hands out names for requests, each once.
#[derive(Debug, Default)]
pub(crate) struct RequestIds(u64);

impl RequestIds {
    pub(crate) const fn next(&mut self) -> RequestId {
        self.0 += 1;
        RequestId(self.0)
    }
}

/// Requests from sockets that live in the replica thread's poller.
///
/// Tokens from [`FRONT_TOKENS`] on are the front's own.
pub(crate) trait Front<S: StateMachine>: Send {
    /// Registers what it listens on.
    fn register(&mut self, registry: &Registry) -> io::Result<()>;

    /// A socket of its own is ready.
    fn on_ready(&mut self, event: &Event, registry: &Registry);

    /// Takes what has arrived, a bounded turn for each connection, and turns it into requests.
    fn take_requests(
        &mut self,
        ids: &mut RequestIds,
        status: &dyn Fn() -> ServerStatus,
        requests: &mut Vec<Request<S>>,
    );

    /// Whether another call of `take_requests` would find something at once.
    fn has_work(&self) -> bool;

    /// A request of its own has its answer.
    fn reply(&mut self, request: RequestId, result: Result<S::Reply, ClientError>);

    /// A request of its own has its answer from the state of this node.
    fn reply_stale(&mut self, request: RequestId, stale: Stale<S::Reply>);

    /// A session that it asked for has begun.
    fn registered(&mut self, request: RequestId, session: SessionId);

    /// An order of its own has its outcome, unless it got there as a request's error.
    fn done(&mut self, request: RequestId, result: Result<Carried, ClientError>);

    /// Writes what is to be written.
    fn flush(&mut self, registry: &Registry);
}

/// The first token that belongs to a front.
pub(crate) const FRONT_TOKENS: usize = usize::MAX / 2;

/// A server without a door: only the in-process client asks.
#[derive(Debug)]
pub(crate) struct NoFront;

impl<S: StateMachine> Front<S> for NoFront {
    fn register(&mut self, _registry: &Registry) -> io::Result<()> {
        Ok(())
    }

    fn on_ready(&mut self, _event: &Event, _registry: &Registry) {}

    fn take_requests(
        &mut self,
        _ids: &mut RequestIds,
        _status: &dyn Fn() -> ServerStatus,
        _requests: &mut Vec<Request<S>>,
    ) {
    }

    fn has_work(&self) -> bool {
        false
    }

    fn reply(&mut self, _request: RequestId, _result: Result<S::Reply, ClientError>) {}

    fn reply_stale(&mut self, _request: RequestId, _stale: Stale<S::Reply>) {}

    fn registered(&mut self, _request: RequestId, _session: SessionId) {}

    fn done(&mut self, _request: RequestId, _result: Result<Carried, ClientError>) {}

    fn flush(&mut self, _registry: &Registry) {}
}
