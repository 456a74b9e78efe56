//! What logs must be: one for each term, only grown by leaders, never cut where it is committed.
//!
//! Read first: §5.3, Figure 3 "Log Matching" and "Leader Append-Only".

use raft_core::{
    Entry, HardState, Index, NodeId, Payload, Persist, RoleKind, SnapshotMark, Status, Term,
};

use super::Judge;
use super::chain::Link;
use super::ghost::Pending;
use super::invariant::Invariant;
use crate::machine::Machine;

impl<S: Machine> Judge<S> {
    /// A write goes to the log lane of a node that shows this, or did so earlier and led nobody then.
    pub(crate) fn persisting(
        &mut self,
        node: NodeId,
        persist: &Persist,
        status: Option<&Status<'_>>,
    ) {
        if self.is_stranger(node) {
            return;
        }
        let ghost = self.ghost(node);
        // Whoever leads had handed out all of its log before it asked for votes.
        let leads = status
            .filter(|status| status.role == RoleKind::Leader && ghost.leading == Some(status.term));
        let leads_for_certain = ghost.leads_for_certain;
        if let Some(hard_state) = persist.hard_state.as_deref().copied() {
            self.check_promises(node, hard_state);
        }
        let mark = persist.snapshot.as_deref();
        let mut installed = None;
        if let Some(SnapshotMark::Installed(meta)) = mark {
            if !self.installing(node, meta) {
                return;
            }
            installed = Some(self.ghost(node).handed.clone());
        }
        let ghost = self.ghost(node);
        let mut links = Vec::with_capacity(persist.entries.len());
        let first = persist.entries.first().map_or(Index(0), |e| e.id.index);
        if !persist.entries.is_empty() {
            let last = ghost.handed.last_index();
            if first > last.next() {
                let text = format!("entry {first} is written behind entry {last}");
                self.report(Some(node), Invariant::I4, text);
                return;
            }
            if let Some(status) = leads
                && first <= last
            {
                let text = format!("leader of term {} replaces its entry {first}", status.term);
                self.report(Some(node), Invariant::I5, text);
            }
            self.append(node, first, &persist.entries, &mut links);
            let changes = |e: &Entry| matches!(e.payload, Payload::Configuration(_));
            if let Some(status) = leads
                && leads_for_certain
                && persist.entries.iter().any(changes)
            {
                self.check_changes(node, first, status);
            }
        }
        self.ghost_mut(node).lane.push_back(Pending {
            id: persist.id,
            hard_state: persist.hard_state.as_deref().copied(),
            mark: mark.map(|mark| mark.meta().id),
            installed,
            first,
            links,
        });
    }

    pub(super) fn append(
        &mut self,
        node: NodeId,
        first: Index,
        entries: &[Entry],
        links: &mut Vec<Link>,
    ) {
        let cut_from = first;
        let cut_to = self
            .ghost(node)
            .handed
            .last_index()
            .min(self.commit_index());
        let mut cut = Vec::new();
        let mut index = cut_from;
        while index <= cut_to {
            cut.push((index, self.ghost(node).handed.get(index)));
            index = index.next();
        }
        self.ghost_mut(node).handed.truncate(first);
        for entry in entries {
            let handed = &mut self.ghost_mut(node).handed;
            let link = handed.last().then(entry);
            handed.push(link);
            links.push(link);
            if let Payload::Configuration(configuration) = &entry.payload {
                let index = entry.id.index;
                self.ghost_mut(node).configured(index, link, configuration);
            }
            self.know(node, entry, link);
        }
        // A leader has everything that was committed in terms up to its own, and brings nobody to cut it; one
        // that others have left behind may.
        let term = entries.last().map_or(Term(0), |entry| entry.id.term);
        let earlier = self.commits.range(..=term).next_back();
        let safe = earlier.map_or(Index(0), |(_, index)| *index);
        let safe = safe.max(self.ghost(node).commit);
        cut.retain(|(index, _)| *index <= safe);
        for (index, before) in cut {
            let committed = self.committed.get(index);
            if before.is_some()
                && before == committed
                && self.ghost(node).handed.get(index) != before
            {
                let text = format!("entry {index} is committed, and is cut from the log");
                self.report(Some(node), Invariant::I8, text);
            }
        }
    }

    /// What is written after a promise keeps it: terms do not fall, and a vote stays for its term.
    fn check_promises(&mut self, node: NodeId, next: HardState) {
        let ghost = self.ghost_mut(node);
        let before = ghost
            .lane
            .iter()
            .rev()
            .find_map(|pending| pending.hard_state);
        let before = before.unwrap_or(ghost.hard_state);
        if next.term < before.term {
            let text = format!("writes term {} after term {}", next.term, before.term);
            self.report(Some(node), Invariant::I3, text);
        } else if next.term == before.term
            && before.voted_for.is_some()
            && next.voted_for != before.voted_for
        {
            let text = format!("writes another vote in term {}, or none", next.term);
            self.report(Some(node), Invariant::I2, text);
        }
    }

    /// Log matching: one index and one term, one log up to there.
    fn know(&mut self, node: NodeId, entry: &Entry, link: Link) {
        let index = entry.id.index;
        let Some(place) = index.0.checked_sub(self.known_base.0 + 1) else {
            return;
        };
        let place = usize::try_from(place).unwrap_or(usize::MAX);
        while self.known.len() <= place {
            self.known.push_back(Vec::new());
        }
        let there = &mut self.known[place];
        match there.iter().find(|(known, _)| known.term == link.term) {
            Some((known, _)) if *known == link => {}
            Some(_) => {
                let text = format!(
                    "entry {index} of term {} differs from another node's entry {index} of that term",
                    link.term
                );
                self.report(Some(node), Invariant::I4, text);
            }
            None => there.push((link, entry.payload.clone())),
        }
        self.checks += 1;
    }
}
