//! Who takes part: the configuration in force, and the step from one to the next.
//!
//! Read first: chapter 4 of the dissertation.

use std::collections::BTreeSet;
use std::sync::Arc;

use raft_core::{Configuration, Index, Member, NodeId, Status};

use super::Judge;
use super::chain::Link;
use super::ghost::{Configured, Ghost};
use super::invariant::Invariant;
use crate::machine::Machine;

/// More members than this are not tried in every combination.
const MEMBERS_TRIED: usize = 12;

impl Ghost {
    /// A configuration was handed to the disk as part of the log.
    pub(super) fn configured(
        &mut self,
        index: Index,
        link: Link,
        configuration: &Arc<Configuration>,
    ) {
        self.configurations.retain(|known| known.index < index);
        self.configurations.push(Configured {
            index,
            link,
            configuration: configuration.clone(),
        });
    }

    /// The latest configuration at or below an index, if any is known.
    pub(super) fn configured_at(&self, index: Index) -> Option<Configured> {
        let mut known = self.configurations();
        known.find(|known| known.index <= index).cloned()
    }

    /// Whether it is part of a cluster, as far as was seen.
    pub(super) fn takes_part(&self) -> bool {
        let shown = self.shown_last();
        shown.is_some_and(|shown| shown.is_voter(self.member))
    }

    /// Whether its log, as it is or as it was shown, has somebody as a member.
    pub(super) fn knows(&self, member: Member) -> bool {
        let last = self
            .configurations()
            .next()
            .map(|known| &known.configuration);
        let mut known = self.shown_last().into_iter().chain(last);
        known.any(|known| known.contains(member))
    }

    /// The latest configuration of its log, and where it is; of one that was never written, the place is none.
    fn believes(&self) -> Option<(Index, &Configuration)> {
        let last = self.configurations().next();
        let last = last.map(|known| (known.index, &*known.configuration));
        last.or_else(|| Some((Index(0), &**self.shown_last()?)))
    }

    /// The configuration that it showed last, in this life or one before.
    fn shown_last(&self) -> Option<&Arc<Configuration>> {
        self.shown.as_ref().or(self.shown_before.as_ref())
    }

    /// The configurations that are in the log still, latest first.
    fn configurations(&self) -> impl Iterator<Item = &Configured> {
        let known = self.configurations.iter().rev();
        known.filter(|known| {
            let found = self.handed.get(known.index);
            // What was forgotten was committed.
            found == Some(known.link) || (found.is_none() && known.index < self.handed.base())
        })
    }
}

impl<S: Machine> Judge<S> {
    /// What a node takes for the configuration in force, and where in its log it is.
    pub(crate) fn configuration_of(&self, node: NodeId) -> Option<(Index, &Configuration)> {
        self.ghost(node).believes()
    }

    /// What a node shows as its configuration is the last one in its log.
    pub(super) fn check_configuration(&mut self, node: NodeId, status: &Status<'_>) {
        let ghost = self.ghost(node);
        let known = ghost.shown.as_deref() == Some(status.configuration);
        if self.has_handed_all(node, status) {
            let last = ghost.configurations().next();
            let right = match last {
                Some(last) => {
                    let shown = status.configuration;
                    // The node and what it wrote share one, unless it was read back from the disk.
                    let same = core::ptr::eq(&*last.configuration, shown);
                    last.index == status.configured.index && (same || *last.configuration == *shown)
                }
                None => status.configured.index <= ghost.handed.base(),
            };
            if !right {
                let text = format!(
                    "has the configuration of entry {} in force, which is not the last one in its log",
                    status.configured.index
                );
                self.report(Some(node), Invariant::I10, text);
            }
        }
        if !known {
            self.checks += 1;
            let shown = Arc::new(status.configuration.clone());
            self.ghost_mut(node).shown = Some(shown);
        }
    }

    /// A leader has appended entries from an index on: what changes by them changes safely.
    pub(super) fn check_changes(&mut self, node: NodeId, first: Index, status: &Status<'_>) {
        let known: Vec<Configured> = self.ghost(node).configurations().take(2).cloned().collect();
        let [new, old] = known.as_slice() else {
            return;
        };
        if new.index < first {
            return;
        }
        self.checks += 1;
        if old.index > status.commit_index {
            let text = format!(
                "appends a configuration as entry {} while the one of entry {} is not committed",
                new.index, old.index
            );
            self.report(Some(node), Invariant::I10, text);
        } else if let Some(apart) = apart(&old.configuration, &new.configuration) {
            let text = format!(
                "appends a configuration as entry {}, in which nodes {apart:?} decide nothing that a \
                 majority of the one before must not decide without them",
                new.index
            );
            self.report(Some(node), Invariant::I10, text);
        }
    }
}

/// Members of whom a majority of the new configuration is made while the rest is one of the old.
fn apart(old: &Configuration, new: &Configuration) -> Option<Vec<u64>> {
    let members: BTreeSet<Member> = old.members().union(&new.members()).copied().collect();
    let members: Vec<Member> = members.into_iter().collect();
    if members.len() > MEMBERS_TRIED {
        return None;
    }
    (0..1_u64 << members.len()).find_map(|set| {
        let chosen = |member: &Member| {
            let place = members.iter().position(|other| other == member);
            place.is_some_and(|place| set & (1 << place) != 0)
        };
        let decides = super::commit::quorum_has(new, chosen)
            && super::commit::quorum_has(old, |member: &Member| !chosen(member));
        decides.then(|| {
            let found = members.iter().filter(|member| chosen(member));
            found.map(|member| member.node.0).collect()
        })
    })
}

#[cfg(test)]
mod tests {
    use super::apart;
    use raft_core::{Configuration, NodeId};

    use crate::order::member;

    fn of(nodes: &[u64]) -> Configuration {
        Configuration::of_voters(nodes.iter().map(|node| member(NodeId(*node), 0)))
    }

    #[test]
    fn majorities_meet_where_one_voter_differs_or_both_decide() {
        let (three, four, five) = (of(&[1, 2, 3]), of(&[1, 2, 3, 4]), of(&[1, 2, 3, 4, 5]));
        assert_eq!(apart(&three, &four), None);
        assert_eq!(apart(&four, &three), None);
        assert!(apart(&three, &five).is_some());
        assert!(apart(&three, &of(&[4, 5, 6])).is_some());
        let joint = three.joint_with(&of(&[4, 5, 6]));
        assert_eq!(apart(&three, &joint), None);
        assert_eq!(apart(&joint, &of(&[4, 5, 6])), None);
    }
}
