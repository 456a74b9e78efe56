//! Schedules: what happened in a run, as a list that can be repeated, shortened and read.
//!
//! A schedule says what happens and in which order, and nothing of chance: which timer ends, which
//! message arrives, which disk gets to the end of its work, who dies. What is left out of it did not
//! happen: a message that is not delivered is lost, one that is delivered twice was repeated.
//!
//! Always holds: the same schedule has the same course, and any part of one is one.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};

use raft_core::replica::SessionId;
use raft_core::wal::RecoveryError;
use raft_core::{Envelope, Input, NodeId, Time};

use crate::judge::{Invariant, Violation};
use crate::machine::{Machine, OpId, place};
use crate::schedule_line::{Line, Sent, Step};
use crate::trace::{Fate, Happening, Trace, message_name, message_text};
use crate::workload::Request;
use crate::world::{Setup, World};

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
    #[expect(
        clippy::vec_box,
        reason = "nodes hand them out and take them as they are"
    )]
    pool: BTreeMap<String, Vec<Box<Envelope>>>,
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
