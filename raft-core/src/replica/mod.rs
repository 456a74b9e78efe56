//! Hosting a state machine: a [`Node`] with something to apply its entries to.
//!
//! `Replica` is as pure as the node: it executes `Apply`, keeps requests until their reply exists, and
//! hands everything else through to the driver.
//!
//! Always holds: every request ends in exactly one reply, and a query sees every write that was
//! acknowledged before it was asked.

mod command;
mod image;
mod stale;

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use core::fmt;

pub use self::command::{Command, CommandError, Serde};
pub use self::image::{Image, ImageError, Sink, Source, read_exact, read_part, write_part};
pub use self::stale::Stale;

use crate::action::{Action, Outcome, Quota, Rejection};
use crate::entry::{Entry, Payload};
use crate::error::RestoreError;
use crate::event::{Consistency, Event, Input};
use crate::node::{Node, Restored, Status};
use crate::options::Options;
use crate::types::{EntryId, Index, RequestId, Time};

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
#[expect(
    clippy::large_enum_variant,
    reason = "most outputs are actions, and are moved once"
)]
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
    /// A request to the node itself took effect: a change of membership, a transfer, solo or reset. One that
    /// did not ends in a `Reply` with its error.
    Done {
        /// Which.
        request: RequestId,
        /// What it came to: `Changed`, `Transferred`, `Alone` or `Emptied`.
        outcome: Outcome,
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
            Self::Done { request, outcome } => f
                .debug_struct("Done")
                .field("request", request)
                .field("outcome", outcome)
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
    /// It took effect, but its reply was computed before this node knew whose it was.
    #[error("it took effect as entry {}, but its reply is lost", .0.index)]
    ReplyLost(EntryId),
    /// It was committed, and no replica can decode it: nothing was changed.
    #[error("the committed command does not decode")]
    Undecodable,
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
    /// Queries that were not taken in.
    refused: Vec<RequestId>,
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
        node.into_iter().chain(queries).min()
    }

    /// Takes one event that is not a request.
    pub fn handle(&mut self, event: Event) {
        self.now = self.now.max(event.at);
        self.node.handle(event);
    }

    /// Replicates a command; its reply comes out of a later [`Replica::drain`].
    pub fn propose(&mut self, at: Time, request: RequestId, command: &S::Command) {
        let command = command.encode();
        let input = Input::Propose { request, command };
        self.handle(Event { at, input });
    }

    /// Answers a query linearizably; the reply comes out of a later [`Replica::drain`].
    pub fn query(&mut self, at: Time, request: RequestId, query: S::Query) {
        self.query_with(at, request, Consistency::Linearizable, query);
    }

    /// Answers a query with the consistency asked for; the reply comes out of a later
    /// [`Replica::drain`].
    pub fn query_with(
        &mut self,
        at: Time,
        request: RequestId,
        consistency: Consistency,
        query: S::Query,
    ) {
        self.now = self.now.max(at);
        if self.queries >= self.options.requests_max as usize {
            self.refused.push(request);
            return;
        }
        self.queries += 1;
        self.asked.insert(request, query);
        let input = Input::Read {
            request,
            consistency,
        };
        self.handle(Event { at, input });
    }

    /// Puts everything that is now to be done behind `outputs`, after feeding the state machine what
    /// is committed.
    pub fn drain(&mut self, outputs: &mut Vec<Output<S>>) {
        for request in self.refused.drain(..) {
            let busy = Rejection::Busy(Quota::Requests);
            let result = Err(RequestError::Rejected(busy));
            outputs.push(Output::Reply { request, result });
        }
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
                    | Action::TakeSnapshot
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
        self.expire_ready(outputs);
    }

    fn apply(&mut self, entries: &[Entry], outputs: &mut Vec<Output<S>>) {
        for entry in entries {
            assert!(
                entry.id.index == self.applied.next(),
                "entries are applied once and in order"
            );
            let result = match &entry.payload {
                Payload::Command(command) => match S::Command::decode(command) {
                    Ok(command) => Ok(self.machine.apply(Applied {
                        id: entry.id,
                        command,
                    })),
                    Err(_) => Err(RequestError::Undecodable),
                },
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
                outputs.push(Output::Reply { request, result });
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
            Outcome::Committed(id) => RequestError::ReplyLost(id),
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
            | Outcome::Emptied => {
                outputs.push(Output::Done { request, outcome });
                return;
            }
            Outcome::Rejected(rejection) => RequestError::Rejected(rejection),
            Outcome::Superseded(id) => RequestError::Superseded(id),
            Outcome::Unknown => RequestError::Unknown,
        };
        if self.asked.remove(&request).is_some() {
            self.queries -= 1;
        }
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
