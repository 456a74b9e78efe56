//! A member's new address, and who is found there.

use raft_core::{ClusterId, Identity, MemberChange, NodeId, StorageId};

use crate::membership::PATIENCE;
use crate::transport::Inquiry;
use crate::transport::ask::AskError;

/// What is found where a member is to be looked for from now on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Move {
    pub(crate) node: NodeId,
    pub(crate) address: String,
}

/// A member's address stays what it was: what is at the new one is not that member.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MoveError {
    /// Nobody is there.
    #[error(
        "nobody answers at {address}, where node {node} is to be looked for: {error}; start node {node} there \
         first, or force it if it will start there later"
    )]
    Silent {
        /// The member that is to be looked for.
        node: NodeId,
        /// Where.
        address: String,
        /// What the operating system said.
        error: String,
    },
    /// Something else is there.
    #[error(
        "node {node} is to be looked for at {address}, and is not there: {error}; give the address at which it \
         listens for peers"
    )]
    NotAPeer {
        /// The member that is to be looked for.
        node: NodeId,
        /// Where.
        address: String,
        /// What was found.
        error: String,
    },
    /// Another node is there.
    #[error(
        "node {node} is to be looked for at {address}, and node {found} is there; give the address at which \
         node {node} listens for peers"
    )]
    OtherNode {
        /// The member that is to be looked for.
        node: NodeId,
        /// Where.
        address: String,
        /// The node that was found.
        found: NodeId,
    },
    /// Another store of the node is there: it was made anew, or belongs to another cluster.
    #[error(
        "node {node} at {address} has store {} of cluster {}, expected the member with store {} of cluster {}; \
         detach node {node} and attach what is there in its place, or give the address of the member",
        found.0, found.1, expected.0, expected.1
    )]
    OtherStore {
        /// The member that is to be looked for.
        node: NodeId,
        /// Where.
        address: String,
        /// Its store and its cluster.
        expected: (StorageId, ClusterId),
        /// Those of the node that was found.
        found: (StorageId, ClusterId),
    },
}

impl Move {
    /// Makes sure that `member` is there; may wait for as long as a connection takes.
    pub(crate) fn ask(
        &self,
        inquiry: &dyn Inquiry,
        member: Identity,
    ) -> Result<MemberChange, MoveError> {
        let (node, address) = (self.node, self.address.clone());
        match inquiry.who_is(&address, PATIENCE) {
            Ok(introduction) => self.compare(member, introduction.identity),
            Err(AskError::Io(error)) => {
                let error = error.to_string();
                Err(MoveError::Silent {
                    node,
                    address,
                    error,
                })
            }
            Err(AskError::Strange(error)) => Err(MoveError::NotAPeer {
                node,
                address,
                error,
            }),
        }
    }

    fn compare(&self, expected: Identity, found: Identity) -> Result<MemberChange, MoveError> {
        if found == expected {
            return Ok(self.change());
        }
        let (node, address) = (self.node, self.address.clone());
        if found.member.node != node {
            let found = found.member.node;
            return Err(MoveError::OtherNode {
                node,
                address,
                found,
            });
        }
        Err(MoveError::OtherStore {
            node,
            address,
            expected: (expected.member.store, expected.cluster),
            found: (found.member.store, found.cluster),
        })
    }

    /// The change, whoever is there.
    pub(crate) fn change(&self) -> MemberChange {
        MemberChange::SetAddress {
            node: self.node,
            address: self.address.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use raft_core::{GroupId, Member};

    fn identity(node: u64, store: u128, cluster: u128) -> Identity {
        Identity {
            group: GroupId(0),
            cluster: ClusterId(cluster),
            member: Member {
                node: NodeId(node),
                store: StorageId(store),
            },
        }
    }

    #[test]
    fn only_that_very_member_will_do() {
        let moved = Move {
            node: NodeId(3),
            address: "db7:7103".to_string(),
        };
        let expected = identity(3, 0xa3, 7);
        let says = |found| match moved.compare(expected, found) {
            Ok(_) => String::new(),
            Err(error) => error.to_string(),
        };
        assert_eq!(says(expected), "");
        let other = says(identity(2, 0xa2, 7));
        assert!(other.contains("and node 2 is there"), "{other}");
        // Emptied, of another cluster, or a copy that went on alone.
        for found in [
            identity(3, 0xb3, 0),
            identity(3, 0xb3, 8),
            identity(3, 0xb3, 7),
        ] {
            let other = says(found);
            assert!(
                other.contains("b3 of cluster") && other.contains("a3 of cluster"),
                "{other}"
            );
        }
    }
}
