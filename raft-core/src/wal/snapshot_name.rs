//! What the names of snapshot files say.

use alloc::format;
use alloc::string::String;

use crate::types::{EntryId, Index, Term};

use super::segment::parse_number;

/// How far a file is, told by the end of its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Whole and synced.
    Whole,
    /// Being written; worthless after a crash.
    Taking,
    /// Being received; what of it verifies need not be received again.
    Receiving,
}

impl Stage {
    const ALL: [Self; 3] = [Self::Whole, Self::Taking, Self::Receiving];

    const fn ending(self) -> &'static str {
        match self {
            Self::Whole => ".snap",
            Self::Taking => ".taking",
            Self::Receiving => ".part",
        }
    }
}

const PREFIX: &str = "snapshot-";

pub(super) fn file_name(id: EntryId, stage: Stage) -> String {
    let ending = stage.ending();
    format!("{PREFIX}{:020}-{:020}{ending}", id.index.0, id.term.0)
}

pub(super) fn parse_name(name: &str) -> Option<(EntryId, Stage)> {
    let stage = Stage::ALL
        .into_iter()
        .find(|s| name.ends_with(s.ending()))?;
    let middle = name.strip_prefix(PREFIX)?.strip_suffix(stage.ending())?;
    let (index, term) = middle.split_once('-')?;
    let id = EntryId {
        term: Term(parse_number(term)?),
        index: Index(parse_number(index)?),
    };
    Some((id, stage))
}

/// The name of the file that holds a snapshot.
pub(super) fn snapshot_name(id: EntryId) -> String {
    file_name(id, Stage::Whole)
}

/// Whether a file is a snapshot, whole or not.
pub(super) fn is_snapshot(name: &str) -> bool {
    parse_name(name).is_some()
}

/// Whether a file is a whole snapshot.
pub(super) fn is_whole_snapshot(name: &str) -> bool {
    matches!(parse_name(name), Some((_, Stage::Whole)))
}
