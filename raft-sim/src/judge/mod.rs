//! The judge: every rule checked after every event, against a memory that no crash touches.
//!
//! Read first: §5.2 to §5.4 and Figure 3 of the paper; [`Invariant`] lists the rules.
//!
//! Always holds: what is durable the judge learns from the disk, what is promised from the messages, and what
//! is committed by counting for itself; of a node it only takes what that claims, and who votes.

mod chain;
mod commit;
mod configuration;
mod ghost;
mod invariant;
mod log;
mod promises;
mod requests;
mod sessions;
mod snapshot;
mod state;

use std::collections::{BTreeMap, VecDeque};

use raft_core::replica::RequestError;
use raft_core::{
    Consistency, Index, Member, NodeId, Options, Payload, Persist, PersistId, Restored, RoleKind,
    Status, Term, Time,
};

pub(crate) use self::chain::mix;
use self::chain::{Chain, Link};
use self::ghost::Ghost;
pub use self::invariant::{Invariant, Violation};
pub(crate) use self::requests::Reference;
use self::requests::{Broken, Requests};
use self::sessions::GhostSessions;
pub(crate) use self::snapshot::image_hash;
use self::state::GhostState;
use crate::machine::{Execution, Machine, OpId, Witnessed, place};
use crate::world::Fresh;

/// Everything that is known about a cluster from outside.
pub(crate) struct Judge<S: Machine> {
    ghosts: Vec<Ghost>,
    /// What stores had that were emptied: what they said counts on.
    graves: BTreeMap<Member, Chain>,
    /// What entries there are at each index above `known_base`: by term, with what is in it.
    known: VecDeque<Vec<(Link, Payload)>>,
    known_base: Index,
    /// Of clients, as of the last committed entry.
    sessions: GhostSessions,
    committed: Chain,
    /// How far leaders of each term, and of those before, have committed.
    commits: BTreeMap<Term, Index>,
    leaders: BTreeMap<Term, NodeId>,
    requests: Requests<S>,
    /// What the committed log makes.
    state: GhostState<S>,
    /// Snapshots that were taken, by the index of their last entry.
    snapshots: BTreeMap<Index, snapshot::Known>,
    limits: Limits,
    violation: Option<Violation>,
    /// Promises were broken from outside: what follows is written down, and held against nobody.
    lenient: bool,
    excused: Option<Violation>,
    /// How often something was compared: a run in which this stays low proved little.
    pub(crate) checks: u64,
    until_pruned: u32,
    /// Somebody may join, for whom a node takes a snapshot up to wherever it is in a log that it executes again.
    fills_newcomers: bool,
}

/// Bounds on what a node may hold (P5), from its options.
#[derive(Clone, Copy, Debug)]
struct Limits {
    requests: u32,
    tail_bytes: u64,
    /// For each input.
    actions: usize,
}

/// Terms whose leaders and votes are remembered; older messages are refused by then.
const TERMS_KEPT: usize = 256;
/// Links that are kept behind what every node agrees on: restarted nodes execute these again.
const LINKS_KEPT: u64 = 1_024;
/// How many observations pass between two looks at what can be forgotten.
const PRUNE_EVERY: u32 = 1_024;

impl<S: Machine> Judge<S> {
    pub(crate) fn new(
        members: &[Member],
        options: &Options,
        reference: Reference<S>,
        fresh: Fresh<S>,
    ) -> Self {
        let nodes = members.len();
        let largest = options.command_bytes_max.min(1 << 20) + 4_096;
        let limits = Limits {
            requests: options.requests_max,
            tail_bytes: options
                .tail_bytes_max
                .saturating_add(options.undurable_bytes_max)
                .saturating_add(options.uncommitted_bytes_max)
                .saturating_add(2 * options.append_bytes_max + largest),
            actions: 64
                + 8 * nodes * (1 + options.inflight_appends_max.min(64) as usize)
                + options.inflight_persists_max as usize,
        };
        Self {
            ghosts: members.iter().copied().map(Ghost::new).collect(),
            graves: BTreeMap::new(),
            known: VecDeque::new(),
            sessions: GhostSessions::default(),
            known_base: Index(0),
            committed: Chain::default(),
            commits: BTreeMap::new(),
            leaders: BTreeMap::new(),
            requests: Requests::new(reference),
            state: GhostState::new(fresh),
            snapshots: BTreeMap::new(),
            limits,
            violation: None,
            lenient: false,
            excused: None,
            checks: 0,
            until_pruned: PRUNE_EVERY,
            fills_newcomers: true,
        }
    }

