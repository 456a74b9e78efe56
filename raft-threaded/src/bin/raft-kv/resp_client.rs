//! One question to a running node.

use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

/// Asks a node for its status; the answer is JSON.
pub(super) fn ask_status(address: &str, patience: Duration) -> io::Result<String> {
    let mut last = io::Error::new(ErrorKind::AddrNotAvailable, "the name has no address");
    for address in address.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, patience) {
            Ok(stream) => return ask(&stream, patience),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn ask(mut stream: &TcpStream, patience: Duration) -> io::Result<String> {
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(patience))?;
    stream.write_all(b"*1\r\n$11\r\nRAFT.STATUS\r\n")?;
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.by_ref().take(1 << 10).read_line(&mut line)?;
    let line = line.trim_end();
    let nonsense = || io::Error::new(ErrorKind::InvalidData, format!("it answered {line:?}"));
    if let Some(error) = line.strip_prefix('-') {
        return Err(io::Error::other(format!("it answered {error}")));
    }
    let length = line
        .strip_prefix('$')
        .and_then(|length| length.parse().ok());
    let length: usize = length
        .filter(|length| *length < 1 << 20)
        .ok_or_else(nonsense)?;
    let mut json = vec![0; length];
    reader.read_exact(&mut json)?;
    String::from_utf8(json).map_err(|_| nonsense())
}
