//! One client: what it sent, what it waits for, what it is to be told.
//!
//! Always holds: replies leave in the order of their commands; a read is asked only once the writes
//! before it on this connection are done, and a write only once the reads before it are; an order to the node
//! itself is alone.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};

use bytes::BytesMut;
use mio::net::TcpStream;

use crate::resp::{Limits, Parser, Protocol, Reply, Request};

use super::reads::Reads;
use super::table::{Local, Parsed};

/// How much of what arrived may wait to be parsed, besides one argument.
const INPUT_BYTES_MAX: usize = 256 << 10;
/// Replies that may wait to be written before no more commands are taken.
const OUTPUT_BYTES_MAX: usize = 1 << 20;
/// Bytes of finished replies that may wait for those before them.
const SLOTS_BYTES_MAX: usize = 16 << 20;
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
    /// How its reads are answered.
    pub(super) reads: Reads,
    /// One for each command whose reply is not in `output`; the first has this number.
    slots: VecDeque<Option<Reply>>,
    first_slot: u64,
    /// Bytes of the replies that wait in `slots`.
    slots_bytes: usize,
    waiting: Option<Waiting>,
    /// Requests without a reply.
    pending: usize,
    /// A command that has to wait for others of the other kind.
    pub(super) held: Option<Parsed>,
    readable: bool,
    /// The client has ended its side: reading goes on until the end is found.
    ending: bool,
    /// The end was found: what arrived before is still carried out.
    ended: bool,
    /// What arrived may hold another command.
    unparsed: bool,
    /// Nothing more is read; the connection ends when everything is written.
    pub(super) closing: bool,
    /// It is among those that may have commands to take.
    pub(super) ready: bool,
    /// It is among those that may have something to write.
    pub(super) unsent: bool,
}

/// What kind of request is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Waiting {
    Reads,
    Writes,
    /// An order to the node itself waits for everything, and everything waits for it.
    Order,
}

