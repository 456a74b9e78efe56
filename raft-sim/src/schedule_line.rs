//! A line of a schedule: one thing that happens, and how it is written.
//!
//! Always holds: a line is what its text says.

use std::fmt;
use std::str::FromStr;

use raft_core::replica::Sequence;
use raft_core::{NodeId, Time};

use crate::order::Order;
use crate::world::{Death, Repeat};

/// A message, named by what it says: among those that say the same, by their order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// The sender.
    pub from: NodeId,
    /// The receiver.
    pub to: NodeId,
    /// Kind and contents.
    pub text: String,
    /// Which of those that say the same, from 1.
    pub nth: u32,
}

/// One thing that happens.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    missing_docs,
    reason = "the fields are what the variants' sentences name"
)]
#[non_exhaustive]
pub enum Step {
    /// A node's timer ends.
    Timeout { node: NodeId },
    /// A message arrives.
    Deliver { message: Sent },
    /// A node's disk gets to the end of what it was doing.
    Disk { node: NodeId },
    /// A node's disk gets to the end of what it was doing with a snapshot.
    Snapshots { node: NodeId },
    /// An operator asks a node for a snapshot.
    Snapshot { node: NodeId },
    /// A node's transport says that what was sent to a peer may be lost.
    Unreachable { node: NodeId, peer: NodeId },
    /// A node acts on what came in.
    Drain { node: NodeId },
    /// A client asks.
    Request { node: NodeId, op: u64 },
    /// A client asks for a session.
    Register { node: NodeId, op: u64 },
    /// A client asks in a session, for the first time or again.
    InSession {
        node: NodeId,
        op: u64,
        repeat: Repeat,
    },
    /// A process begins.
    Start { node: NodeId },
    /// A process dies.
    Kill { node: NodeId },
    /// A machine loses power; the pattern decides which unsynced sectors survive.
    LosePower { node: NodeId, pattern: u64 },
    /// A process will die in the middle of its next actions.
    Doom { node: NodeId, death: Death },
    /// A node's next sync fails.
    FailSync { node: NodeId },
    /// A node's machine will be off after so many more changes of its disk.
    TurnOff { node: NodeId, operations: u64 },
    /// A bit of a file on a node's disk is another one from now on.
    Flip {
        node: NodeId,
        file: String,
        bit: u64,
    },
    /// A node's disk has room for so many more bytes, or as many as it wants.
    Room { node: NodeId, bytes: Option<u64> },
    /// An operator orders something of a node.
    Order { node: NodeId, order: Order },
}

impl Step {
    /// The node at which it happens.
    #[must_use]
    pub const fn node(&self) -> NodeId {
        match self {
            Self::Timeout { node }
            | Self::Disk { node }
            | Self::Snapshots { node }
            | Self::Snapshot { node }
            | Self::Unreachable { node, .. }
            | Self::Drain { node }
            | Self::Request { node, .. }
            | Self::Register { node, .. }
            | Self::InSession { node, .. }
            | Self::Start { node }
            | Self::Kill { node }
            | Self::LosePower { node, .. }
            | Self::Doom { node, .. }
            | Self::FailSync { node }
            | Self::TurnOff { node, .. }
            | Self::Flip { node, .. }
            | Self::Room { node, .. }
            | Self::Order { node, .. } => *node,
            Self::Deliver { message } => message.to,
        }
    }

    /// The request whose command or query it makes.
    pub(crate) const fn asks(&self) -> Option<u64> {
        if let Self::Request { op, .. } = self {
            return Some(*op);
        }
        if let Self::InSession { repeat, .. } = self {
            return Some(repeat.command);
        }
        None
    }

