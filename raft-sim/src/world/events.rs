//! What happens next in a cluster, and when: messages, disks, timers, and what nodes do about them.
//!
//! Always holds: things happen in the order of their times, and at one time in the order in which they were put
//! down.

use std::cmp::Reverse;

use raft_core::{Boot, Input, NodeId, RequestId, Span, Time};
use rand_core::Rng;

use super::clock::LocalClock;
use super::cluster::Cluster;
use super::sessions::Heard;
use crate::judge::{Invariant, mix};
use crate::machine::Machine;
use crate::schedule_line::Step;

/// Where one server is in time.
#[derive(Clone, Debug)]
pub(super) struct Seat {
    pub(super) clock: LocalClock,
    pub(super) tick: Option<Time>,
    /// The deadline that was met last, and how often.
    met: (Time, u32),
    lane: Option<Boot>,
    drain: Option<Boot>,
    snapshots: Option<Boot>,
    pub(super) paused_until: Time,
    /// How many times as long as others its disk takes.
    pub(super) slow: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Scheduled {
    at: Time,
    number: u64,
    what: What,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    Deliver(u32),
    Lane(NodeId, Boot),
    Snapshots(NodeId, Boot),
    Unreachable(NodeId, Boot, NodeId),
    Drain(NodeId, Boot),
    Tick(NodeId),
}

impl Ord for Scheduled {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

impl PartialOrd for Scheduled {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// How long a full disk is left alone before it is tried again.
const FULL_RETRY: Span = Span::from_millis(200);
/// How often the same deadline may be met: several things may be due then, one after the other.
const MET_MAX: u32 = 16;
/// The longest that reading entries back takes.
const READ_MAX: Span = Span(100_000);

impl Seat {
    pub(super) const fn new() -> Self {
        Self {
            clock: LocalClock::new(),
            tick: None,
            met: (Time(0), 0),
            lane: None,
            drain: None,
            snapshots: None,
            paused_until: Time(0),
            slow: 1,
        }
    }

    /// A process begins. The lives of an emptied store are counted anew, and what was to happen in those before
    /// is not.
    pub(super) const fn begin(&mut self) {
        (self.lane, self.drain, self.snapshots) = (None, None, None);
    }
}

impl<S: Machine> Cluster<S> {
    /// When the next thing happens.
    pub(crate) fn next_event(&self) -> Option<Time> {
        self.queue.peek().map(|Reverse(scheduled)| scheduled.at)
    }

    /// As [`Cluster::advance`], without looking at the judge's verdict.
    pub(crate) fn step(&mut self) -> bool {
        let Some(Reverse(Scheduled { at, what, .. })) = self.queue.pop() else {
            return false;
        };
        self.world.now = at;
        match what {
            What::Deliver(slot) => self.deliver(slot),
            What::Lane(node, boot) => self.lane(node, boot),
            What::Snapshots(node, boot) => self.snapshots(node, boot),
            What::Unreachable(node, boot, peer) => self.unreachable(node, boot, peer),
            What::Drain(node, boot) => self.drain(node, boot),
            What::Tick(node) => self.tick(node),
        }
        true
    }

    pub(super) fn schedule(&mut self, at: Time, what: What) {
        self.scheduled += 1;
        self.queue.push(Reverse(Scheduled {
            at,
            number: self.scheduled,
            what,
        }));
    }

    /// Whether the node does nothing now; what was to happen then happens later.
    fn postponed(&mut self, node: NodeId, what: What) -> bool {
        let until = self.seat(node).paused_until;
        let paused = until > self.now();
        if paused {
            self.schedule(until, what);
        }
        paused
    }

    /// Whether what was to happen in this life of a node happens now: the life may be over, or the node paused.
    fn lives(&mut self, node: NodeId, boot: Boot, what: What) -> bool {
        self.boot(node) == Some(boot) && !self.postponed(node, what)
    }

    fn count(&mut self, kind: u64, node: NodeId) {
        self.events += 1;
        self.hash = mix(mix(self.hash, self.world.now.0), kind << 8 | node.0);
    }

    fn deliver(&mut self, slot: u32) {
        let place = slot as usize;
        let Some(to) = self.flights[place].as_ref().map(|flight| flight.to) else {
            return;
        };
        if self.postponed(to, What::Deliver(slot)) {
            return;
        }
        let Some(flight) = self.flights[place].take() else {
            return;
        };
        self.free.push(slot);
        self.count(1, to);
        self.trace_message(&flight, to, None);
        if let Some(message) = flight.name {
            self.record(|| Step::Deliver { message });
        }
        let at = self.local(to);
        let input = Input::Receive(flight.envelope);
        self.world.handle(at, to, input);
        self.settle(to);
    }

    fn lane(&mut self, node: NodeId, boot: Boot) {
        if !self.lives(node, boot, What::Lane(node, boot)) {
            return;
        }
        self.count(2, node);
        self.record(|| Step::Disk { node });
        self.seat_mut(node).lane = None;
        let at = self.local(node);
        self.world.lane(at, node);
        self.settle(node);
    }

    fn snapshots(&mut self, node: NodeId, boot: Boot) {
        if !self.lives(node, boot, What::Snapshots(node, boot)) {
            return;
        }
        self.count(5, node);
        self.record(|| Step::Snapshots { node });
        self.seat_mut(node).snapshots = None;
        let at = self.local(node);
        self.world.snapshot_lane(at, node);
        self.settle(node);
    }

    fn unreachable(&mut self, node: NodeId, boot: Boot, peer: NodeId) {
        if !self.lives(node, boot, What::Unreachable(node, boot, peer)) {
            return;
        }
        self.count(6, node);
        self.odd.told += 1;
        self.record(|| Step::Unreachable { node, peer });
        let at = self.local(node);
        self.world.unreachable(at, node, peer);
        self.settle(node);
    }

