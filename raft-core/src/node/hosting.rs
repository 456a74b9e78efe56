//! What a replica needs of its node in order to move snapshots between disks.
//!
//! Always holds: messages about parts of snapshots are of this cluster, as all others; they change nothing
//! in the node.

use crate::action::Refusal;
use crate::message::{Body, Envelope, Session};
use crate::types::{EntryId, Index, Member};

use super::Node;

impl Node {
    /// Whether a message between replicas may be believed to come from who it says: of our cluster, for us,
    /// and from its sender's present life.
    pub(crate) fn admits(&mut self, envelope: &Envelope) -> bool {
        if self.apart.halted.is_some() {
            return false;
        }
        match self.check_identity(envelope) {
            Ok(()) => true,
            Err(refusal) => {
                self.refuse(envelope.from.member, refusal);
                false
            }
        }
    }

    /// What another replica said, no correct one can have.
    pub(crate) fn refuse_malformed(&mut self, from: Member) {
        self.refuse(from, Refusal::Malformed);
    }

    /// Says something to another replica.
    pub(crate) fn say(&mut self, to: Member, session: Session, body: Body) {
        if self.apart.halted.is_none() {
            self.send(to, session, body);
        }
    }

    /// The latest snapshot that this node took or installed, whether its mark is durable yet or not.
    pub(crate) fn latest_snapshot(&self) -> Option<EntryId> {
        self.snapshots.latest()
    }

    /// The latest snapshot whose mark is durable.
    pub(crate) fn durable_snapshot(&self) -> Option<EntryId> {
        self.snapshots.durable()
    }

    /// Up to here entries are known to be committed.
    pub(crate) const fn commit_index(&self) -> Index {
        self.commit_index
    }
}
