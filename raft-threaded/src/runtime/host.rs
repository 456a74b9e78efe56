//! Several servers that wait for nothing but each other, and whoever drives them: a thread of their own, or a
//! client.
//!
//! A message between them costs no wake, and neither does a disk in memory. What would is to hand a request to
//! another thread and to be woken with its reply; so a client that is going to wait does what there is to do
//! itself, unless somebody does already. The thread is there for everything else: time that passes, and clients
//! that do not wait.
//!
//! Always holds: whoever has the lock answers the bell, and leaves only when it was not rung since, or when the
//! thread is going to look; so nothing lies there unseen.

use std::io::ErrorKind;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

use crossbeam_channel::Sender;
use crossbeam_utils::Backoff;
use mio::{Events, Poll};
use raft_core::{DiskHealth, Time};
use tracing::error;

use crate::error::StopError;
use crate::runtime::front::Front;
use crate::runtime::inbox::Bell;
use crate::runtime::replica_thread::{Hosted, Next, ReplicaThread, until};

/// How many rounds a client drives before it leaves the rest to the thread: more than one request takes.
const ROUNDS: usize = 16;

/// A server, whatever its state machine is.
pub(crate) trait Guest: Send {
    /// See [`ReplicaThread::turn`].
    fn turn(&mut self, events: &Events) -> Next;
}

impl<S, F> Guest for ReplicaThread<S, F>
where
    S: Hosted + Send,
    F: Front<S>,
{
    fn turn(&mut self, events: &Events) -> Next {
        // The log has no thread that would look for room, and a node that refuses writes gives it nothing to do. A
        // member of a cluster has a turn every so often, though nothing happens.
        if self.replica.status().disk == DiskHealth::Full {
            self.log.try_again();
        }
        Self::turn(self, events)
    }
}

/// A guest, and where its end is told.
pub(crate) struct Seated {
    pub(crate) guest: Box<dyn Guest>,
    pub(crate) ended: Sender<Result<(), StopError>>,
}

/// What drives them.
pub(crate) struct Host {
    bell: Arc<Bell>,
    house: Mutex<House>,
    /// A client has the lock. It only tells the thread to keep out of the way.
    driven: AtomicBool,
}

struct House {
    guests: Vec<Seated>,
    /// Nobody can come any more.
    closed: bool,
    /// The thread waits in its poller, until then if nothing wakes it.
    asleep: Option<Option<Time>>,
    /// Nothing happens on sockets.
    none: Events,
}

impl Host {
    pub(crate) fn new(bell: Arc<Bell>) -> Self {
        let house = House {
            guests: Vec::new(),
            closed: false,
            asleep: None,
            none: Events::with_capacity(1),
        };
        Self {
            bell,
            house: Mutex::new(house),
            driven: AtomicBool::new(false),
        }
    }

    pub(crate) const fn bell(&self) -> &Arc<Bell> {
        &self.bell
    }

    fn lock(&self) -> MutexGuard<'_, House> {
        // A guest's panic is caught, and nothing else leaves it half changed.
        self.house.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in a guest.
    pub(crate) fn admit(&self, guest: Seated) {
        self.lock().guests.push(guest);
        self.bell.ring();
    }

    /// Lets the thread end once its guests have.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.bell.ring();
    }

    /// The thread: runs until the guests have ended and none can come any more.
    pub(crate) fn run(&self, mut poll: Poll) {
        let mut events = Events::with_capacity(1);
        let mut lingered = false;
        loop {
            let mut house = self.lock();
            house.asleep = None;
            self.bell.answer();
            let next = house.round();
            if house.closed && house.guests.is_empty() {
                return;
            }
            let timeout = match next {
                Next::Later(_) if !lingered => {
                    drop(house);
                    lingered = !self.lingers();
                    continue;
                }
                Next::Later(due) if self.bell.sleep() => {
                    house.asleep = Some(due);
                    due.map(until)
                }
                Next::Now | Next::Later(_) | Next::End(_) => continue,
            };
            drop(house);
            lingered = false;
            if let Err(failure) = poll.poll(&mut events, timeout)
                && failure.kind() != ErrorKind::Interrupted
            {
                error!(error = %failure, "polling failed");
            }
        }
    }

    /// Looks for a moment whether something comes, because a client that has its answer often asks again at once;
    /// true if it did.
    fn lingers(&self) -> bool {
        let backoff = Backoff::new();
        // What a client drives rings, too.
        while !self.bell.is_rung() || self.driven.load(Ordering::Relaxed) {
            if backoff.is_completed() {
                return false;
            }
            backoff.snooze();
        }
        true
    }

    /// A client is about to wait for what it handed over without a word: does it, unless somebody else will.
    pub(crate) fn drive(&self) {
        let mut house = match self.house.try_lock() {
            Ok(house) => house,
            Err(TryLockError::Poisoned(house)) => house.into_inner(),
            Err(TryLockError::WouldBlock) => {
                self.bell.ring();
                return;
            }
        };
        let _driving = Driving::begin(&self.driven);
        for _ in 0..ROUNDS {
            self.bell.answer();
            let Next::Later(due) = house.round() else {
                continue;
            };
            match house.asleep {
                // The thread is about to look in any case.
                None if !self.bell.is_rung() => return,
                Some(alarm) if is_before(due, alarm) => break,
                Some(_) if self.bell.sleep() => return,
                None | Some(_) => {}
            }
        }
        self.bell.wake();
    }
}

