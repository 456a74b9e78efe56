//! The door for Redis clients, in the replica thread.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind};
use std::time::Duration;

use bytes::Bytes;
use mio::event::Event;
use mio::net::TcpListener;
use mio::{Interest, Registry, Token};
use raft_core::replica::RequestError;
use raft_core::{Rejection, RequestId};
use tracing::warn;

use crate::resp::{Limits, Protocol, Reply, Request as Words};
use crate::runtime::front::{FRONT_TOKENS, Front, Request, RequestIds};
use crate::runtime::socket::keep_alive;
use crate::status::ServerStatus;

use super::connection::{Connection, Slot, Waiting};
use super::machine::KvStore;
use super::table::{self, COMMANDS, Local, Parsed};

const LISTENER: Token = Token(FRONT_TOKENS);
/// How long a client may say nothing before the system asks whether it is there.
const CLIENT_SILENCE: Duration = Duration::from_secs(60);
/// How long between such questions.
const CLIENT_INTERVAL: Duration = Duration::from_secs(10);
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
    /// Whose reply each request is.
    asked: BTreeMap<RequestId, (Token, Slot)>,
    /// Connections that may have commands to take.
    ready: BTreeSet<Token>,
    /// Connections that may have something to write.
    unsent: BTreeSet<Token>,
    commands: u64,
}

impl RespFront {
    pub(super) const fn new(listener: TcpListener, limits: Limits, clients_max: usize) -> Self {
        Self {
            listener,
            limits,
            clients_max,
            accept_again: false,
            connections: BTreeMap::new(),
            last_token: FRONT_TOKENS,
            asked: BTreeMap::new(),
            ready: BTreeSet::new(),
            unsent: BTreeSet::new(),
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
        self.connections.insert(token, connection);
        self.ready.insert(token);
    }

    fn end(&mut self, token: Token, registry: &Registry) {
        if let Some(mut connection) = self.connections.remove(&token) {
            let _ = registry.deregister(connection.stream());
        }
        self.ready.remove(&token);
        self.unsent.remove(&token);
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
        self.unsent.insert(token);
        connection.read();
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
                    Some(Words::Command(arguments)) => {
                        self.commands += 1;
                        match table::parse(&arguments) {
                            Ok(parsed) => parsed,
                            Err(error) => {
                                connection.answer(Reply::Error(error));
                                continue;
                            }
                        }
                    }
                },
            };
            let kind = match &parsed {
                Parsed::Write(_) => Waiting::Writes,
                Parsed::Read(_) => Waiting::Reads,
                Parsed::Local(Local::Hello(_)) if !connection.is_answered() => {
                    // What was asked before it is answered in the protocol of then.
                    connection.held = Some(parsed);
                    return;
                }
                Parsed::Local(local) => {
                    let reply = answer(local, connection, clients, self.commands, status);
                    connection.answer(reply);
                    continue;
                }
            };
            if !connection.may_ask(kind) {
                connection.held = Some(parsed);
                return;
            }
            let (id, slot) = (ids.next(), connection.asked(kind));
            self.asked.insert(id, (token, slot));
            match parsed {
                Parsed::Write(command) => requests.push(Request::Propose(id, command)),
                Parsed::Read(query) => requests.push(Request::Query(id, query)),
                Parsed::Local(_) => {}
            }
        }
        if connection.wants_turn() {
            self.ready.insert(token);
        }
    }
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
                self.ready.insert(token);
            }
            if event.is_writable() {
                self.unsent.insert(token);
            }
        }
    }

    fn take_requests(
        &mut self,
        ids: &mut RequestIds,
        status: &dyn Fn() -> ServerStatus,
        requests: &mut Vec<Request<KvStore>>,
    ) {
        for token in core::mem::take(&mut self.ready) {
            self.take_turn(token, ids, status, requests);
        }
    }

    fn has_work(&self) -> bool {
        !self.ready.is_empty()
    }

    fn reply(&mut self, request: RequestId, result: Result<Reply, RequestError>) {
        let Some((token, slot)) = self.asked.remove(&request) else {
            return;
        };
        let Some(connection) = self.connections.get_mut(&token) else {
            return;
        };
        connection.replied(slot, result.unwrap_or_else(|error| explain(&error)));
        self.unsent.insert(token);
        self.ready.insert(token);
    }

    fn flush(&mut self, registry: &Registry) {
        if self.accept_again {
            self.accept(registry);
        }
        for token in core::mem::take(&mut self.unsent) {
            let Some(connection) = self.connections.get_mut(&token) else {
                continue;
            };
            if !connection.write() {
                self.end(token, registry);
            } else if connection.wants_turn() {
                // Writing made room for the commands that waited for it.
                self.ready.insert(token);
            }
        }
    }
}

