//! Hosting a state machine: a [`Node`] with something to apply its entries to.
//!
//! `Replica` is as pure as the node: it executes `Apply`, keeps requests until their reply exists, and
//! hands everything else through to the driver.
//!
//! Always holds: every request ends in exactly one reply, and a query sees every write that was
//! acknowledged before it was asked.

mod command;
mod elapsed;
mod image;
mod in_session;
mod processors;
mod request;
mod serial;
mod sessions;
mod sessions_image;

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use core::fmt;

pub use self::command::{Command, CommandError, Serde, decode_reply, encode_reply};
pub use self::image::{Image, ImageError, Sink, Source, read_exact, read_part, write_part};
pub use self::processors::{Call, EnqueueError, Failure, ProcessorReply, Processors, ReplyError};
pub use self::request::{ReplicatedRequest, command_of};
pub use self::serial::{ClientSession, SESSION_WINDOW, Sequence, Serial, SessionId};
pub use self::sessions::Sessions;

use self::elapsed::Elapsed;
use self::in_session::SessionRequest;
use self::request::encode_plain;

use crate::action::{Action, Outcome, Quota, Rejection};
use crate::entry::{Entry, Payload};
use crate::error::RestoreError;
use crate::event::{Consistency, Event, Input};
use crate::node::{Node, Restored, Status};
use crate::options::Options;
use crate::types::{EntryId, Index, RequestId, Time};
use bytes::Bytes;

/// What is replicated: a deterministic machine that commands change and queries look at.
///
/// ```
/// use raft_core::replica::{Applied, Serde, StateMachine};
///
/// /// A counter that everybody can add to.
/// #[derive(Default)]
/// struct Counter(u64);
///
/// impl StateMachine for Counter {
///     type Command = Serde<u64>;
///     type Query = ();
///     type Reply = u64;
///
///     fn apply(&mut self, entry: Applied<Serde<u64>>) -> u64 {
///         self.0 += entry.command.0;
///         self.0
///     }
///
///     fn query(&self, (): &()) -> u64 {
///         self.0
///     }
///
///     type Image = Serde<u64>;
///
///     fn image(&self) -> Serde<u64> {
///         Serde(self.0)
///     }
///
///     fn restore(&mut self, image: Serde<u64>) {
///         self.0 = image.0;
///     }
/// }
/// ```
pub trait StateMachine {
    /// What changes the machine; [`Serde`] makes one of any serde type, [`crate::Bytes`] is one.
    type Command: Command;
    /// What looks at it.
    type Query;
    /// What both answer.
    type Reply;

    /// Applies a committed command and returns its reply.
    ///
    /// Must depend on nothing but the machine and the entry: no clock, no randomness, no iteration
    /// over a hash map. An error is a reply like any other.
    fn apply(&mut self, entry: Applied<Self::Command>) -> Self::Reply;

    /// Answers a query from the present state.
    fn query(&self, query: &Self::Query) -> Self::Reply;

    /// A reply's bytes, to be kept for a command that may be sent again in a session; the same for equal
    /// replies, and on every node.
    ///
    /// [`Serde`]'s `encode` and `decode` suit replies that are one, and [`encode_reply`] and
    /// [`decode_reply`] any serde type. By default nothing is kept: a command that is sent again still
    /// takes effect once, and the second time the answer is [`RequestError::ReplyLost`].
    fn encode_reply(reply: &Self::Reply) -> Option<Bytes>
    where
        Self: Sized,
    {
        let _ = reply;
        None
    }

    /// Reads what [`StateMachine::encode_reply`] wrote; none if this program does not know such replies.
    fn decode_reply(bytes: &Bytes) -> Option<Self::Reply>
    where
        Self: Sized,
    {
        let _ = bytes;
        None
    }

    /// Everything the machine holds, frozen: what snapshots are made of. [`Serde`] makes one of any serde
    /// type.
    type Image: Image
    where
        Self: Sized;

