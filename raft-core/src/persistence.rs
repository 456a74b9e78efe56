//! What was handed to the disk, what came back, and what must wait for it: the core of P1.
//!
//! Read first: §5.1 "persistent state", and dissertation §10.2.1 on writing to disk in parallel.
//!
//! Always holds: completions are cumulative and never overtake one another (S5); a truncation clamps
//! every write still pending behind it, so that the completion of an overwritten entry does not make
//! its replacement durable (S6).

use alloc::boxed::Box;
use alloc::collections::VecDeque;

use crate::message::Envelope;
use crate::planted::{Bug, planted};
use crate::snapshot::{SnapshotMark, SnapshotMeta};
use crate::types::{EntryId, Identity, Index, PersistId, StorageId, Time};

/// The log lane as the node sees it.
#[derive(Clone, Debug)]
pub(crate) struct Persistence {
    /// The last write handed out.
    handed: PersistId,
    /// The last write reported durable.
    done: PersistId,
    /// Writes between the two.
    pending: VecDeque<Pending>,
    /// The first entry not handed out.
    next: Index,
    /// Who the store is from the next write on.
    identity: Option<Box<Identity>>,
    /// Term, vote or promise changed since the last write was handed out.
    hard_state_changed: bool,
    /// The write that makes the present hard state durable.
    hard_state_in: PersistId,
    /// Messages that may leave once that write is done.
    withheld: VecDeque<(PersistId, Box<Envelope>)>,
    /// Goes along with the write handed out next.
    mark: Option<Box<SnapshotMark>>,
    /// Marks handed out, with their writes, oldest first.
    marks: VecDeque<(PersistId, EntryId)>,
}

/// A write that was handed out, and what it carries besides entries.
#[derive(Clone, Debug)]
pub(crate) struct Write {
    pub(crate) id: PersistId,
    pub(crate) with_hard_state: bool,
    pub(crate) mark: Option<Box<SnapshotMark>>,
    pub(crate) identity: Option<Box<Identity>>,
}

/// A write handed out and not reported durable.
#[derive(Clone, Copy, Debug)]
struct Pending {
    id: PersistId,
    /// The store that it was handed out for: a node that goes on alone has another one from then on.
    store: StorageId,
    /// The end of the log it makes durable.
    last: Index,
    /// When it was handed out.
    since: Time,
}

impl Persistence {
    /// A lane in which everything up to `last` is durable.
    pub(crate) const fn new(last: Index) -> Self {
        Self {
            handed: PersistId(0),
            done: PersistId(0),
            pending: VecDeque::new(),
            next: last.next(),
            identity: None,
            hard_state_changed: false,
            hard_state_in: PersistId(0),
            withheld: VecDeque::new(),
            mark: None,
            marks: VecDeque::new(),
        }
    }

    /// A new term began: what waited to be said in the old one helps nobody any more.
    pub(crate) fn forget_withheld(&mut self) {
        self.withheld.clear();
    }

    /// The hard state changed; it is durable with the write handed out next.
    pub(crate) fn hard_state_changed(&mut self) {
        self.hard_state_changed = true;
        self.hard_state_in = self.handed.next();
    }

    /// The store has a new identity, in one write with the hard state and with everything that was appended
    /// so far.
    pub(crate) fn identity_changed(&mut self, identity: Identity) {
        self.identity = Some(Box::new(identity));
        self.hard_state_changed();
    }

    /// Whether the next write must hold all there is.
    pub(crate) const fn is_whole(&self) -> bool {
        self.identity.is_some()
    }

    /// Whether writes carry nothing but entries, term, vote and promises, and no message waits for them.
    pub(crate) fn is_plain(&self) -> bool {
        self.identity.is_none()
            && self.mark.is_none()
            && self.marks.is_empty()
            && self.withheld.is_empty()
    }

    /// Whether the present hard state is durable.
    pub(crate) fn hard_state_is_durable(&self) -> bool {
        self.done >= self.hard_state_in
    }

