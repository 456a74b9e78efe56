//! The bytes of a replicated request: the user's command, and in front of it what a replica does with it.
//!
//! One byte says what it is. A command outside of any session costs nothing more; inside one, its session
//! and number follow in a fixed layout of little-endian integers. The rest are requests of replicas
//! themselves, which no state machine sees.
//!
//! Always holds: equal requests have equal bytes, and other bytes are no request.

use alloc::string::ToString;
use alloc::vec::Vec;

use bytes::{Buf, BufMut, Bytes};

use crate::entry::{Entry, Payload};
use crate::types::{EntryId, Index, Span, Term};

use super::command::{Command, CommandError};
use super::serial::{SESSION_WINDOW, Sequence, Serial, SessionId};

pub(super) const PLAIN: u8 = 0;
const IN_SESSION: u8 = 1;
const REGISTER: u8 = 2;
const ELAPSED: u8 = 3;

/// Session, sequence, and how far the lowest unanswered sequence lies behind it.
const IN_SESSION_BYTES: usize = 25;
const REGISTER_BYTES: usize = 8;
const ELAPSED_BYTES: usize = 16;

/// What an entry's command asks of a replica.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReplicatedRequest {
    /// To execute a command of the state machine.
    Plain(Bytes),
    /// To execute a command once, however often it is asked for.
    InSession {
        /// Which one of which session.
        serial: Serial,
        /// The command.
        command: Bytes,
    },
    /// To begin a session.
    Register {
        /// So many sessions there are at most, with this one.
        sessions_max: u32,
        /// So many bytes of replies it keeps at most.
        reply_bytes_max: u32,
    },
    /// To let time pass.
    Elapsed {
        /// How much of it.
        span: Span,
        /// Sessions that were silent for so long end.
        session_timeout: Span,
    },
}

/// Appends a command outside of any session.
pub(super) fn put_plain<C: Command>(command: &C, out: &mut Vec<u8>) {
    out.push(PLAIN);
    command.encode_into(out);
}

/// Appends a command of a session.
pub(super) fn put_in_session<C: Command>(serial: Serial, command: &C, out: &mut Vec<u8>) {
    put_serial(serial, out);
    command.encode_into(out);
}

fn put_serial(serial: Serial, out: &mut Vec<u8>) {
    let behind = serial.sequence.0.checked_sub(serial.lowest.0);
    let behind = behind.filter(|behind| *behind < SESSION_WINDOW);
    let behind = behind.and_then(|behind| u8::try_from(behind).ok());
    let behind = behind.unwrap_or_else(|| unreachable!("a serial is checked before it is sent"));
    out.put_u8(IN_SESSION);
    out.put_u64_le(serial.session.0.term.0);
    out.put_u64_le(serial.session.0.index.0);
    out.put_u64_le(serial.sequence.0);
    out.put_u8(behind);
}

impl ReplicatedRequest {
    /// Its bytes.
    ///
    /// # Panics
    ///
    /// If a serial is none that [`ReplicatedRequest::decode`] returns.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut out = Vec::new();
        match self {
            Self::Plain(command) => put_plain(command, &mut out),
            Self::InSession { serial, command } => put_in_session(*serial, command, &mut out),
            Self::Register {
                sessions_max,
                reply_bytes_max,
            } => {
                out.put_u8(REGISTER);
                out.put_u32_le(*sessions_max);
                out.put_u32_le(*reply_bytes_max);
            }
            Self::Elapsed {
                span,
                session_timeout,
            } => {
                out.put_u8(ELAPSED);
                out.put_u64_le(span.0);
                out.put_u64_le(session_timeout.0);
            }
        }
        Bytes::from(out)
    }

    /// The command of one that is nothing else, which nearly all of them are.
    pub(super) fn plain(bytes: &Bytes) -> Option<Bytes> {
        (bytes.first() == Some(&PLAIN)).then(|| bytes.slice(1..))
    }

    /// Reads a request; the command inside stays a slice of the bytes.
    ///
    /// # Errors
    ///
    /// If they are no request of this version.
    pub fn decode(bytes: &Bytes) -> Result<Self, CommandError> {
        let malformed = |what: &str| Err(CommandError(what.to_string()));
        let Some(tag) = bytes.first() else {
            return malformed("a request has at least one byte");
        };
        let mut rest = bytes.slice(1..);
        match *tag {
            PLAIN => Ok(Self::Plain(rest)),
            IN_SESSION => {
                if rest.len() < IN_SESSION_BYTES {
                    return malformed("a request in a session is longer than its header");
                }
                let term = Term(rest.get_u64_le());
                let index = Index(rest.get_u64_le());
                let sequence = Sequence(rest.get_u64_le());
                let behind = u64::from(rest.get_u8());
                let lowest = sequence.0.checked_sub(behind).map(Sequence);
                let Some(lowest) = lowest.filter(|_| behind < SESSION_WINDOW) else {
                    return malformed("a sequence is less than a window above the lowest");
                };
                let session = SessionId(EntryId { term, index });
                let serial = Serial {
                    session,
                    sequence,
                    lowest,
                };
                let command = rest;
                Ok(Self::InSession { serial, command })
            }
            REGISTER if rest.len() == REGISTER_BYTES => Ok(Self::Register {
                sessions_max: rest.get_u32_le(),
                reply_bytes_max: rest.get_u32_le(),
            }),
            ELAPSED if rest.len() == ELAPSED_BYTES => Ok(Self::Elapsed {
                span: Span(rest.get_u64_le()),
                session_timeout: Span(rest.get_u64_le()),
            }),
            REGISTER | ELAPSED => malformed("a request of a replica is of a fixed length"),
            found => Err(CommandError(alloc::format!(
                "request kind {found}, expected 0 to {ELAPSED}"
            ))),
        }
    }

    /// The state machine's command in it; none in what replicas ask of themselves.
    #[must_use]
    pub const fn command(&self) -> Option<&Bytes> {
        match self {
            Self::Plain(command) | Self::InSession { command, .. } => Some(command),
            Self::Register { .. } | Self::Elapsed { .. } => None,
        }
    }
}

/// The command outside of any session that these bytes are, without a share in them.
pub(super) fn plain_command(bytes: &[u8]) -> Option<&[u8]> {
    match bytes.split_first() {
        Some((&PLAIN, command)) => Some(command),
        Some(_) | None => None,
    }
}

/// The bytes of the state machine's commands in some entries, without a share in them.
pub(super) fn commands_of(entries: &[Entry]) -> impl Iterator<Item = &[u8]> {
    entries.iter().filter_map(|entry| match &entry.payload {
        Payload::Command(command) => match command.split_first()? {
            (&PLAIN, rest) => Some(rest),
            (&IN_SESSION, rest) => rest.get(IN_SESSION_BYTES..),
            _ => None,
        },
        Payload::Noop | Payload::Configuration(_) => None,
    })
}

/// The state machine's command in an entry's bytes: for whoever looks at logs or messages.
///
/// None if a replica asked something of itself there, or if they are no request.
#[must_use]
pub fn command_of(bytes: &Bytes) -> Option<Bytes> {
    let request = ReplicatedRequest::decode(bytes).ok()?;
    request.command().cloned()
}
