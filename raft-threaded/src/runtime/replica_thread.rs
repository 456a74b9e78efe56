//! What drives a replica, in the thread that owns it and every socket.
//!
//! Each round takes all that has arrived, hands it in, drains once, and writes once to each connection:
//! group commit and batching fall out of that. Messages leave before the log thread is asked to write,
//! so that followers sync beside their leader.

use std::convert::Infallible;
use std::io;
use std::time::Duration;

use crossbeam_channel::Sender;
use mio::{Events, Poll, Registry, Token};
use raft_core::replica::{Output, Replica, StateMachine};
use raft_core::wal::WalStats;
use raft_core::{Action, Event, Input, Time};
use tracing::error;

use crate::error::{ClientError, StopError};
use crate::runtime::answers::Answers;
use crate::runtime::attaching::{Attachments, next_look};
use crate::runtime::calls::Call;
use crate::runtime::clock;
use crate::runtime::front::{FRONT_TOKENS, Front, Request, RequestIds};
use crate::runtime::inbox::{Bell, Inbox, Outlet};
use crate::runtime::lane::Lane;
use crate::runtime::log_thread::{LogEvent, LogJob, Work, WriteId};
use crate::runtime::news::{report, report_halt};
use crate::runtime::order::Carried;
use crate::runtime::snapshots::Snapshots;
use crate::runtime::waiter::Waiter;
use crate::status::ServerStatus;
use crate::transport::{Transport, TransportEvent};

/// The waker's token.
pub(crate) const WAKER: Token = Token(0);
/// The transport's tokens.
pub(crate) const TCP_TOKENS: core::ops::Range<usize> = 1..FRONT_TOKENS;

/// Readiness events taken in one round.
const EVENTS: usize = 1_024;
/// Requests of in-process clients taken in one round.
const CALLS: usize = 4_096;

/// How often what follows from replies is carried out before sockets and the log are looked at again.
const SETTLE_ROUNDS: usize = 8;

/// A state machine whose commands, queries and replies come from other threads.
///
/// Implemented by itself for every [`StateMachine`] whose types allow it.
pub(crate) trait Hosted:
    StateMachine<Command: Send, Query: Send, Reply: Send> + 'static
{
}

impl<S> Hosted for S where S: StateMachine<Command: Send, Query: Send, Reply: Send> + 'static {}

/// What is to be done after a turn.
#[derive(Debug)]
pub(crate) enum Next {
    /// Another turn at once.
    Now,
    /// Another turn when something arrives, or at this time.
    Later(Option<Time>),
    /// Nothing any more.
    End(Result<(), StopError>),
}

/// How long it is until then.
pub(super) fn until(due: Time) -> Duration {
    Duration::from_nanos((due - clock::now()).0)
}

/// Everything the thread owns.
pub(crate) struct ReplicaThread<S: StateMachine, F> {
    /// Where its thread's poller learns of sockets.
    pub(crate) registry: Registry,
    pub(crate) replica: Replica<S>,
    pub(crate) transport: Box<dyn Transport>,
    pub(crate) front: F,
    pub(crate) log: Box<dyn Lane>,
    pub(crate) log_events: Inbox<LogEvent>,
    pub(crate) snapshots: Snapshots<S::Image>,
    pub(crate) calls: Inbox<Call<S>>,
    /// For threads that look up names.
    pub(crate) outlet: Outlet<Call<S>>,
    /// Its end tells clients that nobody will answer any more.
    pub(crate) _alive: Sender<Infallible>,
    pub(crate) state: State<S>,
}

/// What the thread keeps from round to round.
pub(crate) struct State<S: StateMachine> {
    pub(super) ids: RequestIds,
    pub(super) answers: Answers<Waiter<S::Reply>>,
    /// Attachments that somebody waits for.
    pub(super) attachments: Attachments,
    /// Orders for which other nodes are being asked who they are.
    pub(super) asking: usize,
    /// Whether the configuration in force has this node.
    pub(super) is_member: bool,
    outputs: Vec<Output<S>>,
    transport_events: Vec<TransportEvent>,
    requests: Vec<Request<S>>,
    /// What the log thread is asked as soon as messages are on their way.
    jobs: Vec<LogJob>,
    pub(super) log_stats: WalStats,
    pub(super) stopping: Option<Result<(), StopError>>,
    pub(super) now: Time,
}

impl<S: StateMachine> Default for State<S> {
    fn default() -> Self {
        Self {
            ids: RequestIds::default(),
            answers: Answers::default(),
            attachments: Attachments::new(),
            asking: 0,
            is_member: false,
            outputs: Vec::new(),
            transport_events: Vec::new(),
            requests: Vec::new(),
            jobs: Vec::new(),
            log_stats: WalStats::default(),
            stopping: None,
            now: clock::now(),
        }
    }
}

