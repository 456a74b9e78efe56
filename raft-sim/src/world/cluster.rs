//! A cluster on virtual time: when each thing happens, and what the network does to messages.
//!
//! Always holds: the same seed and the same calls give the same run, event by event.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::fmt;
use std::sync::Arc;

use raft_core::replica::{RequestError, SessionId, SnapshotRefusal};
use raft_core::wal::RecoveryError;
use raft_core::{
    Alert, Boot, EntryId, Envelope, HaltReason, Index, Input, NodeId, Options, Outcome, RequestId,
    Span, Status, Time,
};
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

use super::clock::LocalClock;
use super::disk::MemoryDisk;
use super::mechanism::{Setup, WAL_OPTIONS, World};
use super::network::{Links, Network};
use super::sessions::Heard;
use crate::judge::{Invariant, Violation, mix};
use crate::machine::{Machine, OpId};
use crate::schedule::{Recorder, Sent, Step};
use crate::trace::{Fate, Happening, Trace, message_name, message_text};

/// A cluster whose every member is in this process, and in this thread.
///
/// The simulator's judge looks on: a broken rule of Raft panics, in a sentence.
pub struct Cluster<S: Machine> {
    pub(crate) world: World<S>,
    pub(super) rng: ChaCha8Rng,
    pub(crate) network: Network,
    queue: BinaryHeap<Reverse<Scheduled>>,
    scheduled: u64,
    pub(super) flights: Vec<Option<Flight>>,
    pub(super) free: Vec<u32>,
    pub(crate) links: Links,
    pub(super) seats: Vec<Seat>,
    /// Messages that may come back much later.
    pub(super) old: Vec<Flight>,
    pub(super) last_op: OpId,
    pub(super) replies: BTreeMap<RequestId, Result<S::Reply, RequestError>>,
    pub(super) ordered: BTreeMap<RequestId, Result<Outcome, RequestError>>,
    pub(super) snapshots: BTreeMap<RequestId, Result<EntryId, SnapshotRefusal>>,
    /// Sessions that began, by the request that asked for each.
    pub(super) session_of: BTreeMap<RequestId, SessionId>,
    /// Whether answers are kept for whoever asks for them.
    pub(crate) keeps_replies: bool,
    /// Whether somebody listens to what is answered.
    pub(crate) listens: bool,
    pub(super) heard: Vec<(OpId, Heard)>,
    hash: u64,
    events: u64,
    pub(crate) odd: OddCounts,
    pub(crate) recorder: Option<Recorder>,
}

/// How often something rare happened to a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct OddCounts {
    pub(crate) lost: u64,
    pub(crate) cut: u64,
    pub(crate) repeated: u64,
    pub(crate) old: u64,
    pub(crate) flipped: u64,
    pub(crate) stray: u64,
}

/// A message on its way.
#[derive(Clone)]
pub(super) struct Flight {
    pub(super) envelope: Envelope,
    pub(super) to: NodeId,
    pub(super) sent: Time,
    /// What a recorded schedule calls it.
    pub(super) name: Option<Sent>,
}

/// Where one server is in time.
#[derive(Clone, Debug)]
pub(super) struct Seat {
    pub(super) clock: LocalClock,
    pub(super) tick: Option<Time>,
    /// The deadline that was met last, and how often.
    met: (Time, u32),
    lane: Option<Boot>,
    drain: Option<Boot>,
    snapshots: Option<Boot>,
    pub(super) paused_until: Time,
    /// How many times as long as others its disk takes.
    pub(super) slow: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Scheduled {
    at: Time,
    number: u64,
    what: What,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    Deliver(u32),
    Lane(NodeId, Boot),
    Snapshots(NodeId, Boot),
    Drain(NodeId, Boot),
    Tick(NodeId),
}

impl Ord for Scheduled {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

impl PartialOrd for Scheduled {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// No test needs the cluster to be idle for longer, in nanoseconds of virtual time.
const PATIENCE: Span = Span(60_000_000_000);
/// How long a full disk is left alone before it is tried again.
const FULL_RETRY: Span = Span::from_millis(200);
/// How often the same deadline may be met: several things may be due then, one after the other.
const MET_MAX: u32 = 16;
/// The longest that reading entries back takes.
const READ_MAX: Span = Span(100_000);

impl<S: Machine + Default + 'static> Cluster<S> {
    /// A new cluster of `nodes` voters, all of them running and none elected yet.
    ///
    /// # Panics
    ///
    /// If a log cannot be created in memory, which is a bug.
    #[must_use]
    pub fn new(nodes: u64, seed: u64, network: Network) -> Self {
        let options = Options {
            seed,
            ..Options::default()
        };
        Self::with_options(nodes, network, options)
    }