    /// Freezes what the machine holds now.
    ///
    /// The machine waits meanwhile, so a large one hands out what it shares with itself until it changes
    /// (copy on write); encoding comes later, beside it.
    fn image(&self) -> Self::Image
    where
        Self: Sized;

    /// Becomes what the image says, and forgets everything else.
    fn restore(&mut self, image: Self::Image)
    where
        Self: Sized;
}

/// A committed command on its way into the state machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Applied<C> {
    /// The entry that carries it.
    pub id: EntryId,
    /// The command.
    pub command: C,
}

/// What a driver is to do for a replica.
pub enum Output<S: StateMachine> {
    /// An order of the node: never `Apply` or `Resolve`, which the replica carries out itself.
    Action(Action),
    /// A request has its answer.
    Reply {
        /// Which.
        request: RequestId,
        /// The state machine's reply, or why there is none.
        result: Result<S::Reply, RequestError>,
    },
    /// A session has begun, as [`Replica::register`] asked.
    Registered {
        /// The request.
        request: RequestId,
        /// The session's name.
        session: SessionId,
    },
}

impl<S: StateMachine> fmt::Debug for Output<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Action(action) => action.fmt(f),
            Self::Reply { request, result } => f
                .debug_struct("Reply")
                .field("request", request)
                .field("error", &result.as_ref().err())
                .finish(),
            Self::Registered { request, session } => f
                .debug_struct("Registered")
                .field("request", request)
                .field("session", session)
                .finish(),
        }
    }
}

/// Why a request has no reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// It had no effect and never will have.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// It had no effect: another command was committed in its place, by another leader.
    #[error("another leader's entry took the place of {}", .0.index)]
    Superseded(EntryId),
    /// It may have taken effect, may yet, or never will.
    #[error("the outcome is not known: no answer came in time")]
    Unknown,
    /// It took effect, but its reply was computed before this node knew whose it was; or, in a session,
    /// it took effect when it was sent earlier, and its reply was too large to be kept.
    #[error("it took effect as entry {}, but its reply is lost", .0.index)]
    ReplyLost(EntryId),
    /// It was committed, and no replica can decode it: nothing was changed.
    #[error("the committed command does not decode")]
    Undecodable,
    /// It had no effect this time, because its session has ended, or never was. What was sent before in
    /// that session may have taken effect.
    #[error("the session has ended")]
    SessionExpired,
    /// It had no effect this time, because its client said that it has the answer to it already, or wants
    /// none.
    #[error("the client has the answers to all sequences below {lowest}")]
    SequencePassed {
        /// What the client said.
        lowest: Sequence,
    },
    /// It had no effect: too many of its session are without an answer.
    #[error("the sequence is {max} or more above {lowest}, the lowest without an answer", max = SESSION_WINDOW)]
    WindowFull {
        /// The lowest sequence without an answer.
        lowest: Sequence,
    },
}

/// A node and the state machine it feeds.
#[derive(Debug)]
pub struct Replica<S: StateMachine> {
    node: Node,
    machine: S,
    now: Time,
    /// The last entry in the state machine.
    applied: Index,
    /// Committed proposals of this node whose entry is not applied yet, by entry.
    committed: VecDeque<(EntryId, RequestId)>,
    /// Queries whose read index is not known yet.
    asked: BTreeMap<RequestId, S::Query>,
    /// Queries that wait for the state machine to get to an index.
    ready: BTreeMap<Index, Vec<(RequestId, S::Query)>>,
    /// When each of those gives up, in the order in which they became ready.
    deadlines: VecDeque<(Time, Index)>,
    /// Queries of both kinds.
    queries: usize,
    /// Requests that were not taken in.
    refused: Vec<(RequestId, RequestError)>,
    /// Part of what is replicated, beside the state machine.
    sessions: Sessions,
    /// Requests in sessions that have no outcome.
    session_requests: BTreeMap<RequestId, SessionRequest>,
    elapsed: Elapsed,
    options: Options,
    actions: Vec<Action>,
}

