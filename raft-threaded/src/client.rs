//! Calls from the same process.

use std::fmt;

use crossbeam_channel::{Receiver, Sender, TrySendError, select};
use raft_core::Consistency;
use raft_core::replica::{Serial, SessionId, Stale, StateMachine};

use crate::error::ClientError;
use crate::queue::Queue;
use crate::runtime::around::Doors;
use crate::runtime::calls::Call;
use crate::runtime::waiter::Completion;
use crate::status::ServerStatus;

/// A handle on a [`crate::Server`] of this process: its calls block, besides [`Client::submit`] and
/// [`Client::queue`].
///
/// Any node takes any call: a follower hands it to its leader.
pub struct Client<S: StateMachine> {
    doors: Doors<S>,
}

impl<S: StateMachine> Clone for Client<S> {
    fn clone(&self) -> Self {
        Self::new(self.doors.clone())
    }
}

impl<S: StateMachine> fmt::Debug for Client<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive()
    }
}

impl<S: StateMachine> Client<S> {
    pub(crate) const fn new(doors: Doors<S>) -> Self {
        Self { doors }
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

    /// Replicates a command without waiting: `done` is called with the state machine's reply, or why there is none,
    /// exactly once.
    ///
    /// Whichever thread drives the server calls it, and the server stands still meanwhile; in a
    /// [`Network`](crate::Network) all of its servers do. So it must not block, nor wait for any of those servers:
    /// no other call of a [`Client`] but this one, no [`Queue::wait`], no [`Server`](crate::Server) shut down, waited
    /// for or dropped, and in a network none started, nor the network dropped. It hands the reply to whoever wants
    /// it, and may submit the next command, here or to a queue. An executor gets
    /// a future out of a oneshot channel of its own; a thread that has many commands under way takes a [`Queue`].
    /// It is better not to panic: nobody is told but the log.
    ///
    /// ```
    /// # use raft_core::replica::{Serde, StateMachine};
    /// # use raft_threaded::{Client, ClientError};
    /// # fn all<S>(client: &Client<S>) -> Result<(), ClientError>
    /// # where
    /// #     S: StateMachine<Command = Serde<u64>, Reply = u64> + 'static,
    /// # {
    /// let (replies, replied) = std::sync::mpsc::channel();
    /// for amount in 1..=10 {
    ///     let replies = replies.clone();
    ///     client.submit(Serde(amount), move |reply| {
    ///         // Nobody listens any more: nothing is left to do.
    ///         let _ = replies.send((amount, reply));
    ///     })?;
    /// }
    /// for (amount, reply) in replied.iter().take(10) {
    ///     println!("{amount}: {}", reply?);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// The command was not taken, `done` is not called: too many wait, or the server has stopped. What `done` is
    /// called with means the same as from [`Client::propose`].
    pub fn submit<F>(&self, command: S::Command, done: F) -> Result<(), ClientError>
    where
        F: FnOnce(Result<S::Reply, ClientError>) + Send + 'static,
    {
        self.put(Call::Submit(command, Completion::call(done)))?;
        self.ring();
        Ok(())
    }

    /// Commands under way whose replies one thread waits for.
    #[must_use]
    pub fn queue(&self) -> Queue<S> {
        Queue::new(self.clone())
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
        self.put(call(answer))?;
        self.drive();
        self.wait(&answered)
    }

    /// Waits for an answer, but not for one that cannot come any more.
    fn wait<T>(&self, answered: &Receiver<T>) -> Result<T, ClientError> {
        if let Ok(answer) = answered.try_recv() {
            return Ok(answer);
        }
        select! {
            recv(answered) -> answer => answer.map_err(|_| ClientError::Stopped),
            recv(self.doors.stopped) -> _ => answered.try_recv().map_err(|_| ClientError::Stopped),
        }
    }

    /// Hands over a call that the server is not told of yet.
    pub(crate) fn put(&self, call: Call<S>) -> Result<(), ClientError> {
        let (call, error) = match self.doors.calls.put(call) {
            Ok(()) => return Ok(()),
            Err(TrySendError::Full(call)) => {
                // It may be full of what nobody told the server of.
                self.ring();
                (call, ClientError::Overloaded)
            }
            Err(TrySendError::Disconnected(call)) => (call, ClientError::Stopped),
        };
        if let Call::Submit(_, completion) = call {
            completion.forget();
        }
        Err(error)
    }

    /// Tells the server.
    pub(crate) fn ring(&self) {
        self.doors.calls.ring();
    }

    /// The same, from a thread that has nothing else to do until there is an answer.
    pub(crate) fn drive(&self) {
        match &self.doors.host {
            Some(host) => host.drive(),
            None => self.ring(),
        }
    }
}
