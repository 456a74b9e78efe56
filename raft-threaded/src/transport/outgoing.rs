//! One peer to write to: dialing, backing off, and telling whether it is there.

use std::io::{self, ErrorKind, Read};
use std::net::SocketAddr;

use bytes::{Bytes, BytesMut};
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use raft_core::{Span, Time};
use tracing::{debug, info, warn};

use super::frame::{Encoded, small_frame, take_frame};
use super::places::Places;
use super::queue::Queue;

/// The shortest wait after a connection ended.
const BACKOFF_MIN: Span = Span(20_000_000);
/// The longest.
const BACKOFF_MAX: Span = Span(1_000_000_000);
/// How long connecting may take.
const CONNECT_PATIENCE: Span = Span(2_000_000_000);
/// How long a connection has to last to count as one.
const SETTLED_AFTER: Span = Span(1_000_000_000);
/// How long sent bytes may stay unacknowledged.
#[cfg(target_os = "linux")]
const UNACKNOWLEDGED_MAX: std::time::Duration = std::time::Duration::from_secs(3);
/// The longest sentence a peer may refuse us with.
const REFUSAL_BYTES_MAX: u64 = 1 << 10;
/// Troubles that are remembered: some for each place where a peer may be.
const TOLD_MAX: usize = 4;

/// A connection to one peer.
#[derive(Debug)]
pub(super) struct Outgoing {
    places: Places,
    token: Token,
    hello: Bytes,
    state: State,
    backoff: Span,
    queue: Queue,
    /// The last troubles told, so that a peer that stays away is not told about twice a second.
    told: Vec<String>,
}

#[derive(Debug)]
enum State {
    /// Not connected; dial at this time.
    Idle(Time),
    /// A name is being looked up.
    Resolving,
    /// Connected, or about to be: writes tell.
    Open {
        stream: TcpStream,
        /// When it was dialed.
        since: Time,
        established: bool,
        /// It has lasted: the next trouble is a new one.
        settled: bool,
        refusal: BytesMut,
    },
}

/// What a peer's connection needs from outside.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Need {
    Nothing,
    /// Look this name up.
    Resolve(String),
}

impl Outgoing {
    pub(super) fn new(address: String, token: Token) -> Self {
        Self {
            places: Places::new(address),
            token,
            hello: Bytes::new(),
            state: State::Idle(Time(0)),
            backoff: BACKOFF_MIN,
            queue: Queue::default(),
            told: Vec::new(),
        }
    }

    pub(super) const fn token(&self) -> Token {
        self.token
    }

    /// The places where the peer is looked for, the present one first.
    #[cfg(test)]
    pub(super) fn places(&self) -> Vec<&str> {
        self.places.in_turn()
    }

    /// What to say first; whoever listens already is told, too, if it is something else now.
    pub(super) fn set_hello(&mut self, hello: &[u8]) {
        let hello = small_frame(hello);
        if self.hello == hello {
            return;
        }
        self.hello = hello;
        if self.is_open() {
            self.queue.push_frame(self.hello.clone());
        }
    }

    /// The peer moved: it is looked for there first, whatever is connected.
    pub(super) fn move_to(&mut self, first: &str, second: Option<&str>, now: Time) {
        self.note_place(now);
        let kept = self.places.set(first, second);
        if !kept || self.places.now() != first {
            self.places.restart();
            self.start_over();
        }
    }

    /// The peer is in one of these places, or where it was before; a connection to any of them stays.
    pub(super) fn set_places(&mut self, first: &str, second: Option<&str>, now: Time) {
        self.note_place(now);
        if !self.places.set(first, second) {
            self.start_over();
        }
    }

    /// Dials as soon as possible.
    fn start_over(&mut self) {
        self.state = State::Idle(Time(0));
        self.backoff = BACKOFF_MIN;
        self.queue.clear();
    }

    /// Where somebody takes connections the peer may be found again.
    fn note_place(&mut self, now: Time) {
        // Nothing may have been written for long.
        self.settle(now);
        if self.is_established() {
            self.places.taken();
        }
    }

    /// The peer answered something that was sent to it: over this connection, if it has lasted longer than answers
    /// take.
    pub(super) fn answered(&mut self, now: Time) {
        self.settle(now);
        if matches!(self.state, State::Open { settled: true, .. }) {
            self.places.answered();
        }
    }

    /// When to come back, if the connection waits for a time.
    pub(super) fn retry_at(&self) -> Option<Time> {
        match self.state {
            State::Idle(at) => Some(at),
            State::Open {
                since,
                established: false,
                ..
            } => Some(since + CONNECT_PATIENCE),
            State::Resolving | State::Open { .. } => None,
        }
    }

    pub(super) const fn is_open(&self) -> bool {
        matches!(self.state, State::Open { .. })
    }

    /// Whether what is queued is likely to arrive.
    pub(super) const fn is_established(&self) -> bool {
        matches!(
            self.state,
            State::Open {
                established: true,
                ..
            }
        )
    }

    /// Queues a frame; false if it was dropped, because nobody is there or too much waits.
    pub(super) fn push(&mut self, frame: Encoded<'_>, bytes_max: u64) -> bool {
        if !self.is_open() || self.queue.bytes() + frame.len() > bytes_max {
            return false;
        }
        self.queue.push(frame);
        true
    }

