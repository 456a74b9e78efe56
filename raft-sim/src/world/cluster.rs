//! A cluster in one thread: real replicas over real logs, everything else virtual.
//!
//! Always holds: the same seed and the same calls give the same run, event by event.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;

use raft_core::replica::{Output, Replica, RequestError, StateMachine};
use raft_core::wal::{RecoveryError, Wal, WalOptions};
use raft_core::{
    Action, Alert, Boot, Bytes, ClusterId, Configuration, Envelope, Event, GroupId, HaltReason,
    Identity, Index, Input, Member, NodeId, Observation, Options, PersistId, RequestId, RoleKind,
    Span, Status, StorageId, Term, Time, codec,
};
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

use super::disk::MemoryDisk;

/// What the virtual network and disks do to what passes through them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    /// The shortest way of a message, in nanoseconds.
    pub delay_min: u64,
    /// The longest; different delays reorder messages.
    pub delay_max: u64,
    /// How many of 1,000 messages are lost.
    pub lost_per_mille: u64,
    /// How many of 1,000 messages arrive twice.
    pub repeated_per_mille: u64,
    /// The longest a sync takes, in nanoseconds.
    pub sync_max: u64,
}

impl Default for Network {
    /// A quiet local network: half a millisecond each way, nothing lost, quick disks.
    fn default() -> Self {
        Self {
            delay_min: 500_000,
            delay_max: 500_000,
            lost_per_mille: 0,
            repeated_per_mille: 0,
            sync_max: 200_000,
        }
    }
}

impl Network {
    /// A bad day: long and varying delays, one message in fifty lost, one in fifty repeated.
    #[must_use]
    pub const fn bad() -> Self {
        Self {
            delay_min: 100_000,
            delay_max: 30_000_000,
            lost_per_mille: 20,
            repeated_per_mille: 20,
            sync_max: 5_000_000,
        }
    }
}

/// A cluster whose every member is in this process, and in this thread.
pub struct Cluster<S: StateMachine> {
    now: Time,
    rng: ChaCha8Rng,
    network: Network,
    options: Options,
    servers: BTreeMap<NodeId, Server<S>>,
    queue: BTreeMap<(Time, u64), Happening>,
    scheduled: u64,
    cut: BTreeSet<(NodeId, NodeId)>,
    last_request: u64,
    replies: BTreeMap<RequestId, Result<S::Reply, RequestError>>,
    leaders: BTreeMap<Term, NodeId>,
    alerts: Vec<(NodeId, Alert)>,
    later: VecDeque<(NodeId, Input)>,
}

struct Server<S: StateMachine> {
    member: Member,
    disk: MemoryDisk,
    running: Option<Running<S>>,
    halted: Option<HaltReason>,
}

struct Running<S: StateMachine> {
    replica: Replica<S>,
    wal: Wal<MemoryDisk>,
    boot: Boot,
    /// The last write that no scheduled sync covers yet.
    unsynced: Option<PersistId>,
    /// When a `Tick` is scheduled.
    tick: Option<Time>,
    syncing: bool,
}

enum Happening {
    Deliver(Bytes, NodeId),
    Synced(NodeId, Boot),
    Tick(NodeId, Boot),
}

/// No test needs the cluster to be idle for longer, in nanoseconds of virtual time.
const PATIENCE: Span = Span(60_000_000_000);

