//! What a replica has around it, put together.

use std::convert::Infallible;
use std::sync::Arc;

use crossbeam_channel::Receiver;
use mio::{Poll, Registry};
use raft_core::replica::{Replica, StateMachine};
use raft_core::{Options, RestoreError, Restored};

use crate::error::StartError;
use crate::runtime::calls::Call;
use crate::runtime::clock;
use crate::runtime::front::Front;
use crate::runtime::host::Host;
use crate::runtime::inbox::{self, Bell, Inbox, Outlet};
use crate::runtime::lane::Lane;
use crate::runtime::log_thread::LogEvent;
use crate::runtime::replica_thread::{Hosted, ReplicaThread, State, WAKER};
use crate::runtime::snapshots::Snapshots;
use crate::transport::Transport;

/// Requests of in-process clients that may wait for the replica thread.
const CALLS_WAITING: usize = 8_192;

/// A poller for a thread, where it learns of sockets, and what wakes it.
pub(crate) fn poller() -> Result<(Poll, Registry, Arc<Bell>), StartError> {
    let system = |what| move |error| StartError::System { what, error };
    let poll = Poll::new().map_err(system("no poller"))?;
    let registry = poll.registry().try_clone().map_err(system("no poller"))?;
    let bell = Bell::new(&registry, WAKER).map_err(system("no waker"))?;
    Ok((poll, registry, bell))
}

/// Everything of a server but its replica.
pub(crate) struct Around<S: StateMachine, F> {
    pub(crate) registry: Registry,
    pub(crate) bell: Arc<Bell>,
    pub(crate) transport: Box<dyn Transport>,
    pub(crate) front: F,
    pub(crate) log: Box<dyn Lane>,
    pub(crate) log_events: Inbox<LogEvent>,
    pub(crate) snapshots: Snapshots<S::Image>,
    /// What drives it, if clients can.
    pub(crate) host: Option<Arc<Host>>,
}

/// How clients get at a replica.
pub(crate) struct Doors<S: StateMachine> {
    pub(crate) calls: Outlet<Call<S>>,
    /// Ends when the replica does.
    pub(crate) stopped: Receiver<Infallible>,
    /// What drives the replica, if clients can.
    pub(crate) host: Option<Arc<Host>>,
}

impl<S: StateMachine> Clone for Doors<S> {
    fn clone(&self) -> Self {
        Self {
            calls: self.calls.clone(),
            stopped: self.stopped.clone(),
            host: self.host.clone(),
        }
    }
}

impl<S: Hosted, F: Front<S>> Around<S, F> {
    /// Makes the replica, and what drives it.
    pub(crate) fn host(
        self,
        options: Options,
        restored: Restored,
        machine: S,
    ) -> Result<(ReplicaThread<S, F>, Doors<S>), RestoreError> {
        let (outlet, calls) = inbox::inbox(CALLS_WAITING, &self.bell);
        let (alive, stopped) = crossbeam_channel::bounded(0);
        let mut thread = ReplicaThread {
            registry: self.registry,
            replica: Replica::new(clock::now(), options, restored, machine)?,
            transport: self.transport,
            front: self.front,
            log: self.log,
            log_events: self.log_events,
            snapshots: self.snapshots,
            calls,
            outlet: outlet.clone(),
            _alive: alive,
            state: State::default(),
        };
        thread.look_around();
        let doors = Doors {
            calls: outlet,
            stopped,
            host: self.host,
        };
        Ok((thread, doors))
    }
}
