//! What goes wrong in a cluster: processes, machines, disks, clocks and links.

use raft_core::{NodeId, Span, Time};
use rand_core::Rng;

use super::cluster::Cluster;
use super::server::Death;
use crate::machine::Machine;
use crate::schedule_line::Step;
use crate::trace::Happening;

impl<S: Machine> Cluster<S> {
    /// The process dies; what it wrote stays in the page cache.
    pub fn kill(&mut self, node: NodeId) {
        self.record(|| Step::Kill { node });
        self.world.kill(node);
        self.collect(node);
    }

    /// The machine loses power: any part of what was not synced is gone.
    pub fn lose_power(&mut self, node: NodeId) {
        let pattern = self.rng.next_u64();
        self.lose_power_with(node, pattern);
    }

    pub(crate) fn lose_power_with(&mut self, node: NodeId, pattern: u64) {
        self.record(|| Step::LosePower { node, pattern });
        self.world.lose_power(node, pattern);
        self.collect(node);
    }

    /// The process dies in the middle of what it asks for next: so many actions are carried out yet.
    pub(crate) fn doom(&mut self, node: NodeId, death: Death) {
        self.record(|| Step::Doom { node, death });
        self.world.doom(node, death);
    }

    /// Cuts every link between the two groups, in both directions.
    pub fn partition(&mut self, one: &[NodeId], other: &[NodeId]) {
        for a in one {
            for b in other {
                self.links.cut(*a, *b);
                self.links.cut(*b, *a);
            }
        }
    }

    /// Cuts one direction of one link.
    pub fn cut(&mut self, from: NodeId, to: NodeId) {
        self.links.cut(from, to);
    }

    /// Mends every link.
    pub fn heal(&mut self) {
        self.links.mend_all();
    }

    /// The node does nothing until then; what comes in meanwhile waits.
    pub(crate) fn pause(&mut self, node: NodeId, until: Time) {
        self.world.note(|| Happening::Pause { node, until });
        let seat = self.seat_mut(node);
        seat.paused_until = seat.paused_until.max(until);
    }

    pub(crate) fn paused_until(&self, node: NodeId) -> Time {
        self.seat(node).paused_until
    }

    pub(crate) fn is_paused(&self, node: NodeId) -> bool {
        self.paused_until(node) > self.now()
    }

    pub(crate) fn set_clock_rate(&mut self, node: NodeId, rate: u64) {
        let now = self.now();
        self.seat_mut(node).clock.set_rate(now, rate);
        // Its timer ends at another moment now.
        self.seat_mut(node).tick = None;
        self.schedule_tick(node);
    }

    pub(crate) fn jump_clock(&mut self, node: NodeId, span: Span) {
        let now = self.now();
        self.seat_mut(node).clock.jump(now, span);
        self.seat_mut(node).tick = None;
        self.schedule_tick(node);
    }

    /// A node's disk has room for so many more bytes, or for as many as it wants.
    pub(crate) fn set_room(&mut self, node: NodeId, bytes: Option<u64>) {
        self.record(|| Step::Room { node, bytes });
        let disk = self.disk(node);
        disk.set_capacity(bytes.map(|bytes| disk.used() + bytes));
    }

    /// The machine will be off after so many more changes of its disk.
    pub(crate) fn turn_off_after(&mut self, node: NodeId, operations: u64) {
        self.record(|| Step::TurnOff { node, operations });
        let disk = self.disk(node);
        disk.turn_off_after(disk.operations() + operations);
    }

    /// A bit of a file on a node's disk is another one from now on.
    pub(crate) fn flip(&mut self, node: NodeId, file: &str, bit: u64) {
        let file = file.to_string();
        self.disk(node).flip(&file, bit);
        self.record(|| Step::Flip { node, file, bit });
    }

    pub(crate) fn fail_next_sync(&mut self, node: NodeId) {
        self.record(|| Step::FailSync { node });
        self.disk(node).fail_next_sync();
    }

    pub(crate) fn clear_failing_sync(&self, node: NodeId) {
        self.disk(node).clear_failing_sync();
    }

    /// A process that was about to die lives on.
    pub(crate) fn undoom(&mut self, node: NodeId) {
        self.world.server_mut(node).death = None;
    }

    pub(crate) fn set_slow_disk(&mut self, node: NodeId, times: u64) {
        self.seat_mut(node).slow = times;
    }
}
