//! Peers over TCP, in the thread that owns the replica.

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

use mio::event::Event;
use mio::net::TcpListener;
use mio::{Interest, Registry, Token};
use raft_core::{Configuration, Envelope, Identity, Member, Span, Time};
use tracing::{info, warn};

use super::ask::AskOverTcp;
use super::frame::Encoder;
use super::hello::Introduction;
use super::incoming::{Incoming, IncomingError, Turn};
use super::outgoing::{Need, Outgoing};
use super::peers::Peers;
use super::refusals::{Refusals, advice};
use super::{Inquiry, Transport, TransportEvent};
use crate::runtime::socket::keep_alive;

/// Accepted connections at a time; a cluster needs one from each peer.
const INCOMING_MAX: usize = 256;

/// How much is read at a time.
const READ_BYTES: usize = 256 << 10;
/// How long a dialer may take to introduce itself.
const HELLO_PATIENCE: Span = Span(5_000_000_000);

/// How long a peer may say nothing before the system asks whether it is there.
const PEER_SILENCE: Duration = Duration::from_secs(10);
/// How long between such questions.
const PEER_INTERVAL: Duration = Duration::from_secs(5);

/// Every connection to and from peers.
#[derive(Debug)]
pub(crate) struct Tcp {
    listener: TcpListener,
    listener_token: Token,
    tokens: Tokens,
    frame_bytes_max: u64,
    queue_bytes_max: u64,
    peers: Peers,
    incoming: BTreeMap<Token, Incoming>,
    /// Accepted connections that may have more to read.
    ready: BTreeSet<Token>,
    unsent: BTreeSet<Member>,
    refusals: Refusals,
    encoder: Encoder,
    /// What is read goes through here.
    scratch: Vec<u8>,
    /// Somebody may wait to be accepted: the last attempt failed.
    accept_again: bool,
}

/// Hands out tokens.
#[derive(Debug)]
struct Tokens {
    range: core::ops::Range<usize>,
    next: usize,
}

impl Tokens {
    const fn take(&mut self) -> Token {
        let token = Token(self.next);
        self.next += 1;
        if self.next >= self.range.end {
            // Old ones are long gone: a thousand million connections lie between.
            self.next = self.range.start;
        }
        token
    }
}

impl Tcp {
    /// Takes over a listening socket; `tokens` are its own to give to connections.
    pub(crate) fn new(
        own: Introduction,
        mut listener: TcpListener,
        tokens: core::ops::Range<usize>,
        frame_bytes_max: u64,
        registry: &Registry,
    ) -> std::io::Result<Self> {
        let listener_token = Token(tokens.start);
        registry.register(&mut listener, listener_token, Interest::READABLE)?;
        Ok(Self {
            listener,
            listener_token,
            tokens: Tokens {
                next: tokens.start + 1,
                range: tokens.start + 1..tokens.end,
            },
            frame_bytes_max,
            queue_bytes_max: 4 * frame_bytes_max,
            peers: Peers::new(own),
            incoming: BTreeMap::new(),
            ready: BTreeSet::new(),
            unsent: BTreeSet::new(),
            refusals: Refusals::default(),
            encoder: Encoder::default(),
            scratch: vec![0; READ_BYTES],
            accept_again: false,
        })
    }
}

impl Transport for Tcp {
    fn owns(&self, token: Token) -> bool {
        token == self.listener_token || self.tokens.range.contains(&token.0)
    }

    fn set_members(&mut self, configuration: &Configuration, now: Time) {
        let tokens = &mut self.tokens;
        self.peers.set_members(configuration, now, || tokens.take());
        // Those who listen are told at once if this node is reached elsewhere now.
        self.unsent.extend(self.peers.listening());
    }

    fn set_identity(&mut self, identity: Identity, now: Time, registry: &Registry) {
        if self.peers.own().identity.member != identity.member {
            for token in self.incoming.keys().copied().collect::<Vec<_>>() {
                self.end(token, &IncomingError::Closed, now, registry);
            }
        }
        self.peers.set_identity(identity);
    }

    fn identity(&self) -> Identity {
        self.peers.own().identity
    }

    fn reaches(&self, member: Member) -> bool {
        self.peers.reaches(member)
    }

    fn send(&mut self, envelope: Box<Envelope>, events: &mut Vec<TransportEvent>) {
        let Some(peer) = self.peers.addressed(envelope.to) else {
            return;
        };
        if !peer.is_open() {
            events.push(TransportEvent::Unreachable(envelope.to));
            return;
        }
        let frame = self.encoder.encode(&envelope);
        if peer.push(frame, self.queue_bytes_max) {
            self.unsent.insert(envelope.to);
        } else {
            events.push(TransportEvent::Unreachable(envelope.to));
        }
    }

    fn flush(&mut self, now: Time, registry: &Registry, events: &mut Vec<TransportEvent>) {
        self.encoder.forget();
        for member in core::mem::take(&mut self.unsent) {
            if let Some(peer) = self.peers.get_mut(member)
                && !peer.flush(now, registry)
            {
                events.push(TransportEvent::Unreachable(member));
            }
        }
    }

    fn tick(&mut self, now: Time, registry: &Registry, events: &mut Vec<TransportEvent>) {
        if self.accept_again {
            self.accept(now, registry);
        }
        let strangers = self.incoming.iter().filter(|(_, i)| i.from.is_none());
        let silent = strangers.filter(|(_, i)| now >= i.since + HELLO_PATIENCE);
        let silent: Vec<Token> = silent.map(|(token, _)| *token).collect();
        for token in silent {
            self.end(token, &IncomingError::Silent, now, registry);
        }
        let incoming = &self.incoming;
        let speaking = |member| incoming.values().any(|i| i.from == Some(member));
        self.peers.forget_guests(now, speaking);
        for (member, peer) in self.peers.connections_mut() {
            match peer.dial(now, registry) {
                Need::Nothing => {}
                Need::Resolve(name) => events.push(TransportEvent::Resolve(member, name)),
            }
        }
    }

