//! What a node gives back when it has nothing to do, so that idle groups may be many.
//!
//! Heartbeats are when: they come rarely beside everything that needs memory, and when nothing else does they ask
//! for none.

use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::message::{Body, Envelope, Session};
use crate::types::Member;

use super::{Action, Node, Role};

/// How many actions a leader keeps room for: its heartbeats in a small group.
const LEADER_ACTIONS: usize = 8;

impl Node {
    /// A heartbeat came. It is answered in the envelope it came in: a follower that does nothing else keeps none.
    pub(super) fn on_beat(&mut self, heartbeat: Box<Envelope>) {
        let received = Envelope::clone(&heartbeat);
        self.reuse(heartbeat);
        self.on_receive(&received);
        self.rest();
    }

    /// Keeps nothing for what is over.
    pub(super) fn rest(&mut self) {
        self.log.give_back();
        self.persistence.give_back();
        self.proposals.give_back();
        self.apply.give_back();
        self.snapshots.give_back();
        self.apart.give_back();
        if let Some(requests) = self.requests.made() {
            requests.vacancy.forget_if_over(self.now);
            self.requests.give_back();
        }
        let actions = match &mut self.role {
            Role::Follower(follower) => {
                follower.give_back();
                self.spare = None;
                0
            }
            Role::PreCandidate(_) | Role::Candidate(_) => return,
            Role::Leader(leader) => {
                leader.give_back();
                LEADER_ACTIONS
            }
        };
        if self.outbox.is_empty() && self.outbox.capacity() > actions {
            self.outbox = Vec::new();
        }
    }

    /// Answers a heartbeat. Should that be all that is to be done, it takes no room among the actions.
    pub(super) fn answer_beat(&mut self, leader: Member, session: Session, reply: Body) {
        if self.outbox.is_empty() && self.answer.is_none() {
            self.answer = Some(self.envelope(leader, session, reply));
        } else {
            self.send(leader, session, reply);
        }
    }

    /// Hands out what was to be done.
    pub(super) fn hand_actions(&mut self, actions: &mut Vec<Action>) {
        if let Some(answer) = self.answer.take() {
            actions.push(Action::Send(answer));
        }
        if self.outbox.is_empty() {
            // The driver keeps its room.
            return;
        }
        if actions.is_empty() {
            core::mem::swap(actions, &mut self.outbox);
        } else {
            actions.append(&mut self.outbox);
        }
    }
}
