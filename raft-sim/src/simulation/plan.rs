//! What a seed stands for: everything that will be done to a cluster, drawn before it begins.

use std::fmt;

use raft_core::wal::WalOptions;
use raft_core::{NodeId, Options, Span, Time};

use crate::workload::Draw;
use crate::world::{Network, WAL_OPTIONS};

use super::fault::{CLOCK_DRIFT_PER_MILLE, Fault, FaultKind, kinds};
use super::profile::Profile;

/// Where something happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// At the leader, if there is one.
    Leader,
    /// At this node.
    Node(NodeId),
}

/// A request of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    /// When.
    pub at: Time,
    /// Where.
    pub target: Target,
    /// Its number, from which the workload draws what it is.
    pub op: u64,
}

/// Everything that a run will meet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The seed it was drawn from.
    pub seed: u64,
    /// How many voters there are at first.
    pub nodes: u64,
    /// How many more servers there are, which take part when they are ordered to.
    pub spares: u64,
    /// Which faults were to choose from.
    pub profile: Profile,
    /// The nodes' tunables.
    pub options: Options,
    /// How much each server wants to lead, in their order; as the tunables say where there is none.
    pub priorities: Vec<u32>,
    /// The logs' tunables.
    pub wal_options: WalOptions,
    /// What happens to messages.
    pub network: Network,
    /// For how long things go wrong; then everything heals.
    pub time: Span,
    /// What goes wrong, in order.
    pub faults: Vec<Fault>,
    /// How many clients hold sessions, and send a command again if they hear nothing.
    pub clients: u64,
    /// What clients ask, in order.
    pub requests: Vec<Asked>,
    /// The nodes that heal first; with others, if membership has changed so that these are no majority.
    pub core: Vec<NodeId>,
    /// Links that are cut while only the core is healed, in these directions.
    pub cut: Vec<(NodeId, NodeId)>,
}

/// What runs have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scope {
    /// How many voters; drawn from 1 to 7 if `None`.
    pub nodes: Option<u64>,
    /// For how long things go wrong.
    pub time: Span,
    /// Which faults.
    pub profile: Profile,
}

/// Which of a seed's streams decide about leases, snapshots, sessions, who leads, who is replaced, who goes on
/// alone, who is told of lost messages, who dies while it leaves and who leaves while it is down: counted down from the last, because requests have streams of their own from 1 on.
const LEASES: u64 = u64::MAX;
const SNAPSHOTS: u64 = u64::MAX - 1;
const SESSIONS: u64 = u64::MAX - 2;
pub(super) const LEADING: u64 = u64::MAX - 3;
pub(super) const REPLACING: u64 = u64::MAX - 4;
pub(super) const SOLO: u64 = u64::MAX - 5;
const TOLD: u64 = u64::MAX - 6;
pub(super) const LEAVING: u64 = u64::MAX - 7;
pub(super) const STOPPED: u64 = u64::MAX - 8;

pub(super) const MILLI: u64 = 1_000_000;
pub(super) const SECOND: u64 = 1_000 * MILLI;

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Leader => f.write_str("that leads"),
            Self::Node(node) => node.fmt(f),
        }
    }
}

impl Plan {
    /// How many servers there are, members or not.
    #[must_use]
    pub const fn servers(&self) -> u64 {
        self.nodes + self.spares
    }

    /// Draws what a seed stands for.
    #[must_use]
    pub fn draw(seed: u64, scope: &Scope) -> Self {
        let mut draw = Draw::new(seed, 0);
        let nodes = match draw.below(16) {
            0 => 1,
            1 => 2,
            2..=8 => 3,
            9 => 4,
            10..=13 => 5,
            14 => 6,
            _ => 7,
        };
        let nodes = scope.nodes.unwrap_or(nodes);
        let mut plan = Self {
            seed,
            nodes,
            spares: 0,
            profile: scope.profile,
            options: Options {
                seed,
                ..Options::default()
            },
            priorities: Vec::new(),
            wal_options: WAL_OPTIONS,
            network: Network::default(),
            time: scope.time,
            faults: Vec::new(),
            clients: 0,
            requests: Vec::new(),
            core: Vec::new(),
            cut: Vec::new(),
        };
        match scope.profile {
            Profile::Quiet => {}
            Profile::Reference => plan.network = reference_network(),
            Profile::Tolerated | Profile::Detected | Profile::Outside => {
                plan.options = draw_options(&mut draw, seed);
                draw_leases(&mut plan.options);
                draw_snapshots(&mut plan.options);
                plan.clients = draw_sessions(&mut plan.options);
                plan.network = draw_network(&mut draw);
                draw_told(&mut plan.network, seed);
                let segments = [4 << 10, 8 << 10, 16 << 10, 64 << 10];
                plan.wal_options.segment_bytes = draw.pick(&segments);
            }
        }
        plan.draw_core(&mut draw);
        plan.draw_faults(&mut draw);
        plan.draw_cut(&mut draw);
        plan.draw_requests(&mut draw);
        plan.draw_orders(&mut draw);
        plan.draw_leading();
        plan.draw_solo();
        if plan.faults.iter().any(|f| f.kind == FaultKind::Clone) {
            plan.spares = plan.spares.max(1);
        }
        plan
    }

