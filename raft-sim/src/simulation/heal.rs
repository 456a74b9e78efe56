//! After the faults: what must happen in a cluster that healed, and by when (V1 to V7).
//!
//! Always holds: bounds are in election timeouts and in the length of the longest log, never in real time.

use raft_core::{Member, NodeId, Span, Term, Time};

use super::agenda::Act;
use super::fault::FaultKind;
use super::run::{Run, request};
use crate::judge::Invariant;
use crate::machine::place;
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
        self.check_outcomes();
        let core = self.majority();
        self.note("a majority heals, and everything else stays as it is");
        self.heal(&core);
        let mut cut = self.plan.cut.clone();
        cut.retain(|(from, to)| !(core.contains(from) && core.contains(to)));
        self.cut(&cut);
        let end = self.cluster.now() + Span(ELECTION_TIMEOUTS * self.longest_timeout().0);
        let elected = self.run_until(end, |run| {
            let leader = run.cluster.world.leader();
            leader.is_some_and(|(node, term)| run.is_followed(node, term))
        });
        // What was ordered before may yet be begun, and may need others.
        let owed = |run: &Self| !run.is_over() && run.needs_nobody_but(&core);
        if !elected && owed(self) {
            self.report(
                Invariant::V1,
                "a majority healed, and no majority follows a leader",
            );
        }
        let end = self.cluster.now() + self.patience();
        let committed = self.run_until(end, Self::leader_has_committed_all);
        if !committed && owed(self) {
            self.report(
                Invariant::V2,
                "a majority healed, and what its leader has is not committed",
            );
        }
        if !self.commits_something(&core) && owed(self) {
            self.report(
                Invariant::V2,
                "nothing that is proposed to the majority that healed commits",
            );
        }
    }

    pub(super) fn is_stranger(&self, node: NodeId) -> bool {
        self.cluster.world.judge.is_stranger(node)
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

    /// Whether a majority of the voters, by the leader's own configuration, is in its term and knows it.
    fn is_followed(&self, leader: NodeId, term: Term) -> bool {
        let world = &self.cluster.world;
        let voters = self.voters_of(leader);
        let follow = voters.iter().filter(|voter| {
            let status = world.status(voter.node);
            status.is_some_and(|s| s.term == term && s.leader.is_some())
        });
        2 * follow.count() > voters.len()
    }

    /// The voters by a node's configuration.
    pub(super) fn voters_of(&self, leader: NodeId) -> Vec<Member> {
        let status = self.cluster.world.status(leader);
        let voters = status.map(|status| status.configuration.voters.iter());
        voters.into_iter().flatten().copied().collect()
    }

    /// Those of them whose stores are neither lost nor emptied.
    pub(super) fn left_of(&self, voters: &[Member]) -> Vec<NodeId> {
        let left = voters.iter().filter(|voter| self.takes_part(**voter));
        left.map(|voter| voter.node).collect()
    }

    /// Whether a member is one still: its store is not lost, and no other one took its place.
    pub(super) fn takes_part(&self, member: Member) -> bool {
        let server = self.cluster.world.server(member.node);
        server.member == member
            && !self.lost.contains(&member.node)
            && !self.is_stranger(member.node)
    }

    /// Whether something that is proposed to these nodes commits; tried again while it is refused.
    fn commits_something(&mut self, nodes: &[NodeId]) -> bool {
        let end = self.cluster.now() + self.patience();
        let written = self.cluster.world.judge.written_by_clients();
        let mut next = self.cluster.now();
        let pause = Span(self.longest_timeout().0 / 4);
        let mut turn = 0;
        self.run_until(end, |run| {
            if run.cluster.now() >= next {
                next = run.cluster.now() + pause;
                let node = nodes[turn % nodes.len()];
                turn += 1;
                let op = run.next_command();
                run.ask(node, op);
            }
            run.cluster.world.judge.written_by_clients() > written
        })
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
    pub(super) fn patience(&self) -> Span {
        let world = &self.cluster.world;
        let last = world
            .nodes()
            .filter_map(|node| Some(world.status(node)?.last.index.0));
        let entries = last.max().unwrap_or(0);
        // With the narrowest windows one entry takes a way there and back, and two syncs.
        let network = &self.plan.network;
        let each = 2 * (network.delay_max + network.sync_max + network.batch_max + 1_000_000);
        Span(ELECTION_TIMEOUTS * self.longest_timeout().0 + entries * each)
    }

    pub(super) fn longest_timeout(&self) -> Span {
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
            Act::Ask(_) | Act::AskAt(..) | Act::Again(_) | Act::Restart(_) => true,
        });
        for node in nodes {
            self.start(*node);
        }
        // Who takes part is certain once nobody is about to leave.
        let end = self.cluster.now() + self.patience();
        self.run_until(end, |run| {
            !nodes.iter().any(|node| run.cluster.world.is_leaving(*node))
        });
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
        let known = whole.into_iter().filter(|node| !self.is_stranger(*node));
        let whole: Vec<NodeId> = known.collect();
        let end = self.cluster.now() + self.patience();
        let converged = self.run_until(end, Self::has_converged);
        if !converged && !self.is_over() {
            self.report(
                Invariant::V7,
                "the logs of a healed cluster do not converge",
            );
        }
        if !self.commits_something(&whole) && !self.is_over() {
            let text = "nothing that is proposed to a healed cluster commits";
            self.report(Invariant::V2, text);
        }
        self.answer_everything();
        self.change_something();
        self.keep_still(&whole, &[]);
        // One that was away and comes back takes nobody's term (dissertation §9.6).
        let leader = self.cluster.leader();
        let voters = leader
            .map(|leader| self.voters_of(leader))
            .unwrap_or_default();
        let left = self.left_of(&voters);
        let follower = left.iter().find(|node| Some(**node) != leader);
        if let Some(follower) = follower.copied()
            && left.len() > 1 + voters.len() / 2
        {
            self.keep_still(&whole, &[follower]);
        }
    }

    /// Whether every store that takes part has the same log, all of it committed and executed.
    pub(super) fn has_converged(&mut self) -> bool {
        let Some((leader, term)) = self.cluster.world.leader() else {
            return false;
        };
        let world = &self.cluster.world;
        let Some(status) = world.status(leader) else {
            return false;
        };
        let (last, configuration) = (status.last, status.configuration);
        // Whoever takes no part has whatever it had when it ended.
        let members = configuration.members();
        !configuration.is_joint()
            && members
                .iter()
                .filter(|member| self.takes_part(**member))
                .map(|member| member.node)
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
        let answered = self.run_until(end, |run| {
            run.cluster.world.judge.open_requests().next().is_none()
        });
        let rounds = u64::from(self.plan.options.catch_up_rounds);
        let patience = rounds * self.plan.options.catch_up_timeout.0;
        let ended = self.run_until(end + Span(patience), |run| {
            run.cluster.world.orders.is_empty()
        });
        if !ended && let Some((node, order)) = self.cluster.world.orders.values().next().copied() {
            let text = format!("an order has no outcome that node {node} was given: {order}");
            self.report(Invariant::V3, &text);
        }
        if !answered {
            self.report_open(|_, _| true);
        }
    }

    /// Whatever is wrong with disks and links, a node that runs does not leave a request without an outcome (V3).
    pub(super) fn check_outcomes(&mut self) {
        // A proposal is forwarded, decided and executed: none of that may take longer than the request timeout
        // by the node's clock, which may be slow.
        let patience = Span(4 * self.cluster.world.request_timeout().0);
        let now = self.cluster.now();
        self.report_open(|run, (node, asked)| {
            let awake = asked.max(run.cluster.paused_until(node));
            run.cluster.is_running(node) && !run.is_stranger(node) && awake + patience < now
        });
    }

    fn report_open(&mut self, is_due: impl Fn(&Self, (NodeId, Time)) -> bool) {
        let open = self.cluster.world.judge.open_requests();
        let due = open.filter(|(_, node, asked)| is_due(self, (*node, *asked)));
        if let Some((op, node, asked)) = due.min_by_key(|(_, _, asked)| *asked) {
            let text = format!(
                "request {op}, asked of node {node} at {} ns, has no outcome",
                asked.0
            );
            self.report(Invariant::V3, &text);
        }
    }

    /// Who wants to lead most, of those that can, does in the end.
    fn let_the_willing_lead(&mut self) {
        if self.plan.priorities.is_empty() || self.is_over() {
            return;
        }
        let end = self.cluster.now() + self.patience();
        if !self.run_until(end, Self::is_led_by_the_most_willing) && !self.is_over() {
            let text = "a healed cluster is not led by a node that wants to most";
            self.report(Invariant::V1, text);
        }
    }

    fn is_led_by_the_most_willing(&mut self) -> bool {
        let Some(leader) = self.cluster.leader() else {
            return false;
        };
        let priority = |node: &NodeId| self.plan.priorities[place(*node)];
        let able = self.left_of(&self.voters_of(leader));
        able.iter().map(priority).max() == Some(priority(&leader))
    }

    /// A healthy cluster keeps its leader and its term, also when somebody is away for a while.
    fn keep_still(&mut self, nodes: &[NodeId], away: &[NodeId]) {
        let timeout = self.longest_timeout();
        self.run_until(self.cluster.now() + timeout, Self::has_converged);
        self.let_the_willing_lead();
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
