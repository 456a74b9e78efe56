//! What is to be done after everything that was handed in, in the order in which it is done.
//!
//! Always holds: a node that was drained has nothing more to do until it is handed something, or time passes. So
//! where nothing waits for its time, whoever was handed only proposals, appends that go on where the log ends, what
//! was said to such appends, or that something was written or applied, need not look at all the rest: nearly every
//! drain is one of those.

use alloc::vec::Vec;

use crate::action::Action;
use crate::progress::ProgressState;

use super::{Node, Role};

/// Of so many moments one is checked.
const CHECKED_ONE_IN: u64 = 64;

/// What was handed in since the last drain.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Handed {
    /// Entries to append, which nobody else has yet.
    pub(super) proposed: bool,
    /// That writes are durable.
    pub(super) durable: bool,
    /// An append that goes on where the log ends, or that one has arrived: see `node/steady.rs`.
    pub(super) heard: bool,
    /// Anything else but that entries were applied.
    pub(super) other: bool,
    /// Nothing waited for its time, or for what others say, when this node was drained last.
    settled: bool,
}

impl Node {
    /// Puts everything that is now to be done behind `actions`, coalesced.
    ///
    /// Messages come before the write they go out beside: a leader's followers can be writing while
    /// it is (dissertation §10.2.1).
    pub fn drain(&mut self, actions: &mut Vec<Action>) {
        if self.options.check_invariants {
            let before = self.checkpoint();
            self.drain_some();
            self.check_against(before.as_ref());
        } else {
            self.drain_some();
        }
        self.hand_actions(actions);
    }

    #[inline(always)]
    fn drain_some(&mut self) {
        if self.handed.settled && !self.handed.other {
            self.drain_little();
        } else if !self.is_over() {
            self.drain_all();
        }
    }

    #[inline(never)]
    fn drain_all(&mut self) {
        let handed = core::mem::take(&mut self.handed);
        self.release_withheld();
        if handed.durable || handed.heard || handed.other || self.is_changing() {
            self.advance_commit();
            // A new configuration may need fewer copies than the one before (S32).
            while self.drive_change() {
                self.advance_commit();
            }
            self.drive_leaving();
        }
        self.resolve_decided();
        self.resolve_solo();
        self.begin_compact();
        self.note_vacancy();
        self.take_held();
        self.flush_forwards();
        self.flush_reads();
        self.replicate();
        self.drive_transfer();
        self.forget_departed();
        self.flush_acknowledgement();
        self.begin_persist();
        self.begin_apply();
        self.evict();
        self.observe();
        self.handed.settled = self.is_settled();
    }

    /// What there is to do after what changes nothing but how far the log and its copies go.
    #[inline(always)]
    fn drain_little(&mut self) {
        let Handed {
            proposed,
            durable,
            heard,
            ..
        } = self.handed;
        let copied = durable || heard;
        if copied {
            let committed = self.commit_index;
            self.advance_commit();
            if self.commit_index > committed && self.commit_brings_more() {
                self.drain_all();
                return;
            }
            // A follower hears with an append what is committed.
            self.resolve_decided();
        }
        // A peer may need a snapshot now. When that is so may depend on how long it was silent.
        if self.begin_compact() {
            self.drain_all();
            return;
        }
        self.handed = Handed {
            settled: true,
            ..Handed::default()
        };
        if proposed || copied {
            if matches!(self.role, Role::Leader(_)) {
                self.replicate();
            } else {
                self.flush_acknowledgement();
            }
            self.begin_persist();
        }
        self.begin_apply();
        self.evict();
        if self.options.check_invariants {
            self.check_nothing_is_left();
        }
    }

    /// Whether a leader has more to do when something is committed than to say so and to apply it.
    fn commit_brings_more(&self) -> bool {
        match &self.role {
            // What is committed may be a membership to go on from.
            Role::Leader(leader) => !leader.only_voters || leader.reads.len() > 0,
            Role::Follower(_) | Role::PreCandidate(_) | Role::Candidate(_) => false,
        }
    }

    /// A whole drain would find nothing that a short one did not. Looked at on a copy, so that what the short one
    /// leaves behind is what goes on; now and then only, for copies take long.
    fn check_nothing_is_left(&self) {
        if self.now.0.is_multiple_of(CHECKED_ONE_IN) {
            let mut whole = self.clone();
            whole.handed.other = true;
            whole.drain_all();
            assert!(
                whole.outbox == self.outbox && whole.handed.settled,
                "a short drain leaves nothing to be done"
            );
        }
    }

    /// Whether what is to be done next depends on nothing but what is handed in: neither on time, nor on
    /// something that is half done.
    fn is_settled(&self) -> bool {
        let goes_on = match &self.role {
            Role::Follower(_) => true,
            Role::PreCandidate(_) | Role::Candidate(_) => false,
            Role::Leader(leader) => {
                leader.change.is_none()
                    && leader.transfer.is_none()
                    && leader.leaving.is_none()
                    && leader.departures.is_empty()
                    && leader.held.is_empty()
                    && !leader.reads.needs_round()
                    && leader
                        .peers
                        .values()
                        .all(|peer| peer.state != ProgressState::Snapshot)
            }
        };
        goes_on
            && !self.is_over()
            && self.apart.solo.is_none()
            && self.persistence.is_plain()
            && !self.is_forward_waiting()
            && !self.is_read_waiting()
    }

    #[inline(always)]
    fn evict(&mut self) {
        let bytes_max = self.options.tail_bytes_max;
        self.log.evict(self.commit_index, bytes_max);
    }
}
