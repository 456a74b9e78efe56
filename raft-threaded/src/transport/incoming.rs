//! One accepted connection: who speaks, and what they say.

use std::io::{self, ErrorKind, Read, Write};

use bytes::{Bytes, BytesMut};
use mio::net::TcpStream;
use raft_core::{Envelope, Member, Time, codec};

use super::frame::{FRAME_HEADER_BYTES, FrameError, small_frame, take_frame};
use super::hello::{Hello, HelloError, Introduction, Opening};

/// Bytes of a frame before the dialer has introduced itself.
const HELLO_BYTES_MAX: u64 = 4 << 10;
/// How much one connection may deliver before others get their turn.
const TURN_BYTES: usize = 1 << 20;

/// An accepted connection.
#[derive(Debug)]
pub(super) struct Incoming {
    stream: TcpStream,
    buffer: BytesMut,
    /// When it was accepted.
    pub(super) since: Time,
    /// Known once it has introduced itself.
    pub(super) from: Option<Member>,
    /// What it said then, until somebody has looked at it.
    pub(super) hello: Option<Hello>,
    /// The dialer has ended its side: reading goes on until the end is found.
    pub(super) ending: bool,
}

/// Why a connection ends.
#[derive(Debug, thiserror::Error)]
pub(super) enum IncomingError {
    #[error("the connection was closed")]
    Closed,
    #[error("it asked who is here, and was told")]
    Told,
    #[error("it did not introduce itself in time")]
    Silent,
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error(transparent)]
    Hello(#[from] HelloError),
    #[error(transparent)]
    Decode(#[from] codec::DecodeError),
    #[error("it speaks for node {}, and introduced itself as node {}", found.node, expected.node)]
    Impostor { expected: Member, found: Member },
}

/// Whether more may be waiting to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// Nothing more for now.
    Done,
    /// Its turn is over; there may be more.
    More,
}

impl Incoming {
    pub(super) fn new(stream: TcpStream, since: Time) -> Self {
        Self {
            stream,
            buffer: BytesMut::new(),
            since,
            from: None,
            hello: None,
            ending: false,
        }
    }

    pub(super) fn stream(&mut self) -> &mut TcpStream {
        &mut self.stream
    }

    /// Reads what is there, up to its turn's end, by way of `scratch`, and hands on each message.
    pub(super) fn read(
        &mut self,
        scratch: &mut [u8],
        own: &Introduction,
        frame_bytes_max: u64,
        mut receive: impl FnMut(Box<Envelope>),
    ) -> Result<Turn, IncomingError> {
        let mut taken = 0;
        while taken < TURN_BYTES {
            let read = match self.stream.read(scratch) {
                Ok(0) => return Err(IncomingError::Closed),
                Ok(count) => {
                    taken += count;
                    self.buffer.extend_from_slice(&scratch[..count]);
                    count
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Turn::Done),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error.into()),
            };
            self.check_magic()?;
            loop {
                let limit = self.limit(frame_bytes_max);
                let Some(body) = take_frame(&mut self.buffer, limit)? else {
                    break;
                };
                self.take(own, &body, &mut receive)?;
            }
            if read < scratch.len() && !self.ending {
                // Less than there was room for: nothing more is there, and a look would cost a call.
                return Ok(Turn::Done);
            }
        }
        Ok(Turn::More)
    }

    /// Strangers get little memory.
    const fn limit(&self, frame_bytes_max: u64) -> u64 {
        match self.from {
            Some(_) => frame_bytes_max,
            None => HELLO_BYTES_MAX,
        }
    }

    /// Something that is no peer is told so before its first bytes are taken for a length.
    fn check_magic(&self) -> Result<(), IncomingError> {
        if self.from.is_none() && self.buffer.len() > FRAME_HEADER_BYTES {
            let magic = &self.buffer[FRAME_HEADER_BYTES..];
            let expected = &b"raft-tcp"[..magic.len().min(8)];
            if !magic.starts_with(expected) {
                return Err(HelloError::NotAPeer.into());
            }
        }
        Ok(())
    }

    fn take(
        &mut self,
        own: &Introduction,
        body: &Bytes,
        receive: &mut impl FnMut(Box<Envelope>),
    ) -> Result<(), IncomingError> {
        let from = match self.from {
            Some(from) if !Opening::is_one(body) => from,
            Some(_) | None => return self.open(own, Opening::decode(body)?),
        };
        let envelope = codec::decode_envelope(body)?;
        if envelope.from.member != from {
            return Err(IncomingError::Impostor {
                expected: from,
                found: envelope.from.member,
            });
        }
        receive(Box::new(envelope));
        Ok(())
    }

    /// The first words, or later ones of a dialer that is reached elsewhere now.
    fn open(&mut self, own: &Introduction, opening: Opening) -> Result<(), IncomingError> {
        match opening {
            Opening::Peer(hello) => {
                hello.check(own.identity)?;
                let found = hello.from.member;
                let expected = *self.from.get_or_insert(found);
                if found != expected {
                    return Err(IncomingError::Impostor { expected, found });
                }
                self.hello = Some(hello);
                Ok(())
            }
            Opening::WhoAreYou => {
                // So little goes into any socket at once.
                let _ = self.stream.write(&small_frame(&own.encode()));
                Err(IncomingError::Told)
            }
        }
    }

    /// Tells the dialer why, as far as it still listens.
    pub(super) fn refuse(&mut self, error: &IncomingError) {
        let sentence = error.to_string();
        let answer = match error {
            // Whoever that is, it does not read frames.
            IncomingError::Hello(HelloError::NotAPeer) => {
                Bytes::from(format!("-ERR {sentence}\r\n"))
            }
            IncomingError::Frame(_) if self.from.is_none() => {
                Bytes::from(format!("-ERR {}\r\n", HelloError::NotAPeer))
            }
            IncomingError::Closed
            | IncomingError::Told
            | IncomingError::Silent
            | IncomingError::Io(_) => return,
            IncomingError::Hello(_)
            | IncomingError::Frame(_)
            | IncomingError::Decode(_)
            | IncomingError::Impostor { .. } => small_frame(sentence.as_bytes()),
        };
        let _ = self.stream.write(&answer);
    }
}
