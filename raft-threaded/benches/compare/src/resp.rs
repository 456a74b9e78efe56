//! The few words of RESP that are needed to ask a server how it is, and to write in a loop.

use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

/// A connection on which one request at a time is answered.
#[derive(Debug)]
pub(crate) struct Client {
    stream: BufReader<TcpStream>,
}

impl Client {
    /// # Errors
    ///
    /// Nobody listens.
    pub(crate) fn connect(port: u16, patience: Duration) -> io::Result<Self> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let stream = TcpStream::connect_timeout(&address, patience)?;
        stream.set_nodelay(true)?;
        let mut client = Self {
            stream: BufReader::new(stream),
        };
        client.set_patience(patience)?;
        Ok(client)
    }

    /// The answer to a request, as text.
    ///
    /// # Errors
    ///
    /// The connection ends, nothing is heard in time, or the answer is an error, which is told.
    pub(crate) fn call(&mut self, words: &[&[u8]]) -> io::Result<String> {
        self.stream.get_mut().write_all(&request(words))?;
        let mut line = String::new();
        if self.stream.read_line(&mut line)? == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        let nonsense = || io::Error::new(ErrorKind::InvalidData, format!("answered {line:?}"));
        let text = line.trim_end();
        let (sign, text) = text.split_at_checked(1).ok_or_else(nonsense)?;
        match sign {
            "+" | ":" => Ok(text.to_string()),
            "$" => {
                let length: usize = text.parse().map_err(|_| nonsense())?;
                let mut bytes = vec![0; length + 2];
                self.stream.read_exact(&mut bytes)?;
                bytes.truncate(length);
                String::from_utf8(bytes).map_err(|_| nonsense())
            }
            _ => Err(io::Error::other(text.to_string())),
        }
    }

    /// How long it waits for the server from now on.
    ///
    /// # Errors
    ///
    /// The system does not take it.
    pub(crate) fn set_patience(&mut self, patience: Duration) -> io::Result<()> {
        let stream = self.stream.get_mut();
        stream.set_read_timeout(Some(patience))?;
        stream.set_write_timeout(Some(patience))
    }

    /// Sends without ever reading an answer.
    ///
    /// # Errors
    ///
    /// The connection ends, or the server has taken nothing for the patience of this client.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.get_mut().write_all(bytes)
    }
}

/// A request's bytes.
pub(crate) fn request(words: &[&[u8]]) -> Vec<u8> {
    let mut out = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        out.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        out.extend_from_slice(word);
        out.extend_from_slice(b"\r\n");
    }
    out
}
