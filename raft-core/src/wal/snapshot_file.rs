//! A snapshot as a file: what is in front of the image, the image in blocks, and what is behind it.
//!
//! `docs/wal-format.md` draws the bytes. Every block has a checksum of its own, seeded with the header's and
//! with its place, so a reader knows each byte to be good before it hands it on; the trailer says how long
//! the whole is, and has a checksum of all of it.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;

use bytes::Buf;
use crc32fast::Hasher;

use crate::codec::{self, CODEC_ID, FORMAT_VERSION};
use crate::snapshot::SnapshotMeta;
use crate::types::EntryId;

use super::disk::Disk;
use super::snapshot_error::SnapshotError;

const MAGIC: [u8; 8] = *b"raft-snp";
const HEADER_BYTES: usize = 24;
/// Everything before it is covered by the header's checksum, and so is what follows it: the meta.
const CHECKSUM_AT: usize = 20;
/// Checksum and length of a block.
pub(super) const BLOCK_HEADER_BYTES: usize = 8;
/// Most bytes of the image in one block.
pub(super) const BLOCK_BYTES: usize = 64 << 10;
/// Checksum, a length of zero, the file's length, a checksum of everything before.
const TRAILER_BYTES: usize = 20;

/// What a file says of itself before its image.
pub(super) struct Head {
    pub(super) meta: SnapshotMeta,
    /// Goes on with the first block.
    pub(super) scan: Scan,
}

/// A place between two blocks.
pub(super) struct Scan {
    /// Where the next one begins.
    pub(super) offset: u64,
    number: u64,
    seed: u32,
    whole: Hasher,
}

/// What follows.
pub(super) enum Piece {
    Block(Vec<u8>),
    Trailer,
}

impl Scan {
    /// After a header of these bytes, with that checksum.
    pub(super) fn new(header: &[u8], seed: u32) -> Self {
        let mut whole = Hasher::new();
        whole.update(header);
        Self {
            offset: header.len() as u64,
            number: 0,
            seed,
            whole,
        }
    }

    /// The checksum of what stands at this place.
    fn checksum(&self, covered: &[u8]) -> u32 {
        let mut hasher = Hasher::new();
        hasher.update(&self.seed.to_le_bytes());
        hasher.update(&self.number.to_le_bytes());
        hasher.update(covered);
        hasher.finalize()
    }

    /// Goes on behind a block of these bytes, its header included.
    pub(super) fn pass(&mut self, block: &[u8]) {
        self.whole.update(block);
        self.offset += block.len() as u64;
        self.number += 1;
    }

    /// Puts length and checksum in front of a block: room for them is there.
    pub(super) fn complete(&self, block: &mut [u8]) {
        let length = u32::try_from(block.len() - BLOCK_HEADER_BYTES);
        let length = length.unwrap_or_else(|_| unreachable!("a block is smaller than 4 GiB"));
        block[4..8].copy_from_slice(&length.to_le_bytes());
        let crc = self.checksum(&block[4..]);
        block[..4].copy_from_slice(&crc.to_le_bytes());
    }

    pub(super) fn trailer(&self) -> Vec<u8> {
        let mut trailer = vec![0; BLOCK_HEADER_BYTES];
        let total = self.offset + TRAILER_BYTES as u64;
        trailer.extend_from_slice(&total.to_le_bytes());
        trailer.extend_from_slice(&self.whole.clone().finalize().to_le_bytes());
        let crc = self.checksum(&trailer[4..]);
        trailer[..4].copy_from_slice(&crc.to_le_bytes());
        trailer
    }

    /// Reads and checks what follows, and goes on behind it.
    pub(super) fn next<D: Disk>(
        &mut self,
        file: &mut SnapshotFile<'_, D>,
    ) -> Result<Piece, SnapshotError> {
        let mut block = vec![0; BLOCK_HEADER_BYTES];
        file.read_exact(self.offset, &mut block, "a block")?;
        let length = (&block[4..]).get_u32_le() as usize;
        if length > BLOCK_BYTES {
            let expected = format!("a block of at most {BLOCK_BYTES} bytes");
            return Err(file.damaged(self.offset, expected, length));
        }
        if length == 0 {
            return self.end(file);
        }
        block.resize(BLOCK_HEADER_BYTES + length, 0);
        let behind = self.offset + BLOCK_HEADER_BYTES as u64;
        file.read_exact(behind, &mut block[BLOCK_HEADER_BYTES..], "a whole block")?;
        let (expected, found) = (self.checksum(&block[4..]), (&block[..4]).get_u32_le());
        if expected != found {
            let expected = format!("block crc {expected:#010x}");
            return Err(file.damaged(self.offset, expected, format!("{found:#010x}")));
        }
        self.pass(&block);
        Ok(Piece::Block(block))
    }

