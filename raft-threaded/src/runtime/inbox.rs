//! Handing things to the replica thread: a bounded channel, and a wake-up only if it may be asleep.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use mio::{Registry, Token, Waker};

/// The sending side; clones share the channel.
#[derive(Debug)]
pub(crate) struct Outlet<T> {
    sender: Sender<T>,
    bell: Arc<Bell>,
}

impl<T> Clone for Outlet<T> {
    fn clone(&self) -> Self {
        Self {
            sender: self.sender.clone(),
            bell: Arc::clone(&self.bell),
        }
    }
}

/// The receiving side, which a poller wakes for.
#[derive(Debug)]
pub(crate) struct Inbox<T> {
    receiver: Receiver<T>,
    bell: Arc<Bell>,
}

/// Waking a thread costs more than anything else here, so it is done once for any number of things.
#[derive(Debug)]
pub(crate) struct Bell {
    rung: AtomicBool,
    waker: Waker,
}

impl Bell {
    pub(crate) fn new(registry: &Registry, token: Token) -> io::Result<Arc<Self>> {
        Ok(Arc::new(Self {
            rung: AtomicBool::new(false),
            waker: Waker::new(registry, token)?,
        }))
    }

    fn ring(&self) {
        if !self.rung.swap(true, Ordering::SeqCst) {
            // A poller that cannot be woken wakes at its next deadline.
            let _ = self.waker.wake();
        }
    }

    /// Before looking into the inboxes: whatever comes later rings again.
    pub(crate) fn answer(&self) {
        self.rung.swap(false, Ordering::SeqCst);
    }
}

/// A channel of at most `capacity` things, and the bell that announces them.
pub(crate) fn inbox<T>(capacity: usize, bell: &Arc<Bell>) -> (Outlet<T>, Inbox<T>) {
    let (sender, receiver) = bounded(capacity);
    let outlet = Outlet {
        sender,
        bell: Arc::clone(bell),
    };
    let inbox = Inbox {
        receiver,
        bell: Arc::clone(bell),
    };
    (outlet, inbox)
}

impl<T> Outlet<T> {
    /// Hands over, waiting for room; false if the replica thread is gone.
    pub(crate) fn send(&self, thing: T) -> bool {
        let sent = self.sender.send(thing).is_ok();
        self.bell.ring();
        sent
    }

    /// Hands over if there is room.
    pub(crate) fn try_send(&self, thing: T) -> Result<(), TrySendError<T>> {
        let sent = self.sender.try_send(thing);
        self.bell.ring();
        sent
    }
}

impl<T> Inbox<T> {
    /// The next thing, if there is one.
    pub(crate) fn take(&self) -> Option<T> {
        self.receiver.try_recv().ok()
    }

    /// See [`Bell::answer`].
    pub(crate) fn answer(&self) {
        self.bell.answer();
    }
}
