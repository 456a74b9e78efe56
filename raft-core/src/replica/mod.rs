//! Hosting a state machine: a [`Node`] with something to apply its entries to.
//!
//! `Replica` is as pure as the node: it executes `Apply`, keeps requests until their reply exists, and
//! hands everything else through to the driver.
//!
//! Always holds: every request ends in exactly one reply, and a query sees every write that was
//! acknowledged before it was asked.

mod arena;
mod command;
mod durable;
mod elapsed;
mod fetch;
mod image;
mod in_session;
mod machine;
mod output;
mod pace;
mod processors;
mod replica_image;
mod request;
mod serial;
mod serving;
mod sessions;
mod sessions_image;
mod snapshots;
mod stale;
mod transfer;
mod waiting;

use alloc::collections::{BTreeMap, VecDeque};
use alloc::sync::Arc;
use alloc::vec::Vec;

use self::arena::Arena;
pub use self::command::{Command, CommandError, Serde, decode_reply, encode_reply};
pub use self::durable::Durable;
use self::durable::Store;
use self::elapsed::Elapsed;
pub use self::image::{Image, ImageError, Sink, Source, read_exact, read_part, write_part};
use self::in_session::{Executed, SessionRequest};
pub use self::machine::{Applied, StateMachine};
pub use self::output::{Output, RequestError};
pub use self::processors::{Call, EnqueueError, Failure, ProcessorReply, Processors, ReplyError};
pub use self::replica_image::ReplicaImage;
pub use self::request::{ReplicatedRequest, command_of};
use self::request::{commands_of, put_plain};
pub use self::serial::{ClientSession, SESSION_WINDOW, Sequence, Serial, SessionId};
pub use self::sessions::Sessions;
pub use self::snapshots::SnapshotRefusal;
use self::snapshots::Snapshots;
pub use self::stale::Stale;
pub use self::transfer::ReadChunk;
use self::transfer::Transfer;

use crate::action::{Action, Outcome, Quota, Rejection};
use crate::entry::{Entry, Payload};
use crate::error::RestoreError;
use crate::event::{Consistency, Event, Input};
use crate::node::{Node, Restored, Status};
use crate::options::Options;
use crate::planted::{Bug, planted};
use crate::types::{EntryId, Index, RequestId, Time};

/// Of how many entries a state machine is told before they are applied: what they touch has to stay in a small
/// cache until then.
const PREPARED_MAX: usize = 32;

/// A node and the state machine it feeds.
#[derive(Debug)]
pub struct Replica<S: StateMachine> {
    node: Node,
    machine: S,
    now: Time,
    /// The last entry in the state machine.
    applied: Index,
    /// Committed proposals of this node whose entry is not applied yet, by entry, and when each gives up.
    committed: VecDeque<(EntryId, RequestId, Time)>,
    /// Queries whose read index is not known yet.
    asked: BTreeMap<RequestId, S::Query>,
    /// Queries that wait for the state machine to get to an index, and when each gives up.
    ready: BTreeMap<Index, Vec<(RequestId, S::Query, Time)>>,
    /// When somebody gives up who waits for the state machine to get to an index, in order of time.
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
    /// Where the bytes of commands are.
    arena: Arena,
    options: Arc<Options>,
    actions: Vec<Action>,
    /// What inputs brought about that the driver is to do, until the next drain.
    begun: Vec<Output<S>>,
    durable: Store,
    snapshots: Snapshots,
    transfer: Transfer,
}

