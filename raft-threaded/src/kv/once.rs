//! Client sessions at the Redis door: a write that is sent again, to whichever node, takes effect once.
//!
//! Read first: dissertation §6.3. `RAFT.SESSION` begins a session and answers its name. In it a client
//! numbers its writes, each with a higher sequence than the one before, and sends
//! `RAFT.ONCE session sequence command [argument …]`; without an answer it sends the same again, to any
//! node, until there is one. Every repetition gets the reply of the first execution. Another command with the
//! same sequence is not executed, and gets an error that begins with `REUSED`: beside each reply a session keeps
//! a digest of the command. Where the reply was too large to be kept, so was that, and `REPLYLOST` may be about
//! another command.
//!
//! A sequence says, too, that the client has its answers to all lower ones: their replies are forgotten, and
//! they are not executed any more. So a client waits for each answer before its next command. One with several
//! commands on their way says how far it has its answers: `RAFT.ONCE session sequence LOWEST lowest command
//! [argument …]`, where `lowest` is the lowest sequence without an answer, less than [`SESSION_WINDOW`] below
//! the command's own.

use bytes::Bytes;
use raft_core::replica::{RequestError, SESSION_WINDOW, Sequence, Serial, SessionId};

use crate::resp::Reply;

use super::command::KvCommand;
use super::machine::KvReply;
use super::table::{self, Parsed, is, shown};
use super::words::{entry_id, number};

/// `RAFT.ONCE session sequence [LOWEST lowest] command [argument …]`.
pub(super) fn once(arguments: &[Bytes]) -> Result<Parsed, String> {
    let session = entry_id(&arguments[1]).map(SessionId).ok_or_else(|| {
        let word = shown(&arguments[1]);
        format!("ERR '{word}' is no session, which is TERM.INDEX, as RAFT.SESSION answers it")
    })?;
    let sequence = sequence(&arguments[2])?;
    let (lowest, command) = match &arguments[3..] {
        [option, lowest, command @ ..] if is(option, "LOWEST") => {
            (self::sequence(lowest)?, command)
        }
        command => (sequence, command),
    };
    check_lowest(sequence, lowest)?;
    let serial = Serial {
        session,
        sequence,
        lowest,
    };
    Ok(Parsed::Once(serial, write(command)?))
}

fn sequence(word: &Bytes) -> Result<Sequence, String> {
    match number(word) {
        Some(u64::MAX) => Err(format!(
            "ERR sequence {} is the last number there is, and no new command could follow: take a lower one",
            u64::MAX
        )),
        Some(sequence) => Ok(Sequence(sequence)),
        None => {
            let word = shown(word);
            Err(format!(
                "ERR '{word}' is no sequence, which is a number, higher for each new command"
            ))
        }
    }
}

fn check_lowest(sequence: Sequence, lowest: Sequence) -> Result<(), String> {
    match sequence.0.checked_sub(lowest.0) {
        None => Err(format!(
            "ERR LOWEST is {lowest}, above sequence {sequence}; it is the lowest sequence without an answer, \
             with this one"
        )),
        Some(behind) if behind >= SESSION_WINDOW => Err(format!(
            "ERR LOWEST is {lowest}, {behind} below sequence {sequence}, expected less than {SESSION_WINDOW}; \
             send sequence {lowest} again and wait for its answer first"
        )),
        Some(_) => Ok(()),
    }
}

/// The command that is to take effect once.
fn write(words: &[Bytes]) -> Result<KvCommand, String> {
    let Some(name) = words.first() else {
        return Err("ERR wrong number of arguments for 'raft.once' command".to_string());
    };
    let other = || {
        let name = shown(name);
        format!("ERR '{name}' writes nothing to the store: send it without RAFT.ONCE")
    };
    // Before it is read: a request must not say how deep this goes.
    if is(name, "RAFT.ONCE") {
        return Err(other());
    }
    match table::parse(&mut words.to_vec())? {
        Parsed::Write(command) => Ok(command),
        Parsed::Read(_) | Parsed::StaleRead(_) => Err(format!(
            "ERR '{}' changes nothing, however often it is sent: send it without RAFT.ONCE",
            shown(name)
        )),
        Parsed::Session | Parsed::Once(..) | Parsed::Order(_) | Parsed::Local(_) => Err(other()),
    }
}

/// The reply to a command of a session with this digest, unless it is the reply to another one.
pub(super) fn reply(found: KvReply, serial: Serial, digest: u32) -> Reply {
    if found.of.is_none_or(|of| of == digest) {
        return found.reply;
    }
    let Serial {
        session, sequence, ..
    } = serial;
    Reply::Error(format!(
        "REUSED sequence {sequence} of session {session} was used before, for another command, which was carried \
         out; this one was not: give it a higher sequence than any before"
    ))
}

