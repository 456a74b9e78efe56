//! What nodes promise one another: votes, acknowledgements, and that they lead.
//!
//! Always holds: a promise is compared with what the promising node's disk has, not with what it believes.

use raft_core::{AppendOutcome, Body, Envelope, Index, NodeId, Span, Status, Term};

use super::invariant::Invariant;
use super::{Judge, TERMS_KEPT};
use crate::machine::Machine;

impl<S: Machine> Judge<S> {
    /// A message leaves.
    pub(crate) fn sending(&mut self, node: NodeId, envelope: &Envelope) {
        if self.is_stranger(node) {
            return;
        }
        let session = envelope.session;
        match &envelope.body {
            Body::VoteReply { granted: true } => {
                self.vote(node, session.term, envelope.to.node);
            }
            Body::RequestVote { .. } => {
                // One that its own log has removed asks without a vote of its own.
                let shown = self.ghost(node).shown.as_ref();
                if shown.is_none_or(|shown| shown.is_voter(envelope.from.member)) {
                    self.vote(node, session.term, node);
                }
            }
            Body::AppendEntries { .. } | Body::Heartbeat { .. } => {
                self.leads(node, session.term);
            }
            Body::AppendReply(AppendOutcome::Matched(matched)) => {
                self.acknowledge(node, envelope.term, session.term, *matched);
            }
            Body::HeartbeatReply {
                matched, promised, ..
            } => {
                self.acknowledge(node, envelope.term, session.term, *matched);
                self.promise(node, *promised);
            }
            Body::RequestPreVote { .. }
            | Body::PreVoteReply { .. }
            | Body::VoteReply { granted: false }
            | Body::AppendReply(AppendOutcome::Conflict { .. })
            | Body::StaleTerm
            | Body::ForwardProposals { .. }
            | Body::ForwardProposalsReply { .. }
            | Body::ForwardRead { .. }
            | Body::ForwardReadReply { .. }
            | Body::AppendReply(AppendOutcome::Blank)
            | Body::ForwardControl { .. }
            | Body::ForwardControlReply { .. }
            | Body::TimeoutNow { .. }
            | Body::AskMembership { .. }
            | Body::NotAMember { .. }
            | Body::RequestLeadership { .. }
            | Body::InstallSnapshot { .. }
            | Body::FetchSnapshot { .. }
            | Body::SnapshotChunk { .. }
            | Body::NoSnapshot => {}
        }
    }

    fn vote(&mut self, node: NodeId, term: Term, candidate: NodeId) {
        self.checks += 1;
        let ghost = self.ghost_mut(node);
        let known = *ghost.votes.entry(term).or_insert(candidate);
        while ghost.votes.len() > TERMS_KEPT {
            ghost.votes.pop_first();
        }
        let durable = ghost.hard_state;
        let kept =
            durable.term == term && durable.voted_for.is_some_and(|vote| vote.node == candidate);
        if known != candidate {
            let text =
                format!("votes for node {candidate} in term {term}, having voted for {known}");
            self.report(Some(node), Invariant::I2, text);
        } else if !kept {
            let text = format!(
                "says that it votes for node {candidate} in term {term}, which its disk does not have"
            );
            self.report(Some(node), Invariant::I11, text);
        }
    }

    /// A promise that a restart would forget is none.
    fn promise(&mut self, node: NodeId, promised: Span) {
        self.checks += 1;
        let durable = self.ghost(node).hard_state.promised;
        if promised > durable {
            let (promised, durable) = (promised.0, durable.0);
            let text = format!(
                "promises its leader {promised} ns, and its disk remembers no more than {durable} ns"
            );
            self.report(Some(node), Invariant::I11, text);
        }
    }

    fn leads(&mut self, node: NodeId, term: Term) {
        let known = match self.leaders.last_key_value() {
            Some((last, leader)) if *last == term => *leader,
            Some(_) | None => *self.leaders.entry(term).or_insert(node),
        };
        while self.leaders.len() > TERMS_KEPT {
            self.leaders.pop_first();
        }
        if known != node {
            let text = format!("leads term {term}, which node {known} leads");
            self.report(Some(node), Invariant::I1, text);
        }
    }

    /// A follower says to the leader of `led` how much of its log it has.
    fn acknowledge(&mut self, node: NodeId, term: Term, led: Term, matched: Index) {
        self.checks += 1;
        let ghost = self.ghost_mut(node);
        if matched == Index(0) {
            return;
        }
        let most = ghost.acknowledged.entry(led).or_default();
        *most = matched.max(*most);
        while ghost.acknowledged.len() > TERMS_KEPT {
            ghost.acknowledged.pop_first();
        }
        let leader = self.leaders.get(&led).map(|leader| self.ghost(*leader));
        let leader =
            leader.filter(|leader| leader.leading == Some(led) && leader.leads_for_certain);
        let theirs = leader.and_then(|leader| leader.handed.get(matched));
        let own = self.durable(node, matched);
        if theirs.is_some() && own.is_some() && own != theirs {
            let text = format!("acknowledges entry {matched}, which differs from the leader's");
            self.report(Some(node), Invariant::I13, text);
        }
        let ghost = self.ghost(node);
        let (durable, known_term) = (ghost.durable.last_index(), ghost.hard_state.term);
        if matched > durable || known_term < term {
            let text = format!(
                "acknowledges entry {matched} in term {term}, and its disk has entry {durable} and \
                 term {known_term}"
            );
            self.report(Some(node), Invariant::I11, text);
        }
    }

    /// A node says that it leads now.
    pub(crate) fn became_leader(&mut self, node: NodeId, term: Term, status: &Status<'_>) {
        if self.is_stranger(node) {
            return;
        }
        self.leads(node, term);
        let durable = self.ghost(node).hard_state;
        // One that its own log has removed leads by the votes of others alone (dissertation §4.2.2).
        let votes = status.configuration.is_voter(status.identity.member);
        let own = durable.voted_for.is_some_and(|vote| vote.node == node);
        if durable.term != term || (votes && !own) {
            let text =
                format!("leads term {term} by a vote of its own that its disk does not have");
            self.report(Some(node), Invariant::I11, text);
        }
        let ghost = self.ghost_mut(node);
        ghost.leading = Some(term);
        ghost.leads_for_certain = false;
        ghost.matches.clear();
    }

    /// Leader completeness, as soon as all of a new leader's log can be seen.
    pub(super) fn check_leader(&mut self, node: NodeId, status: &Status<'_>) {
        let term = status.term;
        let ghost = self.ghost(node);
        if ghost.leading != Some(term)
            || ghost.leads_for_certain
            || !self.has_handed_all(node, status)
        {
            return;
        }
        self.ghost_mut(node).leads_for_certain = true;
        self.checks += 1;
        // A late vote can still make a leader of a term that later ones have left behind.
        let earlier = self.commits.range(..term).next_back();
        let commit = earlier.map_or(Index(0), |(_, index)| *index);
        let ghost = self.ghost(node);
        let own = ghost.handed.get(commit);
        // What a snapshot has replaced was compared when it was installed.
        let replaced = commit < ghost.handed.base();
        if commit > self.known_base && !replaced && own != self.committed.get(commit) {
            let text = format!(
                "leads term {term} without entry {commit}, which is committed; its log ends with \
                 entry {}",
                ghost.handed.last_index()
            );
            self.report(Some(node), Invariant::I6, text);
        }
    }
}
