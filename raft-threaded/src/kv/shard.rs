//! A part of the store: pairs in the order of their hashes, in few pieces of memory.
//!
//! Hashes are spread evenly, so a pair's place is guessed and then looked for from there: mostly one look at
//! memory instead of the several that a tree takes.
//!
//! Always holds: chunks are in order, and so is what they hold; none but the first is empty, and that only if there
//! is no other.

use core::cmp::Ordering;

use super::pair::Pair;

/// A chunk that grows beyond this is cut in two, so that no insertion moves more than that.
const CHUNK_MAX: usize = if cfg!(test) { 4 } else { 512 };

/// A pair and the hash of its key.
#[derive(Clone, Debug)]
pub(super) struct Slot {
    pub(super) hash: u64,
    pub(super) pair: Pair,
}

/// Pairs whose hashes lie in one range.
#[derive(Clone, Debug, Default)]
pub(super) struct Shard {
    first: Vec<Slot>,
    /// What did not fit there, which takes some hundred thousand keys in all shards.
    rest: Vec<Vec<Slot>>,
}

/// What is looked for: a hash, and the key.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted<'a> {
    pub(super) hash: u64,
    pub(super) key: &'a [u8],
}

/// Where a pair is: chunk and place in it.
#[derive(Clone, Copy, Debug)]
struct Place {
    chunk: usize,
    place: usize,
}

impl Slot {
    fn cmp(&self, wanted: Wanted<'_>) -> Ordering {
        let hashes = self.hash.cmp(&wanted.hash);
        hashes.then_with(|| self.pair.key().cmp(wanted.key))
    }
}

impl Shard {
    /// The pair with this key; `shift` is how many bits of a hash differ within the shard.
    pub(super) fn get(&self, wanted: Wanted<'_>, shift: u32) -> Option<&Pair> {
        let found = self.find(wanted, shift).ok()?;
        Some(&self.chunk(found.chunk)[found.place].pair)
    }

    /// Sets a value, which may come in parts: true if there was none. Pairs are put together by way of `scratch`.
    pub(super) fn set(
        &mut self,
        wanted: Wanted<'_>,
        value: &[&[u8]],
        shift: u32,
        scratch: &mut Vec<u8>,
    ) -> bool {
        match self.find(wanted, shift) {
            Ok(found) => {
                let pair = &mut self.chunk_mut(found.chunk)[found.place].pair;
                if !pair.overwrite(value) {
                    *pair = Pair::new(wanted.key, value, scratch);
                }
                false
            }
            Err(Place { chunk, place }) => {
                let (hash, pair) = (wanted.hash, Pair::new(wanted.key, value, scratch));
                let slots = self.chunk_mut(chunk);
                slots.insert(place, Slot { hash, pair });
                if slots.len() > CHUNK_MAX {
                    let upper = slots.split_off(slots.len() / 2);
                    self.rest.insert(chunk, upper);
                }
                true
            }
        }
    }

    /// Takes a pair out.
    pub(super) fn remove(&mut self, wanted: Wanted<'_>, shift: u32) -> Option<Pair> {
        let Place { chunk, place } = self.find(wanted, shift).ok()?;
        let slots = self.chunk_mut(chunk);
        let removed = slots.remove(place);
        if slots.is_empty() && !self.rest.is_empty() {
            let next = self.rest.remove(chunk.saturating_sub(1));
            if chunk == 0 {
                self.first = next;
            }
        }
        Some(removed.pair)
    }

