//! One simulated server: a disk, and a process while there is one.
//!
//! Always holds: the log lane does one thing at a time, in order, and syncs what it wrote before it
//! writes more, as the thread that owns the log does in production.

use std::collections::VecDeque;

use raft_core::replica::Replica;
use raft_core::wal::{DiskError, Wal};
use raft_core::{
    Boot, CompactLog, HaltReason, Input, LogReadOutcome, Member, Persist, PersistId, ReadLog,
    ReadTicket, StorageId,
};

use super::disk::MemoryDisk;
use super::snapshot_lane::SnapshotLane;
use crate::machine::{Machine, Watched};

/// A machine with a disk.
pub(crate) struct Server<S: Machine> {
    pub(crate) member: Member,
    pub(crate) disk: MemoryDisk,
    pub(crate) process: Option<Process<S>>,
    pub(crate) halted: Option<HaltReason>,
    pub(crate) death: Option<Death>,
    /// How often its store was to become another one.
    pub(crate) changes: u32,
}

/// How a process is going to die: after so many more actions, with the machine's power or without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Death {
    /// How many more of its node's actions are carried out.
    pub actions: u32,
    /// Which unsynced sectors survive, if the power goes: see [`MemoryDisk::lose_power`].
    pub power: Option<u64>,
}

/// One life of a server.
pub(crate) struct Process<S: Machine> {
    pub(crate) replica: Replica<Watched<S>>,
    pub(crate) boot: Boot,
    wal: Wal<MemoryDisk>,
    /// What it was given since it acted last.
    pub(crate) inputs: usize,
    /// Handed to the log lane, and not written.
    waiting: VecDeque<LogJob>,
    /// Written, and about to be synced.
    written: Option<(StorageId, PersistId)>,
    pub(crate) reads: VecDeque<ReadLog>,
    pub(crate) snapshots: SnapshotLane<S>,
    full: bool,
    /// The store is empty and another one, which nobody was told yet.
    wiped: Option<StorageId>,
    /// The lane is over: nothing is done in it any more.
    failed: bool,
}

/// What the log lane is asked to do, in order.
pub(crate) enum LogJob {
    /// Make it durable.
    Persist(Persist),
    /// Let the log begin later.
    Compact(CompactLog),
    /// Forget everything, and be another store.
    Wipe(StorageId),
}

/// What came of a step of the log lane.
#[derive(Debug, Default)]
pub(crate) struct LaneStep {
    pub(crate) synced: Option<(StorageId, PersistId)>,
    /// The store is another one from now on.
    pub(crate) wiped: Option<StorageId>,
    /// The disk really has it: nothing was left in a cache.
    pub(crate) is_real: bool,
    pub(crate) read: Vec<(ReadTicket, LogReadOutcome)>,
    /// The disk is full, has room again, or failed.
    pub(crate) changed: Option<Input>,
}

impl<S: Machine> Server<S> {
    pub(crate) const fn new(member: Member, disk: MemoryDisk) -> Self {
        Self {
            member,
            disk,
            process: None,
            halted: None,
            death: None,
            changes: 0,
        }
    }
}

impl<S: Machine> Process<S> {
    pub(crate) const fn new(
        replica: Replica<Watched<S>>,
        wal: Wal<MemoryDisk>,
        snapshots: SnapshotLane<S>,
        boot: Boot,
    ) -> Self {
        Self {
            replica,
            boot,
            wal,
            inputs: 0,
            waiting: VecDeque::new(),
            written: None,
            reads: VecDeque::new(),
            snapshots,
            full: false,
            wiped: None,
            failed: false,
        }
    }

    /// Whether the lane has something to finish.
    pub(crate) fn lane_is_busy(&self) -> bool {
        let told = self.wiped.is_none() && self.reads.is_empty();
        !self.failed && (self.written.is_some() || !told || self.full)
    }

    /// Whether a sync is under way.
    pub(crate) const fn is_syncing(&self) -> bool {
        self.written.is_some()
    }

