//! Schedules: what happened in a run, as a list that can be repeated, shortened and read.
//!
//! A schedule says what happens and in which order, and nothing of chance: which timer ends, which
//! message arrives, which disk gets to the end of its work, who dies. What is left out of it did not
//! happen: a message that is not delivered is lost, one that is delivered twice was repeated.
//!
//! Always holds: the same schedule has the same course, and any part of one is one.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::str::FromStr;

use raft_core::replica::{Sequence, SessionId};
use raft_core::wal::RecoveryError;
use raft_core::{Envelope, Input, NodeId, Time};

use crate::judge::{Invariant, Violation};
use crate::machine::{Machine, OpId, place};
use crate::order::Order;
use crate::trace::{Fate, Happening, Trace, message_name, message_text};
use crate::workload::Request;
use crate::world::{Death, Repeat, Setup, World};

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
    const fn is_input(&self) -> bool {
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

/// Writes down what happens in a run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Recorder {
    pub(crate) lines: Vec<Line>,
    named: BTreeMap<String, u32>,
}

impl Recorder {
    /// A step, and what its node's clock shows then.
    pub(crate) fn note(&mut self, step: Step, at: Time) {
        if let (Step::Drain { node }, Some(last)) = (&step, self.lines.last_mut())
            && last.step.is_input()
            && last.step.node() == *node
            && !last.acts
        {
            last.acts = true;
            return;
        }
        self.lines.push(Line {
            step,
            at: Some(at),
            acts: false,
        });
    }

    pub(crate) fn name(&mut self, envelope: &Envelope) -> Sent {
        let mut sent = named(envelope);
        let nth = self.named.entry(sent.key()).or_default();
        *nth += 1;
        sent.nth = *nth;
        sent
    }
}

fn named(envelope: &Envelope) -> Sent {
    Sent {
        from: envelope.from.member.node,
        to: envelope.to.node,
        text: format!(
            "{} {}",
            message_name(&envelope.body),
            message_text(envelope)
        ),
        nth: 1,
    }
}

impl Sent {
    fn key(&self) -> String {
        format!("{}>{} {}", self.from, self.to, self.text)
    }
}

/// What became of a schedule.
#[derive(Clone, Debug)]
pub struct Play {
    /// The broken rule.
    pub violation: Option<Violation>,
    /// Everything that happened, if it was asked for.
    pub trace: Trace,
}

/// Plays a schedule to its end, or to the first broken rule.
pub(crate) fn play<S: Machine>(
    setup: Setup<S>,
    lines: &[Line],
    trace: bool,
    request: &dyn Fn(OpId) -> Option<Request<S::Command, S::Query>>,
) -> Play {
    let mut player = Player::new(setup);
    if trace {
        player.world.trace = Some(Trace::default());
    }
    let result = catch_unwind(AssertUnwindSafe(|| {
        for line in lines {
            player.play(line, request);
            if player.world.violation().is_some() {
                break;
            }
        }
    }));
    if let Err(panic) = result {
        let text = crate::panics::text(&*panic);
        player.world.judge.report(None, Invariant::I20, text);
    }
    Play {
        violation: player.world.violation().cloned(),
        trace: player.world.trace.unwrap_or_default(),
    }
}

/// Plays a schedule.
pub(crate) struct Player<S: Machine> {
    pub(crate) world: World<S>,
    /// Everything that was ever sent, by its name.
    pool: BTreeMap<String, Vec<Envelope>>,
    clocks: Vec<Time>,
    harmed: BTreeSet<NodeId>,
    /// Sessions that began, by the request that asked for each.
    sessions: BTreeMap<OpId, SessionId>,
}

impl<S: Machine> Player<S> {
    pub(crate) fn new(setup: Setup<S>) -> Self {
        let nodes = setup.servers();
        let nodes = usize::try_from(nodes).unwrap_or(usize::MAX);
        Self {
            world: World::new(setup),
            pool: BTreeMap::new(),
            clocks: vec![Time(1); nodes],
            harmed: BTreeSet::new(),
            sessions: BTreeMap::new(),
        }
    }

    fn clock(&mut self, node: NodeId) -> &mut Time {
        let place = place(node);
        &mut self.clocks[place]
    }