    /// Dials if it is time to, or gives up dialing.
    pub(super) fn dial(&mut self, now: Time, registry: &Registry) -> Need {
        if self.is_open() && self.retry_at().is_some_and(|at| now >= at) {
            self.fail(&ErrorKind::TimedOut.into(), now, registry);
        }
        let State::Idle(at) = self.state else {
            return Need::Nothing;
        };
        if now < at {
            return Need::Nothing;
        }
        if let Ok(address) = self.places.now().parse::<SocketAddr>() {
            self.connect(&[address], now, registry);
            return Need::Nothing;
        }
        self.state = State::Resolving;
        Need::Resolve(self.places.now().to_string())
    }

    /// A name was looked up.
    pub(super) fn resolved(
        &mut self,
        name: &str,
        addresses: &Result<Vec<SocketAddr>, String>,
        now: Time,
        registry: &Registry,
    ) {
        // It may have moved meanwhile.
        if !matches!(self.state, State::Resolving) || self.places.now() != name {
            return;
        }
        match addresses {
            Ok(addresses) => self.connect(addresses, now, registry),
            Err(error) => {
                let error = io::Error::other(error.clone());
                self.fail(&error, now, registry);
            }
        }
    }

    fn connect(&mut self, addresses: &[SocketAddr], now: Time, registry: &Registry) {
        // Another address is tried at the next attempt, if the name has several.
        let turn = usize::try_from(now.0).unwrap_or(0) % addresses.len().max(1);
        let connected = match addresses.get(turn) {
            Some(address) => TcpStream::connect(*address),
            None => Err(ErrorKind::AddrNotAvailable.into()),
        };
        let opened = connected.and_then(|mut stream| {
            // A peer that does not acknowledge is as good as gone, long before the kernel thinks so.
            #[cfg(target_os = "linux")]
            socket2::SockRef::from(&stream).set_tcp_user_timeout(Some(UNACKNOWLEDGED_MAX))?;
            registry.register(
                &mut stream,
                self.token,
                Interest::READABLE | Interest::WRITABLE,
            )?;
            Ok(stream)
        });
        match opened {
            Ok(stream) => {
                self.queue.push_frame(self.hello.clone());
                self.state = State::Open {
                    stream,
                    since: now,
                    established: false,
                    settled: false,
                    refusal: BytesMut::new(),
                };
            }
            Err(error) => self.fail(&error, now, registry),
        }
    }

    /// Writes as much as the connection takes; false if the connection ended.
    pub(super) fn flush(&mut self, now: Time, registry: &Registry) -> bool {
        self.settle(now);
        match self.write() {
            Ok(()) => true,
            Err(error) if error.kind() == ErrorKind::WouldBlock => true,
            Err(error) => {
                self.fail(&error, now, registry);
                false
            }
        }
    }

    /// A connection that lasts is one that somebody wants; one that is refused ends before.
    fn settle(&mut self, now: Time) {
        if let State::Open {
            since,
            established: true,
            settled,
            ..
        } = &mut self.state
            && !*settled
            && now >= *since + SETTLED_AFTER
        {
            *settled = true;
            self.places.lasted();
            self.backoff = BACKOFF_MIN;
            if !core::mem::take(&mut self.told).is_empty() {
                info!(peer = self.places.now(), "connected");
            }
        }
    }

    fn write(&mut self) -> io::Result<()> {
        let State::Open {
            stream,
            established,
            ..
        } = &mut self.state
        else {
            return Ok(());
        };
        if !*established {
            // A socket that is still connecting has no peer and no error yet.
            if let Some(error) = stream.take_error()? {
                return Err(error);
            }
            match stream.peer_addr() {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::NotConnected => return Ok(()),
                Err(error) => return Err(error),
            }
            stream.set_nodelay(true)?;
            *established = true;
        }
        self.queue.write_to(stream)
    }

    /// The connection became readable: the peer refuses us, or is gone. False if it ended.
    pub(super) fn read(&mut self, now: Time, registry: &Registry) -> bool {
        let State::Open {
            stream, refusal, ..
        } = &mut self.state
        else {
            return true;
        };
        let mut chunk = [0; 512];
        let error = loop {
            match stream.read(&mut chunk) {
                Ok(0) => break ErrorKind::ConnectionReset.into(),
                Ok(count) => {
                    refusal.extend_from_slice(&chunk[..count]);
                    match take_frame(refusal, REFUSAL_BYTES_MAX) {
                        Ok(None) => {}
                        Ok(Some(sentence)) => {
                            let sentence = String::from_utf8_lossy(&sentence).into_owned();
                            break io::Error::new(ErrorKind::ConnectionRefused, sentence);
                        }
                        Err(error) => break io::Error::new(ErrorKind::InvalidData, error),
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return true,
                Err(error) if error.kind() == ErrorKind::NotConnected => return true,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => break error,
            }
        };
        self.fail(&error, now, registry);
        false
    }

    /// The connection ended: what waits is dropped, and the next attempt comes later.
    fn fail(&mut self, error: &io::Error, now: Time, registry: &Registry) {
        let sentence = error.to_string();
        if self.told.contains(&sentence) {
            debug!(peer = self.places.now(), %error, "still not connected");
        } else {
            warn!(peer = self.places.now(), %error, "not connected; trying again");
            self.told.truncate(TOLD_MAX - 1);
            self.told.insert(0, sentence);
        }
        if let State::Open { stream, .. } = &mut self.state {
            let _ = registry.deregister(stream);
        }
        self.queue.clear();
        self.places.next();
        self.state = State::Idle(now + self.backoff);
        // Members dial at their own pace, so their waits need no jitter to stay apart.
        self.backoff = Span((self.backoff.0 * 2).min(BACKOFF_MAX.0));
    }
}

#[cfg(test)]
#[path = "outgoing_tests.rs"]
mod tests;
