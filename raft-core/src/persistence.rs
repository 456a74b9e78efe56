//! What was handed to the disk, what came back, and what must wait for it: the core of P1.
//!
//! Read first: §5.1 "persistent state", and dissertation §10.2.1 on writing to disk in parallel.
//!
//! Always holds: completions are cumulative and never overtake one another (S5); a truncation clamps
//! every write still pending behind it, so that the completion of an overwritten entry does not make
//! its replacement durable (S6).

use alloc::collections::VecDeque;

use crate::message::Envelope;
use crate::planted::{Bug, planted};
use crate::types::{Index, PersistId, Time};

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
    /// Term, vote or promise changed since the last write was handed out.
    hard_state_changed: bool,
    /// The write that makes the present hard state durable.
    hard_state_in: PersistId,
    /// Messages that may leave once that write is done.
    withheld: VecDeque<(PersistId, Envelope)>,
}

/// A write handed out and not reported durable.
#[derive(Clone, Copy, Debug)]
struct Pending {
    id: PersistId,
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
            hard_state_changed: false,
            hard_state_in: PersistId(0),
            withheld: VecDeque::new(),
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

    /// Whether the present hard state is durable.
    pub(crate) fn hard_state_is_durable(&self) -> bool {
        self.done >= self.hard_state_in
    }

    /// Keeps a message until the present hard state is durable; gives it back if it already is.
    pub(crate) fn withhold(&mut self, envelope: Envelope) -> Option<Envelope> {
        if self.hard_state_is_durable() || planted(Bug::VoteBeforeSync) {
            return Some(envelope);
        }
        // Whoever asks again gets one answer.
        self.withheld.retain(|(_, other)| other.to != envelope.to);
        self.withheld.push_back((self.hard_state_in, envelope));
        None
    }

    /// The next message that no longer has to wait.
    pub(crate) fn released(&mut self) -> Option<Envelope> {
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

    /// If there is anything to write and room in the lane: the first entry to write, which may lie
    /// past the last one of the log.
    pub(crate) fn wants(&self, last: Index, inflight_max: u32) -> Option<Index> {
        let something = self.hard_state_changed || self.next <= last;
        (something && self.pending.len() < inflight_max as usize).then_some(self.next)
    }

    /// Hands out a write up to the entry `to`: its id, and whether it carries the hard state.
    pub(crate) fn begin(&mut self, to: Index, now: Time) -> (PersistId, bool) {
        assert!(
            to.next() >= self.next,
            "entries are written once, and in order"
        );
        self.handed = self.handed.next();
        self.next = to.next();
        self.pending.push_back(Pending {
            id: self.handed,
            last: to,
            since: now,
        });
        let with_hard_state = core::mem::replace(&mut self.hard_state_changed, false);
        (self.handed, with_hard_state)
    }

    /// Since when the oldest write is under way.
    pub(crate) fn waits_since(&self) -> Option<Time> {
        self.pending.front().map(|write| write.since)
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
