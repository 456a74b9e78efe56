//! The next segment's file: filled while nothing waits, named when it is needed.

use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use crate::planted::{Bug, planted};

use super::disk::{Disk, DiskError};
use super::record::{Footer, Kind, Seed, append_record};
use super::segment::{Link, parse_number, segment_name};
use super::{Wal, no_retry};

/// A file that becomes the next segment once it is zero-filled, or was a segment that is not needed any
/// more.
#[derive(Debug)]
pub(super) struct Spare<F> {
    pub(super) file: F,
    pub(super) filled: u64,
}

pub(super) const SPARE_NAME: &str = "spare";
/// How much of a spare is filled at a time.
const FILL_BYTES: usize = 1 << 20;

impl<D: Disk> Wal<D> {
    /// One step towards a full-size, zero-filled spare; true if there is more to do. Zeroes are written,
    /// not just reserved, because turning reserved blocks into written ones costs a journal commit at
    /// every sync.
    pub(super) fn fill_spare(&mut self) -> Result<bool, DiskError> {
        let size = self.options.segment_bytes;
        let spare = match &mut self.spare {
            Some(spare) => spare,
            None => {
                let begun = begin_spare(&mut self.disk, self.kept.pop())?;
                self.spare.insert(begun)
            }
        };
        if spare.filled >= size {
            return Ok(false);
        }
        spare.filled = fill_step(&mut self.disk, &spare.file, spare.filled, size)?;
        let done = spare.filled >= size;
        if done {
            self.disk.sync(&spare.file).map_err(no_retry)?;
        }
        Ok(!done)
    }

    /// Makes room for a segment whose beginning takes so many bytes.
    pub(super) fn make_room(&mut self, room: Room, needed: u64) -> Result<(), DiskError> {
        let full = loop {
            match self.maintain() {
                Ok(true) => {}
                Ok(false) => return Ok(()),
                Err(error) => break error,
            }
        };
        let (Room::Scarce, DiskError::Full { .. }, Some(spare)) = (room, &full, &mut self.spare)
        else {
            return Err(full);
        };
        let target = needed + HEADROOM_BYTES;
        for target in [target, needed] {
            if spare.filled >= target {
                return Ok(());
            }
            let (disk, file) = (&mut self.disk, &spare.file);
            match fill_step(disk, file, spare.filled, target) {
                Ok(filled) => spare.filled = filled,
                Err(DiskError::Full { .. }) => {}
                Err(error) => return self.remember_failure(Err(error)),
            }
        }
        if spare.filled >= needed {
            Ok(())
        } else {
            Err(full)
        }
    }
}

/// A file under the spare's name: one that was kept, or an empty one.
fn begin_spare<D: Disk>(disk: &mut D, kept: Option<String>) -> Result<Spare<D::File>, DiskError> {
    let Some(kept) = kept else {
        let file = disk.create(SPARE_NAME)?;
        return Ok(Spare { file, filled: 0 });
    };
    disk.rename(&kept, SPARE_NAME).map_err(no_retry)?;
    // One name at a time: what comes next gives it another.
    disk.sync_directory().map_err(no_retry)?;
    let file = disk.open(SPARE_NAME)?;
    let filled = disk.length(&file)?;
    Ok(Spare { file, filled })
}

/// The name of a file that was a segment and is kept.
pub(super) fn kept_name(number: u64) -> String {
    format!("{SPARE_NAME}-{number:020}")
}

/// Whether a file of this name was kept.
pub(super) fn is_kept(name: &str) -> bool {
    let number = name.strip_prefix(SPARE_NAME);
    let number = number.and_then(|rest| rest.strip_prefix('-'));
    number.is_some_and(|number| parse_number(number).is_some())
}

/// How much of a segment is enough to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Room {
    /// A whole one: what comes next needs it.
    Whole,
    /// Whatever there is: what is to be written makes room.
    Scarce,
}