    pub(crate) fn violation(&self) -> Option<&Violation> {
        self.violation.as_ref()
    }

    /// The first violation stands: what follows from it is no news.
    pub(crate) fn report(&mut self, node: Option<NodeId>, invariant: Invariant, text: String) {
        let excused = self.lenient && invariant != Invariant::I20;
        let slot = if excused {
            &mut self.excused
        } else {
            &mut self.violation
        };
        slot.get_or_insert(Violation {
            invariant,
            node,
            text,
        });
    }

    /// Nobody joins who was not there at first: more can be forgotten.
    pub(crate) const fn expect_no_newcomers(&mut self) {
        self.fills_newcomers = false;
    }

    /// Something happened that no protocol can mask.
    pub(crate) fn excuse(&mut self) {
        self.lenient = true;
    }

    /// Whether it did.
    pub(crate) const fn is_lenient(&self) -> bool {
        self.lenient
    }

    /// A store takes no further part: nothing has to be remembered for it.
    pub(crate) fn lost(&mut self, node: NodeId) {
        self.ghost_mut(node).lost = true;
    }

    /// A node's store is another one now: it has promised nothing, and has nothing.
    pub(crate) fn replaced(&mut self, member: Member) {
        let before = core::mem::replace(self.ghost_mut(member.node), Ghost::new(member));
        self.graves.insert(before.member, before.durable);
    }

    /// Whether a node's disk has everything that was acknowledged, and it can be judged by that.
    pub(crate) fn may_go_alone(&self, node: NodeId) -> bool {
        !self.lenient && self.may_be_judged_by(node)
    }

    /// Whether it is this node that has everything that was acknowledged, should it be a cluster of its own.
    pub(crate) fn may_be_judged_by(&self, node: NodeId) -> bool {
        !self.is_stranger(node) && !self.ghost(node).lost && self.has_all(node)
    }

    /// A node leaves its cluster with everything it has: that is what is judged from here on.
    pub(crate) fn alone(&mut self, member: Member) {
        let own = self.ghost_mut(member.node);
        own.member = member;
        let own = own.handed.clone();
        let base = self.known_base.0;
        for (known, index) in self.known.iter_mut().zip(base + 1..) {
            known.retain(|(link, _)| own.get(Index(index)) == Some(*link));
        }
        // Terms of the others are nothing to it, and it has all that was committed in those before.
        let commit = self.commit_index();
        self.leaders.clear();
        self.commits = BTreeMap::from([(Term(0), commit)]);
    }

    /// A node is part of a cluster that is not judged, until its store is emptied.
    pub(crate) fn estrange(&mut self, node: NodeId) {
        if !self.is_stranger(node) {
            self.ghost_mut(node).stranger = true;
            self.requests.node_died(node);
        }
    }

    /// Whether a node is part of a cluster that is not judged.
    pub(crate) fn is_stranger(&self, node: NodeId) -> bool {
        self.ghost(node).stranger
    }

    /// Whether others decide, and none of them has this member as one of theirs.
    pub(crate) fn is_nobody(&self, member: Member) -> bool {
        let others = self.ghosts.iter();
        let mut others =
            others.filter(|ghost| ghost.member != member && !ghost.lost && !ghost.stranger);
        others.clone().any(Ghost::takes_part) && !others.any(|ghost| ghost.knows(member))
    }

    /// What was broken after that.
    pub(crate) fn excused(&self) -> Option<&Violation> {
        self.excused.as_ref()
    }

    fn check(&mut self, node: NodeId, result: Result<(), Broken>) {
        self.checks += 1;
        if let Err((invariant, text)) = result {
            self.report(Some(node), invariant, text);
        }
    }

    fn ghost(&self, node: NodeId) -> &Ghost {
        &self.ghosts[place(node)]
    }