    /// Everything, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Slot> {
        self.first.iter().chain(self.rest.iter().flatten())
    }

    /// What has this hash or a higher one, in order.
    pub(super) fn iter_from(&self, hash: u64) -> impl Iterator<Item = &Slot> {
        let chunks = core::iter::once(&self.first).chain(&self.rest);
        let chunks = chunks.skip_while(move |slots| slots.last().is_none_or(|s| s.hash < hash));
        let mut chunks = chunks.peekable();
        let before = chunks
            .peek()
            .map_or(0, |slots| slots.partition_point(|s| s.hash < hash));
        chunks.flatten().skip(before)
    }

    /// Looks at a slot near the one with this hash.
    pub(super) fn look_near(&self, hash: u64, shift: u32) -> u64 {
        let slot = self.first.get(guess(hash, self.first.len(), shift));
        slot.map_or(0, |slot| slot.hash)
    }

    /// Looks at all of a pair with this hash.
    pub(super) fn look_at(&self, hash: u64, shift: u32) -> u8 {
        // Keys are not compared: what is done next would wait for them, one after the other.
        let found = self.find_by(hash, shift, |slot| slot.hash.cmp(&hash));
        found.map_or(0, |found| self.chunk(found.chunk)[found.place].pair.look())
    }

    fn chunk(&self, chunk: usize) -> &[Slot] {
        match chunk.checked_sub(1) {
            None => &self.first,
            Some(later) => &self.rest[later],
        }
    }

    fn chunk_mut(&mut self, chunk: usize) -> &mut Vec<Slot> {
        match chunk.checked_sub(1) {
            None => &mut self.first,
            Some(later) => &mut self.rest[later],
        }
    }

    /// Where it is, or where it would be.
    fn find(&self, wanted: Wanted<'_>, shift: u32) -> Result<Place, Place> {
        self.find_by(wanted.hash, shift, |slot| slot.cmp(wanted))
    }

    /// Likewise, in an order by which slots are sorted.
    fn find_by(
        &self,
        hash: u64,
        shift: u32,
        order: impl Fn(&Slot) -> Ordering,
    ) -> Result<Place, Place> {
        let (chunk, found) = if self.rest.is_empty() {
            let guess = guess(hash, self.first.len(), shift);
            (0, search(&self.first, guess, order))
        } else {
            let chunk = self.rest.partition_point(|slots| order(&slots[0]).is_le());
            (chunk, self.chunk(chunk).binary_search_by(order))
        };
        let at = |place| Place { chunk, place };
        found.map(at).map_err(at)
    }
}

/// Where among so many a hash would be if they were spread evenly.
fn guess(hash: u64, length: usize, shift: u32) -> usize {
    let within = hash & ((1 << shift) - 1);
    let guess = (u128::from(within) * length as u128) >> shift;
    usize::try_from(guess).unwrap_or(0)
}

/// Where it is, or where it would be, from a guess on in steps that grow.
fn search(slots: &[Slot], guess: usize, order: impl Fn(&Slot) -> Ordering) -> Result<usize, usize> {
    let Some(guessed) = slots.get(guess) else {
        return Err(0);
    };
    let (mut low, mut high, mut step) = (0, slots.len(), 1);
    match order(guessed) {
        Ordering::Equal => return Ok(guess),
        Ordering::Less => {
            low = guess + 1;
            while low + step <= high && order(&slots[low + step - 1]).is_lt() {
                low += step;
                step *= 2;
            }
            high = high.min(low + step);
        }
        Ordering::Greater => {
            high = guess;
            while high >= step && order(&slots[high - step]).is_gt() {
                high -= step;
                step *= 2;
            }
            low = low.max(high.saturating_sub(step));
        }
    }
    let found = slots[low..high].binary_search_by(order);
    found.map(|place| low + place).map_err(|place| low + place)
}

#[cfg(test)]
mod tests {
    use super::*;

    quickcheck::quickcheck! {
        fn a_place_is_found_from_wherever_it_is_looked_for(hashes: Vec<u8>, wanted: u8, guess: u8) -> bool {
            let mut hashes = hashes;
            hashes.sort_unstable();
            hashes.dedup();
            let pair = Pair::new(b"key", &[], &mut Vec::new());
            let slots = hashes.iter().map(|hash| Slot { hash: (*hash).into(), pair: pair.clone() });
            let slots: Vec<Slot> = slots.collect();
            let guess = usize::from(guess) % slots.len().max(1);
            let key = b"key";
            let wanted = Wanted { hash: wanted.into(), key };
            let found = search(&slots, guess, |slot| slot.cmp(wanted));
            found == hashes.binary_search_by(|hash| u64::from(*hash).cmp(&wanted.hash))
        }
    }
}
