//! A server with the door for Redis clients.

use std::net::SocketAddr;

use raft_core::Identity;

use crate::error::{StartError, StopError};
use crate::resp::Limits;
use crate::server::{Server, ServerOptions, listen};

use super::front::RespFront;
use super::machine::KvStore;

/// How a key-value server is run.
#[derive(Clone, Debug)]
pub struct KvOptions {
    /// The node.
    pub server: ServerOptions,
    /// Where to listen for clients.
    pub clients: SocketAddr,
    /// Clients at a time; each takes a file descriptor, of which the log and the peers need some, too.
    ///
    /// Default of `raft-kv serve`: 10,000, or what the process may open less 256.
    pub clients_max: usize,
}

/// A running node of a replicated key-value store.
#[derive(Debug)]
pub struct KvServer {
    server: Server<KvStore>,
}

impl KvServer {
    /// Starts it; it takes commands at once, and carries them out as soon as there is a leader.
    ///
    /// # Errors
    ///
    /// As [`Server::start`], or if the clients' address is in use.
    pub fn start(options: KvOptions) -> Result<Self, StartError> {
        let listener = listen(options.clients, "clients")?;
        let front = RespFront::new(listener, Limits::default(), options.clients_max);
        let server = Server::start_with_front(options.server, KvStore::default(), front)?;
        Ok(Self { server })
    }

    /// Who this server is, as its data folder says.
    #[must_use]
    pub const fn identity(&self) -> Identity {
        self.server.identity()
    }

    /// Something that stops the server in order from another thread, while this one waits for it.
    #[must_use]
    pub fn stopper(&self) -> Box<dyn Fn() + Send> {
        self.server.stopper()
    }

    /// Waits until the server stops, by its stopper or by itself.
    ///
    /// # Errors
    ///
    /// Why it stopped by itself.
    pub fn wait(self) -> Result<(), StopError> {
        self.server.wait()
    }
}
