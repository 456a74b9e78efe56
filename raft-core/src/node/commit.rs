//! What commits: §5.3 and §5.4.2.
//!
//! Read first: Figure 2, "Rules for Servers, Leaders", and Figure 8.
//!
//! Always holds: a leader counts its own entries only once they are durable (S4), and commits nothing of an older
//! term by counting (S44).

use crate::planted::{Bug, planted};
use crate::progress::Progress;
use crate::quorum;
use crate::types::{Index, Member};

use super::{Node, Role};

impl Node {
    /// A leader counts copies, its own only as far as it is durable, and commits nothing of an older
    /// term by counting (S44, Figure 8).
    #[inline(always)]
    pub(super) fn advance_commit(&mut self) {
        let Role::Leader(leader) = &self.role else {
            return;
        };
        if self.commit_index == self.log.last().index {
            return;
        }
        // Where others vote, too, what only this node has is not committed.
        let others = self.configuration().voters.len() > 1 && !planted(Bug::EvenQuorum);
        let have = |peer: &Progress| peer.match_index > self.commit_index;
        if others && !leader.peers.values().any(have) {
            return;
        }
        self.count_copies();
    }

    fn count_copies(&mut self) {
        let Role::Leader(leader) = &self.role else {
            return;
        };
        let durable = if planted(Bug::SelfUnflushed) {
            self.log.last().index
        } else {
            self.log.durable()
        };
        let reached = if leader.only_voters {
            // All of them count, whoever they are.
            quorum::reached(leader.peers.values_and(durable, |peer| peer.match_index))
        } else {
            let me = self.me();
            self.configuration().reached(|member| {
                if member == me {
                    durable
                } else {
                    leader
                        .peers
                        .get(member)
                        .map_or(Index(0), |peer| peer.match_index)
                }
            })
        };
        if let Some(index) = reached
            && index > self.commit_index
            && (self.log.term(index) == Some(self.hard_state.term) || planted(Bug::Figure8))
        {
            self.commit_to(index);
        }
    }

    /// Entries up to `index` are committed.
    pub(super) fn commit_to(&mut self, index: Index) {
        if planted(Bug::CommitRegress) && index < self.commit_index {
            self.commit_index = index.max(self.apply.handed());
        }
        if index <= self.commit_index {
            return;
        }
        assert!(
            index <= self.log.last().index,
            "committed entries are in the log"
        );
        if let Role::Leader(leader) = &mut self.role {
            let own = self.commit_index.next().max(leader.noop);
            leader.uncommitted_bytes -= self.log.quota_bytes(own, index);
        }
        self.commit_index = index;
    }

    /// A request of this peer waits for `index`: tell it as soon as that is committed.
    pub(super) fn tell_commit(&mut self, member: Member, index: Index) {
        if let Role::Leader(leader) = &mut self.role
            && let Some(peer) = leader.peers.get_mut(member)
        {
            peer.commit_wanted = peer.commit_wanted.max(index);
        }
    }
}
