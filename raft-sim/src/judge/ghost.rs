//! What one node has promised and stored, kept outside the node: its crashes do not touch it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use raft_core::{
    Configuration, EntryId, HardState, Index, Member, NodeId, PersistId, Restored, Term,
};

use super::chain::{Chain, Link};

/// A write handed to the log lane and not durable yet.
#[derive(Clone, Debug)]
pub(super) struct Pending {
    pub(super) id: PersistId,
    pub(super) hard_state: Option<HardState>,
    /// The snapshot to rely on from then on.
    pub(super) mark: Option<EntryId>,
    /// The log that replaces the whole one.
    pub(super) installed: Option<Chain>,
    pub(super) first: Index,
    pub(super) links: Vec<Link>,
}

/// A configuration in a log, and the link of its entry there.
#[derive(Clone, Debug)]
pub(super) struct Configured {
    pub(super) index: Index,
    pub(super) link: Link,
    pub(super) configuration: Arc<Configuration>,
}

/// The promises of one node's store, over all its lives.
#[derive(Clone, Debug, Default)]
pub(super) struct Ghost {
    /// Who has promised.
    pub(super) member: Member,
    /// The log as it was handed to the disk.
    pub(super) handed: Chain,
    /// The log as it is on the disk for certain.
    pub(super) durable: Chain,
    /// Term and vote as they are on the disk for certain.
    pub(super) hard_state: HardState,
    /// The snapshot that the disk relies on for certain.
    pub(super) mark: Option<EntryId>,
    /// What lies between the two.
    pub(super) lane: VecDeque<Pending>,
    /// Whom it voted for; the latest terms.
    pub(super) votes: BTreeMap<Term, NodeId>,
    /// What was seen of it in this life.
    pub(super) term: Term,
    pub(super) commit: Index,
    pub(super) applied: Index,
    /// Up to here what it counts as committed was compared.
    pub(super) compared: Index,
    /// It takes no further part.
    pub(super) lost: bool,
    /// It is part of a cluster that is not judged.
    pub(super) stranger: bool,
    /// The term it leads.
    pub(super) leading: Option<Term>,
    /// In this leadership there was a moment when all of its log had been handed out.
    pub(super) leads_for_certain: bool,
    /// How much it acknowledged to the leader of each term; the latest terms.
    pub(super) acknowledged: BTreeMap<Term, Index>,
    /// The configurations in its log, as it was handed to the disk; some may have been cut since.
    pub(super) configurations: Vec<Configured>,
    /// Those that an installed snapshot replaced, until its mark is durable.
    pub(super) replaced: Option<Vec<Configured>>,
    /// The configuration it showed last.
    pub(super) shown: Option<Arc<Configuration>>,
    /// The configuration that it showed last in lives before.
    pub(super) shown_before: Option<Arc<Configuration>>,
    /// What it counted for each follower, in this leadership.
    pub(super) matches: Vec<(Member, Index)>,
}

impl Pending {
    /// What a log ends with once this is written to it.
    fn end(&self, before: EntryId) -> EntryId {
        let before = self
            .installed
            .as_ref()
            .map_or(before, |chain| chain.last_id());
        match self.links.last() {
            Some(link) => EntryId {
                term: link.term,
                index: Index(self.first.0 + self.links.len() as u64 - 1),
            },
            None => before,
        }
    }
}

impl Ghost {
    /// A store that has promised nothing.
    pub(super) fn new(member: Member) -> Self {
        Self {
            member,
            ..Self::default()
        }
    }

    /// Everything up to this write is durable.
    pub(super) fn synced(&mut self, id: PersistId) {
        while self.lane.front().is_some_and(|pending| pending.id <= id)
            && let Some(pending) = self.lane.pop_front()
        {
            self.write(pending);
        }
    }

    fn write(&mut self, pending: Pending) {
        self.mark = pending.mark.or(self.mark);
        if let Some(chain) = pending.installed {
            self.replaced = None;
            self.durable = chain;
        }
        if !pending.links.is_empty() {
            self.durable.truncate(pending.first);
            for link in pending.links {
                self.durable.push(link);
            }
        }
        if let Some(hard_state) = pending.hard_state {
            self.hard_state = hard_state;
        }
    }

    /// A new life begins from what recovery found, which must be what was durable plus some of the
    /// writes that came after, in their order. Returns what is wrong with it otherwise.
    pub(super) fn recovered(&mut self, restored: &Restored) -> Result<(), String> {
        let found = restored.terms.last();
        let (term, vote) = (restored.hard_state.term, restored.hard_state.voted_for);
        let mut end = self.durable.last_id();
        let mut hard_state = self.hard_state;
        let snapshot = restored.snapshot.as_ref().map(|snapshot| snapshot.id);
        let mut mark = self.mark;
        let matches = |end: EntryId, hard_state: HardState, mark: Option<EntryId>| {
            end == found
                && (hard_state.term, hard_state.voted_for) == (term, vote)
                && mark == snapshot
        };
        let mut survived = matches(end, hard_state, mark).then_some(0);
        for (place, pending) in self.lane.iter().enumerate() {
            end = pending.end(end);
            hard_state = pending.hard_state.unwrap_or(hard_state);
            mark = pending.mark.or(mark);
            if matches(end, hard_state, mark) {
                survived = Some(place + 1);
            }
        }
        let Some(survived) = survived else {
            return Err(format!(
                "recovery found a log that ends with entry {} of term {} and term {term} with a vote \
                 for {}; what was synced ends with entry {} of term {} and term {}, followed by {} \
                 unsynced writes",
                found.index,
                found.term,
                vote.map_or("nobody".to_string(), |vote| format!("node {}", vote.node)),
                self.durable.last_index(),
                self.durable.last().term,
                self.hard_state.term,
                self.lane.len()
            ));
        };
        for _ in 0..survived {
            if let Some(pending) = self.lane.pop_front() {
                self.write(pending);
            }
        }
        self.lane.clear();
        // A snapshot that did not survive has replaced nothing.
        if let Some(before) = self.replaced.take() {
            self.configurations = before;
        }
        self.check_contents(restored)?;
        self.handed = self.durable.clone();
        self.term = term;
        self.commit = Index(0);
        self.compared = Index(0);
        self.applied = Index(0);
        self.leading = None;
        self.shown_before = self.shown.take().or(self.shown_before.take());
        Ok(())
    }

    fn check_contents(&self, restored: &Restored) -> Result<(), String> {
        for run in restored.terms.runs() {
            let known = self.durable.get(run.index);
            if known.is_some_and(|link| link.term != run.term) {
                return Err(format!(
                    "entry {} was written with another term than {}",
                    run.index, run.term
                ));
            }
        }
        let Some(first) = restored.tail.first() else {
            return Ok(());
        };
        let Some(mut link) = self.durable.get(first.id.index.previous()) else {
            return Ok(());
        };
        for entry in &restored.tail {
            link = link.then(entry);
            if self.durable.get(entry.id.index) != Some(link) {
                let index = entry.id.index;
                return Err(format!("entry {index} is not what was written there"));
            }
        }
        Ok(())
    }
}
