//! A disk in memory that forgets what was not synced.
//!
//! Always holds: after a loss of power a file holds its synced contents and any subset of the sectors
//! written since; names are what they were at the last sync of the directory, or what they were last.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use raft_core::wal::{Disk, DiskError};
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

/// What a device writes as one.
const SECTOR_BYTES: u64 = 512;

/// A directory of files in memory; clones share it, as processes share a disk.
#[derive(Clone, Debug, Default)]
pub struct MemoryDisk {
    contents: Arc<Mutex<Contents>>,
}

/// An open file of a [`MemoryDisk`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryFile(u64);

#[derive(Clone, Debug, Default)]
struct Contents {
    names: BTreeMap<String, u64>,
    durable_names: BTreeMap<String, u64>,
    files: BTreeMap<u64, File>,
    next_file: u64,
    capacity: Option<u64>,
    failing_sync: bool,
    operations: u64,
    /// Every operation after so many fails: the machine is off.
    operations_max: Option<u64>,
    syncs: u64,
    /// Says that it synced, and did not.
    lying: bool,
}

impl Contents {
    /// Counts an operation that changes something, unless the machine is off by then.
    fn operate(&mut self, operation: &'static str, on: On<'_>) -> Result<(), DiskError> {
        if self
            .operations_max
            .is_some_and(|max| self.operations >= max)
        {
            return Err(DiskError::Failed {
                operation,
                name: on.to_string(),
                message: "the machine is off".to_string(),
            });
        }
        self.operations += 1;
        Ok(())
    }

    /// Writes to a file that no sync will cover any more.
    fn drop_unsynced(&mut self, id: u64) {
        if let Some(file) = self.files.get_mut(&id) {
            file.unsynced.clear();
        }
    }

    fn used(&self) -> u64 {
        let lengths = self.names.values().map(|id| self.files[id].bytes.len());
        lengths.sum::<usize>() as u64
    }
}

/// What an operation is about, for its error.
#[derive(Clone, Copy)]
enum On<'a> {
    Name(&'a str),
    File(u64),
}

impl fmt::Display for On<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::File(number) => write!(f, "file {number}"),
        }
    }
}

#[derive(Clone, Debug, Default)]
struct File {
    bytes: Vec<u8>,
    synced: Vec<u8>,
    /// Where and how long each write since the last sync was.
    unsynced: Vec<(u64, u64)>,
}

impl MemoryDisk {
    /// An empty disk.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn contents(&self) -> MutexGuard<'_, Contents> {
        self.contents.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A disk of its own with the same contents: an image to try things on.
    #[must_use]
    pub fn image(&self) -> Self {
        Self {
            contents: Arc::new(Mutex::new(self.contents().clone())),
        }
    }

    /// The power fails: of what was not synced, each sector survives or does not as chance decides,
    /// whose course the pattern determines, and all names or none. The machine is on again afterwards.
    ///
    /// Pattern 0 loses everything that was not synced, `u64::MAX` nothing.
    pub fn lose_power(&self, pattern: u64) {
        let mut chance = ChaCha8Rng::seed_from_u64(pattern);
        self.lose_power_where(|| match pattern {
            0 => false,
            u64::MAX => true,
            _ => chance.next_u64().is_multiple_of(2),
        });
    }

    /// As [`MemoryDisk::lose_power`]; each sector survives as `survives` says.
    pub fn lose_power_where(&self, mut survives: impl FnMut() -> bool) {
        let mut contents = self.contents();
        contents.operations_max = None;
        if survives() {
            contents.durable_names = contents.names.clone();
        } else {
            contents.names = contents.durable_names.clone();
        }
        for file in contents.files.values_mut() {
            let mut bytes = core::mem::take(&mut file.synced);
            for (offset, length) in core::mem::take(&mut file.unsynced) {
                for sector in (offset / SECTOR_BYTES)..(offset + length).div_ceil(SECTOR_BYTES) {
                    if !survives() {
                        continue;
                    }
                    let from = index(sector * SECTOR_BYTES);
                    let to = index((sector + 1) * SECTOR_BYTES).min(file.bytes.len());
                    if bytes.len() < to {
                        bytes.resize(to, 0);
                    }
                    bytes[from..to].copy_from_slice(&file.bytes[from..to]);
                }
            }
            file.synced.clone_from(&bytes);
            file.bytes = bytes;
        }
    }

