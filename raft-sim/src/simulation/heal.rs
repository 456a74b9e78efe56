//! After the faults: what must happen in a cluster that healed, and by when (V1 to V7).
//!
//! Always holds: bounds are in election timeouts and in the length of the longest log, never in real time.

use raft_core::{NodeId, Span, Term};

use super::agenda::Act;
use super::fault::FaultKind;
use super::run::{Run, request};
use crate::judge::Invariant;
use crate::trace::Happening;
use crate::workload::{Request, Workload};
use crate::world::TRUE_RATE;

/// How many election timeouts a healed cluster has to elect a leader and commit.
const ELECTION_TIMEOUTS: u64 = 30;

/// How a node is away.
const AWAY: FaultKind = FaultKind::Isolate {
    inbound: true,
    outbound: true,
};

impl<W: Workload> Run<'_, W> {
    /// A majority heals; all other faults stay as they are. It must elect, and commit.
    pub(super) fn heal_core(&mut self) {
        let core: Vec<NodeId> = self.plan.core.clone();
        self.note("a majority heals, and everything else stays as it is");
        self.heal(&core);
        self.cut(&self.plan.cut);
        let end = self.cluster.now() + Span(ELECTION_TIMEOUTS * self.longest_timeout().0);
        let elected = self.run_until(end, |run| {
            let leader = run.cluster.world.leader();
            leader.is_some_and(|(_, term)| run.followers(term) > run.plan.nodes / 2)
        });
        if !elected && !self.is_over() {
            self.report(
                Invariant::V1,
                "a majority healed, and no majority follows a leader",
            );
        }
        let end = self.cluster.now() + self.patience();
        let committed = self.run_until(end, Self::leader_has_committed_all);
        if !committed && !self.is_over() {
            self.report(
                Invariant::V2,
                "a majority healed, and what its leader has is not committed",
            );
        }
        self.commit_something(&core);
    }

    fn cut(&mut self, links: &[(NodeId, NodeId)]) {
        for (from, to) in links {
            self.cluster.cut(*from, *to);
        }
        if !links.is_empty() {
            let links = links.to_vec();
            let text = "these links stay cut".to_string();
            self.cluster.world.note(|| Happening::Cut { links, text });
        }
    }

    /// Without anything new being proposed: a leader's first entry is enough (S44).
    fn leader_has_committed_all(&mut self) -> bool {
        let world = &self.cluster.world;
        let leader = world.leader().and_then(|(node, _)| world.status(node));
        leader.is_some_and(|status| status.commit_index == status.last.index)
    }

    /// How many nodes are in a term and know its leader.
    fn followers(&self, term: Term) -> u64 {
        let world = &self.cluster.world;
        let statuses = world.nodes().filter_map(|node| world.status(node));
        statuses
            .filter(|s| s.term == term && s.leader.is_some())
            .count() as u64
    }

    /// Whatever is proposed to a healed majority commits; tried again while it is refused.
    fn commit_something(&mut self, nodes: &[NodeId]) {
        let end = self.cluster.now() + self.patience();
        let written = self.cluster.world.judge.written_by_clients();
        let mut next = self.cluster.now();
        let pause = Span(self.longest_timeout().0 / 4);
        let mut turn = 0;
        let committed = self.run_until(end, |run| {
            if run.cluster.now() >= next {
                next = run.cluster.now() + pause;
                let node = nodes[turn % nodes.len()];
                turn += 1;
                let op = run.next_command();
                run.ask(node, op);
            }
            run.cluster.world.judge.written_by_clients() > written
        });
        if !committed && !self.is_over() {
            self.report(
                Invariant::V2,
                "nothing that is proposed to the majority that healed commits",
            );
        }
    }

    /// The number of a request that changes something.
    fn next_command(&mut self) -> u64 {
        for _ in 0..1_000 {
            self.last_op += 1;
            let request = request(self.workload, self.plan.seed, self.last_op);
            if matches!(request, Request::Command(_)) {
                break;
            }
        }
        self.last_op
    }

    /// How long a healed cluster has: some elections, and what the longest log takes to copy.
    fn patience(&self) -> Span {
        let world = &self.cluster.world;
        let last = world
            .nodes()
            .filter_map(|node| Some(world.status(node)?.last.index.0));
        let entries = last.max().unwrap_or(0);
        // With the narrowest windows one entry takes a way there and back, and two syncs.
        let network = &self.plan.network;
        let each = 2 * (network.sync_max + network.batch_max + 1_000_000);
        Span(ELECTION_TIMEOUTS * self.longest_timeout().0 + entries * each)
    }

    fn longest_timeout(&self) -> Span {
        Span(2 * self.plan.options.election_timeout.0)
    }

    fn heal(&mut self, nodes: &[NodeId]) {
        // What waits for a pause to end waits that long.
        let paused = nodes.iter().map(|node| self.cluster.paused_until(*node));
        let rested = paused.max().unwrap_or_default();
        self.run_until(rested, |_| false);
        for node in nodes {
            self.cluster.clear_failing_sync(*node);
            self.cluster.set_clock_rate(*node, TRUE_RATE);
            self.cluster.set_slow_disk(*node, 1);
            self.cluster.set_room(*node, None);
            self.cluster.undoom(*node);
            for other in nodes {
                if other != node {
                    self.cluster.links.heal(*node, *other);
                }
            }
        }
        // What was about to begin or end at them does not any more.
        self.agenda.retain(|(_, act)| match act {
            Act::Begin(place) | Act::End(place) | Act::RollBack(place) => {
                let place = self.places.get(place).copied();
                place.is_some_and(|node| !nodes.contains(&node))
            }
            Act::Ask(_) | Act::AskAt(..) | Act::Restart(_) => true,
        });
        for node in nodes {
            self.start(*node);
        }
    }

    /// Everything heals: logs converge, every request has its outcome, and terms stay as they are.
    pub(super) fn heal_all(&mut self) {
        if self.is_over() {
            return;
        }
        self.note("everything heals");
        let whole: Vec<NodeId> = self.cluster.nodes();
        let whole: Vec<NodeId> = whole
            .into_iter()
            .filter(|n| !self.lost.contains(n))
            .collect();
        self.agenda.clear();
        self.cluster.links.mend_all();
        self.heal(&whole);
        let end = self.cluster.now() + self.patience();
        let converged = self.run_until(end, Self::has_converged);
        if !converged && !self.is_over() {
            self.report(
                Invariant::V7,
                "the logs of a healed cluster do not converge",
            );
        }
        self.commit_something(&whole);
        self.answer_everything();
        self.keep_still(&whole, &[]);
        // One that was away and comes back takes nobody's term (dissertation §9.6).
        let leader = self.cluster.leader();
        let left = whole.iter().filter(|node| !self.lost.contains(node));
        let follower = left.clone().find(|node| Some(**node) != leader);
        if let Some(follower) = follower.copied()
            && left.count() as u64 > 1 + self.plan.nodes / 2
        {
            self.keep_still(&whole, &[follower]);
        }
    }

    /// Whether every store that takes part has the same log, all of it committed and executed.
    fn has_converged(&mut self) -> bool {
        let Some((leader, term)) = self.cluster.world.leader() else {
            return false;
        };
        let Some(last) = self.cluster.world.status(leader).map(|status| status.last) else {
            return false;
        };
        let world = &self.cluster.world;
        world
            .nodes()
            .filter(|node| !self.lost.contains(node))
            .all(|node| {
                world.status(node).is_some_and(|status| {
                    status.last == last
                        && status.term == term
                        && status.commit_index == last.index
                        && status.last_applied == last.index
                        && world.judge.has_all(node)
                })
            })
    }

    fn answer_everything(&mut self) {
        let patience = self.cluster.world.request_timeout();
        let end = self.cluster.now() + patience + self.longest_timeout();
        let answered = self.run_until(end, |run| run.cluster.world.judge.oldest_open().is_none());
        if !answered && let Some((op, node, asked)) = self.cluster.world.judge.oldest_open() {
            let text = format!(
                "request {op}, asked of node {node} at {} ns, has no outcome",
                asked.0
            );
            self.report(Invariant::V3, &text);
        }
    }

    /// A healthy cluster keeps its leader and its term, also when somebody is away for a while.
    fn keep_still(&mut self, nodes: &[NodeId], away: &[NodeId]) {
        let timeout = self.longest_timeout();
        self.run_until(self.cluster.now() + timeout, Self::has_converged);
        let settled = self.cluster.now() + Span(4 * timeout.0);
        self.run_until(settled, |_| false);
        let Some((_, term)) = self.cluster.world.leader() else {
            return;
        };
        for node in away {
            self.cut(&self.links_of(*node, &AWAY));
        }
        self.run_until(settled + Span(8 * timeout.0), |_| false);
        for node in away {
            for (from, to) in self.links_of(*node, &AWAY) {
                self.cluster.links.mend(from, to);
            }
        }
        self.run_until(settled + Span(16 * timeout.0), |_| false);
        let later = nodes
            .iter()
            .filter_map(|node| self.cluster.world.status(*node));
        let later = later.map(|status| status.term).max().unwrap_or(term);
        if later > term && !self.is_over() {
            let text = format!("term {later} follows term {term} in a cluster where nothing fails");
            self.report(Invariant::V4, &text);
        }
    }
}
