//! The thread that owns the log: it takes all that waits, and syncs once.
//!
//! Always holds: writes are done in the order in which they were handed over, and after a failure none
//! is done any more.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError};
use raft_core::wal::{Disk, DiskError, Wal, WalStats};
use raft_core::{
    Boot, CompactLog, LogReadOutcome, Persist, PersistId, ReadLog, ReadTicket, StorageId,
};
use tracing::{error, info, warn};

use crate::runtime::inbox::Outlet;
use crate::runtime::read_ahead::ReadAhead;

/// What the log thread is asked to do.
#[derive(Debug)]
pub(crate) enum LogJob {
    /// Change the log, in order.
    Write(Work),
    /// Read entries back.
    Read(ReadLog),
    /// End in order.
    Close,
}

/// What changes the log.
#[derive(Debug)]
pub(crate) enum Work {
    /// Make it durable.
    Persist(Persist),
    /// Let the log begin later.
    Compact(CompactLog),
    /// Forget everything, as soon as nobody works on snapshots any more.
    Wipe(StorageId),
}

/// One write, by the names that its completion echoes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WriteId {
    /// The store as which it was asked for.
    pub(crate) store: StorageId,
    /// The life in which it was.
    pub(crate) boot: Boot,
    /// Its place in the lane.
    pub(crate) id: PersistId,
}

/// What it answers.
#[derive(Debug)]
pub(crate) enum LogEvent {
    /// Every write up to this one is durable.
    Persisted(WriteId, WalStats),
    /// What was read.
    Read(ReadTicket, LogReadOutcome),
    /// The store is empty, and this is its id.
    Wiped(StorageId),
    /// No room; what was handed over is kept.
    Full,
    /// There is room again.
    Available,
    /// The log failed for good.
    Failed(DiskError),
}

/// How long a full disk is left alone before it is tried again.
const RETRY: Duration = Duration::from_millis(200);
/// Bytes of records after which preparing the next segment no longer waits for a quiet moment.
const IMPATIENCE_BYTES: u64 = 256 << 10;

/// After how long without a job the log notes that it is at rest: under load each note would be written over by
/// the next write at once. It waits less only once for each segment, when it has just prepared the next.
const QUIET: Duration = Duration::from_millis(10);

/// Runs until told to close, until nobody listens any more, or until the disk fails.
pub(crate) fn run<D: Disk>(
    wal: Wal<D>,
    jobs: &Receiver<LogJob>,
    events: Outlet<LogEvent>,
    snapshots: Receiver<Infallible>,
) {
    let mut thread = LogWork::new(wal, events, snapshots);
    loop {
        let (closing, quiet) = match thread.collect(jobs) {
            Ok(closing) => (closing, false),
            // Everybody is gone without a word: what was handed over is still worth having.
            Err(RecvTimeoutError::Disconnected) => (true, false),
            Err(RecvTimeoutError::Timeout) => (false, true),
        };
        if !thread.work() {
            return;
        }
        if quiet {
            thread.rest();
        } else {
            thread.look_ahead();
        }
        if closing {
            thread.close();
            return;
        }
    }
}

/// The log, and what is to be done with it.
pub(super) struct LogWork<D: Disk> {
    wal: Wal<D>,
    events: Outlet<LogEvent>,
    /// Ends with those who work on snapshots.
    snapshots: Receiver<Infallible>,
    waiting: VecDeque<Work>,
    reads: Vec<ReadLog>,
    ahead: ReadAhead,
    unsynced: Option<WriteId>,
    full: bool,
    /// The log says that it is at rest.
    rests: bool,
    /// The next segment is ready.
    prepared: bool,
    prepared_at: u64,
    /// How many segments were begun when that was last looked at.
    segments: u64,
}

impl<D: Disk> LogWork<D> {
    pub(super) fn new(
        wal: Wal<D>,
        events: Outlet<LogEvent>,
        snapshots: Receiver<Infallible>,
    ) -> Self {
        Self {
            wal,
            events,
            snapshots,
            waiting: VecDeque::new(),
            reads: Vec::new(),
            ahead: ReadAhead::default(),
            unsynced: None,
            full: false,
            rests: false,
            prepared: false,
            prepared_at: 0,
            segments: 0,
        }
    }

    /// Waits for a job, then takes whatever else is there; true if the last one is to close.
    fn collect(&mut self, jobs: &Receiver<LogJob>) -> Result<bool, RecvTimeoutError> {
        let first = if self.full {
            jobs.recv_timeout(RETRY)?
        } else if !self.prepared {
            // There is something to do in a quiet moment.
            jobs.recv_timeout(Duration::ZERO)?
        } else if !self.rests {
            jobs.recv_timeout(QUIET)?
        } else {
            jobs.recv().map_err(|_| RecvTimeoutError::Disconnected)?
        };
        let mut closing = self.take(first);
        while let Ok(job) = jobs.try_recv() {
            closing |= self.take(job);
        }
        Ok(closing)
    }