    fn tick(&mut self, node: NodeId) {
        if self.seat(node).tick != Some(self.now()) {
            return;
        }
        if self.seat(node).paused_until > self.now() {
            let until = self.seat(node).paused_until;
            self.seat_mut(node).tick = Some(until);
            self.schedule(until, What::Tick(node));
            return;
        }
        self.seat_mut(node).tick = None;
        let at = self.local(node);
        let deadline = self.world.next_deadline(node);
        if let Some(deadline) = deadline.filter(|deadline| *deadline <= at) {
            self.meet(node, deadline);
            self.count(3, node);
            self.record(|| Step::Timeout { node });
            self.world.handle(at, node, Input::Tick);
            self.settle(node);
        } else {
            self.schedule_tick(node);
        }
    }

    /// A deadline that stays what it is after it was met would keep a processor busy for nothing.
    fn meet(&mut self, node: NodeId, deadline: Time) {
        let met = &mut self.seat_mut(node).met;
        *met = (deadline, if met.0 == deadline { met.1 + 1 } else { 1 });
        if met.1 > MET_MAX {
            let text = format!("its timer ended {} times, and is due at once again", met.1);
            self.world.judge.report(Some(node), Invariant::I21, text);
        }
    }

    fn drain(&mut self, node: NodeId, boot: Boot) {
        if !self.lives(node, boot, What::Drain(node, boot)) {
            return;
        }
        self.count(4, node);
        self.record(|| Step::Drain { node });
        self.seat_mut(node).drain = None;
        self.world.drain(node);
        self.collect(node);
    }

    /// A node was given something: what follows happens now, or with what else comes soon.
    pub(super) fn settle(&mut self, node: NodeId) {
        if self.network.batch_max == 0 {
            self.record(|| Step::Drain { node });
            self.world.drain(node);
            self.collect(node);
            return;
        }
        let boot = self.boot(node);
        if boot.is_some() && self.seat(node).drain != boot {
            self.seat_mut(node).drain = boot;
            let wait = Span(1 + self.rng.next_u64() % self.network.batch_max);
            if let Some(boot) = boot {
                self.schedule(self.now() + wait, What::Drain(node, boot));
            }
        }
    }

    /// Takes on what a node's step brought about.
    pub(crate) fn collect(&mut self, node: NodeId) {
        let mut sent = core::mem::take(&mut self.world.effects.sent);
        self.hash = mix(self.hash, sent.len() as u64);
        for envelope in sent.drain(..) {
            self.transmit(envelope);
        }
        self.world.effects.sent = sent;
        for (op, result) in self.world.effects.replies.drain(..) {
            self.hash = mix(self.hash, op << 1 | u64::from(result.is_ok()));
            if self.listens {
                self.heard.push((op, Heard::of(&result)));
            }
            if self.keeps_replies {
                let before = self.replies.insert(RequestId(op), result);
                assert!(before.is_none(), "a request has one outcome");
            }
        }
        for (request, _, outcome) in self.world.effects.ordered.drain(..) {
            self.hash = mix(self.hash, request.0 << 1 | u64::from(outcome.is_ok()));
            if self.keeps_replies {
                self.ordered.insert(request, outcome);
            }
        }
        for (request, result) in self.world.effects.snapshots.drain(..) {
            self.hash = mix(self.hash, request.0 << 1 | u64::from(result.is_ok()));
            if self.keeps_replies {
                self.snapshots.insert(request, result);
            }
        }
        for (op, session) in self.world.effects.registered.drain(..) {
            self.hash = mix(self.hash, op << 1 | 1);
            self.session_of.insert(RequestId(op), session);
        }
        self.hash = mix(self.hash, self.world.effects.state);
        self.schedule_lane(node);
        self.schedule_snapshots(node);
        self.schedule_tick(node);
    }

    fn schedule_snapshots(&mut self, node: NodeId) {
        let Some(boot) = self.boot(node) else {
            return;
        };
        if !self.world.snapshot_lane_is_busy(node) || self.seat(node).snapshots == Some(boot) {
            return;
        }
        self.seat_mut(node).snapshots = Some(boot);
        let takes = 1 + self.rng.next_u64() % (READ_MAX.0 + self.network.sync_max);
        let takes = Span(takes * self.seat(node).slow);
        self.schedule(self.now() + takes, What::Snapshots(node, boot));
    }

    fn schedule_lane(&mut self, node: NodeId) {
        let Some(process) = &self.world.server(node).process else {
            return;
        };
        let (boot, full, syncs) = (process.boot, process.is_full(), process.is_syncing());
        if !process.lane_is_busy() || self.seat(node).lane == Some(boot) {
            return;
        }
        self.seat_mut(node).lane = Some(boot);
        let takes = if full {
            FULL_RETRY
        } else {
            let longest = if syncs {
                self.network.sync_max
            } else {
                READ_MAX.0
            };
            let takes = 1 + self.rng.next_u64() % longest;
            Span(takes * self.seat(node).slow)
        };
        self.schedule(self.now() + takes, What::Lane(node, boot));
    }

    pub(super) fn schedule_tick(&mut self, node: NodeId) {
        let Some(deadline) = self.world.next_deadline(node) else {
            return;
        };
        let now = self.now();
        let seat = self.seat_mut(node);
        let at = seat.clock.when(deadline).max(Time(now.0 + 1));
        // One that comes too early finds out, and waits on.
        if seat.tick.is_none_or(|tick| at < tick) {
            seat.tick = Some(at);
            self.schedule(at, What::Tick(node));
        }
    }
}
