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
    Alert, Boot, ClusterId, Configuration, Consistency, Entry, EntryId, Envelope, Event, GroupId,
    HardState, Identity, Index, Input, Member, NodeId, Options, Outcome, Payload, Persist,
    PersistId, RequestId, Restored, RoleKind, Span, Status, Term, Time,
};

use super::alone::{AloneCounts, Leaving};
use super::disk::MemoryDisk;
use super::server::{Death, Process, Server};
use super::snapshot_lane::SnapshotLane;
use crate::judge::{Invariant, Judge, Reference, Violation};
use crate::machine::{Machine, OpId, Tagged, Watched, place};
use crate::order::{Order, member};
use crate::trace::{Happening, Trace};

/// Makes the machine that a node's life begins with.
pub(crate) type Fresh<S> = Arc<dyn Fn() -> S + Send + Sync>;

/// What one step brought about and its driver must carry on.
pub(crate) struct Effects<R> {
    #[expect(
        clippy::vec_box,
        reason = "nodes hand them out and take them as they are"
    )]
    pub(crate) sent: Vec<Box<Envelope>>,
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
    pub(super) servers: Vec<Server<S>>,
    /// The cluster that is judged.
    pub(super) cluster: ClusterId,
    /// The cluster that was made last, whether or not there is anything of it.
    pub(super) last_cluster: ClusterId,
    /// Nodes that were told to go on alone, as long as that may be undone.
    pub(super) leaving: BTreeMap<NodeId, Leaving>,
    /// Members that left a cluster that went on without them.
    pub(crate) left: BTreeSet<Member>,
    pub(crate) judge: Judge<S>,
    pub(super) options: Options,
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
    pub(super) outputs: Vec<Output<Watched<S>>>,
}

/// The cluster that every world begins with.
const CLUSTER: ClusterId = ClusterId(0xc1);
/// Orders are numbered above the requests of clients.
pub(super) const ORDERS: u64 = 1 << 62;

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
            left: BTreeSet::new(),
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
        self.recovered(node, &restored);
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

    /// A node's log was opened: it is what its disk says.
    pub(super) fn recovered(&mut self, node: NodeId, restored: &Restored) {
        self.settle_restored(node, restored);
        // A copy of another node's disk is believed to be that node by everybody else.
        if restored.identity.member.node == node {
            self.is_now(node, restored.identity.member);
        }
        if restored.identity.cluster == ClusterId::NONE && self.judge.is_stranger(node) {
            // It has lost what made it a stranger with its power.
            self.judge.replaced(restored.identity.member);
        }
        self.judge.started(node, restored);
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

    pub(super) fn end(&mut self, node: NodeId, why: &str) {
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
            hard_state: Some(Box::new(hard_state)),
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
