//! What is said while nothing changes: an append that goes on where the follower's log ends, and that it has arrived.
//!
//! Always holds: such a message does what it would do anyway, in fewer steps, and brings about nothing but this: a
//! follower's log is longer, with more to write, to acknowledge and perhaps to commit; a leader knows of more copies,
//! has room to send more, and perhaps more is committed. Term, role, leader and membership stay what they are, and
//! nothing is refused.

use crate::entry::{Payload, check_run};
use crate::message::{AppendOutcome, Body, Envelope};
use crate::progress::ProgressState;
use crate::types::Member;

use super::{Node, Role};

impl Node {
    /// Takes in a message of that kind, and its body; false if it is another one, and then nothing is done.
    #[inline(always)]
    pub(super) fn on_steady(&mut self, envelope: &mut Envelope) -> bool {
        self.on_next_append(envelope) || self.on_next_reply(envelope)
    }

    /// Whether it is from one whose present life is known, to this node, and of the present term.
    #[inline(always)]
    fn is_steady(&self, envelope: &Envelope) -> bool {
        let from = &envelope.from;
        envelope.term == self.hard_state.term
            && self.boots.get(from.member) == Some(&envelope.boot)
            && envelope.to == self.identity.member
            && from.member != self.identity.member
            && from.cluster == self.identity.cluster
            && from.group == self.identity.group
            && !self.is_blank()
    }

    #[inline(always)]
    fn on_next_append(&mut self, envelope: &mut Envelope) -> bool {
        let Body::AppendEntries {
            previous,
            commit,
            entries,
        } = &envelope.body
        else {
            return false;
        };
        let leader: Member = envelope.from.member;
        let configures = |payload: &Payload| matches!(payload, Payload::Configuration(_));
        let full =
            self.storage_full || self.log.undurable_bytes() >= self.options.undurable_bytes_max;
        let goes_on = *previous == self.log.last()
            && !full
            && envelope.session.term == envelope.term
            && matches!(&self.role, Role::Follower(follower) if follower.leader == Some(leader))
            && self.is_steady(envelope)
            && check_run(*previous, entries, envelope.term).is_ok()
            && !entries.iter().any(|entry| configures(&entry.payload));
        if !goes_on {
            return false;
        }
        let commit = *commit;
        let body = core::mem::replace(&mut envelope.body, Body::StaleTerm);
        if let Body::AppendEntries { entries, .. } = body {
            self.log.append_run(entries);
        }
        self.end_vacancy();
        let (now, timeout, end) = (self.now, self.timeout, self.log.last().index);
        let Role::Follower(follower) = &mut self.role else {
            return true;
        };
        follower.contact = now;
        follower.deadline = now + timeout;
        follower.verified = follower.verified.max(end);
        follower.owe(leader, envelope.session);
        self.commit_to(commit.min(end));
        true
    }

    #[inline(always)]
    fn on_next_reply(&mut self, envelope: &mut Envelope) -> bool {
        let Body::AppendReply(AppendOutcome::Matched(matched)) = envelope.body else {
            return false;
        };
        if matched > self.log.last().index || !self.is_steady(envelope) {
            return false;
        }
        let now = self.now;
        let Role::Leader(leader) = &mut self.role else {
            return false;
        };
        let Some(peer) = leader.peers.get_mut(envelope.from.member) else {
            return false;
        };
        let goes_on = peer.state == ProgressState::Replicate
            && peer.session == envelope.session
            && peer.boot == Some(envelope.boot);
        if goes_on {
            peer.last_contact = now;
            peer.acknowledged(matched);
            envelope.body = Body::StaleTerm;
        }
        goes_on
    }
}