    /// Limits the sum of all files' lengths; `None` lifts the limit.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.contents().capacity = bytes;
    }

    /// How many operations changed something so far.
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.contents().operations
    }

    /// Turns the machine off once so many operations in all have changed something: a crash in the
    /// middle of whatever is going on then.
    pub fn turn_off_after(&self, operations: u64) {
        self.contents().operations_max = Some(operations);
    }

    /// Makes the next sync fail; what it should have synced is then as uncertain as after a crash.
    pub fn fail_next_sync(&self) {
        self.contents().failing_sync = true;
    }

    /// Whether it has all the room that is wanted, and the next sync does not fail.
    pub(crate) fn is_sound(&self) -> bool {
        let contents = self.contents();
        contents.capacity.is_none() && !contents.failing_sync
    }

    /// No sync fails any more.
    pub fn clear_failing_sync(&self) {
        self.contents().failing_sync = false;
    }

    /// Whether the last file whose name ends so is on the device, contents and name.
    #[must_use]
    pub fn is_durable(&self, ending: &str) -> bool {
        let contents = self.contents();
        let newest = contents
            .names
            .iter()
            .rev()
            .find(|(name, _)| name.ends_with(ending));
        newest.is_some_and(|(name, id)| {
            contents.durable_names.get(name) == Some(id) && contents.files[id].unsynced.is_empty()
        })
    }

    /// From now on, or no longer, syncs say that they succeeded and make nothing durable.
    pub fn set_lying(&self, lying: bool) {
        self.contents().lying = lying;
    }

    /// The disk becomes what an image holds: a backup was restored, or a snapshot of the machine.
    pub fn become_image(&self, image: &Self) {
        let Contents {
            names,
            durable_names,
            files,
            next_file,
            ..
        } = image.contents().clone();
        let mut contents = self.contents();
        contents.names = names;
        contents.durable_names = durable_names;
        contents.files = files;
        contents.next_file = next_file.max(contents.next_file);
    }

    /// How many bytes all files take together.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.contents().used()
    }

    /// How often a file was synced.
    #[must_use]
    pub fn syncs(&self) -> u64 {
        self.contents().syncs
    }

    /// The bytes of a file as a reader sees them now.
    #[must_use]
    pub fn file(&self, name: &str) -> Option<Vec<u8>> {
        let contents = self.contents();
        let id = contents.names.get(name)?;
        Some(contents.files[id].bytes.clone())
    }

    /// Flips a bit of a file, durably: damage.
    pub fn flip(&self, name: &str, bit: u64) {
        if let Some(mut bytes) = self.file(name)
            && let Some(byte) = bytes.get_mut(index(bit / 8))
        {
            *byte ^= 1 << (bit % 8);
            self.set_file(name, bytes);
        }
    }

    /// Replaces a file's bytes, durably: damage, or an operator's hand.
    pub fn set_file(&self, name: &str, bytes: Vec<u8>) {
        let mut contents = self.contents();
        let id = contents
            .names
            .get(name)
            .copied()
            .unwrap_or(contents.next_file);
        contents.next_file = contents.next_file.max(id + 1);
        contents.names.insert(name.to_string(), id);
        contents.durable_names.insert(name.to_string(), id);
        let file = File {
            synced: bytes.clone(),
            bytes,
            unsynced: Vec::new(),
        };
        contents.drop_unsynced(id);
        contents.files.insert(id, file);
    }

    /// The names of all files, in order.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.contents().names.keys().cloned().collect()
    }
}

fn index(offset: u64) -> usize {
    usize::try_from(offset).expect("files in memory are smaller than memory")
}

impl Disk for MemoryDisk {
    type File = MemoryFile;

    fn open(&mut self, name: &str) -> Result<MemoryFile, DiskError> {
        match self.contents().names.get(name) {
            Some(id) => Ok(MemoryFile(*id)),
            None => Err(DiskError::NotFound {
                name: name.to_string(),
            }),
        }
    }

    fn create(&mut self, name: &str) -> Result<MemoryFile, DiskError> {
        let mut contents = self.contents();
        contents.operate("creating", On::Name(name))?;
        let id = contents.next_file;
        contents.next_file += 1;
        let replaced = contents.names.insert(name.to_string(), id);
        if let Some(replaced) = replaced {
            contents.drop_unsynced(replaced);
        }
        contents.files.insert(id, File::default());
        Ok(MemoryFile(id))
    }