    /// Checks the trailer, which ends the file.
    fn end<D: Disk>(&self, file: &mut SnapshotFile<'_, D>) -> Result<Piece, SnapshotError> {
        let expected = self.trailer();
        let mut found = vec![0; TRAILER_BYTES];
        file.read_exact(self.offset, &mut found, "a trailer")?;
        if found != expected {
            let crc = |trailer: &[u8]| (&trailer[16..]).get_u32_le();
            return Err(file.damaged(
                self.offset,
                format!("a trailer with the crc {:#010x} of all", crc(&expected)),
                format!("{:#010x}", crc(&found)),
            ));
        }
        let (length, total) = (file.length()?, self.offset + TRAILER_BYTES as u64);
        if length != total {
            return Err(file.damaged(total, "the end of the file", format!("{length} bytes")));
        }
        Ok(Piece::Trailer)
    }
}

/// An open snapshot file, with its name for messages.
pub(super) struct SnapshotFile<'a, D: Disk> {
    pub(super) disk: &'a mut D,
    pub(super) file: D::File,
    pub(super) name: String,
}

impl<D: Disk> fmt::Debug for SnapshotFile<'_, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SnapshotFile")
            .field("name", &self.name)
            .finish()
    }
}

impl<'a, D: Disk> SnapshotFile<'a, D> {
    pub(super) fn open(disk: &'a mut D, name: String) -> Result<Self, SnapshotError> {
        let file = disk.open(&name)?;
        Ok(Self { disk, file, name })
    }

    pub(super) fn length(&mut self) -> Result<u64, SnapshotError> {
        Ok(self.disk.length(&self.file)?)
    }

    fn damaged(&self, offset: u64, expected: impl ToString, found: impl ToString) -> SnapshotError {
        SnapshotError::Damaged {
            file: self.name.clone(),
            offset,
            expected: expected.to_string(),
            found: found.to_string(),
        }
    }

    fn read_exact(
        &mut self,
        offset: u64,
        buffer: &mut [u8],
        what: &str,
    ) -> Result<(), SnapshotError> {
        let read = self.disk.read_at(&self.file, offset, buffer)?;
        if read == buffer.len() {
            return Ok(());
        }
        Err(self.damaged(offset, what, format!("{read} bytes")))
    }

    /// Reads and checks what is in front of the image.
    pub(super) fn head(&mut self) -> Result<Head, SnapshotError> {
        let mut header = vec![0; HEADER_BYTES];
        self.read_exact(0, &mut header, "a snapshot header")?;
        if header[..8] != MAGIC {
            return Err(self.damaged(0, "\"raft-snp\"", "something else"));
        }
        let mut fields = &header[8..];
        let (version, codec) = (fields.get_u16_le(), fields.get_u8());
        if version != FORMAT_VERSION || codec != CODEC_ID {
            return Err(SnapshotError::Version {
                file: self.name.clone(),
                version,
                codec,
            });
        }
        fields.advance(1);
        let meta_bytes = fields.get_u32_le();
        let room = self.length()?.saturating_sub(HEADER_BYTES as u64);
        if u64::from(meta_bytes) > room {
            return Err(self.damaged(12, format!("a meta of at most {room} bytes"), meta_bytes));
        }
        header.resize(HEADER_BYTES + meta_bytes as usize, 0);
        let (at, what) = (HEADER_BYTES as u64, "the snapshot's meta");
        self.read_exact(at, &mut header[HEADER_BYTES..], what)?;
        let (expected, found) = (header_crc(&header), (&header[CHECKSUM_AT..]).get_u32_le());
        if expected != found {
            let expected = format!("header crc {expected:#010x}");
            return Err(self.damaged(0, expected, format!("{found:#010x}")));
        }
        let meta = codec::decode_unbounded(&header[HEADER_BYTES..])
            .map_err(|error| self.damaged(at, "a meta that decodes", error))?;
        Ok(Head {
            meta,
            scan: Scan::new(&header, found),
        })
    }

