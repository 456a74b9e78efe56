//! The snapshots of a store: files beside the log's segments.
//!
//! Always holds: a file that has a snapshot's name is whole and was synced before it got that name; what is
//! being written or received has another name until then.

use alloc::vec;
use alloc::vec::Vec;

use bytes::Bytes;

use crate::replica::{Image, ImageError, Sink};
use crate::snapshot::SnapshotMeta;
use crate::types::EntryId;

use super::disk::{Disk, DiskError};
use super::no_retry;
use super::snapshot_error::SnapshotError;
use super::snapshot_file::SnapshotFile;
use super::snapshot_image::{SnapshotReader, Writer};
use super::snapshot_name::{Stage, file_name, parse_name, snapshot_name};

/// Part of a snapshot's file, as it is sent to another node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// How long the whole file is.
    pub total: u64,
    /// The bytes from the offset asked for on; none at the end.
    pub bytes: Bytes,
}

/// The snapshots of one store, in the directory of its log.
///
/// It lists the directory anew each time, so that a clone, on another thread for instance, and the log, which
/// removes them all when it is wiped, need not know of each other. Only one of the clones takes or receives
/// at a time.
///
/// ```
/// use raft_core::replica::{Source, read_part, write_part};
/// use raft_core::wal::SnapshotStore;
/// use raft_core::{EntryId, Index, SnapshotMeta, Term};
///
/// let mut store = SnapshotStore::open(raft_sim::MemoryDisk::new())?;
/// let id = EntryId { term: Term(2), index: Index(9) };
/// let meta = SnapshotMeta { id, term: id.term, configured: EntryId::ZERO, configuration: Default::default() };
/// store.take(&meta, &mut |sink| write_part(sink, b"all there is"))?;
///
/// let mut reader = store.read(id)?;
/// assert_eq!(read_part(&mut reader)?, b"all there is");
/// reader.finish()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct SnapshotStore<D: Disk> {
    disk: D,
    receiving: Option<Receiving>,
}

/// A snapshot that comes from another node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Receiving {
    id: EntryId,
    total: u64,
    /// How much of it is here.
    here: u64,
}

impl<D: Disk> SnapshotStore<D> {
    /// Looks at what is there, and removes what was being written when the process ended; to be done once in
    /// its life, before anything is taken. Part of a received snapshot stays, for
    /// [`SnapshotStore::begin_receive`].
    ///
    /// # Errors
    ///
    /// What the disk says.
    pub fn open(mut disk: D) -> Result<Self, DiskError> {
        let found = list(&mut disk)?;
        let newest = found.iter().filter(|(_, stage)| *stage == Stage::Receiving);
        let newest = newest.map(|(id, _)| *id).max();
        let mut store = Self {
            disk,
            receiving: None,
        };
        store.remove_where(|id, stage| match stage {
            Stage::Whole => false,
            Stage::Taking => true,
            Stage::Receiving => Some(id) != newest,
        })?;
        Ok(store)
    }

    /// Writes a snapshot: `write` is called once. How long the file is then, which is durable, its name too.
    ///
    /// # Errors
    ///
    /// [`SnapshotError::Full`] if there is no room, what `write` or the disk says otherwise; what was written
    /// is removed then, and older snapshots are what they were.
    pub fn take(
        &mut self,
        meta: &SnapshotMeta,
        write: &mut dyn FnMut(&mut dyn Sink) -> Result<(), ImageError>,
    ) -> Result<u64, SnapshotError> {
        let name = file_name(meta.id, Stage::Taking);
        let taken = self.write(&name, meta, write);
        if taken.is_err() {
            // It is removed at the next start otherwise.
            let _ = self.disk.remove(&name);
            let _ = self.disk.sync_directory();
        }
        taken
    }

    fn write(
        &mut self,
        name: &str,
        meta: &SnapshotMeta,
        write: &mut dyn FnMut(&mut dyn Sink) -> Result<(), ImageError>,
    ) -> Result<u64, SnapshotError> {
        let file = self.disk.create(name)?;
        let mut writer = Writer::begin(&mut self.disk, &file, meta)?;
        if let Err(error) = write(&mut writer) {
            return Err(match writer.into_failure() {
                Some(failure) => failure.into(),
                None => error.into(),
            });
        }
        let total = writer.finish()?;
        self.name(&file, name, meta.id)?;
        Ok(total)
    }

    /// A file is whole: durable first, then named.
    fn name(&mut self, file: &D::File, from: &str, id: EntryId) -> Result<(), DiskError> {
        self.disk.sync(file).map_err(no_retry)?;
        let named = self.disk.rename(from, &snapshot_name(id));
        named.map_err(no_retry)?;
        self.disk.sync_directory().map_err(no_retry)
    }

