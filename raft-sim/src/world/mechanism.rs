//! The mechanism: servers that do one thing at a time when they are told to, and the judge beside them.
//!
//! Nothing here has a queue, a clock of its own or a random number: [`Cluster`](super::Cluster) decides
//! when things happen, a [`Schedule`](crate::Schedule) repeats what happened once.
//!
//! Always holds: whatever a node asks for is judged before it has any effect.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use raft_core::replica::{Output, Replica, RequestError, SessionId, SnapshotRefusal};
use raft_core::wal::{RecoveryError, Wal, WalOptions};
use raft_core::{
    Action, Alert, Boot, ClusterId, Configuration, Consistency, Entry, EntryId, Envelope, Event,
    GroupId, HaltReason, HardState, Identity, Index, Input, Member, NodeId, Observation, Options,
    Outcome, Payload, Persist, PersistId, RequestId, RoleKind, Span, Status, Term, Time,
};

use super::alone::{AloneCounts, Leaving};
use super::disk::MemoryDisk;
use super::server::{Death, LogJob, Process, Server};
use super::snapshot_lane::SnapshotLane;
use crate::judge::{Invariant, Judge, Reference, Violation, mix};
use crate::machine::{Machine, OpId, Tagged, Watched, Witnessed, place};
use crate::order::{Order, member};
use crate::trace::{Happening, Trace};

/// Makes the machine that a node's life begins with.
pub(crate) type Fresh<S> = Arc<dyn Fn() -> S + Send + Sync>;

/// What one step brought about and its driver must carry on.
pub(crate) struct Effects<R> {
    pub(crate) sent: Vec<Envelope>,
    /// What the node was like when it acted last, as a number.
    pub(crate) state: u64,
    pub(crate) replies: Vec<(OpId, Result<R, RequestError>)>,
    pub(crate) ordered: Vec<(RequestId, Order, Result<Outcome, RequestError>)>,
    pub(crate) snapshots: Vec<(RequestId, Result<EntryId, SnapshotRefusal>)>,
    pub(crate) registered: Vec<(OpId, SessionId)>,
}

impl<R> Effects<R> {
    /// Nobody waits for an answer.
    pub(crate) fn clear_answers(&mut self) {
        self.replies.clear();
        self.ordered.clear();
        self.snapshots.clear();
        self.registered.clear();
    }
}

/// What happened so far, as numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) sent: u64,
    pub(crate) persists: u64,
    pub(crate) elections: u64,
    pub(crate) starts: u64,
    pub(crate) alerts: u64,
    pub(crate) refused: u64,
    pub(crate) halts: u64,
    /// Processes that died between two actions.
    pub(crate) dooms: u64,
    /// Disks that were found to be full.
    pub(crate) full: u64,
    /// Commands that state machines executed.
    pub(crate) executed: u64,
    pub(crate) alone: AloneCounts,
}

/// Servers and a judge.
pub(crate) struct World<S: Machine> {
    /// The time of the world, which no node sees.
    pub(crate) now: Time,
    servers: Vec<Server<S>>,
    /// The cluster that is judged.
    pub(super) cluster: ClusterId,
    /// The cluster that was made last, whether or not there is anything of it.
    pub(super) last_cluster: ClusterId,
    /// Nodes that were told to go on alone, as long as that may be undone.
    pub(super) leaving: BTreeMap<NodeId, Leaving>,
    pub(crate) judge: Judge<S>,
    options: Options,
    priorities: Vec<u32>,
    pub(super) wal_options: WalOptions,
    fresh: Fresh<S>,
    pub(crate) effects: Effects<S::Reply>,
    pub(crate) counts: Counts,
    pub(crate) alerts: Vec<(NodeId, Alert)>,
    /// Orders without an outcome: to whom, and what.
    pub(crate) orders: BTreeMap<RequestId, (NodeId, Order)>,
    pub(super) last_order: u64,
    /// The order that was carried out last.
    pub(crate) carried_out: Option<RequestId>,
    /// Nodes that were told that they are no members any more.
    pub(crate) removed: BTreeSet<NodeId>,
    /// Whose state machine executed something last.
    pub(crate) last_executed: NodeId,
    pub(crate) trace: Option<Trace>,
    outputs: Vec<Output<Watched<S>>>,
}

