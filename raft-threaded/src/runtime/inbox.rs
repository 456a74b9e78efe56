//! Handing things to the replica thread: a bounded channel, and a wake-up only if it may be asleep.
//!
//! Always holds: whatever was handed over is taken, or dropped when the inbox is, however many outlets remain. So
//! whoever waits for a thing to be dropped, because nobody else will tell, does not wait for ever.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, SendTimeoutError, Sender, TrySendError, bounded};
use crossbeam_utils::Backoff;
use mio::{Registry, Token, Waker};

/// How often whoever waits for room looks whether that has come to an end.
const LOOK: Duration = Duration::from_millis(10);

/// The sending side; clones share the channel.
#[derive(Debug)]
pub(crate) struct Outlet<T> {
    sender: Sender<T>,
    gate: Arc<Gate>,
    /// Nothing if the receiver looks without being told.
    bell: Option<Arc<Bell>>,
}

impl<T> Clone for Outlet<T> {
    fn clone(&self) -> Self {
        Self {
            sender: self.sender.clone(),
            gate: Arc::clone(&self.gate),
            bell: self.bell.clone(),
        }
    }
}

/// The receiving side, which a poller wakes for.
#[derive(Debug)]
pub(crate) struct Inbox<T> {
    receiver: Receiver<T>,
    gate: Arc<Gate>,
}

/// Whether anything can be handed over any more, and how many threads are about to: the channel alone would keep
/// what is put into it while its receiver goes, for as long as anybody can send.
#[derive(Debug, Default)]
struct Gate(AtomicUsize);

/// Nobody gets in any more.
const CLOSED: usize = 1;
/// One thread is within.
const WITHIN: usize = 2;

impl Gate {
    /// Lets a thread in, unless the inbox is gone.
    fn enter(&self) -> Option<Within<'_>> {
        let within = Within(self);
        let before = self.0.fetch_add(WITHIN, Ordering::SeqCst);
        (before & CLOSED == 0).then_some(within)
    }

    fn close(&self) {
        self.0.fetch_or(CLOSED, Ordering::SeqCst);
    }

    /// Whether nobody is within, nor will be.
    fn is_deserted(&self) -> bool {
        self.0.load(Ordering::SeqCst) == CLOSED
    }
}

/// A thread is within the gate for as long as this lives.
struct Within<'a>(&'a Gate);

impl Drop for Within<'_> {
    fn drop(&mut self) {
        self.0.0.fetch_sub(WITHIN, Ordering::SeqCst);
    }
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
    let gate = Arc::new(Gate::default());
    let inbox = Inbox {
        receiver,
        gate: Arc::clone(&gate),
    };
    (Outlet { sender, gate, bell }, inbox)
}

impl<T> Outlet<T> {
    /// Hands over, waiting for room; false if the replica thread is gone.
    pub(crate) fn send(&self, thing: T) -> bool {
        let Some(within) = self.gate.enter() else {
            return false;
        };
        let sent = self.sender.send(thing).is_ok();
        drop(within);
        self.ring();
        sent
    }

    /// Hands over, waiting for room until there is an end to it; false if nobody takes it.
    pub(crate) fn send_until(&self, mut thing: T, ended: impl Fn() -> bool) -> bool {
        let Some(within) = self.gate.enter() else {
            return false;
        };
        let sent = loop {
            match self.sender.send_timeout(thing, LOOK) {
                Ok(()) => break true,
                Err(SendTimeoutError::Timeout(back)) if !ended() => thing = back,
                Err(SendTimeoutError::Timeout(_) | SendTimeoutError::Disconnected(_)) => {
                    break false;
                }
            }
        };
        drop(within);
        self.ring();
        sent
    }

    /// Hands over if there is room, and leaves it to the caller to say so.
    pub(crate) fn put(&self, thing: T) -> Result<(), TrySendError<T>> {
        let Some(_within) = self.gate.enter() else {
            return Err(TrySendError::Disconnected(thing));
        };
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

impl<T> Drop for Inbox<T> {
    fn drop(&mut self) {
        self.gate.close();
        let backoff = Backoff::new();
        loop {
            // Asked first: whoever is within may still hand over, or wait for the room that is made here.
            let deserted = self.gate.is_deserted();
            while let Some(thing) = self.take() {
                drop(thing);
            }
            if deserted {
                return;
            }
            backoff.snooze();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;
    use std::thread;

    use super::*;

    #[test]
    fn what_nobody_took_is_dropped_with_the_inbox_and_nothing_is_taken_in_afterwards() {
        let (outlet, inbox) = silent(4);
        let thing = Arc::new(());
        outlet.put(Arc::clone(&thing)).unwrap();
        outlet.put(Arc::clone(&thing)).unwrap();
        drop(inbox);
        assert_eq!(Arc::strong_count(&thing), 1, "the outlet keeps none");
        let refused = outlet.put(Arc::clone(&thing));
        assert!(matches!(refused, Err(TrySendError::Disconnected(_))));
        assert!(!outlet.send(Arc::clone(&thing)));
    }

    #[test]
    fn whoever_waits_for_room_goes_when_it_is_told_to() {
        let (outlet, inbox) = silent(1);
        assert!(outlet.send_until(1, || false), "there is room");
        let ended = AtomicBool::new(false);
        thread::scope(|scope| {
            let waiting = scope.spawn(|| outlet.send_until(2, || ended.load(Ordering::SeqCst)));
            ended.store(true, Ordering::SeqCst);
            assert!(!waiting.join().unwrap());
        });
        assert_eq!((inbox.take(), inbox.take()), (Some(1), None));
    }

    /// It may be waiting for room, or be about to look for some.
    #[test]
    fn no_thread_is_left_waiting_for_room_and_no_thing_is_left_behind() {
        for _ in 0..1_000 {
            let (outlet, inbox) = silent(1);
            let thing = Arc::new(());
            thread::scope(|scope| {
                for _ in 0..3 {
                    let (outlet, thing) = (outlet.clone(), Arc::clone(&thing));
                    scope.spawn(move || while outlet.send(Arc::clone(&thing)) {});
                }
                while inbox.take().is_none() {
                    thread::yield_now();
                }
                drop(inbox);
            });
            assert_eq!(Arc::strong_count(&thing), 1);
        }
    }
}