/// Whether something is due before the thread would wake.
fn is_before(due: Option<Time>, alarm: Option<Time>) -> bool {
    due.is_some_and(|due| alarm.is_none_or(|alarm| due < alarm))
}

/// A client drives for as long as this lives.
struct Driving<'a>(&'a AtomicBool);

impl<'a> Driving<'a> {
    fn begin(driven: &'a AtomicBool) -> Self {
        driven.store(true, Ordering::Relaxed);
        Self(driven)
    }
}

impl Drop for Driving<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

impl House {
    /// One turn for each guest; when the next is due.
    fn round(&mut self) -> Next {
        let (mut now, mut earliest, mut at) = (false, None::<Time>, 0);
        while let Some(seated) = self.guests.get_mut(at) {
            // A state machine that panics takes its own server with it and no other.
            let turn = catch_unwind(AssertUnwindSafe(|| seated.guest.turn(&self.none)));
            match turn.unwrap_or(Next::End(Err(PANICKED))) {
                Next::Now => now = true,
                Next::Later(due) => earliest = earliest.into_iter().chain(due).min(),
                Next::End(result) => {
                    now = true;
                    self.guests.remove(at).end(result);
                    continue;
                }
            }
            at += 1;
        }
        if now {
            Next::Now
        } else {
            Next::Later(earliest)
        }
    }
}

const PANICKED: StopError = StopError::Panicked { thread: "replica" };

impl Seated {
    /// Whoever is told may start another server in the place of this one, so it is gone by then.
    fn end(self, result: Result<(), StopError>) {
        let Self { guest, ended } = self;
        let gone = catch_unwind(AssertUnwindSafe(|| drop(guest)));
        let _ = ended.send(gone.map_or(Err(PANICKED), |()| result));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread::{self, ThreadId};
    use std::time::Duration;

    use mio::Token;

    use super::*;
    use crate::runtime::clock;

    /// A guest that says who drove it, and does what it is told next; nothing once nobody tells it anything.
    struct Told {
        next: mpsc::Receiver<Next>,
        turns: mpsc::Sender<ThreadId>,
    }

    impl Guest for Told {
        fn turn(&mut self, _events: &Events) -> Next {
            let _ = self.turns.send(thread::current().id());
            self.next.try_recv().unwrap_or(Next::Later(None))
        }
    }

    /// A host with such a guest, whose thread sleeps.
    struct Asleep {
        host: Arc<Host>,
        thread: thread::JoinHandle<()>,
        tell: mpsc::Sender<Next>,
        turned: mpsc::Receiver<ThreadId>,
        ended: crossbeam_channel::Receiver<Result<(), StopError>>,
    }

    fn asleep() -> Asleep {
        let poll = Poll::new().unwrap();
        let host = Arc::new(Host::new(Bell::new(poll.registry(), Token(0)).unwrap()));
        let (tell, next) = mpsc::channel();
        let (turns, turned) = mpsc::channel();
        let (ends, ended) = crossbeam_channel::bounded(1);
        host.admit(Seated {
            guest: Box::new(Told { next, turns }),
            ended: ends,
        });
        let driven = Arc::clone(&host);
        let threads = thread::Builder::new();
        let thread = threads.spawn(move || driven.run(poll)).unwrap();
        while host.lock().asleep.is_none() {
            thread::yield_now();
        }
        while turned.try_recv().is_ok() {}
        Asleep {
            host,
            thread,
            tell,
            turned,
            ended,
        }
    }

    #[test]
    fn a_client_drives_what_it_waits_for_and_the_thread_sleeps_on() {
        let Asleep {
            host,
            thread,
            tell,
            turned,
            ended,
        } = asleep();
        tell.send(Next::Now).unwrap();
        host.drive();
        let drove: Vec<ThreadId> = turned.try_iter().collect();
        assert_eq!(drove, [thread::current().id(); 2]);
        assert!(host.lock().asleep.is_some());
        tell.send(Next::End(Ok(()))).unwrap();
        host.drive();
        assert_eq!(ended.recv().unwrap(), Ok(()));
        host.close();
        thread.join().unwrap();
    }

    /// It sleeps for as long as nothing is due, and a client leaves something that is.
    #[test]
    fn the_thread_is_woken_for_what_is_due_earlier_than_it_would_wake() {
        let Asleep {
            host,
            thread,
            tell,
            turned,
            ..
        } = asleep();
        let soon = clock::now() + raft_core::Span::from_millis(1);
        tell.send(Next::Later(Some(soon))).unwrap();
        host.drive();
        let by_thread = || turned.recv_timeout(Duration::from_secs(60));
        assert_eq!(by_thread(), Ok(thread::current().id()));
        assert_eq!(by_thread(), Ok(thread.thread().id()), "nobody else looks");
    }

    #[test]
    fn a_client_that_has_driven_long_enough_leaves_the_rest_to_the_thread() {
        let Asleep {
            host,
            thread,
            tell,
            turned,
            ..
        } = asleep();
        for _ in 0..=ROUNDS {
            tell.send(Next::Now).unwrap();
        }
        host.drive();
        let drove: Vec<ThreadId> = turned.iter().take(ROUNDS + 1).collect();
        assert_eq!(drove[..ROUNDS], [thread::current().id(); ROUNDS]);
        assert_eq!(drove[ROUNDS], thread.thread().id());
    }
}
