//! The threads that work on snapshot files: one takes, receives and restores, the other serves parts to peers,
//! so that neither waits for the other.
//!
//! Always holds: each does its jobs in the order in which they were handed over, so that no snapshot is removed
//! under one that uses it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use crossbeam_channel::Receiver;
use raft_core::replica::{Image, ImageError, ReadChunk, ReplicaImage, Sink};
use raft_core::wal::{Chunk, Disk, SnapshotError, SnapshotStore};
use raft_core::{EntryId, SnapshotMeta};
use tracing::{debug, error, info, warn};

use crate::runtime::inbox::Outlet;

/// What is to be done.
#[derive(Debug)]
pub(crate) enum SnapshotJob<I> {
    /// Write this image.
    Take(SnapshotMeta, ReplicaImage<I>),
    /// Read an image back.
    Restore(EntryId),
    /// Read a part for a peer.
    Read(ReadChunk),
    /// Make room for one of this many bytes.
    BeginReceive(EntryId, u64),
    /// Keep a part of it.
    Receive(EntryId, u64, Bytes),
    /// All of it is here.
    FinishReceive(EntryId),
    /// Nobody needs any other.
    Retain(Vec<EntryId>),
}

/// What came of it.
#[derive(Debug)]
pub(crate) enum SnapshotEvent<I> {
    /// It is on the disk.
    Taken(SnapshotMeta),
    /// It is not.
    NotTaken(EntryId),
    /// What the state machine is to become.
    Restored(EntryId, ReplicaImage<I>),
    /// It cannot be read.
    NotRestored(EntryId),
    /// A part, if there is such a snapshot.
    Read(ReadChunk, Option<Chunk>),
    /// Everything before this offset is here.
    ReceiveBegun(EntryId, u64),
    /// Now this much is.
    Received(EntryId, u64),
    /// All of it is here, and verified.
    ReceivedAll(SnapshotMeta),
    /// It cannot be had.
    NotReceived(EntryId),
}

/// Works until nobody hands over anything any more.
pub(crate) fn run<I: Image, D: Disk>(
    mut store: SnapshotStore<D>,
    jobs: &Receiver<SnapshotJob<I>>,
    events: &Outlet<SnapshotEvent<I>>,
    ending: &Arc<AtomicBool>,
) {
    for job in jobs {
        if ending.load(Ordering::SeqCst) {
            break;
        }
        let event = carry_out(&mut store, job, ending);
        // Whoever told it to end may be waiting for that, and take nothing meanwhile.
        let ended = || ending.load(Ordering::SeqCst);
        if event.is_some_and(|event| !events.send_until(event, ended)) {
            break;
        }
    }
}

fn carry_out<I: Image, D: Disk>(
    store: &mut SnapshotStore<D>,
    job: SnapshotJob<I>,
    ending: &AtomicBool,
) -> Option<SnapshotEvent<I>> {
    Some(match job {
        SnapshotJob::Take(meta, image) => take(store, meta, &image, ending),
        SnapshotJob::Restore(id) => match store.image(id) {
            Ok(image) => {
                info!(index = id.index.0, "read a snapshot");
                SnapshotEvent::Restored(id, image)
            }
            Err(failure) => {
                error!(%failure, "the snapshot cannot be read");
                SnapshotEvent::NotRestored(id)
            }
        },
        SnapshotJob::Read(read) => {
            let chunk = store.chunk(read.id, read.offset, read.bytes_max);
            let chunk = chunk.inspect_err(|failure| {
                warn!(%failure, node = read.to.node.0, "a peer was not served");
            });
            SnapshotEvent::Read(read, chunk.ok())
        }
        SnapshotJob::BeginReceive(id, total) => {
            info!(index = id.index.0, bytes = total, "receiving a snapshot");
            let begun = store.begin_receive(id, total);
            received(
                id,
                begun.map(|offset| SnapshotEvent::ReceiveBegun(id, offset)),
            )
        }
        SnapshotJob::Receive(id, offset, bytes) => {
            let end = store.receive(id, offset, &bytes);
            received(id, end.map(|end| SnapshotEvent::Received(id, end)))
        }
        SnapshotJob::FinishReceive(id) => {
            let whole = store.finish_receive(id);
            received(id, whole.map(SnapshotEvent::ReceivedAll))
        }
        SnapshotJob::Retain(keep) => {
            if let Err(failure) = store.retain(&keep) {
                warn!(%failure, "old snapshots were not removed; trying again with the next");
            }
            return None;
        }
    })
}

fn take<I: Image, D: Disk>(
    store: &mut SnapshotStore<D>,
    meta: SnapshotMeta,
    image: &ReplicaImage<I>,
    ending: &AtomicBool,
) -> SnapshotEvent<I> {
    let taken = store.take(&meta, &mut |sink| {
        image.write(&mut Stoppable { sink, ending })
    });
    match taken {
        Ok(bytes) => {
            info!(index = meta.id.index.0, bytes, "took a snapshot");
            SnapshotEvent::Taken(meta)
        }
        Err(failure) => {
            warn!(%failure, "no snapshot was taken");
            SnapshotEvent::NotTaken(meta.id)
        }
    }
}

/// A server that is told to end does not finish a snapshot first.
struct Stoppable<'a> {
    sink: &'a mut dyn Sink,
    ending: &'a AtomicBool,
}

impl Sink for Stoppable<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<(), ImageError> {
        if self.ending.load(Ordering::Relaxed) {
            return Err(ImageError::Disk("the server ends".to_string()));
        }
        self.sink.write(bytes)
    }
}

fn received<I>(id: EntryId, result: Result<SnapshotEvent<I>, SnapshotError>) -> SnapshotEvent<I> {
    match result {
        Ok(event) => event,
        Err(failure) => {
            // Parts that were on their way when one failed have nowhere to go, and that one was told.
            if matches!(failure, SnapshotError::NotReceiving { .. }) {
                debug!(%failure, "a part came too late");
            } else {
                warn!(%failure, "a snapshot could not be received");
            }
            SnapshotEvent::NotReceived(id)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use raft_core::replica::Serde;
    use raft_core::{Index, Term};

    use super::*;
    use crate::memory::MemoryDisk;
    use crate::runtime::inbox::silent;

    /// A server without sockets wipes its log in the thread that takes what these tell.
    #[test]
    fn a_thread_that_is_told_to_end_does_so_though_nobody_takes_what_it_tells() {
        let store = SnapshotStore::open(MemoryDisk::new()).unwrap();
        let (jobs, taken) = crossbeam_channel::unbounded::<SnapshotJob<Serde<()>>>();
        let (outlet, inbox) = silent(1);
        let ending = Arc::new(AtomicBool::new(false));
        for index in 1..=3 {
            let (term, index) = (Term(1), Index(index));
            jobs.send(SnapshotJob::BeginReceive(EntryId { term, index }, 10))
                .unwrap();
        }
        thread::scope(|scope| {
            let working = scope.spawn(|| run(store, &taken, &outlet, &ending));
            while taken.len() > 1 {
                thread::yield_now();
            }
            ending.store(true, Ordering::SeqCst);
            working.join().unwrap();
        });
        assert!(inbox.take().is_some());
    }
}
