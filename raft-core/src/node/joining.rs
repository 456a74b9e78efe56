//! A store that belongs to no cluster yet, and waits to be attached to one (P6).
//!
//! Always holds: it has promised nothing to anybody, so in another life it may be attached elsewhere; it
//! neither votes nor campaigns, and answers one cluster only, the first whose leader it heard in this
//! life.

use crate::action::Refusal;
use crate::message::{AppendOutcome, Body, Envelope};
use crate::types::ClusterId;

use super::Node;

impl Node {
    /// Whether the store belongs to no cluster.
    pub(super) fn is_blank(&self) -> bool {
        self.identity.cluster == ClusterId::NONE
    }

    /// The cluster that this node speaks to.
    pub(super) fn cluster(&self) -> ClusterId {
        match self.joining {
            Some(cluster) if self.is_blank() => cluster,
            Some(_) | None => self.identity.cluster,
        }
    }

    /// Whether a blank store, which is who the message is meant for, may listen to its sender's cluster.
    pub(super) fn check_cluster_to_join(&mut self, envelope: &Envelope) -> Result<(), Refusal> {
        let cluster = envelope.from.cluster;
        if cluster == ClusterId::NONE || self.joining.is_some_and(|joining| joining != cluster) {
            return Err(Refusal::Foreign);
        }
        match &envelope.body {
            Body::AppendEntries { .. } | Body::Heartbeat { .. } | Body::InstallSnapshot { .. } => {
                self.joining = Some(cluster);
                Ok(())
            }
            // It has no vote to give: no configuration tells that it has one (contrast S22).
            Body::RequestPreVote { .. } | Body::RequestVote { .. } => Err(Refusal::Foreign),
            Body::PreVoteReply { .. }
            | Body::VoteReply { .. }
            | Body::AppendReply(_)
            | Body::HeartbeatReply { .. }
            | Body::StaleTerm
            | Body::ForwardProposals { .. }
            | Body::ForwardProposalsReply { .. }
            | Body::ForwardRead { .. }
            | Body::ForwardReadReply { .. }
            | Body::ForwardControl { .. }
            | Body::ForwardControlReply { .. }
            | Body::TimeoutNow { .. }
            | Body::RequestLeadership { .. }
            | Body::AskMembership { .. }
            | Body::NotAMember { .. }
            | Body::FetchSnapshot { .. }
            | Body::SnapshotChunk { .. }
            | Body::NoSnapshot => match self.joining {
                Some(_) => Ok(()),
                None => Err(Refusal::Foreign),
            },
        }
    }

    /// A blank store's answer to entries, which could follow nothing.
    pub(super) fn answer_blank(&mut self, envelope: &Envelope) {
        let blank = Body::AppendReply(AppendOutcome::Blank);
        self.send(envelope.from.member, envelope.session, blank);
    }
}