/// The cluster that every world begins with.
const CLUSTER: ClusterId = ClusterId(0xc1);
/// Orders are numbered above the requests of clients.
const ORDERS: u64 = 1 << 62;

/// How a new world is made.
pub(crate) struct Setup<S: Machine> {
    pub(crate) nodes: u64,
    /// Servers that are no members at first.
    pub(crate) spares: u64,
    pub(crate) options: Options,
    /// How much each server wants to lead, where that is not as the options say.
    pub(crate) priorities: Vec<u32>,
    pub(crate) wal_options: WalOptions,
    pub(crate) fresh: Fresh<S>,
    pub(crate) reference: Reference<S>,
}

impl<S: Machine> Setup<S> {
    /// How many servers there are, members or not.
    pub(crate) const fn servers(&self) -> u64 {
        self.nodes + self.spares
    }
}

/// The log files of simulated nodes: small, so that they are changed often.
pub(crate) const WAL_OPTIONS: WalOptions = WalOptions {
    segment_bytes: 64 << 10,
    tail_bytes_max: 16 << 10,
};

/// A store that begins, as a member of a cluster or of none.
pub(super) fn create(
    disk: &mut MemoryDisk,
    member: Member,
    cluster: ClusterId,
    begins: &Configuration,
) -> Result<(), RecoveryError> {
    let identity = Identity {
        group: GroupId(0),
        cluster,
        member,
    };
    Wal::create(disk, identity, begins)
}

impl<S: Machine> World<S> {
    /// Servers with the logs of a new cluster, none of them running.
    pub(crate) fn new(setup: Setup<S>) -> Self {
        let members: Vec<Member> = (1..=setup.servers())
            .map(|n| member(NodeId(n), 0))
            .collect();
        let voters = members.iter().filter(|member| member.node.0 <= setup.nodes);
        let configuration = Configuration::of_voters(voters.copied());
        let nobody = Configuration::default();
        let servers = members.iter().map(|member| {
            // A store that is no member yet belongs to no cluster, and is filled by a snapshot.
            let (begins, cluster) = if configuration.is_voter(*member) {
                (&configuration, CLUSTER)
            } else {
                (&nobody, ClusterId::NONE)
            };
            let mut disk = MemoryDisk::new();
            create(&mut disk, *member, cluster, begins).expect("an empty disk takes a log");
            Server::new(*member, disk)
        });
        let options = Options {
            check_invariants: true,
            ..setup.options
        };
        let judge = Judge::new(&members, &options, setup.reference, setup.fresh.clone());
        Self {
            now: Time(1),
            servers: servers.collect(),
            cluster: CLUSTER,
            last_cluster: CLUSTER,
            leaving: BTreeMap::new(),
            judge,
            orders: BTreeMap::new(),
            last_order: ORDERS,
            carried_out: None,
            removed: BTreeSet::new(),
            options,
            priorities: setup.priorities,
            wal_options: setup.wal_options,
            fresh: setup.fresh,
            effects: Effects {
                sent: Vec::new(),
                state: 0,
                replies: Vec::new(),
                ordered: Vec::new(),
                snapshots: Vec::new(),
                registered: Vec::new(),
            },
            counts: Counts::default(),
            alerts: Vec::new(),
            last_executed: NodeId(1),
            trace: None,
            outputs: Vec::new(),
        }
    }

    pub(crate) fn servers(&self) -> &[Server<S>] {
        &self.servers
    }

    pub(crate) fn server(&self, node: NodeId) -> &Server<S> {
        let place = place(node);
        self.servers
            .get(place)
            .unwrap_or_else(|| panic!("there is no node {node}"))
    }

    pub(crate) fn server_mut(&mut self, node: NodeId) -> &mut Server<S> {
        let place = place(node);
        self.servers
            .get_mut(place)
            .unwrap_or_else(|| panic!("there is no node {node}"))
    }

