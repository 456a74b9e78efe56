//! Chain hashes: one number that stands for a whole log up to an index.
//!
//! Always holds: two logs with the same link at an index are the same up to there, but for a collision of
//! 64 bits.

use std::collections::VecDeque;

use raft_core::{Entry, EntryId, Index, Payload, Term};

/// The end of a log, as one number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) term: Term,
    pub(crate) hash: u64,
}

/// Odd, and as random as the golden ratio.
const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;

/// Folds a word into a hash; the same on every platform.
pub(crate) const fn mix(hash: u64, word: u64) -> u64 {
    let mixed = (hash ^ word).wrapping_mul(FACTOR);
    mixed ^ (mixed >> 29)
}

pub(crate) fn mix_bytes(mut hash: u64, bytes: &[u8]) -> u64 {
    let mut words = bytes.chunks_exact(8);
    for word in &mut words {
        hash = mix(
            hash,
            word.iter().fold(0, |sum, b| (sum << 8) | u64::from(*b)),
        );
    }
    let rest = words.remainder().iter();
    let rest = rest.fold(bytes.len() as u64, |sum, b| (sum << 8) | u64::from(*b));
    mix(hash, rest)
}

impl Link {
    /// The link of an entry that follows this one.
    pub(crate) fn then(self, entry: &Entry) -> Self {
        let hash = mix(self.hash, entry.id.term.0);
        let hash = match &entry.payload {
            Payload::Noop => mix(hash, 1),
            Payload::Command(command) => mix_bytes(mix(hash, 2), command),
            Payload::Configuration(configuration) => {
                let members = configuration.members();
                members.iter().fold(mix(hash, 3), |hash, member| {
                    let vote = u64::from(configuration.is_voter(*member));
                    mix(mix(hash, member.node.0), vote)
                })
            }
        };
        Self {
            term: entry.id.term,
            hash,
        }
    }
}

/// The links of a log, above a place below which nothing is looked at any more.
#[derive(Clone, Debug, Default)]
pub(crate) struct Chain {
    base: u64,
    base_link: Link,
    links: VecDeque<Link>,
}

impl Chain {
    /// A log of which only the end of what came before is known.
    pub(crate) const fn beginning(base: Index, base_link: Link) -> Self {
        Self {
            base: base.0,
            base_link,
            links: VecDeque::new(),
        }
    }

    /// The last entry.
    pub(crate) fn last_id(&self) -> EntryId {
        EntryId {
            term: self.last().term,
            index: self.last_index(),
        }
    }

    pub(crate) fn last_index(&self) -> Index {
        Index(self.base + self.links.len() as u64)
    }

    /// The index below which nothing is remembered.
    pub(crate) const fn base(&self) -> Index {
        Index(self.base)
    }

    pub(crate) fn last(&self) -> Link {
        self.links.back().copied().unwrap_or(self.base_link)
    }

    /// The link at an index; `None` above the end and below the base.
    pub(crate) fn get(&self, index: Index) -> Option<Link> {
        if index.0 == self.base {
            return Some(self.base_link);
        }
        let place = usize::try_from(index.0.checked_sub(self.base + 1)?).ok()?;
        self.links.get(place).copied()
    }

    /// Cuts everything from an index on.
    pub(crate) fn truncate(&mut self, from: Index) {
        let keep = from.0.saturating_sub(self.base + 1);
        self.links
            .truncate(usize::try_from(keep).unwrap_or(usize::MAX));
    }

    pub(crate) fn push(&mut self, link: Link) {
        self.links.push_back(link);
    }

    /// Forgets what lies below an index.
    pub(crate) fn forget_below(&mut self, index: Index) {
        while self.base < index.0
            && let Some(link) = self.links.pop_front()
        {
            self.base += 1;
            self.base_link = link;
        }
    }

    pub(crate) fn terms(&self) -> Vec<Term> {
        self.links.iter().map(|link| link.term).collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.links.len()
    }
}

#[cfg(test)]
mod tests {
    use super::{Chain, Link};
    use raft_core::{Bytes, Entry, EntryId, Index, Payload, Term};

    fn entry(term: u64, index: u64, command: &'static str) -> Entry {
        Entry {
            id: EntryId {
                term: Term(term),
                index: Index(index),
            },
            payload: Payload::Command(Bytes::from_static(command.as_bytes())),
        }
    }

    #[test]
    fn a_link_tells_logs_apart_that_differ_anywhere_below() {
        let same = Link::default().then(&entry(1, 1, "a"));
        let one = same.then(&entry(1, 2, "b"));
        assert_eq!(one, same.then(&entry(1, 2, "b")));
        assert_ne!(one, same.then(&entry(1, 2, "c")));
        assert_ne!(one, same.then(&entry(2, 2, "b")));
        let other = Link::default().then(&entry(1, 1, "x"));
        assert_ne!(one, other.then(&entry(1, 2, "b")));
        let zeros = Link::default().then(&entry(1, 1, "\0"));
        assert_ne!(zeros, Link::default().then(&entry(1, 1, "\0\0")));
    }

    #[test]
    fn what_was_forgotten_is_not_found_and_the_rest_stays() {
        let mut chain = Chain::default();
        for index in 1..=10 {
            chain.push(chain.last().then(&entry(1, index, "x")));
        }
        let seven = chain.get(Index(7));
        chain.forget_below(Index(7));
        assert_eq!(chain.get(Index(6)), None);
        assert_eq!(chain.get(Index(7)), seven);
        chain.truncate(Index(9));
        assert_eq!(chain.last_index(), Index(8));
        assert_eq!(chain.get(Index(9)), None);
    }
}
