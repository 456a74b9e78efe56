//! Linearizable reads on their way through a leader (dissertation §6.4).
//!
//! Always holds: a read is confirmed only by a round that began after it was asked for (S38).

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use crate::types::{Index, Round};

/// Reads that wait for a round to begin, and rounds that wait to be confirmed.
#[derive(Clone, Debug)]
pub(crate) struct ReadQueue<R> {
    waiting: Vec<R>,
    rounds: VecDeque<Batch<R>>,
    len: usize,
}

#[derive(Clone, Debug)]
struct Batch<R> {
    round: Round,
    index: Index,
    reads: Vec<R>,
}

impl<R> ReadQueue<R> {
    pub(crate) const fn new() -> Self {
        Self {
            waiting: Vec::new(),
            rounds: VecDeque::new(),
            len: 0,
        }
    }

    /// A read was asked for.
    pub(crate) fn push(&mut self, read: R) {
        self.waiting.push(read);
        self.len += 1;
    }

    /// Whether a round must begin.
    pub(crate) fn needs_round(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Reads not yet confirmed.
    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    /// A round begins; whatever was asked for so far may be answered at `index` once it is confirmed.
    pub(crate) fn begin(&mut self, round: Round, index: Index) {
        if self.waiting.is_empty() {
            return;
        }
        assert!(
            self.rounds.back().is_none_or(|last| last.round < round),
            "rounds are numbered upwards"
        );
        self.rounds.push_back(Batch {
            round,
            index,
            reads: core::mem::take(&mut self.waiting),
        });
    }

    /// Everything up to `round` is confirmed: hands out the next read with its index.
    pub(crate) fn confirmed(&mut self, round: Round) -> Option<(Index, Vec<R>)> {
        if self.rounds.front()?.round > round {
            return None;
        }
        let batch = self.rounds.pop_front()?;
        self.len -= batch.reads.len();
        Some((batch.index, batch.reads))
    }

    /// Hands out every read that is left: leadership is over.
    pub(crate) fn into_rest(self) -> impl Iterator<Item = R> {
        self.rounds
            .into_iter()
            .flat_map(|batch| batch.reads)
            .chain(self.waiting)
    }
}
