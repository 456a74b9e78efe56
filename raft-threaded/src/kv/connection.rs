//! One client: what it sent, what it waits for, what it is to be told.
//!
//! Always holds: replies leave in the order of their commands; a read is asked only once the writes
//! before it on this connection are done, and a write only once the reads before it are.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};

use bytes::BytesMut;
use mio::net::TcpStream;

use crate::resp::{Limits, Parser, Protocol, Reply, Request};

/// How much is read at a time.
const READ_BYTES: usize = 16 << 10;
/// How much of what arrived may wait to be parsed, besides one argument.
const INPUT_BYTES_MAX: usize = 256 << 10;
/// Replies that may wait to be written before no more commands are taken.
const OUTPUT_BYTES_MAX: usize = 1 << 20;
/// Commands of one connection that may wait for their outcome.
const SLOTS_MAX: usize = 4_096;

/// A client's connection.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) id: u64,
    stream: TcpStream,
    input: BytesMut,
    parser: Parser,
    output: Vec<u8>,
    /// How much of the output is written.
    written: usize,
    pub(super) protocol: Protocol,
    pub(super) name: bytes::Bytes,
    /// One for each command that is not answered; the first has this number.
    slots: VecDeque<Option<Reply>>,
    first_slot: u64,
    waiting: Option<Waiting>,
    /// Requests without a reply.
    pending: usize,
    /// A command that has to wait for others of the other kind.
    pub(super) held: Option<super::table::Parsed>,
    readable: bool,
    /// Nothing more is read; the connection ends when everything is written.
    pub(super) closing: bool,
}

/// What kind of request is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Waiting {
    Reads,
    Writes,
}

/// Where a reply belongs on its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slot(u64);

impl Connection {
    pub(super) fn new(id: u64, stream: TcpStream, limits: Limits) -> Self {
        Self {
            id,
            stream,
            input: BytesMut::new(),
            parser: Parser::new(limits),
            output: Vec::new(),
            written: 0,
            protocol: Protocol::Resp2,
            name: bytes::Bytes::new(),
            slots: VecDeque::new(),
            first_slot: 0,
            waiting: None,
            pending: 0,
            held: None,
            readable: true,
            closing: false,
        }
    }

    pub(super) const fn stream(&mut self) -> &mut TcpStream {
        &mut self.stream
    }

    pub(super) const fn mark_readable(&mut self) {
        self.readable = true;
    }

    /// Whether there may be something to read or to parse, and room for it.
    pub(super) fn wants_turn(&self) -> bool {
        !self.closing && self.held.is_none() && self.has_room() && self.readable
    }

    /// Whether more commands may be taken: neither unsent replies nor unfinished commands pile up.
    pub(super) fn has_room(&self) -> bool {
        self.slots.len() < SLOTS_MAX && self.output.len() - self.written < OUTPUT_BYTES_MAX
    }

    /// Reads what is there; false if the client is gone.
    pub(super) fn read(&mut self) -> bool {
        let enough = INPUT_BYTES_MAX.max(self.parser.wanted());
        while self.readable && self.input.len() < enough {
            match self.read_once() {
                Ok(0) => return false,
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.readable = false,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return false,
            }
        }
        true
    }

    fn read_once(&mut self) -> io::Result<usize> {
        let start = self.input.len();
        // A long argument has its room reserved by the parser.
        let spare = (self.input.capacity() - start).clamp(READ_BYTES, INPUT_BYTES_MAX);
        self.input.resize(start + spare, 0);
        let read = self.stream.read(&mut self.input[start..]);
        let count = read.as_ref().map_or(0, |count| *count);
        self.input.truncate(start + count);
        if count < spare && count > 0 {
            // Less than there was room for: nothing more is there, and a look would cost a call.
            self.readable = false;
        }
        read
    }

    /// The next command, if one has arrived in full.
    pub(super) fn next_request(&mut self) -> Option<Request> {
        if self.closing {
            return None;
        }
        match self.parser.next(&mut self.input) {
            Ok(request) => request,
            Err(error) => {
                self.answer(Reply::Error(format!("ERR {error}")));
                self.closing = true;
                None
            }
        }
    }

    /// Answers a command at once, behind those that wait.
    pub(super) fn answer(&mut self, reply: Reply) {
        if self.slots.is_empty() {
            reply.encode(self.protocol, &mut self.output);
        } else {
            self.slots.push_back(Some(reply));
        }
    }

    /// Whether a request of this kind may be asked now.
    pub(super) fn may_ask(&self, kind: Waiting) -> bool {
        self.pending == 0 || self.waiting == Some(kind)
    }

    /// A request is asked; its reply will have this place.
    pub(super) fn asked(&mut self, kind: Waiting) -> Slot {
        self.waiting = Some(kind);
        self.pending += 1;
        self.slots.push_back(None);
        Slot(self.first_slot + self.slots.len() as u64 - 1)
    }

    /// A request has its reply.
    pub(super) fn replied(&mut self, slot: Slot, reply: Reply) {
        self.pending -= 1;
        let place = usize::try_from(slot.0 - self.first_slot).unwrap_or(usize::MAX);
        if let Some(waiting) = self.slots.get_mut(place) {
            *waiting = Some(reply);
        }
        while let Some(Some(reply)) = self.slots.front() {
            reply.encode(self.protocol, &mut self.output);
            self.slots.pop_front();
            self.first_slot += 1;
        }
    }

    /// Writes what is to be written; false if the client is gone, or everything is done and it is to
    /// go.
    pub(super) fn write(&mut self) -> bool {
        while self.written < self.output.len() {
            match self.stream.write(&self.output[self.written..]) {
                Ok(0) => return false,
                Ok(count) => self.written += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return true,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return false,
            }
        }
        self.written = 0;
        self.output.clear();
        // A large reply does not keep its memory for ever.
        self.output.shrink_to(OUTPUT_BYTES_MAX);
        !(self.closing && self.slots.is_empty())
    }
}