    /// Leaves only these of its faults and requests, by their places.
    pub fn keep(&mut self, faults: &[usize], requests: &[usize]) {
        let mut place = 0..;
        self.faults
            .retain(|_| place.next().is_some_and(|place| faults.contains(&place)));
        let mut place = 0..;
        self.requests
            .retain(|_| place.next().is_some_and(|place| requests.contains(&place)));
    }

    /// Any majority: what must go on when it is healed, whatever becomes of the rest.
    fn draw_core(&mut self, draw: &mut Draw) {
        let mut left: Vec<NodeId> = (1..=self.nodes).map(NodeId).collect();
        let majority = self.nodes / 2 + 1;
        let size = draw.between(majority, self.nodes);
        while (left.len() as u64) > size {
            let place = draw.below(left.len() as u64);
            left.remove(usize::try_from(place).unwrap_or(0));
        }
        self.core = left;
    }

    /// Any links that are not within the core.
    fn draw_cut(&mut self, draw: &mut Draw) {
        let share = draw.pick(&[0, 30, 70]);
        for from in (1..=self.nodes).map(NodeId) {
            for to in (1..=self.nodes).map(NodeId) {
                let within = self.core.contains(&from) && self.core.contains(&to);
                if from != to && !within && draw.percent(share) {
                    self.cut.push((from, to));
                }
            }
        }
    }

    fn draw_faults(&mut self, draw: &mut Draw) {
        let mut kinds = kinds(self.profile);
        if self.profile != Profile::Reference {
            // Swarm testing: what a run never meets lets it go deeper into what it does.
            kinds.retain(|_| draw.percent(45));
        }
        if kinds.is_empty() {
            return;
        }
        let gap = match self.profile {
            Profile::Reference => 10 * SECOND,
            Profile::Quiet | Profile::Tolerated | Profile::Detected | Profile::Outside => {
                draw.pick(&[300 * MILLI, SECOND, 3 * SECOND, 10 * SECOND])
            }
        };
        let longest = draw.pick(&[200 * MILLI, 2 * SECOND, 10 * SECOND]);
        // Only a minority may lose its store for good.
        let mut enders = (self.nodes - 1) / 2;
        let mut ended = Vec::new();
        let at_leader = draw.pick(&[0, 30, 80]);
        let mut at = draw.below(2 * gap);
        while at < self.time.0 {
            let node = NodeId(draw.between(1, self.nodes));
            let mut target = Target::Node(node);
            let kind = draw.pick(&kinds)(draw, self.nodes);
            if draw.percent(at_leader) && !kind.ends_a_store() {
                target = Target::Leader;
            }
            let lasts = Span(draw.between(MILLI, longest));
            let at_now = Time(at);
            at += draw.below(2 * gap) + 1;
            // Leases rest on clocks that run apart no faster than their bound.
            let leases = self.options.lease_promise > Span(0);
            if leases && matches!(kind, FaultKind::ClockJump { .. }) {
                continue;
            }
            if kind.ends_a_store() {
                if enders == 0 || ended.contains(&node) {
                    continue;
                }
                enders -= 1;
                ended.push(node);
            }
            self.faults.push(Fault {
                at: at_now,
                target,
                kind,
                lasts,
            });
        }
        // The core is what can go on: stores that ended are no part of it.
        if !ended.is_empty() {
            let whole = (1..=self.nodes).map(NodeId);
            self.core = whole.filter(|node| !ended.contains(node)).collect();
        }
    }

    fn draw_requests(&mut self, draw: &mut Draw) {
        let mean = match self.profile {
            Profile::Reference => 50 * MILLI,
            Profile::Quiet | Profile::Tolerated | Profile::Detected | Profile::Outside => {
                draw.pick(&[5 * MILLI, 20 * MILLI, 50 * MILLI, 200 * MILLI, SECOND])
            }
        };
        let at_leader = draw.pick(&[0, 50, 90]);
        let burst = if draw.percent(20) { 20 } else { 1 };
        let mut at = draw.below(2 * mean);
        let mut op = 0;
        while at < self.time.0 {
            for _ in 0..draw.between(1, burst) {
                op += 1;
                let node = NodeId(draw.between(1, self.nodes));
                let target = if draw.percent(at_leader) {
                    Target::Leader
                } else {
                    Target::Node(node)
                };
                let at = Time(at);
                self.requests.push(Asked { at, target, op });
            }
            at += draw.below(2 * mean * burst) + 1;
        }
    }
}

