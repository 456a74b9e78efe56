//! Segments: the header that says whose log this is, and the summary of what it holds.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;

use bytes::Buf;

use crate::codec::{CODEC_ID, FORMAT_VERSION};
use crate::configuration::Configuration;
use crate::entry::{Entry, Payload};
use crate::term_runs::TermRuns;
use crate::types::{ClusterId, EntryId, GroupId, Identity, Index, Member, NodeId, StorageId, Term};

use super::RecoveryError;
use super::chain::Segment;
use super::record::{Footer, Kind, Seed, append_pad, append_record, padded, record_size};

pub(super) const HEADER_BYTES: usize = 128;
const MAGIC: [u8; 8] = *b"raft-wal";
/// Everything before it is covered by the header's checksum.
const CHECKSUM_AT: usize = 124;

/// Where in the log a segment continues.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Link {
    /// The segment before, 0 for none.
    pub(super) previous: u64,
    /// Where its records end.
    pub(super) end: u64,
    /// The checksum of its last record.
    pub(super) chain: u32,
}

/// The first bytes of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) number: u64,
    pub(super) identity: Identity,
    /// The store that the segment written before belongs to: the same, unless that changed.
    pub(super) former: StorageId,
    pub(super) link: Link,
    /// Everything before this offset was synced before the file got its name.
    pub(super) begun: u64,
    /// How long the file was then; it never gets shorter.
    pub(super) allocated: u64,
}

impl Header {
    pub(super) const fn seed(&self, crc: u32) -> Seed {
        Seed {
            number: self.number,
            header: crc,
        }
    }

    /// Whether a segment with a lower number is of this store, or of what this store was before.
    pub(super) fn may_follow(&self, older: &Self) -> bool {
        let (own, other) = (self.identity, older.identity);
        let node = own.group == other.group && own.member.node == other.member.node;
        let joined = other.cluster == own.cluster || other.cluster == ClusterId::NONE;
        let store = if own.member.store == other.member.store {
            joined
        } else {
            other.member.store == self.former
        };
        older.number < self.number && node && store
    }

    /// The header's bytes and its checksum, which the first record names as its predecessor.
    pub(super) fn encode(&self) -> ([u8; HEADER_BYTES], u32) {
        let mut fields = Vec::with_capacity(HEADER_BYTES);
        fields.extend_from_slice(&MAGIC);
        fields.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
        fields.push(CODEC_ID);
        fields.extend_from_slice(&[0; 5]);
        fields.extend_from_slice(&self.number.to_le_bytes());
        fields.extend_from_slice(&self.identity.group.0.to_le_bytes());
        fields.extend_from_slice(&self.identity.cluster.0.to_le_bytes());
        fields.extend_from_slice(&self.identity.member.store.0.to_le_bytes());
        fields.extend_from_slice(&self.identity.member.node.0.to_le_bytes());
        fields.extend_from_slice(&self.link.previous.to_le_bytes());
        fields.extend_from_slice(&self.link.end.to_le_bytes());
        fields.extend_from_slice(&self.link.chain.to_le_bytes());
        fields.extend_from_slice(&self.begun.to_le_bytes());
        fields.extend_from_slice(&self.allocated.to_le_bytes());
        fields.extend_from_slice(&self.former.0.to_le_bytes());
        fields.resize(CHECKSUM_AT, 0);
        let crc = crc32fast::hash(&fields);
        fields.extend_from_slice(&crc.to_le_bytes());
        let mut bytes = [0; HEADER_BYTES];
        bytes[..fields.len()].copy_from_slice(&fields);
        (bytes, crc)
    }

    /// Reads a header and its checksum.
    pub(super) fn decode(
        file: &str,
        bytes: &[u8; HEADER_BYTES],
    ) -> Result<(Self, u32), RecoveryError> {
        if bytes[..8] != MAGIC {
            return Err(RecoveryError::NotALog {
                file: file.to_string(),
            });
        }
        let mut fields = &bytes[8..];
        let version = fields.get_u16_le();
        let codec = fields.get_u8();
        if version != FORMAT_VERSION || codec != CODEC_ID {
            return Err(RecoveryError::Version {
                file: file.to_string(),
                version,
                codec,
            });
        }
        let expected = crc32fast::hash(&bytes[..CHECKSUM_AT]);
        let found = (&bytes[CHECKSUM_AT..]).get_u32_le();
        if expected != found {
            return Err(RecoveryError::Damaged {
                file: file.to_string(),
                offset: 0,
                expected: format!("header crc {expected:#010x}"),
                found: format!("{found:#010x}"),
            });
        }
        fields.advance(5);
        let number = fields.get_u64_le();
        let group = GroupId(fields.get_u64_le());
        let cluster = ClusterId(fields.get_u128_le());
        let store = StorageId(fields.get_u128_le());
        let node = NodeId(fields.get_u64_le());
        let link = Link {
            previous: fields.get_u64_le(),
            end: fields.get_u64_le(),
            chain: fields.get_u32_le(),
        };
        let (begun, allocated) = (fields.get_u64_le(), fields.get_u64_le());
        let former = StorageId(fields.get_u128_le());
        let member = Member { node, store };
        let identity = Identity {
            group,
            cluster,
            member,
        };
        let header = Self {
            number,
            identity,
            former,
            link,
            begun,
            allocated,
        };
        Ok((header, found))
    }
}

/// The first bytes of a segment: its header, completed, and the records it begins with.
pub(super) struct Beginning {
    pub(super) header: Header,
    pub(super) seed: Seed,
    pub(super) bytes: Vec<u8>,
    /// The checksum of the last record.
    pub(super) chain: u32,
}

