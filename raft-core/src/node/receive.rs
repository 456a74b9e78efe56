//! What a message must be before it is believed: identity first (P6), then terms (§5.1).

use crate::action::Refusal;
use crate::message::{Body, Envelope};
use crate::planted::{Bug, planted};
use crate::types::Boot;

use super::{Node, Role};

impl Node {
    pub(super) fn on_receive(&mut self, envelope: &Envelope) {
        if let Err(refusal) = self.check_identity(envelope) {
            self.refuse(envelope.from.member, refusal);
            return;
        }
        if envelope.term > self.hard_state.term {
            match &envelope.body {
                // Asking changes nothing at the receiver (S13), and a candidate's term is not looked
                // at while there is a leader (S19).
                Body::RequestPreVote { .. } | Body::RequestVote { .. } => {}
                Body::PreVoteReply { .. }
                | Body::VoteReply { .. }
                | Body::AppendEntries { .. }
                | Body::AppendReply(_)
                | Body::Heartbeat { .. }
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
                | Body::InstallSnapshot { .. } => self.become_follower(envelope.term, None),
                // Between replicas, whatever their terms.
                Body::FetchSnapshot { .. }
                | Body::SnapshotChunk { .. }
                | Body::NoSnapshot
                | Body::AskMembership { .. }
                | Body::NotAMember { .. } => {}
            }
        }
        self.dispatch(envelope);
    }

    /// Whether the message is of our cluster, for us, and from its sender's present life.
    pub(super) fn check_identity(&mut self, envelope: &Envelope) -> Result<(), Refusal> {
        let from = envelope.from;
        let foreign = from.cluster != self.identity.cluster && !self.is_blank();
        if foreign || from.group != self.identity.group {
            return Err(Refusal::Foreign);
        }
        if envelope.to != self.me() || from.member == self.me() {
            return Err(Refusal::Misaddressed);
        }
        if self.is_blank() {
            return self.check_cluster_to_join(envelope);
        }
        if self.boots.get(from.member) == Some(&envelope.boot) {
            return Ok(());
        }
        // Members only: anybody may ask for a vote (S21), but only so many are remembered.
        if self.configuration().contains(from.member) {
            let known = self.boots.get_or_insert(from.member, Boot(0));
            if envelope.boot < *known {
                return Err(Refusal::EarlierBoot);
            }
            *known = envelope.boot;
        }
        Ok(())
    }

    fn dispatch(&mut self, envelope: &Envelope) {
        match &envelope.body {
            Body::RequestPreVote { last } => self.on_request_pre_vote(envelope, *last),
            Body::RequestVote { last, cause } => self.on_request_vote(envelope, *last, *cause),
            Body::PreVoteReply { granted } | Body::VoteReply { granted } => {
                self.on_ballot(envelope, *granted);
            }
            Body::AppendEntries {
                previous,
                commit,
                entries,
            } => {
                if self.is_from_leader(envelope) {
                    self.on_append_entries(envelope, *previous, *commit, entries);
                }
            }
            Body::Heartbeat {
                commit,
                read_index,
                round,
                promise,
                priority,
            } => {
                if self.is_from_leader(envelope) {
                    let promised = self.promise(envelope, *round, *promise);
                    self.on_heartbeat(envelope, *commit, *round, promised);
                    self.note_read_index(*round, *read_index);
                    self.maybe_request_leadership(envelope, *priority);
                }
            }
            Body::AppendReply(outcome) => {
                if self.is_from_follower(envelope) {
                    self.on_append_reply(envelope, *outcome);
                }
            }
            Body::HeartbeatReply {
                round,
                received,
                matched,
                promised,
                disk,
            } => {
                if self.is_from_follower(envelope) {
                    self.on_heartbeat_reply(envelope, *round, *received, *matched, *disk);
                    self.note_round(envelope.from.member, *round, *promised);
                }
            }
            Body::RequestLeadership { priority } => {
                if self.is_from_follower(envelope) {
                    self.on_request_leadership(envelope.from.member, *priority);
                }
            }
            // The term it carries was all it had to say.
            Body::StaleTerm => {}
            Body::ForwardProposals { commands } => self.on_forward_proposals(envelope, commands),
            Body::ForwardProposalsReply { outcomes } => {
                self.on_forward_proposals_reply(envelope, outcomes);
            }
            Body::ForwardRead { consistency } => self.on_forward_read(envelope, *consistency),
            Body::ForwardReadReply { index } => self.on_forward_read_reply(envelope, *index),
            Body::ForwardControl { control } => self.on_forward_control(envelope, control),
            Body::ForwardControlReply { outcome } => {
                self.on_forward_control_reply(envelope, *outcome);
            }
            Body::TimeoutNow { last, round } => {
                if self.is_from_leader(envelope) {
                    self.on_timeout_now(envelope, *last, *round);
                }
            }
            Body::AskMembership { last } => {
                self.tell_outsider(envelope.from.member, envelope.session, *last);
            }
            Body::NotAMember { configured } => {
                self.on_not_a_member(envelope.from.member, *configured);
            }
            Body::InstallSnapshot { id, source } => {
                if self.is_from_leader(envelope) {
                    self.on_install_snapshot(envelope, *id, *source);
                }
            }
            Body::FetchSnapshot { .. } | Body::SnapshotChunk { .. } | Body::NoSnapshot => {}
        }
    }

    /// Whether a leader's message is of the present term; a leader of an older one is told (S18).
    fn is_from_leader(&mut self, envelope: &Envelope) -> bool {
        let leader = envelope.from.member;
        if envelope.session.term != envelope.term {
            self.refuse(leader, Refusal::Malformed);
            return false;
        }
        if envelope.term < self.hard_state.term {
            self.send(leader, envelope.session, Body::StaleTerm);
            return false;
        }
        self.hear_leader(leader)
    }

    /// Whether a follower's answer belongs to an exchange of our present leadership.
    fn is_from_follower(&mut self, envelope: &Envelope) -> bool {
        let from = envelope.from.member;
        let Role::Leader(leader) = &mut self.role else {
            return false;
        };
        let peer = leader.peers.get(from);
        assert!(
            !planted(Bug::ReplyAfterRemoval) || peer.is_some(),
            "only peers answer"
        );
        let current = peer.is_some_and(|peer| peer.session == envelope.session);
        if envelope.term != self.hard_state.term || !current {
            self.refuse(from, Refusal::StaleSession);
            return false;
        }
        self.note_contact(from, envelope.boot);
        true
    }
}
