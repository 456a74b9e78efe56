//! The door for Redis clients, in the replica thread.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::time::Duration;

use mio::event::Event;
use mio::net::TcpListener;
use mio::{Interest, Registry, Token};
use raft_core::replica::{Serial, SessionId, Stale};
use raft_core::{EntryId, RequestId};
use tracing::warn;

use crate::error::ClientError;
use crate::resp::{Limits, Reply, Request as Words};
use crate::runtime::answers::Answers;
use crate::runtime::front::{FRONT_TOKENS, Front, Request, RequestIds};
use crate::runtime::order::Carried;
use crate::runtime::socket::keep_alive;
use crate::status::ServerStatus;

use super::connection::{Connection, Slot, Waiting};
use super::local::{self, Seen};
use super::machine::{KvReply, KvStore};
use super::once;
use super::orders;
use super::reads::{self, Reads};
use super::refusal::{refuse, too_long};
use super::table::{self, Parsed};

const LISTENER: Token = Token(FRONT_TOKENS);
/// How long a client may say nothing before the system asks whether it is there.
const CLIENT_SILENCE: Duration = Duration::from_secs(60);
/// How long between such questions.
const CLIENT_INTERVAL: Duration = Duration::from_secs(10);
/// How much is read at a time.
const READ_BYTES: usize = 64 << 10;
/// Commands taken from one connection before others get their turn.
const TURN_COMMANDS: usize = 1_024;

/// Every client's connection.
#[derive(Debug)]
pub(super) struct RespFront {
    listener: TcpListener,
    limits: Limits,
    clients_max: usize,
    /// Somebody may wait to be accepted: the last attempt failed.
    accept_again: bool,
    connections: BTreeMap<Token, Connection>,
    last_token: usize,
    asked: Answers<Asked>,
    due: Due,
    commands: u64,
    /// What is read goes through here.
    scratch: Vec<u8>,
}

/// What is to be done with which connections; some of them may be gone.
#[derive(Debug, Default)]
struct Due {
    /// They may have commands to take.
    ready: Vec<Token>,
    /// They may have something to write.
    unsent: Vec<Token>,
}

impl Due {
    /// Notes, once, what a connection wants: there is a reply for each command, and a turn for many.
    fn note(&mut self, token: Token, connection: &mut Connection) {
        if connection.wants_turn() {
            self.note_ready(token, connection);
        }
        if connection.wants_write() && !core::mem::replace(&mut connection.unsent, true) {
            self.unsent.push(token);
        }
    }

    fn note_ready(&mut self, token: Token, connection: &mut Connection) {
        if !core::mem::replace(&mut connection.ready, true) {
            self.ready.push(token);
        }
    }
}

/// Whose reply a request's is.
#[derive(Clone, Copy, Debug)]
struct Asked {
    connection: Token,
    slot: Slot,
    about: About,
}

/// What a reply depends on besides what was found.
#[derive(Clone, Copy, Debug)]
enum About {
    Nothing,
    /// It is a command of a session, with this digest.
    Session(Serial, u32),
    /// It is an order for which this entry was to have made the configuration in force.
    Expecting(EntryId),
    /// It is a read that may be so old.
    Stale(Option<Duration>),
    /// It is a read whose age is told.
    StaleTold,
}

impl RespFront {
    pub(super) fn new(listener: TcpListener, limits: Limits, clients_max: usize) -> Self {
        Self {
            listener,
            limits,
            clients_max,
            accept_again: false,
            connections: BTreeMap::new(),
            last_token: FRONT_TOKENS,
            asked: Answers::default(),
            due: Due::default(),
            scratch: vec![0; READ_BYTES],
            commands: 0,
        }
    }