    pub(crate) fn process_mut(&mut self, node: NodeId) -> Option<&mut Process<S>> {
        self.server_mut(node).process.as_mut()
    }

    pub(crate) fn nodes(&self) -> impl Iterator<Item = NodeId> + use<'_, S> {
        self.servers.iter().map(|server| server.member.node)
    }

    pub(crate) fn violation(&self) -> Option<&Violation> {
        self.judge.violation()
    }

    pub(crate) fn note(&mut self, what: impl FnOnce() -> Happening) {
        if let Some(trace) = &mut self.trace {
            trace.note(self.now, what());
        }
    }

    /// Begins a node's next life from what its disk holds.
    pub(crate) fn start(&mut self, at: Time, node: NodeId) -> Result<(), RecoveryError> {
        let server = self.server(node);
        assert!(server.process.is_none(), "node {node} runs already");
        let disk = server.disk.clone();
        let (wal, restored) = Wal::recover(disk.clone(), self.wal_options)?;
        let snapshots = SnapshotLane::new(disk)?;
        self.settle_restored(node, &restored);
        // A copy of another node's disk is believed to be that node by everybody else.
        if restored.identity.member.node == node {
            self.is_now(node, restored.identity.member);
        }
        if restored.identity.cluster == ClusterId::NONE && self.judge.is_stranger(node) {
            // It has lost what made it a stranger with its power.
            self.judge.replaced(restored.identity.member);
        }
        self.judge.started(node, &restored);
        self.counts.starts += 1;
        self.note(|| Happening::up(node, &restored));
        if restored.boot > Boot(1) {
            self.note(|| Happening::recovered(node, &restored));
        }
        let boot = restored.boot;
        let machine = Watched::new((self.fresh)());
        let priority = self.priorities.get(place(node)).copied();
        let options = Options {
            priority: priority.unwrap_or(self.options.priority),
            ..self.options
        };
        match Replica::new(at, options, restored, machine) {
            Ok(replica) => {
                let server = self.server_mut(node);
                server.halted = None;
                server.process = Some(Process::new(replica, wal, snapshots, boot));
                self.drain(node);
            }
            Err(error) => {
                let text = format!("what was recovered contradicts itself: {error}");
                self.judge.report(Some(node), Invariant::D2, text);
            }
        }
        Ok(())
    }

    /// The process dies; what it wrote stays in the page cache.
    pub(crate) fn kill(&mut self, node: NodeId) {
        self.end(node, "killed");
    }

    /// The machine loses power: any part of what was not synced is gone, as the pattern says.
    pub(crate) fn lose_power(&mut self, node: NodeId, pattern: u64) {
        self.end(node, "lost power");
        self.server(node).disk.lose_power(pattern);
    }

    fn end(&mut self, node: NodeId, why: &str) {
        let server = self.server_mut(node);
        server.death = None;
        let ran = server.process.take().is_some();
        self.judge.ended(node);
        self.orders.retain(|_, (taker, _)| *taker != node);
        if ran || why != "killed" {
            self.note(|| Happening::down(node, why));
        }
    }

    /// The process dies after so many more of its node's actions.
    pub(crate) fn doom(&mut self, node: NodeId, death: Death) {
        self.server_mut(node).death = Some(death);
    }

    /// A running node's replica, which is given something to do.
    pub(super) fn given(&mut self, node: NodeId) -> Option<&mut Replica<Watched<S>>> {
        let process = self.process_mut(node)?;
        process.inputs += 1;
        Some(&mut process.replica)
    }

    /// One input for a node; what follows from it comes with the next drain.
    pub(crate) fn handle(&mut self, at: Time, node: NodeId, input: Input) {
        if let Some(replica) = self.given(node) {
            replica.handle(Event { at, input });
        }
    }

    pub(crate) fn propose(&mut self, at: Time, node: NodeId, op: OpId, command: S::Command) {
        let now = self.now;
        self.note(|| Happening::ask(node, op, format!("{command:?}")));
        let tagged = Tagged { op, command };
        if let Some(replica) = self.given(node) {
            replica.propose(at, RequestId(op), &tagged);
            self.judge.proposed(op, node, now, tagged.command);
        }
    }

    pub(crate) fn query(&mut self, at: Time, node: NodeId, op: OpId, query: S::Query) {
        let now = self.now;
        self.note(|| Happening::ask(node, op, format!("{query:?}?")));
        // Where there are leases, every other query may rest on one.
        let consistency = if self.options.lease_promise > Span(0) && op.is_multiple_of(2) {
            Consistency::Lease
        } else {
            Consistency::Linearizable
        };
        if let Some(replica) = self.given(node) {
            replica.query_with(at, RequestId(op), consistency, query.clone());
            self.judge.queried(op, node, now, (query, consistency));
        }
    }

    /// An operator asks for a snapshot.
    pub(crate) fn snapshot(&mut self, at: Time, node: NodeId) -> RequestId {
        self.last_order += 1;
        let request = RequestId(self.last_order);
        if let Some(replica) = self.given(node) {
            replica.snapshot(at, request);
        }
        request
    }

    /// The log lane gets to the end of what it is doing, and takes what waits.
    pub(crate) fn lane(&mut self, at: Time, node: NodeId) {
        let server = self.server_mut(node);
        let Some(process) = &mut server.process else {
            return;
        };
        let boot = process.boot;
        let done = process.lane_step(&server.disk);
        if let Some((store, id)) = done.synced {
            // A disk that was not synced holds nothing for certain, whoever says otherwise.
            if done.is_real {
                self.settle_synced(node, id);
                self.judge.synced(node, id);
                let durable = self.judge.durable_index(node);
                self.note(|| Happening::Durable {
                    node,
                    index: durable,
                });
            }
            self.handle(at, node, Input::Persisted { store, boot, id });
        }
        if let Some(wiped) = done.wiped {
            self.is_now(node, Member { node, store: wiped });
            self.handle(at, node, Input::Wiped { store: wiped });
        }
        for (ticket, outcome) in done.read {
            self.handle(at, node, Input::LogRead { ticket, outcome });
        }
        if let Some(input) = done.changed {
            self.counts.full += u64::from(matches!(input, Input::StorageFull));
            self.note(|| Happening::disk(node, &input));
            self.handle(at, node, input);
        }
    }

    /// Judges and carries out everything a node asks for.
    pub(crate) fn drain(&mut self, node: NodeId) {
        let mut outputs = core::mem::take(&mut self.outputs);
        if let Some(process) = self.process_mut(node) {
            process.replica.drain(&mut outputs);
            self.judge_outputs(node, &outputs);
        }
        if let Some(process) = self.process_mut(node) {
            process.inputs = 0;
        }
        for output in outputs.drain(..) {
            if self.is_time_to_die(node) {
                break;
            }
            // By far the most, and large: kept from being moved about.
            if let Output::Action(Action::Send(envelope)) = output {
                self.judge.sending(node, &envelope);
                self.counts.sent += 1;
                self.effects.sent.push(envelope);
            } else if !self.carry_out(node, output) {
                break;
            }
        }
        outputs.clear();
        self.outputs = outputs;
    }

    fn judge_outputs(&mut self, node: NodeId, outputs: &[Output<Watched<S>>]) {
        let place = place(node);
        let Some(process) = &self.servers[place].process else {
            return;
        };
        let status = process.replica.status();
        let judge = &mut self.judge;
        let mut leaving = self.leaving.get_mut(&node);
        let cluster = status.identity.cluster;
        if cluster != ClusterId::NONE && cluster != self.cluster && leaving.is_none() {
            judge.estrange(node);
        }
        // Who leads comes before what it writes as a leader.
        for output in outputs {
            if let Output::Action(Action::Observed(Observation::Role { term, role })) = output
                && *role == RoleKind::Leader
            {
                judge.became_leader(node, *term, &status);
            }
        }
        for output in outputs {
            if let Output::Action(Action::Persist(persist)) = output
                && !leaving
                    .as_mut()
                    .is_some_and(|leaving| leaving.keeps(persist))
            {
                judge.persisting(node, persist, Some(&status));
            }
        }
        let actions = outputs
            .iter()
            .filter(|output| matches!(output, Output::Action(_)));
        if leaving.is_none() {
            judge.observe(node, &status, process.inputs, actions.count());
        }
        self.effects.state = mix(
            status.term.0,
            status.commit_index.0 << 32 | status.last.index.0,
        );
        let executions = process.replica.machine().executions.take();
        for execution in &executions {
            judge.executed(node, execution);
            self.counts.executed += 1;
            self.last_executed = node;
        }
        if let Some(trace) = &mut self.trace {
            trace.observe(self.now, node, &status);
        }
    }

    /// Carries out one action; false if the process did not survive it.
    fn carry_out(&mut self, node: NodeId, output: Output<Watched<S>>) -> bool {
        match output {
            Output::Reply { request, result } if request.0 > ORDERS => {
                let refused = result.err().unwrap_or(RequestError::Undecodable);
                self.ordered(request, Err(refused));
            }
            Output::Reply { request, result } => self.answer(node, request.0, result),
            Output::Done { request, outcome } => self.ordered(request, Ok(outcome)),
            Output::Registered { request, session } => {
                // What another cluster calls a session may be somebody else's here.
                if !self.judge.is_stranger(node) {
                    self.effects.registered.push((request.0, session));
                }
            }
            Output::Action(Action::Persist(persist)) => self.persist(node, persist),
            Output::Action(Action::ReadLog(request)) => {
                if let Some(process) = self.process_mut(node) {
                    process.reads.push_back(request);
                }
            }
            Output::Action(Action::Observed(observation)) => self.observed(node, &observation),
            Output::Action(Action::Alert(alert)) => {
                self.counts.alerts += 1;
                if let Alert::Removed { .. } = alert {
                    self.removed.insert(node);
                }
                self.note(|| Happening::alert(node, &alert));
                // Only so many are worth keeping; the count says how many there were.
                if self.alerts.len() < 1_000 {
                    self.alerts.push((node, alert));
                }
            }
            Output::Action(Action::Halt(reason)) => {
                self.halt(node, reason);
                return false;
            }
            Output::Snapshot { request, result } => self.effects.snapshots.push((request, result)),
            output @ (Output::TakeSnapshot { .. }
            | Output::RestoreSnapshot { .. }
            | Output::ReadChunk(_)
            | Output::BeginReceive { .. }
            | Output::WriteChunk { .. }
            | Output::FinishReceive { .. }
            | Output::RetainSnapshots { .. }) => self.move_snapshot(node, output),
            Output::Action(Action::CompactLog(compact)) => {
                if let Some(process) = self.process_mut(node) {
                    process.lane_push(LogJob::Compact(compact));
                }
            }
            Output::Action(Action::Wipe { store }) => {
                if let Some(process) = self.process_mut(node) {
                    process.lane_push(LogJob::Wipe(store));
                }
            }
            Output::Action(_) => unreachable!("an action that the simulator does not know"),
        }
        true
    }

    fn is_time_to_die(&mut self, node: NodeId) -> bool {
        let Some(death) = &mut self.server_mut(node).death else {
            return false;
        };
        if death.actions > 0 {
            death.actions -= 1;
            return false;
        }
        let power = death.power;
        self.counts.dooms += 1;
        match power {
            None => self.kill(node),
            Some(pattern) => self.lose_power(node, pattern),
        }
        true
    }

    fn answer(
        &mut self,
        node: NodeId,
        op: OpId,
        result: Result<Witnessed<S::Reply>, RequestError>,
    ) {
        self.judge.answered(node, op, &result);
        self.note(|| Happening::answer(node, op, &result));
        if matches!(result, Err(RequestError::Rejected(_))) {
            self.counts.refused += 1;
        }
        let result = result.map(|witnessed| witnessed.reply);
        self.effects.replies.push((op, result));
    }

    fn persist(&mut self, node: NodeId, persist: Persist) {
        self.counts.persists += 1;
        self.note(|| Happening::log(node, &persist));
        if let Some(process) = self.process_mut(node) {
            process.lane_push(LogJob::Persist(persist));
        }
    }

    fn observed(&mut self, node: NodeId, observation: &Observation) {
        if let Observation::Role { term, role } = observation {
            if *role == RoleKind::Leader {
                self.counts.elections += 1;
            }
            self.note(|| Happening::Role {
                node,
                role: *role,
                term: *term,
            });
        }
    }

    fn halt(&mut self, node: NodeId, reason: HaltReason) {
        self.end(node, &format!("halted: {reason}"));
        self.server_mut(node).halted = Some(reason);
        self.counts.halts += 1;
    }

    /// Whether a node's snapshot lane has something to do.
    pub(crate) fn snapshot_lane_is_busy(&self, node: NodeId) -> bool {
        let process = self.server(node).process.as_ref();
        process.is_some_and(|process| process.snapshots.is_busy())
    }

    /// Whether a node's log lane has something to finish.
    pub(crate) fn lane_is_busy(&self, node: NodeId) -> bool {
        let process = self.server(node).process.as_ref();
        process.is_some_and(Process::lane_is_busy)
    }

    /// Writes entries of these terms to a log that nobody has opened yet.
    pub(crate) fn write_log(&mut self, node: NodeId, terms: &[Term]) {
        let server = self.server(node);
        let (mut wal, restored) =
            Wal::recover(server.disk.clone(), self.wal_options).expect("a new log opens");
        let entries = terms.iter().zip(1..).map(|(term, index)| Entry {
            id: EntryId {
                term: *term,
                index: Index(index),
            },
            payload: Payload::Noop,
        });
        let hard_state = HardState {
            term: terms.last().copied().unwrap_or_default(),
            ..HardState::default()
        };
        let persist = Persist {
            snapshot: None,
            identity: None,
            id: PersistId(1),
            store: server.member.store,
            boot: restored.boot,
            hard_state: Some(hard_state),
            entries: entries.collect(),
        };
        wal.append(&persist).expect("there is room");
        wal.sync().expect("nothing fails");
        self.judge.written(node, &persist);
    }

    /// What a running node knows.
    pub(crate) fn status(&self, node: NodeId) -> Option<Status<'_>> {
        let process = self.server(node).process.as_ref()?;
        Some(process.replica.status())
    }

    /// The running leader of the highest term, if there is one.
    pub(crate) fn leader(&self) -> Option<(NodeId, Term)> {
        let statuses = self
            .nodes()
            .filter(|node| !self.judge.is_stranger(*node))
            .filter_map(|node| Some((node, self.status(node)?)));
        statuses
            .filter(|(_, status)| status.role == RoleKind::Leader)
            .map(|(node, status)| (node, status.term))
            .max_by_key(|(_, term)| *term)
    }

    /// The greatest index that a running node knows to be committed.
    pub(crate) fn commit_index(&self) -> Index {
        let commits = self
            .nodes()
            .filter(|node| !self.judge.is_stranger(*node))
            .filter_map(|n| Some(self.status(n)?.commit_index));
        commits.max().unwrap_or_default()
    }

    /// The node's timer, in its own time.
    pub(crate) fn next_deadline(&self, node: NodeId) -> Option<Time> {
        let process = self.server(node).process.as_ref()?;
        process.replica.next_deadline()
    }

    /// A node's transport says that what it sent to a peer may be lost.
    pub(crate) fn unreachable(&mut self, at: Time, node: NodeId, peer: NodeId) {
        let peer = self.server(peer).member;
        self.note(|| Happening::Note {
            node: Some(node),
            text: format!("what was sent to node {} may be lost", peer.node),
        });
        self.handle(at, node, Input::PeerUnreachable { peer });
    }

    /// The longest that anything waits for an answer, by the options.
    pub(crate) fn request_timeout(&self) -> Span {
        self.options.request_timeout
    }
}
