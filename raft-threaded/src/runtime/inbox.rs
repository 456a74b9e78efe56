//! Handing things to the replica thread: a bounded channel, and a wake-up only if it may be asleep.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use mio::{Registry, Token, Waker};

/// The sending side; clones share the channel.
#[derive(Debug)]
pub(crate) struct Outlet<T> {
    sender: Sender<T>,
    /// Nothing if the receiver looks without being told.
    bell: Option<Arc<Bell>>,
}

impl<T> Clone for Outlet<T> {
    fn clone(&self) -> Self {
        Self {
            sender: self.sender.clone(),
            bell: self.bell.clone(),
        }
    }
}

/// The receiving side, which a poller wakes for.
#[derive(Debug)]
pub(crate) struct Inbox<T> {
    receiver: Receiver<T>,
}

/// Waking a thread costs more than anything else here, so it is done once for any number of things, and not at all
/// for a thread that is awake.
#[derive(Debug)]
pub(crate) struct Bell {
    state: AtomicU8,
    waker: Waker,
}

/// The thread looks into its inboxes now.
const AWAKE: u8 = 0;
/// Something came since it began to look.
const RUNG: u8 = 1;
/// It waits in its poller.
const ASLEEP: u8 = 2;

impl Bell {
    pub(crate) fn new(registry: &Registry, token: Token) -> io::Result<Arc<Self>> {
        Ok(Arc::new(Self {
            state: AtomicU8::new(AWAKE),
            waker: Waker::new(registry, token)?,
        }))
    }

    pub(crate) fn ring(&self) {
        if self.state.swap(RUNG, Ordering::SeqCst) == ASLEEP {
            // A poller that cannot be woken wakes at its next deadline.
            let _ = self.waker.wake();
        }
    }

    /// Wakes the thread, whatever the bell says.
    pub(crate) fn wake(&self) {
        self.state.swap(RUNG, Ordering::SeqCst);
        let _ = self.waker.wake();
    }

    /// Before looking into the inboxes: whatever comes later rings again.
    pub(crate) fn answer(&self) {
        self.state.swap(AWAKE, Ordering::SeqCst);
    }

    /// Whether something came since the last [`Bell::answer`].
    pub(crate) fn is_rung(&self) -> bool {
        self.state.load(Ordering::Relaxed) == RUNG
    }

    /// Before waiting in the poller: false if something came since the last [`Bell::answer`].
    pub(crate) fn sleep(&self) -> bool {
        let asleep = self
            .state
            .compare_exchange(AWAKE, ASLEEP, Ordering::SeqCst, Ordering::SeqCst);
        asleep.is_ok()
    }
}

/// A channel of at most `capacity` things, and the bell that announces them.
pub(crate) fn inbox<T>(capacity: usize, bell: &Arc<Bell>) -> (Outlet<T>, Inbox<T>) {
    with_bell(capacity, Some(Arc::clone(bell)))
}

/// The same for what a thread hands to itself.
pub(crate) fn silent<T>(capacity: usize) -> (Outlet<T>, Inbox<T>) {
    with_bell(capacity, None)
}

fn with_bell<T>(capacity: usize, bell: Option<Arc<Bell>>) -> (Outlet<T>, Inbox<T>) {
    let (sender, receiver) = bounded(capacity);
    (Outlet { sender, bell }, Inbox { receiver })
}

impl<T> Outlet<T> {
    /// Hands over, waiting for room; false if the replica thread is gone.
    pub(crate) fn send(&self, thing: T) -> bool {
        let sent = self.sender.send(thing).is_ok();
        self.ring();
        sent
    }

    /// Hands over if there is room, and leaves it to the caller to say so.
    pub(crate) fn put(&self, thing: T) -> Result<(), TrySendError<T>> {
        self.sender.try_send(thing)
    }

    /// Says that something was handed over.
    pub(crate) fn ring(&self) {
        if let Some(bell) = &self.bell {
            bell.ring();
        }
    }
}

impl<T> Inbox<T> {
    /// The next thing, if there is one.
    pub(crate) fn take(&self) -> Option<T> {
        self.receiver.try_recv().ok()
    }
}