fn too_long(bytes: u64, limit: u64) -> Reply {
    Reply::Error(format!(
        "ERR a value of {bytes} bytes exceeds the limit of {limit} bytes"
    ))
}

/// What a client is told whose request has no reply; the first word says whether to try again.
fn explain(error: &RequestError) -> Reply {
    let kind = match error {
        RequestError::Rejected(rejection) => match rejection {
            Rejection::NotLeader { leader: Some(_) } => "NOTLEADER",
            Rejection::NotLeader { leader: None } | Rejection::NoQuorum | Rejection::Halted => {
                "CLUSTERDOWN"
            }
            Rejection::Busy(_) | Rejection::Transferring => "BUSY",
            Rejection::StorageFull => "MISCONF",
            Rejection::TooLarge { .. }
            | Rejection::Change(_)
            | Rejection::Transfer(_)
            | Rejection::Identity(_) => "ERR",
        },
        // Certainly not done, because another leader took over.
        RequestError::Superseded(_) => "NOTLEADER",
        RequestError::Unknown | RequestError::ReplyLost(_) => "UNKNOWN",
        RequestError::Undecodable
        | RequestError::SessionExpired
        | RequestError::SequencePassed { .. }
        | RequestError::WindowFull { .. } => "ERR",
    };
    Reply::Error(format!("{kind} {error}"))
}

/// Answers what needs no other node.
fn answer(
    local: &Local,
    connection: &mut Connection,
    clients: usize,
    commands: u64,
    status: &dyn Fn() -> ServerStatus,
) -> Reply {
    match local {
        Local::Ping(None) => Reply::Simple("PONG"),
        Local::Ping(Some(message)) | Local::Echo(message) => Reply::Bulk(message.clone()),
        Local::Hello(arguments) => hello(arguments, connection),
        Local::Select(database) if database == "0" => Reply::OK,
        Local::Select(_) => {
            Reply::Error("ERR DB index is out of range: there is only 0".to_string())
        }
        Local::Quit => {
            connection.closing = true;
            Reply::OK
        }
        Local::Command(arguments) => describe(arguments),
        Local::Config(arguments) => config(arguments),
        Local::Client(arguments) => client(arguments, connection),
        Local::Info => Reply::text(info(&status(), clients, commands)),
        Local::RaftStatus => match serde_json::to_string(&status()) {
            Ok(json) => Reply::text(json),
            Err(error) => Reply::Error(format!("ERR {error}")),
        },
    }
}

fn is(word: &Bytes, expected: &str) -> bool {
    word.eq_ignore_ascii_case(expected.as_bytes())
}

fn hello(arguments: &[Bytes], connection: &mut Connection) -> Reply {
    let mut rest = arguments.iter();
    let protocol = match rest.next().map(|version| &version[..]) {
        None => connection.protocol,
        Some(b"2") => Protocol::Resp2,
        Some(b"3") => Protocol::Resp3,
        Some(_) => return Reply::Error("NOPROTO unsupported protocol version".to_string()),
    };
    while let Some(option) = rest.next() {
        if is(option, "AUTH") {
            return Reply::Error(
                "ERR AUTH <password> called without any password configured".to_string(),
            );
        }
        match rest.next() {
            Some(name) if is(option, "SETNAME") => {
                connection.name = Bytes::copy_from_slice(name);
            }
            _ => return Reply::Error("ERR syntax error in HELLO".to_string()),
        }
    }
    connection.protocol = protocol;
    let version = if protocol == Protocol::Resp3 { 3 } else { 2 };
    let id = i64::try_from(connection.id).unwrap_or(i64::MAX);
    Reply::Map(vec![
        (Reply::text("server"), Reply::text("raft-kv")),
        (
            Reply::text("version"),
            Reply::text(env!("CARGO_PKG_VERSION")),
        ),
        (Reply::text("proto"), Reply::Integer(version)),
        (Reply::text("id"), Reply::Integer(id)),
        (Reply::text("mode"), Reply::text("standalone")),
        (Reply::text("role"), Reply::text("master")),
        (Reply::text("modules"), Reply::Array(Vec::new())),
    ])
}

