//! Faults, as a plan says them and as a cluster meets them.

use std::fmt;

use raft_core::{NodeId, Span, Time};

use super::plan::Target;

use crate::order::Order;
use crate::workload::Draw;

use super::profile::Profile;

/// What goes wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    missing_docs,
    reason = "the fields are what the variants' sentences name"
)]
#[non_exhaustive]
pub enum FaultKind {
    /// A process dies: at once, or after so many more of its node's actions.
    Crash { actions: Option<u32> },
    /// A machine loses power, and some of what was not synced.
    PowerLoss { actions: Option<u32>, pattern: u64 },
    /// A process dies, and its machine loses power while it starts again, after so many changes of its
    /// disk.
    CrashWhileStarting { operations: u64, pattern: u64 },
    /// A process does nothing.
    Pause,
    /// All links of a node are cut: those to it, those from it, or both.
    Isolate { inbound: bool, outbound: bool },
    /// Links are cut, in these directions.
    Cut { links: Vec<(NodeId, NodeId)> },
    /// A process dies, and an operator makes its store a cluster of its own; the machine loses power after so
    /// many changes of its disk, or when that is done.
    SoloStopped { operations: u64, pattern: u64 },
    /// A disk takes so many times as long.
    SlowDisk { times: u64 },
    /// A disk has room for so many more bytes.
    FullDisk { bytes: u64 },
    /// A clock runs at so many millionths of its rate.
    ClockRate { rate: u64 },
    /// A clock jumps ahead.
    ClockJump { ahead: Span },
    /// A sync fails.
    FailedSync,
    /// Bits of the log on disk flip while the process is down; chance says which.
    Damage { chance: u64 },
    /// A disk comes back empty.
    Wipe,
    /// A disk comes back as it was so long ago.
    Rollback { age: Span },
    /// A disk says that it syncs, and does not, until the power fails.
    Lies { pattern: u64 },
    /// A server that is no member is started with a copy of a node's disk: there are two of it.
    Clone,
    /// An operator changes who takes part, or who leads: nothing goes wrong, but everything changes.
    Order { order: Order },
}

/// A fault: when and where it begins, and for how long it lasts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// When it begins.
    pub at: Time,
    /// Where.
    pub target: Target,
    /// What.
    pub kind: FaultKind,
    /// For how long it lasts, or the node stays down.
    pub lasts: Span,
}

impl FaultKind {
    /// A word for counting.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Crash { actions: None } => "crash",
            Self::Crash { actions: Some(_) } => "crash-between-actions",
            Self::PowerLoss { actions: None, .. } => "power-loss",
            Self::PowerLoss {
                actions: Some(_), ..
            } => "power-loss-between-actions",
            Self::CrashWhileStarting { .. } => "crash-while-starting",
            Self::SoloStopped { .. } => "solo-stopped",
            Self::Pause => "pause",
            Self::Isolate { .. } => "isolate",
            Self::Cut { .. } => "cut",
            Self::SlowDisk { .. } => "slow-disk",
            Self::FullDisk { .. } => "full-disk",
            Self::ClockRate { .. } => "clock-rate",
            Self::ClockJump { .. } => "clock-jump",
            Self::FailedSync => "failed-sync",
            Self::Damage { .. } => "damage",
            Self::Wipe => "wipe",
            Self::Rollback { .. } => "rollback",
            Self::Lies { .. } => "lying-disk",
            Self::Clone => "clone",
            Self::Order { order } => order.name(),
        }
    }

    /// Whether the store cannot go on afterwards, so that only a minority may meet it.
    pub(super) const fn ends_a_store(&self) -> bool {
        matches!(self, Self::Damage { .. } | Self::Wipe)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let node = self.target;
        match &self.kind {
            FaultKind::Crash { actions: None } => write!(f, "node {node} is killed"),
            FaultKind::Crash {
                actions: Some(actions),
            } => write!(f, "node {node} is killed after {actions} more actions"),
            FaultKind::PowerLoss { actions: None, .. } => write!(f, "node {node} loses power"),
            FaultKind::PowerLoss {
                actions: Some(actions),
                ..
            } => write!(f, "node {node} loses power after {actions} more actions"),
            FaultKind::CrashWhileStarting { operations, .. } => write!(
                f,
                "node {node} is killed, and loses power after {operations} changes of its disk while it \
                 starts"
            ),
            FaultKind::SoloStopped { operations, .. } => write!(
                f,
                "node {node} is killed and made a cluster of its own, and loses power after {operations} \
                 changes of its disk at the latest"
            ),
            FaultKind::Pause => write!(f, "node {node} pauses"),
            FaultKind::Isolate { inbound, outbound } => {
                let way = match (inbound, outbound) {
                    (true, false) => "hears nobody",
                    (false, true) => "is heard by nobody",
                    _ => "is cut off",
                };
                write!(f, "node {node} {way}")
            }
            FaultKind::Cut { links } => {
                f.write_str("links are cut:")?;
                links
                    .iter()
                    .try_for_each(|(from, to)| write!(f, " {from}>{to}"))
            }
            FaultKind::SlowDisk { times } => {
                write!(f, "the disk of node {node} takes {times} times as long")
            }
            FaultKind::FullDisk { bytes } => {
                write!(f, "the disk of node {node} has room for {bytes} more bytes")
            }
            FaultKind::ClockRate { rate } => {
                write!(f, "the clock of node {node} runs at {rate} millionths")
            }
            FaultKind::ClockJump { ahead } => {
                write!(f, "the clock of node {node} jumps ahead by {} ns", ahead.0)
            }
            FaultKind::FailedSync => write!(f, "the next sync of node {node} fails"),
            FaultKind::Damage { .. } => write!(f, "node {node} is killed, and its log is damaged"),
            FaultKind::Wipe => write!(f, "node {node} is killed, and its disk is wiped"),
            FaultKind::Rollback { age } => {
                write!(f, "the disk of node {node} goes back by {} ns", age.0)
            }
            FaultKind::Clone => write!(f, "a server begins with a copy of the disk of node {node}"),
            FaultKind::Order { order } => return write!(f, "node {node} is ordered: {order}"),
            FaultKind::Lies { .. } => {
                write!(
                    f,
                    "the disk of node {node} lies about syncs, until the power fails"
                )
            }
        }?;
        write!(
            f,
            ", for {}.{:03} ms",
            self.lasts.0 / 1_000_000,
            self.lasts.0 / 1_000 % 1_000
        )
    }
}