    /// A new cluster with options of its own; their seed decides everything.
    ///
    /// # Panics
    ///
    /// If the options are not legal.
    #[must_use]
    pub fn with_options(nodes: u64, network: Network, options: Options) -> Self {
        Self::with_spares(nodes, 0, network, options)
    }

    /// The same, and so many more servers that are no members yet: they follow the voters in number, and
    /// take part once [`crate::Order::Add`] or [`crate::Order::Learner`] says so.
    ///
    /// # Panics
    ///
    /// If the options are not legal.
    #[must_use]
    pub fn with_spares(nodes: u64, spares: u64, network: Network, options: Options) -> Self {
        let setup = Setup {
            nodes,
            spares,
            options,
            priorities: Vec::new(),
            wal_options: WAL_OPTIONS,
            fresh: Arc::new(S::default),
            reference: Box::new(S::default()),
        };
        let mut cluster = Self::stopped(setup, network);
        for node in cluster.nodes() {
            cluster.start(node).expect("a new log opens");
        }
        cluster
    }
}

impl<S: Machine> Cluster<S> {
    /// A cluster of which no node runs yet.
    pub(crate) fn stopped(setup: Setup<S>, network: Network) -> Self {
        let nodes = usize::try_from(setup.servers()).unwrap_or(usize::MAX);
        let seat = Seat {
            clock: LocalClock::new(),
            tick: None,
            met: (Time(0), 0),
            lane: None,
            drain: None,
            snapshots: None,
            paused_until: Time(0),
            slow: 1,
        };
        Self {
            rng: ChaCha8Rng::seed_from_u64(setup.options.seed),
            world: World::new(setup),
            network,
            queue: BinaryHeap::new(),
            scheduled: 0,
            flights: Vec::new(),
            free: Vec::new(),
            links: Links::new(nodes),
            seats: vec![seat; nodes],
            old: Vec::new(),
            last_op: 0,
            replies: BTreeMap::new(),
            ordered: BTreeMap::new(),
            snapshots: BTreeMap::new(),
            session_of: BTreeMap::new(),
            keeps_replies: true,
            listens: false,
            heard: Vec::new(),
            hash: 0,
            events: 0,
            odd: OddCounts::default(),
            recorder: None,
        }
    }

    /// Starts a node from what its disk holds.
    ///
    /// # Errors
    ///
    /// If its log cannot be believed.
    ///
    /// # Panics
    ///
    /// If it runs already, or what was recovered contradicts itself.
    pub fn start(&mut self, node: NodeId) -> Result<(), RecoveryError> {
        self.record(|| Step::Start { node });
        let seat = self.seat_mut(node);
        // The lives of an emptied store are counted anew, and what was to happen in those before is not.
        (seat.lane, seat.drain, seat.snapshots) = (None, None, None);
        let at = self.local(node);
        self.world.start(at, node)?;
        self.collect(node);
        Ok(())
    }

    /// A node's disk, running or not.
    #[must_use]
    pub fn disk(&self, node: NodeId) -> MemoryDisk {
        self.world.server(node).disk.clone()
    }

    /// All nodes, running or not.
    #[must_use]
    pub fn nodes(&self) -> Vec<NodeId> {
        self.world.nodes().collect()
    }

    /// Whether the node runs.
    #[must_use]
    pub fn is_running(&self, node: NodeId) -> bool {
        self.world.server(node).process.is_some()
    }

    /// Why the node halted, if it did.
    #[must_use]
    pub fn halted(&self, node: NodeId) -> Option<HaltReason> {
        self.world.server(node).halted
    }

    /// A number from the run's seed, below `bound`: for tests that draw their own faults.
    pub fn draw(&mut self, bound: u64) -> u64 {
        self.rng.next_u64() % bound
    }

    /// The virtual time.
    #[must_use]
    pub const fn now(&self) -> Time {
        self.world.now
    }

    /// What a running node knows.
    ///
    /// # Panics
    ///
    /// If it does not run.
    #[must_use]
    pub fn status(&self, node: NodeId) -> Status<'_> {
        let status = self.world.status(node);
        status.unwrap_or_else(|| panic!("node {node} does not run"))
    }