impl Beginning {
    /// Where records of these sizes end, without what fills their last sector.
    fn end(records: &[(Kind, Vec<u8>)]) -> u64 {
        let sizes = records
            .iter()
            .map(|(_, payload)| record_size(payload.len()));
        HEADER_BYTES as u64 + sizes.sum::<u64>()
    }

    /// How many bytes a beginning with these records takes.
    pub(super) fn size(records: &[(Kind, Vec<u8>)]) -> u64 {
        padded(Self::end(records))
    }

    pub(super) const fn segment(&self) -> Segment {
        Segment {
            header: self.header,
            seed: self.seed,
        }
    }

    /// A segment's beginning, in a file of this length.
    pub(super) fn new(mut header: Header, allocated: u64, records: &[(Kind, Vec<u8>)]) -> Self {
        let end = Self::end(records);
        header.begun = padded(end);
        header.allocated = allocated.max(header.begun);
        let (first, crc) = header.encode();
        let seed = header.seed(crc);
        let (mut bytes, mut chain) = (first.to_vec(), crc);
        for (kind, payload) in records {
            chain = append_record(seed, chain, *kind, &mut bytes, |out| {
                out.extend_from_slice(payload);
            });
        }
        chain = append_pad(seed, chain, end, &mut bytes);
        assert!(
            bytes.len() as u64 == header.begun,
            "a beginning is as long as its header says"
        );
        Self {
            header,
            seed,
            bytes,
            chain,
        }
    }
}

/// The name of a segment's file.
pub(super) fn segment_name(number: u64) -> String {
    format!("{number:020}.wal")
}

/// The number in a segment's name.
pub(super) fn segment_number(name: &str) -> Option<u64> {
    parse_number(name.strip_suffix(".wal")?)
}

/// A number as file names have it, with all its zeros.
pub(super) fn parse_number(digits: &str) -> Option<u64> {
    if digits.len() != 20 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok()
}

/// Entry bytes between two places from which the log can be read.
const POINT_BYTES: u64 = 64 << 10;

/// What a segment holds, as far as later records of the same segment have not replaced it.
#[derive(Clone, Debug)]
pub(super) struct Summary {
    /// The terms of its entries, above a base just before the first.
    terms: Option<TermRuns>,
    pub(super) configurations: Vec<(Index, Arc<Configuration>)>,
    pub(super) points: Vec<(Index, u64)>,
    since_point: u64,
}

impl Summary {
    pub(super) const fn new() -> Self {
        Self {
            terms: None,
            configurations: Vec::new(),
            points: Vec::new(),
            since_point: 0,
        }
    }

    /// The first entry that the segment wrote.
    pub(super) fn first(&self) -> Option<Index> {
        self.terms.as_ref().map(|terms| terms.base().index.next())
    }

    /// The terms of its entries.
    pub(super) const fn terms(&self) -> Option<&TermRuns> {
        self.terms.as_ref()
    }

    /// Everything so far is void.
    pub(super) fn restart(&mut self) {
        *self = Self::new();
    }

    /// A record with entries begins at `offset`. False if they do not fit what is there already.
    #[must_use]
    pub(super) fn add(&mut self, offset: u64, entries: &[Entry]) -> bool {
        let Some(first) = entries.first().map(|entry| entry.id.index) else {
            return true;
        };
        let before = EntryId {
            term: Term(0),
            index: first.previous(),
        };
        if first == Index(0) || crate::entry::check_run(before, entries, Term(u64::MAX)).is_err() {
            return false;
        }
        let terms = self.terms.get_or_insert_with(|| TermRuns::new(before));
        if first > terms.last().index.next() {
            return false;
        }
        let rewinds = first <= terms.last().index;
        if first <= terms.base().index {
            *terms = TermRuns::new(before);
        } else if rewinds {
            terms.truncate(first);
        }
        if entries[0].id.term < terms.last().term {
            return false;
        }
        if rewinds {
            self.configurations.retain(|(at, _)| *at < first);
            self.points.retain(|(at, _)| *at < first);
        }
        // Reading starts at a point and takes entries as they come, so every record that replaces
        // others needs one.
        if rewinds || self.points.is_empty() || self.since_point >= POINT_BYTES {
            self.points.push((first, offset));
            self.since_point = 0;
        }
        for entry in entries {
            terms.append(entry.id);
            self.since_point += entry.memory_bytes();
            if let Payload::Configuration(configuration) = &entry.payload {
                self.configurations
                    .push((entry.id.index, configuration.clone()));
            }
        }
        true
    }

    pub(super) fn footer(&self) -> Footer {
        let configurations = self.configurations.iter();
        Footer {
            first: self.first(),
            runs: self
                .terms
                .as_ref()
                .map_or_else(Vec::new, |terms| terms.runs().to_vec()),
            last: self
                .terms
                .as_ref()
                .map_or(Index(0), |terms| terms.last().index),
            configurations: configurations
                .map(|(at, configuration)| (*at, (**configuration).clone()))
                .collect(),
            points: self.points.clone(),
        }
    }

    /// The summary that a footer preserves; `None` if it contradicts itself.
    pub(super) fn from_footer(footer: &Footer) -> Option<Self> {
        let mut summary = Self::new();
        if let Some(first) = footer.first {
            let mut terms = TermRuns::new(EntryId {
                term: Term(0),
                index: first.previous(),
            });
            if !terms.splice(first, &footer.runs, footer.last) {
                return None;
            }
            summary.terms = Some(terms);
        }
        let configurations = footer.configurations.iter();
        summary.configurations = configurations
            .map(|(at, configuration)| (*at, Arc::new(configuration.clone())))
            .collect();
        summary.points.clone_from(&footer.points);
        Some(summary)
    }
}
