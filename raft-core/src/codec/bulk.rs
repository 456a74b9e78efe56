//! The bulk part: runs of entries, and lists of commands, in a layout that is sliced, not parsed.

use alloc::sync::Arc;
use alloc::vec::Vec;

use bytes::{Buf, Bytes};

use crate::entry::{Entry, Payload};
use crate::types::{EntryId, Index, Term};

use super::{DecodeError, decode_value, encode_value};

/// Term, kind and length of one entry.
const ENTRY_HEADER_BYTES: u64 = 13;
const NOOP: u8 = 0;
const COMMAND: u8 = 1;
const CONFIGURATION: u8 = 2;

/// Appends a run of contiguous entries to `out`: first index, count, a header for each, payloads.
///
/// # Panics
///
/// If there are more than 2³² entries, or one is larger than 4 GiB; options keep both far away.
pub fn encode_entries(entries: &[Entry], out: &mut Vec<u8>) {
    let first = entries.first().map_or(Index(0), |entry| entry.id.index);
    let count = u32::try_from(entries.len());
    let count = count.unwrap_or_else(|_| unreachable!("a batch has fewer than 2^32 entries"));
    let payloads: u64 = entries.iter().map(Entry::payload_bytes).sum();
    let headers = entries.len() as u64 * ENTRY_HEADER_BYTES;
    out.reserve(usize_of(12 + headers + payloads));
    out.extend_from_slice(&first.0.to_le_bytes());
    out.extend_from_slice(&count.to_le_bytes());
    let mut configurations = Vec::new();
    for entry in entries {
        let (kind, length) = match &entry.payload {
            Payload::Noop => (NOOP, 0),
            Payload::Command(command) => (COMMAND, command.len()),
            Payload::Configuration(configuration) => {
                let start = configurations.len();
                encode_value(&**configuration, &mut configurations);
                (CONFIGURATION, configurations.len() - start)
            }
        };
        let length = u32::try_from(length);
        let length = length.unwrap_or_else(|_| unreachable!("a payload is smaller than 4 GiB"));
        out.extend_from_slice(&entry.id.term.0.to_le_bytes());
        out.push(kind);
        out.extend_from_slice(&length.to_le_bytes());
    }
    for entry in entries {
        match &entry.payload {
            Payload::Noop => {}
            Payload::Command(command) => out.extend_from_slice(command),
            Payload::Configuration(configuration) => encode_value(&**configuration, out),
        }
    }
}

/// Reads a run of entries that fills `block` exactly; payloads stay slices of it.
///
/// # Errors
///
/// If a length, a count, a kind or an index is not possible.
pub fn decode_entries(block: &Bytes) -> Result<Vec<Entry>, DecodeError> {
    let mut headers = block.clone();
    need("a run of entries", 12, headers.len())?;
    let first = headers.get_u64_le();
    let count = headers.get_u32_le();
    let headers_bytes = u64::from(count) * ENTRY_HEADER_BYTES;
    need(
        "the headers of a run of entries",
        headers_bytes,
        headers.len(),
    )?;
    if first.checked_add(u64::from(count)).is_none() {
        return Err(DecodeError::Index { first, count });
    }
    let mut payloads = headers.slice(usize_of(headers_bytes)..);
    let mut entries = Vec::with_capacity(count as usize);
    for place in 0..u64::from(count) {
        let term = Term(headers.get_u64_le());
        let kind = headers.get_u8();
        let length = headers.get_u32_le();
        need("an entry's payload", length.into(), payloads.len())?;
        let payload = payloads.split_to(length as usize);
        let payload = match kind {
            NOOP if length == 0 => Payload::Noop,
            NOOP => {
                return Err(DecodeError::Trailing {
                    what: "a no-op",
                    extra: length.into(),
                });
            }
            COMMAND => Payload::Command(payload),
            CONFIGURATION => Payload::Configuration(Arc::new(decode_value(&payload)?)),
            found => return Err(DecodeError::EntryKind { found }),
        };
        let index = Index(first + place);
        entries.push(Entry {
            id: EntryId { term, index },
            payload,
        });
    }
    finish("a run of entries", &payloads)?;
    Ok(entries)
}

/// Appends a list of commands to `out`: count, lengths, bytes.
pub(super) fn encode_commands(commands: &[Bytes], out: &mut Vec<u8>) {
    let count = u32::try_from(commands.len());
    let count = count.unwrap_or_else(|_| unreachable!("a batch has fewer than 2^32 commands"));
    out.extend_from_slice(&count.to_le_bytes());
    for command in commands {
        let length = u32::try_from(command.len());
        let length = length.unwrap_or_else(|_| unreachable!("a command is smaller than 4 GiB"));
        out.extend_from_slice(&length.to_le_bytes());
    }
    for command in commands {
        out.extend_from_slice(command);
    }
}

/// Reads a list of commands that fills `block` exactly; they stay slices of it.
pub(super) fn decode_commands(block: &Bytes) -> Result<Vec<Bytes>, DecodeError> {
    let mut lengths = block.clone();
    need("a list of commands", 4, lengths.len())?;
    let count = lengths.get_u32_le();
    let lengths_bytes = u64::from(count) * 4;
    need("the lengths of commands", lengths_bytes, lengths.len())?;
    let mut payloads = lengths.slice(usize_of(lengths_bytes)..);
    let mut commands = Vec::with_capacity(count as usize);
    for _ in 0..count {
        let length = lengths.get_u32_le();
        need("a command", length.into(), payloads.len())?;
        commands.push(payloads.split_to(length as usize));
    }
    finish("a list of commands", &payloads)?;
    Ok(commands)
}

/// A length that was compared with bytes in memory fits a `usize`.
fn usize_of(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

pub(crate) fn need(what: &'static str, needed: u64, found: usize) -> Result<(), DecodeError> {
    let found = found as u64;
    if needed > found {
        return Err(DecodeError::Truncated {
            what,
            needed,
            found,
        });
    }
    Ok(())
}

pub(super) fn finish(what: &'static str, rest: &Bytes) -> Result<(), DecodeError> {
    if rest.is_empty() {
        return Ok(());
    }
    Err(DecodeError::Trailing {
        what,
        extra: rest.len() as u64,
    })
}
