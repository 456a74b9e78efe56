//! Who in this process waits for what became of a request.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crossbeam_channel::Sender;
use raft_core::RequestId;
use raft_core::replica::{RequestError, SessionId, Stale, StateMachine};
use tracing::error;

use crate::error::ClientError;
use crate::runtime::front::Front;
use crate::runtime::order::Carried;
use crate::runtime::replica_thread::ReplicaThread;

/// Where an answer goes.
pub(crate) type Answer<R> = Sender<Result<R, ClientError>>;

/// Where a [`crate::Queue`] finds replies, by the tokens of their commands.
pub(crate) type Replies<R> = Sender<(u64, Result<R, ClientError>)>;

/// What a client that does not wait wants to have done with a reply: by whoever drives the replica, and in any
/// case.
pub(crate) struct Completion<R>(Option<Complete<R>>);

enum Complete<R> {
    Call(Box<dyn FnOnce(Result<R, ClientError>) + Send>),
    Queue(u64, Arc<Replies<R>>),
}

impl<R> Complete<R> {
    fn with(self, result: Result<R, ClientError>) {
        match self {
            // Neither the server nor others that wait are to suffer from it; and if the replica's thread unwinds,
            // one more panic would end the process.
            Self::Call(complete) => {
                if catch_unwind(AssertUnwindSafe(|| complete(result))).is_err() {
                    error!(
                        "a callback of `Client::submit` panicked, and did not do all that it was to do"
                    );
                }
            }
            // Nobody waits any more: nothing is left to do.
            Self::Queue(token, replies) => drop(replies.send((token, result))),
        }
    }
}

impl<R> Completion<R> {
    pub(crate) fn call(complete: impl FnOnce(Result<R, ClientError>) + Send + 'static) -> Self {
        Self(Some(Complete::Call(Box::new(complete))))
    }

    pub(crate) const fn queued(token: u64, replies: Arc<Replies<R>>) -> Self {
        Self(Some(Complete::Queue(token, replies)))
    }

    /// The request was not even taken, which its client is told otherwise.
    pub(crate) fn forget(mut self) {
        self.0 = None;
    }

    fn end(mut self, result: Result<R, ClientError>) {
        if let Some(complete) = self.0.take() {
            complete.with(result);
        }
    }
}

impl<R> Drop for Completion<R> {
    /// The server ended first.
    fn drop(&mut self) {
        if let Some(complete) = self.0.take() {
            complete.with(Err(ClientError::Stopped));
        }
    }
}

/// A client that waits, by what it waits for. One that gave up does not listen any more.
pub(crate) enum Waiter<R> {
    /// A state machine's reply.
    Reply(Answer<R>),
    /// The same, of a client that does not wait.
    Completion(Completion<R>),
    /// A reply from the state of this node.
    Stale(Answer<Stale<R>>),
    /// A session of its own.
    Session(Answer<SessionId>),
    /// An order's outcome.
    Order(Answer<Carried>),
}

impl<R> Waiter<R> {
    fn fail(self, error: ClientError) {
        match self {
            Self::Reply(answer) => drop(answer.try_send(Err(error))),
            Self::Completion(completion) => completion.end(Err(error)),
            Self::Stale(answer) => drop(answer.try_send(Err(error))),
            Self::Session(answer) => drop(answer.try_send(Err(error))),
            Self::Order(answer) => drop(answer.try_send(Err(error))),
        }
    }

    fn reply(self, reply: R) {
        match self {
            Self::Reply(answer) => drop(answer.try_send(Ok(reply))),
            Self::Completion(completion) => completion.end(Ok(reply)),
            Self::Stale(_) | Self::Session(_) | Self::Order(_) => {
                unreachable!("nothing was asked of the machine")
            }
        }
    }

    fn stale(self, stale: Stale<R>) {
        match self {
            Self::Stale(answer) => drop(answer.try_send(Ok(stale))),
            Self::Reply(_) | Self::Completion(_) | Self::Session(_) | Self::Order(_) => {
                unreachable!("nothing was asked of this node's state")
            }
        }
    }

    fn session(self, session: SessionId) {
        match self {
            Self::Session(answer) => drop(answer.try_send(Ok(session))),
            Self::Reply(_) | Self::Completion(_) | Self::Stale(_) | Self::Order(_) => {
                unreachable!("no session was asked for")
            }
        }
    }

    fn carried(self, carried: Carried) {
        match self {
            Self::Order(answer) => drop(answer.try_send(Ok(carried))),
            Self::Reply(_) | Self::Completion(_) | Self::Stale(_) | Self::Session(_) => {
                unreachable!("nothing was ordered")
            }
        }
    }
}

impl<S: StateMachine, F: Front<S>> ReplicaThread<S, F> {
    pub(super) fn reply(&mut self, request: RequestId, result: Result<S::Reply, RequestError>) {
        match (self.state.answers.remove(request), result) {
            (Some(waiter), Ok(reply)) => waiter.reply(reply),
            (Some(waiter), Err(error)) => waiter.fail(error.into()),
            (None, result) => {
                let result = result.map_err(ClientError::from);
                self.front.reply(request, result);
            }
        }
    }

    /// A request is refused, whatever it asked for.
    pub(super) fn fail(&mut self, request: RequestId, error: ClientError) {
        match self.state.answers.remove(request) {
            Some(waiter) => waiter.fail(error),
            None => self.front.reply(request, Err(error)),
        }
    }

    /// A query has its answer from the state of this node.
    pub(super) fn reply_stale(&mut self, request: RequestId, stale: Stale<S::Reply>) {
        match self.state.answers.remove(request) {
            Some(waiter) => waiter.stale(stale),
            None => self.front.reply_stale(request, stale),
        }
    }

    pub(super) fn registered(&mut self, request: RequestId, session: SessionId) {
        match self.state.answers.remove(request) {
            Some(waiter) => waiter.session(session),
            None => self.front.registered(request, session),
        }
    }

    /// An order has its outcome.
    pub(super) fn answer_order(
        &mut self,
        request: RequestId,
        result: Result<Carried, ClientError>,
    ) {
        match (self.state.answers.remove(request), result) {
            (Some(waiter), Ok(carried)) => waiter.carried(carried),
            (Some(waiter), Err(error)) => waiter.fail(error),
            (None, result) => self.front.done(request, result),
        }
    }
}
