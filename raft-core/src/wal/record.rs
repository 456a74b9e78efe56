//! Framing of records: what tells a whole one from a torn, damaged, moved or recycled one.
//!
//! `docs/wal-format.md` draws the bytes. A record's checksum covers everything but itself and is seeded
//! with its segment's header, so a record of another segment, another store or a recycled file does not
//! pass; each names the checksum before it, so one that is missing shows.

use alloc::vec::Vec;

use bytes::{Buf, Bytes};
use crc32fast::Hasher;
use serde::{Deserialize, Serialize};

use crate::codec::{self, DecodeError};
use crate::configuration::Configuration;
use crate::entry::Entry;
use crate::planted::{Bug, planted};
use crate::types::{EntryId, HardState, Index};

use super::range_crc::RangeCrc;
use super::state::Change;

pub(super) const RECORD_HEADER_BYTES: usize = 16;
const ALIGNMENT: usize = 8;
/// What a device writes as one.
const SECTOR_BYTES: u64 = 512;
/// More than the control part of a `Persist` record ever takes.
const CONTROL_BYTES_MAX: usize = 128;

/// What a record says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// What the store is when a segment begins; its first record, and only that.
    Start = 1,
    /// One atomic write of the log lane: entries, term and vote.
    Persist = 2,
    /// What a sealed segment holds.
    Footer = 3,
    /// Nothing was waiting: everything before is synced. The next write takes its place.
    Close = 4,
    /// Fills up to the end of a sector, so that what is written later shares none with what is synced.
    Pad = 5,
    /// A write that also changes what the store is, besides its entries.
    Change = 6,
}

/// What makes a segment's checksums its own: its number and its header's checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seed {
    pub(super) number: u64,
    pub(super) header: u32,
}

impl Kind {
    const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::Start),
            2 => Some(Self::Persist),
            3 => Some(Self::Footer),
            4 => Some(Self::Close),
            5 => Some(Self::Pad),
            6 => Some(Self::Change),
            _ => None,
        }
    }
}

/// The control part of a `Persist` or `Change` record, and all of a `Close` record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Control {
    /// Everything in the segment before this offset was synced when the record was written.
    pub(super) watermark: u64,
    pub(super) hard_state: Option<HardState>,
}

/// The payload of a `Footer` record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Footer {
    /// The first index that the segment wrote, if it wrote entries.
    pub(super) first: Option<Index>,
    /// The first entry of each term.
    pub(super) runs: Vec<EntryId>,
    /// The last index.
    pub(super) last: Index,
    pub(super) configurations: Vec<(Index, Configuration)>,
    /// Where to start reading from which index: sparse.
    pub(super) points: Vec<(Index, u64)>,
}

/// A record that passed its checks, inside the bytes it was found in.
#[derive(Clone, Debug)]
pub(super) struct Record {
    pub(super) kind: Kind,
    pub(super) payload: Bytes,
    /// Its checksum: what the next record names.
    pub(super) crc: u32,
    /// The checksum that it names.
    pub(super) previous: u32,
    /// Where the next one begins.
    pub(super) next: u64,
}

/// Why there is no record where one was looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BadRecord {
    pub(super) expected: u32,
    pub(super) found: u32,
}

/// Appends a record to `out` and returns its checksum.
///
/// # Panics
///
/// If the payload is 4 GiB or more; the quotas keep it far below.
pub(super) fn append_record(
    seed: Seed,
    previous: u32,
    kind: Kind,
    out: &mut Vec<u8>,
    payload: impl FnOnce(&mut Vec<u8>),
) -> u32 {
    let start = out.len();
    out.extend_from_slice(&[0; RECORD_HEADER_BYTES]);
    payload(out);
    let length = u32::try_from(out.len() - start - RECORD_HEADER_BYTES);
    let length = length.unwrap_or_else(|_| unreachable!("a record is smaller than 4 GiB"));
    out.resize(out.len().next_multiple_of(ALIGNMENT), 0);
    out[start + 4..start + 8].copy_from_slice(&length.to_le_bytes());
    out[start + 8..start + 12].copy_from_slice(&previous.to_le_bytes());
    out[start + 12] = kind as u8;
    let crc = checksum(seed, &out[start + 4..]);
    out[start..start + 4].copy_from_slice(&crc.to_le_bytes());
    crc
}

impl Seed {
    fn hasher(self) -> Hasher {
        let mut hasher = Hasher::new();
        hasher.update(&self.number.to_le_bytes());
        hasher.update(&self.header.to_le_bytes());
        hasher
    }
}

fn checksum(seed: Seed, covered: &[u8]) -> u32 {
    let mut hasher = seed.hasher();
    hasher.update(covered);
    hasher.finalize()
}

/// Whether the bytes at `place`, which `peek_watermark` found to look like a record, pass as one.
pub(super) fn passes(seed: Seed, bytes: &[u8], ranges: &RangeCrc<'_>, place: usize) -> bool {
    let Some(header) = bytes[place..].first_chunk::<RECORD_HEADER_BYTES>() else {
        return false;
    };
    let end = record_bytes(header).and_then(|size| place.checked_add(size));
    end.filter(|end| *end <= bytes.len()).is_some_and(|end| {
        (&header[..4]).get_u32_le() == ranges.after(seed.hasher(), place + 4, end)
    })
}

