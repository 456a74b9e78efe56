//! Calls from the same process.

use std::convert::Infallible;
use std::fmt;

use crossbeam_channel::{Receiver, Sender, TrySendError, select};
use raft_core::Consistency;
use raft_core::replica::{Serial, SessionId, Stale, StateMachine};

use crate::error::ClientError;
use crate::runtime::calls::Call;
use crate::runtime::inbox::Outlet;
use crate::status::ServerStatus;

/// A blocking handle on a [`crate::Server`] of this process.
///
/// Any node takes any call: a follower hands it to its leader.
pub struct Client<S: StateMachine> {
    calls: Outlet<Call<S>>,
    /// Ends when the replica thread does.
    stopped: Receiver<Infallible>,
}

impl<S: StateMachine> Clone for Client<S> {
    fn clone(&self) -> Self {
        Self::new(self.calls.clone(), self.stopped.clone())
    }
}

impl<S: StateMachine> fmt::Debug for Client<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive()
    }
}

impl<S: StateMachine> Client<S> {
    pub(crate) const fn new(calls: Outlet<Call<S>>, stopped: Receiver<Infallible>) -> Self {
        Self { calls, stopped }
    }

    /// Replicates a command and waits for the state machine's reply.
    ///
    /// # Errors
    ///
    /// A rejected or superseded command had no effect. After `Unknown`, `ReplyLost` or `Stopped` it may
    /// have had.
    pub fn propose(&self, command: S::Command) -> Result<S::Reply, ClientError> {
        self.ask(|answer| Call::Propose(command, answer))?
    }

    /// Begins a session, in which a command that is sent again takes effect once.
    ///
    /// # Errors
    ///
    /// It may be asked for again after any error: a session that is not used ends by itself.
    pub fn register(&self) -> Result<SessionId, ClientError> {
        self.ask(Call::Register)?
    }

    /// Replicates a command of a session; [`raft_core::replica::ClientSession`] keeps its numbers.
    ///
    /// # Errors
    ///
    /// After `Unknown`, `ReplyLost` or `Stopped` the same command may be sent again with the same number, to
    /// any node, until it is answered. After `SessionExpired` nobody can tell any more.
    pub fn propose_in(&self, serial: Serial, command: S::Command) -> Result<S::Reply, ClientError> {
        self.ask(|answer| Call::ProposeIn(serial, command, answer))?
    }

    /// Answers a query linearizably: it sees every command acknowledged before, by any node.
    ///
    /// # Errors
    ///
    /// A query has no effect, so it may be asked again after any error.
    pub fn query(&self, query: S::Query) -> Result<S::Reply, ClientError> {
        self.query_with(Consistency::Linearizable, query)
    }

    /// Answers a query with the consistency asked for.
    ///
    /// [`Consistency::Lease`] spares the leader a question to a majority while it has a lease, which it can only
    /// have if [`Options::lease_promise`](raft_core::Options::lease_promise) is not zero, its default; without
    /// one the query is answered as by [`Client::query`].
    ///
    /// # Errors
    ///
    /// As [`Client::query`].
    pub fn query_with(
        &self,
        consistency: Consistency,
        query: S::Query,
    ) -> Result<S::Reply, ClientError> {
        self.ask(|answer| Call::Query(consistency, query, answer))?
    }

    /// Answers a query at once from whatever this server has applied, without a word to any other, and says how
    /// long ago the leader was heard to be no further, in nanoseconds; `None` as long as nobody can tell.
    ///
    /// It sees the commands that this server answered before. What it read is older than that by as long as the
    /// leader's message was on its way; [`Node::staleness`](raft_core::Node::staleness) says more.
    ///
    /// # Errors
    ///
    /// If the server has stopped, has too much to do, or has no part in a cluster.
    pub fn query_stale(&self, query: S::Query) -> Result<Stale<S::Reply>, ClientError> {
        self.ask(|answer| Call::QueryStale(query, answer))?
    }

    /// How the server is doing.
    pub(crate) fn status(&self) -> Option<ServerStatus> {
        self.ask(Call::Status).ok()
    }

    /// Hands over a call and waits for its answer.
    pub(crate) fn ask<T>(&self, call: impl FnOnce(Sender<T>) -> Call<S>) -> Result<T, ClientError> {
        let (answer, answered) = crossbeam_channel::bounded(1);
        self.call(call(answer))?;
        self.wait(&answered)
    }

    /// Waits for an answer, but not for one that cannot come any more.
    fn wait<T>(&self, answered: &Receiver<T>) -> Result<T, ClientError> {
        select! {
            recv(answered) -> answer => answer.map_err(|_| ClientError::Stopped),
            recv(self.stopped) -> _ => answered.try_recv().map_err(|_| ClientError::Stopped),
        }
    }

    fn call(&self, call: Call<S>) -> Result<(), ClientError> {
        match self.calls.try_send(call) {
            Ok(()) => Ok(()),
            Err(TrySendError::Full(_)) => Err(ClientError::Overloaded),
            Err(TrySendError::Disconnected(_)) => Err(ClientError::Stopped),
        }
    }
}
