//! What a snapshot is to consensus: where it stands in the log, and who took part there (§7).

use alloc::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::configuration::Configuration;
use crate::types::{EntryId, Term};

/// A snapshot without its contents.
///
/// It replaces every entry up to and including `id`; the configuration is the latest one at or below that
/// place, so it is committed (S61).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotMeta {
    /// The last entry that the snapshot contains.
    pub id: EntryId,
    /// The term of the node that took it, in which it knew the entry to be committed. Whoever relies on
    /// the snapshot is in that term or a later one, so that it follows no leader that may not have it.
    pub term: Term,
    /// The entry that made the configuration.
    pub configured: EntryId,
    /// Who took part there.
    pub configuration: Arc<Configuration>,
}

/// A snapshot that a store is to rely on from now on: part of a [`crate::Persist`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SnapshotMark {
    /// Taken of this node's own state machine; the log stays as it is.
    Taken(SnapshotMeta),
    /// Received from another node; the log is discarded whole and begins anew after it.
    Installed(SnapshotMeta),
}

impl SnapshotMark {
    /// The snapshot.
    #[must_use]
    pub const fn meta(&self) -> &SnapshotMeta {
        match self {
            Self::Taken(meta) | Self::Installed(meta) => meta,
        }
    }
}
