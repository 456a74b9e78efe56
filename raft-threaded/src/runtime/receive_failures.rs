//! Snapshots that could not be received: when the node is told.
//!
//! A node that is told at once takes the next offer, which comes with the next heartbeat, from the next source. If its
//! own disk is what is wrong, that fails like the one before.
//!
//! Always holds: of failures with no success in between, each is told later than the one before, up to a limit.

use raft_core::{EntryId, Span, Time};

/// How long the second failure in a row is held back; each further one twice as long.
const BACKOFF_MIN: Span = Span(100_000_000);
/// The longest: how late a node may go on whose disk has room again.
const BACKOFF_MAX: Span = Span(5_000_000_000);

/// Failures in a row.
#[derive(Debug, Default)]
pub(super) struct ReceiveFailures {
    /// How long the next one is held back. The first is not: another source may do better.
    backoff: Span,
    /// The last one, and when it is told.
    held: Option<(Time, EntryId)>,
}

impl ReceiveFailures {
    /// This one could not be received.
    pub(super) fn add(&mut self, now: Time, id: EntryId) {
        // Parts that were under way when the first one failed fail, too.
        if self.held.is_some_and(|(_, held)| held == id) {
            return;
        }
        self.held = Some((now + self.backoff, id));
        let doubled = (self.backoff.0 * 2).clamp(BACKOFF_MIN.0, BACKOFF_MAX.0);
        self.backoff = Span(doubled);
    }

    /// The store takes another attempt at this one: whatever was held back was of the attempt before.
    pub(super) fn begun(&mut self, id: EntryId) {
        self.held.take_if(|(_, held)| *held == id);
    }

    /// One was received.
    pub(super) fn end(&mut self) {
        *self = Self::default();
    }

    /// The one to tell now, if any; it counts as told.
    pub(super) fn take_due(&mut self, now: Time) -> Option<EntryId> {
        let due = self.held.take_if(|(at, _)| *at <= now);
        due.map(|(_, id)| id)
    }

    /// When there will be one to tell.
    pub(super) fn next_due(&self) -> Option<Time> {
        self.held.map(|(at, _)| at)
    }
}

#[cfg(test)]
mod tests {
    use raft_core::{Index, Term};

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn id(index: u64) -> EntryId {
        EntryId {
            term: Term(1),
            index: Index(index),
        }
    }

    /// How often a node is told within a time of which every attempt fails at once.
    fn told_within(failures: &mut ReceiveFailures, time: Span) -> u64 {
        let (mut now, mut told) = (Time(0), 0);
        while now <= Time(time.0) {
            failures.add(now, id(7));
            now = failures.next_due().unwrap();
            told += u64::from(failures.take_due(now).is_some());
        }
        told
    }

    /// A follower whose disk was full had a snapshot sent to it with every heartbeat, and wrote as many warnings.
    #[test]
    fn the_more_often_it_fails_the_later_it_is_told() {
        let mut failures = ReceiveFailures::default();
        failures.add(Time(0), id(7));
        assert_eq!(failures.take_due(Time(0)), Some(id(7)), "the first at once");
        failures.add(Time(0), id(7));
        assert_eq!(failures.take_due(Time(0)), None);
        assert_eq!(failures.next_due(), Some(Time(0) + BACKOFF_MIN));
        assert_eq!(failures.take_due(Time(SECOND)), Some(id(7)));
        failures.end();
        assert_eq!(told_within(&mut failures, Span(2 * SECOND)), 6);
        assert!(told_within(&mut failures, Span(60 * SECOND)) <= 14);
    }

    #[test]
    fn parts_of_one_attempt_fail_once() {
        let mut failures = ReceiveFailures::default();
        failures.add(Time(0), id(7));
        failures.add(Time(0), id(7));
        assert_eq!(failures.take_due(Time(0)), Some(id(7)));
        assert_eq!(failures.next_due(), None);
        failures.begun(id(7));
        assert_eq!(failures.next_due(), None, "that was the attempt before");
        failures.add(Time(0), id(7));
        failures.add(Time(0), id(9));
        assert_eq!(failures.take_due(Time(SECOND)), Some(id(9)), "a newer one");
    }
}
