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
use crate::rare::{Rare, Seldom};
use crate::snapshot::{SnapshotMark, SnapshotMeta};
use crate::types::{EntryId, Identity, Index, PersistId, StorageId, Time};

/// The log lane as the node sees it.
#[derive(Clone, Debug)]
pub(crate) struct Persistence {
    /// The last write handed out.
    handed: PersistId,
    /// The last write reported durable.
    done: PersistId,
    /// The first entry not handed out.
    next: Index,
    /// The write that makes the present hard state durable; not handed out yet if term, vote or promise changed
    /// since the last one was.
    hard_state_in: PersistId,
    under_way: Rare<UnderWay>,
}

/// Writes, what goes along with them besides entries, term, vote and promises, and what waits for them.
#[derive(Clone, Debug, Default)]
struct UnderWay {
    /// Writes handed out and not done.
    pending: VecDeque<Pending>,
    /// Who the store is from the next write on.
    identity: Option<Box<Identity>>,
    /// Messages that may leave once that write is done.
    withheld: VecDeque<(PersistId, Box<Envelope>)>,
    /// Goes along with the write handed out next.
    mark: Option<Box<SnapshotMark>>,
    /// Marks handed out, with their writes, oldest first.
    marks: VecDeque<(PersistId, EntryId)>,
}

impl Seldom for UnderWay {
    const NOTHING: &'static Self = &Self {
        pending: VecDeque::new(),
        identity: None,
        withheld: VecDeque::new(),
        mark: None,
        marks: VecDeque::new(),
    };

    fn is_nothing(&self) -> bool {
        self.pending.is_empty() && self.is_plain()
    }
}