    /// Whether whatever is asked of the lane now is done.
    pub(crate) const fn lane_is_sound(&self) -> bool {
        !self.full && !self.failed
    }

    /// Whether the lane only waits for room.
    pub(crate) const fn is_full(&self) -> bool {
        self.full
    }

    /// Takes in what the lane is to do.
    pub(crate) fn lane_push(&mut self, job: LogJob) {
        self.waiting.push_back(job);
        self.lane_begin();
    }

    /// Writes what waits, unless a sync is under way. What goes wrong shows at the end of the step.
    fn lane_begin(&mut self) {
        if self.failed || self.full || self.written.is_some() {
            return;
        }
        while let Some(job) = self.waiting.front() {
            let result = match job {
                LogJob::Persist(persist) => self.wal.append(persist).map(|()| {
                    self.written = Some((persist.store, persist.id));
                }),
                // They sync by themselves, so what was written before has to have its turn.
                LogJob::Compact(_) | LogJob::Wipe(_) if self.written.is_some() => break,
                LogJob::Compact(compact) => compacted(self.wal.compact(compact)),
                LogJob::Wipe(store) => {
                    let store = *store;
                    self.wipe(store)
                }
            };
            if result.is_err() {
                // Found out again, and reported, by the step that follows.
                self.full = true;
                break;
            }
            self.waiting.pop_front();
        }
        if self.written.is_some() && self.wal.write().is_err() {
            self.full = true;
        }
    }

    /// The sync that is under way ends, reads are answered, and what waits is written.
    pub(crate) fn lane_step(&mut self, disk: &MemoryDisk) -> LaneStep {
        let mut step = LaneStep::default();
        if self.failed {
            return step;
        }
        let was_full = core::mem::take(&mut self.full);
        let mut result = match self.written {
            Some(id) => self.wal.sync().map(|()| {
                self.written = None;
                step.synced = Some(id);
                step.is_real = disk.is_durable(".wal");
            }),
            None => Ok(()),
        };
        if result.is_ok() && was_full {
            result = self.make_room();
        }
        match result {
            Ok(()) if was_full => step.changed = Some(Input::StorageAvailable),
            Ok(()) => {}
            Err(DiskError::Full { .. }) => {
                self.full = true;
                step.changed = Some(Input::StorageFull);
            }
            Err(DiskError::Failed { .. } | DiskError::NotFound { .. }) => {
                self.failed = true;
                step.changed = Some(Input::StorageFailed);
                return step;
            }
        }
        step.wiped = self.wiped.take();
        for read in self.reads.drain(..) {
            step.read.push((read.ticket, self.wal.read(&read)));
        }
        self.lane_begin();
        if self.written.is_none() && self.wal.rest().is_err() {
            self.failed = true;
            step.changed = Some(Input::StorageFailed);
        }
        step
    }

    /// A file that was written for a snapshot afterwards would come back, so nobody works on them any more.
    fn wipe(&mut self, store: StorageId) -> Result<(), DiskError> {
        self.snapshots.end();
        self.wal.wipe(store)?;
        self.wiped = Some(store);
        Ok(())
    }

    /// A full disk has room again only if the next segment fits, too.
    fn make_room(&mut self) -> Result<(), DiskError> {
        while let Some(job) = self.waiting.front() {
            match job {
                LogJob::Persist(persist) => {
                    self.wal.append(persist)?;
                    self.written = Some((persist.store, persist.id));
                }
                LogJob::Compact(_) | LogJob::Wipe(_) if self.written.is_some() => break,
                LogJob::Compact(compact) => compacted(self.wal.compact(compact))?,
                LogJob::Wipe(store) => {
                    let store = *store;
                    self.wipe(store)?;
                }
            }
            self.waiting.pop_front();
        }
        while self.wal.maintain()? {}
        Ok(())
    }
}

/// Without room for the record the log begins where it did, until it is asked again.
fn compacted(result: Result<(), DiskError>) -> Result<(), DiskError> {
    match result {
        Ok(()) | Err(DiskError::Full { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}