    /// A running node's state machine.
    ///
    /// # Panics
    ///
    /// If it does not run.
    #[must_use]
    pub fn machine(&self, node: NodeId) -> &S {
        let process = self.world.server(node).process.as_ref();
        let process = process.unwrap_or_else(|| panic!("node {node} does not run"));
        &process.replica.machine().machine
    }

    /// The running leader of the highest term, if there is one.
    #[must_use]
    pub fn leader(&self) -> Option<NodeId> {
        self.world.leader().map(|(node, _)| node)
    }

    /// What nodes found alarming so far.
    #[must_use]
    pub fn alerts(&self) -> &[(NodeId, Alert)] {
        &self.world.alerts
    }

    /// The rule that was broken, if one was.
    #[must_use]
    pub fn violation(&self) -> Option<&Violation> {
        self.world.violation()
    }

    /// How many things have happened: messages that arrived, timers, syncs.
    #[must_use]
    pub const fn events(&self) -> u64 {
        self.events
    }

    /// A number that stands for everything that happened, and when.
    #[must_use]
    pub const fn trace_hash(&self) -> u64 {
        self.hash
    }

    /// What happened so far, if tracing is on.
    #[must_use]
    pub const fn trace(&self) -> Option<&Trace> {
        self.world.trace.as_ref()
    }

    /// Keeps a trace from now on.
    pub fn start_trace(&mut self) {
        self.world.trace.get_or_insert_default();
    }

    /// Runs until some node leads, and returns it.
    ///
    /// # Panics
    ///
    /// If none does within a virtual minute.
    pub fn elect(&mut self) -> NodeId {
        self.run_until(|cluster| cluster.leader().is_some());
        self.leader().expect("just seen")
    }

    /// Runs until something holds.
    ///
    /// # Panics
    ///
    /// If it does not within a virtual minute, or a rule of Raft is broken.
    pub fn run_until(&mut self, mut holds: impl FnMut(&Self) -> bool) {
        let end = self.now() + PATIENCE;
        while !holds(self) {
            assert!(
                self.now() < end && self.advance(),
                "what was waited for did not happen within a virtual minute: {self:?}"
            );
        }
    }

    /// Runs for a length of virtual time.
    ///
    /// # Panics
    ///
    /// If a rule of Raft is broken.
    pub fn run_for(&mut self, span: Span) {
        let end = self.now() + span;
        while self.next_event().is_some_and(|at| at <= end) {
            self.advance();
        }
        self.world.now = end;
    }

    /// Lets the next thing happen; false if nothing will.
    ///
    /// # Panics
    ///
    /// If a rule of Raft is broken.
    pub fn advance(&mut self) -> bool {
        let happened = self.step();
        if let Some(violation) = self.violation() {
            panic!("{violation}\n{self:?}");
        }
        happened
    }

    /// When the next thing happens.
    pub(crate) fn next_event(&self) -> Option<Time> {
        self.queue.peek().map(|Reverse(scheduled)| scheduled.at)
    }

    /// As [`Cluster::advance`], without looking at the judge's verdict.
    pub(crate) fn step(&mut self) -> bool {
        let Some(Reverse(Scheduled { at, what, .. })) = self.queue.pop() else {
            return false;
        };
        self.world.now = at;
        match what {
            What::Deliver(slot) => self.deliver(slot),
            What::Lane(node, boot) => self.lane(node, boot),
            What::Snapshots(node, boot) => self.snapshots(node, boot),
            What::Drain(node, boot) => self.drain(node, boot),
            What::Tick(node) => self.tick(node),
        }
        true
    }

    pub(super) fn seat(&self, node: NodeId) -> &Seat {
        &self.seats[seat_of(node)]
    }

    pub(super) fn seat_mut(&mut self, node: NodeId) -> &mut Seat {
        &mut self.seats[seat_of(node)]
    }

    pub(super) fn local(&self, node: NodeId) -> Time {
        self.seat(node).clock.at(self.now())
    }

    fn boot(&self, node: NodeId) -> Option<Boot> {
        let process = self.world.server(node).process.as_ref();
        process.map(|process| process.boot)
    }

    pub(super) fn schedule(&mut self, at: Time, what: What) {
        self.scheduled += 1;
        self.queue.push(Reverse(Scheduled {
            at,
            number: self.scheduled,
            what,
        }));
    }

    /// Whether the node does nothing now; what was to happen then happens later.
    fn postponed(&mut self, node: NodeId, what: What) -> bool {
        let until = self.seat(node).paused_until;
        let paused = until > self.now();
        if paused {
            self.schedule(until, what);
        }
        paused
    }

