//! When a snapshot is taken, which one is being restored, and which ones have to stay (§7).
//!
//! The replica freezes the state machine and counts; encoding, writing and reading are the driver's, beside
//! everything else.
//!
//! Always holds: one snapshot is taken at a time, and none before the mark of the one before is durable; the
//! state machine is replaced only by an image that was read and verified as a whole.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use crate::event::{Event, Input};
use crate::planted::{Bug, planted};
use crate::snapshot::SnapshotMeta;
use crate::types::{EntryId, Index, RequestId, Time};

use super::replica_image::ReplicaImage;
use super::{Output, Replica, StateMachine};

/// Why a caller who asked for a snapshot does not get one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotRefusal {
    /// Nothing was applied yet, so there is nothing to take one of.
    #[error("nothing is applied yet, so there is nothing to take a snapshot of")]
    Nothing,
    /// It could not be written.
    #[error("the snapshot could not be written; see the server's log for what the disk said")]
    Failed,
    /// Too many wait for one already.
    #[error("too many requests wait for a snapshot")]
    Busy,
    /// The node has halted.
    #[error("the node has halted")]
    Halted,
}

/// What a replica knows of its own snapshots.
#[derive(Clone, Debug, Default)]
pub(super) struct Snapshots {
    /// Bytes of entries applied since the latest one was frozen, or restored.
    bytes: u64,
    /// One that is being written.
    taking: Option<Taking>,
    /// The node wants one.
    wanted: bool,
    /// After one failed, none is taken on the node's own account before this.
    retry: Option<Time>,
    /// Who waits for one that contains at least this much.
    callers: VecDeque<(Index, RequestId)>,
    refused: Vec<(RequestId, SnapshotRefusal)>,
    /// One that the state machine is about to become.
    pub(super) restoring: Option<EntryId>,
    /// On the disk, and relied on as soon as their marks are durable.
    unmarked: Vec<EntryId>,
    /// What the driver was told to keep, and what was written since.
    retained: Vec<EntryId>,
}

#[derive(Clone, Copy, Debug)]
struct Taking {
    id: EntryId,
    /// What `Snapshots::bytes` was when it was frozen.
    bytes: u64,
}

impl Snapshots {
    pub(super) fn new(restored: Option<EntryId>) -> Self {
        Self {
            retained: restored.into_iter().collect(),
            ..Self::default()
        }
    }

    /// So many bytes of entries were applied.
    pub(super) const fn applied(&mut self, bytes: u64) {
        self.bytes = self.bytes.saturating_add(bytes);
    }

    pub(super) const fn wanted(&mut self) {
        self.wanted = true;
    }

    /// When one is tried again.
    pub(super) const fn next_deadline(&self) -> Option<Time> {
        self.retry
    }

    fn is_due(&mut self, now: Time, log_bytes: u64) -> bool {
        // Also while something else is under way: a deadline that is over and stays would never let its driver
        // rest.
        self.retry = self.retry.filter(|retry| now < *retry);
        if self.taking.is_some() || self.restoring.is_some() || !self.unmarked.is_empty() {
            return false;
        }
        let own = self.wanted || self.bytes >= log_bytes;
        !self.callers.is_empty() || (own && self.retry.is_none())
    }

    /// A file of this snapshot is on the disk, or is about to be.
    pub(super) fn storing(&mut self, id: EntryId) {
        if !self.retained.contains(&id) {
            self.retained.push(id);
        }
    }

    /// The disk relies on everything up to this one.
    fn marked(&mut self, durable: EntryId) {
        self.unmarked.retain(|id| id.index > durable.index);
    }

    fn failed(&mut self, at: Time) {
        self.taking = None;
        self.retry = Some(at);
        let failed = self.callers.drain(..);
        let failed = failed.map(|(_, request)| (request, SnapshotRefusal::Failed));
        self.refused.extend(failed);
    }

