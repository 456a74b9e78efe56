//! Memory for the bytes of commands that are proposed together: they share it, so that a batch costs a few
//! allocations and not several for each command.
//!
//! Always holds: what is kept alive by one command is at most twice what was proposed with it, and no more than a
//! block.

use alloc::vec::Vec;

use bytes::{Bytes, BytesMut};

use super::request::PLAIN;

/// The largest piece of memory that commands share.
const BLOCK_BYTES_MAX: usize = 16 << 10;
/// Longer commands have memory of their own.
const SHARED_BYTES_MAX: usize = 2 << 10;

#[derive(Debug, Default)]
pub(super) struct Arena {
    /// The command that is being put together.
    scratch: Vec<u8>,
    block: BytesMut,
    /// Bytes that this batch has so far.
    used: usize,
}

impl Arena {
    /// The bytes that `encode` writes.
    pub(super) fn bytes(&mut self, encode: impl FnOnce(&mut Vec<u8>)) -> Bytes {
        self.scratch.clear();
        encode(&mut self.scratch);
        let length = self.scratch.len();
        if self.scratch[..] == [PLAIN] {
            // A command of no bytes is worth no memory that all who share it would have to count.
            return Bytes::from_static(&[PLAIN]);
        }
        if length > SHARED_BYTES_MAX {
            let own = core::mem::take(&mut self.scratch);
            return Bytes::from(own.into_boxed_slice());
        }
        if self.block.capacity() < length {
            let grown = self.used.min(BLOCK_BYTES_MAX);
            self.block = BytesMut::with_capacity(grown.max(length));
        }
        self.used += length;
        self.block.extend_from_slice(&self.scratch);
        self.block.split().freeze()
    }

    /// The batch is whole: the next one has nothing to do with it.
    pub(super) fn end_batch(&mut self) {
        if core::mem::take(&mut self.used) > 0 {
            self.block = BytesMut::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quickcheck::quickcheck;

    quickcheck! {
        fn each_command_has_its_own_bytes(commands: Vec<(Vec<u8>, u16)>) -> bool {
            let mut arena = Arena::default();
            let long = |(bytes, copies): &(Vec<u8>, u16)| bytes.repeat(usize::from(*copies % 512));
            let commands: Vec<Vec<u8>> = commands.iter().map(long).collect();
            let kept = commands.iter().map(|command| {
                if command.len() % 7 == 0 {
                    arena.end_batch();
                }
                arena.bytes(|out| out.extend_from_slice(command))
            });
            let kept: Vec<Bytes> = kept.collect();
            kept == commands
        }
    }

    #[test]
    fn commands_of_a_batch_lie_side_by_side_and_those_of_another_do_not() {
        let mut arena = Arena::default();
        let mut next = || arena.bytes(|out| out.extend_from_slice(b"command"));
        let first = next();
        let second = next();
        // Twice as much as both of them.
        let third = next();
        let fourth = next();
        assert_eq!(third.as_ptr().wrapping_add(7), fourth.as_ptr());
        arena.end_batch();
        assert_eq!(arena.block.capacity(), 0);
        drop(third);
        assert!(first.is_unique() && second.is_unique() && fourth.is_unique());
    }
}
