//! Proposals whose place in the log is known, waiting for their outcome.
//!
//! Always holds: a proposal is resolved by what is committed at or after its place, never by a
//! truncation, because a third node may still revive the entry.

use alloc::collections::VecDeque;

use crate::types::{EntryId, Index, RequestId, Term, Time};

/// How a place in the log was decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decided {
    /// By the proposal's own entry.
    Committed,
    /// By another one.
    Superseded,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Waiting {
    id: EntryId,
    request: RequestId,
    deadline: Time,
}

/// Waiting proposals in the order of their entries' ids.
#[derive(Clone, Debug, Default)]
pub(crate) struct ProposalQueue {
    waiting: VecDeque<Waiting>,
}

impl ProposalQueue {
    /// The request became the entry `id`.
    pub(crate) fn push(&mut self, id: EntryId, request: RequestId, deadline: Time) {
        let waiting = Waiting {
            id,
            request,
            deadline,
        };
        // Almost always at the back; only a late answer of an earlier leader comes out of order.
        let place = match self.waiting.back() {
            Some(last) if last.id > id => self.waiting.partition_point(|other| other.id < id),
            _ => self.waiting.len(),
        };
        self.waiting.insert(place, waiting);
    }

    /// The log is committed up to `committed`: the next proposal that this decides, and how.
    ///
    /// Taking all ids up to `committed` in the order of ids is enough. One with a lower term and a
    /// higher index can never be committed: terms do not fall along a log, so every entry after
    /// `committed` has at least its term. What is left has a later term or a higher index, and is
    /// decided when the commit index gets there.
    pub(crate) fn decided(
        &mut self,
        committed: EntryId,
        term: impl Fn(Index) -> Option<Term>,
    ) -> Option<(RequestId, EntryId, Decided)> {
        let front = *self.waiting.front()?;
        if front.id > committed {
            return None;
        }
        self.waiting.pop_front();
        let own = front.id.index <= committed.index && term(front.id.index) == Some(front.id.term);
        let decided = if own {
            Decided::Committed
        } else {
            Decided::Superseded
        };
        Some((front.request, front.id, decided))
    }

    /// The next proposal whose time is up.
    pub(crate) fn expired(&mut self, now: Time) -> Option<RequestId> {
        let front = *self.waiting.front()?;
        if front.deadline > now {
            return None;
        }
        self.waiting.pop_front();
        Some(front.request)
    }

    /// When the first one's time is up. Deadlines follow the order of ids but for late answers,
    /// which are then found a little late.
    pub(crate) fn next_deadline(&self) -> Option<Time> {
        self.waiting.front().map(|front| front.deadline)
    }

    /// Hands out every request that is left.
    pub(crate) fn pop(&mut self) -> Option<RequestId> {
        self.waiting.pop_front().map(|front| front.request)
    }
}
