//! What operators order in a run, drawn before it begins: who takes part, who leads, whose store ends.
//!
//! Always holds: nothing is drawn by which a cluster could rightly lose a majority for good; what only shows on
//! the way is looked at when the order is given.

use raft_core::{NodeId, Span, Time};

use super::fault::{Fault, FaultKind, few, pattern};
use super::plan::{LEADING, LEAVING, MILLI, Plan, REPLACING, SECOND, SOLO, STOPPED, Target};
use super::profile::Profile;
use crate::order::Order;
use crate::workload::Draw;

impl Plan {
    /// What an operator orders meanwhile, in some runs: who takes part, and who leads.
    pub(super) fn draw_orders(&mut self, draw: &mut Draw) {
        let (changes, transfers) = (draw.percent(35), draw.percent(25));
        let ended = self.faults.iter().any(|fault| fault.kind.ends_a_store());
        // Whether enough stores are left to vote is only certain where membership stays as it is, but for those
        // who come back in their own places.
        let changes = changes && !ended;
        if ended {
            self.draw_replacements();
        }
        if !self.profile.is_swarm() || !(changes || transfers) {
            return;
        }
        if changes {
            self.spares = draw.between(0, 2);
            self.draw_catch_up(draw);
        }
        let gap = draw.pick(&[300 * MILLI, SECOND, 3 * SECOND]);
        let at_leader = draw.pick(&[30, 90]);
        let mut at = draw.below(2 * gap);
        while at < self.time.0 {
            let order = if changes && !(transfers && draw.percent(30)) {
                change(draw, self.servers())
            } else {
                handover(draw, self.servers())
            };
            let node = NodeId(draw.between(1, self.servers()));
            let target = if draw.percent(at_leader) {
                Target::Leader
            } else {
                Target::Node(node)
            };
            self.push_order(at, target, order);
            at += draw.below(2 * gap) + 1;
        }
        self.end_orders();
    }

    fn push_order(&mut self, at: u64, target: Target, order: Order) {
        self.faults.push(Fault {
            at: Time(at),
            target,
            kind: FaultKind::Order { order },
            lasts: Span(0),
        });
    }

    /// Orders take their places among the other faults, and none comes after these.
    fn end_orders(&mut self) {
        self.faults.retain(|fault| fault.at.0 < self.time.0);
        self.faults.sort_by_key(|fault| fault.at);
    }

    /// In some runs some nodes want to lead more than others, and a stalled disk is noticed soon.
    pub(super) fn draw_leading(&mut self) {
        let drawn = self.profile.is_swarm();
        let mut draw = Draw::new(self.seed, LEADING);
        if drawn && draw.percent(25) {
            let servers = 0..self.servers();
            self.priorities = servers.map(|_| draw.pick(&[1, 1, 2, 3])).collect();
        }
        if drawn && draw.percent(40) {
            let election = self.options.election_timeout.0;
            self.options.disk_stall_timeout = Span(election * draw.pick(&[1, 2, 5]));
        }
    }

    /// Stores that were lost are emptied, in half of these runs, and come back as other members in the places of
    /// those they were.
    fn draw_replacements(&mut self) {
        let mut draw = Draw::new(self.seed, REPLACING);
        if draw.percent(50) {
            return;
        }
        self.draw_catch_up(&mut draw);
        let ended: Vec<(Time, Target)> = self
            .faults
            .iter()
            .filter(|fault| fault.kind.ends_a_store())
            .map(|fault| (fault.at + fault.lasts, fault.target))
            .collect();
        for (since, target) in ended {
            let Target::Node(node) = target else {
                continue;
            };
            let mut at = since.0 + draw.below(5 * SECOND);
            self.push_order(at, target, Order::Reset);
            for _ in 0..draw.between(0, 6) {
                at += draw.below(3 * SECOND);
                let back = Order::Replace {
                    old: node,
                    new: node,
                };
                self.push_order(at, Target::Leader, back);
            }
        }
        self.end_orders();
    }

