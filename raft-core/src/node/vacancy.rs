//! Between two leaders: requests wait a moment for the next one, in place of being refused.
//!
//! Always holds: nobody waits for a leader longer than an election timeout after the last one was lost; a
//! node that stays without one refuses at once, and its caller can ask another node.

use crate::types::{Member, Term, Time};

use super::{Node, Role};

/// The time without a leader that requests wait for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Vacancy {
    /// Until then they wait; later ones are refused.
    until: Time,
    /// The leader gave back proposals because it leads no longer: it is handed no more until it is heard.
    proposals_returned: bool,
    /// Likewise for reads.
    reads_returned: bool,
}

impl Vacancy {
    pub(super) const fn new() -> Self {
        Self {
            until: Time(0),
            proposals_returned: false,
            reads_returned: false,
        }
    }

    pub(super) fn is_nothing(self) -> bool {
        self == Self::new()
    }

    /// Nobody asks about one that is over.
    pub(super) fn forget_if_over(&mut self, now: Time) {
        if self.until <= now && !self.proposals_returned && !self.reads_returned {
            *self = Self::new();
        }
    }
}

impl Node {
    /// Whether requests had better wait: a leader was there a moment ago, and another one will be.
    pub(super) fn awaits_leader(&self) -> bool {
        self.now < self.requests.vacancy.until && self.configuration().contains(self.me())
    }

    pub(super) fn leader_for_proposals(&self) -> Option<Member> {
        let leader = self.leader_that_answers();
        leader.filter(|_| !self.requests.vacancy.proposals_returned)
    }

    pub(super) fn leader_for_reads(&self) -> Option<Member> {
        let leader = self.leader_that_answers();
        leader.filter(|_| !self.requests.vacancy.reads_returned)
    }

    /// The leader is lost since the last drain: from now on requests wait for the next one.
    pub(super) fn note_vacancy(&mut self) {
        let seen = self.observed.leader(self.leader());
        if seen.is_some() && self.leader().is_none() {
            self.begin_vacancy();
        }
    }

    /// A leader is heard, possibly one that gave back what it was handed.
    pub(super) fn end_vacancy(&mut self) {
        if let Some(requests) = self.requests.made() {
            requests.vacancy.proposals_returned = false;
            requests.vacancy.reads_returned = false;
        }
    }

    /// The leader of that term gave back a proposal.
    pub(super) fn leader_resigned(&mut self, leader: Member, term: Term) {
        if self.waits_after(leader, term) {
            self.requests.make().vacancy.proposals_returned = true;
        }
    }

    /// The leader of that term did not take a read: it leads no longer, or has too many.
    pub(super) fn leader_returned_read(&mut self, leader: Member, term: Term) {
        if self.waits_after(leader, term) {
            self.requests.make().vacancy.reads_returned = true;
        }
    }

    /// Requests wait again, if it is the present leader that gave something back.
    fn waits_after(&mut self, leader: Member, term: Term) -> bool {
        let leads = self.hard_state.term == term && self.leader() == Some(leader);
        if leads {
            self.begin_vacancy();
        }
        leads
    }

    fn begin_vacancy(&mut self) {
        let until = self.now + self.options.election_timeout;
        self.requests.make().vacancy.until = until;
    }

    /// When what waits for a leader is refused.
    pub(super) fn vacancy_deadline(&self) -> Option<Time> {
        let follows = !matches!(self.role, Role::Leader(_));
        let requests = self.requests.get()?;
        let waits = requests.forwards.is_waiting() || requests.reads.is_waiting();
        // What waits longer than that waits for a drain, not for a leader.
        let open = self.now < requests.vacancy.until;
        (follows && waits && open).then_some(requests.vacancy.until)
    }
}
