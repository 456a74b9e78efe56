//! Client sessions as the committed log makes them: a model that looks everything up.
//!
//! It shares no code with the sessions of a replica: what is to be executed, what repeats something, and
//! what is refused, it decides from lists.
//!
//! Always holds: only what can still matter is in it.

use raft_core::replica::{ReplicatedRequest, Sequence, Serial, SessionId};
use raft_core::{Bytes, EntryId, Index, Span};

use crate::machine::{OpId, tag_of};

/// What an entry asks of replicas, as far as clients care.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    Nothing,
    /// To execute an operation.
    Operation(OpId),
    /// To execute an operation, unless it repeats another one.
    InSession(Serial, OpId),
    Register {
        sessions_max: u32,
    },
    Elapsed {
        span: Span,
        session_timeout: Span,
    },
}

impl Asked {
    pub(super) fn of(command: &Bytes) -> Self {
        let Ok(request) = ReplicatedRequest::decode(command) else {
            return Self::Nothing;
        };
        match request {
            ReplicatedRequest::Plain(command) => {
                tag_of(&command).map_or(Self::Nothing, Self::Operation)
            }
            ReplicatedRequest::InSession { serial, command } => {
                tag_of(&command).map_or(Self::Nothing, |op| Self::InSession(serial, op))
            }
            ReplicatedRequest::Register { sessions_max, .. } => Self::Register { sessions_max },
            ReplicatedRequest::Elapsed {
                span,
                session_timeout,
            } => Self::Elapsed {
                span,
                session_timeout,
            },
        }
    }
}

/// What a committed entry does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Deed {
    /// Nothing that clients see.
    Nothing,
    /// An operation is executed.
    Executes(OpId),
    /// An operation is not executed, because it repeats an earlier one.
    Repeats { op: OpId, first: OpId, at: Index },
}

#[derive(Debug)]
struct GhostSession {
    id: SessionId,
    last: Index,
    lowest: Sequence,
    executed: Vec<(Sequence, OpId, Index)>,
}

/// The sessions.
#[derive(Debug, Default)]
pub(super) struct GhostSessions {
    sessions: Vec<GhostSession>,
    clock: u64,
    /// Entries that let time pass, and the clock after each.
    times: Vec<(Index, u64)>,
}

impl GhostSessions {
    /// The next entry is committed.
    pub(super) fn committed(&mut self, id: EntryId, asked: Asked) -> Deed {
        match asked {
            Asked::Nothing => Deed::Nothing,
            Asked::Operation(op) => Deed::Executes(op),
            Asked::InSession(serial, op) => self.in_session(id.index, serial, op),
            Asked::Register { sessions_max } => {
                self.register(id, sessions_max);
                Deed::Nothing
            }
            Asked::Elapsed {
                span,
                session_timeout,
            } => {
                self.elapse(id.index, span, session_timeout);
                Deed::Nothing
            }
        }
    }

    fn in_session(&mut self, index: Index, serial: Serial, op: OpId) -> Deed {
        let mut sessions = self.sessions.iter_mut();
        let Some(session) = sessions.find(|session| session.id == serial.session) else {
            return Deed::Nothing;
        };
        session.last = index;
        session.lowest = session.lowest.max(serial.lowest);
        let lowest = session.lowest;
        session.executed.retain(|(known, ..)| *known >= lowest);
        if serial.sequence < lowest {
            return Deed::Nothing;
        }
        let earlier = session.executed.iter();
        let mut earlier = earlier.filter(|(known, ..)| *known == serial.sequence);
        if let Some((_, first, at)) = earlier.next().copied() {
            return Deed::Repeats { op, first, at };
        }
        session.executed.push((serial.sequence, op, index));
        Deed::Executes(op)
    }

    fn register(&mut self, id: EntryId, sessions_max: u32) {
        while self.sessions.len() >= sessions_max.max(1) as usize {
            let sessions = self.sessions.iter().enumerate();
            let silent = sessions.min_by_key(|(_, session)| session.last);
            let Some((place, _)) = silent else { break };
            self.sessions.remove(place);
        }
        self.sessions.push(GhostSession {
            id: SessionId(id),
            last: id.index,
            lowest: Sequence(0),
            executed: Vec::new(),
        });
    }

    fn elapse(&mut self, index: Index, span: Span, session_timeout: Span) {
        self.clock += span.0;
        let (now, times) = (self.clock, &self.times);
        self.sessions.retain(|session| {
            let mut times = times.iter();
            let since = times.find(|(mark, _)| *mark > session.last);
            since.is_none_or(|(_, since)| now - since < session_timeout.0)
        });
        self.times.push((index, now));
        let oldest = self.sessions.iter().map(|session| session.last).min();
        self.times
            .retain(|(mark, _)| oldest.is_some_and(|oldest| *mark > oldest));
    }
}
