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
    Alert, Boot, EntryId, Envelope, HaltReason, Index, NodeId, Options, Outcome, RequestId, Span,
    Status, Time,
};
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

use super::disk::MemoryDisk;
use super::events::{Scheduled, Seat};
use super::mechanism::{Setup, WAL_OPTIONS, World};
use super::network::{Links, Network};
use super::sessions::Heard;
use crate::judge::Violation;
use crate::machine::{Machine, OpId};
use crate::schedule::Recorder;
use crate::schedule_line::{Sent, Step};
use crate::trace::{Fate, Happening, Trace, message_name, message_text};

/// A cluster whose every member is in this process, and in this thread.
///
/// The simulator's judge looks on: a broken rule of Raft panics, in a sentence.
pub struct Cluster<S: Machine> {
    pub(crate) world: World<S>,
    pub(super) rng: ChaCha8Rng,
    pub(crate) network: Network,
    pub(super) queue: BinaryHeap<Reverse<Scheduled>>,
    pub(super) scheduled: u64,
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
    pub(super) hash: u64,
    pub(super) events: u64,
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
    pub(crate) told: u64,
}

/// A message on its way.
#[derive(Clone)]
pub(super) struct Flight {
    pub(super) envelope: Box<Envelope>,
    pub(super) to: NodeId,
    pub(super) sent: Time,
    /// What a recorded schedule calls it.
    pub(super) name: Option<Sent>,
}

/// No test needs the cluster to be idle for longer, in nanoseconds of virtual time.
const PATIENCE: Span = Span(60_000_000_000);

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
        Self {
            rng: ChaCha8Rng::seed_from_u64(setup.options.seed),
            world: World::new(setup),
            network,
            queue: BinaryHeap::new(),
            scheduled: 0,
            flights: Vec::new(),
            free: Vec::new(),
            links: Links::new(nodes),
            seats: vec![Seat::new(); nodes],
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
        self.seat_mut(node).begin();
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

    pub(super) fn seat(&self, node: NodeId) -> &Seat {
        &self.seats[seat_of(node)]
    }

    pub(super) fn seat_mut(&mut self, node: NodeId) -> &mut Seat {
        &mut self.seats[seat_of(node)]
    }

    pub(super) fn local(&self, node: NodeId) -> Time {
        self.seat(node).clock.at(self.now())
    }

    pub(super) fn boot(&self, node: NodeId) -> Option<Boot> {
        let process = self.world.server(node).process.as_ref();
        process.map(|process| process.boot)
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
