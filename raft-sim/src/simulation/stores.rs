//! What becomes of stores in a run: they are slow, full, harmed, lost, emptied, copied, or go on alone.
//!
//! Always holds: only a store that something harmed is excused for what it does.

use raft_core::NodeId;

use super::agenda::Act;
use super::fault::FaultKind;
use super::run::Run;
use crate::order::Order;
use crate::trace::Happening;
use crate::workload::Workload;
use crate::world::MemoryDisk;

impl<W: Workload> Run<'_, W> {
    pub(super) fn strike_disk(&mut self, place: usize, node: NodeId, kind: &FaultKind) -> bool {
        if let FaultKind::SlowDisk { times } = kind {
            self.cluster.set_slow_disk(node, *times);
            return true;
        }
        if let FaultKind::FullDisk { bytes } = kind {
            // Counted when a write finds out.
            self.cluster.set_room(node, Some(*bytes));
            return false;
        }
        if let FaultKind::Damage { chance } = kind {
            return self.damage(node, *chance);
        }
        if let FaultKind::Clone = kind {
            return self.clone_of(node);
        }
        if let FaultKind::Rollback { age } = kind {
            self.images.insert(place, self.cluster.disk(node).image());
            let at = self.cluster.now() + *age;
            self.agenda.insert(at, Act::RollBack(place));
            return false;
        }
        if let FaultKind::FailedSync = kind {
            self.cluster.fail_next_sync(node);
            return self.cluster.is_running(node);
        }
        if let FaultKind::Wipe = kind {
            self.cluster.kill(node);
            self.cluster.disk(node).become_image(&MemoryDisk::new());
            self.harmed.insert(node);
        }
        if let FaultKind::Lies { .. } = kind {
            self.excuse();
            self.cluster.disk(node).set_lying(true);
        }
        true
    }

    fn damage(&mut self, node: NodeId, chance: u64) -> bool {
        // After a loss of power nothing may be left that knows the last write to have been synced.
        if !self.cluster.is_running(node) {
            return false;
        }
        self.cluster.kill(node);
        let disk = self.cluster.disk(node);
        let mut names: Vec<String> = disk.names();
        names.retain(|name| name.ends_with(".wal"));
        let place = usize::try_from(chance % names.len().max(1) as u64).unwrap_or(0);
        let Some(name) = names.get(place) else {
            return false;
        };
        let bytes = disk.file(name).unwrap_or_default();
        let used = bytes
            .iter()
            .rposition(|byte| *byte != 0)
            .map_or(0, |last| last + 1);
        if used == 0 {
            return false;
        }
        let bit = (chance >> 8) % (used as u64 * 8);
        self.cluster.flip(node, name, bit);
        self.harmed.insert(node);
        true
    }

    /// The last server, if it is a spare one, begins with what a node's disk holds now.
    fn clone_of(&mut self, node: NodeId) -> bool {
        let double = NodeId(self.plan.servers());
        if self.plan.spares == 0 || node == double || !self.cluster.links.double(node, double) {
            return false;
        }
        self.excuse();
        self.cluster.kill(double);
        let image = self.cluster.disk(node).image();
        self.cluster.disk(double).become_image(&image);
        self.start(double);
        true
    }

    pub(super) fn roll_back(&mut self, place: usize) {
        let fault = &self.plan.faults[place];
        let Some(image) = self.images.remove(&place) else {
            return;
        };
        let node = self.places.get(&place).copied().unwrap_or(NodeId(1));
        self.note("a disk goes back to what it was");
        self.cluster.kill(node);
        self.cluster.disk(node).become_image(&image);
        self.hit(fault.kind.name());
        self.excuse();
        let end = self.cluster.now() + fault.lasts;
        self.agenda.insert(end, Act::End(place));
    }

    /// An operator empties a store that cannot be believed, or that nobody counts on.
    pub(super) fn reset(&mut self, node: NodeId) -> bool {
        let member = self.cluster.world.server(node).member;
        let nobody = self.cluster.world.judge.is_nobody(member);
        let useless = self.lost.contains(&node) || self.harmed.contains(&node);
        if !(useless || nobody || self.is_stranger(node)) {
            return false;
        }
        let runs = self.cluster.is_running(node);
        self.cluster.order(node, Order::Reset);
        let emptied = self.cluster.world.server(node).member != member;
        if emptied {
            self.emptied(node);
        } else if !runs {
            // Its disk did not take the new store either.
            self.harmed.insert(node);
        }
        runs || emptied
    }

    /// An operator lets a node go on alone, if nothing is lost by that.
    pub(super) fn solo(&mut self, node: NodeId) -> bool {
        if !self.is_settled() || !self.cluster.world.may_go_alone(node) {
            return false;
        }
        self.cluster.order(node, Order::Solo);
        self.cluster.world.is_leaving(node)
    }

    /// An operator does the same to a node that does not run, and the power fails meanwhile.
    pub(super) fn solo_stopped(&mut self, node: NodeId, operations: u64, pattern: u64) -> bool {
        let before = self.cluster.world.counts.alone.stopped;
        self.cluster.kill(node);
        if !self.lost.contains(&node) && !self.harmed.contains(&node) && self.is_settled() {
            self.cluster.turn_off_after(node, operations);
            self.cluster.order(node, Order::Solo);
        }
        self.cluster.lose_power_with(node, pattern);
        self.cluster.world.counts.alone.stopped > before
    }

    /// A node has forgotten everything, and is started again as one that waits to be attached.
    pub(super) fn emptied(&mut self, node: NodeId) {
        self.lost.remove(&node);
        self.harmed.remove(&node);
        let at = self.cluster.now() + self.plan.options.election_timeout;
        self.agenda.insert(at, Act::Restart(node));
    }

    /// A store that cannot be believed takes no further part.
    pub(super) fn lose(&mut self, node: NodeId, why: &str) {
        if self.lost.insert(node) {
            self.cluster.world.judge.lost(node);
            self.hit("quarantined");
            let why = format!("quarantined: {why}");
            self.cluster.world.note(|| Happening::Down { node, why });
        }
    }

    /// From here on no rule can be demanded of this cluster but that it does not panic.
    pub(super) fn excuse(&mut self) {
        self.cluster.world.judge.excuse();
    }
}
