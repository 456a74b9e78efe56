//! What a replica does about sessions: requests in them, and the entries that carry those.

use alloc::vec::Vec;

use bytes::Bytes;

use crate::action::RoleKind;
use crate::event::{Event, Input};
use crate::types::{EntryId, RequestId, Span, Time};

use super::request::{ReplicatedRequest, plain_command, put_in_session};
use super::serial::{SESSION_WINDOW, Serial, SessionId};
use super::sessions::{Answer, Sessions, Turn};
use super::{Applied, Command, Output, Replica, RequestError, StateMachine};

/// A request of this replica whose answer is known from the sessions, should its entry be applied before
/// it is known to be its own.
#[derive(Clone, Copy, Debug)]
pub(super) enum SessionRequest {
    Register,
    Command(Serial),
}

/// An entry's effect, or why nobody can be told of one.
pub(super) type Executed<R> = Result<Effect<R>, RequestError>;

/// What an entry did, for whoever asked for it.
#[derive(Debug)]
pub(super) enum Effect<R> {
    Reply(R),
    Registered(SessionId),
}

impl<S: StateMachine> Output<S> {
    pub(super) fn of(request: RequestId, result: Executed<S::Reply>) -> Self {
        let result = match result {
            Ok(Effect::Registered(session)) => return Self::Registered { request, session },
            Ok(Effect::Reply(reply)) => Ok(reply),
            Err(error) => Err(error),
        };
        Self::Reply { request, result }
    }
}

impl<S: StateMachine> Replica<S> {
    /// Begins a session: commands sent in it with [`Replica::propose_in`] take effect once, however often
    /// they are sent, at whichever node (dissertation §6.3).
    ///
    /// [`Output::Registered`] or an error comes out of a later [`Replica::drain`]. Sessions begun twice
    /// for want of an answer do no harm: one that is not used ends by itself.
    ///
    /// This node's `Options::sessions_max` and `Options::session_reply_bytes_max` go with the request, so
    /// that nodes with other options do the same about it.
    pub fn register(&mut self, at: Time, request: RequestId) {
        self.session_requests
            .insert(request, SessionRequest::Register);
        let register = ReplicatedRequest::Register {
            sessions_max: self.options.sessions_max,
            reply_bytes_max: self.options.session_reply_bytes_max,
        };
        let command = register.encode();
        let input = Input::Propose { request, command };
        self.handle(Event { at, input });
    }

    /// Replicates a command of a session; its reply comes out of a later [`Replica::drain`].
    ///
    /// A command that was sent before with the same session and sequence is not executed again: its reply
    /// is given again. Each command sent with the same number must be the same. After an error that
    /// leaves the outcome open ([`RequestError::Unknown`], [`RequestError::ReplyLost`]) sending it again
    /// tells; [`crate::replica::ClientSession`] keeps the numbers.
    ///
    /// A session in which no command comes for `Options::session_timeout` ends, and so does the one that
    /// was silent longest if there are too many: then [`RequestError::SessionExpired`] is the answer, and
    /// whether a command that was sent before took effect cannot be told any more.
    pub fn propose_in(
        &mut self,
        at: Time,
        request: RequestId,
        serial: Serial,
        command: &S::Command,
    ) {
        let Serial {
            sequence, lowest, ..
        } = serial;
        let refused = match sequence.0.checked_sub(lowest.0) {
            None => Some(RequestError::SequencePassed { lowest }),
            Some(behind) if behind >= SESSION_WINDOW => Some(RequestError::WindowFull { lowest }),
            Some(_) => None,
        };
        if let Some(error) = refused {
            self.now = self.now.max(at);
            self.refused.push((request, error));
            return;
        }
        self.session_requests
            .insert(request, SessionRequest::Command(serial));
        let command = self.arena.bytes(|out| put_in_session(serial, command, out));
        let input = Input::Propose { request, command };
        self.handle(Event { at, input });
    }

    /// The sessions as of the last entry in the state machine.
    pub const fn sessions(&self) -> &Sessions {
        &self.sessions
    }

