//! `Disk` in memory, for servers whose history need not outlive their process.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use raft_core::wal::{Disk, DiskError};

/// A directory of files in memory; clones share it, and it stays for as long as one of them does.
///
/// So a server can be stopped and started again with all that it had. Nothing keeps two servers from running on one
/// at a time, which spoils both: the next is started when the former was waited for, shut down or dropped, and
/// [`Server::is_stopped`](crate::Server::is_stopped) alone does not say so.
///
///  Nothing is lost by anything but the end of
/// the process, so a sync has nothing to do. It has room for whatever there is memory for.
///
/// ```
/// use raft_core::wal::Disk;
/// use raft_threaded::MemoryDisk;
///
/// let mut disk = MemoryDisk::new();
/// let file = disk.create("a").unwrap();
/// disk.write_at(&file, 2, b"there").unwrap();
///
/// let mut same = disk.clone();
/// let (file, mut buffer) = (same.open("a").unwrap(), [1; 8]);
/// assert_eq!(same.read_at(&file, 0, &mut buffer).unwrap(), 7);
/// assert_eq!(&buffer[..7], b"\0\0there");
/// ```
#[derive(Clone, Debug, Default)]
pub struct MemoryDisk {
    files: Arc<Mutex<BTreeMap<String, MemoryFile>>>,
}

/// An open file of a [`MemoryDisk`]; it can be read and written for as long as it is open, whatever its name is
/// now.
#[derive(Clone, Debug, Default)]
pub struct MemoryFile {
    bytes: Arc<Mutex<Vec<u8>>>,
}

/// A thread that panicked while it held the lock left the bytes as a process that ends leaves its files.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl MemoryDisk {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

fn not_found(name: &str) -> DiskError {
    DiskError::NotFound {
        name: name.to_string(),
    }
}

/// A place in a file, which is in memory as a whole.
fn place(offset: u64) -> Result<usize, DiskError> {
    usize::try_from(offset).map_err(|_| DiskError::Failed {
        operation: "reaching into",
        name: "a file in memory".to_string(),
        message: format!("offset {offset} is past what can be addressed"),
    })
}

impl Disk for MemoryDisk {
    type File = MemoryFile;

    fn open(&mut self, name: &str) -> Result<MemoryFile, DiskError> {
        let files = lock(&self.files);
        files.get(name).cloned().ok_or_else(|| not_found(name))
    }

    fn create(&mut self, name: &str) -> Result<MemoryFile, DiskError> {
        let file = MemoryFile::default();
        lock(&self.files).insert(name.to_string(), file.clone());
        Ok(file)
    }

    fn length(&mut self, file: &MemoryFile) -> Result<u64, DiskError> {
        Ok(lock(&file.bytes).len() as u64)
    }

    fn read_at(
        &mut self,
        file: &MemoryFile,
        offset: u64,
        buffer: &mut [u8],
    ) -> Result<usize, DiskError> {
        let bytes = lock(&file.bytes);
        let there = bytes.get(place(offset)?..).unwrap_or_default();
        let count = buffer.len().min(there.len());
        buffer[..count].copy_from_slice(&there[..count]);
        Ok(count)
    }

    fn write_at(&mut self, file: &MemoryFile, offset: u64, bytes: &[u8]) -> Result<(), DiskError> {
        let start = place(offset)?;
        let mut held = lock(&file.bytes);
        if held.len() < start {
            held.resize(start, 0);
        }
        let over = bytes.len().min(held.len() - start);
        held[start..start + over].copy_from_slice(&bytes[..over]);
        held.extend_from_slice(&bytes[over..]);
        Ok(())
    }

    fn sync(&mut self, _file: &MemoryFile) -> Result<(), DiskError> {
        Ok(())
    }

    fn rename(&mut self, from: &str, to: &str) -> Result<(), DiskError> {
        let mut files = lock(&self.files);
        let file = files.remove(from).ok_or_else(|| not_found(from))?;
        files.insert(to.to_string(), file);
        Ok(())
    }

    fn remove(&mut self, name: &str) -> Result<(), DiskError> {
        let removed = lock(&self.files).remove(name);
        removed.map(drop).ok_or_else(|| not_found(name))
    }

    fn list(&mut self) -> Result<Vec<String>, DiskError> {
        Ok(lock(&self.files).keys().cloned().collect())
    }

    fn sync_directory(&mut self) -> Result<(), DiskError> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(disk: &mut MemoryDisk, file: &MemoryFile) -> String {
        let mut buffer = [b'?'; 16];
        let count = disk.read_at(file, 0, &mut buffer).unwrap();
        String::from_utf8(buffer[..count].to_vec()).unwrap()
    }

    #[test]
    fn a_write_replaces_what_it_covers_and_grows_the_file_by_the_rest() {
        let mut disk = MemoryDisk::new();
        let file = disk.create("log").unwrap();
        disk.write_at(&file, 0, b"abcdef").unwrap();
        disk.write_at(&file, 4, b"XYZ").unwrap();
        disk.write_at(&file, 1, b"-").unwrap();
        assert_eq!(text(&mut disk, &file), "a-cdXYZ");
        assert_eq!(disk.length(&file), Ok(7));
        assert_eq!(disk.read_at(&file, 9, &mut [0]), Ok(0));
    }

    #[test]
    fn names_are_shared_by_clones_and_a_file_outlives_its_name() {
        let mut disk = MemoryDisk::new();
        let file = disk.create("spare").unwrap();
        disk.write_at(&file, 0, b"kept").unwrap();
        let mut same = disk.clone();
        same.rename("spare", "log").unwrap();
        assert_eq!(disk.list().unwrap(), ["log"]);
        assert_eq!(disk.open("spare").unwrap_err(), not_found("spare"));
        disk.remove("log").unwrap();
        assert_eq!(text(&mut disk, &file), "kept");
        assert_eq!(disk.remove("log"), Err(not_found("log")));
        assert_eq!(disk.rename("log", "spare"), Err(not_found("log")));
    }

    #[test]
    fn a_file_that_is_made_anew_is_another_one() {
        let mut disk = MemoryDisk::new();
        let old = disk.create("log").unwrap();
        let new = disk.create("log").unwrap();
        disk.write_at(&new, 0, b"new").unwrap();
        let opened = disk.open("log").unwrap();
        assert_eq!(text(&mut disk, &opened), "new");
        assert_eq!(disk.length(&old), Ok(0));
    }
}
