//! What a node answers by itself, without a word to any other.

use bytes::Bytes;

use crate::resp::{Protocol, Reply};
use crate::status::ServerStatus;

use super::connection::Connection;
use super::orders;
use super::table::{self, COMMANDS, Local, is, shown};

/// What the door knows of its node and of its clients.
pub(super) struct Seen<'a> {
    pub(super) clients: usize,
    pub(super) commands: u64,
    pub(super) status: &'a dyn Fn() -> ServerStatus,
}

/// Answers what needs no other node.
pub(super) fn answer(local: &Local, connection: &mut Connection, seen: &Seen<'_>) -> Reply {
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
        Local::Reads(None) => Reply::text(connection.reads.to_string()),
        Local::Reads(Some(reads)) => {
            connection.reads = *reads;
            Reply::OK
        }
        Local::Info => Reply::text(info(seen)),
        Local::RaftMembers => orders::members(&(seen.status)()),
        Local::RaftStatus => match serde_json::to_string(&(seen.status)()) {
            Ok(json) => Reply::text(json),
            Err(error) => Reply::Error(format!("ERR {error}")),
        },
    }
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
    Reply::Map(vec![
        (Reply::text("server"), Reply::text("raft-kv")),
        (
            Reply::text("version"),
            Reply::text(env!("CARGO_PKG_VERSION")),
        ),
        (Reply::text("proto"), Reply::Integer(version)),
        (Reply::text("id"), Reply::number(connection.id)),
        (Reply::text("mode"), Reply::text("standalone")),
        (Reply::text("role"), Reply::text("master")),
        (Reply::text("modules"), Reply::Array(Vec::new())),
    ])
}

fn describe(arguments: &[Bytes]) -> Reply {
    match arguments.first() {
        None => Reply::Array(COMMANDS.iter().map(describe_one).collect()),
        Some(sub) if is(sub, "COUNT") => Reply::number(COMMANDS.len()),
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
        (sub, None) if is(sub, "ID") => Reply::number(connection.id),
        (sub, Some(_)) if is(sub, "SETINFO") => Reply::OK,
        (sub, _) => unknown_sub("CLIENT", sub),
    }
}

fn unknown_sub(command: &str, sub: &Bytes) -> Reply {
    let sub = shown(sub);
    Reply::Error(format!("ERR unknown subcommand '{sub}' of {command}"))
}

fn info(seen: &Seen<'_>) -> String {
    let status = (seen.status)();
    let (clients, commands) = (seen.clients, seen.commands);
    let version = env!("CARGO_PKG_VERSION");
    let leader = status.leader.map(|id| id.to_string());
    let raft = [
        ("node_id", status.id.to_string()),
        ("cluster_id", status.cluster_id),
        ("role", status.role),
        ("standing", status.standing.to_string()),
        ("term", status.term.to_string()),
        ("leader", leader.unwrap_or_else(|| "none".to_string())),
        ("voters", list(&status.voters)),
        ("outgoing", list(&status.outgoing)),
        ("learners", list(&status.learners)),
        ("configuration_id", status.configuration_id),
        ("commit_index", status.commit_index.to_string()),
        ("applied_index", status.applied_index.to_string()),
        ("first_index", status.first_index.to_string()),
        ("last_index", status.last_index.to_string()),
        ("durable_index", status.durable_index.to_string()),
        ("disk", status.disk.to_string()),
        (
            "snapshot_id",
            status.snapshot_id.unwrap_or_else(|| "none".to_string()),
        ),
        ("log_syncs", status.log_syncs.to_string()),
        ("log_writes", status.log_writes.to_string()),
        ("log_bytes", status.log_bytes.to_string()),
        ("refused_messages", status.refused_messages.to_string()),
    ];
    let mut text = format!(
        "# Server\r\nserver_name:raft-kv\r\nraft_kv_version:{version}\r\nprocess_id:{}\r\n\r\n\
         # Clients\r\nconnected_clients:{clients}\r\n\r\n\
         # Stats\r\ntotal_commands_processed:{commands}\r\n\r\n\
         # Raft\r\n",
        status.process_id,
    );
    for (name, value) in raft {
        text.push_str(&format!("raft_{name}:{value}\r\n"));
    }
    text
}

fn list(ids: &[u64]) -> String {
    let ids: Vec<String> = ids.iter().map(u64::to_string).collect();
    ids.join(",")
}
