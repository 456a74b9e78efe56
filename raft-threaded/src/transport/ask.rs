//! Asking whoever listens at an address who it is: on a thread that may wait.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use bytes::BytesMut;

use super::Inquiry;
use super::frame::{FrameError, small_frame, take_frame};
use super::hello::{HelloError, Introduction, Opening};

/// The longest answer; a refusal is a sentence.
const ANSWER_BYTES_MAX: u64 = 4 << 10;

/// Why it is not known who listens at an address.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AskError {
    /// Nobody answers.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// What answers does not speak as a peer does.
    #[error("{0}")]
    Strange(String),
}

impl From<FrameError> for AskError {
    fn from(_: FrameError) -> Self {
        Self::Strange("what answers there is no raft peer".to_string())
    }
}

/// Asks at one of the addresses that a name has.
#[derive(Debug)]
pub(super) struct AskOverTcp;

impl Inquiry for AskOverTcp {
    fn who_is(&self, address: &str, patience: Duration) -> Result<Introduction, AskError> {
        let nowhere = || io::Error::new(ErrorKind::AddrNotAvailable, "the name has no address");
        let mut last = AskError::from(nowhere());
        for address in address.to_socket_addrs()? {
            let connected = TcpStream::connect_timeout(&address, patience);
            match connected
                .map_err(AskError::from)
                .and_then(|stream| ask(stream, patience))
            {
                Ok(introduction) => return Ok(introduction),
                Err(error) => last = error,
            }
        }
        Err(last)
    }
}

fn ask(mut stream: TcpStream, patience: Duration) -> Result<Introduction, AskError> {
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(patience))?;
    stream.write_all(&small_frame(&Opening::WhoAreYou.encode()))?;
    let mut buffer = BytesMut::new();
    let mut chunk = [0; 512];
    loop {
        if let Some(answer) = take_frame(&mut buffer, ANSWER_BYTES_MAX)? {
            return match Introduction::decode(&answer) {
                Ok(introduction) => Ok(introduction),
                // It is a peer that tells why not.
                Err(HelloError::NotAPeer) => {
                    let sentence = String::from_utf8_lossy(&answer).into_owned();
                    Err(AskError::Strange(sentence))
                }
                Err(error) => Err(AskError::Strange(error.to_string())),
            };
        }
        let read = stream.read(&mut chunk).map_err(|error| {
            // A client port, for instance, waits for the rest of what makes no sense to it.
            if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) {
                let silent = "what takes connections there does not say who it is";
                AskError::Strange(silent.to_string())
            } else {
                AskError::Io(error)
            }
        });
        match read? {
            0 => return Err(io::Error::from(ErrorKind::UnexpectedEof).into()),
            count => buffer.extend_from_slice(&chunk[..count]),
        }
    }
}
