//! Proposals whose place in the log is known, waiting for their outcome.
//!
//! Always holds: a proposal is resolved by what is committed at or after its place, never by a
//! truncation, because a third node may still revive the entry.

use alloc::collections::VecDeque;
use core::cmp::Ordering;

use crate::rare::Rare;
use crate::types::{EntryId, Index, RequestId, Term, Time};

/// How a place in the log was decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decided {
    /// By the proposal's own entry.
    Committed,
    /// By another one.
    Superseded,
    /// The place is in a snapshot, which does not say.
    Unknown,
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
    waiting: Rare<VecDeque<Waiting>>,
}

impl ProposalQueue {
    /// The request became the entry `id`.
    pub(crate) fn push(&mut self, id: EntryId, request: RequestId, deadline: Time) {
        let waiting = Waiting {
            id,
            request,
            deadline,
        };
        let queue = self.waiting.make();
        match queue.back() {
            // A late answer of an earlier leader.
            Some(last) if last.id > id => {
                let place = queue.partition_point(|other| other.id < id);
                queue.insert(place, waiting);
            }
            Some(_) | None => queue.push_back(waiting),
        }
    }

    /// Keeps nothing for proposals that are through.
    pub(crate) fn give_back(&mut self) {
        self.waiting.give_back();
    }

    /// The entry that the first one became.
    pub(crate) fn first(&self) -> Option<EntryId> {
        self.waiting.get()?.front().map(|front| front.id)
    }

    /// The next proposal of the term of the last committed entry that is committed, too. One leader made both
    /// entries, and it only appends (§5.3, Log Matching): no look at the log is needed, and nearly always none is.
    #[inline]
    pub(crate) fn committed(&mut self, committed: EntryId) -> Option<(RequestId, EntryId)> {
        let queue = self.waiting.made()?;
        let front = queue.front()?;
        let same = front.id.term == committed.term && front.id.index <= committed.index;
        let (request, id) = (front.request, front.id);
        same.then(|| queue.pop_front()).map(|_| (request, id))
    }

    /// The log is committed up to `committed`: the next proposal that this decides, and how.
    ///
    /// Taking all ids up to `committed` in the order of ids is enough. One with a lower term and a
    /// higher index can never be committed: terms do not fall along a log, so every entry after
    /// `committed` has at least its term. What is left has a later term or a higher index, and is
    /// decided when the commit index gets there.
    ///
    /// Of places below `base`, where the log begins, only the terms at and above it tell something.
    pub(crate) fn decided(
        &mut self,
        committed: EntryId,
        base: EntryId,
        term: impl Fn(Index) -> Option<Term>,
    ) -> Option<(RequestId, EntryId, Decided)> {
        let queue = self.waiting.made()?;
        let front = *queue.front()?;
        if front.id > committed {
            return None;
        }
        queue.pop_front();
        let decided = if front.id.index < base.index {
            decided_below(front.id, base)
        } else if front.id.index <= committed.index && term(front.id.index) == Some(front.id.term) {
            Decided::Committed
        } else {
            Decided::Superseded
        };
        Some((front.request, front.id, decided))
    }

    /// The next proposal whose time is up.
    pub(crate) fn expired(&mut self, now: Time) -> Option<RequestId> {
        let queue = self.waiting.made()?;
        let front = *queue.front()?;
        if front.deadline > now {
            return None;
        }
        queue.pop_front();
        Some(front.request)
    }

    /// When the first one's time is up. Deadlines follow the order of ids but for late answers,
    /// which are then found a little late.
    pub(crate) fn next_deadline(&self) -> Option<Time> {
        let front = self.waiting.get()?.front();
        front.map(|front| front.deadline)
    }

    /// Hands out every request that is left.
    pub(crate) fn pop(&mut self) -> Option<RequestId> {
        let front = self.waiting.made()?.pop_front();
        front.map(|front| front.request)
    }
}

/// What became of a proposal whose place lies below the committed entry `base`, and is gone.
fn decided_below(id: EntryId, base: EntryId) -> Decided {
    match id.term.cmp(&base.term) {
        // One leader made both entries, and it only appends: its log had this one when it made that one
        // (§5.3, Leader Append-Only and Log Matching).
        Ordering::Equal => Decided::Committed,
        // Terms do not fall along a log.
        Ordering::Greater => Decided::Superseded,
        Ordering::Less => Decided::Unknown,
    }
}

#[cfg(test)]
#[expect(clippy::cast_possible_truncation, reason = "small numbers")]
mod tests {
    use super::{Decided, ProposalQueue};
    use crate::types::{EntryId, Index, RequestId, Term, Time};
    use alloc::collections::BTreeSet;
    use alloc::vec::Vec;
    use quickcheck::quickcheck;

    quickcheck! {
        /// The final log decides every proposal at most once, and each as looking it up would, or not
        /// at all where the log was compacted.
        fn each_proposal_is_decided_as_the_committed_log_says(
            proposals: BTreeSet<(u8, u8)>,
            log: Vec<bool>,
            steps: Vec<(u8, u8)>
        ) -> bool {
            let mut term = 1;
            let terms: Vec<u64> = log.iter().map(|rises| { term += u64::from(*rises); term }).collect();
            let mut queue = ProposalQueue::default();
            for (place, (term, index)) in proposals.iter().enumerate() {
                let id = EntryId {
                    term: Term(u64::from(*term % 8) + 1),
                    index: Index(u64::from(*index % 32) + 1),
                };
                // A leader only appends: what it made later it made behind this.
                let after = terms.get(id.index.0 as usize - 1..).unwrap_or_default();
                if after.contains(&id.term.0) && after[0] != id.term.0 {
                    continue;
                }
                queue.push(id, RequestId(place as u64), Time(0));
            }
            let (mut commit, mut base) = (0, EntryId::ZERO);
            let mut decided = BTreeSet::new();
            for (step, compacted) in steps {
                commit = (commit + usize::from(step % 4)).min(terms.len());
                let Some(term) = commit.checked_sub(1).map(|last| Term(terms[last])) else {
                    continue;
                };
                let committed = EntryId { term, index: Index(commit as u64) };
                let at = |index: Index| terms.get(index.0 as usize - 1).map(|term| Term(*term));
                let index = Index(base.index.0.max(u64::from(compacted) % (commit as u64 + 1)));
                base = at(index.max(Index(1))).filter(|_| index > Index(0))
                    .map_or(base, |term| EntryId { term, index });
                let kept = |index| at(index).filter(|_| index >= base.index);
                loop {
                    let plain = queue.committed(committed);
                    let plain = plain.map(|(request, id)| (request, id, Decided::Committed));
                    let next = plain.or_else(|| queue.decided(committed, base, kept));
                    let Some((request, id, how)) = next else {
                        break;
                    };
                    let own = id.index <= committed.index && at(id.index) == Some(id.term);
                    let right = match how {
                        Decided::Committed => own,
                        Decided::Superseded => !own,
                        Decided::Unknown => id.index < base.index && id.term < base.term,
                    };
                    if !right || !decided.insert(request) {
                        return false;
                    }
                    // Superseded for good: the rest of the log cannot have it either.
                    if how == Decided::Superseded && at(id.index) == Some(id.term) {
                        return false;
                    }
                }
            }
            true
        }
    }
}
