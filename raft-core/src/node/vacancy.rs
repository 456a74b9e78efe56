//! Between two leaders: requests wait a moment for the next one, in place of being refused.
//!
//! Always holds: nobody waits for a leader longer than an election timeout after the last one was lost; a
//! node that stays without one refuses at once, and its caller can ask another node.

use crate::types::{Member, Term, Time};

use super::{Node, Role};

/// The time without a leader that requests wait for.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Vacancy {
    /// Until then they wait; later ones are refused.
    until: Time,
    /// The leader gave back proposals because it leads no longer: it is handed no more until it is heard.
    proposals_returned: bool,
    /// Likewise for reads.
    reads_returned: bool,
}

impl Node {
    /// Whether requests had better wait: a leader was there a moment ago, and another one will be.
    pub(super) fn awaits_leader(&self) -> bool {
        self.now < self.vacancy.until && self.configuration().contains(self.me())
    }

    pub(super) fn leader_for_proposals(&self) -> Option<Member> {
        let leader = self.leader_that_answers();
        leader.filter(|_| !self.vacancy.proposals_returned)
    }

    pub(super) fn leader_for_reads(&self) -> Option<Member> {
        let leader = self.leader_that_answers();
        leader.filter(|_| !self.vacancy.reads_returned)
    }

    /// The leader is lost since the last drain: from now on requests wait for the next one.
    pub(super) fn note_vacancy(&mut self) {
        let (_, _, seen) = self.observed;
        if seen.is_some() && self.leader().is_none() {
            self.begin_vacancy();
        }
    }

    /// A leader is heard, possibly one that gave back what it was handed.
    pub(super) const fn end_vacancy(&mut self) {
        self.vacancy.proposals_returned = false;
        self.vacancy.reads_returned = false;
    }

    /// The leader of that term gave back a proposal.
    pub(super) fn leader_resigned(&mut self, leader: Member, term: Term) {
        self.vacancy.proposals_returned |= self.waits_after(leader, term);
    }

    /// The leader of that term did not take a read: it leads no longer, or has too many.
    pub(super) fn leader_returned_read(&mut self, leader: Member, term: Term) {
        self.vacancy.reads_returned |= self.waits_after(leader, term);
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
        self.vacancy.until = self.now + self.options.election_timeout;
    }

    /// When what waits for a leader is refused.
    pub(super) fn vacancy_deadline(&self) -> Option<Time> {
        let follows = !matches!(self.role, Role::Leader(_));
        let waits = self.forwards.is_waiting() || self.read_forwards.is_waiting();
        // What waits longer than that waits for a drain, not for a leader.
        let open = self.now < self.vacancy.until;
        (follows && waits && open).then_some(self.vacancy.until)
    }
}