/// What a client is told about an error of a command in a session, if that is more than elsewhere; the first
/// word says whether to send it again.
pub(super) fn explain(error: &RequestError, serial: Serial) -> Option<String> {
    let Serial {
        session, sequence, ..
    } = serial;
    match error {
        RequestError::SessionExpired => Some(format!(
            "NOSESSION session {session} has expired or never was, and what it has no answer to may have \
             taken effect; begin another with RAFT.SESSION"
        )),
        RequestError::SequencePassed { lowest } => Some(format!(
            "PASSED sequence {sequence} is not executed any more, and its reply is forgotten: a later command \
             of session {session} said that every sequence below {lowest} has its answer; give a new command \
             a higher sequence than any before"
        )),
        RequestError::Unknown => Some(format!(
            "UNKNOWN {error}; send it again with sequence {sequence} of session {session}, to any node"
        )),
        RequestError::ReplyLost(_) => Some(format!(
            "REPLYLOST {error}: it was too large to be kept; look at the store, and go on with the next \
             sequence"
        )),
        RequestError::Rejected(_)
        | RequestError::Superseded(_)
        | RequestError::Undecodable
        | RequestError::WindowFull { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::table::says;
    use super::*;

    #[test]
    fn a_sequence_stands_for_the_answers_to_all_below_it_unless_lowest_is_said() {
        let once = says("RAFT.ONCE 3.17 5 INCR n");
        assert!(once.starts_with("Once("), "{once}");
        assert_eq!(once, says("raft.once 3.17 5 lowest 5 incr n"));
        assert!(once.contains("lowest: Sequence(5)"), "{once}");
        let open = says("RAFT.ONCE 3.17 5 LOWEST 2 INCR n");
        assert!(open.contains("lowest: Sequence(2)"), "{open}");
    }

    #[test]
    fn what_cannot_be_executed_once_is_refused_with_what_to_do() {
        for (request, expected) in [
            (
                "RAFT.ONCE x 1 INCR n",
                "ERR 'x' is no session, which is TERM.INDEX, as RAFT.SESSION answers it",
            ),
            (
                "RAFT.ONCE 3.17 -1 INCR n",
                "ERR '-1' is no sequence, which is a number, higher for each new command",
            ),
            (
                "RAFT.ONCE 3.17 18446744073709551615 INCR n",
                "ERR sequence 18446744073709551615 is the last number there is, and no new command could follow: \
                 take a lower one",
            ),
            (
                "RAFT.ONCE 3.17 5 LOWEST x INCR n",
                "ERR 'x' is no sequence, which is a number, higher for each new command",
            ),
            (
                "RAFT.ONCE 3.17 5 LOWEST 6 INCR n",
                "ERR LOWEST is 6, above sequence 5; it is the lowest sequence without an answer, with this one",
            ),
            (
                "RAFT.ONCE 3.17 17 LOWEST 1 INCR n",
                "ERR LOWEST is 1, 16 below sequence 17, expected less than 16; send sequence 1 again and wait \
                 for its answer first",
            ),
            (
                "RAFT.ONCE 3.17 5 LOWEST 5",
                "ERR wrong number of arguments for 'raft.once' command",
            ),
            (
                "RAFT.ONCE 3.17 5",
                "ERR wrong number of arguments for 'raft.once' command",
            ),
            (
                "RAFT.ONCE 3.17 5 INCR",
                "ERR wrong number of arguments for 'incr' command",
            ),
            (
                "RAFT.ONCE 3.17 5 get n",
                "ERR 'get' changes nothing, however often it is sent: send it without RAFT.ONCE",
            ),
            (
                "RAFT.ONCE 3.17 5 RAFT.SNAPSHOT",
                "ERR 'RAFT.SNAPSHOT' writes nothing to the store: send it without RAFT.ONCE",
            ),
            (
                "RAFT.ONCE 3.17 5 PING",
                "ERR 'PING' writes nothing to the store: send it without RAFT.ONCE",
            ),
        ] {
            assert_eq!(says(request), expected, "{request}");
        }
    }

    #[test]
    fn an_open_outcome_is_settled_by_sending_the_same_again() {
        let session = SessionId(entry_id(&"3.17".into()).unwrap());
        let serial = Serial {
            session,
            sequence: Sequence(5),
            lowest: Sequence(5),
        };
        assert_eq!(
            explain(&RequestError::Unknown, serial).unwrap(),
            "UNKNOWN the outcome is not known: no answer came in time; send it again with sequence 5 of \
             session 3.17, to any node"
        );
    }

    /// Each level would take some of the stack, and a request has room for a million.
    #[test]
    fn one_in_another_is_refused_however_many_there_are() {
        let nested = "RAFT.ONCE 1.2 3 ".repeat(100_000) + "INCR n";
        assert_eq!(
            says(&nested),
            "ERR 'RAFT.ONCE' writes nothing to the store: send it without RAFT.ONCE"
        );
    }
}
