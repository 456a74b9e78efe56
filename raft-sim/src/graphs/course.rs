//! One course: a healthy cluster with a leader, most of whose links are cut at one moment and stay so.
//!
//! Read first: Howard and Abraham, "Raft does not guarantee liveness in the face of network faults" (2020).
//!
//! Always holds: what happens is decided by the graph, by who leads when the links are cut, and by the round.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use raft_core::{Input, NodeId, Options, RequestId, RoleKind, Span, Term, Time};

use super::digraph::Digraph;
use crate::judge::{Invariant, Violation, mix};
use crate::registers::{RegisterCommand, Registers};
use crate::trace::{Happening, Trace};
use crate::workload::Draw;
use crate::world::{Cluster, Network, Setup, WAL_OPTIONS};

/// How many election timeouts the nodes have, once the links are cut, until something new commits; and
/// as long they are watched after that.
pub const BOUND: u64 = 10;

/// A graph, and how it came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Course {
    /// The links that are left.
    pub graph: Digraph,
    /// Who leads when the others are cut.
    pub leader: NodeId,
    /// Which draw of every timeout and of the moment of the cut, from 0. In the first the cluster was
    /// healthy until then; in all others another graph, drawn as well, was left before.
    pub round: u64,
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The broken rule; [`Invariant::V5`] if what must go on did not.
    pub violation: Option<Violation>,
    /// How long after the cut the first new command was known to be committed.
    pub committed: Option<Span>,
    /// The same for the first of those that followed each other to the end, without a pause longer than an
    /// election timeout.
    pub settled: Option<Span>,
    /// Terms that began after the bound.
    pub late_terms: u64,
    /// Leaders elected after the cut.
    pub elections: u64,
    /// Things that happened.
    pub events: u64,
}

/// The time that everything here is measured in.
#[must_use]
pub fn election_timeout() -> Span {
    Options::default().election_timeout
}

fn bound() -> Span {
    Span(BOUND * election_timeout().0)
}

/// What clients do: a command to every node that says that it leads, as often as leaders are heard of.
struct Run {
    cluster: Cluster<Registers>,
    command: RegisterCommand,
    draw: Draw,
    open: Vec<RequestId>,
    /// When commands were known to be committed that were proposed after the cut.
    commits: Vec<Time>,
    outcome: Outcome,
}

impl fmt::Display for Course {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            graph,
            leader,
            round,
        } = self;
        write!(f, "`{graph}` led by {leader}, round {round}")
    }
}

impl Outcome {
    /// Whether commits went on to the end from some moment within the bound, and terms no longer grew after
    /// it.
    #[must_use]
    pub fn is_steady(&self) -> bool {
        self.settled.is_some_and(|span| span <= bound()) && self.late_terms == 0
    }
}

impl Course {
    /// A graph with each kind of node as the leader whose links are cut, so many times each.
    pub fn all_of(graph: Digraph, rounds: u64) -> impl Iterator<Item = Self> {
        let leaders = graph.kinds_of_nodes().into_iter();
        leaders.flat_map(move |leader| {
            (0..rounds).map(move |round| Self {
                graph,
                leader,
                round,
            })
        })
    }

    /// Runs it.
    #[must_use]
    pub fn run(&self) -> Outcome {
        let mut run = Run::new(self);
        run.all(self);
        run.outcome
    }

    /// Runs it, and tells who did what.
    #[must_use]
    pub fn trace(&self) -> (Outcome, Trace) {
        let mut run = Run::new(self);
        run.cluster.start_trace();
        run.all(self);
        let trace = run.cluster.world.trace.take();
        (run.outcome, trace.unwrap_or_default())
    }
}

impl Run {
    fn new(course: &Course) -> Self {
        let graph = course.graph;
        let seed = [graph.bits().into(), course.leader.0, course.round];
        let seed = seed.into_iter().fold(graph.nodes().into(), mix);
        let setup = Setup {
            nodes: graph.nodes().into(),
            spares: 0,
            priorities: Vec::new(),
            options: Options {
                seed,
                ..Options::default()
            },
            wal_options: WAL_OPTIONS,
            fresh: Arc::new(Registers::default),
            reference: Box::new(Registers::default()),
        };
        Self {
            cluster: Cluster::stopped(setup, Network::default()),
            command: "a+=1".parse().expect("a command"),
            draw: Draw::new(seed, 0),
            open: Vec::new(),
            commits: Vec::new(),
            outcome: Outcome {
                violation: None,
                committed: None,
                settled: None,
                late_terms: 0,
                elections: 0,
                events: 0,
            },
        }
    }

    fn all(&mut self, course: &Course) {
        let result = catch_unwind(AssertUnwindSafe(|| {
            self.begin(course.leader);
            if course.round > 0 {
                self.pass_through_another_graph(course.graph.nodes());
            }
            self.cut(course.graph);
            self.watch(course.graph);
        }));
        if let Err(panic) = result {
            let text = crate::panics::text(&*panic);
            self.report(Invariant::I20, text);
        }
        self.outcome.violation = self.cluster.violation().cloned();
        self.outcome.events = self.cluster.events();
    }

    /// All are linked, and the wanted node leads; the last command may still be on its way.
    fn begin(&mut self, leader: NodeId) {
        for node in self.cluster.nodes() {
            self.cluster.start(node).expect("a new log opens");
        }
        let now = self.cluster.now();
        self.cluster.world.handle(now, leader, Input::Campaign);
        self.cluster.world.drain(leader);
        self.cluster.collect(leader);
        // One interval of heartbeats is enough, and the second ends anywhere.
        let interval = Options::default().heartbeat_interval.0;
        let rest = self.draw.below(interval);
        self.run_to(now + Span(interval + rest));
        assert_eq!(
            self.cluster.leader(),
            Some(leader),
            "who campaigns first wins in a healthy cluster"
        );
        let command = self.command;
        self.cluster.propose(leader, command);
        let way = self.draw.below(2_000_000);
        self.run_to(self.cluster.now() + Span(way));
    }

