//! What is still to be done in a run.

use std::collections::BTreeSet;

use raft_core::{NodeId, Time};

/// What happens at a moment that the plan or an earlier moment decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Act {
    Begin(usize),
    End(usize),
    Ask(usize),
    RollBack(usize),
    Restart(NodeId),
    AskAt(NodeId, u64),
    Again(u64),
}

/// What is still to be done, and when the next of it is.
#[derive(Debug)]
pub(super) struct Agenda {
    acts: BTreeSet<(Time, Act)>,
    pub(super) next: Time,
}

impl Default for Agenda {
    fn default() -> Self {
        Self {
            acts: BTreeSet::new(),
            next: Time(u64::MAX),
        }
    }
}

impl Agenda {
    pub(super) fn insert(&mut self, at: Time, act: Act) {
        self.acts.insert((at, act));
        self.look();
    }

    pub(super) fn pop(&mut self) -> Option<(Time, Act)> {
        let first = self.acts.pop_first();
        self.look();
        first
    }

    pub(super) fn retain(&mut self, keep: impl FnMut(&(Time, Act)) -> bool) {
        self.acts.retain(keep);
        self.look();
    }

    pub(super) fn clear(&mut self) {
        self.retain(|_| false);
    }

    fn look(&mut self) {
        self.next = self.acts.first().map_or(Time(u64::MAX), |(at, _)| *at);
    }
}