    fn length(&mut self, file: &MemoryFile) -> Result<u64, DiskError> {
        Ok(self.contents().files[&file.0].bytes.len() as u64)
    }

    fn read_at(
        &mut self,
        file: &MemoryFile,
        offset: u64,
        buffer: &mut [u8],
    ) -> Result<usize, DiskError> {
        let contents = self.contents();
        let bytes = &contents.files[&file.0].bytes;
        let from = index(offset).min(bytes.len());
        let count = buffer.len().min(bytes.len() - from);
        buffer[..count].copy_from_slice(&bytes[from..from + count]);
        Ok(count)
    }

    fn write_at(&mut self, file: &MemoryFile, offset: u64, bytes: &[u8]) -> Result<(), DiskError> {
        let mut contents = self.contents();
        contents.operate("writing", On::File(file.0))?;
        let room = contents.capacity.map(|capacity| {
            let used = contents.used();
            capacity.saturating_sub(used)
        });
        let contents = &mut *contents;
        let Some(open) = contents.files.get_mut(&file.0) else {
            unreachable!("files stay as long as they are open");
        };
        let end = index(offset) + bytes.len();
        let growth = end.saturating_sub(open.bytes.len()) as u64;
        if growth > 0 && room.is_some_and(|room| growth > room) {
            // As much as fits over what is there is written all the same.
            let part = open
                .bytes
                .len()
                .saturating_sub(index(offset))
                .min(bytes.len());
            if part > 0 {
                open.bytes[index(offset)..][..part].copy_from_slice(&bytes[..part]);
                open.unsynced.push((offset, part as u64));
            }
            return Err(DiskError::Full {
                name: format!("file {}", file.0),
            });
        }
        if open.bytes.len() < end {
            open.bytes.resize(end, 0);
        }
        open.bytes[index(offset)..end].copy_from_slice(bytes);
        open.unsynced.push((offset, bytes.len() as u64));
        Ok(())
    }

    fn sync(&mut self, file: &MemoryFile) -> Result<(), DiskError> {
        let mut contents = self.contents();
        contents.operate("syncing", On::File(file.0))?;
        if core::mem::take(&mut contents.failing_sync) {
            // The pages count as clean from now on, and never get to the device.
            contents.drop_unsynced(file.0);
            return Err(DiskError::Failed {
                operation: "syncing",
                name: format!("file {}", file.0),
                message: "the simulated device failed".to_string(),
            });
        }
        contents.syncs += 1;
        if contents.lying {
            return Ok(());
        }
        let contents = &mut *contents;
        if let Some(open) = contents.files.get_mut(&file.0) {
            let (bytes, synced) = (&open.bytes, &mut open.synced);
            synced.resize(bytes.len(), 0);
            for (offset, length) in open.unsynced.drain(..) {
                let range = index(offset)..index(offset + length);
                synced[range.clone()].copy_from_slice(&bytes[range]);
            }
        }
        Ok(())
    }

    fn rename(&mut self, from: &str, to: &str) -> Result<(), DiskError> {
        let mut contents = self.contents();
        contents.operate("renaming", On::Name(from))?;
        let Some(id) = contents.names.remove(from) else {
            return Err(DiskError::NotFound {
                name: from.to_string(),
            });
        };
        let replaced = contents.names.insert(to.to_string(), id);
        if let Some(replaced) = replaced {
            contents.drop_unsynced(replaced);
        }
        Ok(())
    }

    fn remove(&mut self, name: &str) -> Result<(), DiskError> {
        let mut contents = self.contents();
        contents.operate("removing", On::Name(name))?;
        match contents.names.remove(name) {
            Some(id) => {
                contents.drop_unsynced(id);
                Ok(())
            }
            None => Err(DiskError::NotFound {
                name: name.to_string(),
            }),
        }
    }

    fn list(&mut self) -> Result<Vec<String>, DiskError> {
        Ok(self.names())
    }

    fn sync_directory(&mut self) -> Result<(), DiskError> {
        let mut contents = self.contents();
        contents.operate("syncing", On::Name("the directory"))?;
        if !contents.lying {
            let contents = &mut *contents;
            contents.durable_names = contents.names.clone();
            let named: BTreeSet<_> = contents.names.values().collect();
            contents.files.retain(|id, _| named.contains(id));
        }
        Ok(())
    }
}
