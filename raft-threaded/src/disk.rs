//! `Disk` on files: the only place that touches the file system.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use raft_core::wal::{Disk, DiskError};

use crate::error::StartError;

const LOCK_NAME: &str = "lock";
/// What a snapshot thread writes between two syncs: little enough that a sync of the log beside it waits for
/// some milliseconds, and enough to go on as fast as the device.
const STEP_BYTES: u64 = 1 << 20;

/// One directory, locked against other processes for as long as this value or a clone of it lives.
///
/// The log and the snapshots lie in one directory and are used by different threads, each through a clone.
#[derive(Clone, Debug)]
pub struct FileDisk {
    directory: PathBuf,
    /// Its own handle, because a directory is synced like a file.
    handle: Arc<File>,
    _lock: Arc<Lock>,
    /// After how many bytes what was written is synced without being asked.
    step: Option<u64>,
    /// Bytes written since the last sync.
    unsynced: u64,
}

/// Keeps other processes off a directory until it is dropped, and no longer: whoever was started meanwhile has a
/// copy of the file's handle until it has replaced itself, and the lock would live as long as that.
#[derive(Debug)]
struct Lock(File);

impl Drop for Lock {
    fn drop(&mut self) {
        // What does not work here works when the handle is closed.
        let _ = self.0.unlock();
    }
}

/// An open file with the name it is reported by.
#[derive(Debug)]
pub struct NamedFile {
    file: File,
    name: String,
}

impl FileDisk {
    /// What is in a directory, which is left as it is: no lock is made in what may be somebody else's.
    pub(crate) fn look_into(directory: &Path) -> Result<Vec<String>, StartError> {
        list(directory).map_err(|error| StartError::Data {
            directory: directory.to_path_buf(),
            error,
        })
    }

    /// Opens a directory and locks it.
    ///
    /// # Errors
    ///
    /// If it is not there, cannot be used, or another process holds it.
    pub fn open(directory: &Path) -> Result<Self, StartError> {
        let data = |error: io::Error| StartError::Data {
            directory: directory.to_path_buf(),
            error,
        };
        let handle = File::open(directory).map_err(data)?;
        if !handle.metadata().map_err(data)?.is_dir() {
            return Err(data(ErrorKind::NotADirectory.into()));
        }
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let lock = options.open(directory.join(LOCK_NAME)).map_err(data)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self {
                directory: directory.to_path_buf(),
                handle: Arc::new(handle),
                _lock: Arc::new(Lock(lock)),
                step: None,
                unsynced: 0,
            }),
            Err(fs::TryLockError::WouldBlock) => Err(StartError::InUse {
                directory: directory.to_path_buf(),
            }),
            Err(fs::TryLockError::Error(error)) => Err(data(error)),
        }
    }

    /// The same directory for whoever writes large files that are synced when they are whole: they are synced on
    /// the way, too. The log's syncs would wait for all of such a file otherwise, because a file system makes
    /// durable what was written before.
    pub(crate) fn in_steps(&self) -> Self {
        Self {
            step: Some(STEP_BYTES),
            ..self.clone()
        }
    }

    /// Syncs after each step.
    fn pace(&mut self, file: &NamedFile, written: usize) -> Result<(), DiskError> {
        self.unsynced = self.unsynced.saturating_add(written as u64);
        match self.step {
            Some(step) if self.unsynced >= step => self.sync(file),
            Some(_) | None => Ok(()),
        }
    }

    /// Makes a directory, and those above it, durably.
    ///
    /// # Errors
    ///
    /// What the file system says.
    pub fn create_directory(directory: &Path) -> io::Result<()> {
        fs::create_dir_all(directory)?;
        for above in directory.ancestors().skip(1) {
            // The empty path stands for the working directory.
            let above = if above.as_os_str().is_empty() {
                Path::new(".")
            } else {
                above
            };
            if let Ok(handle) = File::open(above) {
                handle.sync_all()?;
            }
        }
        Ok(())
    }
}

/// The names in a directory, without that of the lock.
fn list(directory: &Path) -> io::Result<Vec<String>> {
    let names = fs::read_dir(directory)?
        .map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned()));
    let others = names.filter(|name| !matches!(name, Ok(name) if name == LOCK_NAME));
    others.collect()
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the operating system has more kinds of errors than a log has answers"
)]
fn failed(operation: &'static str, name: &str, error: &io::Error) -> DiskError {
    let name = name.to_string();
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => DiskError::Full { name },
        ErrorKind::NotFound => DiskError::NotFound { name },
        _ => DiskError::Failed {
            operation,
            name,
            message: error.to_string(),
        },
    }
}

impl Disk for FileDisk {
    type File = NamedFile;

    fn open(&mut self, name: &str) -> Result<NamedFile, DiskError> {
        let mut options = OpenOptions::new();
        options.read(true).write(true);
        match options.open(self.directory.join(name)) {
            Ok(file) => Ok(NamedFile {
                file,
                name: name.to_string(),
            }),
            Err(error) => Err(failed("opening", name, &error)),
        }
    }