    fn ghost_mut(&mut self, node: NodeId) -> &mut Ghost {
        &mut self.ghosts[place(node)]
    }

    pub(crate) fn commit_index(&self) -> Index {
        self.committed.last_index()
    }

    pub(crate) fn written_by_clients(&self) -> u64 {
        self.requests.written
    }

    pub(crate) fn acknowledged(&self) -> u64 {
        self.requests.acknowledged
    }

    /// A log was written by hand, before any node ran.
    pub(crate) fn written(&mut self, node: NodeId, persist: &Persist) {
        let mut links = Vec::new();
        self.append(node, Index(1), &persist.entries, &mut links);
        let ghost = self.ghost_mut(node);
        ghost.durable = ghost.handed.clone();
        ghost.hard_state = persist.hard_state.as_deref().copied().unwrap_or_default();
    }

    /// The terms of a node's log, as far as they are remembered.
    pub(crate) fn terms(&self, node: NodeId) -> Vec<Term> {
        self.ghost(node).handed.terms()
    }

    /// A node begins a life from what recovery found.
    pub(crate) fn started(&mut self, node: NodeId, restored: &Restored) {
        if self.is_stranger(node) {
            return;
        }
        if let Err(text) = self.ghost_mut(node).recovered(restored) {
            self.report(Some(node), Invariant::D1, text);
        }
    }

    /// A node's process ended, however.
    pub(crate) fn ended(&mut self, node: NodeId) {
        if self.is_stranger(node) {
            return;
        }
        self.ghost_mut(node).leading = None;
        self.requests.node_died(node);
    }

    /// Up to where a node's disk has its log for certain.
    pub(crate) fn durable_index(&self, node: NodeId) -> Index {
        self.ghost(node).durable.last_index()
    }

    /// The disk has everything up to this write, and nothing that is only in a cache.
    pub(crate) fn synced(&mut self, node: NodeId, id: PersistId) {
        if self.is_stranger(node) {
            return;
        }
        self.ghost_mut(node).synced(id);
    }

    /// Whether a node's log is what it handed to its disk: only so many writes are handed out at once.
    fn has_handed_all(&self, node: NodeId, status: &Status<'_>) -> bool {
        self.ghost(node).handed.last_id() == status.last
    }

    /// What a node shows after so many inputs, and what it asks for then.
    pub(crate) fn observe(
        &mut self,
        node: NodeId,
        status: &Status<'_>,
        inputs: usize,
        actions: usize,
    ) {
        if self.is_stranger(node) {
            return;
        }
        self.checks += 1;
        if status.halted.is_some() {
            return;
        }
        let ghost = self.ghost_mut(node);
        let (term, commit) = (ghost.term, ghost.commit);
        ghost.term = status.term;
        ghost.commit = status.commit_index;
        // It may have counted for the last time, and stepped down, in one step.
        let led = ghost.leading == Some(status.term);
        if ghost.leading.is_some() && status.role != RoleKind::Leader {
            ghost.leading = None;
        }
        self.check_leader(node, status);
        if status.term < term {
            let text = format!("its term falls from {term} to {}", status.term);
            self.report(Some(node), Invariant::I3, text);
        }
        if status.commit_index < commit {
            let text = format!(
                "its commit index falls from {commit} to {}",
                status.commit_index
            );
            self.report(Some(node), Invariant::I8, text);
        } else if status.commit_index > commit {
            self.claim(node, status, led);
        }
        self.check_claim(node, status);
        if status.role == RoleKind::Leader {
            self.check_matches(node, status);
        }
        self.check_configuration(node, status);
        self.check_bounds(node, status, inputs, actions);
        self.until_pruned -= 1;
        if self.until_pruned == 0 {
            self.until_pruned = PRUNE_EVERY;
            self.prune();
        }
    }

    fn check_bounds(&mut self, node: NodeId, status: &Status<'_>, inputs: usize, actions: usize) {
        let limits = self.limits;
        // When leadership ends, whoever waits for a read or is kept waiting by a handover is told so at once.
        let owed = 2 * u64::from(limits.requests);
        let actions_max = owed + (limits.actions * (1 + inputs)) as u64;
        let found = [
            (
                "requests without an outcome",
                u64::from(status.pending_requests),
                limits.requests.into(),
            ),
            (
                "bytes of entries in memory",
                status.tail_bytes,
                limits.tail_bytes,
            ),
            ("actions after one event", actions as u64, actions_max),
        ];
        for (what, found, limit) in found {
            if found > limit {
                let text = format!("{found} {what}, at most {limit} are allowed");
                self.report(Some(node), Invariant::I21, text);
            }
        }
    }

