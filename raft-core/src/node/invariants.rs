//! What never happens from one event to the next, checked where `Options::check_invariants` says so.

use crate::types::{HardState, Index};

use super::{Node, Role};

/// What the next state is compared with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Checkpoint {
    hard_state: HardState,
    commit_index: Index,
    base: Index,
    led_to: Option<Index>,
}

impl Node {
    /// The present state, if anything is to be compared with it.
    #[inline(always)]
    pub(super) fn checkpoint(&self) -> Option<Checkpoint> {
        self.options
            .check_invariants
            .then(|| self.present_checkpoint())
    }

    #[inline(never)]
    fn present_checkpoint(&self) -> Checkpoint {
        let led_to = match &self.role {
            Role::Leader(_) => Some(self.log.last().index),
            Role::Follower(_) | Role::PreCandidate(_) | Role::Candidate(_) => None,
        };
        Checkpoint {
            hard_state: self.hard_state,
            commit_index: self.commit_index,
            base: self.log.base().index,
            led_to,
        }
    }

    #[inline(always)]
    pub(super) fn check_against(&self, before: Option<&Checkpoint>) {
        if let Some(before) = before {
            self.check_invariants(before);
        }
    }

    /// # Panics
    ///
    /// If a rule of Figure 2 was broken by this node itself.
    #[inline(never)]
    fn check_invariants(&self, before: &Checkpoint) {
        if self.apart.halted.is_some() {
            return;
        }
        let (old, new) = (before.hard_state, self.hard_state);
        assert!(new.term >= old.term, "the current term never falls");
        assert!(
            new.term > old.term || old.voted_for.is_none() || new.voted_for == old.voted_for,
            "a vote once cast stays for its term"
        );
        assert!(
            new.promised >= old.promised,
            "the longest promise is never forgotten"
        );
        assert!(
            self.commit_index >= before.commit_index,
            "the commit index never falls"
        );
        assert!(
            self.commit_index <= self.log.last().index,
            "committed entries are in the log"
        );
        assert!(
            self.log.last().term <= new.term,
            "no entry has a term above the current one"
        );
        assert!(
            self.apply.handed() <= self.commit_index.min(self.log.durable()),
            "what is applied is committed and durable here"
        );
        self.check_snapshots(before);
        if let (Role::Leader(leader), Some(last)) = (&self.role, before.led_to) {
            assert!(
                new.term > old.term || self.log.last().index >= last,
                "a leader only appends to its log"
            );
            assert!(
                leader
                    .peers
                    .values()
                    .all(|peer| peer.match_index <= self.log.last().index),
                "nobody has more of the leader's log than the leader"
            );
            assert!(
                !leader.only_voters || self.has_only_voters(leader),
                "a leader knows whether anybody but voters takes part"
            );
        }
    }

    fn check_snapshots(&self, before: &Checkpoint) {
        let base = self.log.base().index;
        assert!(base >= before.base, "what was compacted stays so");
        let snapshot = self.snapshots.latest().map_or(Index(0), |id| id.index);
        assert!(
            base <= snapshot && snapshot <= self.commit_index,
            "a snapshot of committed entries covers what is not in the log"
        );
        let durable = self.snapshots.durable().map_or(Index(0), |id| id.index);
        assert!(
            durable <= snapshot && (self.log.durable() < base || durable >= base),
            "what the disk does not have in its log it has in a snapshot"
        );
        assert!(
            self.apply.restoring().is_some() || self.apply.applied() >= base,
            "what the state machine has yet to apply is in the log"
        );
    }
}