    fn create(&mut self, name: &str) -> Result<NamedFile, DiskError> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(true);
        match options.open(self.directory.join(name)) {
            Ok(file) => Ok(NamedFile {
                file,
                name: name.to_string(),
            }),
            Err(error) => Err(failed("creating", name, &error)),
        }
    }

    fn length(&mut self, file: &NamedFile) -> Result<u64, DiskError> {
        match file.file.metadata() {
            Ok(metadata) => Ok(metadata.len()),
            Err(error) => Err(failed("looking at", &file.name, &error)),
        }
    }

    fn read_at(
        &mut self,
        file: &NamedFile,
        offset: u64,
        buffer: &mut [u8],
    ) -> Result<usize, DiskError> {
        let mut filled = 0;
        while filled < buffer.len() {
            match file
                .file
                .read_at(&mut buffer[filled..], offset + filled as u64)
            {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(failed("reading", &file.name, &error)),
            }
        }
        Ok(filled)
    }

    fn write_at(&mut self, file: &NamedFile, offset: u64, bytes: &[u8]) -> Result<(), DiskError> {
        file.file
            .write_all_at(bytes, offset)
            .map_err(|error| failed("writing", &file.name, &error))?;
        self.pace(file, bytes.len())
    }

    fn sync(&mut self, file: &NamedFile) -> Result<(), DiskError> {
        self.unsynced = 0;
        // A full disk that shows only now has lost what was written: final, like any failed sync.
        file.file.sync_data().map_err(|error| DiskError::Failed {
            operation: "syncing",
            name: file.name.clone(),
            message: error.to_string(),
        })
    }

    fn rename(&mut self, from: &str, to: &str) -> Result<(), DiskError> {
        fs::rename(self.directory.join(from), self.directory.join(to))
            .map_err(|error| failed("renaming", from, &error))
    }

    fn remove(&mut self, name: &str) -> Result<(), DiskError> {
        fs::remove_file(self.directory.join(name)).map_err(|error| failed("removing", name, &error))
    }

    fn list(&mut self) -> Result<Vec<String>, DiskError> {
        list(&self.directory).map_err(|error| failed("listing", "the directory", &error))
    }

    fn sync_directory(&mut self) -> Result<(), DiskError> {
        self.handle.sync_all().map_err(|error| DiskError::Failed {
            operation: "syncing",
            name: self.directory.display().to_string(),
            message: error.to_string(),
        })
    }
}

#[cfg(test)]
mod tests {
    use raft_core::wal::{Disk, DiskError};

    use super::{FileDisk, STEP_BYTES};

    /// Which writes of 64 KiB, of two and a half steps of them, sync what was written: the file is a device that takes
    /// everything and cannot be synced.
    fn synced_by(disk: &mut FileDisk) -> Vec<u64> {
        let block = vec![0; 64 << 10];
        let length = block.len() as u64;
        let file = disk.open("device").unwrap();
        let mut write = |place| disk.write_at(&file, place * length, &block);
        let places = 1..=5 * STEP_BYTES / 2 / length;
        let syncs = places.filter(|place| match write(*place) {
            Ok(()) => false,
            Err(DiskError::Failed { operation, .. }) => operation == "syncing",
            Err(error @ (DiskError::Full { .. } | DiskError::NotFound { .. })) => panic!("{error}"),
        });
        syncs.collect()
    }

    /// A snapshot of 128 MiB that was synced as a whole held up every write of its cluster for 0.2 s, and for more
    /// on a slow device.
    #[test]
    fn a_large_file_is_synced_on_the_way_and_a_log_when_it_is_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/dev/null", folder.path().join("device")).unwrap();
        let mut log = FileDisk::open(folder.path()).unwrap();
        let mut snapshots = log.in_steps();
        let file = log.open("device").unwrap();
        log.sync(&file).expect_err("it cannot be synced");
        assert_eq!(synced_by(&mut snapshots), [16, 32]);
        assert_eq!(synced_by(&mut log), [0; 0]);
    }

    #[test]
    fn a_folder_is_locked_until_the_last_clone_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let log = FileDisk::open(folder.path()).unwrap();
        let snapshots = log.clone();
        drop(log);
        FileDisk::open(folder.path()).unwrap_err();
        drop(snapshots);
        FileDisk::open(folder.path()).unwrap();
    }

    /// A program that made a folder and started a server for it was told, now and then, that the folder is in use:
    /// another thread of it was just starting a process, and that had the lock's handle for a moment, too.
    #[test]
    fn a_lock_does_not_outlive_its_owner_in_processes_that_were_started_meanwhile() {
        let folder = tempfile::tempdir().unwrap();
        let disk = FileDisk::open(folder.path()).unwrap();
        let inherited = disk._lock.0.try_clone().unwrap();
        drop(disk);
        FileDisk::open(folder.path()).unwrap();
        drop(inherited);
    }
}