    /// In a few runs one node goes on alone, and others come to it after their stores were emptied, or stay away
    /// as the cluster they were.
    pub(super) fn draw_solo(&mut self) {
        let drawn = matches!(self.profile, Profile::Tolerated | Profile::Outside);
        let mut draw = Draw::new(self.seed, SOLO);
        if !drawn || !draw.percent(10) {
            return;
        }
        self.draw_catch_up(&mut draw);
        let mut deaths = Draw::new(self.seed, LEAVING);
        let third = self.time.0 / 3;
        // Not every node has what it takes when it is asked.
        let mut at = draw.below(third);
        for _ in 0..draw.between(1, 8) {
            let node = NodeId(draw.between(1, self.nodes));
            self.push_death(at, node, &mut deaths);
            self.push_order(at, Target::Node(node), Order::Solo);
            at += draw.below(SECOND);
        }
        self.draw_stopped(third);
        for node in (1..=self.nodes).map(NodeId) {
            if draw.percent(30) {
                continue;
            }
            let mut at = at + draw.below(third);
            self.push_order(at, Target::Node(node), Order::Reset);
            for _ in 0..draw.between(0, 6) {
                at += draw.below(3 * SECOND);
                self.push_order(at, Target::Leader, Order::Add { node });
            }
        }
        self.end_orders();
    }

    /// Some leave while they do not run, or have begun to when the power fails.
    fn draw_stopped(&mut self, until: u64) {
        let mut draw = Draw::new(self.seed, STOPPED);
        for _ in 0..draw.between(0, 4) {
            self.faults.push(Fault {
                at: Time(draw.below(until)),
                target: Target::Node(NodeId(draw.between(1, self.nodes))),
                kind: FaultKind::SoloStopped {
                    operations: draw.below(40),
                    pattern: pattern(&mut draw),
                },
                lasts: Span(draw.between(MILLI, 2 * SECOND)),
            });
        }
    }

    /// Most of those that leave die on the way: at one of their next actions, or while the disk is at work.
    fn push_death(&mut self, at: u64, node: NodeId, draw: &mut Draw) {
        let (actions, pattern) = (few(draw), pattern(draw));
        let while_it_writes = Time(at + 1 + draw.below(2 * self.network.sync_max.max(1)));
        let (at, kind) = match draw.below(6) {
            0 | 1 => return,
            2 => (
                Time(at),
                FaultKind::Crash {
                    actions: Some(actions),
                },
            ),
            3 => (
                Time(at),
                FaultKind::PowerLoss {
                    actions: Some(actions),
                    pattern,
                },
            ),
            4 => (while_it_writes, FaultKind::Crash { actions: None }),
            _ => (
                while_it_writes,
                FaultKind::PowerLoss {
                    actions: None,
                    pattern,
                },
            ),
        };
        self.faults.push(Fault {
            at,
            target: Target::Node(node),
            kind,
            lasts: Span(draw.between(MILLI, 2 * SECOND)),
        });
    }

    fn draw_catch_up(&mut self, draw: &mut Draw) {
        let election = self.options.election_timeout.0;
        self.options.catch_up_timeout = Span(election * draw.between(2, 12));
        self.options.catch_up_rounds = draw.pick(&[1, 3, 10]);
    }
}

/// A change of membership; half of them make no sense to whoever gets them, and must be refused.
fn change(draw: &mut Draw, nodes: u64) -> Order {
    let node = NodeId(draw.between(1, nodes));
    let other = NodeId(draw.between(1, nodes));
    match draw.below(11) {
        0 | 1 => Order::Add { node },
        2 => Order::Learner { node },
        3 | 4 => Order::Remove { node },
        5 => Order::Promote { node },
        6 => Order::Demote { node },
        7 => Order::Reset,
        8 => Order::AddAtOnce { node },
        9 => Order::RemoveAtOnce { node },
        _ => Order::Replace {
            old: node,
            new: other,
        },
    }
}

fn handover(draw: &mut Draw, nodes: u64) -> Order {
    match draw.below(4) {
        0 => Order::StepDown,
        1 => Order::Transfer { to: None },
        _ => Order::Transfer {
            to: Some(NodeId(draw.between(1, nodes))),
        },
    }
}