impl<S: Hosted, F: Front<S>> ReplicaThread<S, F> {
    /// Runs until told to stop, or until the node halts.
    pub(crate) fn run(mut self, mut poll: Poll, bell: &Bell) -> Result<(), StopError> {
        let mut events = Events::with_capacity(EVENTS);
        loop {
            bell.answer();
            let timeout = match self.turn(&events) {
                Next::End(result) => return result,
                Next::Later(due) if bell.sleep() => due.map(until),
                Next::Now | Next::Later(_) => Some(Duration::ZERO),
            };
            match poll.poll(&mut events, timeout) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => error!(%error, "polling failed"),
            }
        }
    }

    /// One round: takes in what has arrived, hands it in, and carries out what follows.
    pub(crate) fn turn(&mut self, events: &Events) -> Next {
        self.take_in(events);
        self.state.now = clock::now();
        let more_calls = self.hand_in();
        let quiet = self.settle();
        if let Some(result) = self.state.stopping.take() {
            self.front.flush(&self.registry);
            // The log ends once this is gone; until then it is told to do so.
            self.log.ask(LogJob::Close);
            return Next::End(result);
        }
        if quiet && !more_calls && !self.front.has_work() {
            Next::Later(self.next_deadline())
        } else {
            Next::Now
        }
    }

    fn next_deadline(&self) -> Option<Time> {
        let deadlines = [
            self.replica.next_deadline(),
            self.transport.next_deadline(),
            self.snapshots.next_deadline(),
            next_look(&self.state.attachments),
        ];
        deadlines.into_iter().flatten().min()
    }

    /// Takes note of what is ready; nothing is handed in yet.
    fn take_in(&mut self, events: &Events) {
        let registry = &self.registry;
        self.state.now = clock::now();
        for event in events {
            if event.token() == WAKER {
                // The inboxes are looked into in any case.
            } else if self.transport.owns(event.token()) {
                let (now, found) = (self.state.now, &mut self.state.transport_events);
                self.transport.on_ready(event, now, registry, found);
            } else {
                self.front.on_ready(event, registry);
            }
        }
        let now = self.state.now;
        self.transport
            .receive(now, registry, &mut self.state.transport_events);
        self.transport
            .tick(clock::now(), registry, &mut self.state.transport_events);
    }

    /// Hands everything that has arrived to the replica; true if more calls may wait.
    fn hand_in(&mut self) -> bool {
        self.hand_in_log_events();
        self.hand_in_snapshots();
        self.hand_in_transport_events();
        let mut taken = 0;
        while taken < CALLS
            && let Some(call) = self.calls.take()
        {
            self.on_call(call);
            taken += 1;
        }
        self.hand_in_requests();
        self.look_at_attachments();
        // Last, so that a leader's message that has arrived counts before the silence does.
        if self
            .replica
            .next_deadline()
            .is_some_and(|due| due <= self.state.now)
        {
            self.input(Input::Tick);
        }
        taken == CALLS
    }

    /// True if there were any.
    fn hand_in_log_events(&mut self) -> bool {
        let mut found = false;
        while let Some(event) = self.log_events.take() {
            if !found {
                // After the event is in hand, never before.
                self.state.now = clock::now();
            }
            self.on_log_event(event);
            found = true;
        }
        found
    }

    fn hand_in_transport_events(&mut self) {
        let mut found = core::mem::take(&mut self.state.transport_events);
        for event in found.drain(..) {
            match event {
                TransportEvent::Received(envelope) => self.input(Input::Receive(envelope)),
                TransportEvent::Unreachable(peer) => self.input(Input::PeerUnreachable { peer }),
                TransportEvent::Resolve(member, name) => self.look_up(member, name),
            }
        }
        self.state.transport_events = found;
    }

    fn hand_in_requests(&mut self) {
        let mut requests = core::mem::take(&mut self.state.requests);
        let (replica, log) = (&self.replica, self.state.log_stats);
        let status = || ServerStatus::new(&replica.status(), log);
        self.front
            .take_requests(&mut self.state.ids, &status, &mut requests);
        for request in requests.drain(..) {
            self.on_request(request);
        }
        self.state.requests = requests;
    }

    pub(super) fn input(&mut self, input: Input) {
        let at = self.state.now;
        self.replica.handle(Event { at, input });
    }

    fn on_log_event(&mut self, event: LogEvent) {
        match event {
            LogEvent::Persisted(write, stats) => {
                self.state.log_stats = stats;
                let WriteId { store, boot, id } = write;
                self.input(Input::Persisted { store, boot, id });
            }
            LogEvent::Read(ticket, outcome) => self.input(Input::LogRead { ticket, outcome }),
            LogEvent::Wiped(store) => self.input(Input::Wiped { store }),
            LogEvent::Full => self.input(Input::StorageFull),
            LogEvent::Available => self.input(Input::StorageAvailable),
            LogEvent::Failed(error) => {
                self.input(Input::StorageFailed);
                self.state.stopping = Some(Err(StopError::Log(error)));
            }
        }
    }

    /// Carries out what follows from what was handed in, until nothing more does, or until others have
    /// to get their turn: true if nothing is left.
    fn settle(&mut self) -> bool {
        let mut quiet = false;
        for _ in 0..SETTLE_ROUNDS {
            let mut outputs = core::mem::take(&mut self.state.outputs);
            self.replica.drain(&mut outputs);
            self.follow_identity();
            quiet = outputs.is_empty();
            for output in outputs.drain(..) {
                match output {
                    Output::Action(action) => self.carry_out(action),
                    Output::Reply { request, result } => match result {
                        Ok(reply) => self.reply(request, Ok(reply)),
                        Err(error) => self.failed(request, error),
                    },
                    Output::Done { request, outcome } => {
                        let asker = self.asker_of(request);
                        self.answer_order(asker, Ok(Carried::Out(outcome)));
                    }
                    Output::Snapshot { request, result } => {
                        let result = result.map(Carried::Snapshot).map_err(ClientError::from);
                        self.answer_order(request, result);
                    }
                    output @ (Output::TakeSnapshot { .. }
                    | Output::RestoreSnapshot { .. }
                    | Output::ReadChunk(_)
                    | Output::BeginReceive { .. }
                    | Output::WriteChunk { .. }
                    | Output::FinishReceive { .. }
                    | Output::RetainSnapshots { .. }) => self.move_snapshot(output),
                    Output::Registered { request, session } => self.registered(request, session),
                }
            }
            self.state.outputs = outputs;
            let (now, registry) = (self.state.now, &self.registry);
            self.transport
                .flush(now, registry, &mut self.state.transport_events);
            // After the messages, so that followers sync beside their leader.
            self.ask_log();
            self.hand_in_transport_events();
            self.log.work();
            quiet &= !self.hand_in_log_events();
            if quiet {
                break;
            }
            // A reply may have been all that a client's next command waited for.
            self.hand_in_requests();
        }
        self.front.flush(&self.registry);
        quiet
    }

    fn carry_out(&mut self, action: Action) {
        match action {
            Action::Send(envelope) => self
                .transport
                .send(envelope, &mut self.state.transport_events),
            Action::Persist(persist) => self.state.jobs.push(LogJob::Write(Work::Persist(persist))),
            Action::ReadLog(read) => self.state.jobs.push(LogJob::Read(read)),
            Action::CompactLog(compact) => {
                self.state.jobs.push(LogJob::Write(Work::Compact(compact)));
            }
            Action::Wipe { store } => {
                // The log is wiped once nobody works on snapshots any more.
                self.snapshots.end();
                self.state.jobs.push(LogJob::Write(Work::Wipe(store)));
            }
            Action::Observed(observation) => self.observe(observation),
            Action::Alert(alert) => report(&alert, self.replica.status().disk),
            Action::Halt(reason) => {
                report_halt(reason);
                self.stop(Err(StopError::Halted(reason)));
            }
            Action::Apply { .. }
            | Action::Resolve { .. }
            | Action::TakeSnapshot
            | Action::RestoreSnapshot { .. }
            | Action::ReceiveSnapshot { .. } => {
                unreachable!("the replica carries these out itself")
            }
            other => unreachable!("an action this adapter does not know: {other:?}"),
        }
    }

    fn ask_log(&mut self) {
        // Bounded by the node: it hands out only so many writes, and one read for each peer.
        let mut jobs = self.state.jobs.drain(..);
        let asked = jobs.all(|job| self.log.ask(job));
        drop(jobs);
        if !asked && self.state.stopping.is_none() {
            // Its last words say why it is gone, if it had any.
            let failure =
                core::iter::from_fn(|| self.log_events.take()).find_map(|event| match event {
                    LogEvent::Failed(error) => Some(StopError::Log(error)),
                    LogEvent::Persisted(..)
                    | LogEvent::Read(..)
                    | LogEvent::Wiped(_)
                    | LogEvent::Full
                    | LogEvent::Available => None,
                });
            let failure = failure.unwrap_or(StopError::Panicked { thread: "log" });
            self.stop(Err(failure));
        }
    }

    /// Ends after this round; what was said first stays.
    pub(super) fn stop(&mut self, result: Result<(), StopError>) {
        self.state.stopping.get_or_insert(result);
    }
}