    /// For a while other links are left, so that terms and logs differ, and somebody else may lead.
    fn pass_through_another_graph(&mut self, nodes: u32) {
        let other = Digraph::draw(nodes, &mut self.draw);
        self.cut(other);
        let end = self.cluster.now() + Span(self.draw.below(bound().0));
        self.serve_until(end);
        // What was proposed until now proves nothing about the graph to come.
        self.open.clear();
        self.commits.clear();
        self.cluster.heal();
    }

    fn cut(&mut self, graph: Digraph) {
        let links: Vec<_> = graph.cut_links().collect();
        for (from, to) in &links {
            self.cluster.cut(*from, *to);
        }
        let text = format!("these links are left: {graph}");
        self.cluster.world.note(|| Happening::Cut { links, text });
    }

    fn watch(&mut self, graph: Digraph) {
        let cut_at = self.cluster.now();
        let elections = self.cluster.world.counts.elections;
        self.serve_until(cut_at + bound());
        let term = self.last_term();
        let end = cut_at + bound() + bound();
        self.serve_until(end);
        self.outcome.committed = self.commits.first().map(|at| *at - cut_at);
        self.outcome.settled = self.settled(end).map(|at| at - cut_at);
        self.outcome.elections = self.cluster.world.counts.elections - elections;
        self.outcome.late_terms = self.last_term().0 - term.0;
        if self.outcome.is_steady() {
            return;
        }
        let able = graph.centers();
        let able = able.iter().find(|center| self.can_win(graph, **center));
        if graph.has_mutual_majority() {
            let text = self.complaint("a majority is linked each to each");
            self.report(Invariant::V5, text);
        } else if let Some(node) = able {
            let text =
                format!("node {node} has the longest log of a majority that it is linked with");
            let text = self.complaint(&text);
            self.report(Invariant::V5, text);
        }
    }

    /// Whether a majority, linked with this node in both directions, has no log that is ahead of its own: then
    /// it can win a vote (§5.4.1).
    fn can_win(&self, graph: Digraph, center: NodeId) -> bool {
        let last = |node: NodeId| self.cluster.world.status(node).map(|status| status.last);
        let willing = graph
            .linked_with(center)
            .filter(|node| last(*node) <= last(center));
        willing.count() + 1 >= graph.majority() as usize
    }

    /// The first commit from which on no pause was long.
    fn settled(&self, end: Time) -> Option<Time> {
        let mut settled = end;
        for commit in self.commits.iter().rev() {
            if settled - *commit > election_timeout() {
                break;
            }
            settled = *commit;
        }
        (settled < end).then_some(settled)
    }

    /// What went wrong, though that is the case.
    fn complaint(&self, although: &str) -> String {
        let Outcome {
            committed,
            settled,
            late_terms,
            ..
        } = &self.outcome;
        let after = |span: &Option<Span>| span.map_or("never".to_string(), timeouts);
        let text = format!(
            "{although}, and within {BOUND} election timeouts commands must commit steadily and terms stay; \
             first commit after: {}; steadily after: {}; terms begun later: {late_terms}; {:?}",
            after(committed),
            after(settled),
            self.cluster
        );
        text.trim_end().replace('\n', ";")
    }

    fn report(&mut self, invariant: Invariant, text: String) {
        self.cluster.world.judge.report(None, invariant, text);
    }

    /// The highest term that any node is in.
    fn last_term(&self) -> Term {
        let world = &self.cluster.world;
        let terms = world
            .nodes()
            .filter_map(|node| Some(world.status(node)?.term));
        terms.max().unwrap_or_default()
    }

    /// Clients propose, and wait for their answers.
    fn serve_until(&mut self, end: Time) {
        let interval = Options::default().heartbeat_interval;
        while self.cluster.now() < end && self.cluster.violation().is_none() {
            self.propose();
            let next = self.cluster.now() + interval;
            self.run_to(next.min(end));
        }
    }

    fn propose(&mut self) {
        let world = &self.cluster.world;
        let leads = |node: &NodeId| {
            world
                .status(*node)
                .is_some_and(|s| s.role == RoleKind::Leader)
        };
        let leaders: Vec<NodeId> = world.nodes().filter(leads).collect();
        for leader in leaders {
            let request = self.cluster.propose(leader, self.command);
            self.open.push(request);
        }
    }

    fn run_to(&mut self, end: Time) {
        let mut acknowledged = self.cluster.world.judge.acknowledged();
        while self.cluster.next_event().is_some_and(|at| at <= end)
            && self.cluster.violation().is_none()
        {
            self.cluster.step();
            let now_acknowledged = self.cluster.world.judge.acknowledged();
            if now_acknowledged > acknowledged {
                acknowledged = now_acknowledged;
                self.collect_answers();
            }
        }
        self.cluster.world.now = end;
    }

    fn collect_answers(&mut self) {
        let (cluster, commits) = (&self.cluster, &mut self.commits);
        self.open.retain(|request| match cluster.reply(*request) {
            Some(result) => {
                commits.extend(result.is_ok().then(|| cluster.now()));
                false
            }
            None => true,
        });
    }
}

/// A time in election timeouts, to two decimals.
#[must_use]
pub fn timeouts(span: Span) -> String {
    let hundredths = span.0 * 100 / election_timeout().0;
    format!("{}.{:02}", hundredths / 100, hundredths % 100)
}
