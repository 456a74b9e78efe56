//! What may be counted as committed, counted again here: §5.4.2, and Figure 3 "Leader Completeness".

use raft_core::replica::command_of;
use raft_core::{Configuration, EntryId, Index, Member, NodeId, Payload, RoleKind, Status};

use super::chain::Link;
use super::invariant::Invariant;
use super::sessions::{Asked, Deed};
use super::{Judge, TERMS_KEPT, place};
use crate::machine::Machine;

impl<S: Machine> Judge<S> {
    /// A node counts more as committed than before.
    pub(super) fn claim(&mut self, node: NodeId, status: &Status<'_>, led: bool) {
        let index = status.commit_index;
        if index <= self.commit_index() {
            return;
        }
        let result = if led || status.role == RoleKind::Leader {
            self.count(status)
        } else {
            Err(format!(
                "counts entry {index} as committed, which no leader has done"
            ))
        };
        match result {
            Ok(holder) => {
                self.commits.insert(status.term, index);
                while self.commits.len() > TERMS_KEPT {
                    self.commits.pop_first();
                }
                self.commit(node, holder, index);
            }
            Err(text) => self.report(Some(node), Invariant::I9, text),
        }
    }

    /// What a node counts as committed is what was counted before, as soon as its log can be seen.
    pub(super) fn check_claim(&mut self, node: NodeId, status: &Status<'_>) {
        let index = status.commit_index;
        if index <= self.ghost(node).compared || !self.has_handed_all(node, status) {
            return;
        }
        self.ghost_mut(node).compared = index;
        self.checks += 1;
        let own = self.ghost(node).handed.get(index);
        if index > self.known_base && own != self.committed.get(index) {
            let text = format!("counts entry {index} as committed, and holds another one there");
            self.report(Some(node), Invariant::I9, text);
        }
    }

    /// Counts for itself whether an entry nobody counted as committed before is; returns a member
    /// that has it.
    fn count(&self, status: &Status<'_>) -> Result<Member, String> {
        // The one that was in force when this began, or the one that followed it in the same step.
        let result = self.count_in(status.configuration, status);
        match self.ghost(status.identity.member.node).shown.as_deref() {
            Some(shown) if result.is_err() && shown != status.configuration => {
                self.count_in(shown, status)
            }
            Some(_) | None => result,
        }
    }

    fn count_in(
        &self,
        configuration: &Configuration,
        status: &Status<'_>,
    ) -> Result<Member, String> {
        let index = status.commit_index;
        let claim = format!("counts entry {index} as committed");
        let members = configuration.members();
        let mut links = members.iter().filter_map(|m| self.durable_of(*m, index));
        let Some(link) = links.rfind(|link| link.term == status.term) else {
            return Err(format!(
                "{claim}; no disk has one of its own term {} there",
                status.term
            ));
        };
        let has = |member: &Member| self.durable_of(*member, index) == Some(link);
        if !quorum_has(configuration, has) {
            let holders = members.iter().filter(|m| has(m));
            let holders: Vec<u64> = holders.map(|m| m.node.0).collect();
            return Err(format!(
                "{claim}; only the disks of nodes {holders:?} have it"
            ));
        }
        let holder = members.into_iter().find(|m| has(m));
        Ok(holder.unwrap_or(status.identity.member))
    }

    /// What a member has durably, or had when its store was emptied.
    fn durable_of(&self, member: Member, index: Index) -> Option<Link> {
        let ghost = self.ghosts.get(place(member.node))?;
        if ghost.member == member {
            return ghost.durable.get(index);
        }
        self.graves.get(&member)?.get(index)
    }

    pub(super) fn durable(&self, node: NodeId, index: Index) -> Option<Link> {
        self.ghosts.get(place(node))?.durable.get(index)
    }

    fn commit(&mut self, node: NodeId, holder: Member, to: Index) {
        let mut index = self.commit_index().next();
        while index <= to {
            let Some(link) = self.durable_of(holder, index) else {
                break;
            };
            self.committed.push(link);
            let place = usize::try_from(index.0 - self.known_base.0 - 1).unwrap_or(usize::MAX);
            let known = self.known.get(place);
            let known = known.and_then(|known| known.iter().find(|(known, _)| *known == link));
            let payload = known.map(|(_, payload)| payload.clone());
            let term = link.term;
            let deed = self.deed(EntryId { term, index }, payload);
            let result = self.requests.committed(term, deed);
            self.check(node, result);
            index = index.next();
        }
        let result = self.requests.advance();
        self.check(node, result);
    }

    /// What the next committed entry does, to clients and to the state.
    fn deed(&mut self, id: EntryId, payload: Option<Payload>) -> Deed {
        let asked = match &payload {
            Some(Payload::Command(command)) => Asked::of(command),
            Some(Payload::Noop | Payload::Configuration(_)) | None => Asked::Nothing,
        };
        let deed = self.sessions.committed(id, asked);
        match (payload, deed) {
            (None, _) => self.state.misses(),
            (Some(Payload::Configuration(configuration)), _) => {
                self.state.configured(id.index, &configuration);
            }
            (Some(Payload::Command(request)), Deed::Executes(_)) => {
                if let Some(command) = command_of(&request) {
                    self.state.executes(id, command);
                }
            }
            (Some(Payload::Command(_) | Payload::Noop), _) => {}
        }
        deed
    }

    /// What a leader has counted for a follower so far; from now on it is `matched`.
    fn counted(&mut self, leader: NodeId, member: Member, matched: Index) -> Index {
        let matches = &mut self.ghost_mut(leader).matches;
        match matches.iter_mut().find(|(known, _)| *known == member) {
            Some((_, counted)) => core::mem::replace(counted, matched),
            None => {
                matches.push((member, matched));
                Index(0)
            }
        }
    }

    /// What a leader counts for its followers.
    pub(super) fn check_matches(&mut self, node: NodeId, status: &Status<'_>) {
        let ghost = self.ghost(node);
        if ghost.leading != Some(status.term) || !ghost.leads_for_certain {
            return;
        }
        for (member, matched, _) in status.peers() {
            let known = self.counted(node, member, matched);
            // What another store of the node has said went with it.
            if matched == known || self.ghost(member.node).member != member {
                continue;
            }
            self.checks += 1;
            // Later leaders may have replaced it since; what counts is that it was there when it was said.
            let said = self.ghost(member.node).acknowledged.get(&status.term);
            let said = said.copied().unwrap_or_default();
            // A member that was removed and added again is counted anew.
            let shown = self.ghost(node).shown.as_deref();
            let fell =
                matched < known && (matched != Index(0) || shown == Some(status.configuration));
            if fell || matched > said {
                let text = format!(
                    "counts entry {matched} for node {}, after {known}; that has said {said}",
                    member.node
                );
                self.report(Some(node), Invariant::I13, text);
            }
        }
    }
}

/// Counted here and not by the code that is being judged.
pub(super) fn quorum_has(configuration: &Configuration, has: impl Fn(&Member) -> bool) -> bool {
    [&configuration.voters, &configuration.outgoing]
        .into_iter()
        .filter(|voters| !voters.is_empty())
        .all(|voters| 2 * voters.iter().filter(|member| has(member)).count() > voters.len())
}
