//! Client sessions: what became of the last commands of each client, so that one that is repeated takes
//! effect once.
//!
//! Read first: dissertation §6.3. Everything here is part of the replicated state: it changes by applying
//! entries only, from what they carry, and goes into snapshots.
//!
//! Time is replicated, too: it passes by entries in which a leader says how much of it has. A session that
//! was silent for longer than a timeout ends. Each of those entries leaves a mark, and silence counts from
//! the first mark after a session's last command, so that time before that command never counts.
//!
//! Always holds: sessions are known by their last entry, which is no other's; a session keeps less than a
//! window of answers, each at or above the lowest sequence its client waits for.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::sync::Arc;

use bytes::Bytes;

use crate::planted::{Bug, planted};
use crate::types::{EntryId, Index, Span};

use super::RequestError;
use super::serial::{SESSION_WINDOW, Sequence, Serial, SessionId};

/// So many marks are kept; with more, silence counts from a later one. A leader makes about eight in a
/// timeout, so there are more only if leaders have very different timeouts.
pub(super) const MARKS_MAX: usize = 64;

/// Most bytes of replies that one session keeps, whatever it was registered with.
pub(super) const REPLY_BYTES_MAX: u32 = 1 << 20;

/// The sessions of a replica.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sessions {
    /// How much time has passed, by what leaders said.
    pub(super) clock: Span,
    /// Entries that let time pass, each with what the clock said afterwards.
    pub(super) marks: VecDeque<(Index, Span)>,
    /// Shared with images until it changes.
    pub(super) sessions: BTreeMap<SessionId, Arc<Session>>,
    /// The same, by their last entry: the one that was silent longest is the first.
    pub(super) by_last: BTreeMap<Index, SessionId>,
}

/// One client's session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Session {
    /// The last entry that was the client's.
    pub(super) last: Index,
    /// The client has no use for answers to lower numbers.
    pub(super) lowest: Sequence,
    /// So many bytes of replies are kept at most.
    pub(super) reply_bytes_max: u32,
    pub(super) answers: BTreeMap<Sequence, Answer>,
}

/// What became of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    /// The entry as which it took effect.
    pub(super) id: EntryId,
    /// Its reply; none if there was no room for it.
    pub(super) reply: Option<Bytes>,
}

/// What is to be done about a command of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// To execute it, for the first time.
    First,
    /// To repeat the answer.
    Again(Answer),
}

impl Session {
    fn reply_bytes(&self) -> u64 {
        let replies = self.answers.values().flat_map(|answer| &answer.reply);
        replies.map(|reply| reply.len() as u64).sum()
    }
}

impl Sessions {
    /// How many sessions there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.sessions.len()
    }

    /// Whether there is no session.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }

    /// Whether a session has not ended.
    #[must_use]
    pub fn contains(&self, session: SessionId) -> bool {
        self.sessions.contains_key(&session)
    }

    /// How much time has passed, by what leaders said.
    #[must_use]
    pub const fn clock(&self) -> Span {
        self.clock
    }

    /// A session begins; those that were silent longest end if there are too many.
    pub(super) fn register(&mut self, id: EntryId, sessions_max: u32, reply_bytes_max: u32) {
        assert!(
            self.by_last
                .last_key_value()
                .is_none_or(|(last, _)| *last < id.index),
            "entries are applied in order"
        );
        while self.sessions.len() >= sessions_max.max(1) as usize {
            self.end_first();
        }
        let session = Session {
            last: id.index,
            lowest: Sequence(0),
            reply_bytes_max: reply_bytes_max.min(REPLY_BYTES_MAX),
            answers: BTreeMap::new(),
        };
        self.by_last.insert(id.index, SessionId(id));
        self.sessions.insert(SessionId(id), Arc::new(session));
    }

    /// A client's command is to be executed, as the entry at this index.
    pub(super) fn turn(&mut self, index: Index, serial: Serial) -> Result<Turn, RequestError> {
        let Some(session) = self.sessions.get_mut(&serial.session) else {
            return Err(RequestError::SessionExpired);
        };
        let session = Arc::make_mut(session);
        self.by_last.remove(&session.last);
        self.by_last.insert(index, serial.session);
        session.last = index;
        session.lowest = session.lowest.max(serial.lowest);
        let lowest = session.lowest;
        session.answers.retain(|sequence, _| *sequence >= lowest);
        if serial.sequence < lowest {
            return Err(RequestError::SequencePassed { lowest });
        }
        let answer = session.answers.get(&serial.sequence);
        match answer.filter(|_| !planted(Bug::SessionForgets)) {
            Some(answer) => Ok(Turn::Again(answer.clone())),
            None => Ok(Turn::First),
        }
    }

    /// Keeps what became of a command that was just executed.
    pub(super) fn keep(&mut self, serial: Serial, id: EntryId, reply: Option<Bytes>) {
        let Some(session) = self.sessions.get_mut(&serial.session) else {
            return;
        };
        let session = Arc::make_mut(session);
        let room = u64::from(session.reply_bytes_max).saturating_sub(session.reply_bytes());
        let reply = reply.filter(|reply| reply.len() as u64 <= room);
        session
            .answers
            .insert(serial.sequence, Answer { id, reply });
        assert!(
            session.answers.len() as u64 <= SESSION_WINDOW,
            "a session keeps a window of answers"
        );
    }

    /// What became of a command that was executed earlier, if that is still known.
    pub(super) fn answer(&self, serial: Serial) -> Option<&Answer> {
        let session = self.sessions.get(&serial.session)?;
        session.answers.get(&serial.sequence)
    }

    /// Time passes, by the entry at this index: sessions that were silent for too long end.
    pub(super) fn elapse(&mut self, index: Index, span: Span, session_timeout: Span) {
        self.clock = Span(self.clock.0.saturating_add(span.0));
        let mut silent_before = Index(0);
        while let Some((mark, clock)) = self.marks.front().copied()
            && self.clock.0 - clock.0 >= session_timeout.0
        {
            self.marks.pop_front();
            silent_before = mark;
        }
        while let Some((last, _)) = self.by_last.first_key_value()
            && *last < silent_before
        {
            self.end_first();
        }
        self.marks.push_back((index, self.clock));
        self.drop_marks();
    }

    /// Forgets marks that no session's silence counts from, or that are too many.
    fn drop_marks(&mut self) {
        let oldest = self.by_last.first_key_value().map(|(last, _)| *last);
        let Some(oldest) = oldest else {
            self.marks.clear();
            return;
        };
        while let Some((mark, _)) = self.marks.front()
            && *mark < oldest
        {
            self.marks.pop_front();
        }
        if self.marks.len() > MARKS_MAX {
            self.marks.remove(MARKS_MAX - 1);
        }
    }

    fn end_first(&mut self) {
        if let Some((_, session)) = self.by_last.pop_first() {
            self.sessions.remove(&session);
        }
    }
}