    /// Keeps a message until the present hard state is durable; gives it back if it already is.
    pub(crate) fn withhold(&mut self, envelope: Box<Envelope>) -> Option<Box<Envelope>> {
        if self.hard_state_is_durable() || planted(Bug::VoteBeforeSync) {
            return Some(envelope);
        }
        // Whoever asks again gets one answer.
        self.withheld.retain(|(_, other)| other.to != envelope.to);
        self.withheld.push_back((self.hard_state_in, envelope));
        None
    }

    /// The next message that no longer has to wait.
    pub(crate) fn released(&mut self) -> Option<Box<Envelope>> {
        if self.withheld.front()?.0 > self.done {
            return None;
        }
        self.withheld.pop_front().map(|(_, envelope)| envelope)
    }

    /// The log was truncated: entries from `from` on are gone.
    pub(crate) fn truncated(&mut self, from: Index) {
        self.next = self.next.min(from);
        for write in &mut self.pending {
            if planted(Bug::CompletionAba) {
                continue;
            }
            write.last = write.last.min(from.previous());
        }
    }

    /// A snapshot of this node's own state was taken.
    pub(crate) fn snapshot_taken(&mut self, snapshot: SnapshotMeta) {
        assert!(
            !matches!(self.mark.as_deref(), Some(SnapshotMark::Installed(_))),
            "nothing is applied, hence nothing taken, before an installed snapshot is durable"
        );
        self.mark = Some(Box::new(SnapshotMark::Taken(snapshot)));
    }

    /// The log was discarded and begins anew with this snapshot. Of what is being written only entries up
    /// to `committed` are in the new log, too (S6).
    pub(crate) fn snapshot_installed(&mut self, snapshot: SnapshotMeta, committed: Index) {
        self.truncated(committed.next());
        self.next = snapshot.id.index.next();
        self.mark = Some(Box::new(SnapshotMark::Installed(snapshot)));
    }

    /// The next snapshot whose mark has become durable.
    pub(crate) fn marked(&mut self) -> Option<EntryId> {
        if self.marks.front()?.0 > self.done {
            return None;
        }
        self.marks.pop_front().map(|(_, snapshot)| snapshot)
    }

    /// If there is anything to write and room in the lane: the first entry to write, which may lie
    /// past the last one of the log.
    pub(crate) fn wants(&self, last: Index, inflight_max: u32) -> Option<Index> {
        let besides = self.mark.is_some() || self.identity.is_some();
        let something = self.hard_state_changed || besides || self.next <= last;
        (something && self.pending.len() < inflight_max as usize).then_some(self.next)
    }

    /// Hands out a write up to the entry `to`.
    pub(crate) fn begin(&mut self, store: StorageId, to: Index, now: Time) -> Write {
        assert!(
            to.next() >= self.next,
            "entries are written once, and in order"
        );
        self.handed = self.handed.next();
        self.next = to.next();
        self.pending.push_back(Pending {
            id: self.handed,
            store,
            last: to,
            since: now,
        });
        let apart = self.hard_state_changed && planted(Bug::IdentityApart);
        let changed = core::mem::replace(&mut self.hard_state_changed, false);
        // With a mark it goes along anyway: what the snapshot contains is committed.
        let mark = self.mark.take();
        if let Some(mark) = &mark {
            self.marks.push_back((self.handed, mark.meta().id));
        }
        Write {
            id: self.handed,
            with_hard_state: changed || mark.is_some(),
            mark,
            identity: self.identity.take_if(|_| !apart),
        }
    }

    /// Since when the oldest write is under way.
    pub(crate) fn waits_since(&self) -> Option<Time> {
        self.pending.front().map(|write| write.since)
    }

    /// Whether a write that is not durable yet was handed out for this store.
    pub(crate) fn is_pending(&self, store: StorageId, id: PersistId) -> bool {
        let mut pending = self.pending.iter();
        pending.any(|write| write.id == id && write.store == store)
    }

    /// Every write up to `id` is durable: the end of the log that is. `None` if that is not news, or
    /// names a write that was never handed out.
    pub(crate) fn completed(&mut self, id: PersistId) -> Option<Index> {
        if id <= self.done || id > self.handed {
            return None;
        }
        self.done = id;
        let mut durable = None;
        while let Some(write) = self.pending.front() {
            if write.id > id {
                break;
            }
            durable = Some(write.last);
            self.pending.pop_front();
        }
        durable
    }
}
