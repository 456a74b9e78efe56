//! What a server does with snapshots: one thing after the other, beside everything else, as a thread of its
//! own does in production.
//!
//! Always holds: jobs are done in the order in which they were handed out, so that a snapshot is not removed
//! under one that uses it.

use std::collections::VecDeque;

use raft_core::replica::{Image, Output, ReadChunk, ReplicaImage, StateMachine};
use raft_core::wal::{Chunk, DiskError, SnapshotStore};
use raft_core::{Bytes, EntryId, NodeId, SnapshotMeta, Time};

use super::disk::MemoryDisk;
use super::mechanism::World;
use crate::judge::image_hash;
use crate::machine::{Machine, Watched};
use crate::trace::Happening;

/// The image of a replica as the simulator hosts it.
pub(crate) type Contents<S> = ReplicaImage<<Watched<S> as StateMachine>::Image>;

/// A server's snapshots, and what is to be done with them.
pub(crate) struct SnapshotLane<S: Machine> {
    store: SnapshotStore<MemoryDisk>,
    jobs: VecDeque<Job<S>>,
}

enum Job<S: Machine> {
    Take(SnapshotMeta, Contents<S>),
    Restore(EntryId),
    Read(ReadChunk),
    Begin(EntryId, u64),
    Write(EntryId, u64, Bytes),
    Finish(EntryId),
    Retain(Vec<EntryId>),
}

/// What came of a job.
enum Done<S: Machine> {
    Taken(SnapshotMeta),
    NotTaken(EntryId),
    Restored(EntryId, Contents<S>),
    NotRestored(EntryId),
    Read(ReadChunk, Option<Chunk>),
    Begun(EntryId, u64),
    Written(EntryId, u64),
    Received(SnapshotMeta),
    NotReceived(EntryId),
    Nothing,
}

impl<S: Machine> SnapshotLane<S> {
    pub(crate) fn new(disk: MemoryDisk) -> Result<Self, DiskError> {
        Ok(Self {
            store: SnapshotStore::open(disk)?,
            jobs: VecDeque::new(),
        })
    }

    /// What was to be done is not any more.
    pub(super) fn end(&mut self) {
        self.jobs.clear();
    }

    pub(crate) fn is_busy(&self) -> bool {
        !self.jobs.is_empty()
    }

    /// Takes in what is for this lane.
    fn push(&mut self, output: Output<Watched<S>>) {
        self.jobs.push_back(match output {
            Output::TakeSnapshot { snapshot, image } => Job::Take(snapshot, image),
            Output::RestoreSnapshot { snapshot } => Job::Restore(snapshot.id),
            Output::ReadChunk(read) => Job::Read(read),
            Output::BeginReceive { id, total } => Job::Begin(id, total),
            Output::WriteChunk { id, offset, bytes } => Job::Write(id, offset, bytes),
            Output::FinishReceive { id } => Job::Finish(id),
            Output::RetainSnapshots { keep } => Job::Retain(keep),
            Output::Action(_)
            | Output::Reply { .. }
            | Output::Done { .. }
            | Output::Registered { .. }
            | Output::Snapshot { .. } => unreachable!("that is nothing for this lane"),
        });
    }

    fn step(&mut self) -> Done<S> {
        let Some(job) = self.jobs.pop_front() else {
            return Done::Nothing;
        };
        let store = &mut self.store;
        match job {
            Job::Take(meta, image) => match store.take(&meta, &mut |sink| image.write(sink)) {
                Ok(_) => Done::Taken(meta),
                Err(_) => Done::NotTaken(meta.id),
            },
            Job::Restore(id) => match store.image(id) {
                Ok(image) => Done::Restored(id, image),
                Err(_) => Done::NotRestored(id),
            },
            Job::Read(read) => {
                let chunk = store.chunk(read.id, read.offset, read.bytes_max);
                Done::Read(read, chunk.ok())
            }
            Job::Begin(id, total) => match store.begin_receive(id, total) {
                Ok(offset) => Done::Begun(id, offset),
                Err(_) => Done::NotReceived(id),
            },
            Job::Write(id, offset, bytes) => match store.receive(id, offset, &bytes) {
                Ok(end) => Done::Written(id, end),
                Err(_) => Done::NotReceived(id),
            },
            Job::Finish(id) => match store.finish_receive(id) {
                Ok(meta) => Done::Received(meta),
                Err(_) => Done::NotReceived(id),
            },
            Job::Retain(keep) => {
                // What could not be removed is removed later.
                let _ = store.retain(&keep);
                Done::Nothing
            }
        }
    }
}

impl<S: Machine> World<S> {
    /// A replica hands out something to do with snapshots.
    pub(super) fn move_snapshot(&mut self, node: NodeId, output: Output<Watched<S>>) {
        if let Output::TakeSnapshot { snapshot, image } = &output {
            self.judge.freezing(node, snapshot, image);
        }
        if let Some(process) = self.process_mut(node) {
            process.snapshots.push(output);
        }
    }

    /// The snapshot lane gets to the end of what it is doing.
    pub(crate) fn snapshot_lane(&mut self, at: Time, node: NodeId) {
        let Some(process) = self.process_mut(node) else {
            return;
        };
        process.inputs += 1;
        let done = process.snapshots.step();
        let replica = &mut process.replica;
        let text = match done {
            Done::Taken(snapshot) => {
                let text = format!("took a snapshot up to {}", snapshot.id.index);
                let input = raft_core::Input::SnapshotTaken { snapshot };
                replica.handle(raft_core::Event { at, input });
                Some(text)
            }
            Done::NotTaken(id) => {
                replica.snapshot_failed(at, id);
                Some(format!("could not take a snapshot up to {}", id.index))
            }
            Done::Restored(id, image) => {
                let read = image_hash(image.machine());
                replica.restored(at, id, image);
                let machine = replica.machine().image();
                self.judge.restored(node, id, read, &machine);
                Some(format!("restored a snapshot up to {}", id.index))
            }
            Done::NotRestored(id) => {
                replica.restore_failed(at, id);
                Some(format!("could not restore a snapshot up to {}", id.index))
            }
            Done::Read(read, chunk) => {
                replica.chunk_read(at, &read, chunk);
                None
            }
            Done::Begun(id, offset) => {
                replica.receive_begun(at, id, offset);
                None
            }
            Done::Written(id, end) => {
                replica.chunk_written(at, id, end);
                None
            }
            Done::Received(snapshot) => {
                let text = format!("received a snapshot up to {}", snapshot.id.index);
                replica.received(at, snapshot);
                Some(text)
            }
            Done::NotReceived(id) => {
                replica.receive_failed(at, id);
                Some(format!("could not receive a snapshot up to {}", id.index))
            }
            Done::Nothing => None,
        };
        if let Some(text) = text {
            self.note(|| Happening::Disk { node, text });
        }
    }
}