    fn count(&mut self, kind: u64, node: NodeId) {
        self.events += 1;
        self.hash = mix(mix(self.hash, self.world.now.0), kind << 8 | node.0);
    }

    fn deliver(&mut self, slot: u32) {
        let place = slot as usize;
        let Some(to) = self.flights[place].as_ref().map(|flight| flight.to) else {
            return;
        };
        if self.postponed(to, What::Deliver(slot)) {
            return;
        }
        let Some(flight) = self.flights[place].take() else {
            return;
        };
        self.free.push(slot);
        self.count(1, to);
        self.trace_message(&flight, to, None);
        if let Some(message) = flight.name {
            self.record(|| Step::Deliver { message });
        }
        let at = self.local(to);
        let input = Input::Receive(flight.envelope);
        self.world.handle(at, to, input);
        self.settle(to);
    }

    pub(super) fn trace_message(&mut self, flight: &Flight, to: NodeId, fate: Option<Fate>) {
        let nobody = !self.is_running(to);
        let envelope = &flight.envelope;
        self.world.note(|| Happening::Message {
            from: envelope.from.member.node,
            to,
            sent: flight.sent,
            name: message_name(&envelope.body),
            text: message_text(envelope),
            fate: fate.unwrap_or(if nobody {
                Fate::Nobody
            } else {
                Fate::Delivered
            }),
        });
    }

    fn lane(&mut self, node: NodeId, boot: Boot) {
        if self.boot(node) != Some(boot) || self.postponed(node, What::Lane(node, boot)) {
            return;
        }
        self.count(2, node);
        self.record(|| Step::Disk { node });
        self.seat_mut(node).lane = None;
        let at = self.local(node);
        self.world.lane(at, node);
        self.settle(node);
    }

    fn snapshots(&mut self, node: NodeId, boot: Boot) {
        if self.boot(node) != Some(boot) || self.postponed(node, What::Snapshots(node, boot)) {
            return;
        }
        self.count(5, node);
        self.record(|| Step::Snapshots { node });
        self.seat_mut(node).snapshots = None;
        let at = self.local(node);
        self.world.snapshot_lane(at, node);
        self.settle(node);
    }

    fn tick(&mut self, node: NodeId) {
        if self.seat(node).tick != Some(self.now()) {
            return;
        }
        if self.seat(node).paused_until > self.now() {
            let until = self.seat(node).paused_until;
            self.seat_mut(node).tick = Some(until);
            self.schedule(until, What::Tick(node));
            return;
        }
        self.seat_mut(node).tick = None;
        let at = self.local(node);
        let deadline = self.world.next_deadline(node);
        if let Some(deadline) = deadline.filter(|deadline| *deadline <= at) {
            self.meet(node, deadline);
            self.count(3, node);
            self.record(|| Step::Timeout { node });
            self.world.handle(at, node, Input::Tick);
            self.settle(node);
        } else {
            self.schedule_tick(node);
        }
    }

    /// A deadline that stays what it is after it was met would keep a processor busy for nothing.
    fn meet(&mut self, node: NodeId, deadline: Time) {
        let met = &mut self.seat_mut(node).met;
        *met = (deadline, if met.0 == deadline { met.1 + 1 } else { 1 });
        if met.1 > MET_MAX {
            let text = format!("its timer ended {} times, and is due at once again", met.1);
            self.world.judge.report(Some(node), Invariant::I21, text);
        }
    }

    fn drain(&mut self, node: NodeId, boot: Boot) {
        if self.boot(node) != Some(boot) || self.postponed(node, What::Drain(node, boot)) {
            return;
        }
        self.count(4, node);
        self.record(|| Step::Drain { node });
        self.seat_mut(node).drain = None;
        self.world.drain(node);
        self.collect(node);
    }

    /// A node was given something: what follows happens now, or with what else comes soon.
    pub(super) fn settle(&mut self, node: NodeId) {
        if self.network.batch_max == 0 {
            self.record(|| Step::Drain { node });
            self.world.drain(node);
            self.collect(node);
            return;
        }
        let boot = self.boot(node);
        if boot.is_some() && self.seat(node).drain != boot {
            self.seat_mut(node).drain = boot;
            let wait = Span(1 + self.rng.next_u64() % self.network.batch_max);
            if let Some(boot) = boot {
                self.schedule(self.now() + wait, What::Drain(node, boot));
            }
        }
    }