impl<S: StateMachine + Default> Cluster<S> {
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
        let members = (1..=nodes).map(|n| Member {
            node: NodeId(n),
            store: StorageId(u128::from(n) + 0x5700),
        });
        let members: Vec<Member> = members.collect();
        let configuration = Configuration::of_voters(members.iter().copied());
        let mut cluster = Self {
            now: Time(1),
            rng: ChaCha8Rng::seed_from_u64(options.seed),
            network,
            options,
            servers: BTreeMap::new(),
            queue: BTreeMap::new(),
            scheduled: 0,
            cut: BTreeSet::new(),
            last_request: 0,
            replies: BTreeMap::new(),
            leaders: BTreeMap::new(),
            alerts: Vec::new(),
            later: VecDeque::new(),
        };
        for member in members {
            let mut disk = MemoryDisk::new();
            let identity = Identity {
                group: GroupId(0),
                cluster: ClusterId(0xc1),
                member,
            };
            Wal::create(&mut disk, identity, &configuration).expect("an empty disk takes a log");
            let server = Server {
                member,
                disk,
                running: None,
                halted: None,
            };
            cluster.servers.insert(member.node, server);
            cluster.start(member.node).expect("a new log opens");
        }
        cluster
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
        let options = self.options;
        let now = self.now;
        let server = self.server_mut(node);
        assert!(server.running.is_none(), "node {node} runs already");
        let wal_options = WalOptions {
            segment_bytes: 64 << 10,
            tail_bytes_max: 16 << 10,
        };
        let (wal, restored) = Wal::recover(server.disk.clone(), wal_options)?;
        let boot = restored.boot;
        let replica = Replica::new(now, options, restored, S::default())
            .unwrap_or_else(|error| panic!("node {node} does not start: {error}"));
        server.halted = None;
        server.running = Some(Running {
            replica,
            wal,
            boot,
            unsynced: None,
            tick: None,
            syncing: false,
        });
        self.settle_all(node);
        Ok(())
    }
}

impl<S: StateMachine> Cluster<S> {
    fn server_mut(&mut self, node: NodeId) -> &mut Server<S> {
        self.servers
            .get_mut(&node)
            .unwrap_or_else(|| panic!("there is no node {node}"))
    }

    /// The process dies; what it wrote stays in the page cache.
    pub fn kill(&mut self, node: NodeId) {
        self.server_mut(node).running = None;
    }

    /// The machine loses power: any part of what was not synced is gone.
    pub fn lose_power(&mut self, node: NodeId) {
        self.kill(node);
        let disk = self.server_mut(node).disk.clone();
        let rng = &mut self.rng;
        disk.lose_power(|| rng.next_u64().is_multiple_of(2));
    }

    /// A node's disk, running or not.
    #[must_use]
    pub fn disk(&self, node: NodeId) -> MemoryDisk {
        self.servers[&node].disk.clone()
    }

    /// Cuts every link between the two groups, in both directions.
    pub fn partition(&mut self, one: &[NodeId], other: &[NodeId]) {
        for a in one {
            for b in other {
                self.cut.insert((*a, *b));
                self.cut.insert((*b, *a));
            }
        }
    }

    /// Cuts one direction of one link.
    pub fn cut(&mut self, from: NodeId, to: NodeId) {
        self.cut.insert((from, to));
    }

    /// Mends every link.
    pub fn heal(&mut self) {
        self.cut.clear();
    }

    /// All nodes, running or not.
    #[must_use]
    pub fn nodes(&self) -> Vec<NodeId> {
        self.servers.keys().copied().collect()
    }

    /// Whether the node runs.
    #[must_use]
    pub fn is_running(&self, node: NodeId) -> bool {
        self.servers[&node].running.is_some()
    }

    /// Why the node halted, if it did.
    #[must_use]
    pub fn halted(&self, node: NodeId) -> Option<HaltReason> {
        self.servers[&node].halted
    }

    /// A number from the run's seed, below `bound`: for tests that draw their own faults.
    pub fn draw(&mut self, bound: u64) -> u64 {
        self.rng.next_u64() % bound
    }

    /// The virtual time.
    #[must_use]
    pub const fn now(&self) -> Time {
        self.now
    }

