//! How old the applied state is, for reads that may be a little stale.
//!
//! A leader was up to date when it began the last round that a majority answered: nobody else led then.
//! A follower takes its leader's word: it was up to date when it received the latest heartbeat whose read
//! index it has applied. That does not count how long the heartbeat was on its way, nor that its sender may
//! have been replaced, which it notices itself within about an election timeout.
//!
//! Always holds: everything that was committed before the round began by which a state's age is told is in
//! that state, if its leader led.

use crate::progress::Progress;
use crate::types::{Index, Round, Span, Time};

use super::{Node, Role};

impl Node {
    /// How long ago the leader was heard to be no further than the applied state, in the driver's unit; `None` as long
    /// as that is not known.
    ///
    /// For a leader, how long ago a majority was asked that confirmed it. For another node, how long ago the
    /// leader said how far a state must be that the applied one has got to; messages that take long make the
    /// state older than this.
    #[must_use]
    pub fn staleness(&self, at: Time) -> Option<Span> {
        self.freshness.age(self.now.max(at))
    }

    /// The leader says how far its state must be to be up to date; late heartbeats say nothing new.
    pub(super) fn note_read_index(&mut self, round: Round, index: Index) {
        let now = self.now;
        if let Role::Follower(follower) = &mut self.role
            && follower.round < round
        {
            follower.round = round;
            self.freshness.note(index, now, self.apply.applied());
        }
    }

    /// A leader may know of a later round that a majority answered.
    pub(super) fn note_confirmed(&mut self) {
        let Role::Leader(leader) = &self.role else {
            return;
        };
        if self.commit_index < leader.noop {
            return;
        }
        let confirmed = self.of_majority(Some(self.now), |peer| peer.confirmed);
        if let Some(Some(confirmed)) = confirmed {
            let applied = self.apply.applied();
            self.freshness.note(self.commit_index, confirmed, applied);
        }
    }

    /// What a majority of every set of voters has reached, as their leader knows; `own` is its own share.
    pub(super) fn of_majority<T: Copy + Ord + Default>(
        &self,
        own: T,
        of: impl Fn(&Progress) -> T,
    ) -> Option<T> {
        let me = self.me();
        let Role::Leader(leader) = &self.role else {
            return None;
        };
        self.configuration().reached(|member| {
            if member == me {
                own
            } else {
                leader.peers.get(member).map_or(T::default(), &of)
            }
        })
    }
}