    /// Takes on what a node's step brought about.
    pub(crate) fn collect(&mut self, node: NodeId) {
        let mut sent = core::mem::take(&mut self.world.effects.sent);
        self.hash = mix(self.hash, sent.len() as u64);
        for envelope in sent.drain(..) {
            self.transmit(envelope);
        }
        self.world.effects.sent = sent;
        for (op, result) in self.world.effects.replies.drain(..) {
            self.hash = mix(self.hash, op << 1 | u64::from(result.is_ok()));
            if self.listens {
                self.heard.push((op, Heard::of(&result)));
            }
            if self.keeps_replies {
                let before = self.replies.insert(RequestId(op), result);
                assert!(before.is_none(), "a request has one outcome");
            }
        }
        for (request, _, outcome) in self.world.effects.ordered.drain(..) {
            self.hash = mix(self.hash, request.0 << 1 | u64::from(outcome.is_ok()));
            if self.keeps_replies {
                self.ordered.insert(request, outcome);
            }
        }
        for (request, result) in self.world.effects.snapshots.drain(..) {
            self.hash = mix(self.hash, request.0 << 1 | u64::from(result.is_ok()));
            if self.keeps_replies {
                self.snapshots.insert(request, result);
            }
        }
        for (op, session) in self.world.effects.registered.drain(..) {
            self.hash = mix(self.hash, op << 1 | 1);
            self.session_of.insert(RequestId(op), session);
        }
        self.hash = mix(self.hash, self.world.effects.state);
        self.schedule_lane(node);
        self.schedule_snapshots(node);
        self.schedule_tick(node);
    }

    fn schedule_snapshots(&mut self, node: NodeId) {
        let Some(boot) = self.boot(node) else {
            return;
        };
        if !self.world.snapshot_lane_is_busy(node) || self.seat(node).snapshots == Some(boot) {
            return;
        }
        self.seat_mut(node).snapshots = Some(boot);
        let takes = 1 + self.rng.next_u64() % (READ_MAX.0 + self.network.sync_max);
        let takes = Span(takes * self.seat(node).slow);
        self.schedule(self.now() + takes, What::Snapshots(node, boot));
    }

    fn schedule_lane(&mut self, node: NodeId) {
        let Some(process) = &self.world.server(node).process else {
            return;
        };
        let (boot, full, syncs) = (process.boot, process.is_full(), process.is_syncing());
        if !process.lane_is_busy() || self.seat(node).lane == Some(boot) {
            return;
        }
        self.seat_mut(node).lane = Some(boot);
        let takes = if full {
            FULL_RETRY
        } else {
            let longest = if syncs {
                self.network.sync_max
            } else {
                READ_MAX.0
            };
            let takes = 1 + self.rng.next_u64() % longest;
            Span(takes * self.seat(node).slow)
        };
        self.schedule(self.now() + takes, What::Lane(node, boot));
    }

    pub(super) fn schedule_tick(&mut self, node: NodeId) {
        let Some(deadline) = self.world.next_deadline(node) else {
            return;
        };
        let now = self.now();
        let seat = self.seat_mut(node);
        let at = seat.clock.when(deadline).max(Time(now.0 + 1));
        // One that comes too early finds out, and waits on.
        if seat.tick.is_none_or(|tick| at < tick) {
            seat.tick = Some(at);
            self.schedule(at, What::Tick(node));
        }
    }

    pub(super) fn record(&mut self, step: impl FnOnce() -> Step) {
        if self.recorder.is_none() {
            return;
        }
        let step = step();
        let at = self.local(step.node());
        if let Some(recorder) = &mut self.recorder {
            recorder.note(step, at);
        }
    }

    /// The greatest index that a running node knows to be committed.
    #[must_use]
    pub fn commit_index(&self) -> Index {
        self.world.commit_index()
    }
}

pub(super) fn seat_of(node: NodeId) -> usize {
    usize::try_from(node.0 - 1).unwrap_or(usize::MAX)
}

impl<S: Machine> fmt::Debug for Cluster<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "cluster at {:?}", self.now())?;
        for server in self.world.servers() {
            let node = server.member.node;
            match self.world.status(node) {
                Some(status) => writeln!(
                    f,
                    "  node {node}: {} term {} commit {} last {:?} durable {}",
                    status.role.as_str(),
                    status.term,
                    status.commit_index,
                    status.last,
                    status.durable
                )?,
                None => writeln!(f, "  node {node}: down, halted {:?}", server.halted)?,
            }
        }
        Ok(())
    }
}