    /// Checks what can be checked without reading the image: that it is the snapshot of its name, and as long
    /// as it was.
    pub(super) fn outline(&mut self, id: EntryId) -> Result<SnapshotMeta, SnapshotError> {
        let meta = self.head_of(id)?.meta;
        let length = self.length()?;
        let at = length.saturating_sub(TRAILER_BYTES as u64);
        let mut trailer = [0; TRAILER_BYTES];
        self.read_exact(at, &mut trailer, "a trailer")?;
        let total = (&trailer[BLOCK_HEADER_BYTES..]).get_u64_le();
        if trailer[4..8] != [0; 4] || total != length {
            let expected = format!("a trailer that says {length} bytes");
            return Err(self.damaged(at, expected, format!("{total} bytes")));
        }
        Ok(meta)
    }

    /// As [`SnapshotFile::head`], of the snapshot of that entry.
    pub(super) fn head_of(&mut self, id: EntryId) -> Result<Head, SnapshotError> {
        let head = self.head()?;
        if head.meta.id != id {
            let at = HEADER_BYTES as u64;
            return Err(self.damaged(at, format!("{id:?}"), format!("{:?}", head.meta.id)));
        }
        Ok(head)
    }

    /// Checks every byte.
    pub(super) fn verify(&mut self, id: EntryId) -> Result<SnapshotMeta, SnapshotError> {
        let Head { meta, mut scan } = self.head_of(id)?;
        while matches!(scan.next(self)?, Piece::Block(_)) {}
        Ok(meta)
    }

    /// Writes anew whatever verifies, from the beginning on; how much that is. What was read may have been in
    /// a page cache only, and a sync would not make it durable if an earlier one had failed on it.
    pub(super) fn renew(&mut self, id: EntryId) -> Result<u64, SnapshotError> {
        let mut scan = match self.head_of(id) {
            Ok(head) => head.scan,
            Err(SnapshotError::Damaged { .. } | SnapshotError::Version { .. }) => return Ok(0),
            Err(error) => return Err(error),
        };
        let mut header = vec![0; usize::try_from(scan.offset).unwrap_or(usize::MAX)];
        self.read_exact(0, &mut header, "a snapshot header")?;
        self.disk.write_at(&self.file, 0, &header)?;
        loop {
            let offset = scan.offset;
            match scan.next(self) {
                Ok(Piece::Block(block)) => self.disk.write_at(&self.file, offset, &block)?,
                // The trailer comes again: it is short.
                Ok(Piece::Trailer) | Err(SnapshotError::Damaged { .. }) => return Ok(offset),
                Err(error) => return Err(error),
            }
        }
    }
}

/// The checksum of a header and the meta behind it.
fn header_crc(header: &[u8]) -> u32 {
    let mut hasher = Hasher::new();
    hasher.update(&header[..CHECKSUM_AT]);
    hasher.update(&header[HEADER_BYTES..]);
    hasher.finalize()
}

pub(super) fn encode_header(meta: &SnapshotMeta) -> (Vec<u8>, u32) {
    let encoded = codec::value_bytes(meta);
    let length = u32::try_from(encoded.len());
    let length = length.unwrap_or_else(|_| unreachable!("a meta is smaller than 4 GiB"));
    let mut header = Vec::with_capacity(HEADER_BYTES + encoded.len());
    header.extend_from_slice(&MAGIC);
    header.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
    header.push(CODEC_ID);
    header.push(0);
    header.extend_from_slice(&length.to_le_bytes());
    header.resize(HEADER_BYTES, 0);
    header.extend_from_slice(&encoded);
    let crc = header_crc(&header);
    header[CHECKSUM_AT..HEADER_BYTES].copy_from_slice(&crc.to_le_bytes());
    (header, crc)
}

impl fmt::Debug for Scan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scan")
            .field("offset", &self.offset)
            .field("number", &self.number)
            .finish_non_exhaustive()
    }
}