    /// Gives every node another number; `None` if one has none.
    pub(crate) fn rename(&mut self, number: &dyn Fn(NodeId) -> Option<NodeId>) -> Option<()> {
        match self {
            Self::Timeout { node }
            | Self::Disk { node }
            | Self::Snapshots { node }
            | Self::Snapshot { node }
            | Self::Drain { node }
            | Self::Request { node, .. }
            | Self::Register { node, .. }
            | Self::InSession { node, .. }
            | Self::Start { node }
            | Self::Kill { node }
            | Self::LosePower { node, .. }
            | Self::Doom { node, .. }
            | Self::FailSync { node }
            | Self::TurnOff { node, .. }
            | Self::Flip { node, .. }
            | Self::Room { node, .. } => *node = number(*node)?,
            Self::Unreachable { node, peer } => {
                *node = number(*node)?;
                *peer = number(*peer)?;
            }
            Self::Order { node, order } => {
                *node = number(*node)?;
                order.rename(number)?;
            }
            Self::Deliver { message } => {
                message.from = number(message.from)?;
                message.to = number(message.to)?;
            }
        }
        Some(())
    }

    /// Whether it is something that happens to a node, and not something a node does.
    pub(crate) const fn is_input(&self) -> bool {
        matches!(
            self,
            Self::Timeout { .. }
                | Self::Deliver { .. }
                | Self::Disk { .. }
                | Self::Snapshots { .. }
                | Self::Snapshot { .. }
                | Self::Unreachable { .. }
                | Self::Request { .. }
                | Self::Register { .. }
                | Self::InSession { .. }
                | Self::Order { .. }
        )
    }
}

/// A step, when its node saw it, and whether the node acted on it at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// What happens.
    pub step: Step,
    /// What the node's clock shows, at least.
    pub at: Option<Time>,
    /// The node acts at once, and does not wait for what else comes in.
    pub acts: bool,
}

impl Sent {
    pub(crate) fn key(&self) -> String {
        format!("{}>{} {}", self.from, self.to, self.text)
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.step.is_input() && !self.acts {
            f.write_str("hold ")?;
        }
        match &self.step {
            Step::Timeout { node } => write!(f, "timeout {node}")?,
            Step::Deliver { message } => {
                write!(
                    f,
                    "deliver {}>{} {}",
                    message.from, message.to, message.text
                )?;
                if message.nth > 1 {
                    write!(f, " #{}", message.nth)?;
                }
            }
            Step::Disk { node } => write!(f, "disk {node}")?,
            Step::Snapshots { node } => write!(f, "snapshots {node}")?,
            Step::Snapshot { node } => write!(f, "snapshot {node}")?,
            Step::Drain { node } => write!(f, "act {node}")?,
            Step::Request { node, op } => write!(f, "request {node} {op}")?,
            Step::Register { node, op } => write!(f, "register {node} {op}")?,
            Step::InSession { node, op, repeat } => write!(
                f,
                "in-session {node} {op} {} {} {} {}",
                repeat.registers, repeat.sequence, repeat.lowest, repeat.command
            )?,
            Step::Start { node } => write!(f, "start {node}")?,
            Step::Kill { node } => write!(f, "kill {node}")?,
            Step::LosePower { node, pattern } => write!(f, "lose-power {node} {pattern}")?,
            Step::Doom { node, death } => {
                write!(f, "doom {node} {}", death.actions)?;
                if let Some(pattern) = death.power {
                    write!(f, " {pattern}")?;
                }
            }
            Step::FailSync { node } => write!(f, "fail-sync {node}")?,
            Step::Unreachable { node, peer } => write!(f, "unreachable {node} {peer}")?,
            Step::TurnOff { node, operations } => write!(f, "turn-off {node} {operations}")?,
            Step::Flip { node, file, bit } => write!(f, "flip {node} {file} {bit}")?,
            Step::Room { node, bytes } => match bytes {
                Some(bytes) => write!(f, "room {node} {bytes}")?,
                None => write!(f, "room {node}")?,
            },
            Step::Order { node, order } => write!(f, "order {node} {order}")?,
        }
        match self.at {
            Some(at) => write!(f, " @{}", at.0),
            None => Ok(()),
        }
    }
}

/// A line of a schedule that is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected}, found \"{found}\"")]
pub struct LineError {
    /// What belongs there.
    pub expected: &'static str,
    /// What is there.
    pub found: String,
}

const STEPS: &str = "timeout, deliver, disk, snapshots, snapshot, act, request, register, in-session, start, kill, lose-power, doom, fail-sync, \
                     unreachable, turn-off, flip, room or order, and a node";

impl FromStr for Line {
    type Err = LineError;

