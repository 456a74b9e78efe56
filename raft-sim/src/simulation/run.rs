//! One run: a plan, met by a cluster, then the verdict.
//!
//! Always holds: what a run does is decided by its plan alone.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};

use raft_core::wal::RecoveryError;
use raft_core::{HaltReason, Index, NodeId, Span, Time};

use crate::judge::Invariant;
use crate::schedule::Recorder;
use crate::trace::{Happening, Trace};
use crate::workload::{Draw, Request, Workload};
use crate::world::{Cluster, MemoryDisk, Setup};

use super::agenda::{Act, Agenda};
use super::clients::Clients;
use super::fault::{Fault, FaultKind};
use super::plan::{Plan, Target};
use super::profile::Profile;
use super::report::{Report, Verdict};

/// What is written down of a run besides its report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Keep {
    pub(crate) trace: bool,
    pub(crate) schedule: bool,
}

/// A run and what was written down of it.
pub(crate) struct Course {
    pub(crate) report: Report,
    pub(crate) trace: Option<Trace>,
    pub(crate) recorder: Option<Recorder>,
}

pub(super) struct Run<'a, W: Workload> {
    pub(super) workload: &'a W,
    pub(super) plan: &'a Plan,
    pub(super) cluster: Cluster<W::Machine>,
    pub(super) agenda: Agenda,
    /// Where each fault that has begun happens.
    pub(super) places: BTreeMap<usize, NodeId>,
    /// Images of disks that may come back.
    pub(super) images: BTreeMap<usize, MemoryDisk>,
    /// Stores whose files were harmed while nobody looked.
    pub(super) harmed: BTreeSet<NodeId>,
    /// Stores that take no further part.
    pub(super) lost: BTreeSet<NodeId>,
    hits: BTreeMap<&'static str, u64>,
    checked: u64,
    halts: u64,
    dooms: u64,
    /// How long a process stays down that is going to die between two actions, and what that counts as.
    pub(super) doomed: BTreeMap<NodeId, (Span, &'static str)>,
    pub(super) last_op: u64,
    pub(super) clients: Clients,
}

/// Runs a plan to its end, or to the first broken rule.
pub(crate) fn run<W: Workload>(
    workload: &W,
    setup: Setup<W::Machine>,
    plan: &Plan,
    keep: Keep,
) -> Course {
    let mut cluster = Cluster::stopped(setup, plan.network);
    cluster.keeps_replies = false;
    cluster.listens = plan.clients > 0;
    let ordered = |fault: &Fault| matches!(fault.kind, FaultKind::Order { .. });
    if !plan.faults.iter().any(ordered) {
        cluster.world.judge.expect_no_newcomers();
    }
    if keep.trace {
        cluster.start_trace();
    }
    if keep.schedule {
        cluster.recorder = Some(Recorder::default());
    }
    let mut run = Run {
        workload,
        plan,
        cluster,
        agenda: Agenda::default(),
        places: BTreeMap::new(),
        images: BTreeMap::new(),
        harmed: BTreeSet::new(),
        lost: BTreeSet::new(),
        hits: BTreeMap::new(),
        checked: 0,
        halts: 0,
        dooms: 0,
        doomed: BTreeMap::new(),
        last_op: plan.requests.last().map_or(0, |asked| asked.op),
        clients: Clients::new(plan.seed, plan.clients),
    };
    let result = catch_unwind(AssertUnwindSafe(|| run.all()));
    if let Err(panic) = result {
        let text = crate::panics::text(&*panic);
        run.cluster.world.judge.report(None, Invariant::I20, text);
    }
    run.finish()
}