    /// A node's state machine executed an operation.
    pub(crate) fn executed(&mut self, node: NodeId, execution: &Execution<S::Reply>) {
        if self.is_stranger(node) {
            return;
        }
        let ghost = self.ghost_mut(node);
        let before = ghost.applied;
        ghost.applied = execution.at;
        let result = if execution.at <= before {
            let text = format!("executes entry {} after entry {before}", execution.at);
            Err((Invariant::I7, text))
        } else {
            self.requests
                .executed(execution.at, execution.op, &execution.reply)
        };
        self.check(node, result);
    }

    pub(crate) fn proposed(&mut self, op: OpId, node: NodeId, at: Time, command: S::Command) {
        if self.is_stranger(node) {
            return;
        }
        self.requests.proposed(op, node, at, command);
    }

    pub(crate) fn queried(
        &mut self,
        op: OpId,
        node: NodeId,
        at: Time,
        (query, consistency): (S::Query, Consistency),
    ) {
        if self.is_stranger(node) {
            return;
        }
        self.requests.queried(op, node, at, query);
        if consistency == Consistency::Lease {
            self.requests.rests_on_a_lease(op);
        }
    }

    /// A client got its answer.
    pub(crate) fn answered(
        &mut self,
        node: NodeId,
        op: OpId,
        result: &Result<Witnessed<S::Reply>, RequestError>,
    ) {
        if self.is_stranger(node) {
            return;
        }
        let result = self.requests.answered(op, result);
        let result = result.and_then(|()| self.requests.advance());
        self.check(node, result);
    }

    /// Requests without an outcome: which, asked of whom, and when.
    pub(crate) fn open_requests(&self) -> impl Iterator<Item = (OpId, NodeId, Time)> {
        self.requests.open()
    }

    /// Whether a node's disk has everything that is committed.
    pub(crate) fn has_all(&self, node: NodeId) -> bool {
        let commit = self.commit_index();
        self.durable(node, commit) == self.committed.get(commit)
    }

    /// Forgets what every node has on its disk.
    fn prune(&mut self) {
        let ghosts = self.ghosts.iter();
        let ghosts = ghosts.filter(|ghost| !ghost.lost && !ghost.stranger);
        let agreed = ghosts.clone().map(|ghost| {
            let index = ghost.durable.last_index().min(self.commit_index());
            if ghost.durable.get(index) == self.committed.get(index) {
                index
            } else {
                self.known_base
            }
        });
        let agreed = agreed.min().unwrap_or_default();
        // A snapshot that somebody has may be installed by somebody else.
        let mark = |ghost: &Ghost| match ghost.mark {
            Some(mark) => Some(mark.index.previous()),
            None => self.fills_newcomers.then_some(Index(0)),
        };
        let oldest = ghosts.filter_map(mark).min();
        let floor = Index(agreed.0.saturating_sub(LINKS_KEPT));
        let floor = oldest.map_or(floor, |oldest| floor.min(oldest));
        if floor <= self.known_base {
            return;
        }
        while self.known_base < floor && self.known.pop_front().is_some() {
            self.known_base = self.known_base.next();
        }
        self.committed.forget_below(floor);
        for ghost in &mut self.ghosts {
            ghost.durable.forget_below(floor);
            ghost.handed.forget_below(floor);
        }
        for chain in self.graves.values_mut() {
            chain.forget_below(floor);
        }
        self.requests.forget_below(floor);
        self.state.forget_below(floor);
    }

    /// How much the judge remembers: for the test that this stays flat.
    pub(crate) fn remembered(&self) -> usize {
        let ghosts = self.ghosts.iter();
        let links: usize = ghosts.map(|g| g.durable.len() + g.handed.len()).sum();
        let links = links + self.known.len() + self.committed.len();
        links + self.requests.len() + self.state.len()
    }
}