    fn accept(&mut self, registry: &Registry) {
        self.accept_again = false;
        loop {
            match self.listener.accept() {
                Ok((stream, _)) => self.welcome(stream, registry),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) => {
                    warn!(%error, "a client's connection could not be accepted; trying again");
                    self.accept_again = true;
                    return;
                }
            }
        }
    }

    fn welcome(&mut self, mut stream: mio::net::TcpStream, registry: &Registry) {
        use std::io::Write;

        if self.connections.len() >= self.clients_max {
            let _ = stream.write(b"-ERR max number of clients reached\r\n");
            return;
        }
        self.last_token += 1;
        let token = Token(self.last_token);
        let interest = Interest::READABLE | Interest::WRITABLE;
        let set_up = keep_alive(&stream, CLIENT_SILENCE, CLIENT_INTERVAL)
            .and_then(|()| stream.set_nodelay(true))
            .and_then(|()| registry.register(&mut stream, token, interest));
        if let Err(error) = set_up {
            warn!(%error, "a client's connection could not be set up");
            return;
        }
        let id = (self.last_token - FRONT_TOKENS) as u64;
        let connection = Connection::new(id, stream, self.limits);
        let connection = self.connections.entry(token).or_insert(connection);
        self.due.note(token, connection);
    }

    /// A request has its reply, which may depend on what was asked.
    fn answer(&mut self, request: RequestId, reply: impl FnOnce(Asked) -> Reply) {
        let Some(asked) = self.asked.remove(request) else {
            return;
        };
        let token = asked.connection;
        let Some(connection) = self.connections.get_mut(&token) else {
            return;
        };
        connection.replied(asked.slot, reply(asked));
        self.due.note(token, connection);
    }

    fn end(&mut self, token: Token, registry: &Registry) {
        if let Some(mut connection) = self.connections.remove(&token) {
            let _ = registry.deregister(connection.stream());
        }
    }

    /// Takes the commands of one connection, up to its turn's end.
    fn take_turn(
        &mut self,
        token: Token,
        ids: &mut RequestIds,
        status: &dyn Fn() -> ServerStatus,
        requests: &mut Vec<Request<KvStore>>,
    ) {
        let clients = self.connections.len();
        let Some(connection) = self.connections.get_mut(&token) else {
            return;
        };
        connection.ready = false;
        connection.read(&mut self.scratch);
        for _ in 0..TURN_COMMANDS {
            if !connection.has_room() {
                return;
            }
            let parsed = match connection.held.take() {
                Some(held) => held,
                None => match connection.next_request() {
                    None => break,
                    Some(Words::TooLong { bytes, limit }) => {
                        connection.answer(too_long(bytes, limit));
                        continue;
                    }
                    Some(Words::Command(mut arguments)) => {
                        self.commands += 1;
                        let parsed = table::parse(&mut arguments);
                        connection.give_back(arguments);
                        match parsed {
                            Ok(parsed) => parsed,
                            Err(error) => {
                                connection.answer(Reply::Error(error));
                                continue;
                            }
                        }
                    }
                },
            };
            if !connection.may_take(&parsed) {
                connection.held = Some(parsed);
                return;
            }
            if let Parsed::Local(local) = &parsed {
                let seen = Seen {
                    clients,
                    commands: self.commands,
                    status,
                };
                let reply = local::answer(local, connection, &seen);
                connection.answer(reply);
                continue;
            }
            let (id, kind) = (ids.next(), Waiting::of(&parsed));
            let (Some(kind), Some((about, request))) =
                (kind, request(id, parsed, connection.reads))
            else {
                unreachable!("what the node answers by itself is answered already");
            };
            let slot = connection.asked(kind);
            let asked = Asked {
                connection: token,
                slot,
                about,
            };
            self.asked.insert(id, asked);
            requests.push(request);
        }
    }
}

