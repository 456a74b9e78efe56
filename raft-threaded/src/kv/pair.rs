//! A key and its value, in one piece of memory that frozen copies of the store share.
//!
//! Finding a key costs one look at memory that is seldom in a cache, and its value lies beside it.

use std::sync::Arc;

use bytes::Bytes;

/// The length of the key, in front of it.
const LENGTH_BYTES: usize = 4;
/// Values up to this size are copied into replies; larger ones are shared with them.
const COPIED_BYTES_MAX: usize = 4 << 10;
/// Memory that is kept for putting pairs together.
const SCRATCH_BYTES_MAX: usize = 64 << 10;

/// What comes into a cache with any of its bytes.
const LINE_BYTES: usize = 64;
/// How much of a pair is looked at: a processor fetches what follows by itself.
const LINES_MAX: usize = 8;

/// A key and its value. Clones are cheap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pair(Arc<[u8]>);

impl Pair {
    /// Puts both together, by way of `scratch`, which is empty.
    pub(super) fn new(key: &[u8], value: &[&[u8]], scratch: &mut Vec<u8>) -> Self {
        let length = u32::try_from(key.len());
        let length = length.unwrap_or_else(|_| unreachable!("a key is smaller than 4 GiB"));
        scratch.extend_from_slice(&length.to_le_bytes());
        scratch.extend_from_slice(key);
        for part in value {
            scratch.extend_from_slice(part);
        }
        let pair = Self(Arc::from(&scratch[..]));
        scratch.clear();
        scratch.shrink_to(SCRATCH_BYTES_MAX);
        pair
    }

    /// Replaces the value where it is: false if it has another length, or if others share it.
    pub(super) fn overwrite(&mut self, value: &[&[u8]]) -> bool {
        let length: usize = value.iter().map(|part| part.len()).sum();
        let start = self.0.len() - self.value().len();
        if self.0.len() != start + length {
            return false;
        }
        let Some(bytes) = Arc::get_mut(&mut self.0) else {
            return false;
        };
        let mut rest = &mut bytes[start..];
        for part in value {
            let (place, others) = rest.split_at_mut(part.len());
            place.copy_from_slice(part);
            rest = others;
        }
        true
    }

    fn split(&self) -> (&[u8], &[u8]) {
        let Some((length, rest)) = self.0.split_first_chunk::<LENGTH_BYTES>() else {
            unreachable!("a pair begins with the length of its key");
        };
        rest.split_at(u32::from_le_bytes(*length) as usize)
    }

    pub(super) fn key(&self) -> &[u8] {
        self.split().0
    }

    pub(super) fn value(&self) -> &[u8] {
        self.split().1
    }

    /// Looks at all of it, unless it is long.
    pub(super) fn look(&self) -> u8 {
        // Reference counts lie in front of the bytes.
        let counts = usize::from(Arc::strong_count(&self.0) == 0);
        let lines = self.0.iter().skip(counts).step_by(LINE_BYTES);
        lines.take(LINES_MAX).fold(0, |one, other| one ^ other)
    }

    /// The value for a reply.
    pub(super) fn to_bytes(&self) -> Bytes {
        let value = self.value();
        if value.len() <= COPIED_BYTES_MAX {
            return Bytes::copy_from_slice(value);
        }
        let start = self.0.len() - value.len();
        Bytes::from_owner(Shared(self.0.clone())).slice(start..)
    }
}

/// Keeps a pair for as long as its value is being sent.
struct Shared(Arc<[u8]>);

impl AsRef<[u8]> for Shared {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_overwritten_only_if_it_is_as_long_and_nobody_shares_it() {
        let mut pair = Pair::new(b"key", &[b"value"], &mut Vec::new());
        assert!(!pair.overwrite(&[b"longer"]));
        assert!(!pair.overwrite(&[b"less"]));
        assert!(pair.overwrite(&[b"ot", b"her"]));
        assert_eq!((pair.key(), pair.value()), (&b"key"[..], &b"other"[..]));
        let shared = pair.clone();
        assert!(!pair.overwrite(&[b"third"]));
        assert_eq!(shared.value(), b"other");
        drop(shared);
        assert!(pair.overwrite(&[b"third"]));
    }

    #[test]
    fn a_value_is_the_same_whether_it_is_copied_or_shared() {
        let mut scratch = Vec::new();
        for length in [0, 1, COPIED_BYTES_MAX, COPIED_BYTES_MAX + 1, 1 << 20] {
            let value: Vec<u8> = (0..=255).cycle().take(length).collect();
            let (one, other) = value.split_at(length / 3);
            let pair = Pair::new(b"key", &[one, other], &mut scratch);
            assert_eq!((pair.key(), pair.value()), (&b"key"[..], &value[..]));
            assert_eq!(pair.to_bytes(), value);
            assert!(scratch.capacity() <= SCRATCH_BYTES_MAX);
        }
    }
}
