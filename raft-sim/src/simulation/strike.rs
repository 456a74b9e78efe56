//! How the faults of a plan begin and end.
//!
//! Always holds: what is counted has happened, and not only been tried.

use raft_core::NodeId;

use crate::order::Order;
use crate::trace::Happening;
use crate::workload::Workload;
use crate::world::{Death, TRUE_RATE};

use super::fault::{Fault, FaultKind};
use super::run::Run;

impl<W: Workload> Run<'_, W> {
    pub(super) fn begin(&mut self, place: usize, fault: &Fault) {
        let node = self.node_at(fault.target);
        self.places.insert(place, node);
        let links = self.links_of(node, &fault.kind);
        self.cluster.world.note(|| told(node, fault, links.clone()));
        if self.strike(place, node, fault, &links) {
            self.hit(fault.kind.name());
        }
    }

    /// Lets a fault take effect; true if it did, and is counted at once.
    fn strike(
        &mut self,
        place: usize,
        node: NodeId,
        fault: &Fault,
        links: &[(NodeId, NodeId)],
    ) -> bool {
        let runs = self.cluster.is_running(node);
        match &fault.kind {
            FaultKind::Crash {
                actions: Some(actions),
            } => self.doom(node, fault, *actions, None),
            FaultKind::PowerLoss {
                actions: Some(actions),
                pattern,
            } => self.doom(node, fault, *actions, Some(*pattern)),
            FaultKind::Crash { actions: None } => {
                self.cluster.kill(node);
                runs
            }
            FaultKind::PowerLoss {
                actions: None,
                pattern,
            } => {
                self.cluster.lose_power_with(node, *pattern);
                true
            }
            FaultKind::CrashWhileStarting {
                operations,
                pattern,
            } => self.crash_while_starting(node, *operations, *pattern),
            FaultKind::SoloStopped {
                operations,
                pattern,
            } => self.solo_stopped(node, *operations, *pattern),
            FaultKind::Pause => {
                let until = self.cluster.now() + fault.lasts;
                self.cluster.pause(node, until);
                runs
            }
            FaultKind::Isolate { .. } | FaultKind::Cut { .. } => {
                for (from, to) in links {
                    self.cluster.cut(*from, *to);
                }
                !links.is_empty()
            }
            FaultKind::ClockRate { rate } => {
                self.cluster.set_clock_rate(node, *rate);
                true
            }
            FaultKind::ClockJump { ahead } => {
                self.cluster.jump_clock(node, *ahead);
                true
            }
            FaultKind::SlowDisk { .. }
            | FaultKind::FullDisk { .. }
            | FaultKind::FailedSync
            | FaultKind::Damage { .. }
            | FaultKind::Wipe
            | FaultKind::Rollback { .. }
            | FaultKind::Clone
            | FaultKind::Lies { .. } => self.strike_disk(place, node, &fault.kind),
            FaultKind::Order { order } => self.give(node, *order),
        }
    }

    /// An operator gives an order; false if there is nobody to take it, or it makes no sense to whoever looks.
    fn give(&mut self, node: NodeId, order: Order) -> bool {
        if self.cluster.is_paused(node) {
            return false;
        }
        match order {
            Order::Reset => self.reset(node),
            Order::Solo => self.solo(node),
            Order::Add { .. }
            | Order::AddAtOnce { .. }
            | Order::Learner { .. }
            | Order::Remove { .. }
            | Order::RemoveAtOnce { .. }
            | Order::Promote { .. }
            | Order::Demote { .. }
            | Order::Replace { .. } => {
                // Whoever belongs to another cluster says so when it is asked to join this one.
                let joins = order.joins();
                let refused = joins.is_some_and(|joins| self.is_stranger(joins));
                let takes = self.cluster.is_running(node) && !refused && self.is_complete();
                if takes {
                    self.cluster.order(node, order);
                }
                takes
            }
            Order::Transfer { .. } | Order::StepDown => {
                let takes = self.cluster.is_running(node);
                if takes {
                    self.cluster.order(node, order);
                }
                takes
            }
        }
    }

    /// The links that a fault cuts.
    pub(super) fn links_of(&self, node: NodeId, kind: &FaultKind) -> Vec<(NodeId, NodeId)> {
        match kind {
            FaultKind::Cut { links } => links.clone(),
            FaultKind::Isolate { inbound, outbound } => {
                let others = self
                    .cluster
                    .nodes()
                    .into_iter()
                    .filter(|other| *other != node);
                others
                    .flat_map(|other| {
                        let inbound = inbound.then_some((other, node));
                        inbound.into_iter().chain(outbound.then_some((node, other)))
                    })
                    .collect()
            }
            FaultKind::Crash { .. }
            | FaultKind::PowerLoss { .. }
            | FaultKind::CrashWhileStarting { .. }
            | FaultKind::SoloStopped { .. }
            | FaultKind::Pause
            | FaultKind::SlowDisk { .. }
            | FaultKind::FullDisk { .. }
            | FaultKind::ClockRate { .. }
            | FaultKind::ClockJump { .. }
            | FaultKind::FailedSync
            | FaultKind::Damage { .. }
            | FaultKind::Wipe
            | FaultKind::Rollback { .. }
            | FaultKind::Lies { .. }
            | FaultKind::Clone
            | FaultKind::Order { .. } => Vec::new(),
        }
    }

    /// The process dies some actions later; what that amounts to is counted then.
    fn doom(&mut self, node: NodeId, fault: &Fault, actions: u32, power: Option<u64>) -> bool {
        if self.cluster.is_running(node) {
            self.doomed.insert(node, (fault.lasts, fault.kind.name()));
            self.cluster.doom(node, Death { actions, power });
        }
        false
    }

    /// The power fails in the middle of recovery; the start after that has to cope.
    fn crash_while_starting(&mut self, node: NodeId, operations: u64, pattern: u64) -> bool {
        self.cluster.kill(node);
        self.cluster.turn_off_after(node, operations);
        let cut_short = !self.lost.contains(&node) && self.cluster.start(node).is_err();
        // Whatever it got to, the machine is off now.
        self.cluster.lose_power_with(node, pattern);
        cut_short
    }

    pub(super) fn end(&mut self, node: NodeId, fault: &Fault) {
        match &fault.kind {
            FaultKind::Isolate { .. } | FaultKind::Cut { .. } => {
                let links = self.links_of(node, &fault.kind);
                for (from, to) in &links {
                    self.cluster.links.mend(*from, *to);
                }
                let text = "links are mended".to_string();
                self.cluster.world.note(|| Happening::Heal { links, text });
            }
            FaultKind::SlowDisk { .. } => self.cluster.set_slow_disk(node, 1),
            FaultKind::FullDisk { .. } => self.cluster.set_room(node, None),
            FaultKind::ClockRate { .. } => self.cluster.set_clock_rate(node, TRUE_RATE),
            FaultKind::Lies { pattern } => {
                self.cluster.lose_power_with(node, *pattern);
                self.cluster.disk(node).set_lying(false);
                self.start(node);
            }
            FaultKind::Pause
            | FaultKind::Clone
            | FaultKind::Order { .. }
            | FaultKind::ClockJump { .. }
            | FaultKind::Crash { actions: Some(_) }
            | FaultKind::PowerLoss {
                actions: Some(_), ..
            } => {}
            FaultKind::Crash { actions: None }
            | FaultKind::PowerLoss { actions: None, .. }
            | FaultKind::CrashWhileStarting { .. }
            | FaultKind::SoloStopped { .. }
            | FaultKind::FailedSync
            | FaultKind::Damage { .. }
            | FaultKind::Wipe
            | FaultKind::Rollback { .. } => self.start(node),
        }
    }
}

/// A fault, as a trace has it.
fn told(node: NodeId, fault: &Fault, links: Vec<(NodeId, NodeId)>) -> Happening {
    let text = fault.to_string();
    if let FaultKind::ClockRate { .. } | FaultKind::ClockJump { .. } = fault.kind {
        return Happening::Clock { node, text };
    }
    if links.is_empty() {
        let node = Some(node);
        return Happening::Note { node, text };
    }
    Happening::Cut { links, text }
}
