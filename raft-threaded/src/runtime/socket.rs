//! What every accepted connection gets.

use std::io;
use std::time::Duration;

use mio::net::TcpStream;

/// Whoever vanished without a word does not keep a connection for ever: after so much silence the system
/// asks whether anybody is there, and again after each interval.
pub(crate) fn keep_alive(
    stream: &TcpStream,
    silence: Duration,
    interval: Duration,
) -> io::Result<()> {
    let keepalive = socket2::TcpKeepalive::new()
        .with_time(silence)
        .with_interval(interval);
    socket2::SockRef::from(stream).set_tcp_keepalive(&keepalive)
}
