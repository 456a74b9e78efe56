//! What the log needs of a disk.

use alloc::string::String;
use alloc::vec::Vec;

/// One directory of files.
///
/// Only `raft-threaded` implements it on a file system; simulators implement it on memory that tears,
/// loses and corrupts. Nothing is durable before a sync: contents need [`Disk::sync`], names
/// [`Disk::sync_directory`].
pub trait Disk {
    /// An open file.
    type File;

    /// Opens an existing file for reading and writing.
    ///
    /// # Errors
    ///
    /// [`DiskError::NotFound`] if there is none, or what the disk says.
    fn open(&mut self, name: &str) -> Result<Self::File, DiskError>;

    /// Makes an empty file, replacing any of that name.
    ///
    /// # Errors
    ///
    /// What the disk says.
    fn create(&mut self, name: &str) -> Result<Self::File, DiskError>;

    /// The file's length in bytes.
    ///
    /// # Errors
    ///
    /// What the disk says.
    fn length(&mut self, file: &Self::File) -> Result<u64, DiskError>;

    /// Reads at an offset until the buffer is full or the file ends; returns how much was read.
    ///
    /// # Errors
    ///
    /// What the disk says.
    fn read_at(
        &mut self,
        file: &Self::File,
        offset: u64,
        buffer: &mut [u8],
    ) -> Result<usize, DiskError>;

    /// Writes all bytes at an offset, growing the file if needed.
    ///
    /// # Errors
    ///
    /// [`DiskError::Full`] if there is no room, in which case any part may have been written, or what
    /// the disk says.
    fn write_at(&mut self, file: &Self::File, offset: u64, bytes: &[u8]) -> Result<(), DiskError>;

    /// Makes the file's contents and length durable.
    ///
    /// # Errors
    ///
    /// What the disk says; afterwards the contents are not to be trusted, and it is not called again.
    fn sync(&mut self, file: &Self::File) -> Result<(), DiskError>;

    /// Gives a file another name, replacing any of that name.
    ///
    /// # Errors
    ///
    /// What the disk says.
    fn rename(&mut self, from: &str, to: &str) -> Result<(), DiskError>;

    /// Removes a file.
    ///
    /// # Errors
    ///
    /// What the disk says.
    fn remove(&mut self, name: &str) -> Result<(), DiskError>;

    /// The names of all files, in any order.
    ///
    /// # Errors
    ///
    /// What the disk says.
    fn list(&mut self) -> Result<Vec<String>, DiskError>;

    /// Makes created, renamed and removed names durable.
    ///
    /// # Errors
    ///
    /// What the disk says.
    fn sync_directory(&mut self) -> Result<(), DiskError>;
}

/// Why a disk did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DiskError {
    /// No room: nothing is lost, and trying again later may succeed.
    #[error("no space left while writing {name}; free some and writing goes on")]
    Full {
        /// The file.
        name: String,
    },
    /// There is no file of that name.
    #[error("there is no file {name}")]
    NotFound {
        /// The name.
        name: String,
    },
    /// Anything else.
    #[error("{operation} {name} failed: {message}")]
    Failed {
        /// What was tried.
        operation: &'static str,
        /// On which file.
        name: String,
        /// What the operating system said.
        message: String,
    },
}
