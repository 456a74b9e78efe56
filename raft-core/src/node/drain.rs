//! What is to be done after everything that was handed in, in the order in which it is done.
//!
//! Always holds: a node that was drained has nothing more to do until it is handed something, or time passes. So
//! where nothing waits for its time, whoever was handed only a proposal, or only that something was written or
//! applied, need not look at all the rest: nearly every drain is one of those.

use alloc::vec::Vec;

use crate::action::Action;
use crate::event::Input;
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
    /// Anything else but that entries were applied.
    pub(super) other: bool,
    /// Nothing waited for its time, or for what others say, when this node was drained last.
    settled: bool,
}

impl Handed {
    pub(super) const fn note(&mut self, input: &Input) {
        match input {
            Input::Propose { .. } => self.proposed = true,
            Input::Persisted { .. } => self.durable = true,
            Input::Applied { .. } => {}
            Input::Tick
            | Input::Receive(_)
            | Input::Read { .. }
            | Input::ChangeMembership { .. }
            | Input::TransferLeadership { .. }
            | Input::StepDown { .. }
            | Input::Campaign
            | Input::LogRead { .. }
            | Input::SnapshotTaken { .. }
            | Input::SnapshotReceived { .. }
            | Input::SnapshotFailed { .. }
            | Input::SnapshotRestored { .. }
            | Input::SnapshotDamaged { .. }
            | Input::Solo { .. }
            | Input::Reset { .. }
            | Input::Wiped { .. }
            | Input::PeerUnreachable { .. }
            | Input::StorageFailed
            | Input::StorageFull
            | Input::StorageAvailable => self.other = true,
        }
    }
}

impl Node {
    /// Puts everything that is now to be done behind `actions`, coalesced.
    ///
    /// Messages come before the write they go out beside: a leader's followers can be writing while
    /// it is (dissertation §10.2.1).
    pub fn drain(&mut self, actions: &mut Vec<Action>) {
        if !self.is_over() {
            let before = self.checkpoint();
            // Only a leader appends what is proposed to it; others have to hand it on.
            let forwards = self.is_forward_waiting();
            if self.handed.settled && !self.handed.other && !forwards {
                self.drain_little();
            } else {
                self.drain_all();
            }
            self.check_against(before.as_ref());
        }
        self.hand_actions(actions);
    }

    fn drain_all(&mut self) {
        let handed = core::mem::take(&mut self.handed);
        self.release_withheld();
        if handed.durable || handed.other || self.is_changing() {
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

    /// What there is to do after proposals, writes and applied entries alone.
    fn drain_little(&mut self) {
        if self.handed.durable {
            let committed = self.commit_index;
            self.advance_commit();
            if self.commit_index > committed {
                self.drain_all();
                return;
            }
        }
        // A peer may need a snapshot now. When that is so may depend on how long it was silent.
        if self.begin_compact() {
            self.drain_all();
            return;
        }
        let proposed = core::mem::take(&mut self.handed.proposed);
        let durable = core::mem::take(&mut self.handed.durable);
        if proposed {
            self.replicate();
        }
        if durable {
            self.flush_acknowledgement();
        }
        if proposed || durable {
            self.begin_persist();
        }
        self.begin_apply();
        self.evict();
        self.check_nothing_is_left();
    }

    /// A whole drain would find nothing that a short one did not. Looked at on a copy, so that what the short one
    /// leaves behind is what goes on; now and then only, for copies take long.
    fn check_nothing_is_left(&self) {
        if self.options.check_invariants && self.now.0.is_multiple_of(CHECKED_ONE_IN) {
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
            && self.apart.solo.is_none()
            && self.persistence.is_plain()
            && !self.is_forward_waiting()
            && !self.is_read_waiting()
    }

    fn evict(&mut self) {
        let bytes_max = self.options.tail_bytes_max;
        self.log.evict(self.commit_index, bytes_max);
    }
}