/// Ends a segment with its footer. The footer saves time at a start; without room for it the segment is
/// scanned instead.
pub(super) fn seal<D: Disk>(
    disk: &mut D,
    file: &D::File,
    seed: Seed,
    link: Link,
    footer: &Footer,
) -> Result<(), DiskError> {
    let mut bytes = Vec::new();
    append_record(seed, link.chain, Kind::Footer, &mut bytes, |out| {
        crate::codec::encode_value(footer, out);
    });
    match disk.write_at(file, link.end, &bytes) {
        Ok(()) | Err(DiskError::Full { .. }) => disk.sync(file).map_err(no_retry),
        Err(error) => Err(error),
    }
}

/// Writes the next zeroes of a file that is to have a size; how many it has then.
fn fill_step<D: Disk>(
    disk: &mut D,
    file: &D::File,
    filled: u64,
    size: u64,
) -> Result<u64, DiskError> {
    let step = (size - filled).min(FILL_BYTES as u64);
    let zeroes = vec![0; usize::try_from(step).unwrap_or(FILL_BYTES)];
    disk.write_at(file, filled, &zeroes)?;
    Ok(filled + step)
}

/// Turns the spare into a segment: durable first, then named.
pub(super) fn name_segment<D: Disk>(
    disk: &mut D,
    file: &D::File,
    number: u64,
) -> Result<(), DiskError> {
    if !planted(Bug::NamedBeforeSync) {
        disk.sync(file).map_err(no_retry)?;
    }
    disk.rename(SPARE_NAME, &segment_name(number))
        .map_err(no_retry)?;
    if planted(Bug::NoDirectorySync) {
        return Ok(());
    }
    disk.sync_directory().map_err(no_retry)
}

/// A segment is not needed any more: its file becomes the next one's, if it is large enough.
pub(super) fn recycle<D: Disk>(
    disk: &mut D,
    file: D::File,
    number: u64,
    segment_bytes: u64,
) -> Result<Option<Spare<D::File>>, DiskError> {
    let name = segment_name(number);
    let filled = disk.length(&file)?;
    if filled < segment_bytes {
        disk.remove(&name)?;
        disk.sync_directory()?;
        return Ok(None);
    }
    disk.rename(&name, SPARE_NAME)?;
    disk.sync_directory()?;
    Ok(Some(Spare { file, filled }))
}

/// Room for votes in a segment that had to be made on a full disk.
const HEADROOM_BYTES: u64 = 256 << 10;

/// A file under the spare's name: the one that is there, or a new one, zero-filled to full size if there
/// is room for that.
pub(super) fn prepare<D: Disk>(
    disk: &mut D,
    names: &[String],
    needed: u64,
    segment_bytes: u64,
) -> Result<Spare<D::File>, DiskError> {
    let there = names.iter().any(|name| name == SPARE_NAME);
    let file = if there {
        disk.open(SPARE_NAME)?
    } else {
        disk.create(SPARE_NAME)?
    };
    match fill(disk, &file, segment_bytes) {
        Ok(()) => {}
        // A node on a full disk still has its vote, and leaves some room for its next start.
        Err(DiskError::Full { .. }) => {
            let file = disk.create(SPARE_NAME)?;
            match fill(disk, &file, needed + HEADROOM_BYTES) {
                Ok(()) | Err(DiskError::Full { .. }) => {}
                Err(error) => return Err(error),
            }
            let filled = disk.length(&file)?;
            return Ok(Spare { file, filled });
        }
        Err(error) => return Err(error),
    }
    let filled = disk.length(&file)?;
    Ok(Spare { file, filled })
}

/// Grows a file with zeros to a size.
fn fill<D: Disk>(disk: &mut D, file: &D::File, size: u64) -> Result<(), DiskError> {
    let mut filled = disk.length(file)?;
    while filled < size {
        filled = fill_step(disk, file, filled, size)?;
    }
    Ok(())
}
