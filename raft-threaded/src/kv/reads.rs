//! How a connection's reads are answered, and what their answers tell.
//!
//! A new connection's reads are linearizable: they see every write that was acknowledged before, wherever it
//! was made. `RAFT.READS` chooses for every read command on its connection:
//!
//! - `RAFT.READS LINEARIZABLE`, or `READWRITE`: the default.
//! - `RAFT.READS LEASE`: linearizable as long as clocks drift apart no faster than the nodes were told, and
//!   without a question to a majority while the leader has a lease (`raft-kv serve --lease-ms`). Without a lease
//!   it is the default.
//! - `RAFT.READS STALE [ms]`, or `READONLY`: from the state of this node, without a word to any other. A state
//!   that is older than the limit, or of an age that nobody can tell, is refused if there is a limit.
//!
//! `RAFT.READS` alone answers the choice in force. `RAFT.STALE command [argument …]` reads from the state of
//! this node whatever was chosen, and answers its age with it.
//!
//! A read waits for the writes before it on its connection, also one that may be stale: so it sees what they
//! did, if they were answered. It does not wait for other connections' writes, and a stale read may show an
//! earlier state than a linearizable read before it did.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use raft_core::Consistency;
use raft_core::replica::Stale;

use crate::resp::Reply;

use super::table::{self, Local, Parsed, is, shown};
use super::words::number;

/// How reads are answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reads {
    /// With everything that was acknowledged before.
    Fresh(Consistency),
    /// From the state of this node, which may be at most so old.
    Stale(Option<Duration>),
}

impl Default for Reads {
    fn default() -> Self {
        Self::Fresh(Consistency::Linearizable)
    }
}

/// As `RAFT.READS` takes it.
impl fmt::Display for Reads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fresh(Consistency::Linearizable) => f.write_str("LINEARIZABLE"),
            Self::Fresh(Consistency::Lease) => f.write_str("LEASE"),
            Self::Stale(None) => f.write_str("STALE"),
            Self::Stale(Some(age_max)) => write!(f, "STALE {}", age_max.as_millis()),
        }
    }
}

/// `RAFT.READS [LINEARIZABLE | LEASE | STALE [ms]]`.
pub(super) fn reads(arguments: &[Bytes]) -> Result<Parsed, String> {
    let reads = match &arguments[1..] {
        [] => None,
        [word] if is(word, "LINEARIZABLE") => Some(Reads::Fresh(Consistency::Linearizable)),
        [word] if is(word, "LEASE") => Some(Reads::Fresh(Consistency::Lease)),
        [word] if is(word, "STALE") => Some(Reads::Stale(None)),
        [word, age_max] if is(word, "STALE") => {
            let age_max = number(age_max).map(Duration::from_millis).ok_or_else(|| {
                let word = shown(age_max);
                format!("ERR '{word}' is no age, which is a number of milliseconds")
            })?;
            Some(Reads::Stale(Some(age_max)))
        }
        [word, ..] => {
            let word = shown(word);
            return Err(format!(
                "ERR '{word}' is no way to read: RAFT.READS [LINEARIZABLE | LEASE | STALE [milliseconds]]"
            ));
        }
    };
    Ok(Parsed::Local(Local::Reads(reads)))
}

/// `RAFT.STALE command [argument …]`.
pub(super) fn stale(arguments: &[Bytes]) -> Result<Parsed, String> {
    let name = &arguments[1];
    let other = || {
        let name = shown(name);
        format!("ERR '{name}' reads nothing from the store: send it without RAFT.STALE")
    };
    // Before it is read: a request must not say how deep this goes.
    if is(name, "RAFT.STALE") || is(name, "RAFT.ONCE") {
        return Err(other());
    }
    match table::parse(&mut arguments[1..].to_vec())? {
        Parsed::Read(query) => Ok(Parsed::StaleRead(query)),
        Parsed::Write(_)
        | Parsed::Session
        | Parsed::Once(..)
        | Parsed::StaleRead(_)
        | Parsed::Order(_)
        | Parsed::Local(_) => Err(other()),
    }
}

fn age(stale: &Stale<Reply>) -> Option<Duration> {
    stale.age.map(|age| Duration::from_nanos(age.0))
}

/// Milliseconds, never too few.
fn millis(age: Duration) -> u128 {
    age.as_nanos().div_ceil(1_000_000)
}

