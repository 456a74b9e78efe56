//! How a leader tells how much time has passed: what lets sessions end without anybody's clock being
//! believed for more than its rate.
//!
//! While a replica leads and there are sessions, it measures on its own monotonic clock, and replicates what
//! it measured. Spans of one leader follow each other without overlap. Nor do those of two leaders overlap,
//! though two may believe to lead at a time: what the earlier one measured after the later one was elected
//! is not in the later one's log, so it is never committed once anything of the later one is (§5.4.3).
//! The clock that all replicas share is therefore never ahead of real time, but for the rates of clocks.
//!
//! Always holds: no time is told again before it is known that the first time did not count.

use crate::types::{EntryId, Span, Term, Time};

/// Measures time while this replica leads.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Elapsed {
    measuring: Option<Measuring>,
}

#[derive(Clone, Copy, Debug)]
struct Measuring {
    /// The leadership that this is measured in.
    term: Term,
    /// Time was told up to here.
    told: Time,
    /// When to tell next.
    due: Time,
    /// Told in this entry, up to this moment, and not applied yet.
    telling: Option<(EntryId, Time)>,
}

impl Elapsed {
    /// Begins to measure, or stops: `leads` is the term that this replica leads, if there are sessions.
    pub(super) fn observe(&mut self, leads: Option<Term>, now: Time, interval: Span) {
        let Some(term) = leads else {
            self.measuring = None;
            return;
        };
        if self
            .measuring
            .is_none_or(|measuring| measuring.term != term)
        {
            self.measuring = Some(Measuring {
                term,
                told: now,
                due: now + interval,
                telling: None,
            });
        }
    }

    pub(super) fn next_deadline(&self) -> Option<Time> {
        let measuring = self.measuring?;
        let waits = measuring.telling.is_none();
        waits.then_some(measuring.due)
    }

    /// The time to tell now, if it is due.
    pub(super) fn due(&self, now: Time) -> Option<Span> {
        let measuring = self.measuring?;
        let due = measuring.telling.is_none() && measuring.due <= now;
        due.then(|| now - measuring.told)
    }

    /// Time up to now is told in this entry; or there was no room, and it is told later.
    pub(super) fn told(&mut self, now: Time, entry: Option<EntryId>, interval: Span) {
        if let Some(measuring) = &mut self.measuring {
            measuring.telling = entry.map(|id| (id, now));
            measuring.due = now + interval;
        }
    }

    /// An entry that let time pass was applied.
    pub(super) fn applied(&mut self, entry: EntryId) {
        if let Some(measuring) = &mut self.measuring
            && let Some((id, until)) = measuring.telling
            && id == entry
        {
            measuring.told = until;
            measuring.telling = None;
        }
    }
}