/// The kinds of faults that a profile knows, each as a way of drawing one.
pub(super) type DrawKind = fn(&mut Draw, u64) -> FaultKind;

/// How slow and how fast a clock may run; a right one runs at a million.
const CLOCK_RATES: (u64, u64) = (900_000, 1_100_000);

/// How much faster than the slowest clock the fastest one may run, in thousandths and rounded up.
pub(super) const CLOCK_DRIFT_PER_MILLE: u32 = 223;

const TOLERATED: [DrawKind; 12] = [
    |_, _| FaultKind::Crash { actions: None },
    |draw, _| FaultKind::Crash {
        actions: Some(few(draw)),
    },
    |draw, _| FaultKind::PowerLoss {
        actions: None,
        pattern: pattern(draw),
    },
    |draw, _| FaultKind::PowerLoss {
        actions: Some(few(draw)),
        pattern: pattern(draw),
    },
    |draw, _| FaultKind::CrashWhileStarting {
        operations: draw.below(40),
        pattern: pattern(draw),
    },
    |_, _| FaultKind::Pause,
    |draw, _| isolate(draw),
    |draw, nodes| FaultKind::Cut {
        links: any_links(draw, nodes),
    },
    |draw, _| FaultKind::SlowDisk {
        times: draw.between(2, 50),
    },
    |draw, _| FaultKind::FullDisk {
        bytes: draw.below(3_000),
    },
    |draw, _| FaultKind::ClockRate {
        rate: draw.between(CLOCK_RATES.0, CLOCK_RATES.1),
    },
    |draw, _| FaultKind::ClockJump {
        ahead: Span(draw.below(2_000_000_000)),
    },
];

const DETECTED: [DrawKind; 3] = [
    |_, _| FaultKind::FailedSync,
    |draw, _| FaultKind::Damage {
        chance: draw.number(),
    },
    |_, _| FaultKind::Wipe,
];

const OUTSIDE: [DrawKind; 3] = [
    |draw, _| FaultKind::Rollback {
        age: Span(draw.below(5_000_000_000)),
    },
    |draw, _| FaultKind::Lies {
        pattern: pattern(draw),
    },
    |_, _| FaultKind::Clone,
];

/// What a profile's faults are drawn from.
pub(super) fn kinds(profile: Profile) -> Vec<DrawKind> {
    let mut kinds = Vec::new();
    match profile {
        Profile::Quiet => {}
        Profile::Tolerated => kinds.extend(TOLERATED),
        Profile::Detected => {
            kinds.extend(TOLERATED);
            kinds.extend(DETECTED);
        }
        Profile::Outside => {
            kinds.extend(TOLERATED);
            kinds.extend(OUTSIDE);
        }
        Profile::Reference => kinds.extend([TOLERATED[0], TOLERATED[2], TOLERATED[6]]),
    }
    kinds
}

/// How many more actions a process lives for.
pub(super) fn few(draw: &mut Draw) -> u32 {
    u32::try_from(draw.below(12)).unwrap_or(0)
}

/// Nothing, everything, or anything between survives.
pub(super) fn pattern(draw: &mut Draw) -> u64 {
    match draw.below(4) {
        0 => 0,
        1 => u64::MAX,
        _ => draw.number(),
    }
}

/// All links of one node: both directions, or one.
fn isolate(draw: &mut Draw) -> FaultKind {
    let directions = draw.below(4);
    FaultKind::Isolate {
        inbound: directions != 1,
        outbound: directions != 2,
    }
}

/// Two halves, or any set of links.
fn any_links(draw: &mut Draw, nodes: u64) -> Vec<(NodeId, NodeId)> {
    let (halves, side, share) = (draw.percent(50), draw.number(), draw.between(10, 70));
    let mut links = Vec::new();
    for from in 1..=nodes {
        for to in 1..=nodes {
            let apart = (side >> (from - 1)) & 1 != (side >> (to - 1)) & 1;
            let cut = if halves { apart } else { draw.percent(share) };
            if from != to && cut {
                links.push((NodeId(from), NodeId(to)));
            }
        }
    }
    links
}
