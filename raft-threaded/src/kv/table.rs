//! The commands: their names, their shapes, and what each becomes.

use core::mem::take;
use std::borrow::Cow;

use bytes::Bytes;
use raft_core::replica::Serial;

use crate::runtime::order::Order;

use super::command::{Condition, KvCommand, KvQuery};
use super::machine::parse_number;
use super::once;
use super::orders;
use super::reads::{self, Reads};

/// A command as `COMMAND` describes it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spec {
    pub(super) name: &'static str,
    /// Its words, the name included; negative if there may be more.
    pub(super) arity: i64,
    pub(super) flags: &'static [&'static str],
    /// Where its keys stand: first, last, step.
    pub(super) keys: (i64, i64, i64),
    parse: Parse,
}

/// How a command's words are read.
#[derive(Clone, Copy, Debug)]
enum Parse {
    Replicated(fn(&[Bytes]) -> Result<Parsed, String>),
    /// Likewise, for what is asked most: the words are taken, which saves copies of their handles.
    Taking(fn(&mut [Bytes]) -> Result<Parsed, String>),
    Local(fn(&[Bytes]) -> Local),
}

/// What a request asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Parsed {
    /// A change, to be replicated.
    Write(KvCommand),
    /// A session.
    Session,
    /// A change that is made once, however often it is asked for.
    Once(Serial, KvCommand),
    /// A question, answered as its connection wants it.
    Read(KvQuery),
    /// A question to the state of this node, however old; the answer tells how old.
    StaleRead(KvQuery),
    /// Something the node itself is to do.
    Order(Order),
    /// Something this node answers by itself.
    Local(Local),
}

/// What a node answers by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Local {
    Ping(Option<Bytes>),
    Echo(Bytes),
    Hello(Vec<Bytes>),
    Select(Bytes),
    Quit,
    Command(Vec<Bytes>),
    Config(Vec<Bytes>),
    Client(Vec<Bytes>),
    /// How the connection's reads are answered from now on; or, without a choice, the question how they are.
    Reads(Option<Reads>),
    Info,
    RaftStatus,
    RaftMembers,
}

const READ: &[&str] = &["readonly", "fast"];
const WRITE: &[&str] = &["write", "fast"];
const LOCAL: &[&str] = &["loading", "stale", "fast"];
const ADMIN: &[&str] = &["admin", "noscript", "loading", "stale"];

/// Every command, in the order in which `COMMAND` lists them.
pub(super) const COMMANDS: &[Spec] = &[
    local("PING", -1, |a| Local::Ping(a.get(1).cloned())),
    local("ECHO", 2, |a| Local::Echo(a[1].clone())),
    local("HELLO", -1, |a| Local::Hello(a[1..].to_vec())),
    local("SELECT", 2, |a| Local::Select(a[1].clone())),
    local("QUIT", -1, |_| Local::Quit),
    local("COMMAND", -1, |a| Local::Command(a[1..].to_vec())),
    local("CONFIG", -2, |a| Local::Config(a[1..].to_vec())),
    local("CLIENT", -2, |a| Local::Client(a[1..].to_vec())),
    local("READONLY", 1, |_| Local::Reads(Some(Reads::Stale(None)))),
    local("READWRITE", 1, |_| Local::Reads(Some(Reads::default()))),
    spec("RAFT.READS", -1, LOCAL, (0, 0, 0), reads::reads),
    local("INFO", -1, |_| Local::Info),
    local("RAFT.STATUS", 1, |_| Local::RaftStatus),
    local("RAFT.MEMBERS", 1, |_| Local::RaftMembers),
    order("RAFT.ATTACH", -3, orders::attach),
    order("RAFT.DETACH", -2, orders::detach),
    order("RAFT.PROMOTE", -2, orders::promote),
    order("RAFT.DEMOTE", -2, orders::demote),
    order("RAFT.MOVE", -3, orders::set_address),
    order("RAFT.TRANSFER", -1, orders::transfer),
    order("RAFT.STEPDOWN", 1, orders::step_down),
    order("RAFT.SOLO", -1, orders::solo),
    order("RAFT.RESET", -1, orders::reset),
    order("RAFT.SNAPSHOT", 1, orders::snapshot),
    spec("RAFT.SESSION", 1, WRITE, (0, 0, 0), |_| Ok(Parsed::Session)),
    spec("RAFT.ONCE", -4, WRITE, (0, 0, 0), once::once),
    spec("RAFT.STALE", -2, READ, (0, 0, 0), reads::stale),
    taking("GET", 2, READ, |a| read(KvQuery::Get(take(&mut a[1])))),
    taking("SET", -3, WRITE, set),
    spec("SETNX", 3, WRITE, (1, 1, 1), |a| {
        let (key, value) = (a[1].clone(), a[2].clone());
        write(KvCommand::SetNx { key, value })
    }),
    spec("GETSET", 3, WRITE, (1, 1, 1), |a| {
        write(KvCommand::Set {
            key: a[1].clone(),
            value: a[2].clone(),
            condition: Condition::Always,
            get: true,
        })
    }),
    spec("GETDEL", 2, WRITE, (1, 1, 1), |a| {
        write(KvCommand::GetDel(a[1].clone()))
    }),
    spec("MGET", -2, READ, (1, -1, 1), |a| {
        read(KvQuery::MGet(a[1..].to_vec()))
    }),
    spec("MSET", -3, WRITE, (1, -1, 2), mset),
    spec("DEL", -2, WRITE, (1, -1, 1), |a| {
        write(KvCommand::Del(a[1..].to_vec()))
    }),
    spec("EXISTS", -2, READ, (1, -1, 1), |a| {
        read(KvQuery::Exists(a[1..].to_vec()))
    }),
    spec("INCR", 2, WRITE, (1, 1, 1), |a| add(&a[1], Some(1))),
    spec("DECR", 2, WRITE, (1, 1, 1), |a| add(&a[1], Some(-1))),
    spec("INCRBY", 3, WRITE, (1, 1, 1), |a| {
        add(&a[1], parse_number(&a[2]))
    }),
    spec("DECRBY", 3, WRITE, (1, 1, 1), |a| {
        add(&a[1], parse_number(&a[2]).and_then(i64::checked_neg))
    }),
    spec("APPEND", 3, WRITE, (1, 1, 1), |a| {
        let (key, value) = (a[1].clone(), a[2].clone());
        write(KvCommand::Append { key, value })
    }),
    spec("STRLEN", 2, READ, (1, 1, 1), |a| {
        read(KvQuery::StrLen(a[1].clone()))
    }),
    spec("TYPE", 2, READ, (1, 1, 1), |a| {
        read(KvQuery::Type(a[1].clone()))
    }),
    spec("SCAN", -2, READ, (0, 0, 0), scan),
    spec("DBSIZE", 1, READ, (0, 0, 0), |_| read(KvQuery::DbSize)),
    spec("FLUSHALL", -1, WRITE, (0, 0, 0), flush_all),
];