    fn resolved(
        &mut self,
        (member, name): (Member, &str),
        addresses: &Result<Vec<SocketAddr>, String>,
        now: Time,
        registry: &Registry,
    ) {
        if let Some(peer) = self.peers.get_mut(member) {
            peer.resolved(name, addresses, now, registry);
        }
    }

    fn next_deadline(&self) -> Option<Time> {
        let dials = self.peers.connections().filter_map(Outgoing::retry_at);
        let reads = (!self.ready.is_empty()).then_some(Time(0));
        dials.chain(reads).min()
    }

    fn on_ready(
        &mut self,
        event: &Event,
        now: Time,
        registry: &Registry,
        events: &mut Vec<TransportEvent>,
    ) {
        let token = event.token();
        if token == self.listener_token {
            self.accept(now, registry);
        } else if let Some(incoming) = self.incoming.get_mut(&token) {
            incoming.ending |= event.is_read_closed() || event.is_error();
            self.ready.insert(token);
        } else if let Some((member, peer)) = self.peers.by_token(token) {
            let alive = (!event.is_readable() || peer.read(now, registry))
                && (!event.is_writable() || peer.flush(now, registry));
            if !alive {
                events.push(TransportEvent::Unreachable(member));
            }
        }
    }

    fn receive(&mut self, now: Time, registry: &Registry, events: &mut Vec<TransportEvent>) {
        let limit = self.frame_bytes_max;
        for token in core::mem::take(&mut self.ready) {
            let Some(incoming) = self.incoming.get_mut(&token) else {
                continue;
            };
            let mut answer = None;
            let turn = incoming.read(&mut self.scratch, self.peers.own(), limit, |envelope| {
                if envelope.body.is_answer() {
                    answer = Some(envelope.from.member);
                }
                events.push(TransportEvent::Received(envelope));
            });
            if let Some(peer) = answer.and_then(|member| self.peers.get_mut(member)) {
                peer.answered(now);
            }
            let hello = incoming.hello.take();
            if let Some(hello) = &hello {
                let tokens = &mut self.tokens;
                self.peers.greeted(hello, now, || tokens.take());
            }
            match turn {
                Ok(Turn::Done) => {}
                Ok(Turn::More) => {
                    self.ready.insert(token);
                }
                Err(error) => self.end(token, &error, now, registry),
            }
            if let Some(hello) = hello {
                self.supersede(token, hello.from.member, now, registry);
            }
        }
    }

    fn inquiry(&self) -> Box<dyn Inquiry> {
        Box::new(AskOverTcp)
    }
}

impl Tcp {
    fn accept(&mut self, now: Time, registry: &Registry) {
        self.accept_again = false;
        loop {
            match self.listener.accept() {
                Ok((mut stream, address)) => {
                    if self.incoming.len() >= INCOMING_MAX && !self.evict_stranger(now, registry) {
                        warn!(%address, "a connection was refused: {INCOMING_MAX} are open");
                        continue;
                    }
                    let token = self.tokens.take();
                    let set_up = keep_alive(&stream, PEER_SILENCE, PEER_INTERVAL)
                        .and_then(|()| registry.register(&mut stream, token, Interest::READABLE));
                    if set_up.is_ok() {
                        self.incoming.insert(token, Incoming::new(stream, now));
                        self.ready.insert(token);
                    }
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) => {
                    warn!(%error, "a peer's connection could not be accepted; trying again");
                    self.accept_again = true;
                    return;
                }
            }
        }
    }

    /// Makes room for a newcomer: whoever has been silent longest goes first.
    fn evict_stranger(&mut self, now: Time, registry: &Registry) -> bool {
        let strangers = self.incoming.iter().filter(|(_, i)| i.from.is_none());
        let oldest = strangers
            .min_by_key(|(_, i)| i.since)
            .map(|(token, _)| *token);
        if let Some(token) = oldest {
            self.end(token, &IncomingError::Silent, now, registry);
        }
        oldest.is_some()
    }

    /// A peer that dialed anew has given up its earlier connection.
    fn supersede(&mut self, newest: Token, member: Member, now: Time, registry: &Registry) {
        let earlier = self.incoming.iter();
        let earlier = earlier.filter(|(token, i)| **token != newest && i.from == Some(member));
        let earlier: Vec<Token> = earlier.map(|(token, _)| *token).collect();
        for token in earlier {
            self.end(token, &IncomingError::Closed, now, registry);
        }
    }

    fn end(&mut self, token: Token, error: &IncomingError, now: Time, registry: &Registry) {
        let Some(mut incoming) = self.incoming.remove(&token) else {
            return;
        };
        let address = incoming.stream().peer_addr().ok();
        match error {
            IncomingError::Closed
            | IncomingError::Told
            | IncomingError::Silent
            | IncomingError::Io(_) => {
                if let Some(member) = incoming.from {
                    info!(node = member.node.0, %error, "a peer's connection ended");
                }
            }
            IncomingError::Frame(_)
            | IncomingError::Hello(_)
            | IncomingError::Decode(_)
            | IncomingError::Impostor { .. } => {
                let from = address.map(|address| address.ip());
                if self.refusals.is_news(from, error.to_string(), now) {
                    let next = advice(error);
                    warn!(?address, %error, next, "a connection was refused");
                }
            }
        }
        incoming.refuse(error);
        let _ = registry.deregister(incoming.stream());
    }
}
