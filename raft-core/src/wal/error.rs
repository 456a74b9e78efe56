//! Why a log cannot be opened.

use alloc::boxed::Box;
use alloc::string::String;

use crate::error::OptionsError;
use crate::types::Identity;

use super::disk::DiskError;

/// Why a log cannot be opened: the operator must act. Unless the disk itself failed half way, nothing was
/// changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecoveryError {
    /// There is no log.
    #[error("there is no log here")]
    Empty,
    /// A log is there already.
    #[error("a log is here already: {file}")]
    Exists {
        /// One of its files.
        file: String,
    },
    /// A file that should be a segment is something else.
    #[error("{file} is not a segment of this log: it does not begin with \"raft-wal\"")]
    NotALog {
        /// The file.
        file: String,
    },
    /// Another version wrote it.
    #[error("{file} has format {version} with codec {codec}, expected format 1 with codec 1")]
    Version {
        /// The file.
        file: String,
        /// Its format version.
        version: u16,
        /// Its codec.
        codec: u8,
    },
    /// Something that was synced is not there any more. The store must not vote again: it may have
    /// promised what it can no longer show.
    #[error(
        "the log is damaged: {file} at offset {offset}: expected {expected}, found {found}; this \
         store must not vote again: remove the node from the cluster and add it with a new store"
    )]
    Damaged {
        /// The file.
        file: String,
        /// Where in it.
        offset: u64,
        /// What belongs there.
        expected: String,
        /// What is there.
        found: String,
    },
    /// A segment belongs to another store.
    #[error("{file} belongs to {found:?}, the rest of the log to {expected:?}")]
    Foreign {
        /// The file.
        file: String,
        /// Whose the rest is.
        expected: Box<Identity>,
        /// Whose it is.
        found: Box<Identity>,
    },
    /// A tunable is out of range.
    #[error(transparent)]
    Options(#[from] OptionsError),
    /// The disk failed.
    #[error(transparent)]
    Disk(#[from] DiskError),
}
