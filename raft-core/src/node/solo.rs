//! Ending the part a store plays: by becoming a cluster of its own, or by forgetting everything.
//!
//! Both take a new store id, because both end an unbroken chain of promises (DESIGN, P6). From the moment of
//! the request nothing of the old cluster is believed or answered any more: its messages are addressed to a
//! member that this node no longer is.
//!
//! Always holds: the new identity, its term, its vote and its configuration become durable in one write, or
//! none of them does.

use alloc::sync::Arc;

use crate::action::{Action, HaltReason, IdentityRefusal, Outcome, Rejection};
use crate::configuration::Configuration;
use crate::entry::{Entry, Payload};
use crate::lease::Promise;
use crate::message::Cause;
use crate::types::{ClusterId, EntryId, Identity, Index, Member, RequestId, Span, StorageId};

use super::{Node, Role};

/// A node on its way to be alone.
#[derive(Clone, Copy, Debug)]
pub(super) struct Solo {
    request: RequestId,
    /// The last entry that was known to be committed when it was asked for.
    committed: Index,
    /// The configuration of the node alone.
    made_by: EntryId,
}

/// A store on its way to be empty.
#[derive(Clone, Copy, Debug)]
pub(super) struct Emptying {
    request: RequestId,
    store: StorageId,
}

impl Node {
    pub(super) fn on_solo(
        &mut self,
        request: RequestId,
        expect: ClusterId,
        cluster: ClusterId,
        store: StorageId,
    ) {
        if !self.admit(request) {
            return;
        }
        if let Some(refusal) = self.refuses_solo(expect) {
            let refused = Outcome::Rejected(Rejection::Identity(refusal));
            self.resolve(request, refused);
            return;
        }
        let Some(term) = self.next_term() else {
            self.resolve(request, Outcome::Rejected(Rejection::Halted));
            return;
        };
        self.become_follower(term, None);
        self.leave_requests();
        let address = self.configuration().addresses.get(&self.me()).cloned();
        let member = Member {
            node: self.me().node,
            store,
        };
        self.identity = Identity {
            cluster,
            member,
            ..self.identity
        };
        self.boots.clear();
        if let Some(apart) = self.apart.made() {
            apart.told_outside = None;
        }
        // Those it promised to help nobody against are strangers now.
        self.promise = Promise::restored(self.now, Span(0));
        let mut alone = Configuration::of_voters([member]);
        alone
            .addresses
            .extend(address.map(|address| (member, address)));
        let made_by = EntryId {
            term,
            index: self.log.last().index.next(),
        };
        let committed = self.commit_index;
        self.apart.make().solo = Some(Solo {
            request,
            committed,
            made_by,
        });
        self.persistence.identity_changed(self.identity);
        self.append(Entry {
            id: made_by,
            payload: Payload::Configuration(Arc::new(alone)),
        });
        self.start_election_alone();
    }

    fn refuses_solo(&self, expect: ClusterId) -> Option<IdentityRefusal> {
        let found = self.identity.cluster;
        if self.is_blank() {
            return Some(IdentityRefusal::NoCluster);
        }
        if found != expect {
            return Some(IdentityRefusal::OtherCluster {
                expected: expect,
                found,
            });
        }
        let restoring = self.apply.restoring().is_some();
        restoring.then_some(IdentityRefusal::Restoring)
    }

    /// What others were asked will not be answered: they do not know this member.
    pub(super) fn leave_requests(&mut self) {
        self.leave_proposals();
        self.leave_reads();
        self.fail_controls();
    }

    /// The node is alone once the configuration that says so is committed, by itself.
    pub(super) fn resolve_solo(&mut self) {
        let commit = self.commit_index;
        if let Some(apart) = self.apart.made()
            && let Some(solo) = apart.solo.take_if(|solo| solo.made_by.index <= commit)
        {
            let outcome = Outcome::Alone {
                committed: solo.committed,
                last: solo.made_by.index.previous(),
            };
            self.resolve(solo.request, outcome);
        }
    }

    pub(super) fn on_reset(&mut self, request: RequestId, store: StorageId) {
        if !self.admit(request) {
            return;
        }
        self.become_follower(self.hard_state.term, None);
        self.fail_requests();
        self.answer = None;
        self.outbox.retain(|action| {
            !matches!(
                action,
                Action::Send(_) | Action::ReadLog(_) | Action::Apply { .. }
            )
        });
        self.apart.make().emptying = Some(Emptying { request, store });
        self.handed.other = true;
        self.outbox.push(Action::Wipe { store });
    }

    pub(super) fn on_wiped(&mut self, wiped: StorageId) {
        if let Some(apart) = self.apart.made()
            && let Some(emptying) = apart.emptying.take_if(|emptying| emptying.store == wiped)
        {
            self.resolve(emptying.request, Outcome::Emptied);
            self.halt(HaltReason::Emptied);
        }
    }

    /// Whether the node has halted, or its store is about to be empty: nothing else is worth doing.
    #[inline]
    pub(super) fn is_over(&self) -> bool {
        let apart = self.apart.get();
        apart.is_some_and(|apart| apart.halted.is_some() || apart.emptying.is_some())
    }

    /// Becomes the candidate of its own election, for which it alone votes.
    fn start_election_alone(&mut self) {
        assert!(
            matches!(self.role, Role::Follower(_)),
            "a node that leaves its cluster follows nobody"
        );
        self.campaign_in_present_term(Cause::Timeout);
    }
}