    /// What a running node knows.
    ///
    /// # Panics
    ///
    /// If it does not run.
    #[must_use]
    pub fn status(&self, node: NodeId) -> Status<'_> {
        self.running(node).replica.status()
    }

    /// A running node's state machine.
    ///
    /// # Panics
    ///
    /// If it does not run.
    #[must_use]
    pub fn machine(&self, node: NodeId) -> &S {
        self.running(node).replica.machine()
    }

    fn running(&self, node: NodeId) -> &Running<S> {
        let running = self.servers[&node].running.as_ref();
        running.unwrap_or_else(|| panic!("node {node} does not run"))
    }

    /// The running leader of the highest term, if there is one.
    #[must_use]
    pub fn leader(&self) -> Option<NodeId> {
        let running = self.servers.iter().filter(|(_, s)| s.running.is_some());
        running
            .map(|(node, _)| (*node, self.status(*node)))
            .filter(|(_, status)| status.role == RoleKind::Leader)
            .max_by_key(|(_, status)| status.term)
            .map(|(node, _)| node)
    }

    /// What nodes found alarming so far.
    #[must_use]
    pub fn alerts(&self) -> &[(NodeId, Alert)] {
        &self.alerts
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

    /// Proposes a command at a node; ask [`Cluster::reply`] for what became of it.
    pub fn propose(&mut self, node: NodeId, command: S::Command) -> RequestId {
        let (now, request) = (self.now, self.next_request());
        if let Some(running) = &mut self.server_mut(node).running {
            running.replica.propose(now, request, &command);
        }
        self.settle_all(node);
        request
    }

    /// Asks a linearizable query at a node.
    pub fn query(&mut self, node: NodeId, query: S::Query) -> RequestId {
        let (now, request) = (self.now, self.next_request());
        if let Some(running) = &mut self.server_mut(node).running {
            running.replica.query(now, request, query);
        }
        self.settle_all(node);
        request
    }

    fn next_request(&mut self) -> RequestId {
        self.last_request += 1;
        RequestId(self.last_request)
    }

    /// What became of a request; `None` while it is not decided, or if its node died.
    #[must_use]
    pub fn reply(&self, request: RequestId) -> Option<&Result<S::Reply, RequestError>> {
        self.replies.get(&request)
    }

    /// Runs until something holds.
    ///
    /// # Panics
    ///
    /// If it does not within a virtual minute.
    pub fn run_until(&mut self, mut holds: impl FnMut(&Self) -> bool) {
        let end = self.now + PATIENCE;
        while !holds(self) {
            assert!(
                self.now < end && self.advance(),
                "what was waited for did not happen within a virtual minute: {self:?}"
            );
        }
    }

    /// Runs for a length of virtual time.
    pub fn run_for(&mut self, span: Span) {
        let end = self.now + span;
        while self.queue.keys().next().is_some_and(|(at, _)| *at <= end) {
            self.advance();
        }
        self.now = end;
    }

    /// Lets the next thing happen; false if nothing will.
    pub fn advance(&mut self) -> bool {
        let Some(((at, _), happening)) = self.queue.pop_first() else {
            return false;
        };
        self.now = at;
        match happening {
            Happening::Deliver(frame, to) => {
                let envelope = codec::decode_envelope(&frame).expect("what was sent decodes");
                self.input(to, Input::Receive(envelope));
            }
            Happening::Synced(node, boot) => self.finish_sync(node, boot),
            Happening::Tick(node, boot) => {
                if let Some(running) = &mut self.server_mut(node).running
                    && running.boot == boot
                    && running.tick == Some(at)
                {
                    running.tick = None;
                    self.input(node, Input::Tick);
                }
            }
        }
        true
    }

    fn input(&mut self, node: NodeId, input: Input) {
        let at = self.now;
        if let Some(running) = &mut self.server_mut(node).running {
            running.replica.handle(Event { at, input });
        }
        self.settle_all(node);
    }

    /// Carries out everything a node asks for, and what comes of that.
    fn settle_all(&mut self, node: NodeId) {
        let at = self.now;
        self.settle(node);
        // What came of carrying out one action waits until the others are carried out, too.
        while let Some((node, input)) = self.later.pop_front() {
            if let Some(running) = &mut self.server_mut(node).running {
                running.replica.handle(Event { at, input });
            }
            self.settle(node);
        }
    }

    fn finish_sync(&mut self, node: NodeId, boot: Boot) {
        let member = self.servers[&node].member;
        let Some(running) = &mut self.server_mut(node).running else {
            return;
        };
        if running.boot != boot {
            return;
        }
        running.syncing = false;
        let Some(id) = running.unsynced.take() else {
            return;
        };
        let store = member.store;
        let input = match running.wal.sync() {
            Ok(()) => Input::Persisted { store, boot, id },
            Err(_) => Input::StorageFailed,
        };
        self.input(node, input);
    }

    /// Carries out everything a node asks for.
    fn settle(&mut self, node: NodeId) {
        let mut outputs = Vec::new();
        if let Some(running) = &mut self.server_mut(node).running {
            running.replica.drain(&mut outputs);
        }
        for output in outputs {
            match output {
                Output::Reply { request, result } => {
                    let before = self.replies.insert(request, result);
                    assert!(before.is_none(), "a request has one outcome");
                }
                Output::Action(action) => self.carry_out(node, action),
            }
        }
        self.schedule_for(node);
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "actions are added to, and most observations interest nobody here"
    )]
    fn carry_out(&mut self, node: NodeId, action: Action) {
        match action {
            Action::Send(envelope) => self.transmit(&envelope),
            Action::Persist(persist) => {
                let Some(running) = &mut self.server_mut(node).running else {
                    return;
                };
                let written = running
                    .wal
                    .append(&persist)
                    .and_then(|()| running.wal.write());
                match written {
                    Ok(()) => running.unsynced = Some(persist.id),
                    Err(_) => self.later.push_back((node, Input::StorageFailed)),
                }
            }
            Action::ReadLog(request) => {
                if let Some(running) = &mut self.server_mut(node).running {
                    let outcome = running.wal.read(&request);
                    let ticket = request.ticket;
                    let input = Input::LogRead { ticket, outcome };
                    self.later.push_back((node, input));
                }
            }
            Action::Observed(Observation::Role {
                term,
                role: RoleKind::Leader,
            }) => {
                let known = self.leaders.insert(term, node);
                assert!(
                    known.is_none_or(|known| known == node),
                    "term {term} has one leader"
                );
            }
            Action::Alert(alert) => self.alerts.push((node, alert)),
            Action::Halt(reason) => {
                let server = self.server_mut(node);
                server.halted = Some(reason);
                server.running = None;
            }
            _ => {}
        }
    }

    fn transmit(&mut self, envelope: &Envelope) {
        let (from, to) = (envelope.from.member.node, envelope.to.node);
        let network = self.network;
        let mut copies = 1;
        if self.cut.contains(&(from, to)) || self.draw(1_000) < network.lost_per_mille {
            copies = 0;
        } else if self.draw(1_000) < network.repeated_per_mille {
            copies = 2;
        }
        let mut frame = Vec::new();
        codec::encode_control(envelope, &mut frame);
        codec::encode_bulk(&envelope.body, &mut frame);
        let frame = Bytes::from(frame);
        for _ in 0..copies {
            let spread = network.delay_max - network.delay_min + 1;
            let at = self.now + Span(network.delay_min + self.draw(spread));
            self.schedule(at, Happening::Deliver(frame.clone(), to));
        }
    }

    fn schedule_for(&mut self, node: NodeId) {
        let (now, sync_max) = (self.now, self.network.sync_max);
        let sync_takes = Span(1 + self.draw(sync_max));
        let Some(running) = &mut self.server_mut(node).running else {
            return;
        };
        let boot = running.boot;
        let sync = running.unsynced.is_some() && !running.syncing;
        running.syncing |= sync;
        let deadline = running.replica.next_deadline().map(|at| at.max(now));
        let tick = deadline.filter(|at| running.tick.is_none_or(|tick| *at < tick));
        if tick.is_some() {
            running.tick = tick;
        }
        if sync {
            self.schedule(now + sync_takes, Happening::Synced(node, boot));
        }
        if let Some(at) = tick {
            self.schedule(at, Happening::Tick(node, boot));
        }
    }

    fn schedule(&mut self, at: Time, happening: Happening) {
        self.scheduled += 1;
        self.queue.insert((at, self.scheduled), happening);
    }

    /// The greatest index that a running node knows to be committed.
    #[must_use]
    pub fn commit_index(&self) -> Index {
        let running = self.servers.iter().filter(|(_, s)| s.running.is_some());
        let commits = running.map(|(node, _)| self.status(*node).commit_index);
        commits.max().unwrap_or_default()
    }
}

impl<S: StateMachine> fmt::Debug for Cluster<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "cluster at {:?}", self.now)?;
        for (node, server) in &self.servers {
            match &server.running {
                Some(running) => {
                    let status = running.replica.status();
                    writeln!(
                        f,
                        "  node {node}: {} term {} commit {} last {:?} durable {}",
                        status.role.as_str(),
                        status.term,
                        status.commit_index,
                        status.last,
                        status.durable
                    )?;
                }
                None => writeln!(f, "  node {node}: down, halted {:?}", server.halted)?,
            }
        }
        Ok(())
    }
}