    /// Carries out a committed command.
    pub(super) fn execute(&mut self, id: EntryId, command: &Bytes) -> Executed<S::Reply> {
        if let Some(plain) = plain_command(command)
            && let Some(reply) = self.machine.apply_encoded(id, plain)
        {
            return Ok(Effect::Reply(reply));
        }
        if let Some(command) = ReplicatedRequest::plain(command) {
            return self.execute_command(id, &command).map(Effect::Reply);
        }
        let request = ReplicatedRequest::decode(command);
        match request.map_err(|_| RequestError::Undecodable)? {
            ReplicatedRequest::Plain(command) => {
                self.execute_command(id, &command).map(Effect::Reply)
            }
            ReplicatedRequest::InSession { serial, command } => {
                match self.sessions.turn(id.index, serial)? {
                    Turn::First => {
                        let reply = self.execute_command(id, &command)?;
                        self.sessions.keep(serial, id, S::encode_reply(&reply));
                        Ok(Effect::Reply(reply))
                    }
                    Turn::Again(answer) => Self::repeat(&answer).map(Effect::Reply),
                }
            }
            ReplicatedRequest::Register {
                sessions_max,
                reply_bytes_max,
            } => {
                self.sessions.register(id, sessions_max, reply_bytes_max);
                Ok(Effect::Registered(SessionId(id)))
            }
            ReplicatedRequest::Elapsed {
                span,
                session_timeout,
            } => {
                self.sessions.elapse(id.index, span, session_timeout);
                self.elapsed.applied(id);
                // Nobody waits for it.
                Err(RequestError::ReplyLost(id))
            }
        }
    }

    fn execute_command(&mut self, id: EntryId, command: &Bytes) -> Result<S::Reply, RequestError> {
        let command = S::Command::decode(command).map_err(|_| RequestError::Undecodable)?;
        Ok(self.machine.apply(Applied { id, command }))
    }

    fn repeat(answer: &Answer) -> Result<S::Reply, RequestError> {
        let reply = answer.reply.as_ref().and_then(S::decode_reply);
        reply.ok_or(RequestError::ReplyLost(answer.id))
    }

    /// The answer to a request whose entry was applied before this node knew that it was its own.
    pub(super) fn late_answer(
        &self,
        id: EntryId,
        request: Option<SessionRequest>,
    ) -> Executed<S::Reply> {
        match request {
            Some(SessionRequest::Register) => Ok(Effect::Registered(SessionId(id))),
            Some(SessionRequest::Command(serial)) => match self.sessions.answer(serial) {
                Some(answer) => Self::repeat(answer).map(Effect::Reply),
                // Refused, or answered and discarded since: sending it again tells.
                None => Err(RequestError::Unknown),
            },
            None => Err(RequestError::ReplyLost(id)),
        }
    }

    /// Lets time pass for the sessions, if it is time to.
    pub(super) fn tell_time(&mut self) {
        self.observe_time();
        let Some(span) = self.elapsed.due(self.now) else {
            return;
        };
        let elapsed = ReplicatedRequest::Elapsed {
            span,
            session_timeout: self.options.session_timeout,
        };
        let entry = self.node.append_unasked(self.now, elapsed.encode());
        self.elapsed.told(self.now, entry, self.tell_interval());
    }

    /// Whether time is to be measured now: while this replica leads, and there are sessions.
    pub(super) fn observe_time(&mut self) {
        let status = self.node.status();
        let leads = status.role == RoleKind::Leader && status.halted.is_none();
        let leads = (leads && !self.sessions.is_empty()).then_some(status.term);
        let interval = self.tell_interval();
        self.elapsed.observe(leads, self.now, interval);
    }

    /// Often enough that sessions end about in time, and seldom, because each time costs an entry.
    fn tell_interval(&self) -> Span {
        Span(self.options.session_timeout.0.div_ceil(8))
    }

    /// Says no to what was not taken in.
    pub(super) fn answer_refused(&mut self, outputs: &mut Vec<Output<S>>) {
        for (request, error) in self.refused.drain(..) {
            let result = Err(error);
            outputs.push(Output::Reply { request, result });
        }
    }
}