    pub(super) fn halted(&mut self) {
        self.taking = None;
        self.restoring = None;
        self.retry = None;
        self.wanted = false;
        let halted = self.callers.drain(..);
        let halted = halted.map(|(_, request)| (request, SnapshotRefusal::Halted));
        self.refused.extend(halted);
    }
}

impl<S: StateMachine> Replica<S> {
    /// Takes a snapshot of everything that is applied now, unless there is one; which one it was comes out of
    /// a later [`Replica::drain`], once the disk relies on it.
    pub fn snapshot(&mut self, at: Time, request: RequestId) {
        self.now = self.now.max(at);
        let snapshots = &mut self.snapshots;
        let refusal = if self.node.status().halted.is_some() {
            Some(SnapshotRefusal::Halted)
        } else if snapshots.callers.len() >= self.options.requests_max as usize {
            Some(SnapshotRefusal::Busy)
        } else if self.applied == Index(0) && self.node.latest_snapshot().is_none() {
            Some(SnapshotRefusal::Nothing)
        } else {
            None
        };
        match refusal {
            Some(refusal) => snapshots.refused.push((request, refusal)),
            None => snapshots.callers.push_back((self.applied, request)),
        }
    }

    /// A snapshot could not be taken; it is tried again later.
    pub fn snapshot_failed(&mut self, at: Time, id: EntryId) {
        self.now = self.now.max(at);
        if self.snapshots.taking.is_some_and(|taking| taking.id == id) {
            self.snapshots
                .failed(self.now + self.options.request_timeout);
        }
    }

    /// A snapshot was taken: written, verified and synced.
    pub(super) fn snapshot_taken(&mut self, snapshot: SnapshotMeta) {
        let id = snapshot.id;
        if let Some(taking) = self.snapshots.taking.take_if(|taking| taking.id == id) {
            self.snapshots.bytes -= taking.bytes.min(self.snapshots.bytes);
            self.snapshots.wanted = false;
        }
        self.tell(Input::SnapshotTaken { snapshot });
        self.stored(id);
    }

    /// A snapshot is on the disk; the node relies on it soon, or has no use for it.
    pub(super) fn stored(&mut self, id: EntryId) {
        let snapshots = &mut self.snapshots;
        if self.node.latest_snapshot() == Some(id) && !snapshots.unmarked.contains(&id) {
            snapshots.unmarked.push(id);
        }
        snapshots.storing(id);
    }

    /// The state machine is to become what a snapshot says.
    pub(super) fn begin_restore(&mut self, snapshot: SnapshotMeta, outputs: &mut Vec<Output<S>>) {
        let id = snapshot.id;
        if id.index <= self.durable.holds() {
            // Its own store has that already, and more.
            self.restored_to(id);
            self.answer_applied(None, outputs);
            return;
        }
        self.snapshots.restoring = Some(id);
        outputs.push(Output::RestoreSnapshot { snapshot });
    }

    /// The snapshot of [`Output::RestoreSnapshot`] was read as a whole, and verified: the state machine becomes
    /// what it says.
    pub fn restored(&mut self, at: Time, id: EntryId, image: ReplicaImage<S::Image>) {
        self.now = self.now.max(at);
        if self.snapshots.restoring != Some(id) {
            return;
        }
        assert!(
            id.index > self.applied,
            "a snapshot never takes the state machine back"
        );
        self.snapshots.restoring = None;
        self.snapshots.bytes = 0;
        if !planted(Bug::MergeRestore) {
            self.machine.restore(image.machine);
        }
        self.sessions = image.sessions;
        self.restored_to(id);
        self.settle(id);
    }

    /// The snapshot of [`Output::RestoreSnapshot`] cannot be read, or is damaged: the node halts, because the
    /// log before it is gone.
    pub fn restore_failed(&mut self, at: Time, id: EntryId) {
        self.now = self.now.max(at);
        if self.snapshots.restoring == Some(id) {
            self.tell(Input::SnapshotDamaged { id });
        }
    }

