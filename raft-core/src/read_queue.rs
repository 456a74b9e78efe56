//! Linearizable reads on their way through a leader (dissertation §6.4).
//!
//! Always holds: a read is confirmed only by a round that began after it was asked for (S38).

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use crate::rare::Seldom;
use crate::types::{Index, Round, Time};

/// Reads that wait for a round to begin, and rounds that wait to be confirmed.
#[derive(Clone, Debug)]
pub(crate) struct ReadQueue<R> {
    waiting: Vec<R>,
    /// When the first of those that wait for a round gives up.
    deadline: Time,
    rounds: VecDeque<Batch<R>>,
    len: usize,
}

#[derive(Clone, Debug)]
struct Batch<R> {
    round: Round,
    index: Index,
    deadline: Time,
    reads: Vec<R>,
}

impl<R> Default for ReadQueue<R> {
    fn default() -> Self {
        Self {
            waiting: Vec::new(),
            deadline: Time(0),
            rounds: VecDeque::new(),
            len: 0,
        }
    }
}

impl<R: 'static> Seldom for ReadQueue<R> {
    const NOTHING: &'static Self = &Self {
        waiting: Vec::new(),
        deadline: Time(0),
        rounds: VecDeque::new(),
        len: 0,
    };

    fn is_nothing(&self) -> bool {
        self.len == 0
    }
}

impl<R> ReadQueue<R> {
    /// A read was asked for, which is worth an answer until `deadline`.
    pub(crate) fn push(&mut self, read: R, deadline: Time) {
        if self.waiting.is_empty() {
            self.deadline = deadline;
        }
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
            deadline: self.deadline,
            reads: core::mem::take(&mut self.waiting),
        });
    }

    /// Rounds up to `round` are confirmed and the log is committed up to `committed`: hands out the
    /// next reads that both allow, with their index.
    pub(crate) fn confirmed(&mut self, round: Round, committed: Index) -> Option<(Index, Vec<R>)> {
        let front = self.rounds.front()?;
        if front.round > round || front.index > committed {
            return None;
        }
        let batch = self.rounds.pop_front()?;
        self.len -= batch.reads.len();
        Some((batch.index, batch.reads))
    }

    /// Hands out the next reads whose time is up.
    pub(crate) fn expired(&mut self, now: Time) -> Option<Vec<R>> {
        if self.next_deadline()? > now {
            return None;
        }
        let reads = match self.rounds.pop_front() {
            Some(batch) => batch.reads,
            None => core::mem::take(&mut self.waiting),
        };
        self.len -= reads.len();
        Some(reads)
    }

    /// When the first reads give up.
    pub(crate) fn next_deadline(&self) -> Option<Time> {
        let waiting = (!self.waiting.is_empty()).then_some(self.deadline);
        self.rounds.front().map(|batch| batch.deadline).or(waiting)
    }

    /// Hands out every read that is left: leadership is over.
    pub(crate) fn into_rest(self) -> impl Iterator<Item = R> {
        self.rounds
            .into_iter()
            .flat_map(|batch| batch.reads)
            .chain(self.waiting)
    }
}