impl UnderWay {
    fn is_plain(&self) -> bool {
        self.identity.is_none()
            && self.mark.is_none()
            && self.marks.is_empty()
            && self.withheld.is_empty()
    }
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
            next: last.next(),
            hard_state_in: PersistId(0),
            under_way: Rare::new(),
        }
    }

    /// Keeps nothing for writes that are done.
    pub(crate) fn give_back(&mut self) {
        self.under_way.give_back();
    }

    /// A new term began: what waited to be said in the old one helps nobody any more.
    pub(crate) fn forget_withheld(&mut self) {
        if let Some(besides) = self.under_way.made() {
            besides.withheld.clear();
        }
    }

    /// The hard state changed; it is durable with the write handed out next.
    pub(crate) fn hard_state_changed(&mut self) {
        self.hard_state_in = self.handed.next();
    }

    fn is_hard_state_changed(&self) -> bool {
        self.hard_state_in > self.handed
    }

    /// The store has a new identity, in one write with the hard state and with everything that was appended
    /// so far.
    pub(crate) fn identity_changed(&mut self, identity: Identity) {
        self.under_way.make().identity = Some(Box::new(identity));
        self.hard_state_changed();
    }

    /// Whether the next write must hold all there is.
    pub(crate) fn is_whole(&self) -> bool {
        self.under_way.identity.is_some()
    }

    /// Whether writes carry nothing but entries, term, vote and promises, and no message waits for them.
    pub(crate) fn is_plain(&self) -> bool {
        self.under_way.get().is_none_or(UnderWay::is_plain)
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
        let withheld = &mut self.under_way.make().withheld;
        withheld.retain(|(_, other)| other.to != envelope.to);
        withheld.push_back((self.hard_state_in, envelope));
        None
    }

    /// The next message that no longer has to wait.
    pub(crate) fn released(&mut self) -> Option<Box<Envelope>> {
        let withheld = &mut self.under_way.made()?.withheld;
        if withheld.front()?.0 > self.done {
            return None;
        }
        withheld.pop_front().map(|(_, envelope)| envelope)
    }

    /// The log was truncated: entries from `from` on are gone.
    pub(crate) fn truncated(&mut self, from: Index) {
        self.next = self.next.min(from);
        let under_way = self.under_way.made();
        for write in under_way.into_iter().flat_map(|some| &mut some.pending) {
            if planted(Bug::CompletionAba) {
                continue;
            }
            write.last = write.last.min(from.previous());
        }
    }

    /// A snapshot of this node's own state was taken.
    pub(crate) fn snapshot_taken(&mut self, snapshot: SnapshotMeta) {
        assert!(
            !matches!(
                self.under_way.mark.as_deref(),
                Some(SnapshotMark::Installed(_))
            ),
            "nothing is applied, hence nothing taken, before an installed snapshot is durable"
        );
        self.under_way.make().mark = Some(Box::new(SnapshotMark::Taken(snapshot)));
    }

    /// The log was discarded and begins anew with this snapshot. Of what is being written only entries up
    /// to `committed` are in the new log, too (S6).
    pub(crate) fn snapshot_installed(&mut self, snapshot: SnapshotMeta, committed: Index) {
        self.truncated(committed.next());
        self.next = snapshot.id.index.next();
        self.under_way.make().mark = Some(Box::new(SnapshotMark::Installed(snapshot)));
    }

    /// The next snapshot whose mark has become durable.
    pub(crate) fn marked(&mut self) -> Option<EntryId> {
        let marks = &mut self.under_way.made()?.marks;
        if marks.front()?.0 > self.done {
            return None;
        }
        marks.pop_front().map(|(_, snapshot)| snapshot)
    }

    /// If there is anything to write and room in the lane: the first entry to write, which may lie
    /// past the last one of the log.
    #[inline(always)]
    pub(crate) fn wants(&self, last: Index, inflight_max: u32) -> Option<Index> {
        let besides = self.under_way.get();
        let besides = besides.is_some_and(|b| b.mark.is_some() || b.identity.is_some());
        let something = self.is_hard_state_changed() || besides || self.next <= last;
        (something && self.under_way.pending.len() < inflight_max as usize).then_some(self.next)
    }

    /// Hands out a write up to the entry `to`.
    #[inline(always)]
    pub(crate) fn begin(&mut self, store: StorageId, to: Index, now: Time) -> Write {
        assert!(
            to.next() >= self.next,
            "entries are written once, and in order"
        );
        let changed = self.is_hard_state_changed();
        self.handed = self.handed.next();
        self.next = to.next();
        let under_way = self.under_way.make();
        under_way.pending.push_back(Pending {
            id: self.handed,
            store,
            last: to,
            since: now,
        });
        let apart = changed && planted(Bug::IdentityApart);
        let mark = under_way.mark.take();
        let identity = under_way.identity.take_if(|_| !apart);
        if let Some(mark) = &mark {
            under_way.marks.push_back((self.handed, mark.meta().id));
        }
        Write {
            id: self.handed,
            // With a mark it goes along anyway: what the snapshot contains is committed.
            with_hard_state: changed || mark.is_some(),
            mark,
            identity,
        }
    }

    /// Since when the oldest write is under way.
    pub(crate) fn waits_since(&self) -> Option<Time> {
        let oldest = self.under_way.get()?.pending.front();
        oldest.map(|write| write.since)
    }

    /// Whether a write that is not durable yet was handed out for this store.
    pub(crate) fn is_pending(&self, store: StorageId, id: PersistId) -> bool {
        let mut pending = self.under_way.pending.iter();
        pending.any(|write| write.id == id && write.store == store)
    }

    /// Every write up to `id` is durable: the end of the log that is. `None` if that is not news, or
    /// names a write that was never handed out.
    #[inline(always)]
    pub(crate) fn completed(&mut self, id: PersistId) -> Option<Index> {
        if id <= self.done || id > self.handed {
            return None;
        }
        self.done = id;
        let pending = &mut self.under_way.made()?.pending;
        let mut durable = None;
        while let Some(write) = pending.front() {
            if write.id > id {
                break;
            }
            durable = Some(write.last);
            pending.pop_front();
        }
        durable
    }
}