    fn from_str(line: &str) -> Result<Self, LineError> {
        let wrong = |expected| LineError {
            expected,
            found: line.to_string(),
        };
        let mut words: Vec<&str> = line.split_whitespace().collect();
        let mut at = None;
        if let Some(mark) = words.last().and_then(|word| word.strip_prefix('@')) {
            let nanos = mark.parse().map_err(|_| wrong("nanoseconds after @"))?;
            at = Some(Time(nanos));
            words.pop();
        }
        let held = words.first() == Some(&"hold");
        if held {
            words.remove(0);
        }
        let [verb, first, rest @ ..] = words.as_slice() else {
            return Err(wrong(STEPS));
        };
        let step = if *verb == "deliver" {
            let message = parse_sent(first, rest).ok_or_else(|| {
                wrong("deliver FROM>TO, the message's name and contents, and perhaps #NTH")
            })?;
            Step::Deliver { message }
        } else if *verb == "order" {
            let node = first.parse().map_err(|_| wrong(STEPS))?;
            let order = rest.join(" ").parse();
            Step::Order {
                node: NodeId(node),
                order: order.map_err(|_| wrong("order NODE, and an order like remove 3"))?,
            }
        } else if let ("flip", [file, bit]) = (*verb, rest) {
            let node = first.parse().map_err(|_| wrong(STEPS))?;
            Step::Flip {
                node: NodeId(node),
                file: (*file).to_string(),
                bit: bit.parse().map_err(|_| wrong("flip NODE FILE BIT"))?,
            }
        } else {
            parse_step(verb, first, rest).ok_or_else(|| wrong(STEPS))?
        };
        let acts = step.is_input() && !held;
        Ok(Self { step, at, acts })
    }
}

fn parse_sent(link: &str, rest: &[&str]) -> Option<Sent> {
    let (from, to) = link.split_once('>')?;
    let (nth, words) = match rest.split_last() {
        Some((last, words)) if last.starts_with('#') => (last[1..].parse().ok()?, words),
        Some(_) | None => (1, rest),
    };
    Some(Sent {
        from: NodeId(from.parse().ok()?),
        to: NodeId(to.parse().ok()?),
        text: words.join(" "),
        nth,
    })
}

fn parse_step(verb: &str, node: &str, rest: &[&str]) -> Option<Step> {
    let node = NodeId(node.parse().ok()?);
    let mut numbers = Vec::new();
    for word in rest {
        numbers.push(word.parse::<u64>().ok()?);
    }
    let step = match (verb, numbers.as_slice()) {
        ("timeout", []) => Step::Timeout { node },
        ("disk", []) => Step::Disk { node },
        ("snapshots", []) => Step::Snapshots { node },
        ("snapshot", []) => Step::Snapshot { node },
        ("act", []) => Step::Drain { node },
        ("request", [op]) => Step::Request { node, op: *op },
        ("register", [op]) => Step::Register { node, op: *op },
        ("in-session", [op, registers, sequence, lowest, command]) => Step::InSession {
            node,
            op: *op,
            repeat: Repeat {
                command: *command,
                registers: *registers,
                sequence: Sequence(*sequence),
                lowest: Sequence(*lowest),
            },
        },
        ("start", []) => Step::Start { node },
        ("kill", []) => Step::Kill { node },
        ("lose-power", []) => Step::LosePower { node, pattern: 0 },
        ("lose-power", [pattern]) => Step::LosePower {
            node,
            pattern: *pattern,
        },
        ("doom", [actions, power @ ..]) if power.len() < 2 => Step::Doom {
            node,
            death: Death {
                actions: u32::try_from(*actions).ok()?,
                power: power.first().copied(),
            },
        },
        ("turn-off", [operations]) => Step::TurnOff {
            node,
            operations: *operations,
        },
        ("fail-sync", []) => Step::FailSync { node },
        ("unreachable", [peer]) => Step::Unreachable {
            node,
            peer: NodeId(*peer),
        },
        ("room", []) => Step::Room { node, bytes: None },
        ("room", [bytes]) => Step::Room {
            node,
            bytes: Some(*bytes),
        },
        _ => return None,
    };
    Some(step)
}
