//! What a node keeps for each of a few members.
//!
//! Always holds: in the order of members, each once.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

use crate::types::Member;

/// Up to so many are looked at one by one, which is faster than halving.
const FEW: usize = 8;

/// A map by member, in one piece of memory that is no larger than it has to be: a leader looks at all of its
/// peers with every commit, and idle groups are many.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct ByMember<V> {
    list: Box<[(Member, V)]>,
}

impl<V> Default for ByMember<V> {
    fn default() -> Self {
        Self::of(Vec::new())
    }
}

impl<V: fmt::Debug> fmt::Debug for ByMember<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl<V> ByMember<V> {
    fn of(list: Vec<(Member, V)>) -> Self {
        Self {
            list: list.into_boxed_slice(),
        }
    }

    fn take(&mut self) -> Vec<(Member, V)> {
        core::mem::take(self).list.into_vec()
    }

    /// Where the member is, or would be.
    fn place(&self, member: Member) -> Result<usize, usize> {
        if self.list.len() <= FEW {
            for (place, (other, _)) in self.list.iter().enumerate() {
                if *other >= member {
                    return if *other == member {
                        Ok(place)
                    } else {
                        Err(place)
                    };
                }
            }
            return Err(self.list.len());
        }
        self.list.binary_search_by_key(&member, |(other, _)| *other)
    }

    #[inline(always)]
    pub(crate) fn get(&self, member: Member) -> Option<&V> {
        if self.list.len() <= FEW {
            let mut list = self.list.iter();
            return list.find_map(|(other, value)| (*other == member).then_some(value));
        }
        let place = self.place(member).ok()?;
        self.list.get(place).map(|(_, value)| value)
    }

    #[inline(always)]
    pub(crate) fn get_mut(&mut self, member: Member) -> Option<&mut V> {
        if self.list.len() <= FEW {
            let mut list = self.list.iter_mut();
            return list.find_map(|(other, value)| (*other == member).then_some(value));
        }
        let place = self.place(member).ok()?;
        self.list.get_mut(place).map(|(_, value)| value)
    }

    pub(crate) fn contains(&self, member: Member) -> bool {
        self.place(member).is_ok()
    }

    /// The member's value, which is this one if it had none.
    pub(crate) fn get_or_insert(&mut self, member: Member, value: V) -> &mut V {
        let place = self.place(member).unwrap_or_else(|place| {
            let mut list = self.take();
            list.reserve_exact(1);
            list.insert(place, (member, value));
            *self = Self::of(list);
            place
        });
        &mut self.list[place].1
    }

    pub(crate) fn remove(&mut self, member: Member) -> Option<V> {
        let place = self.place(member).ok()?;
        let mut list = self.take();
        let (_, value) = list.remove(place);
        *self = Self::of(list);
        Some(value)
    }

    pub(crate) fn retain(&mut self, mut keep: impl FnMut(Member, &mut V) -> bool) {
        let mut list = self.take();
        list.retain_mut(|(member, value)| keep(*member, value));
        *self = Self::of(list);
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    pub(crate) const fn len(&self) -> usize {
        self.list.len()
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = (Member, &V)> {
        self.list.iter().map(|(member, value)| (*member, value))
    }

    pub(crate) fn iter_mut(&mut self) -> impl ExactSizeIterator<Item = (Member, &mut V)> {
        self.list.iter_mut().map(|(member, value)| (*member, value))
    }

    pub(crate) fn values(&self) -> impl ExactSizeIterator<Item = &V> {
        self.list.iter().map(|(_, value)| value)
    }

    /// What is taken of each value, and one more.
    pub(crate) fn values_and<T: Copy>(
        &self,
        one: T,
        of: impl Fn(&V) -> T,
    ) -> impl ExactSizeIterator<Item = T> {
        (0..self.list.len() + 1).map(move |place| match self.list.get(place) {
            Some((_, value)) => of(value),
            None => one,
        })
    }

    pub(crate) fn values_mut(&mut self) -> impl ExactSizeIterator<Item = &mut V> {
        self.list.iter_mut().map(|(_, value)| value)
    }
}