/// How many bytes a record takes whose header is given: header, payload and padding. `None` if the
/// header cannot be one.
pub(super) fn record_bytes(header: &[u8; RECORD_HEADER_BYTES]) -> Option<usize> {
    let mut fields = &header[4..];
    let length = fields.get_u32_le() as usize;
    let _previous = fields.get_u32_le();
    Kind::from_byte(fields.get_u8())?;
    if fields != [0; 3] {
        return None;
    }
    let size = RECORD_HEADER_BYTES.checked_add(length)?;
    size.checked_next_multiple_of(ALIGNMENT)
}

/// Appends what fills `end`, an offset that follows `out`, up to the next sector; returns the checksum
/// of the last record then.
pub(super) fn append_pad(seed: Seed, previous: u32, end: u64, out: &mut Vec<u8>) -> u32 {
    let gap = padded(end) - end;
    if gap == 0 {
        return previous;
    }
    let size = usize::try_from(gap).unwrap_or(0);
    append_record(seed, previous, Kind::Pad, out, |out| {
        out.resize(out.len() + size - RECORD_HEADER_BYTES, 0);
    })
}

/// Where a sector begins that can be filled up to from `end`, which may need a record to do so.
pub(super) const fn padded(end: u64) -> u64 {
    let next = end.next_multiple_of(SECTOR_BYTES);
    if next != end && next - end < RECORD_HEADER_BYTES as u64 {
        return next + SECTOR_BYTES;
    }
    next
}

/// How many bytes a record with a payload of this length takes.
pub(super) const fn record_size(payload: usize) -> u64 {
    (RECORD_HEADER_BYTES + payload).next_multiple_of(ALIGNMENT) as u64
}

/// The watermark of what looks like a record that has one, before its checksum is worth computing.
pub(super) fn peek_watermark(bytes: &Bytes, offset: u64) -> Option<u64> {
    let place = usize::try_from(offset).ok()?;
    let header = bytes.get(place..)?.first_chunk::<RECORD_HEADER_BYTES>()?;
    let size = record_bytes(header)?;
    match Kind::from_byte(header[12])? {
        Kind::Persist | Kind::Change | Kind::Close => {}
        Kind::Start | Kind::Footer | Kind::Pad => return None,
    }
    if size > bytes.len() - place {
        return None;
    }
    let payload = place + RECORD_HEADER_BYTES;
    let length = (bytes.get(payload..payload + 4)?).get_u32_le() as usize;
    if length > CONTROL_BYTES_MAX {
        return None;
    }
    let control = bytes.get(payload + 4..payload + 4 + length)?;
    codec::decode_value::<Control>(control)
        .ok()
        .map(|control| control.watermark)
}

/// Reads the record at `offset` of a segment's bytes, which begin at `origin`.
pub(super) fn read_record(
    seed: Seed,
    bytes: &Bytes,
    origin: u64,
    offset: u64,
) -> Result<Record, BadRecord> {
    let nothing = BadRecord {
        expected: 0,
        found: 0,
    };
    let place = usize::try_from(offset - origin).unwrap_or(usize::MAX);
    let Some(header) = bytes
        .get(place..)
        .and_then(|rest| rest.first_chunk::<RECORD_HEADER_BYTES>())
    else {
        return Err(nothing);
    };
    let found = (&header[..4]).get_u32_le();
    let size = record_bytes(header).filter(|size| *size <= bytes.len() - place);
    let Some(size) = size else {
        return Err(BadRecord { found, ..nothing });
    };
    let expected = checksum(seed, &bytes[place + 4..place + size]);
    if found != expected && !planted(Bug::TornAccepted) {
        return Err(BadRecord { expected, found });
    }
    let length = (&header[4..]).get_u32_le() as usize;
    let Some(kind) = Kind::from_byte(header[12]) else {
        return Err(nothing);
    };
    let start = place + RECORD_HEADER_BYTES;
    Ok(Record {
        kind,
        payload: bytes.slice(start..start + length),
        crc: found,
        previous: (&header[8..]).get_u32_le(),
        next: offset + size as u64,
    })
}

/// What a record that has a control part says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Content {
    pub(super) control: Control,
    pub(super) change: Option<Change>,
    pub(super) entries: Vec<Entry>,
}

/// Appends the payload of a record that has a control part: `Change` if something changes, or else `Persist`
/// or `Close`.
pub(super) fn encode_content(
    control: &Control,
    change: Option<&Change>,
    entries: &[Entry],
    out: &mut Vec<u8>,
) {
    codec::encode_part(control, out);
    if let Some(change) = change {
        codec::encode_part(change, out);
    }
    if !entries.is_empty() {
        codec::encode_entries(entries, out);
    }
}

/// Reads the payload of a record that has a control part; `None` for the other kinds.
pub(super) fn decode_content(record: &Record) -> Result<Option<Content>, DecodeError> {
    let mut rest = record.payload.clone();
    let changes = match record.kind {
        Kind::Persist | Kind::Close => false,
        Kind::Change => true,
        Kind::Start | Kind::Footer | Kind::Pad => return Ok(None),
    };
    let control = codec::decode_value(&split_part(&mut rest)?)?;
    let change = if changes {
        Some(codec::decode_value(&split_part(&mut rest)?)?)
    } else {
        None
    };
    let entries = if rest.is_empty() {
        Vec::new()
    } else {
        codec::decode_entries(&rest)?
    };
    Ok(Some(Content {
        control,
        change,
        entries,
    }))
}

/// Takes off a part that has its length in front.
fn split_part(rest: &mut Bytes) -> Result<Bytes, DecodeError> {
    const PART: &str = "a part of a record";
    codec::need(PART, 4, rest.len())?;
    let length = rest.get_u32_le();
    codec::need(PART, length.into(), rest.len())?;
    Ok(rest.split_to(length as usize))
}