const fn spec(
    name: &'static str,
    arity: i64,
    flags: &'static [&'static str],
    keys: (i64, i64, i64),
    parse: fn(&[Bytes]) -> Result<Parsed, String>,
) -> Spec {
    Spec {
        name,
        arity,
        flags,
        keys,
        parse: Parse::Replicated(parse),
    }
}

/// A command of one key that takes its words.
const fn taking(
    name: &'static str,
    arity: i64,
    flags: &'static [&'static str],
    parse: fn(&mut [Bytes]) -> Result<Parsed, String>,
) -> Spec {
    Spec {
        name,
        arity,
        flags,
        keys: (1, 1, 1),
        parse: Parse::Taking(parse),
    }
}

/// A command that never leaves the node; `what` says which one it becomes.
const fn local(name: &'static str, arity: i64, what: fn(&[Bytes]) -> Local) -> Spec {
    Spec {
        name,
        arity,
        flags: LOCAL,
        keys: (0, 0, 0),
        parse: Parse::Local(what),
    }
}

/// A command to the node itself.
const fn order(
    name: &'static str,
    arity: i64,
    parse: fn(&[Bytes]) -> Result<Parsed, String>,
) -> Spec {
    spec(name, arity, ADMIN, (0, 0, 0), parse)
}

/// Turns a request into what it asks for.
pub(super) fn parse(arguments: &mut [Bytes]) -> Result<Parsed, String> {
    let name = &arguments[0][..];
    let mut known = COMMANDS.iter();
    let known = known.find(|spec| spec.name.as_bytes().eq_ignore_ascii_case(name));
    let Some(spec) = known else {
        let name = String::from_utf8_lossy(name);
        return Err(unknown(&name, &arguments[1..]));
    };
    let words = i64::try_from(arguments.len()).unwrap_or(i64::MAX);
    if (spec.arity >= 0 && words != spec.arity) || words < -spec.arity {
        let name = spec.name.to_ascii_lowercase();
        return Err(format!(
            "ERR wrong number of arguments for '{name}' command"
        ));
    }
    match spec.parse {
        Parse::Replicated(parse) => parse(arguments),
        Parse::Taking(parse) => parse(arguments),
        Parse::Local(what) => Ok(Parsed::Local(what(arguments))),
    }
}

/// Redis's words for it.
fn unknown(name: &str, rest: &[Bytes]) -> String {
    let name: String = name.chars().take(128).collect();
    let mut error = format!("ERR unknown command '{name}', with args beginning with: ");
    for argument in rest.iter().take(4) {
        let shown = &argument[..argument.len().min(32)];
        error.push_str(&format!("'{}' ", String::from_utf8_lossy(shown)));
    }
    error
}

/// Whether a word is this option or subcommand, in whatever case.
pub(super) fn is(word: &Bytes, expected: &str) -> bool {
    word.eq_ignore_ascii_case(expected.as_bytes())
}

/// As much of a word as an error repeats.
pub(super) fn shown(word: &Bytes) -> Cow<'_, str> {
    String::from_utf8_lossy(&word[..word.len().min(64)])
}

