//! The bytes of sessions in a snapshot.
//!
//! Little-endian integers in a fixed layout: the clock, the marks, and each session with its answers.
//!
//! Always holds: sessions that are equal have equal bytes; what is read keeps every rule of `Sessions`, and
//! a claimed count or length takes no memory before its bytes are there.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::string::ToString;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

use bytes::{Buf, BufMut, Bytes};

use crate::planted::{Bug, planted};
use crate::types::{EntryId, Index, Span, Term};

use super::image::{Image, ImageError, Sink, Source, read_exact};
use super::serial::{SESSION_WINDOW, Sequence, SessionId};
use super::sessions::{Answer, MARKS_MAX, REPLY_BYTES_MAX, Session, Sessions};

const LOST: u8 = 0;
const KEPT: u8 = 1;

impl Image for Sessions {
    fn write(&self, sink: &mut dyn Sink) -> Result<(), ImageError> {
        if planted(Bug::SessionsLeftOut) && !self.is_empty() {
            return Self::default().write(sink);
        }
        let mut out = Vec::new();
        out.put_u64_le(self.clock.0);
        put_count(&mut out, self.marks.len());
        for (index, clock) in &self.marks {
            out.put_u64_le(index.0);
            out.put_u64_le(clock.0);
        }
        put_count(&mut out, self.sessions.len());
        for (id, session) in &self.sessions {
            put_entry_id(&mut out, id.0);
            put_session(&mut out, session);
            sink.write(&out)?;
            out.clear();
        }
        sink.write(&out)
    }

    fn read(source: &mut dyn Source) -> Result<Self, ImageError> {
        let mut head = take::<12>(source)?;
        let mut sessions = Self {
            clock: Span(head.get_u64_le()),
            ..Self::default()
        };
        sessions.marks = read_marks(source, head.get_u32_le(), sessions.clock)?;
        let count = take::<4>(source)?.get_u32_le();
        for _ in 0..count {
            let id = SessionId(read_entry_id(source)?);
            let session = read_session(source, id)?;
            let last = sessions.sessions.last_key_value();
            if last.is_some_and(|(last, _)| *last >= id) {
                return malformed("sessions are in the order of their names");
            }
            if sessions.by_last.insert(session.last, id).is_some() {
                return malformed("two sessions have the same last entry");
            }
            sessions.sessions.insert(id, Arc::new(session));
        }
        if sessions.is_empty() && !sessions.marks.is_empty() {
            return malformed("there are marks, but no session");
        }
        Ok(sessions)
    }
}

fn put_count(out: &mut Vec<u8>, count: usize) {
    let count = u32::try_from(count);
    out.put_u32_le(count.unwrap_or_else(|_| unreachable!("there are fewer than 2^32 sessions")));
}

fn put_entry_id(out: &mut Vec<u8>, id: EntryId) {
    out.put_u64_le(id.term.0);
    out.put_u64_le(id.index.0);
}

fn put_session(out: &mut Vec<u8>, session: &Session) {
    out.put_u64_le(session.last.0);
    out.put_u64_le(session.lowest.0);
    out.put_u32_le(session.reply_bytes_max);
    put_count(out, session.answers.len());
    for (sequence, answer) in &session.answers {
        out.put_u64_le(sequence.0);
        put_entry_id(out, answer.id);
        match &answer.reply {
            None => out.put_u8(LOST),
            Some(reply) => {
                out.put_u8(KEPT);
                put_count(out, reply.len());
                out.put_slice(reply);
            }
        }
    }
}

fn malformed<T>(what: &str) -> Result<T, ImageError> {
    Err(ImageError::Malformed(what.to_string()))
}

/// So many bytes, to be read one integer after the other.
fn take<const BYTES: usize>(source: &mut dyn Source) -> Result<Bytes, ImageError> {
    let mut buffer = [0; BYTES];
    read_exact(source, &mut buffer)?;
    Ok(Bytes::copy_from_slice(&buffer))
}

fn read_entry_id(source: &mut dyn Source) -> Result<EntryId, ImageError> {
    let mut bytes = take::<16>(source)?;
    let (term, index) = (Term(bytes.get_u64_le()), Index(bytes.get_u64_le()));
    Ok(EntryId { term, index })
}

fn read_marks(
    source: &mut dyn Source,
    count: u32,
    now: Span,
) -> Result<VecDeque<(Index, Span)>, ImageError> {
    if count as usize > MARKS_MAX {
        return malformed("there are too many marks");
    }
    let mut marks = VecDeque::new();
    for _ in 0..count {
        let mut bytes = take::<16>(source)?;
        let (index, clock) = (Index(bytes.get_u64_le()), Span(bytes.get_u64_le()));
        let (before, since) = marks.back().copied().unwrap_or_default();
        if index <= before || clock < since || clock > now {
            return malformed("marks are in the order in which time passed");
        }
        marks.push_back((index, clock));
    }
    Ok(marks)
}

fn read_session(source: &mut dyn Source, id: SessionId) -> Result<Session, ImageError> {
    let mut bytes = take::<24>(source)?;
    let mut session = Session {
        last: Index(bytes.get_u64_le()),
        lowest: Sequence(bytes.get_u64_le()),
        reply_bytes_max: bytes.get_u32_le(),
        answers: BTreeMap::new(),
    };
    if session.reply_bytes_max > REPLY_BYTES_MAX {
        return malformed("a session keeps more bytes than any may");
    }
    if session.last < id.0.index {
        return malformed("a session's last entry is not before its first");
    }
    let count = bytes.get_u32_le();
    let mut room = session.reply_bytes_max;
    for _ in 0..count {
        let sequence = Sequence(take::<8>(source)?.get_u64_le());
        let above = sequence.0.checked_sub(session.lowest.0);
        let last = session.answers.last_key_value();
        if above.is_none_or(|above| above >= SESSION_WINDOW)
            || last.is_some_and(|(last, _)| *last >= sequence)
        {
            return malformed("answers are in order, and within a window");
        }
        let id = read_entry_id(source)?;
        let reply = match take::<1>(source)?.get_u8() {
            LOST => None,
            KEPT => {
                let length = take::<4>(source)?.get_u32_le();
                let Some(left) = room.checked_sub(length) else {
                    return malformed("a session's replies are longer than it may keep");
                };
                room = left;
                let mut reply = vec![0; length as usize];
                read_exact(source, &mut reply)?;
                Some(Bytes::from(reply))
            }
            _ => return malformed("a reply is kept or lost"),
        };
        session.answers.insert(sequence, Answer { id, reply });
    }
    Ok(session)
}