impl Waiting {
    /// What kind of request a command becomes; none if this node answers it by itself.
    pub(super) const fn of(parsed: &Parsed) -> Option<Self> {
        match parsed {
            Parsed::Write(_) | Parsed::Session | Parsed::Once(..) => Some(Self::Writes),
            Parsed::Read(_) | Parsed::StaleRead(_) => Some(Self::Reads),
            Parsed::Order(_) => Some(Self::Order),
            Parsed::Local(_) => None,
        }
    }
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
            reads: Reads::default(),
            slots: VecDeque::new(),
            first_slot: 0,
            slots_bytes: 0,
            waiting: None,
            pending: 0,
            held: None,
            readable: true,
            ending: false,
            ended: false,
            unparsed: false,
            closing: false,
            ready: false,
            unsent: false,
        }
    }

    pub(super) const fn stream(&mut self) -> &mut TcpStream {
        &mut self.stream
    }

    /// There is something to read, or the client's end.
    pub(super) const fn mark_readable(&mut self, ending: bool) {
        self.readable = true;
        self.ending |= ending;
    }

    /// Whether there is a command to carry out, or something to read or to parse, and room for it.
    pub(super) fn wants_turn(&self) -> bool {
        let more = match &self.held {
            Some(held) => self.may_take(held),
            // An end that was found while there was no room is not acted on yet.
            None => (self.readable || self.unparsed || self.ended) && !self.closing,
        };
        more && self.has_room()
    }

    /// Whether more commands may be taken: neither unsent replies nor unfinished commands pile up.
    pub(super) fn has_room(&self) -> bool {
        self.slots.len() < SLOTS_MAX
            && self.slots_bytes < SLOTS_BYTES_MAX
            && self.output.len() - self.written < OUTPUT_BYTES_MAX
    }

    /// Whether every command so far has its reply on the way.
    fn is_answered(&self) -> bool {
        self.slots.is_empty()
    }

    /// Reads what is there, by way of `scratch`.
    pub(super) fn read(&mut self, scratch: &mut [u8]) {
        let enough = INPUT_BYTES_MAX.max(self.parser.wanted());
        while self.readable && self.input.len() < enough {
            match self.stream.read(scratch) {
                Ok(0) => (self.readable, self.ended) = (false, true),
                Ok(count) => {
                    self.input.extend_from_slice(&scratch[..count]);
                    self.unparsed = true;
                    // Less than there was room for: nothing more is there, and a look would cost a call.
                    self.readable = count == scratch.len() || self.ending;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.readable = false,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => (self.readable, self.closing) = (false, true),
            }
        }
    }

    /// The next command, if one has arrived in full.
    pub(super) fn next_request(&mut self) -> Option<Request> {
        if self.closing {
            return None;
        }
        match self.parser.next(&mut self.input) {
            Ok(Some(request)) => Some(request),
            Ok(None) => {
                self.unparsed = false;
                // Everything that came before its end is taken.
                self.closing = self.ended;
                if self.input.is_empty() && self.input.capacity() > INPUT_BYTES_MAX {
                    self.input = BytesMut::new();
                }
                None
            }
            Err(error) => {
                self.answer(Reply::Error(format!("ERR {error}")));
                self.closing = true;
                None
            }
        }
    }

    /// A command's arguments were looked at.
    pub(super) fn give_back(&mut self, arguments: Vec<bytes::Bytes>) {
        self.parser.give_back(arguments);
    }

    /// Answers a command at once, behind those that wait.
    pub(super) fn answer(&mut self, reply: Reply) {
        self.slots_bytes += reply.bytes();
        self.slots.push_back(Some(reply));
        self.encode();
    }

    /// Whether a command may be carried out now; else it has to wait for those before it.
    pub(super) fn may_take(&self, parsed: &Parsed) -> bool {
        match Waiting::of(parsed) {
            Some(kind) => self.may_ask(kind),
            // What was asked before it is answered in the protocol of then.
            None => self.is_answered() || !matches!(parsed, Parsed::Local(Local::Hello(_))),
        }
    }

    /// Whether a request of this kind may be asked now.
    fn may_ask(&self, kind: Waiting) -> bool {
        self.pending == 0 || self.waiting == Some(kind) && kind != Waiting::Order
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
            self.slots_bytes += reply.bytes();
            *waiting = Some(reply);
        }
        self.encode();
    }

    /// Encodes replies as far as there is room; the rest goes when some of it is written.
    fn encode(&mut self) {
        while self.output.len() - self.written < OUTPUT_BYTES_MAX
            && let Some(Some(reply)) = self.slots.front()
        {
            reply.encode(self.protocol, &mut self.output);
            self.slots_bytes -= reply.bytes();
            self.slots.pop_front();
            self.first_slot += 1;
        }
    }

    /// Whether there is something to write, or everything is done and it is to go.
    pub(super) fn wants_write(&self) -> bool {
        self.written < self.output.len() || (self.closing && self.slots.is_empty())
    }

    /// Writes what is to be written; false if the client is gone, or everything is done and it is to
    /// go.
    pub(super) fn write(&mut self) -> bool {
        while self.written < self.output.len() {
            match self.stream.write(&self.output[self.written..]) {
                Ok(0) => return false,
                Ok(count) => {
                    self.written += count;
                    self.forget_written();
                    self.encode();
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return true,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return false,
            }
        }
        !(self.closing && self.slots.is_empty())
    }

    /// Keeps no more than needed of what is written, however slowly the rest goes.
    fn forget_written(&mut self) {
        if self.written == self.output.len() {
            self.output.clear();
            // A large reply does not keep its memory for ever.
            self.output.shrink_to(OUTPUT_BYTES_MAX);
            self.written = 0;
        } else if self.written >= OUTPUT_BYTES_MAX {
            self.output.drain(..self.written);
            self.written = 0;
        }
    }
}
