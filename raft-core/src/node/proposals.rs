//! Proposals: from a caller to one outcome each (P3).
//!
//! Always holds: a proposal is rejected only if its entry was never appended and never will be;
//! whatever cannot be known is reported as unknown.

use bytes::Bytes;

use crate::action::{Outcome, Quota, Rejection};
use crate::entry::{OVERHEAD_BYTES, Payload};
use crate::planted::{Bug, planted};
use crate::proposal_queue::Decided;
use crate::types::{EntryId, RequestId, Time};

use super::forwards::Unsent;
use super::{Node, Role};

impl Node {
    pub(super) fn on_propose(&mut self, request: RequestId, command: Bytes) {
        self.handed.proposed = true;
        if !self.admit(request) {
            return;
        }
        if let Some(rejection) = self.command_too_large(&command) {
            self.resolve(request, Outcome::Rejected(rejection));
            return;
        }
        let deadline = self.request_deadline();
        // Behind what waits already; and while another node is to lead, it may be handed to that one. A
        // leader without room says so instead, because the next one may well have some.
        let waits = self.is_forward_waiting() || (self.hands_over() && !self.storage_full);
        if matches!(self.role, Role::Leader(_)) && !waits {
            self.append_proposal(request, command, deadline);
        } else {
            // Only a leader appends what is proposed to it; others have to hand it on.
            self.handed.other = true;
            self.requests.make().forwards.push(Unsent {
                request,
                command,
                deadline,
            });
        }
    }

    /// This node leads, and takes a proposal of its own.
    pub(super) fn append_proposal(&mut self, request: RequestId, command: Bytes, deadline: Time) {
        if let Some(refused) = self.quota_for(command.len() as u64) {
            self.resolve(request, Outcome::Rejected(refused));
            return;
        }
        if let Some(counted) = &mut self.counted {
            // Without it nothing was handed to an earlier leader that could come back.
            counted.handed_in = self.hard_state.term;
        }
        let id = self.append_own(Payload::Command(command));
        if planted(Bug::AckAtAppend) {
            self.resolve(request, Outcome::Committed(id));
            return;
        }
        self.proposals.push(id, request, deadline);
    }

    /// Appends a command that nobody waits for, if this node leads and has room for it.
    pub(crate) fn append_unasked(&mut self, at: Time, command: Bytes) -> Option<EntryId> {
        if self.apart.halted.is_some() || !matches!(self.role, Role::Leader(_)) {
            return None;
        }
        self.now = self.now.max(at);
        if self.quota_for(command.len() as u64).is_some() {
            return None;
        }
        self.handed.proposed = true;
        Some(self.append_own(Payload::Command(command)))
    }

    /// Why a leader cannot take a command of this size now; one may always go.
    pub(super) fn quota_for(&self, bytes: u64) -> Option<Rejection> {
        let Role::Leader(leader) = &self.role else {
            return None;
        };
        // Whoever hands over because the disk is full says so: the next leader has room.
        let transferring = self.refused_for_transfer();
        if transferring.is_some() {
            return transferring;
        }
        if self.storage_full {
            return Some(Rejection::StorageFull);
        }
        if self.log.undurable_bytes() >= self.options.undurable_bytes_max {
            return Some(Rejection::Busy(Quota::UndurableBytes));
        }
        let uncommitted = leader.uncommitted_bytes;
        let wanted = uncommitted.saturating_add(bytes + OVERHEAD_BYTES);
        (uncommitted > 0 && wanted > self.options.uncommitted_bytes_max)
            .then_some(Rejection::Busy(Quota::UncommittedBytes))
    }

    /// Tells proposals what became of them, as far as the log is committed.
    #[inline(always)]
    pub(super) fn resolve_decided(&mut self) {
        if self.is_first_decided() {
            self.resolve_first();
        }
    }

    /// Whether the first proposal may be decided by what is committed: no entry has a later term, so all of that
    /// comes before one of this term that is not.
    #[inline(always)]
    fn is_first_decided(&self) -> bool {
        let first = self.proposals.first();
        first.is_some_and(|first| {
            first.term != self.hard_state.term || first.index <= self.commit_index
        })
    }

    fn resolve_first(&mut self) {
        let Some(term) = self.log.term(self.commit_index) else {
            return;
        };
        let committed = EntryId {
            term,
            index: self.commit_index,
        };
        loop {
            while let Some((request, id)) = self.proposals.committed(committed) {
                self.resolve(request, Outcome::Committed(id));
            }
            if !self.is_first_decided() {
                break;
            }
            let (log, base) = (&self.log, self.log.base());
            let next = self
                .proposals
                .decided(committed, base, |index| log.term(index));
            let Some((request, id, decided)) = next else {
                break;
            };
            if decided == Decided::Superseded && planted(Bug::StrandedWaiter) {
                continue;
            }
            let outcome = match decided {
                Decided::Committed => Outcome::Committed(id),
                Decided::Superseded => Outcome::Superseded(id),
                Decided::Unknown => Outcome::Unknown,
            };
            self.resolve(request, outcome);
        }
    }

    /// A new leader is known. Reads asked of an earlier one are asked again; what became of proposals
    /// is worth only a short wait for an answer that is still on its way.
    pub(super) fn redirect_requests(&mut self) {
        let term = self.hard_state.term;
        self.shorten_forwards(term);
        self.shorten_controls();
        self.ask_reads_again(term);
    }

    /// Gives up waiting where the time is over.
    pub(super) fn expire_requests(&mut self) {
        let now = self.now;
        while let Some(request) = self.proposals.expired(now) {
            self.resolve(request, Outcome::Unknown);
        }
        self.expire_forwards();
        self.expire_reads();
        self.expire_controls();
    }

    /// The node halts: every request gets the outcome that is true whatever happens elsewhere.
    pub(super) fn fail_requests(&mut self) {
        while let Some(request) = self.proposals.pop() {
            self.resolve(request, Outcome::Unknown);
        }
        self.fail_forwards();
        self.fail_reads();
        self.fail_controls();
    }
}
