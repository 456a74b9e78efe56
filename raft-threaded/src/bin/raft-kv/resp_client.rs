//! Questions to a running node, one at a time.

use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use super::verbs::for_people;

/// How long connecting may take.
pub(super) const CONNECT_PATIENCE: Duration = Duration::from_secs(3);
/// How long a node may take to say how it is.
pub(super) const STATUS_PATIENCE: Duration = Duration::from_secs(3);
/// The longest string in an answer.
const BYTES_MAX: usize = 1 << 20;
/// The most values in one array of an answer.
const VALUES_MAX: usize = 1 << 12;

/// What the system calls an end of a connection that the other side wanted.
const ENDED: [ErrorKind; 4] = [
    ErrorKind::UnexpectedEof,
    ErrorKind::ConnectionReset,
    ErrorKind::ConnectionAborted,
    ErrorKind::BrokenPipe,
];

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum CallError {
    /// Nobody was asked.
    #[error("{0}; is a raft-kv node listening for clients there?")]
    NotAsked(io::Error),
    /// Somebody was asked, and nothing was heard.
    #[error("no answer: {0}")]
    NotAnswered(io::Error),
    /// The node says no; the first word says why.
    #[error("{}", for_people(.0))]
    Refused(String),
    /// What answered speaks something else.
    #[error("it answered {0:?}; is a raft-kv node listening for clients there?")]
    Nonsense(String),
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Text(String),
    Number(i64),
    Nothing,
    Many(Vec<Self>),
}

impl Answer {
    /// The text, which is what was asked for.
    pub(super) fn text(self) -> Result<String, CallError> {
        if let Self::Text(text) = self {
            Ok(text)
        } else {
            Err(CallError::Nonsense(format!("{self:?}")))
        }
    }

    /// The number at a place among many, if there is one.
    pub(super) fn number_at(&self, place: usize) -> Option<u64> {
        if let Self::Many(answers) = self
            && let Some(Self::Number(number)) = answers.get(place)
        {
            u64::try_from(*number).ok()
        } else {
            None
        }
    }
}

/// Asks the node that serves clients at an address, and waits for its answer that long.
pub(super) fn call(
    address: &str,
    words: &[String],
    patience: Duration,
) -> Result<Answer, CallError> {
    let stream = connect(address, CONNECT_PATIENCE.min(patience)).map_err(CallError::NotAsked)?;
    let mut request = format!("*{}\r\n", words.len());
    for word in words {
        request.push_str(&format!("${}\r\n{word}\r\n", word.len()));
    }
    let set_up = stream
        .set_read_timeout(Some(patience))
        .and_then(|()| stream.set_write_timeout(Some(CONNECT_PATIENCE)));
    set_up.map_err(CallError::NotAsked)?;
    (&stream)
        .write_all(request.as_bytes())
        .map_err(not_answered)?;
    read(&mut BufReader::new(&stream), 0)
}

/// Asks a node for its status; the answer is JSON.
pub(super) fn ask_status(address: &str, patience: Duration) -> Result<String, CallError> {
    call(address, &["RAFT.STATUS".to_string()], patience)?.text()
}

/// Connects to the first of the addresses that a name has and that takes a connection.
pub(super) fn connect(address: &str, patience: Duration) -> io::Result<TcpStream> {
    let mut last = io::Error::new(ErrorKind::AddrNotAvailable, "the name has no address");
    for address in address.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, patience) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn read(reader: &mut impl BufRead, depth: u8) -> Result<Answer, CallError> {
    let mut line = String::new();
    let read_line = reader.by_ref().take(1 << 12).read_line(&mut line);
    if read_line.map_err(not_answered)? == 0 {
        return Err(not_answered(ErrorKind::UnexpectedEof.into()));
    }
    let line = line.trim_end();
    let nonsense = || CallError::Nonsense(line.to_string());
    let (sign, text) = line.split_at_checked(1).ok_or_else(nonsense)?;
    let length = |max: usize| {
        let length = text.parse::<usize>().ok();
        length.filter(|length| *length <= max).ok_or_else(nonsense)
    };
    match sign {
        "+" => Ok(Answer::Text(text.to_string())),
        "-" => Err(CallError::Refused(text.to_string())),
        ":" => text.parse().map(Answer::Number).map_err(|_| nonsense()),
        "$" if text == "-1" => Ok(Answer::Nothing),
        "$" => {
            let mut bytes = vec![0; length(BYTES_MAX)? + 2];
            reader.read_exact(&mut bytes).map_err(not_answered)?;
            bytes.truncate(bytes.len() - 2);
            let text = String::from_utf8(bytes).map_err(|_| nonsense())?;
            Ok(Answer::Text(text))
        }
        "*" if depth < 4 => {
            let values = (0..length(VALUES_MAX)?).map(|_| read(reader, depth + 1));
            values.collect::<Result<_, _>>().map(Answer::Many)
        }
        _ => Err(nonsense()),
    }
}

fn not_answered(error: io::Error) -> CallError {
    CallError::NotAnswered(if error.kind() == ErrorKind::WouldBlock {
        // What the system calls "temporarily unavailable" is a patience that ended.
        ErrorKind::TimedOut.into()
    } else if ENDED.contains(&error.kind()) {
        io::Error::new(
            error.kind(),
            "the node ended the connection: it stops, or starts again, as after a reset",
        )
    } else {
        error
    })
}
