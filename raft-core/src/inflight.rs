//! What is on its way to one peer: a window bounded in appends and in bytes (S51).

use alloc::collections::VecDeque;

use crate::planted::{Bug, planted};
use crate::rare::Rare;
use crate::types::Index;

/// Appends sent and not yet acknowledged, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inflight {
    window: Rare<VecDeque<(Index, u64)>>,
    bytes: u64,
}

impl Inflight {
    /// Whether another append must wait; an empty window never is full.
    #[must_use]
    pub fn is_full(&self, appends_max: u32, bytes_max: u64) -> bool {
        (!self.window.is_empty() || planted(Bug::InflightLeak))
            && (self.window.len() >= appends_max as usize || self.bytes >= bytes_max)
    }

    /// An append whose last entry is `last` was sent.
    ///
    /// # Panics
    ///
    /// If it does not lie above the one sent before.
    #[inline(always)]
    pub fn sent(&mut self, last: Index, bytes: u64) {
        assert!(
            self.window.back().is_none_or(|(before, _)| *before < last),
            "appends are sent in order"
        );
        self.window.make().push_back((last, bytes));
        self.bytes += bytes;
    }

    /// Everything up to `matched` has arrived; what was sent after it stays.
    #[inline(always)]
    pub fn acknowledged(&mut self, matched: Index) {
        let Some(window) = self.window.made() else {
            return;
        };
        while let Some((last, bytes)) = window.front() {
            if *last > matched {
                break;
            }
            self.bytes -= bytes;
            window.pop_front();
        }
    }

    /// What was on its way no longer counts.
    pub fn reset(&mut self) {
        if let Some(window) = self.window.made() {
            window.clear();
        }
        if planted(Bug::InflightLeak) {
            // Something has to be on its way for the leaked bytes to count.
            return;
        }
        self.bytes = 0;
    }

    /// Keeps no room for what has arrived.
    pub(crate) fn give_back(&mut self) {
        self.window.give_back();
    }

    /// How many appends are on their way.
    #[must_use]
    pub fn appends(&self) -> usize {
        self.window.len()
    }

    /// How many bytes are on their way.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }
}
