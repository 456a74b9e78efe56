//! Who takes part: configurations, and the stack of those the log still holds.
//!
//! Read first: §6, and chapter 4 of the dissertation.
//!
//! Always holds: a configuration is in force from the moment it is appended, and out of force from
//! the moment its entry is truncated.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::members::Members;
use crate::planted::{Bug, planted};
use crate::quorum::{self, Tally};
use crate::rare::Rare;
use crate::types::{EntryId, Index, Member, NodeId};

/// The members of a cluster and their part in it.
///
/// During a joint change `outgoing` holds the voters of the old configuration, and every decision
/// needs a majority of both sets (§6).
///
/// ```
/// use raft_core::{Configuration, Member, NodeId, StorageId};
///
/// let members = [1, 2, 3].map(|n| Member { node: NodeId(n), store: StorageId(n.into()) });
/// let configuration = Configuration::of_voters(members);
/// assert!(configuration.is_voter(members[0]));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Configuration {
    /// Who votes and is counted.
    pub voters: Members,
    /// Who also votes and is counted until the joint phase ends; otherwise empty.
    pub outgoing: Members,
    /// Who receives the log without being counted. During a joint change it also names the outgoing
    /// voters that become learners when it ends; until then they are counted.
    pub learners: Members,
    /// Where each member is reached, in whatever form the transport understands.
    pub addresses: BTreeMap<Member, String>,
}

impl Configuration {
    /// A configuration of voters, without addresses.
    #[must_use]
    pub fn of_voters(voters: impl IntoIterator<Item = Member>) -> Self {
        Self {
            voters: voters.into_iter().collect(),
            ..Self::default()
        }
    }

    /// Whether the member's vote counts, in either half of a joint configuration.
    #[must_use]
    pub fn is_voter(&self, member: Member) -> bool {
        self.voters.contains(&member) || self.outgoing.contains(&member)
    }

    /// Whether the member takes part at all.
    #[must_use]
    pub fn contains(&self, member: Member) -> bool {
        self.is_voter(member) || self.learners.contains(&member)
    }

    /// Every member once, in order.
    #[must_use]
    pub fn members(&self) -> BTreeSet<Member> {
        let voters = self.voters.iter().chain(&self.outgoing);
        voters.chain(&self.learners).copied().collect()
    }

    /// The member that stands for a node; during a replacement the incoming one.
    #[must_use]
    pub fn member_of(&self, node: NodeId) -> Option<Member> {
        [&self.voters, &self.learners, &self.outgoing]
            .into_iter()
            .flatten()
            .find(|member| member.node == node)
            .copied()
    }

    /// Counts a ballot over every set of voters.
    pub fn tally(&self, ballot: impl Fn(Member) -> Option<bool>) -> Tally {
        let voters = quorum::tally(self.voters.iter().map(|m| ballot(*m)));
        if self.outgoing.is_empty() || planted(Bug::OneMajorityElects) {
            return voters;
        }
        match (
            voters,
            quorum::tally(self.outgoing.iter().map(|m| ballot(*m))),
        ) {
            (Tally::Won, Tally::Won) => Tally::Won,
            (Tally::Lost, _) | (_, Tally::Lost) => Tally::Lost,
            (Tally::Open, _) | (_, Tally::Open) => Tally::Open,
        }
    }

    /// The greatest value that a majority of every set of voters has reached; `None` without voters.
    pub fn reached<T: Copy + Ord + Default>(&self, value: impl Fn(Member) -> T) -> Option<T> {
        if planted(Bug::LearnersCount) {
            return quorum::reached(self.members().into_iter().map(value));
        }
        let voters = quorum::reached(self.voters.iter().map(|m| value(*m)))?;
        match quorum::reached(self.outgoing.iter().map(|m| value(*m))) {
            Some(outgoing) if !planted(Bug::OneMajority) => Some(voters.min(outgoing)),
            Some(_) | None => Some(voters),
        }
    }

    /// What it may take in memory and on the wire, for the quotas.
    #[must_use]
    pub fn memory_bytes(&self) -> u64 {
        let members = self.voters.len() + self.outgoing.len() + self.learners.len();
        let addresses: usize = self.addresses.values().map(|a| a.len() + 64).sum();
        (members * 64 + addresses) as u64
    }
}

/// The configurations of the log, newest last, above the one in force where the log begins.
///
/// Several uncommitted ones can be truncated at once (S25), hence a stack and not a pair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Configurations {
    base: (EntryId, Arc<Configuration>),
    later: Rare<Vec<(EntryId, Arc<Configuration>)>>,
}

impl Configurations {
    /// The configuration in force at the place before the log's first entry, and the entry that made it.
    #[must_use]
    pub const fn new(made_by: EntryId, configuration: Arc<Configuration>) -> Self {
        Self {
            base: (made_by, configuration),
            later: Rare::new(),
        }
    }

    /// The latest: the one in force, committed or not.
    #[must_use]
    pub fn latest(&self) -> &Arc<Configuration> {
        &self.last().1
    }

    /// The entry that made the latest.
    #[must_use]
    pub fn latest_id(&self) -> EntryId {
        self.last().0
    }

    /// Where the latest was appended.
    #[must_use]
    pub fn latest_index(&self) -> Index {
        self.last().0.index
    }

    fn last(&self) -> &(EntryId, Arc<Configuration>) {
        self.later.last().unwrap_or(&self.base)
    }

    /// The latest at or below an index that is not below the log's beginning, and the entry that made it.
    #[must_use]
    pub fn at(&self, index: Index) -> (EntryId, &Arc<Configuration>) {
        let place = self.later.partition_point(|(id, _)| id.index <= index);
        let (id, configuration) = match place.checked_sub(1) {
            Some(place) => &self.later[place],
            None => &self.base,
        };
        (*id, configuration)
    }

    /// A configuration entry was appended.
    ///
    /// # Panics
    ///
    /// If it does not lie above the latest: the log has no two entries at one index.
    pub fn append(&mut self, id: EntryId, configuration: Arc<Configuration>) {
        assert!(
            id.index > self.latest_index(),
            "a configuration is appended above the latest"
        );
        self.later.make().push((id, configuration));
    }

    /// The log was truncated: entries from `from` on are gone. True if that changed the latest.
    pub fn truncate(&mut self, from: Index) -> bool {
        let Some(later) = self.later.made() else {
            return false;
        };
        let before = later.len();
        later.retain(|(id, _)| id.index < from);
        later.len() != before
    }

    /// The log begins after `base` from now on: what was in force there is all that is kept of before.
    pub fn compact(&mut self, base: Index) {
        let (id, configuration) = self.at(base);
        self.base = (id, configuration.clone());
        if let Some(later) = self.later.made() {
            later.retain(|(id, _)| id.index > base);
            self.later.give_back();
        }
    }

    /// All of them, oldest first, with the entry that made each.
    pub fn iter(&self) -> impl Iterator<Item = (EntryId, &Arc<Configuration>)> {
        core::iter::once(&self.base)
            .chain(&*self.later)
            .map(|(id, configuration)| (*id, configuration))
    }
}