fn reference_network() -> Network {
    Network {
        delay_min: 200_000,
        delay_max: 2 * MILLI,
        lost_per_mille: 1,
        repeated_per_mille: 1,
        sync_max: 500_000,
        ..Network::default()
    }
}

fn draw_network(draw: &mut Draw) -> Network {
    let mut network = Network {
        delay_min: draw.pick(&[10_000, 200_000, 2 * MILLI]),
        sync_max: draw.pick(&[50_000, 500_000, 5 * MILLI, 20 * MILLI]),
        ..Network::default()
    };
    let spread = draw.pick(&[0, 500_000, 5 * MILLI, 60 * MILLI, 400 * MILLI]);
    network.delay_max = network.delay_min + spread;
    let mut maybe = |values: &[u64]| {
        if draw.percent(40) {
            draw.pick(values)
        } else {
            0
        }
    };
    network.lost_per_mille = maybe(&[1, 20, 100, 250]);
    network.repeated_per_mille = maybe(&[1, 20, 200]);
    network.old_per_mille = maybe(&[1, 10, 50]);
    network.flipped_per_mille = maybe(&[1, 10]);
    network.stray_per_mille = maybe(&[1, 10]);
    network.nanos_per_byte = maybe(&[10, 1_000, 10_000]);
    network.batch_max = maybe(&[50_000, MILLI, 5 * MILLI]);
    network
}

/// Half of all transports have connections, and tell when one ends.
fn draw_told(network: &mut Network, seed: u64) {
    let mut draw = Draw::new(seed, TOLD);
    if draw.percent(50) {
        network.told_per_mille = draw.pick(&[10, 200, 1_000]);
    }
}

/// Whether some reads rest on leases: drawn apart, so that everything else in a seed's plan stays as it is
/// without them.
fn draw_leases(options: &mut Options) {
    let mut draw = Draw::new(options.seed, LEASES);
    if draw.percent(30) {
        let election = options.election_timeout.0;
        options.lease_promise = Span(election / draw.pick(&[1, 2, 4]));
        options.clock_drift_per_mille = CLOCK_DRIFT_PER_MILLE;
    }
}

fn draw_options(draw: &mut Draw, seed: u64) -> Options {
    let mut options = Options {
        seed,
        ..Options::default()
    };
    let election = draw.pick(&[150 * MILLI, 250 * MILLI, SECOND]);
    options.election_timeout = Span(election);
    options.heartbeat_interval = Span(election / draw.between(3, 8));
    options.request_timeout = Span(election * draw.between(2, 20));
    let mut maybe = |value: &mut u64, values: &[u64]| {
        if draw.percent(25) {
            *value = draw.pick(values);
        }
    };
    maybe(&mut options.append_bytes_max, &[1, 200, 4_096]);
    maybe(&mut options.inflight_bytes_max, &[1, 1_000]);
    maybe(&mut options.uncommitted_bytes_max, &[1, 2_000]);
    maybe(&mut options.undurable_bytes_max, &[1, 2_000]);
    maybe(&mut options.tail_bytes_max, &[0, 500, 5_000]);
    maybe(&mut options.apply_bytes_max, &[1, 300]);
    let mut narrow = |value: &mut u32, values: &[u32]| {
        if draw.percent(25) {
            *value = draw.pick(values);
        }
    };
    narrow(&mut options.inflight_appends_max, &[1, 2, 8]);
    narrow(&mut options.inflight_persists_max, &[1, 2]);
    narrow(&mut options.requests_max, &[1, 8, 100]);
    options
}

/// How many clients hold sessions; they end when there are too many, or when a client is silent for long.
fn draw_sessions(options: &mut Options) -> u64 {
    let mut draw = Draw::new(options.seed, SESSIONS);
    if draw.percent(60) {
        return 0;
    }
    options.sessions_max = draw.pick(&[1, 2, 8]);
    options.session_timeout = Span(options.request_timeout.0 * draw.pick(&[1, 3, 20]));
    draw.between(1, 4)
}

/// Half of all runs take snapshots all the time. Drawn apart, so that the rest of a plan stays what it is.
fn draw_snapshots(options: &mut Options) {
    let mut draw = Draw::new(options.seed, SNAPSHOTS);
    if draw.percent(50) {
        return;
    }
    options.snapshot_log_bytes = draw.pick(&[200, 1_000, 5_000, 20_000]);
    options.compact_keep_bytes = draw.pick(&[0, 500, 5_000]);
    let wait = draw.pick(&[0, 1_000, 20_000]);
    options.compact_wait_bytes_max = options.compact_keep_bytes + wait;
    options.snapshot_chunk_bytes = draw.pick(&[64, 500, 4_096]);
    options.snapshot_chunks_max = draw.pick(&[1, 2, 4]);
    options.snapshot_bytes_per_timeout = draw.pick(&[0, 0, 5_000, 50_000]);
}
