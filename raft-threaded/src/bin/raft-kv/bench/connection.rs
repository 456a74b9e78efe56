//! One connection of the load: what was sent on it and is not answered, and when it is opened again.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};

use super::replies::Replies;
use super::requests::Kind;

/// No further request is written behind that many bytes that the system has not taken.
const OUT_BYTES_MAX: usize = 64 << 10;
/// The first wait before a connection is opened again, and the longest; each is twice the one before.
const BACK_OFF_MIN: u64 = 50_000_000;
const BACK_OFF_MAX: u64 = 1_000_000_000;
/// How long opening may take, in nanoseconds.
const OPENING_MAX: u64 = 3_000_000_000;

/// A request without an answer yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sent {
    /// When it was due.
    pub(super) due: u64,
    pub(super) kind: Kind,
}

#[derive(Debug)]
enum State {
    Open(TcpStream),
    /// Given up at that time.
    Opening(TcpStream, u64),
    /// Opened again at that time.
    Closed(u64),
}

/// A connection to one server, which is opened again whenever it ends. All times are nanoseconds since the load
/// began.
#[derive(Debug)]
pub(super) struct Connection {
    address: SocketAddr,
    token: Token,
    state: State,
    /// What was sent, in the order in which it is answered.
    pub(super) sent: VecDeque<Sent>,
    pub(super) replies: Replies,
    /// What is to be written, and how much of it was.
    pub(super) out: Vec<u8>,
    written: usize,
    /// How often in a row it ended without an answer.
    failures: u32,
    /// Whether it stands in the queue of those that have room.
    pub(super) queued: bool,
}

impl Connection {
    /// Takes over a connection that is open.
    pub(super) fn new(
        stream: std::net::TcpStream,
        token: Token,
        registry: &Registry,
    ) -> io::Result<Self> {
        let address = stream.peer_addr()?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let mut stream = TcpStream::from_std(stream);
        registry.register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
        Ok(Self {
            address,
            token,
            state: State::Open(stream),
            sent: VecDeque::new(),
            replies: Replies::default(),
            out: Vec::new(),
            written: 0,
            failures: 0,
            queued: false,
        })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn is_open(&self) -> bool {
        matches!(self.state, State::Open(_))
    }

    /// Whether another request may be sent, if at most so many may be without an answer.
    pub(super) fn has_room(&self, pipeline: usize) -> bool {
        self.is_open()
            && self.sent.len() < pipeline
            && self.out.len() - self.written < OUT_BYTES_MAX
    }

    /// Writes what the system takes. The rest is written once it takes more.
    pub(super) fn write(&mut self) -> io::Result<()> {
        let State::Open(stream) = &mut self.state else {
            return Ok(());
        };
        while self.written < self.out.len() {
            match stream.write(&self.out[self.written..]) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(bytes) => self.written += bytes,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.out.drain(..self.written);
                    self.written = 0;
                    return Ok(());
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.out.clear();
        self.written = 0;
        Ok(())
    }

    /// Reads once; `None` if nothing has arrived.
    ///
    /// # Errors
    ///
    /// If the connection has ended.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        let State::Open(stream) = &mut self.state else {
            return Ok(None);
        };
        loop {
            match stream.read(buffer) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(bytes) => return Ok(Some(bytes)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// It is good for something: the next time it ends, it is opened again soon.
    pub(super) fn was_answered(&mut self) {
        self.failures = 0;
    }

    /// Ends it; what was sent without an answer stays for the caller to take.
    pub(super) fn close(&mut self, now: u64) {
        let again = now + back_off(self.failures);
        self.failures = self.failures.saturating_add(1);
        self.state = State::Closed(again);
        self.replies = Replies::default();
        self.out.clear();
        self.written = 0;
    }

    /// When something is to be done although nothing happens; none while it is open.
    pub(super) fn deadline(&self) -> Option<u64> {
        match self.state {
            State::Open(_) => None,
            State::Opening(_, until) | State::Closed(until) => Some(until),
        }
    }

    /// Does it: begins to open what was closed long enough, and gives up what took too long.
    pub(super) fn meet_deadline(&mut self, now: u64, registry: &Registry) {
        match self.state {
            State::Closed(again) if again <= now => {
                let interest = Interest::READABLE | Interest::WRITABLE;
                let stream = TcpStream::connect(self.address).and_then(|mut stream| {
                    registry.register(&mut stream, self.token, interest)?;
                    Ok(stream)
                });
                match stream {
                    Ok(stream) => self.state = State::Opening(stream, now + OPENING_MAX),
                    Err(_) => self.close(now),
                }
            }
            State::Opening(_, until) if until <= now => self.close(now),
            State::Open(_) | State::Opening(..) | State::Closed(_) => {}
        }
    }

    /// Something happened to it while it was being opened; whether it is open now.
    pub(super) fn finish_opening(&mut self, now: u64) -> bool {
        match std::mem::replace(&mut self.state, State::Closed(now)) {
            State::Opening(stream, until) => match is_connected(&stream) {
                Ok(true) => self.state = State::Open(stream),
                Ok(false) => self.state = State::Opening(stream, until),
                Err(_) => self.close(now),
            },
            state @ (State::Open(_) | State::Closed(_)) => {
                self.state = state;
                return false;
            }
        }
        self.is_open()
    }
}

fn is_connected(stream: &TcpStream) -> io::Result<bool> {
    if let Some(error) = stream.take_error()? {
        return Err(error);
    }
    match stream.peer_addr() {
        Ok(_) => {
            stream.set_nodelay(true)?;
            Ok(true)
        }
        Err(error) if error.kind() == ErrorKind::NotConnected => Ok(false),
        Err(error) => Err(error),
    }
}

/// How long to wait after so many failures in a row, in nanoseconds.
fn back_off(failures: u32) -> u64 {
    BACK_OFF_MIN
        .saturating_mul(1_u64.checked_shl(failures).unwrap_or(u64::MAX))
        .min(BACK_OFF_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_stays_away_is_asked_less_and_less_often_and_never_given_up() {
        let waits: Vec<u64> = (0..6).map(|n| back_off(n) / 1_000_000).collect();
        assert_eq!(waits, [50, 100, 200, 400, 800, 1_000]);
        assert_eq!(back_off(64), BACK_OFF_MAX);
        assert_eq!(back_off(u32::MAX), BACK_OFF_MAX);
    }
}
