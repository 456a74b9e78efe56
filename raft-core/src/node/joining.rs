//! A store that belongs to no cluster yet, and waits to be attached to one (P6).
//!
//! Always holds: it has promised nothing to anybody, so it may be attached elsewhere while it is blank; it
//! neither votes nor campaigns, and answers one cluster at a time: the first whose leader it heard, until
//! that one falls silent.

use crate::action::Refusal;
use crate::message::{AppendOutcome, Body, Envelope};
use crate::types::{ClusterId, Time};

use super::Node;

/// How many election timeouts a cluster may be silent before a blank store listens to another one.
const SILENCE_TIMEOUTS: u64 = 4;

/// The cluster that a blank store answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Joining {
    cluster: ClusterId,
    /// When its leader was heard last.
    heard: Time,
}

impl Node {
    /// Whether the store belongs to no cluster.
    pub(super) fn is_blank(&self) -> bool {
        self.identity.cluster == ClusterId::NONE
    }

    /// The cluster that this node speaks to.
    pub(super) fn cluster(&self) -> ClusterId {
        match self.apart.joining {
            Some(joining) if self.is_blank() => joining.cluster,
            Some(_) | None => self.identity.cluster,
        }
    }

    /// Whether a blank store, which is who the message is meant for, may listen to its sender's cluster.
    pub(super) fn check_cluster_to_join(&mut self, envelope: &Envelope) -> Result<(), Refusal> {
        let cluster = envelope.from.cluster;
        let patience = self.options.election_timeout.times(SILENCE_TIMEOUTS);
        let other = self
            .apart
            .joining
            .filter(|joining| joining.cluster != cluster);
        let heard = other.is_some_and(|joining| self.now < joining.heard + patience);
        if cluster == ClusterId::NONE || heard {
            return Err(Refusal::Foreign);
        }
        match &envelope.body {
            Body::AppendEntries { .. } | Body::Heartbeat { .. } | Body::InstallSnapshot { .. } => {
                if other.is_some() {
                    // What the other one was about to send is no part of this one.
                    if let Some(snapshots) = self.snapshots.made() {
                        snapshots.forget_receiving();
                    }
                    self.become_follower(self.hard_state.term, None);
                }
                let heard = self.now;
                self.apart.make().joining = Some(Joining { cluster, heard });
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
            | Body::NoSnapshot => match self.apart.joining {
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
