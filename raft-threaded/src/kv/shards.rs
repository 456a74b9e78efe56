//! An ordered map of keys and values that can be frozen at once.
//!
//! Freezing shares every shard; a shard is copied when it is written to next, so that no write waits for more
//! than one of them.
//!
//! Always holds: the shards cut the order of the hashes into equal parts, so that one after the other they are
//! in order.

use core::hint::black_box;
use std::sync::Arc;

use super::pair::Pair;
use super::shard::{Shard, Slot, Wanted};

/// As a power of two. Of a million keys a shard has 244, which are copied in some microseconds; freezing takes
/// 0.1 ms.
const SHARDS_LOG: u32 = 12;
/// The hash's bits below those that name the shard.
const SHARD_SHIFT: u32 = 63 - SHARDS_LOG;

/// How many keys are looked at together.
const LOOKS_MAX: usize = 32;

/// The map.
#[derive(Clone, Debug)]
pub(super) struct Shards {
    shards: Vec<Arc<Shard>>,
    length: usize,
    /// What is put together goes through here.
    scratch: Vec<u8>,
}

impl Default for Shards {
    fn default() -> Self {
        let empty = Arc::default();
        Self {
            shards: vec![empty; 1 << SHARDS_LOG],
            length: 0,
            scratch: Vec::new(),
        }
    }
}

fn place(hash: u64) -> usize {
    let place = usize::try_from(hash >> SHARD_SHIFT).unwrap_or(usize::MAX);
    place.min((1 << SHARDS_LOG) - 1)
}

impl Shards {
    pub(super) const fn len(&self) -> usize {
        self.length
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.length == 0
    }

    pub(super) fn get(&self, hash: u64, key: &[u8]) -> Option<&Pair> {
        self.shards[place(hash)].get(Wanted { hash, key }, SHARD_SHIFT)
    }

    /// Looks at what changes of these keys will touch, so that it is in a cache then: at the same part of each in
    /// turn, because looks that do not depend on each other are waited for together.
    pub(super) fn look_at(&self, hashes: impl Iterator<Item = u64>) {
        let (mut wanted, mut count) = ([0; LOOKS_MAX], 0);
        for (place, hash) in wanted.iter_mut().zip(hashes) {
            *place = hash;
            count += 1;
        }
        if count < 2 {
            return;
        }
        let shards = wanted[..count].iter();
        let shards = shards.map(|hash| (&self.shards[place(*hash)], *hash));
        let counts = shards.clone().map(|(shard, _)| Arc::strong_count(shard));
        black_box(counts.fold(0, |one, other| one ^ other));
        let slots = shards
            .clone()
            .map(|(shard, hash)| shard.look_near(hash, SHARD_SHIFT));
        black_box(slots.fold(0, |one, other| one ^ other));
        let pairs = shards.map(|(shard, hash)| shard.look_at(hash, SHARD_SHIFT));
        black_box(pairs.fold(0, |one, other| one ^ other));
    }

    /// Sets a value, which may come in parts.
    pub(super) fn set(&mut self, hash: u64, key: &[u8], value: &[&[u8]]) {
        let (shard, wanted) = (&mut self.shards[place(hash)], Wanted { hash, key });
        if Arc::make_mut(shard).set(wanted, value, SHARD_SHIFT, &mut self.scratch) {
            self.length += 1;
        }
    }

    pub(super) fn remove(&mut self, hash: u64, key: &[u8]) -> Option<Pair> {
        let (shard, wanted) = (&mut self.shards[place(hash)], Wanted { hash, key });
        // What is not there costs no copy.
        shard.get(wanted, SHARD_SHIFT)?;
        self.length -= 1;
        Arc::make_mut(shard).remove(wanted, SHARD_SHIFT)
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Everything, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Pair> {
        let slots = self.shards.iter().flat_map(|shard| shard.iter());
        slots.map(|slot| &slot.pair)
    }

    /// The keys whose hash is this or a higher one, in order, with their hashes.
    pub(super) fn keys_from(&self, hash: u64) -> impl Iterator<Item = (u64, &[u8])> {
        let first = place(hash);
        let (head, tail) = (&self.shards[first], &self.shards[first + 1..]);
        let tail = tail.iter().flat_map(|shard| shard.iter());
        let slots = head.iter_from(hash).chain(tail);
        slots.map(|Slot { hash, pair }| (*hash, pair.key()))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// The map against the one it stands for.
    #[derive(Default)]
    struct Both {
        shards: Shards,
        plain: BTreeMap<(u64, Vec<u8>), Vec<u8>>,
    }

    impl Both {
        fn check(&self) {
            assert_eq!(self.shards.len(), self.plain.len());
            assert_eq!(self.shards.is_empty(), self.plain.is_empty());
            let pairs = self.shards.iter().map(|pair| (pair.key(), pair.value()));
            assert!(
                pairs.eq(self
                    .plain
                    .iter()
                    .map(|((_, key), value)| (&key[..], &value[..])))
            );
        }
    }

    quickcheck::quickcheck! {
        fn it_does_what_one_map_does_and_frozen_ones_stay(steps: Vec<(u64, u8)>) -> bool {
            let mut both = Both::default();
            let mut frozen = Vec::new();
            for (hash, step) in steps.repeat(3) {
                // Half of them in few shards, and often the same again.
                let hash = (if step & 1 == 0 { hash % 8 } else { hash }) >> 1;
                let key = vec![step / 64];
                match step % 8 {
                    0 => frozen.push((both.shards.clone(), both.plain.clone())),
                    1 | 2 => {
                        let removed = both.shards.remove(hash, &key);
                        let removed = removed.map(|pair| pair.value().to_vec());
                        assert_eq!(removed, both.plain.remove(&(hash, key.clone())));
                    }
                    3 if step > 200 => {
                        both.shards.clear();
                        both.plain.clear();
                    }
                    _ => {
                        both.shards.set(hash, &key, &[&[], &[step]]);
                        both.plain.insert((hash, key.clone()), vec![step]);
                    }
                }
                let value = both.shards.get(hash, &key).map(Pair::value);
                assert_eq!(value, both.plain.get(&(hash, key)).map(|value| &value[..]));
                let plain = both.plain.range((hash, Vec::new())..).map(|((hash, key), _)| (*hash, &key[..]));
                assert!(both.shards.keys_from(hash).eq(plain));
            }
            both.check();
            frozen.into_iter().all(|(shards, plain)| {
                Both { shards, plain }.check();
                true
            })
        }
    }
}