impl<W: Workload> Run<'_, W> {
    fn all(&mut self) {
        for node in self.cluster.nodes() {
            self.start(node);
        }
        for (place, fault) in self.plan.faults.iter().enumerate() {
            self.agenda.insert(fault.at, Act::Begin(place));
        }
        for (place, asked) in self.plan.requests.iter().enumerate() {
            self.agenda.insert(asked.at, Act::Ask(place));
        }
        self.run_until(Time(self.plan.time.0), |_| false);
        if self.is_over() || self.plan.profile == Profile::Reference {
            return;
        }
        // A protocol whose promises were broken from outside owes nobody progress.
        if self.plan.profile != Profile::Outside {
            self.heal_core();
            self.heal_all();
        }
    }

    /// Whether a rule was broken: nothing after it is worth looking at.
    pub(super) fn is_over(&self) -> bool {
        self.cluster.violation().is_some()
    }

    /// Lets things happen until a moment, or until something holds; true if it does.
    pub(super) fn run_until(
        &mut self,
        end: Time,
        mut holds: impl FnMut(&mut Self) -> bool,
    ) -> bool {
        let end = end.max(self.cluster.now());
        loop {
            if self.is_over() {
                return false;
            }
            if holds(self) {
                return true;
            }
            let act = self.agenda.next;
            let event = self.cluster.next_event();
            let next = act.min(event.unwrap_or(end));
            if next >= end {
                self.cluster.world.now = end;
                return holds(self);
            }
            if act == next {
                if let Some((at, act)) = self.agenda.pop() {
                    self.cluster.world.now = at;
                    self.act(act);
                }
            } else {
                self.cluster.step();
            }
            self.hear();
            self.check_own();
            self.check_halts();
            self.check_dooms();
        }
    }

    /// A process that was to die between two actions has done so, and is started again later.
    fn check_dooms(&mut self) {
        if self.cluster.world.counts.dooms == self.dooms {
            return;
        }
        self.dooms = self.cluster.world.counts.dooms;
        for node in self.cluster.nodes() {
            if self.cluster.is_running(node) {
                continue;
            }
            if let Some((lasts, name)) = self.doomed.remove(&node) {
                self.hit(name);
                let at = self.cluster.now() + lasts;
                self.agenda.insert(at, Act::Restart(node));
            }
        }
    }

    /// A node that halted is looked after, as an operator would.
    fn check_halts(&mut self) {
        if self.cluster.world.counts.halts == self.halts {
            return;
        }
        self.halts = self.cluster.world.counts.halts;
        for node in self.cluster.nodes() {
            let Some(reason) = self.cluster.halted(node) else {
                continue;
            };
            let excused = self.cluster.world.judge.is_lenient();
            let failed = self.plan.profile == Profile::Detected;
            match reason {
                HaltReason::StorageFailed if failed || excused => {
                    let at = self.cluster.now() + Span(1_000_000_000);
                    self.agenda.insert(at, Act::Restart(node));
                }
                HaltReason::LogDamaged { .. } if self.harmed.contains(&node) || excused => {
                    self.lose(node, "its log is damaged");
                }
                HaltReason::SnapshotDamaged { .. } if self.harmed.contains(&node) || excused => {
                    self.lose(node, "its snapshot is damaged");
                }
                HaltReason::CommittedConflict { .. } if excused => {
                    self.lose(node, "its log contradicts what is committed");
                }
                HaltReason::Emptied => self.emptied(node),
                HaltReason::StorageFailed
                | HaltReason::LogDamaged { .. }
                | HaltReason::SnapshotDamaged { .. }
                | HaltReason::CommittedConflict { .. }
                | HaltReason::TermExhausted => {
                    let text = format!("halts, though nothing harmed it: {reason}");
                    let judge = &mut self.cluster.world.judge;
                    judge.report(Some(node), Invariant::D2, text);
                }
            }
        }
    }

    /// The rules of the user's own machine, on whatever executed something.
    fn check_own(&mut self) {
        let executed = self.cluster.world.counts.executed;
        if executed == self.checked {
            return;
        }
        self.checked = executed;
        let node = self.cluster.world.last_executed;
        if !self.cluster.is_running(node) {
            return;
        }
        if let Err(text) = self.workload.check(self.cluster.machine(node)) {
            let judge = &mut self.cluster.world.judge;
            judge.report(Some(node), Invariant::Own, text);
        }
    }

    fn act(&mut self, act: Act) {
        match act {
            Act::Begin(place) => {
                self.check_outcomes();
                let fault = &self.plan.faults[place];
                let end = self.cluster.now() + fault.lasts;
                self.begin(place, fault);
                self.agenda.insert(end, Act::End(place));
            }
            Act::End(place) => {
                self.check_outcomes();
                let node = self.places.get(&place).copied().unwrap_or(NodeId(1));
                self.end(node, &self.plan.faults[place]);
            }
            Act::Ask(place) => {
                let asked = self.plan.requests[place];
                let node = self.node_at(asked.target);
                self.ask(node, asked.op);
            }
            Act::RollBack(place) => self.roll_back(place),
            Act::Restart(node) => self.start(node),
            Act::AskAt(node, op) => self.ask(node, op),
            Act::Again(first) => self.send_again(first),
        }
    }

    pub(super) fn node_at(&self, target: Target) -> NodeId {
        match target {
            Target::Node(node) => node,
            Target::Leader => self.cluster.leader().unwrap_or(NodeId(1)),
        }
    }

    pub(super) fn ask(&mut self, node: NodeId, op: u64) {
        if !self.cluster.is_running(node) {
            return;
        }
        let rested = self.cluster.paused_until(node);
        if rested > self.cluster.now() {
            self.agenda.insert(rested, Act::AskAt(node, op));
            return;
        }
        match request(self.workload, self.plan.seed, op) {
            Request::Command(command) => self.propose(node, op, command),
            Request::Query(query) => self.cluster.query_as(op, node, query),
        }
    }

    pub(super) fn hit(&mut self, name: &'static str) {
        *self.hits.entry(name).or_default() += 1;
    }

    /// Starts a node if it does not run and its store still takes part.
    pub(super) fn start(&mut self, node: NodeId) {
        if self.cluster.is_running(node) || self.lost.contains(&node) {
            return;
        }
        match self.cluster.start(node) {
            // A full disk lets a node start, or not; it is tried again when everything heals.
            Ok(()) | Err(RecoveryError::Disk(_)) => {}
            Err(error) if self.harmed.contains(&node) || self.cluster.world.judge.is_lenient() => {
                self.lose(node, &error.to_string());
            }
            Err(error) => {
                let text = format!("does not start, though nothing harmed its disk: {error}");
                let judge = &mut self.cluster.world.judge;
                judge.report(Some(node), Invariant::D2, text);
            }
        }
    }

    pub(super) fn note(&mut self, text: &str) {
        let text = text.to_string();
        self.cluster
            .world
            .note(|| Happening::Note { node: None, text });
    }

    pub(super) fn report(&mut self, invariant: Invariant, text: &str) {
        let state = format!("{text}; {:?}", self.cluster);
        let state = state.trim_end().replace('\n', ";");
        self.cluster.world.judge.report(None, invariant, state);
    }

    fn finish(self) -> Course {
        let Self {
            plan,
            mut cluster,
            mut hits,
            clients,
            ..
        } = self;
        let odd = cluster.odd;
        let asked = clients.counts;
        let counted = [
            ("full-disk", cluster.world.counts.full),
            ("solo-undone", cluster.world.counts.alone.undone),
            ("solo-untold", cluster.world.counts.alone.untold),
            ("solo-behind", cluster.world.counts.alone.behind),
            ("lost-message", odd.lost),
            ("cut-message", odd.cut),
            ("repeated-message", odd.repeated),
            ("old-message", odd.old),
            ("flipped-message", odd.flipped),
            ("stray-message", odd.stray),
            ("unreachable", odd.told),
            ("repeated-command", asked.repeats),
            ("ended-session", asked.ended),
        ];
        hits.extend(counted.into_iter().filter(|(_, count)| *count > 0));
        let counts = cluster.world.counts;
        let judge = &cluster.world.judge;
        let violation = judge.violation().cloned();
        let commits = judge.commit_index();
        let report = Report {
            seed: plan.seed,
            nodes: plan.nodes,
            profile: plan.profile,
            verdict: match &violation {
                Some(_) => Verdict::Violation,
                None if commits == Index(0) || judge.acknowledged() == 0 => Verdict::Hollow,
                None if hits.is_empty() && plan.profile != Profile::Quiet => Verdict::Hollow,
                None => Verdict::Clean,
            },
            violation,
            excused: judge.excused().cloned(),
            events: cluster.events(),
            time: Span(cluster.now().0),
            committed: commits.0,
            acknowledged: judge.acknowledged(),
            elections: counts.elections,
            starts: counts.starts,
            messages: counts.sent,
            alerts: counts.alerts + cluster.world.counts.halts,
            checks: judge.checks,
            remembered: judge.remembered() as u64,
            hits,
            hash: cluster.trace_hash(),
        };
        Course {
            report,
            trace: cluster.world.trace.take(),
            recorder: cluster.recorder.take(),
        }
    }
}

/// What a request's number stands for.
pub(crate) fn request<W: Workload>(
    workload: &W,
    seed: u64,
    op: u64,
) -> Request<
    <W::Machine as raft_core::replica::StateMachine>::Command,
    <W::Machine as raft_core::replica::StateMachine>::Query,
> {
    workload.request(&mut Draw::new(seed, op))
}