/// What is asked of the replica, and what its reply will depend on; none for what this node answers by itself.
fn request(id: RequestId, parsed: Parsed, reads: Reads) -> Option<(About, Request<KvStore>)> {
    Some(match parsed {
        Parsed::Write(command) => (About::Nothing, Request::Propose(id, command)),
        Parsed::Session => (About::Nothing, Request::Register(id)),
        Parsed::Once(serial, command) => {
            let about = About::Session(serial, command.digest());
            (about, Request::ProposeIn(id, serial, command))
        }
        Parsed::Read(query) => match reads {
            Reads::Fresh(consistency) => (About::Nothing, Request::Query(id, consistency, query)),
            Reads::Stale(age_max) => (About::Stale(age_max), Request::QueryStale(id, query)),
        },
        Parsed::StaleRead(query) => (About::StaleTold, Request::QueryStale(id, query)),
        Parsed::Order(order) => {
            let about = order.expected().map_or(About::Nothing, About::Expecting);
            (about, Request::Order(id, order))
        }
        Parsed::Local(_) => return None,
    })
}

impl Front<KvStore> for RespFront {
    fn register(&mut self, registry: &Registry) -> io::Result<()> {
        registry.register(&mut self.listener, LISTENER, Interest::READABLE)
    }

    fn on_ready(&mut self, event: &Event, registry: &Registry) {
        let token = event.token();
        if token == LISTENER {
            self.accept(registry);
        } else if let Some(connection) = self.connections.get_mut(&token) {
            if event.is_readable() || event.is_read_closed() {
                connection.mark_readable(event.is_read_closed());
            }
            self.due.note(token, connection);
        }
    }

    fn take_requests(
        &mut self,
        ids: &mut RequestIds,
        status: &dyn Fn() -> ServerStatus,
        requests: &mut Vec<Request<KvStore>>,
    ) {
        let mut ready = core::mem::take(&mut self.due.ready);
        for token in ready.drain(..) {
            self.take_turn(token, ids, status, requests);
            if let Some(connection) = self.connections.get_mut(&token) {
                self.due.note(token, connection);
            }
        }
        // Its memory is used again.
        ready.append(&mut self.due.ready);
        self.due.ready = ready;
    }

    fn has_work(&self) -> bool {
        !self.due.ready.is_empty()
    }

    fn reply(&mut self, request: RequestId, result: Result<KvReply, ClientError>) {
        self.answer(request, |asked| match (asked.about, result) {
            (About::Session(serial, digest), Ok(found)) => once::reply(found, serial, digest),
            (_, Ok(found)) => found.reply,
            (about, Err(error)) => {
                let explained = match (about, &error) {
                    (About::Session(serial, _), ClientError::Request(error)) => {
                        once::explain(error, serial)
                    }
                    (About::Expecting(expected), ClientError::Request(error)) => {
                        orders::explain(error, expected)
                    }
                    _ => None,
                };
                explained.map_or_else(|| refuse(&error), Reply::Error)
            }
        });
    }

    fn reply_stale(&mut self, request: RequestId, stale: Stale<KvReply>) {
        let (reply, age) = (stale.reply.reply, stale.age);
        let stale = Stale { reply, age };
        self.answer(request, |asked| match asked.about {
            About::Stale(age_max) => reads::within(age_max, stale),
            About::StaleTold => reads::told(stale),
            About::Nothing | About::Session(..) | About::Expecting(_) => {
                unreachable!("only reads are answered so")
            }
        });
    }

    fn registered(&mut self, request: RequestId, session: SessionId) {
        self.answer(request, |_| Reply::text(session.to_string()));
    }

    fn done(&mut self, request: RequestId, result: Result<Carried, ClientError>) {
        let reply = match result {
            Ok(carried) => orders::outcome(carried),
            Err(error) => refuse(&error),
        };
        self.answer(request, |_| reply);
    }

    fn flush(&mut self, registry: &Registry) {
        if self.accept_again {
            self.accept(registry);
        }
        let mut unsent = core::mem::take(&mut self.due.unsent);
        for token in unsent.drain(..) {
            let Some(connection) = self.connections.get_mut(&token) else {
                continue;
            };
            connection.unsent = false;
            if !connection.write() {
                self.end(token, registry);
            } else if connection.wants_turn() {
                // Writing made room for the commands that waited for it.
                self.due.note_ready(token, connection);
            }
        }
        self.due.unsent = unsent;
    }
}

#[cfg(test)]
#[path = "front_tests.rs"]
mod tests;
