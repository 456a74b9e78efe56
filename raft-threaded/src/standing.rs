//! Whether a node takes part in a cluster.

use raft_core::{ClusterId, EntryId, Status};

use crate::error::ClientError;

/// What a node is to its cluster, as far as it knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Its log says that it is a member.
    Member,
    /// It belongs to no cluster.
    Waiting,
    /// Its log has it in no configuration.
    Outside,
    /// Others say that it was removed by this entry, which its log does not have.
    RemovedBy(EntryId),
}

impl Standing {
    pub(crate) fn of(status: &Status<'_>) -> Self {
        let member = status.identity.member;
        if status.identity.cluster == ClusterId::NONE {
            Self::Waiting
        } else if !status.configuration.contains(member) {
            Self::Outside
        } else {
            // A leader that is heard knows better than whoever said so.
            let removed = status.removed.filter(|_| status.leader.is_none());
            removed.map_or(Self::Member, Self::RemovedBy)
        }
    }

    /// One word, as status shows it.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Member => "member",
            Self::Waiting => "waiting",
            Self::Outside | Self::RemovedBy(_) => "removed",
        }
    }

    /// Why such a node does nothing for clients.
    pub(crate) fn refusal(self, status: &Status<'_>) -> Option<ClientError> {
        let node = status.identity.member.node;
        match self {
            Self::Member => None,
            Self::Waiting => Some(ClientError::NoCluster { node }),
            Self::Outside => Some(ClientError::NotAMember { node }),
            Self::RemovedBy(id) => Some(ClientError::Removed {
                node,
                index: id.index,
            }),
        }
    }
}
