//! Snapshots as files of a disk: each is written whole, synced and renamed, and carries a checksum.
//!
//! Always holds: what has a snapshot's name is whole.

use std::collections::BTreeMap;

use raft_core::replica::{ChunkRead, Image, ImageError, Serde, Sink};
use raft_core::wal::{Disk, DiskError};
use raft_core::{EntryId, SnapshotMeta};

use super::disk::MemoryDisk;
use crate::judge::mix;

/// The snapshots of one store.
pub(crate) struct SnapshotStore {
    disk: MemoryDisk,
    metas: BTreeMap<EntryId, SnapshotMeta>,
    partial: Option<Partial>,
}

struct Partial {
    id: EntryId,
    total: u64,
    written: u64,
}

const PART: &str = "snapshot.part";
const SUM_BYTES: usize = 8;

fn name(id: EntryId) -> String {
    format!("{:020}-{:020}.snapshot", id.index.0, id.term.0)
}

fn sum(bytes: &[u8]) -> [u8; SUM_BYTES] {
    let sum = bytes
        .iter()
        .fold(bytes.len() as u64, |sum, byte| mix(sum, u64::from(*byte)));
    sum.to_le_bytes()
}

fn damaged(id: EntryId) -> ImageError {
    ImageError::Disk(format!("{} is damaged", name(id)))
}

fn disk_error(error: &DiskError) -> ImageError {
    ImageError::Disk(error.to_string())
}

impl SnapshotStore {
    pub(crate) fn open(disk: MemoryDisk) -> Self {
        let mut store = Self {
            metas: BTreeMap::new(),
            partial: None,
            disk,
        };
        for name in store.disk.names() {
            let contents = store
                .disk
                .file(&name)
                .filter(|_| name.ends_with(".snapshot"));
            if let Some((meta, _)) = contents.as_deref().and_then(split) {
                store.metas.insert(meta.id, meta);
            }
        }
        store
    }

    pub(crate) fn take(
        &mut self,
        meta: &SnapshotMeta,
        write: &mut dyn FnMut(&mut dyn Sink) -> Result<(), ImageError>,
    ) -> Result<(), ImageError> {
        let mut bytes = Vec::new();
        Serde(meta.clone()).write(&mut bytes)?;
        write(&mut bytes)?;
        bytes.extend_from_slice(&sum(&bytes));
        let written = self.write_whole(meta.id, &bytes);
        written.map_err(|error| disk_error(&error))?;
        self.metas.insert(meta.id, meta.clone());
        Ok(())
    }

    fn write_whole(&mut self, id: EntryId, bytes: &[u8]) -> Result<(), DiskError> {
        let fresh = "snapshot.fresh";
        let file = self.disk.create(fresh)?;
        self.disk.write_at(&file, 0, bytes)?;
        self.disk.sync(&file)?;
        self.disk.rename(fresh, &name(id))?;
        self.disk.sync_directory()
    }

    /// The image in a snapshot, verified.
    pub(crate) fn read<I: Image>(&self, id: EntryId) -> Result<I, ImageError> {
        let bytes = self.disk.file(&name(id)).unwrap_or_default();
        let (_, mut image) = split(&bytes).ok_or_else(|| damaged(id))?;
        I::read(&mut image)
    }

    pub(crate) fn chunk(&self, id: EntryId, offset: u64, bytes_max: u64) -> Option<ChunkRead> {
        let bytes = self.disk.file(&name(id))?;
        let place = |offset: u64| {
            usize::try_from(offset)
                .unwrap_or(usize::MAX)
                .min(bytes.len())
        };
        let (from, to) = (place(offset), place(offset.saturating_add(bytes_max)));
        Some(ChunkRead {
            total: bytes.len() as u64,
            bytes: bytes[from..to].to_vec().into(),
        })
    }

    pub(crate) fn begin_receive(&mut self, id: EntryId, total: u64) -> Result<u64, DiskError> {
        if let Some(partial) = &self.partial
            && (partial.id, partial.total) == (id, total)
        {
            return Ok(partial.written);
        }
        self.disk.create(PART)?;
        let written = 0;
        self.partial = Some(Partial { id, total, written });
        Ok(0)
    }

    /// Writes a part; returns up to where there is something.
    pub(crate) fn receive(
        &mut self,
        id: EntryId,
        offset: u64,
        bytes: &[u8],
    ) -> Result<Option<u64>, DiskError> {
        let Some(partial) = self.partial.as_mut().filter(|partial| partial.id == id) else {
            return Ok(None);
        };
        assert_eq!(offset, partial.written, "parts come in order");
        let file = self.disk.open(PART)?;
        self.disk.write_at(&file, offset, bytes)?;
        partial.written = offset + bytes.len() as u64;
        assert!(partial.written <= partial.total, "parts end with the whole");
        Ok(Some(partial.written))
    }

    pub(crate) fn finish_receive(&mut self, id: EntryId) -> Result<SnapshotMeta, ImageError> {
        let Some(partial) = self.partial.take_if(|partial| partial.id == id) else {
            return Err(damaged(id));
        };
        let bytes = self.disk.file(PART).unwrap_or_default();
        let (meta, _) = split(&bytes).ok_or_else(|| damaged(id))?;
        if meta.id != id || bytes.len() as u64 != partial.total {
            return Err(damaged(id));
        }
        let named = self.name_part(id);
        named.map_err(|error| disk_error(&error))?;
        self.metas.insert(id, meta.clone());
        Ok(meta)
    }

    fn name_part(&mut self, id: EntryId) -> Result<(), DiskError> {
        let file = self.disk.open(PART)?;
        self.disk.sync(&file)?;
        self.disk.rename(PART, &name(id))?;
        self.disk.sync_directory()
    }

    pub(crate) fn retain(&mut self, keep: &[EntryId]) -> Result<(), DiskError> {
        let gone: Vec<EntryId> = self.metas.keys().copied().collect();
        for id in gone.into_iter().filter(|id| !keep.contains(id)) {
            self.disk.remove(&name(id))?;
            self.metas.remove(&id);
        }
        self.disk.sync_directory()
    }
}

/// What a file says that it is, and the image in it, if its sum is right.
fn split(bytes: &[u8]) -> Option<(SnapshotMeta, &[u8])> {
    let (mut contents, end) = bytes.split_at_checked(bytes.len().checked_sub(SUM_BYTES)?)?;
    if sum(contents) != end {
        return None;
    }
    let meta = Serde::<SnapshotMeta>::read(&mut contents).ok()?;
    Some((meta.0, contents))
}