impl<S: StateMachine> Replica<S> {
    /// A replica of what a store holds; the machine begins empty and is fed from the log.
    ///
    /// # Errors
    ///
    /// As [`Node::new`].
    pub fn new(
        at: Time,
        options: Options,
        restored: Restored,
        machine: S,
    ) -> Result<Self, RestoreError> {
        let applied = restored.terms.base().index;
        Ok(Self {
            node: Node::new(at, options, restored)?,
            machine,
            now: at,
            applied,
            committed: VecDeque::new(),
            asked: BTreeMap::new(),
            ready: BTreeMap::new(),
            deadlines: VecDeque::new(),
            queries: 0,
            refused: Vec::new(),
            sessions: Sessions::default(),
            session_requests: BTreeMap::new(),
            elapsed: Elapsed::default(),
            options,
            actions: Vec::new(),
        })
    }

    /// The state machine as it is now; for a linearizable answer use [`Replica::query`].
    pub const fn machine(&self) -> &S {
        &self.machine
    }

    /// What the node knows now.
    #[must_use]
    pub fn status(&self) -> Status<'_> {
        self.node.status()
    }

    /// When to come back with `Input::Tick`.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Time> {
        let queries = self.deadlines.front().map(|(deadline, _)| *deadline);
        let node = self.node.next_deadline();
        let elapsed = self.elapsed.next_deadline();
        // Without a node's deadline it has halted.
        let elapsed = elapsed.filter(|_| node.is_some());
        node.into_iter().chain(queries).chain(elapsed).min()
    }

    /// Takes one event that is not a request.
    pub fn handle(&mut self, event: Event) {
        self.now = self.now.max(event.at);
        self.node.handle(event);
    }

    /// Replicates a command; its reply comes out of a later [`Replica::drain`].
    pub fn propose(&mut self, at: Time, request: RequestId, command: &S::Command) {
        let command = encode_plain(command);
        let input = Input::Propose { request, command };
        self.handle(Event { at, input });
    }

    /// Answers a query linearizably; the reply comes out of a later [`Replica::drain`].
    pub fn query(&mut self, at: Time, request: RequestId, query: S::Query) {
        self.now = self.now.max(at);
        if self.queries >= self.options.requests_max as usize {
            let busy = RequestError::Rejected(Rejection::Busy(Quota::Requests));
            self.refused.push((request, busy));
            return;
        }
        self.queries += 1;
        self.asked.insert(request, query);
        let input = Input::Read {
            request,
            consistency: Consistency::Linearizable,
        };
        self.handle(Event { at, input });
    }

    /// Puts everything that is now to be done behind `outputs`, after feeding the state machine what
    /// is committed.
    pub fn drain(&mut self, outputs: &mut Vec<Output<S>>) {
        self.answer_refused(outputs);
        self.tell_time();
        loop {
            let mut actions = core::mem::take(&mut self.actions);
            self.node.drain(&mut actions);
            let before = self.applied;
            for action in actions.drain(..) {
                match action {
                    Action::Apply { entries } => self.apply(&entries, outputs),
                    Action::Resolve { request, outcome } => {
                        self.resolve(request, outcome, outputs);
                    }
                    Action::Send(_)
                    | Action::Persist(_)
                    | Action::ReadLog(_)
                    | Action::RestoreSnapshot { .. }
                    | Action::CompactLog(_)
                    | Action::Wipe { .. }
                    | Action::ReceiveSnapshot { .. }
                    | Action::Observed(_)
                    | Action::Alert(_) => outputs.push(Output::Action(action)),
                    Action::Halt(_) => {
                        self.fail_all(outputs);
                        outputs.push(Output::Action(action));
                    }
                }
            }
            self.actions = actions;
            if self.applied == before {
                break;
            }
            let input = Input::Applied {
                index: self.applied,
            };
            self.node.handle(Event {
                at: self.now,
                input,
            });
        }
        self.observe_time();
        self.expire_ready(outputs);
    }

    fn apply(&mut self, entries: &[Entry], outputs: &mut Vec<Output<S>>) {
        for entry in entries {
            assert!(
                entry.id.index == self.applied.next(),
                "entries are applied once and in order"
            );
            let result = match &entry.payload {
                Payload::Command(command) => self.execute(entry.id, command),
                Payload::Noop | Payload::Configuration(_) => Err(RequestError::Undecodable),
            };
            self.applied = entry.id.index;
            let mut result = Some(result);
            while let Some((id, request)) = self.committed.front().copied()
                && id.index <= entry.id.index
            {
                self.committed.pop_front();
                // One entry has one reply, whoever else may claim it.
                let result = result.take().unwrap_or(Err(RequestError::ReplyLost(id)));
                self.session_requests.remove(&request);
                outputs.push(Output::of(request, result));
            }
            self.answer_ready(outputs);
        }
    }

    fn resolve(&mut self, request: RequestId, outcome: Outcome, outputs: &mut Vec<Output<S>>) {
        let error = match outcome {
            Outcome::Committed(id) if id.index > self.applied => {
                let place = self.committed.partition_point(|(other, _)| *other < id);
                self.committed.insert(place, (id, request));
                return;
            }
            Outcome::Committed(id) => {
                let known = self.session_requests.remove(&request);
                outputs.push(Output::of(request, self.late_answer(id, known)));
                return;
            }
            Outcome::ReadReady(index) => {
                if let Some(query) = self.asked.remove(&request) {
                    self.ready.entry(index).or_default().push((request, query));
                    if index > self.applied {
                        let deadline = self.now + self.options.request_timeout;
                        self.deadlines.push_back((deadline, index));
                    }
                    self.answer_ready(outputs);
                }
                return;
            }
            Outcome::Changed(_)
            | Outcome::Transferred(_)
            | Outcome::Alone { .. }
            | Outcome::Emptied => return,
            Outcome::Rejected(rejection) => RequestError::Rejected(rejection),
            Outcome::Superseded(id) => RequestError::Superseded(id),
            Outcome::Unknown => RequestError::Unknown,
        };
        if self.asked.remove(&request).is_some() {
            self.queries -= 1;
        }
        self.session_requests.remove(&request);
        let result = Err(error);
        outputs.push(Output::Reply { request, result });
    }

    /// The node halted: nothing is applied any more.
    fn fail_all(&mut self, outputs: &mut Vec<Output<S>>) {
        let unknown = core::mem::take(&mut self.committed);
        let unknown = unknown.into_iter().map(|(_, request)| {
            let result = Err(RequestError::Unknown);
            Output::Reply { request, result }
        });
        outputs.extend(unknown);
        self.session_requests.clear();
        self.deadlines.clear();
        let halted = core::mem::take(&mut self.ready).into_values().flatten();
        let halted: Vec<_> = halted.collect();
        self.queries -= halted.len();
        let halted = halted.into_iter();
        let halted = halted.map(|(request, _)| {
            let result = Err(RequestError::Rejected(Rejection::Halted));
            Output::Reply { request, result }
        });
        outputs.extend(halted);
    }

    /// Answers the queries that waited for the state machine to get where it is.
    fn answer_ready(&mut self, outputs: &mut Vec<Output<S>>) {
        while let Some(entry) = self.ready.first_entry()
            && *entry.key() <= self.applied
        {
            for (request, query) in entry.remove() {
                let result = Ok(self.machine.query(&query));
                self.queries -= 1;
                outputs.push(Output::Reply { request, result });
            }
        }
        while let Some((_, index)) = self.deadlines.front()
            && *index <= self.applied
        {
            self.deadlines.pop_front();
        }
    }

    /// The state machine does not get there in time: its node's disk is full, or nothing is heard.
    fn expire_ready(&mut self, outputs: &mut Vec<Output<S>>) {
        while let Some((deadline, index)) = self.deadlines.front().copied()
            && deadline <= self.now
        {
            self.deadlines.pop_front();
            for (request, _) in self.ready.remove(&index).into_iter().flatten() {
                self.queries -= 1;
                let result = Err(RequestError::Rejected(Rejection::NoQuorum));
                outputs.push(Output::Reply { request, result });
            }
        }
    }
}
