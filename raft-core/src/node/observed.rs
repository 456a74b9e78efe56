//! What the driver was told of term, role and leader, so that it is told of every change, once.

use alloc::boxed::Box;

use crate::action::{Action, Observation};
use crate::types::{Member, Term};

use super::Node;

/// What was told last of term and leader.
#[derive(Clone, Debug)]
pub(super) struct Observed {
    /// The leader, unless it is the one that leads now, as it nearly always is.
    before: Option<Box<Option<Member>>>,
    term: Term,
}

impl Observed {
    /// Nobody was told of a leader yet.
    pub(super) const fn new(term: Term) -> Self {
        Self { before: None, term }
    }

    /// The leader, who is this one until now, may be another one in a moment.
    pub(super) fn note_leader(&mut self, leader: Option<Member>) {
        self.before.get_or_insert_with(|| Box::new(leader));
    }

    /// Which leader was told of, if this one leads now.
    pub(super) fn leader(&self, present: Option<Member>) -> Option<Member> {
        self.before.as_deref().map_or(present, |before| *before)
    }
}

impl Node {
    /// Tells what changed since that was told last.
    pub(super) fn observe(&mut self) {
        let (term, role, leader) = (self.hard_state.term, self.role_kind(), self.leader());
        if (term, role) != (self.observed.term, self.observed_role) {
            self.outbox
                .push(Action::Observed(Observation::Role { term, role }));
        }
        if leader != self.observed.leader(leader) {
            self.outbox
                .push(Action::Observed(Observation::Leader { term, leader }));
        }
        self.observed = Observed::new(term);
        self.observed_role = role;
    }
}
