//! Snapshots between the replica and the threads that work on their files.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use crossbeam_channel::{Receiver, Sender};
use raft_core::replica::{Image, Output};
use raft_core::wal::{Disk, SnapshotStore};
use raft_core::{Input, Time};

use crate::error::StopError;
use crate::runtime::front::Front;
use crate::runtime::inbox::{Bell, Inbox, Outlet, inbox};
use crate::runtime::receive_failures::ReceiveFailures;
use crate::runtime::replica_thread::{Hosted, ReplicaThread};
use crate::runtime::snapshot_thread::{SnapshotEvent, SnapshotJob, run};

/// What the snapshot threads may have to tell at a time; each waits for room.
const EVENTS_WAITING: usize = 64;

/// The replica thread's end of the snapshot threads; they end with it.
#[derive(Debug)]
pub(crate) struct Snapshots<I> {
    /// Taking, receiving and restoring; nothing once they were told to end.
    jobs: Option<Sender<SnapshotJob<I>>>,
    /// Serving parts.
    reads: Option<Sender<SnapshotJob<I>>>,
    events: Inbox<SnapshotEvent<I>>,
    failures: ReceiveFailures,
    ending: Arc<AtomicBool>,
}

/// The threads, for whoever waits for their end.
#[derive(Debug)]
pub(crate) struct SnapshotThreads {
    pub(crate) threads: Vec<JoinHandle<()>>,
    /// Ends when all of them have.
    pub(crate) ended: Receiver<Infallible>,
}

impl<I: Image> Snapshots<I> {
    /// Starts the threads.
    pub(crate) fn start<D: Disk + Clone + Send + 'static>(
        store: SnapshotStore<D>,
        bell: &Arc<Bell>,
    ) -> io::Result<(Self, SnapshotThreads)> {
        let (outlet, events) = inbox(EVENTS_WAITING, bell);
        let (alive, ended) = crossbeam_channel::bounded(0);
        let ending = Arc::new(AtomicBool::new(false));
        let mut threads = Vec::new();
        let mut start = |name: &str| {
            // Bounded by the replica: it takes one snapshot at a time, and asks for and serves few parts.
            let (jobs, taken) = crossbeam_channel::unbounded();
            let (store, ending, alive) = (store.clone(), Arc::clone(&ending), alive.clone());
            let outlet: Outlet<_> = outlet.clone();
            let thread = thread::Builder::new().name(name.to_string());
            threads.push(thread.spawn(move || {
                let _alive: Sender<Infallible> = alive;
                run(store, &taken, &outlet, &ending);
            })?);
            Ok::<_, io::Error>(Some(jobs))
        };
        let (jobs, reads) = (start("raft-snapshots")?, start("raft-chunks")?);
        let snapshots = Self {
            jobs,
            reads,
            events,
            failures: ReceiveFailures::default(),
            ending,
        };
        Ok((snapshots, SnapshotThreads { threads, ended }))
    }

    /// Hands over a job; after the end there is nobody to do it, and no need.
    fn ask(&self, job: SnapshotJob<I>) -> bool {
        let jobs = if matches!(job, SnapshotJob::Read(_)) {
            &self.reads
        } else {
            &self.jobs
        };
        jobs.as_ref().is_none_or(|jobs| jobs.send(job).is_ok())
    }
}

impl<I> Snapshots<I> {
    /// When to come back though nothing happens.
    pub(crate) fn next_deadline(&self) -> Option<Time> {
        self.failures.next_due()
    }

    /// Lets the threads end, in the midst of whatever they do.
    pub(crate) fn end(&mut self) {
        self.ending.store(true, Ordering::SeqCst);
        self.jobs = None;
        self.reads = None;
    }
}

impl<I> Drop for Snapshots<I> {
    fn drop(&mut self) {
        self.end();
    }
}

impl<S: Hosted, F: Front<S>> ReplicaThread<S, F> {
    pub(super) fn ask_snapshots(&mut self, job: SnapshotJob<S::Image>) {
        if !self.snapshots.ask(job) {
            self.stop(Err(StopError::Panicked { thread: "snapshot" }));
        }
    }

    /// Carries out what is to be done with snapshot files.
    pub(super) fn move_snapshot(&mut self, output: Output<S>) {
        self.ask_snapshots(match output {
            Output::TakeSnapshot { snapshot, image } => SnapshotJob::Take(snapshot, image),
            Output::RestoreSnapshot { snapshot } => SnapshotJob::Restore(snapshot.id),
            Output::ReadChunk(read) => SnapshotJob::Read(read),
            Output::BeginReceive { id, total } => SnapshotJob::BeginReceive(id, total),
            Output::WriteChunk { id, offset, bytes } => SnapshotJob::Receive(id, offset, bytes),
            Output::FinishReceive { id } => SnapshotJob::FinishReceive(id),
            Output::RetainSnapshots { keep } => SnapshotJob::Retain(keep),
            Output::Action(_)
            | Output::Reply { .. }
            | Output::Registered { .. }
            | Output::Done { .. }
            | Output::Snapshot { .. } => unreachable!("that is nothing for files"),
        });
    }

    /// Hands in what the snapshot threads tell.
    pub(super) fn hand_in_snapshots(&mut self) {
        while let Some(event) = self.snapshots.events.take() {
            self.on_snapshot_event(event);
        }
        let now = self.state.now;
        if let Some(id) = self.snapshots.failures.take_due(now) {
            self.replica.receive_failed(now, id);
        }
    }

    fn on_snapshot_event(&mut self, event: SnapshotEvent<S::Image>) {
        let (at, replica) = (self.state.now, &mut self.replica);
        match event {
            SnapshotEvent::Taken(snapshot) => self.input(Input::SnapshotTaken { snapshot }),
            SnapshotEvent::NotTaken(id) => replica.snapshot_failed(at, id),
            SnapshotEvent::Restored(id, image) => replica.restored(at, id, image),
            SnapshotEvent::NotRestored(id) => replica.restore_failed(at, id),
            SnapshotEvent::Read(read, chunk) => replica.chunk_read(at, &read, chunk),
            SnapshotEvent::ReceiveBegun(id, offset) => {
                self.snapshots.failures.begun(id);
                replica.receive_begun(at, id, offset);
            }
            SnapshotEvent::Received(id, end) => replica.chunk_written(at, id, end),
            SnapshotEvent::ReceivedAll(snapshot) => {
                self.snapshots.failures.end();
                replica.received(at, snapshot);
            }
            SnapshotEvent::NotReceived(id) => self.snapshots.failures.add(at, id),
        }
    }
}