    /// Lets a step happen, if it can.
    pub(crate) fn play(
        &mut self,
        line: &Line,
        request: &dyn Fn(OpId) -> Option<Request<S::Command, S::Query>>,
    ) {
        let node = line.step.node();
        if node.0 == 0 || node.0 > self.clocks.len() as u64 {
            return;
        }
        let before = *self.clock(node);
        let mut at = before.max(line.at.unwrap_or(before));
        if let Step::Timeout { .. } = line.step {
            at = at.max(self.world.next_deadline(node).unwrap_or(at));
        }
        *self.clock(node) = at;
        self.world.now = self.clocks.iter().copied().max().unwrap_or(at);
        self.happens(&line.step, at, request);
        if line.acts {
            self.world.drain(node);
        }
        self.collect();
    }

    fn happens(
        &mut self,
        step: &Step,
        at: Time,
        request: &dyn Fn(OpId) -> Option<Request<S::Command, S::Query>>,
    ) {
        let node = step.node();
        let world = &mut self.world;
        match step {
            Step::Timeout { .. } => world.handle(at, node, Input::Tick),
            Step::Deliver { message } => self.deliver(message, at),
            Step::Disk { .. } => world.lane(at, node),
            Step::Snapshots { .. } => world.snapshot_lane(at, node),
            Step::Snapshot { .. } => {
                world.snapshot(at, node);
            }
            Step::Unreachable { peer, .. } => {
                if world.nodes().any(|known| known == *peer) {
                    world.unreachable(at, node, *peer);
                }
            }
            Step::Drain { .. } => world.drain(node),
            Step::Request { op, .. } => match request(*op) {
                Some(Request::Command(command)) => world.propose(at, node, *op, command),
                Some(Request::Query(query)) => world.query(at, node, *op, query),
                None => {}
            },
            Step::Register { op, .. } => world.register(at, node, *op),
            Step::InSession { op, repeat, .. } => {
                let session = self.sessions.get(&repeat.registers);
                let command = request(repeat.command).and_then(Request::command);
                if let (Some(session), Some(command)) = (session, command) {
                    world.propose_in(at, node, *op, (repeat.serial(*session), command));
                }
            }
            Step::Start { .. } => {
                // A start that fails leaves the node down, as the run did that this was made from.
                if world.server(node).process.is_none() {
                    let result = world.start(at, node);
                    self.started(node, result);
                }
            }
            Step::Order { order, .. } => {
                world.order(at, node, *order);
            }
            Step::Kill { .. } => world.kill(node),
            Step::LosePower { pattern, .. } => world.lose_power(node, *pattern),
            Step::Doom { death, .. } => world.doom(node, *death),
            Step::TurnOff { operations, .. } => {
                let disk = &world.server(node).disk;
                disk.turn_off_after(disk.operations() + operations);
            }
            Step::Flip { file, bit, .. } => {
                world.server(node).disk.flip(file, *bit);
                self.harmed.insert(node);
            }
            Step::FailSync { .. } => world.server(node).disk.fail_next_sync(),
            Step::Room { bytes, .. } => {
                let disk = &world.server(node).disk;
                disk.set_capacity(bytes.map(|bytes| disk.used() + bytes));
            }
        }
    }

    /// Only a disk that was harmed, or is off, keeps a node from starting.
    fn started(&mut self, node: NodeId, result: Result<(), RecoveryError>) {
        match result {
            Ok(()) | Err(RecoveryError::Disk(_)) => {}
            Err(_) if self.harmed.contains(&node) => {}
            Err(error) => {
                let text = format!("does not start, though nothing harmed its disk: {error}");
                self.world.judge.report(Some(node), Invariant::D2, text);
            }
        }
    }

    fn deliver(&mut self, message: &Sent, at: Time) {
        let Some(sent) = self.pool.get(&message.key()) else {
            return;
        };
        let wanted = usize::try_from(message.nth.max(1) - 1).unwrap_or(usize::MAX);
        let Some(envelope) = sent.get(wanted).or_else(|| sent.last()).cloned() else {
            return;
        };
        let node = message.to;
        let runs = self.world.server(node).process.is_some();
        self.world.note(|| Happening::Message {
            from: message.from,
            to: node,
            sent: at,
            name: message_name(&envelope.body),
            text: message_text(&envelope),
            fate: if runs { Fate::Delivered } else { Fate::Nobody },
        });
        self.world.handle(at, node, Input::Receive(envelope));
    }

    fn collect(&mut self) {
        for envelope in self.world.effects.sent.drain(..) {
            let key = named(&envelope).key();
            self.pool.entry(key).or_default().push(envelope);
        }
        let registered = self.world.effects.registered.drain(..);
        self.sessions.extend(registered);
        self.world.effects.clear_answers();
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
