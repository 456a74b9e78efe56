//! Changes of membership as callers ask for them, and the configurations they lead to.
//!
//! Read first: §6, and chapter 4 of the dissertation.
//!
//! Always holds: a change is checked as a whole before any of it is in force, and the two configurations
//! of a joint phase differ by exactly what was asked for.

use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::configuration::Configuration;
use crate::members::Members;
use crate::types::{EntryId, Member, NodeId};

/// A change of who takes part, as one atomic whole.
///
/// Voters that do not take part yet are added as learners first and promoted once they have caught up
/// (dissertation §4.2.1); if they do not, the change fails and they are removed again.
///
/// ```
/// use raft_core::{Member, MemberChange, MembershipChange, NodeId, StorageId};
///
/// // A broken node makes room for another one, in one step.
/// let new = Member { node: NodeId(4), store: StorageId(0xa4) };
/// let change = MembershipChange::new([
///     MemberChange::Remove { node: NodeId(3) },
///     MemberChange::AddVoter { member: new, address: "db4:7100".into() },
/// ]);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MembershipChange {
    /// Refuse the change unless this entry made the configuration in force: compare and set. `None` to
    /// change whatever is in force.
    pub expect: Option<EntryId>,
    /// How to get from the old configuration to the new one.
    pub way: ChangeWay,
    /// What changes, in order.
    pub changes: Vec<MemberChange>,
}

/// How a configuration is reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ChangeWay {
    /// By a joint phase in which both configurations decide (§6): right for every change.
    #[default]
    Joint,
    /// At once, which is safe only while the voters differ by at most one (dissertation §4.1); anything
    /// else is refused.
    Single,
}

/// What changes for one member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MemberChange {
    /// Make this member a voter; one that is a learner already is promoted.
    AddVoter {
        /// The node and its store, which the node itself has told.
        member: Member,
        /// Where it is reached.
        address: String,
    },
    /// Let this member receive the log without being counted.
    AddLearner {
        /// The node and its store.
        member: Member,
        /// Where it is reached.
        address: String,
    },
    /// Make a learner a voter.
    Promote {
        /// The learner.
        node: NodeId,
    },
    /// Make a voter a learner.
    Demote {
        /// The voter.
        node: NodeId,
    },
    /// End a member's part.
    Remove {
        /// The member.
        node: NodeId,
    },
    /// A member is reached elsewhere now.
    SetAddress {
        /// The member.
        node: NodeId,
        /// Where.
        address: String,
    },
}

/// Why a change of membership was refused, or failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum ChangeRefusal {
    /// Another change is under way; one at a time (dissertation §4.1).
    #[error("another change of membership is under way; ask again when it is done")]
    InProgress,
    /// The leader has not committed an entry of its own term yet (S26).
    #[error("the leader is too new to know what is committed; ask again in a moment")]
    TooEarly,
    /// The configuration is not the one expected.
    #[error(
        "the configuration in force is {}.{}, which is not the expected one; look at it and ask again",
        found.term, found.index
    )]
    Stale {
        /// What made the configuration in force.
        found: EntryId,
    },
    /// No such member.
    #[error("node {0} is not a member")]
    NotAMember(NodeId),
    /// The node takes part already, with this store or another.
    #[error(
        "node {0} is a member already; to replace its store, remove it before, or in the same change"
    )]
    AlreadyAMember(NodeId),
    /// The member is not a learner.
    #[error("node {0} is not a learner")]
    NotALearner(NodeId),
    /// The member is not a voter.
    #[error("node {0} is not a voter")]
    NotAVoter(NodeId),
    /// Nobody would be left to vote.
    #[error("the change would leave no voter; a single node leaves its cluster by a reset")]
    NoVoters,
    /// The configuration would have more members than a cluster may have.
    #[error("the change would make more than {MEMBERS_MAX} members")]
    TooManyMembers,
    /// An address is longer than a configuration may hold.
    #[error("an address is longer than {ADDRESS_BYTES_MAX} bytes")]
    AddressTooLong,
    /// A single step is possible only while the voters differ by at most one.
    #[error("{voters} voters would change at once, which needs the joint way")]
    NotSingle {
        /// How many voters differ.
        voters: u64,
    },
    /// A new voter did not catch up with the leader in time; it is no member any more.
    #[error("node {0} did not catch up with the leader; nothing was changed")]
    NotCaughtUp(NodeId),
    /// A member would be looked for where another one is.
    #[error(
        "the address for node {0} is another member's; give one at which nobody else is reached"
    )]
    AddressTaken(NodeId),
}

/// The most members of one configuration, learners included.
pub const MEMBERS_MAX: usize = 256;
/// The longest address in a configuration.
pub const ADDRESS_BYTES_MAX: usize = 1_024;

