//! Which entries are not needed any more (§7; dissertation §5.1).
//!
//! Always holds: only what a durable snapshot contains is compacted (S62); a peer that is slow or gone
//! holds no more of the log than `Options::compact_wait_bytes_max`.

use crate::action::{Action, CompactLog};
use crate::types::{EntryId, Index};

use super::Node;

/// While peers hold back what could be compacted, it goes in steps of so many bytes.
const STEP_BYTES: u64 = 1 << 20;

impl Node {
    /// Moves the place where the log begins, if that is worth it; true if it was.
    #[inline(always)]
    pub(super) fn begin_compact(&mut self) -> bool {
        // Many groups never have one.
        self.snapshots.get().is_some() && self.compact_behind_snapshot()
    }

    fn compact_behind_snapshot(&mut self) -> bool {
        let Some(base) = self.compactable() else {
            return false;
        };
        let Some(term) = self.log.term(base) else {
            return false;
        };
        let (configured, configuration) = self.configurations.at(base);
        let compact = CompactLog {
            base: EntryId { term, index: base },
            configured,
            configuration: configuration.clone(),
        };
        self.log.compact(base);
        self.configurations.compact(base);
        self.outbox.push(Action::CompactLog(compact));
        true
    }

    /// The last entry that is to go, if any is.
    fn compactable(&self) -> Option<Index> {
        let snapshot = self.snapshots.durable()?;
        let sizes = self.log.sizes();
        let base = self.log.base().index;
        // A state machine that is being restored has applied nothing.
        let end = snapshot.index.min(self.apply.applied());
        let goal = sizes.behind(end, self.options.compact_keep_bytes);
        // Nothing below goes further: this is all there is to do in most drains.
        if goal <= base {
            return None;
        }
        let forced = sizes.behind(end, self.options.compact_wait_bytes_max);
        let spared = self
            .not_needed_by_peers()
            .map_or(goal, |free| goal.min(free));
        let to = spared.max(forced);
        let worth = to == goal || to == forced || sizes.between(base, to) >= STEP_BYTES;
        (to > base && worth).then_some(to)
    }
}
