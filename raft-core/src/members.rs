//! A set of members.
//!
//! Always holds: in ascending order, each once.

use alloc::boxed::Box;
use alloc::vec::{self, Vec};
use core::{fmt, slice};

use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use crate::types::Member;

/// Members in order, each once.
///
/// In one piece of memory that is no larger than it has to be: every node of every group keeps some.
///
/// ```
/// use raft_core::{Member, Members, NodeId, StorageId};
///
/// let [a, b] = [1, 2].map(|n| Member { node: NodeId(n), store: StorageId(n.into()) });
/// let mut members = Members::from_iter([b, a]);
/// assert!(members.iter().eq(&[a, b]));
/// assert!(!members.insert(a));
/// assert!(members.remove(&a) && !members.contains(&a));
/// ```
#[derive(Clone, Default, PartialEq, Eq, Hash, Serialize)]
#[serde(transparent)]
pub struct Members(Box<[Member]>);

impl Members {
    /// How many there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether this is one of them.
    #[must_use]
    pub fn contains(&self, member: &Member) -> bool {
        self.0.binary_search(member).is_ok()
    }

    /// All of them, in order.
    pub fn iter(&self) -> slice::Iter<'_, Member> {
        self.0.iter()
    }

    /// Adds a member; false if it was there.
    pub fn insert(&mut self, member: Member) -> bool {
        let Err(place) = self.0.binary_search(&member) else {
            return false;
        };
        let mut list = core::mem::take(&mut self.0).into_vec();
        list.reserve_exact(1);
        list.insert(place, member);
        self.0 = list.into_boxed_slice();
        true
    }

    /// Removes a member; false if it was not there.
    pub fn remove(&mut self, member: &Member) -> bool {
        let Ok(place) = self.0.binary_search(member) else {
            return false;
        };
        let mut list = core::mem::take(&mut self.0).into_vec();
        list.remove(place);
        self.0 = list.into_boxed_slice();
        true
    }

    /// Those that are not among others.
    pub fn difference<'a>(&'a self, others: &'a Self) -> impl Iterator<Item = &'a Member> {
        self.iter().filter(|member| !others.contains(member))
    }
}

impl fmt::Debug for Members {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(&self.0).finish()
    }
}

impl From<Vec<Member>> for Members {
    fn from(mut list: Vec<Member>) -> Self {
        list.sort_unstable();
        list.dedup();
        Self(list.into_boxed_slice())
    }
}

impl<const N: usize> From<[Member; N]> for Members {
    fn from(members: [Member; N]) -> Self {
        Self::from_iter(members)
    }
}

impl FromIterator<Member> for Members {
    fn from_iter<I: IntoIterator<Item = Member>>(members: I) -> Self {
        Self::from(Vec::from_iter(members))
    }
}

impl Extend<Member> for Members {
    fn extend<I: IntoIterator<Item = Member>>(&mut self, members: I) {
        let mut list = core::mem::take(&mut self.0).into_vec();
        list.extend(members);
        *self = Self::from(list);
    }
}

impl<'a> Extend<&'a Member> for Members {
    fn extend<I: IntoIterator<Item = &'a Member>>(&mut self, members: I) {
        self.extend(members.into_iter().copied());
    }
}

impl IntoIterator for Members {
    type Item = Member;
    type IntoIter = vec::IntoIter<Member>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_vec().into_iter()
    }
}

impl<'a> IntoIterator for &'a Members {
    type Item = &'a Member;
    type IntoIter = slice::Iter<'a, Member>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_seq(Sequence)
    }
}

/// Takes members one by one: whoever claims that many follow gets no memory for the claim.
struct Sequence;

impl<'de> Visitor<'de> for Sequence {
    type Value = Members;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a sequence of members")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<Members, A::Error> {
        let mut list = Vec::new();
        while let Some(member) = from.next_element()? {
            list.push(member);
        }
        Ok(Members::from(list))
    }
}

#[cfg(test)]
mod tests {
    use super::Members;
    use crate::types::{Member, NodeId, StorageId};
    use alloc::collections::BTreeSet;
    use alloc::format;
    use alloc::vec::Vec;
    use quickcheck::quickcheck;

    fn member(node: u8) -> Member {
        Member {
            node: NodeId((node % 8).into()),
            store: StorageId((node / 8 % 2).into()),
        }
    }

    quickcheck! {
        /// Against the standard library's set.
        fn it_is_a_set_in_order(first: Vec<u8>, steps: Vec<(bool, u8)>) -> bool {
            let mut members = Members::from_iter(first.iter().copied().map(member));
            let mut set = BTreeSet::from_iter(first.into_iter().map(member));
            for (added, node) in steps {
                let member = member(node);
                let same = if added {
                    members.insert(member) == set.insert(member)
                } else {
                    members.remove(&member) == set.remove(&member)
                };
                if !same || members.contains(&member) != added {
                    return false;
                }
            }
            members.iter().eq(&set) && format!("{members:?}") == format!("{set:?}")
        }
    }
}