fn describe(arguments: &[Bytes]) -> Reply {
    match arguments.first() {
        None => Reply::Array(COMMANDS.iter().map(describe_one).collect()),
        Some(sub) if is(sub, "COUNT") => {
            Reply::Integer(i64::try_from(COMMANDS.len()).unwrap_or(i64::MAX))
        }
        Some(sub) if is(sub, "INFO") => {
            let one = |name: &Bytes| {
                let known = COMMANDS.iter().find(|spec| is(name, spec.name));
                known.map_or(Reply::Null, describe_one)
            };
            Reply::Array(arguments[1..].iter().map(one).collect())
        }
        Some(sub) if is(sub, "DOCS") => Reply::Map(Vec::new()),
        Some(sub) => unknown_sub("COMMAND", sub),
    }
}

fn describe_one(spec: &table::Spec) -> Reply {
    let flags = spec.flags.iter().map(|flag| Reply::Simple(flag));
    let (first, last, step) = spec.keys;
    Reply::Array(vec![
        Reply::text(spec.name.to_ascii_lowercase()),
        Reply::Integer(spec.arity),
        Reply::Array(flags.collect()),
        Reply::Integer(first),
        Reply::Integer(last),
        Reply::Integer(step),
    ])
}

fn config(arguments: &[Bytes]) -> Reply {
    if !is(&arguments[0], "GET") {
        return unknown_sub("CONFIG", &arguments[0]);
    }
    // What redis-benchmark asks for; every acknowledged write is on the disks of a majority.
    let known = [
        ("save", ""),
        ("appendonly", "yes"),
        ("appendfsync", "always"),
    ];
    let wanted = known.iter().filter(|(name, _)| {
        let mut patterns = arguments[1..].iter();
        patterns.any(|pattern| {
            let mut budget = 10_000;
            super::glob::matches(&pattern.to_ascii_lowercase(), name.as_bytes(), &mut budget)
        })
    });
    Reply::Map(
        wanted
            .map(|(name, value)| (Reply::text(*name), Reply::text(*value)))
            .collect(),
    )
}

fn client(arguments: &[Bytes], connection: &mut Connection) -> Reply {
    match (&arguments[0], arguments.get(1)) {
        (sub, Some(name)) if is(sub, "SETNAME") => {
            connection.name = Bytes::copy_from_slice(name);
            Reply::OK
        }
        (sub, None) if is(sub, "GETNAME") => {
            let name = Some(connection.name.clone()).filter(|name| !name.is_empty());
            Reply::optional(name)
        }
        (sub, None) if is(sub, "ID") => {
            Reply::Integer(i64::try_from(connection.id).unwrap_or(i64::MAX))
        }
        (sub, Some(_)) if is(sub, "SETINFO") => Reply::OK,
        (sub, _) => unknown_sub("CLIENT", sub),
    }
}

fn unknown_sub(command: &str, sub: &Bytes) -> Reply {
    let sub = String::from_utf8_lossy(&sub[..sub.len().min(64)]);
    Reply::Error(format!("ERR unknown subcommand '{sub}' of {command}"))
}

fn info(status: &ServerStatus, clients: usize, commands: u64) -> String {
    let leader = status
        .leader
        .map_or_else(|| "none".to_string(), |id| id.to_string());
    let version = env!("CARGO_PKG_VERSION");
    format!(
        "# Server\r\nserver_name:raft-kv\r\nraft_kv_version:{version}\r\nprocess_id:{}\r\n\r\n\
         # Clients\r\nconnected_clients:{clients}\r\n\r\n\
         # Stats\r\ntotal_commands_processed:{commands}\r\n\r\n\
         # Raft\r\nraft_node_id:{}\r\nraft_cluster_id:{}\r\nraft_role:{}\r\nraft_term:{}\r\n\
         raft_leader:{leader}\r\nraft_commit_index:{}\r\nraft_applied_index:{}\r\n\
         raft_last_index:{}\r\nraft_durable_index:{}\r\nraft_log_syncs:{}\r\nraft_log_writes:{}\r\n\
         raft_log_bytes:{}\r\nraft_refused_messages:{}\r\n",
        status.process_id,
        status.id,
        status.cluster_id,
        status.role,
        status.term,
        status.commit_index,
        status.applied_index,
        status.last_index,
        status.durable_index,
        status.log_syncs,
        status.log_writes,
        status.log_bytes,
        status.refused_messages,
    )
}
