//! Requests in client sessions (dissertation §6.3).

use raft_core::replica::{RequestError, Sequence, Serial, SessionId, Sessions};
use raft_core::{NodeId, RequestId, Time};

use super::cluster::Cluster;
use super::mechanism::World;
use crate::machine::{Machine, OpId, Tagged};
use crate::schedule_line::Step;
use crate::trace::Happening;

/// What a client makes of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// The command took effect, or never will: there is nothing more to do about it.
    Answer,
    /// It may have taken effect, or was refused for now.
    Nothing,
    /// The session is no more.
    SessionEnded,
}

impl Heard {
    pub(super) const fn of<R>(result: &Result<R, RequestError>) -> Self {
        match result {
            Ok(_) | Err(RequestError::ReplyLost(_) | RequestError::SequencePassed { .. }) => {
                Self::Answer
            }
            Err(RequestError::SessionExpired) => Self::SessionEnded,
            Err(
                RequestError::Rejected(_)
                | RequestError::Superseded(_)
                | RequestError::WindowFull { .. }
                | RequestError::Unknown
                | RequestError::Undecodable,
            ) => Self::Nothing,
        }
    }
}

/// A command of a session, as a schedule names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repeat {
    /// The request whose command it is.
    pub command: u64,
    /// The request that began the session.
    pub registers: u64,
    /// The command's number in the session.
    pub sequence: Sequence,
    /// The lowest that the client has no answer to.
    pub lowest: Sequence,
}

impl Repeat {
    pub(crate) const fn serial(&self, session: SessionId) -> Serial {
        Serial {
            session,
            sequence: self.sequence,
            lowest: self.lowest,
        }
    }
}

impl<S: Machine> World<S> {
    pub(crate) fn register(&mut self, at: Time, node: NodeId, op: OpId) {
        self.note(|| Happening::ask(node, op, "a session".to_string()));
        if let Some(replica) = self.given(node) {
            replica.register(at, RequestId(op));
        }
    }

    pub(crate) fn propose_in(
        &mut self,
        at: Time,
        node: NodeId,
        op: OpId,
        (serial, command): InSession<S>,
    ) {
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
        self.register_as(self.last_op, node);
        RequestId(self.last_op)
    }

    pub(crate) fn register_as(&mut self, op: OpId, node: NodeId) {
        self.record(|| Step::Register { node, op });
        let at = self.local(node);
        self.world.register(at, node, op);
        self.settle(node);
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

    /// The same by the session that a request began, if it has begun, so that a schedule can repeat it.
    pub(crate) fn propose_again(
        &mut self,
        op: OpId,
        node: NodeId,
        repeat: Repeat,
        command: S::Command,
    ) {
        let Some(session) = self.session(RequestId(repeat.registers)) else {
            return;
        };
        self.record(|| Step::InSession { node, op, repeat });
        let at = self.local(node);
        let command = (repeat.serial(session), command);
        self.world.propose_in(at, node, op, command);
        self.settle(node);
    }

    /// What was answered since this was asked last.
    pub(crate) fn take_heard(&mut self) -> Vec<(OpId, Heard)> {
        core::mem::take(&mut self.heard)
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
