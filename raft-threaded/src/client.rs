//! Calls from the same process.

use std::fmt;

use crossbeam_channel::TrySendError;
use raft_core::replica::StateMachine;

use crate::error::ClientError;
use crate::runtime::inbox::Outlet;
use crate::runtime::replica_thread::Call;

/// A blocking handle on a [`crate::Server`] of this process.
///
/// Any node takes any call: a follower hands it to its leader.
pub struct Client<S: StateMachine> {
    calls: Outlet<Call<S>>,
}

impl<S: StateMachine> Clone for Client<S> {
    fn clone(&self) -> Self {
        Self::new(self.calls.clone())
    }
}

impl<S: StateMachine> fmt::Debug for Client<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive()
    }
}

impl<S: StateMachine> Client<S> {
    pub(crate) const fn new(calls: Outlet<Call<S>>) -> Self {
        Self { calls }
    }

    /// Replicates a command and waits for the state machine's reply.
    ///
    /// # Errors
    ///
    /// A rejected or superseded command had no effect. After `Unknown`, `ReplyLost` or `Stopped` it may
    /// have had.
    pub fn propose(&self, command: S::Command) -> Result<S::Reply, ClientError> {
        let (answer, answered) = crossbeam_channel::bounded(1);
        self.call(Call::Propose(command, answer))?;
        answered.recv().unwrap_or(Err(ClientError::Stopped))
    }

    /// Answers a query linearizably: it sees every command acknowledged before, by any node.
    ///
    /// # Errors
    ///
    /// A query has no effect, so it may be asked again after any error.
    pub fn query(&self, query: S::Query) -> Result<S::Reply, ClientError> {
        let (answer, answered) = crossbeam_channel::bounded(1);
        self.call(Call::Query(query, answer))?;
        answered.recv().unwrap_or(Err(ClientError::Stopped))
    }

    fn call(&self, call: Call<S>) -> Result<(), ClientError> {
        match self.calls.try_send(call) {
            Ok(()) => Ok(()),
            Err(TrySendError::Full(_)) => Err(ClientError::Overloaded),
            Err(TrySendError::Disconnected(_)) => Err(ClientError::Stopped),
        }
    }
}