    fn restored_to(&mut self, id: EntryId) {
        self.applied = id.index;
        self.tell(Input::SnapshotRestored { id });
    }

    pub(super) fn tell(&mut self, input: Input) {
        let at = self.now;
        self.node.handle(Event { at, input });
    }

    /// Freezes the state machine if it is time to.
    pub(super) fn begin_snapshot(&mut self, outputs: &mut Vec<Output<S>>) {
        let log_bytes = self.options.snapshot_log_bytes;
        // A store of the state machine's own may be ahead of the entries that were handed out in this life.
        let whole = self.applied >= self.durable.holds();
        if !self.snapshots.is_due(self.now, log_bytes) || !whole {
            return;
        }
        let mut end = self.applied;
        if planted(Bug::TornMetadata) {
            end = self.node.commit_index();
        }
        let Some(snapshot) = self.node.snapshot_meta(end) else {
            // There is nothing new.
            self.snapshots.wanted = false;
            return;
        };
        self.snapshots.taking = Some(Taking {
            id: snapshot.id,
            bytes: self.snapshots.bytes,
        });
        self.snapshots.storing(snapshot.id);
        let image = ReplicaImage {
            sessions: self.sessions.clone(),
            machine: self.machine.image(),
        };
        outputs.push(Output::TakeSnapshot { snapshot, image });
    }

    /// Tells callers what became of their snapshots, and the driver which ones have to stay.
    pub(super) fn settle_snapshots(&mut self, outputs: &mut Vec<Output<S>>) {
        let snapshots = &mut self.snapshots;
        for (request, refusal) in snapshots.refused.drain(..) {
            let result = Err(refusal);
            outputs.push(Output::Snapshot { request, result });
        }
        let Some(durable) = self.node.durable_snapshot() else {
            return;
        };
        snapshots.marked(durable);
        // Later callers never want less.
        while let Some((least, request)) = snapshots.callers.front().copied()
            && least <= durable.index
        {
            snapshots.callers.pop_front();
            let result = Ok(durable);
            outputs.push(Output::Snapshot { request, result });
        }
        self.retain(durable, outputs);
    }

    fn retain(&mut self, durable: EntryId, outputs: &mut Vec<Output<S>>) {
        let snapshots = &self.snapshots;
        // The latest one stays anyway, and mostly there is no other.
        if snapshots.retained.iter().all(|id| *id == durable) {
            return;
        }
        let taking = snapshots.taking.map(|taking| taking.id);
        let mut keep: Vec<EntryId> = self.transfer.in_use(self.now).collect();
        keep.extend(&snapshots.unmarked);
        keep.extend(
            [Some(durable), snapshots.restoring, taking]
                .into_iter()
                .flatten(),
        );
        keep.sort_unstable();
        keep.dedup();
        let retained = &mut self.snapshots.retained;
        if retained.iter().any(|id| !keep.contains(id)) {
            retained.clone_from(&keep);
            outputs.push(Output::RetainSnapshots { keep });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Snapshots;
    use crate::types::{EntryId, Time};

    /// A snapshot could not be written, and was to be tried again later. By then one of a peer's was being
    /// restored: the deadline was over and stayed, and a driver that keeps deadlines burnt a processor until the
    /// state machine was done. Found by I21 in simulation.
    #[test]
    fn a_deadline_is_met_once_whatever_else_is_under_way() {
        let mut snapshots = Snapshots::new(None);
        snapshots.failed(Time(10));
        assert_eq!(snapshots.next_deadline(), Some(Time(10)));
        snapshots.restoring = Some(EntryId::ZERO);
        assert!(!snapshots.is_due(Time(10), 0));
        assert_eq!(snapshots.next_deadline(), None);
        snapshots.restoring = None;
        assert!(snapshots.is_due(Time(11), 0));
    }
}