    /// Takes note of a job; true if it is to close.
    pub(super) fn take(&mut self, job: LogJob) -> bool {
        match job {
            LogJob::Write(work) => self.waiting.push_back(work),
            LogJob::Read(read) => self.reads.push(read),
            LogJob::Close => return true,
        }
        false
    }

    /// Whether there is anything to do.
    pub(super) fn is_asked(&self) -> bool {
        !self.waiting.is_empty() || !self.reads.is_empty() || self.unsynced.is_some()
    }

    /// Does all that waits; false if the log failed.
    pub(super) fn work(&mut self) -> bool {
        if let Err(failure) = self.write() {
            error!(%failure, "the log failed; nothing is acknowledged any more");
            self.events.send(LogEvent::Failed(failure));
            return false;
        }
        self.answer_reads();
        true
    }

    /// Ends in order.
    pub(super) fn close(self) {
        if let Err(failure) = self.wal.close() {
            warn!(%failure, "the log was not closed in order; the next start recovers it");
        }
    }

    /// Writes and syncs all that waits; a full disk leaves it waiting.
    fn write(&mut self) -> Result<(), DiskError> {
        let idle = self.waiting.is_empty() && self.unsynced.is_none();
        let done = self.try_write().and_then(|()| self.prepare(idle));
        match done {
            Ok(()) => {
                if core::mem::take(&mut self.full) {
                    info!("there is room again: writes are taken");
                    self.events.send(LogEvent::Available);
                }
                Ok(())
            }
            Err(full @ DiskError::Full { .. }) => {
                if !core::mem::replace(&mut self.full, true) {
                    warn!(%full, "the disk is full: writes are refused until there is room");
                    self.events.send(LogEvent::Full);
                }
                Ok(())
            }
            Err(failure) => Err(failure),
        }
    }

    fn try_write(&mut self) -> Result<(), DiskError> {
        let mut result = Ok(());
        while let Some(work) = self.waiting.front() {
            // Each of them takes the place of what the log said about its rest.
            self.rests = false;
            self.ahead.follow(work);
            result = match work {
                Work::Persist(persist) => {
                    let appended = self.wal.append(persist);
                    if appended.is_ok() {
                        self.unsynced = Some(WriteId {
                            store: persist.store,
                            boot: persist.boot,
                            id: persist.id,
                        });
                    }
                    appended
                }
                Work::Compact(compact) => self.wal.compact(compact),
                Work::Wipe(store) => wipe(&mut self.wal, *store, &self.snapshots, &self.events),
            };
            if result.is_err() {
                break;
            }
            self.waiting.pop_front();
        }
        // What was taken in before the disk was full is made durable all the same.
        if let Some(write) = self.unsynced {
            self.wal.sync()?;
            self.unsynced = None;
            self.events
                .send(LogEvent::Persisted(write, self.wal.stats()));
        }
        result
    }

    /// Prepares the next segment, a step at a time: when nothing waits, or when it gets urgent.
    fn prepare(&mut self, idle: bool) -> Result<(), DiskError> {
        let written = self.wal.stats();
        let urgent = written.bytes - self.prepared_at > IMPATIENCE_BYTES;
        if written.segments != self.segments {
            self.segments = written.segments;
            self.prepared = false;
        }
        // A full disk has room again only if this succeeds.
        if idle || urgent || self.full {
            self.prepared_at = written.bytes;
            self.prepared = !self.wal.maintain()?;
        }
        Ok(())
    }

    /// Nothing came for a while: damage to what was written last shows from now on. Should this fail, so will the
    /// next write, and tell.
    fn rest(&mut self) {
        self.ahead.forget();
        if self.rests || !self.prepared || self.unsynced.is_some() {
            return;
        }
        self.rests = true;
        if let Err(failure) = self.wal.rest() {
            warn!(%failure, "the log could not note that it is at rest");
        }
    }

    fn answer_reads(&mut self) {
        for read in self.reads.drain(..) {
            let outcome = self.ahead.read(&read, &mut self.wal);
            self.events.send(LogEvent::Read(read.ticket, outcome));
        }
    }

    /// Reads on, while whoever asked makes use of what was read.
    fn look_ahead(&mut self) {
        self.ahead.look(&mut self.wal);
    }
}

/// Forgets everything; whoever works on snapshots was told to end.
fn wipe<D: Disk>(
    wal: &mut Wal<D>,
    store: StorageId,
    snapshots: &Receiver<Infallible>,
    events: &Outlet<LogEvent>,
) -> Result<(), DiskError> {
    // A file that was written by one of them afterwards would come back.
    while snapshots.recv().is_ok() {}
    wal.wipe(store)?;
    info!(%store, "the store is empty, and has a new id");
    events.send(LogEvent::Wiped(store));
    Ok(())
}

#[cfg(test)]
#[path = "log_thread_tests.rs"]
mod tests;
