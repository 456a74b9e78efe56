//! Requests in client sessions (dissertation §6.3), for tests that send things twice.
//!
//! Recorded schedules do not have them: they are of a workload's operations.

use raft_core::replica::{Serial, SessionId, Sessions};
use raft_core::{NodeId, RequestId, Time};

use super::cluster::Cluster;
use super::mechanism::World;
use crate::machine::{Machine, OpId, Tagged};
use crate::trace::Happening;

impl<S: Machine> World<S> {
    fn register(&mut self, at: Time, node: NodeId, op: OpId) {
        self.note(|| Happening::ask(node, op, "a session".to_string()));
        if let Some(replica) = self.given(node) {
            replica.register(at, RequestId(op));
        }
    }

    fn propose_in(&mut self, at: Time, node: NodeId, op: OpId, (serial, command): InSession<S>) {
        let now = self.now;
        let Serial {
            session, sequence, ..
        } = serial;
        self.note(|| Happening::ask(node, op, format!("{command:?} as {session}:{sequence}")));
        let tagged = Tagged { op, command };
        if let Some(replica) = self.given(node) {
            replica.propose_in(at, RequestId(op), serial, &tagged);
            self.judge.proposed(op, node, now, tagged.command);
        }
    }
}

type InSession<S> = (Serial, <S as raft_core::replica::StateMachine>::Command);

impl<S: Machine> Cluster<S> {
    /// Asks a node for a session; ask [`Cluster::session`] for it, or [`Cluster::reply`] why there is none.
    pub fn register(&mut self, node: NodeId) -> RequestId {
        self.last_op += 1;
        let (op, at) = (self.last_op, self.local(node));
        self.world.register(at, node, op);
        self.settle(node);
        RequestId(op)
    }

    /// Proposes a command of a session at a node; ask [`Cluster::reply`] for what became of it.
    ///
    /// Sent again with the same numbers, by another request and to whichever node, it must take effect
    /// once: the judge looks.
    pub fn propose_in(&mut self, node: NodeId, serial: Serial, command: S::Command) -> RequestId {
        self.last_op += 1;
        let (op, at) = (self.last_op, self.local(node));
        self.world.propose_in(at, node, op, (serial, command));
        self.settle(node);
        RequestId(op)
    }

    /// The sessions of a running node.
    ///
    /// # Panics
    ///
    /// If it does not run.
    #[must_use]
    pub fn sessions(&self, node: NodeId) -> &Sessions {
        let process = self.world.server(node).process.as_ref();
        let process = process.unwrap_or_else(|| panic!("node {node} does not run"));
        process.replica.sessions()
    }

    /// The session that a request began; `None` while it has not, or if its node died.
    #[must_use]
    pub fn session(&self, request: RequestId) -> Option<SessionId> {
        self.session_of.get(&request).copied()
    }
}
