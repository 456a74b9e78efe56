//! Checksums of any part of some bytes, each in a few steps after one pass over all of them.
//!
//! A search that computes the checksum of every candidate would take a time that grows with the square of
//! what somebody put into the log's payloads.

use alloc::vec::Vec;

use crc32fast::Hasher;

/// Between two places whose checksum from the beginning is kept.
const STEP: usize = 64;

/// Knows the checksum of every prefix of some bytes, at steps.
pub(super) struct RangeCrc<'a> {
    bytes: &'a [u8],
    prefixes: Vec<u32>,
}

impl<'a> RangeCrc<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        let mut hasher = Hasher::new();
        let mut prefixes = Vec::with_capacity(bytes.len() / STEP + 1);
        for chunk in bytes.chunks(STEP) {
            prefixes.push(hasher.clone().finalize());
            hasher.update(chunk);
        }
        prefixes.push(hasher.finalize());
        Self { bytes, prefixes }
    }

    /// The checksum of the first `length` bytes.
    fn prefix(&self, length: usize) -> u32 {
        let kept = length / STEP;
        let mut hasher = Hasher::new_with_initial(self.prefixes[kept]);
        hasher.update(&self.bytes[kept * STEP..length]);
        hasher.finalize()
    }

    /// The checksum of `before` followed by the bytes from `from` to `to`.
    pub(super) fn after(&self, before: Hasher, from: usize, to: usize) -> u32 {
        let length = (to - from) as u64;
        // As if so many bytes followed that have no checksum of their own.
        let gap = Hasher::new_with_initial_len(0, length);
        let mut shifted = Hasher::new_with_initial_len(self.prefix(from), from as u64);
        shifted.combine(&gap);
        let range = self.prefix(to) ^ shifted.finalize();
        let mut whole = before;
        whole.combine(&Hasher::new_with_initial_len(range, length));
        whole.finalize()
    }
}

#[cfg(test)]
mod tests {
    use super::RangeCrc;
    use alloc::vec::Vec;
    use crc32fast::Hasher;
    use quickcheck::quickcheck;

    quickcheck! {
        fn a_range_has_the_checksum_that_hashing_it_has(
            before: Vec<u8>,
            bytes: Vec<u8>,
            copies: u8,
            one: usize,
            other: usize
        ) -> bool {
            let bytes = bytes.repeat(usize::from(copies % 8) + 1);
            let (one, other) = (one % (bytes.len() + 1), other % (bytes.len() + 1));
            let (from, to) = (one.min(other), one.max(other));
            let mut hasher = Hasher::new();
            hasher.update(&before);
            let mut direct = hasher.clone();
            direct.update(&bytes[from..to]);
            RangeCrc::new(&bytes).after(hasher, from, to) == direct.finalize()
        }
    }
}