impl<S: StateMachine> Replica<S> {
    /// A replica of what a store holds; the machine begins empty and is fed from snapshot and log, unless it
    /// has a durable store of its own.
    ///
    /// # Errors
    ///
    /// As [`Node::new`], or if the machine's own store has what the log has not.
    pub fn new(
        at: Time,
        options: impl Into<Arc<Options>>,
        mut restored: Restored,
        machine: S,
    ) -> Result<Self, RestoreError> {
        let options = options.into();
        let own = machine.durable();
        let durable = durable::check(&mut restored, own.as_ref())?;
        let snapshot = restored.snapshot.as_ref().map(|snapshot| snapshot.id);
        Ok(Self {
            node: Node::new(at, options.clone(), restored)?,
            machine,
            now: at,
            applied: Index(0),
            committed: VecDeque::new(),
            asked: BTreeMap::new(),
            ready: BTreeMap::new(),
            deadlines: VecDeque::new(),
            queries: 0,
            refused: Vec::new(),
            sessions: durable::sessions(own.as_ref())?,
            session_requests: BTreeMap::new(),
            elapsed: Elapsed::default(),
            arena: Arena::default(),
            options,
            actions: Vec::new(),
            begun: Vec::new(),
            durable,
            snapshots: Snapshots::new(snapshot),
            transfer: Transfer::default(),
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
        let waiting = self.deadlines.front().map(|(deadline, _)| *deadline);
        let node = self.node.next_deadline()?;
        let durable = self.node.durable_snapshot();
        let transfer = self
            .transfer
            .next_deadline(self.now, durable, &self.options);
        let others = [
            waiting,
            transfer,
            self.snapshots.next_deadline(),
            self.elapsed.next_deadline(),
        ];
        Some(others.into_iter().flatten().fold(node, Time::min))
    }

    /// Takes one event that is not a request.
    pub fn handle(&mut self, event: Event) {
        let Event { at, input } = event;
        self.now = self.now.max(at);
        if let Input::Receive(envelope) = input {
            if let Some(envelope) = self.receive(envelope) {
                let input = Input::Receive(envelope);
                self.node.handle(Event { at, input });
            }
        } else if let Input::SnapshotTaken { snapshot } = input {
            self.snapshot_taken(snapshot);
        } else {
            self.node.handle(Event { at, input });
        }
    }

    /// Replicates a command; its reply comes out of a later [`Replica::drain`].
    pub fn propose(&mut self, at: Time, request: RequestId, command: &S::Command) {
        let command = self.arena.bytes(|out| put_plain(command, out));
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
            let busy = RequestError::Rejected(Rejection::Busy(Quota::Requests));
            self.refused.push((request, busy));
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
        self.arena.end_batch();
        self.answer_refused(outputs);
        outputs.append(&mut self.begun);
        self.answer_applied(None, outputs);
        self.tell_time();
        loop {
            self.drive_fetch(outputs);
            let mut actions = core::mem::take(&mut self.actions);
            self.node.drain(&mut actions);
            let before = (self.applied, self.transfer.ticket());
            for action in actions.drain(..) {
                match action {
                    Action::Apply { entries } => self.apply(&entries, outputs),
                    Action::Resolve { request, outcome } => {
                        self.resolve(request, outcome, outputs);
                    }
                    Action::Send(_)
                    | Action::Persist(_)
                    | Action::ReadLog(_)
                    | Action::CompactLog(_)
                    | Action::Wipe { .. }
                    | Action::Observed(_)
                    | Action::Alert(_) => outputs.push(Output::Action(action)),
                    Action::TakeSnapshot => self.snapshots.wanted(),
                    Action::RestoreSnapshot { snapshot } => self.begin_restore(snapshot, outputs),
                    Action::ReceiveSnapshot {
                        ticket,
                        at_least,
                        source,
                    } => self.begin_fetch(ticket, at_least, source),
                    Action::Halt(_) => {
                        self.fail_all(outputs);
                        self.snapshots.halted();
                        self.end_transfers();
                        outputs.push(Output::Action(action));
                    }
                }
            }
            self.actions = actions;
            if before == (self.applied, self.transfer.ticket()) {
                break;
            }
            self.tell(Input::Applied {
                index: self.applied,
            });
        }
        self.observe_time();
        self.expire_waiting(outputs);
        self.begin_snapshot(outputs);
        self.settle_snapshots(outputs);
    }

    fn apply(&mut self, entries: &[Entry], outputs: &mut Vec<Output<S>>) {
        for entries in entries.chunks(PREPARED_MAX) {
            self.machine.prepare(commands_of(entries));
            for entry in entries {
                assert!(
                    entry.id.index == self.applied.next(),
                    "entries are applied once and in order"
                );
                let result = self.execute_entry(entry);
                self.applied = entry.id.index;
                self.snapshots.applied(entry.memory_bytes());
                self.answer_applied(Some((entry.id, result)), outputs);
            }
        }
        if let Some(last) = entries.last() {
            if planted(Bug::ExecutedTwice) {
                let _ = self.execute_entry(last);
            }
            self.settle(last.id);
        }
    }

    fn execute_entry(&mut self, entry: &Entry) -> Executed<S::Reply> {
        if entry.id.index <= self.durable.holds() {
            // The machine's own store has it from an earlier life, and what sessions say of it.
            return Err(RequestError::ReplyLost(entry.id));
        }
        match &entry.payload {
            Payload::Command(command) => self.execute(entry.id, command),
            Payload::Noop | Payload::Configuration(_) => Err(RequestError::Undecodable),
        }
    }

    /// Answers what waited for the state machine to get where it is. One entry has one reply, whoever else
    /// may claim it; of what a restored snapshot contains only sessions know the answer.
    fn answer_applied(
        &mut self,
        mut own: Option<(EntryId, Executed<S::Reply>)>,
        outputs: &mut Vec<Output<S>>,
    ) {
        while let Some((id, request, _)) = self.committed.front().copied()
            && id.index <= self.applied
        {
            self.committed.pop_front();
            let known = self.session_requests.remove(&request);
            let result = match own.take_if(|(at, _)| *at == id) {
                Some((_, result)) => result,
                None => self.late_answer(id, known),
            };
            outputs.push(Output::of(request, result));
        }
        self.answer_ready(outputs);
    }

    fn resolve(&mut self, request: RequestId, outcome: Outcome, outputs: &mut Vec<Output<S>>) {
        let error = match outcome {
            Outcome::Committed(id) if id.index > self.applied => {
                let deadline = self.wait_for(id.index);
                // Nearly always it is the last one.
                let ascends = self.committed.back().is_none_or(|(last, ..)| *last < id);
                let place = if ascends {
                    self.committed.len()
                } else {
                    self.committed.partition_point(|(other, ..)| *other < id)
                };
                self.committed.insert(place, (id, request, deadline));
                return;
            }
            Outcome::Committed(id) => {
                let known = self.session_requests.remove(&request);
                outputs.push(Output::of(request, self.late_answer(id, known)));
                return;
            }
            Outcome::ReadReady(index) if self.has_no_room_for(index) => {
                RequestError::Rejected(Rejection::OwnStorageFull)
            }
            Outcome::ReadReady(index) => {
                if let Some(query) = self.asked.remove(&request) {
                    let deadline = self.wait_for(index);
                    let ready = self.ready.entry(index).or_default();
                    ready.push((request, query, deadline));
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
        self.session_requests.remove(&request);
        let result = Err(error);
        outputs.push(Output::Reply { request, result });
    }

    /// The node halted: nothing is applied any more.
    fn fail_all(&mut self, outputs: &mut Vec<Output<S>>) {
        let unknown = core::mem::take(&mut self.committed);
        let unknown = unknown.into_iter().map(|(_, request, _)| {
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
        let halted = halted.map(|(request, ..)| {
            let result = Err(RequestError::Rejected(Rejection::Halted));
            Output::Reply { request, result }
        });
        outputs.extend(halted);
    }
}
