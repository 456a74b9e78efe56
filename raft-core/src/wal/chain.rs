//! Which files make up the log: from the newest segment back, header by header.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::disk::Disk;
use super::record::Seed;
use super::segment::{HEADER_BYTES, Header, segment_name, segment_number};
use super::{FRESH_NAME, RecoveryError, damaged};

/// A segment whose header was read.
pub(super) struct Segment {
    pub(super) header: Header,
    pub(super) seed: Seed,
}

/// The segments of a log, oldest first.
pub(super) struct Chain {
    pub(super) headers: Vec<Segment>,
    /// Files that a crash left behind, and nothing refers to.
    pub(super) stale: Vec<String>,
}

/// Reads the header of every segment that the newest one leads back to.
pub(super) fn open_chain<D: Disk>(disk: &mut D, names: &[String]) -> Result<Chain, RecoveryError> {
    let mut numbers: Vec<u64> = names.iter().filter_map(|n| segment_number(n)).collect();
    numbers.sort_unstable();
    let mut chain = Chain {
        headers: Vec::new(),
        stale: Vec::new(),
    };
    let mut wanted = numbers.last().copied().unwrap_or(0);
    while wanted != 0 {
        if numbers.binary_search(&wanted).is_err() {
            return Err(damaged(wanted, 0, "a segment", "no file"));
        }
        let segment = read_header(disk, wanted)?;
        check_same_store(chain.headers.first(), &segment)?;
        wanted = segment.header.link.previous;
        chain.headers.push(segment);
    }
    for number in numbers {
        if chain.headers.iter().any(|s| s.header.number == number) {
            continue;
        }
        // Left behind when a crash came between a new segment and the end of an old one.
        check_same_store(chain.headers.first(), &read_header(disk, number)?)?;
        chain.stale.push(segment_name(number));
    }
    chain.headers.reverse();
    if names.iter().any(|name| name == FRESH_NAME) {
        chain.stale.push(String::from(FRESH_NAME));
    }
    Ok(chain)
}

/// No file of another store is believed, or removed.
fn check_same_store(newest: Option<&Segment>, segment: &Segment) -> Result<(), RecoveryError> {
    match newest {
        Some(newest) if newest.header.identity != segment.header.identity => {
            Err(RecoveryError::Foreign {
                file: segment_name(segment.header.number),
                expected: Box::new(newest.header.identity),
                found: Box::new(segment.header.identity),
            })
        }
        Some(_) | None => Ok(()),
    }
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
