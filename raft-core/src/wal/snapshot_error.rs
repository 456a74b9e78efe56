//! Why a snapshot cannot be written, read or received.

use alloc::string::String;

use crate::replica::ImageError;

use super::disk::DiskError;

/// Why a snapshot cannot be written, read or received.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    /// No room: what was written of it is removed again.
    #[error("no space left for the snapshot {name}; free some, and the next one may fit")]
    Full {
        /// The file.
        name: String,
    },
    /// There is no such snapshot.
    #[error("there is no snapshot {name}")]
    Missing {
        /// The file that would hold it.
        name: String,
    },
    /// The file is not what was written.
    #[error(
        "the snapshot is damaged: {file} at offset {offset}: expected {expected}, found {found}"
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
    /// Bytes came that do not follow what was received.
    #[error("bytes at offset {found} were received, expected at offset {expected}")]
    OutOfPlace {
        /// Where the next bytes belong.
        expected: u64,
        /// Where these claim to belong.
        found: u64,
    },
    /// It was not received whole, or is longer than was announced.
    #[error("{found} bytes of the snapshot are here, expected {expected}")]
    Length {
        /// How long it was said to be.
        expected: u64,
        /// How much there is.
        found: u64,
    },
    /// Nothing of this snapshot is being received.
    #[error("the snapshot {name} is not being received")]
    NotReceiving {
        /// The file that would hold it.
        name: String,
    },
    /// The state machine's contents could not be written.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// The disk failed.
    #[error(transparent)]
    Disk(DiskError),
}

impl From<DiskError> for SnapshotError {
    fn from(error: DiskError) -> Self {
        match error {
            DiskError::Full { name } => Self::Full { name },
            DiskError::NotFound { name } => Self::Missing { name },
            DiskError::Failed { .. } => Self::Disk(error),
        }
    }
}
