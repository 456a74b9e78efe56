//! Which files make up the log: from the newest segment back, header by header.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::disk::{Disk, DiskError};
use super::record::Seed;
use super::segment::{HEADER_BYTES, Header, segment_name, segment_number};
use super::{RecoveryError, damaged};
use crate::types::StorageId;

/// A segment whose header was read, or written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Segment {
    pub(super) header: Header,
    pub(super) seed: Seed,
}

impl Segment {
    /// Whose it was when it began.
    pub(super) const fn store(&self) -> StorageId {
        self.header.identity.member.store
    }
}

/// The segments of a log, oldest first.
pub(super) struct Chain {
    pub(super) headers: Vec<Segment>,
    /// What the oldest of them names as the one before, if that is not there: it must not be needed.
    pub(super) missing: Option<u64>,
    /// Segments that a crash left behind, and nothing refers to, oldest first.
    pub(super) stale: Vec<Segment>,
}

/// Reads the header of every segment that the newest one leads back to.
pub(super) fn open_chain<D: Disk>(disk: &mut D, names: &[String]) -> Result<Chain, RecoveryError> {
    let mut numbers: Vec<u64> = names.iter().filter_map(|n| segment_number(n)).collect();
    numbers.sort_unstable_by(|one, other| other.cmp(one));
    let mut chain = Chain {
        headers: Vec::new(),
        missing: None,
        stale: Vec::new(),
    };
    let mut wanted = numbers.first().copied();
    for number in numbers {
        let segment = read_header(disk, number)?;
        check_same_store(&chain, &segment)?;
        if Some(number) != wanted {
            // Left behind when a crash came between a new segment and the end of an old one.
            chain.stale.push(segment);
            continue;
        }
        let previous = segment.header.link.previous;
        wanted = (previous != 0).then_some(previous);
        chain.headers.push(segment);
    }
    chain.missing = wanted;
    chain.headers.reverse();
    chain.stale.reverse();
    Ok(chain)
}

/// No file of another store is believed, or removed: each must be one that a newer one may follow.
fn check_same_store(newer: &Chain, segment: &Segment) -> Result<(), RecoveryError> {
    let mut others = newer.headers.iter().chain(&newer.stale);
    let (Some(newest), false) = (
        newer.headers.first(),
        others.any(|other| other.header.may_follow(&segment.header)),
    ) else {
        return Ok(());
    };
    Err(RecoveryError::Foreign {
        file: segment_name(segment.header.number),
        expected: Box::new(newest.header.identity),
        found: Box::new(segment.header.identity),
    })
}

/// Removes segments, oldest first, and durably. Where the store changed, those of the former one go first,
/// so that no order in which names vanish leaves a segment whose connection cannot be seen.
pub(super) fn remove_segments<D: Disk>(
    disk: &mut D,
    segments: &[Segment],
) -> Result<(), DiskError> {
    for (place, segment) in segments.iter().enumerate() {
        disk.remove(&segment_name(segment.header.number))?;
        let next = segments.get(place + 1);
        if next.is_none_or(|next| next.store() != segment.store()) {
            disk.sync_directory()?;
        }
    }
    Ok(())
}

pub(super) fn read_header<D: Disk>(disk: &mut D, number: u64) -> Result<Segment, RecoveryError> {
    let name = segment_name(number);
    let file = disk.open(&name)?;
    let mut bytes = [0; HEADER_BYTES];
    let read = disk.read_at(&file, 0, &mut bytes)?;
    if read < HEADER_BYTES {
        let found = format!("{read} bytes");
        return Err(damaged(number, 0, "a segment header of 128 bytes", found));
    }
    let (header, crc) = Header::decode(&name, &bytes)?;
    if header.number != number || header.link.previous >= number {
        let expected = format!("segment {number}");
        let found = format!("{} after {}", header.number, header.link.previous);
        return Err(damaged(number, 16, expected, found));
    }
    let length = disk.length(&file)?;
    if length < header.allocated {
        let expected = format!("{} bytes", header.allocated);
        let found = format!("a file of {length}");
        return Err(damaged(number, length, expected, found));
    }
    let seed = header.seed(crc);
    Ok(Segment { header, seed })
}
