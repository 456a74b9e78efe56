//! Who is to take part, in the words of those who run a cluster.

use std::time::Duration;

use raft_core::{ClusterId, Member, MemberChange, NodeId};

use crate::error::JoinerError;
use crate::transport::Inquiry;
use crate::transport::ask::AskError;

/// How long a node may take to say who it is.
pub(crate) const PATIENCE: Duration = Duration::from_secs(3);

/// A node that is to join a cluster: it runs on an empty store ([`crate::init_joiner`]) and waits, or was a member
/// before and is to be one again, with what it has.
///
/// ```
/// use raft_core::NodeId;
/// use raft_threaded::{Joiner, Part};
///
/// let joiner = Joiner { node: NodeId(4), address: "db4:7104".into(), part: Part::Voter };
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Joiner {
    /// Its id.
    pub node: NodeId,
    /// Where it listens for peers: `host:port`.
    pub address: String,
    /// The part it is to have.
    pub part: Part,
}

/// A member's part in its cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// It votes and is counted, once it has caught up.
    Voter,
    /// It receives everything and is not counted.
    Learner,
}

/// Whether to do what others may suffer from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Force {
    /// Refuse what other members may suffer from, as far as that shows.
    No,
    /// Do it all the same.
    Yes,
}

/// A node that became a cluster of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Alone {
    /// The last entry that was known to be committed; a stopped node among others knows it only as its log said
    /// last, and more may have been.
    pub committed: u64,
    /// The last entry that was kept; those in between were only assumed to be committed.
    pub last: u64,
}

impl Joiner {
    /// Learns the joiner's store from the joiner itself; may wait for as long as a connection takes.
    pub(crate) fn ask(
        &self,
        inquiry: &dyn Inquiry,
        own: ClusterId,
    ) -> Result<MemberChange, JoinerError> {
        let (node, address) = (self.node, self.address.clone());
        let found = match inquiry.who_is(&address, PATIENCE) {
            Ok(introduction) => introduction.identity,
            Err(AskError::Io(error)) => {
                let error = error.to_string();
                return Err(JoinerError::Silent {
                    node,
                    address,
                    error,
                });
            }
            Err(AskError::Strange(error)) => {
                return Err(JoinerError::NotAPeer {
                    node,
                    address,
                    error,
                });
            }
        };
        if found.member.node != node {
            let found = found.member.node;
            return Err(JoinerError::OtherNode {
                node,
                address,
                found,
            });
        }
        // One of this cluster was removed, or is a member: the leader knows.
        if found.cluster != ClusterId::NONE && found.cluster != own {
            let cluster = found.cluster;
            return Err(JoinerError::Occupied {
                node,
                address,
                cluster,
            });
        }
        Ok(self.change(found.member))
    }

    fn change(&self, member: Member) -> MemberChange {
        let address = self.address.clone();
        match self.part {
            Part::Voter => MemberChange::AddVoter { member, address },
            Part::Learner => MemberChange::AddLearner { member, address },
        }
    }
}