    /// Begins to read a snapshot back.
    ///
    /// # Errors
    ///
    /// [`SnapshotError::Missing`] if there is none, or what is wrong with it at its beginning.
    pub fn read(&mut self, id: EntryId) -> Result<SnapshotReader<'_, D>, SnapshotError> {
        SnapshotReader::new(self.file(id)?, id)
    }

    /// The image in a snapshot: all of it is verified before anything is done with it.
    ///
    /// # Errors
    ///
    /// [`SnapshotError::Missing`] if there is none, or what is wrong with it anywhere.
    pub fn image<I: Image>(&mut self, id: EntryId) -> Result<I, SnapshotError> {
        let mut reader = self.read(id)?;
        let image = I::read(&mut reader)?;
        reader.finish()?;
        Ok(image)
    }

    /// Part of a snapshot's file as it is: whoever receives all of it checks it.
    ///
    /// # Errors
    ///
    /// [`SnapshotError::Missing`] if there is none, or what the disk says.
    pub fn chunk(
        &mut self,
        id: EntryId,
        offset: u64,
        bytes_max: u64,
    ) -> Result<Chunk, SnapshotError> {
        let mut open = self.file(id)?;
        let total = open.length()?;
        let wanted = bytes_max.min(total.saturating_sub(offset));
        let mut bytes = vec![0; usize::try_from(wanted).unwrap_or(usize::MAX)];
        let read = open.disk.read_at(&open.file, offset, &mut bytes)?;
        bytes.truncate(read);
        Ok(Chunk {
            total,
            bytes: Bytes::from(bytes),
        })
    }

    /// How long a snapshot's file is.
    ///
    /// # Errors
    ///
    /// [`SnapshotError::Missing`] if there is none, or what the disk says.
    pub fn length(&mut self, id: EntryId) -> Result<u64, SnapshotError> {
        self.file(id)?.length()
    }

    fn file(&mut self, id: EntryId) -> Result<SnapshotFile<'_, D>, SnapshotError> {
        SnapshotFile::open(&mut self.disk, snapshot_name(id))
    }

    /// Begins or goes on to receive a snapshot whose file is `total` bytes long; from which offset on it is
    /// wanted. Part of any other one is given up.
    ///
    /// After a restart what is there counts as far as it verifies, and is written anew, because it may have
    /// been in a page cache only. Two nodes may have different files of one snapshot: bytes of both do not
    /// make a whole one, which [`SnapshotStore::finish_receive`] sees.
    ///
    /// # Errors
    ///
    /// What the disk says.
    pub fn begin_receive(&mut self, id: EntryId, total: u64) -> Result<u64, SnapshotError> {
        if let Some(receiving) = self.receiving
            && (receiving.id, receiving.total) == (id, total)
        {
            return Ok(receiving.here);
        }
        let before = self.receiving.take();
        self.remove_where(|other, stage| stage == Stage::Receiving && other != id)?;
        let name = file_name(id, Stage::Receiving);
        let mut here = 0;
        // With another length it is another file.
        if before.is_none_or(|before| before.id != id) {
            here = match SnapshotFile::open(&mut self.disk, name.clone()) {
                Ok(mut open) => open.renew(id)?,
                Err(SnapshotError::Missing { .. }) => 0,
                Err(error) => return Err(error),
            };
        }
        if here == 0 || here > total {
            self.disk.create(&name)?;
            here = 0;
        }
        self.receiving = Some(Receiving { id, total, here });
        Ok(here)
    }

    /// Takes bytes of a snapshot that begin at an offset up to which all is here; bytes that came before are
    /// skipped. How much is here then.
    ///
    /// # Errors
    ///
    /// If it is not being received, the bytes leave a gap, or there are more than were announced. If there is
    /// no room, or the disk fails; what was received is removed then.
    pub fn receive(
        &mut self,
        id: EntryId,
        offset: u64,
        bytes: &[u8],
    ) -> Result<u64, SnapshotError> {
        let Receiving { total, here, .. } = self.receiving_of(id)?;
        if offset > here {
            return Err(SnapshotError::OutOfPlace {
                expected: here,
                found: offset,
            });
        }
        let end = offset.saturating_add(bytes.len() as u64);
        if end > total {
            return Err(SnapshotError::Length {
                expected: total,
                found: end,
            });
        }
        let known = usize::try_from(here - offset).unwrap_or(usize::MAX);
        let Some(news) = bytes.get(known..).filter(|news| !news.is_empty()) else {
            return Ok(here);
        };
        let name = file_name(id, Stage::Receiving);
        let written = self
            .disk
            .open(&name)
            .and_then(|file| self.disk.write_at(&file, here, news));
        if let Err(error) = written {
            // The log needs the room more than a snapshot that can be had again.
            self.give_up(&name);
            return Err(error.into());
        }
        self.receiving = Some(Receiving {
            id,
            total,
            here: end,
        });
        Ok(end)
    }

    /// All of a snapshot is here: checks every byte, and makes it and its name durable.
    ///
    /// # Errors
    ///
    /// If it is not being received, or not all of it is here. If anything of it is not what was written, or
    /// the disk fails; what was received is removed then.
    pub fn finish_receive(&mut self, id: EntryId) -> Result<SnapshotMeta, SnapshotError> {
        let Receiving { total, here, .. } = self.receiving_of(id)?;
        if here != total {
            return Err(SnapshotError::Length {
                expected: total,
                found: here,
            });
        }
        let name = file_name(id, Stage::Receiving);
        let checked = SnapshotFile::open(&mut self.disk, name.clone()).and_then(|mut open| {
            let meta = open.verify(id)?;
            Ok((meta, open.file))
        });
        let named = checked.and_then(|(meta, file)| {
            self.name(&file, &name, id)?;
            Ok(meta)
        });
        if named.is_err() {
            self.give_up(&name);
        }
        self.receiving = None;
        named
    }

    fn receiving_of(&self, id: EntryId) -> Result<Receiving, SnapshotError> {
        let receiving = self.receiving.filter(|receiving| receiving.id == id);
        receiving.ok_or_else(|| SnapshotError::NotReceiving {
            name: snapshot_name(id),
        })
    }

    /// What was received is worth nothing. Should it stay, what of it verifies is used, or it is removed with
    /// the next one.
    fn give_up(&mut self, name: &str) {
        self.receiving = None;
        let _ = self.disk.remove(name);
        let _ = self.disk.sync_directory();
    }

    /// What each whole snapshot is one of, oldest first.
    ///
    /// # Errors
    ///
    /// What is wrong with one at its beginning, or what the disk says.
    pub fn metas(&mut self) -> Result<Vec<SnapshotMeta>, SnapshotError> {
        let ids = self.ids()?;
        let metas = ids.into_iter().map(|id| self.meta(id));
        metas.collect()
    }

    /// The newest whole snapshot.
    ///
    /// # Errors
    ///
    /// What is wrong with it at its beginning, or what the disk says.
    pub fn latest(&mut self) -> Result<Option<SnapshotMeta>, SnapshotError> {
        match self.ids()?.pop() {
            Some(id) => self.meta(id).map(Some),
            None => Ok(None),
        }
    }

    fn meta(&mut self, id: EntryId) -> Result<SnapshotMeta, SnapshotError> {
        Ok(self.file(id)?.head_of(id)?.meta)
    }

    /// Every whole snapshot, oldest first.
    fn ids(&mut self) -> Result<Vec<EntryId>, DiskError> {
        let found = list(&mut self.disk)?;
        let whole = found.iter().filter(|(_, stage)| *stage == Stage::Whole);
        let mut ids: Vec<EntryId> = whole.map(|(id, _)| *id).collect();
        ids.sort_unstable();
        Ok(ids)
    }

    /// Removes every whole snapshot but these, and part of a received one that is no newer than all of them.
    ///
    /// # Errors
    ///
    /// What the disk says; the rest is removed the next time.
    pub fn retain(&mut self, keep: &[EntryId]) -> Result<(), SnapshotError> {
        let newest = keep.iter().max().copied();
        let receiving = self.receiving.map(|receiving| receiving.id);
        self.remove_where(|id, stage| match stage {
            Stage::Whole => !keep.contains(&id),
            Stage::Taking => false,
            Stage::Receiving => Some(id) != receiving && Some(id) <= newest,
        })?;
        Ok(())
    }

    fn remove_where(
        &mut self,
        mut unwanted: impl FnMut(EntryId, Stage) -> bool,
    ) -> Result<(), DiskError> {
        let found = list(&mut self.disk)?;
        let mut removed = false;
        for (id, stage) in found {
            if unwanted(id, stage) {
                self.disk.remove(&file_name(id, stage))?;
                removed = true;
            }
        }
        if removed {
            self.disk.sync_directory()?;
        }
        Ok(())
    }
}

fn list<D: Disk>(disk: &mut D) -> Result<Vec<(EntryId, Stage)>, DiskError> {
    let names = disk.list()?;
    Ok(names.iter().filter_map(|name| parse_name(name)).collect())
}
