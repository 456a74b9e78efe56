//! What a store is besides its entries, and what changes it.
//!
//! Always holds: every segment begins with all of it, so the newest one says everything that must be known
//! before the first entry, whatever became of the others.

use alloc::sync::Arc;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::action::{CompactLog, Persist};
use crate::codec;
use crate::configuration::Configuration;
use crate::planted::{Bug, planted};
use crate::snapshot::{SnapshotMark, SnapshotMeta};
use crate::types::{Boot, EntryId, HardState, Identity};

use super::record::{Content, Kind};

/// The payload of a `Start` record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct State {
    pub(super) boot: Boot,
    pub(super) hard_state: HardState,
    /// Where the log begins, and who takes part there.
    pub(super) base: SnapshotMeta,
    /// What the state machine begins from.
    pub(super) snapshot: Option<SnapshotMeta>,
    /// The first segment that holds anything above the base: those before it are not needed.
    pub(super) oldest: u64,
}

/// The second part of a `Change` record.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Change {
    pub(super) snapshot: Option<SnapshotMark>,
    pub(super) identity: Option<Identity>,
    pub(super) compacted: Option<Compacted>,
}

/// The log begins later.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Compacted {
    /// Where, and who takes part there.
    pub(super) base: SnapshotMeta,
    /// The first segment that holds anything above.
    pub(super) oldest: u64,
}

impl State {
    /// What a store is that was just made, in this segment.
    pub(super) fn new(configuration: &Configuration, segment: u64) -> Self {
        Self {
            boot: Boot(0),
            hard_state: HardState::default(),
            base: SnapshotMeta {
                id: EntryId::ZERO,
                term: EntryId::ZERO.term,
                configured: EntryId::ZERO,
                configuration: Arc::new(configuration.clone()),
            },
            snapshot: None,
            oldest: segment,
        }
    }

    /// The record that a segment begins with.
    pub(super) fn record(&self) -> (Kind, Vec<u8>) {
        (Kind::Start, codec::value_bytes(self))
    }

    /// Becomes what a record in that segment says.
    pub(super) fn follow(
        &mut self,
        segment: u64,
        hard_state: Option<HardState>,
        change: Option<&Change>,
    ) {
        self.hard_state = hard_state.unwrap_or(self.hard_state);
        let Some(change) = change else {
            return;
        };
        match &change.snapshot {
            Some(SnapshotMark::Taken(meta)) => self.snapshot = Some(meta.clone()),
            Some(SnapshotMark::Installed(meta)) => {
                self.snapshot = Some(meta.clone());
                self.base = meta.clone();
                self.oldest = segment;
            }
            None => {}
        }
        if let Some(compacted) = &change.compacted {
            self.base = compacted.base.clone();
            self.oldest = compacted.oldest;
        }
    }
}

impl Change {
    /// What a write changes besides entries, term and vote.
    pub(super) fn of(persist: &Persist) -> Option<Self> {
        if persist.snapshot.is_none() && persist.identity.is_none() {
            return None;
        }
        Some(Self {
            snapshot: persist.snapshot.as_deref().cloned(),
            identity: persist.identity.as_deref().copied(),
            compacted: None,
        })
    }

    pub(super) fn compacted(log: &CompactLog, oldest: u64) -> Self {
        let base = SnapshotMeta {
            id: log.base,
            term: log.base.term,
            configured: log.configured,
            configuration: log.configuration.clone(),
        };
        Self {
            compacted: Some(Compacted { base, oldest }),
            ..Self::default()
        }
    }

    /// The snapshot that replaces the log, if one does.
    pub(super) const fn installed(&self) -> Option<&SnapshotMeta> {
        match &self.snapshot {
            Some(SnapshotMark::Installed(meta)) => Some(meta),
            Some(SnapshotMark::Taken(_)) | None => None,
        }
    }
}

impl Content {
    /// Whether everything in the log before this record is void.
    pub(super) fn voids_log(&self) -> bool {
        let change = self.change.as_ref();
        change.is_some_and(|change| change.installed().is_some()) && !planted(Bug::ConflictLeft)
    }
}