pub(super) fn syntax() -> String {
    "ERR syntax error".to_string()
}

fn not_an_integer() -> String {
    "ERR value is not an integer or out of range".to_string()
}

#[expect(clippy::unnecessary_wraps, reason = "the table's functions may fail")]
fn read(query: KvQuery) -> Result<Parsed, String> {
    Ok(Parsed::Read(query))
}

#[expect(clippy::unnecessary_wraps, reason = "the table's functions may fail")]
fn write(command: KvCommand) -> Result<Parsed, String> {
    Ok(Parsed::Write(command))
}

fn add(key: &Bytes, by: Option<i64>) -> Result<Parsed, String> {
    let by = by.ok_or_else(not_an_integer)?;
    let key = key.clone();
    write(KvCommand::IncrBy { key, by })
}

fn set(arguments: &mut [Bytes]) -> Result<Parsed, String> {
    let (mut condition, mut get) = (Condition::Always, false);
    for option in &arguments[3..] {
        match option.to_ascii_uppercase().as_slice() {
            b"NX" if condition == Condition::Always => condition = Condition::Absent,
            b"XX" if condition == Condition::Always => condition = Condition::Present,
            b"GET" => get = true,
            b"EX" | b"PX" | b"EXAT" | b"PXAT" | b"KEEPTTL" => {
                let option = String::from_utf8_lossy(option).into_owned();
                return Err(format!(
                    "ERR option {option} is not supported: this server has no expiry"
                ));
            }
            _ => return Err(syntax()),
        }
    }
    write(KvCommand::Set {
        key: take(&mut arguments[1]),
        value: take(&mut arguments[2]),
        condition,
        get,
    })
}

fn mset(arguments: &[Bytes]) -> Result<Parsed, String> {
    let (pairs, rest) = arguments[1..].as_chunks::<2>();
    if !rest.is_empty() {
        return Err("ERR wrong number of arguments for 'mset' command".to_string());
    }
    let pairs = pairs
        .iter()
        .map(|[key, value]| (key.clone(), value.clone()));
    write(KvCommand::MSet(pairs.collect()))
}

fn scan(arguments: &[Bytes]) -> Result<Parsed, String> {
    let text = core::str::from_utf8(&arguments[1]).ok();
    let Some(cursor) = text.and_then(|text| text.parse().ok()) else {
        return Err("ERR invalid cursor".to_string());
    };
    let (mut pattern, mut count, mut kind) = (None, 10, None);
    let (options, rest) = arguments[2..].as_chunks::<2>();
    if !rest.is_empty() {
        return Err(syntax());
    }
    for [option, value] in options {
        match option.to_ascii_uppercase().as_slice() {
            b"MATCH" => pattern = Some(value.clone()),
            b"TYPE" => kind = Some(value.clone()),
            b"COUNT" => match parse_number(value).ok_or_else(not_an_integer)? {
                number @ 1.. => count = number.unsigned_abs(),
                _ => return Err(syntax()),
            },
            _ => return Err(syntax()),
        }
    }
    read(KvQuery::Scan {
        cursor,
        pattern,
        count,
        kind,
    })
}

fn flush_all(arguments: &[Bytes]) -> Result<Parsed, String> {
    match arguments.get(1).map(|mode| mode.to_ascii_uppercase()) {
        None => write(KvCommand::FlushAll),
        Some(mode) if mode == b"SYNC" || mode == b"ASYNC" => write(KvCommand::FlushAll),
        Some(_) => Err(syntax()),
    }
}

/// What becomes of a request, for tests.
#[cfg(test)]
pub(super) fn says(request: &str) -> String {
    let mut words: Vec<Bytes> = request
        .split(' ')
        .map(|word| Bytes::from(word.to_string()))
        .collect();
    match parse(&mut words) {
        Ok(parsed) => format!("{parsed:?}"),
        Err(error) => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_say_what_redis_says() {
        assert_eq!(
            says("get"),
            "ERR wrong number of arguments for 'get' command"
        );
        assert_eq!(
            says("mset a 1 b"),
            "ERR wrong number of arguments for 'mset' command"
        );
        assert_eq!(says("set a 1 NX XX"), "ERR syntax error");
        assert_eq!(
            says("incrby a x"),
            "ERR value is not an integer or out of range"
        );
        assert_eq!(
            says("decrby a -9223372036854775808"),
            "ERR value is not an integer or out of range"
        );
        assert_eq!(says("scan x"), "ERR invalid cursor");
        assert_eq!(
            says("lpush a 1"),
            "ERR unknown command 'lpush', with args beginning with: 'a' '1' "
        );
        assert!(says("set a 1 EX 10").contains("no expiry"));
    }

    #[test]
    fn names_and_options_are_read_in_any_case() {
        assert_eq!(says("sEt a 1 nx GeT"), says("SET a 1 NX GET"));
        assert!(says("Scan 0 match a* Count 5").starts_with("Read(Scan"));
    }
}