impl MembershipChange {
    /// These changes by the joint way, whatever configuration is in force.
    pub fn new(changes: impl IntoIterator<Item = MemberChange>) -> Self {
        Self {
            expect: None,
            way: ChangeWay::Joint,
            changes: changes.into_iter().collect(),
        }
    }
}

impl Configuration {
    /// What this configuration, which is not joint, becomes by these changes.
    ///
    /// # Errors
    ///
    /// The first change that does not make sense, or what is wrong with the result.
    pub fn changed(&self, changes: &[MemberChange]) -> Result<Self, ChangeRefusal> {
        let mut new = self.clone();
        for change in changes {
            new.change(change)?;
        }
        if new.voters.is_empty() {
            return Err(ChangeRefusal::NoVoters);
        }
        if new.members().len() > MEMBERS_MAX {
            return Err(ChangeRefusal::TooManyMembers);
        }
        if let Some(taken) = new.taken_address(self) {
            return Err(ChangeRefusal::AddressTaken(taken.node));
        }
        Ok(new)
    }

    fn change(&mut self, change: &MemberChange) -> Result<(), ChangeRefusal> {
        match change {
            MemberChange::AddVoter { member, address } => {
                if !self.learners.contains(member) {
                    self.check_new(*member)?;
                }
                self.learners.remove(member);
                self.voters.insert(*member);
                self.set_address(*member, address)
            }
            MemberChange::AddLearner { member, address } => {
                self.check_new(*member)?;
                self.learners.insert(*member);
                self.set_address(*member, address)
            }
            MemberChange::Promote { node } => {
                let member = self.known(*node)?;
                if !self.learners.remove(&member) {
                    return Err(ChangeRefusal::NotALearner(*node));
                }
                self.voters.insert(member);
                Ok(())
            }
            MemberChange::Demote { node } => {
                let member = self.known(*node)?;
                if !self.voters.remove(&member) {
                    return Err(ChangeRefusal::NotAVoter(*node));
                }
                self.learners.insert(member);
                Ok(())
            }
            MemberChange::Remove { node } => {
                let member = self.known(*node)?;
                self.voters.remove(&member);
                self.learners.remove(&member);
                self.addresses.remove(&member);
                Ok(())
            }
            MemberChange::SetAddress { node, address } => {
                let member = self.known(*node)?;
                self.set_address(member, address)
            }
        }
    }

    /// A member whose address is new, and another one's.
    fn taken_address(&self, before: &Self) -> Option<Member> {
        let addresses = self.addresses.iter();
        let mut moved = addresses.filter(|(member, address)| {
            before.addresses.get(*member) != Some(*address) && !address.is_empty()
        });
        let taken = moved.find(|(member, address)| {
            let mut others = self.addresses.iter();
            others.any(|(other, theirs)| other != *member && theirs == *address)
        });
        taken.map(|(member, _)| *member)
    }

    fn known(&self, node: NodeId) -> Result<Member, ChangeRefusal> {
        self.member_of(node).ok_or(ChangeRefusal::NotAMember(node))
    }

    /// One store for each node: two would make its votes count twice.
    fn check_new(&self, member: Member) -> Result<(), ChangeRefusal> {
        match self.member_of(member.node) {
            Some(_) => Err(ChangeRefusal::AlreadyAMember(member.node)),
            None => Ok(()),
        }
    }

    fn set_address(&mut self, member: Member, address: &str) -> Result<(), ChangeRefusal> {
        if address.len() > ADDRESS_BYTES_MAX {
            return Err(ChangeRefusal::AddressTooLong);
        }
        // No address leaves the known one as it is: a member promoted by its name keeps its place.
        if !address.is_empty() {
            self.addresses.insert(member, String::from(address));
        }
        Ok(())
    }

    /// How many voters differ between two configurations that are not joint.
    #[must_use]
    pub fn voters_changed(&self, new: &Self) -> u64 {
        let removed = self.voters.difference(&new.voters).count();
        (removed + new.voters.difference(&self.voters).count()) as u64
    }

    /// The joint configuration on the way from this one to `new`: both sets of voters decide.
    ///
    /// Learners are those of `new`, some of which may still be among the outgoing voters.
    #[must_use]
    pub fn joint_with(&self, new: &Self) -> Self {
        let mut addresses = self.addresses.clone();
        addresses.extend(new.addresses.clone());
        Self {
            voters: new.voters.clone(),
            outgoing: self.voters.clone(),
            learners: new.learners.clone(),
            addresses,
        }
    }

    /// Whether two sets of voters decide.
    #[must_use]
    pub fn is_joint(&self) -> bool {
        !self.outgoing.is_empty()
    }

    /// What a joint configuration becomes when its joint phase ends.
    #[must_use]
    pub fn left(&self) -> Self {
        let mut left = Self {
            outgoing: Members::default(),
            ..self.clone()
        };
        let members = left.members();
        left.addresses.retain(|member, _| members.contains(member));
        left
    }
}