/// The reply, unless it is older than it may be.
pub(super) fn within(age_max: Option<Duration>, stale: Stale<Reply>) -> Reply {
    let Some(age_max) = age_max else {
        return stale.reply;
    };
    let allowed = age_max.as_millis();
    let found = match age(&stale) {
        Some(age) if age <= age_max => return stale.reply,
        Some(age) => format!("this node's state is {} ms old", millis(age)),
        None => "nobody can tell how old this node's state is".to_string(),
    };
    Reply::Error(format!(
        "STALE {found}, and RAFT.READS allows {allowed} ms; ask another node, or allow more"
    ))
}

/// The age in milliseconds, if it is known, and the reply.
pub(super) fn told(stale: Stale<Reply>) -> Reply {
    if let Reply::Error(_) = stale.reply {
        return stale.reply;
    }
    let age = age(&stale).map_or(Reply::Null, |age| Reply::number(millis(age)));
    Reply::Array(vec![age, stale.reply])
}

#[cfg(test)]
mod tests {
    use raft_core::Span;

    use super::super::table::says;
    use super::*;

    fn stale(age: Option<Span>) -> Stale<Reply> {
        let reply = Reply::OK;
        Stale { reply, age }
    }

    #[test]
    fn a_choice_is_shown_as_it_is_made() {
        for words in ["LINEARIZABLE", "LEASE", "STALE", "STALE 250"] {
            let arguments = format!("RAFT.READS {words}");
            let arguments: Vec<Bytes> = arguments
                .split(' ')
                .map(|word| Bytes::from(word.to_string()))
                .collect();
            let Ok(Parsed::Local(Local::Reads(Some(chosen)))) = reads(&arguments) else {
                panic!("{words} is a choice");
            };
            assert_eq!(chosen.to_string(), words);
        }
        assert_eq!(Reads::default().to_string(), "LINEARIZABLE");
        assert_eq!(says("READONLY"), says("raft.reads stale"));
        assert_eq!(says("READWRITE"), says("raft.reads linearizable"));
    }

    #[test]
    fn what_is_no_choice_or_no_read_is_refused_with_what_is() {
        for (request, expected) in [
            (
                "RAFT.READS dirty",
                "ERR 'dirty' is no way to read: RAFT.READS [LINEARIZABLE | LEASE | STALE [milliseconds]]",
            ),
            (
                "RAFT.READS LEASE 5",
                "ERR 'LEASE' is no way to read: RAFT.READS [LINEARIZABLE | LEASE | STALE [milliseconds]]",
            ),
            (
                "RAFT.READS STALE -1",
                "ERR '-1' is no age, which is a number of milliseconds",
            ),
            (
                "RAFT.STALE SET a 1",
                "ERR 'SET' reads nothing from the store: send it without RAFT.STALE",
            ),
            (
                "RAFT.STALE PING",
                "ERR 'PING' reads nothing from the store: send it without RAFT.STALE",
            ),
            (
                "RAFT.STALE GET",
                "ERR wrong number of arguments for 'get' command",
            ),
            (
                "RAFT.STALE",
                "ERR wrong number of arguments for 'raft.stale' command",
            ),
        ] {
            assert_eq!(says(request), expected, "{request}");
        }
    }

    #[test]
    fn a_state_is_read_up_to_the_age_that_is_allowed_and_not_beyond() {
        let allowed = Some(Duration::from_millis(5));
        let young = stale(Some(Span::from_millis(5)));
        assert_eq!(within(allowed, young), Reply::OK);
        let old = stale(Some(Span(5_000_001)));
        let refused = "STALE this node's state is 6 ms old, and RAFT.READS allows 5 ms; ask another node, or \
                       allow more";
        assert_eq!(within(allowed, old), Reply::Error(refused.to_string()));
        let unknown = "STALE nobody can tell how old this node's state is, and RAFT.READS allows 5 ms; ask \
                       another node, or allow more";
        assert_eq!(
            within(allowed, stale(None)),
            Reply::Error(unknown.to_string())
        );
        assert_eq!(within(None, stale(None)), Reply::OK);
    }

    #[test]
    fn an_age_is_told_with_the_reply_and_never_too_low() {
        let answered = |age, shown| {
            let expected = Reply::Array(vec![shown, Reply::OK]);
            assert_eq!(told(stale(age)), expected);
        };
        answered(Some(Span(0)), Reply::Integer(0));
        answered(Some(Span(1)), Reply::Integer(1));
        answered(Some(Span::from_millis(7)), Reply::Integer(7));
        answered(None, Reply::Null);
    }

    /// Each level would take some of the stack, and a request has room for a million.
    #[test]
    fn one_in_another_is_refused_however_many_there_are() {
        let nested = "RAFT.STALE ".repeat(100_000) + "GET a";
        assert_eq!(
            says(&nested),
            "ERR 'RAFT.STALE' reads nothing from the store: send it without RAFT.STALE"
        );
    }
}
