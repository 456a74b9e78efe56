//! A snapshot as a file: what is in front of the image, the image in blocks, and what is behind it.
//!
//! `docs/wal-format.md` draws the bytes. Every block has a checksum of its own, seeded with the header's and
//! with its place, so a reader knows each byte to be good before it hands it on; the trailer says how long
//! the whole is, and has a checksum of all of it.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use bytes::Buf;
use crc32fast::Hasher;

use crate::codec::{self, CODEC_ID, FORMAT_VERSION};
use crate::replica::{ImageError, Sink, Source};
use crate::snapshot::SnapshotMeta;
use crate::types::EntryId;

use super::disk::{Disk, DiskError};

const MAGIC: [u8; 8] = *b"raft-snp";
const HEADER_BYTES: usize = 24;
/// Everything before it is covered by the header's checksum, and so is what follows it: the meta.
const CHECKSUM_AT: usize = 20;
/// Checksum and length of a block.
const BLOCK_HEADER_BYTES: usize = 8;
/// Most bytes of the image in one block.
const BLOCK_BYTES: usize = 64 << 10;
/// Checksum, a length of zero, the file's length, a checksum of everything before.
const TRAILER_BYTES: usize = 20;

/// Why a snapshot cannot be written, read or received.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    /// No room: what was written of it is removed again.
    #[error("no space left for the snapshot {name}; free some, and the next one may fit")]
    Full {
        /// The file.
        name: String,
    },
    /// There is no such snapshot.
    #[error("there is no snapshot {name}")]
    Missing {
        /// The file that would hold it.
        name: String,
    },
    /// The file is not what was written.
    #[error(
        "the snapshot is damaged: {file} at offset {offset}: expected {expected}, found {found}"
    )]
    Damaged {
        /// The file.
        file: String,
        /// Where in it.
        offset: u64,
        /// What belongs there.
        expected: String,
        /// What is there.
        found: String,
    },
    /// Another version wrote it.
    #[error("{file} has format {version} with codec {codec}, expected format 1 with codec 1")]
    Version {
        /// The file.
        file: String,
        /// Its format version.
        version: u16,
        /// Its codec.
        codec: u8,
    },
    /// Bytes came that do not follow what was received.
    #[error("bytes at offset {found} were received, expected at offset {expected}")]
    OutOfPlace {
        /// Where the next bytes belong.
        expected: u64,
        /// Where these claim to belong.
        found: u64,
    },
    /// It was not received whole, or is longer than was announced.
    #[error("{found} bytes of the snapshot are here, expected {expected}")]
    Length {
        /// How long it was said to be.
        expected: u64,
        /// How much there is.
        found: u64,
    },
    /// Nothing of this snapshot is being received.
    #[error("the snapshot {name} is not being received")]
    NotReceiving {
        /// The file that would hold it.
        name: String,
    },
    /// The state machine's contents could not be written.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// The disk failed.
    #[error(transparent)]
    Disk(DiskError),
}

impl From<DiskError> for SnapshotError {
    fn from(error: DiskError) -> Self {
        match error {
            DiskError::Full { name } => Self::Full { name },
            DiskError::NotFound { name } => Self::Missing { name },
            DiskError::Failed { .. } => Self::Disk(error),
        }
    }
}

/// What a file says of itself before its image.
pub(super) struct Head {
    pub(super) meta: SnapshotMeta,
    /// Goes on with the first block.
    pub(super) scan: Scan,
}

/// A place between two blocks.
#[derive(Clone)]
pub(super) struct Scan {
    /// Where the next one begins.
    pub(super) offset: u64,
    number: u64,
    seed: u32,
    whole: Hasher,
}

/// What follows.
enum Piece {
    Block(Vec<u8>),
    Trailer,
}

impl Scan {
    /// After a header of these bytes, with that checksum.
    fn new(header: &[u8], seed: u32) -> Self {
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
    fn pass(&mut self, block: &[u8]) {
        self.whole.update(block);
        self.offset += block.len() as u64;
        self.number += 1;
    }

    /// Puts length and checksum in front of a block: room for them is there.
    fn complete(&self, block: &mut [u8]) {
        let length = u32::try_from(block.len() - BLOCK_HEADER_BYTES);
        let length = length.unwrap_or_else(|_| unreachable!("a block is smaller than 4 GiB"));
        block[4..8].copy_from_slice(&length.to_le_bytes());
        let crc = self.checksum(&block[4..]);
        block[..4].copy_from_slice(&crc.to_le_bytes());
    }

    fn trailer(&self) -> Vec<u8> {
        let mut trailer = vec![0; BLOCK_HEADER_BYTES];
        let total = self.offset + TRAILER_BYTES as u64;
        trailer.extend_from_slice(&total.to_le_bytes());
        trailer.extend_from_slice(&self.whole.clone().finalize().to_le_bytes());
        let crc = self.checksum(&trailer[4..]);
        trailer[..4].copy_from_slice(&crc.to_le_bytes());
        trailer
    }

    /// Reads and checks what follows, and goes on behind it.
    fn next<D: Disk>(&mut self, file: &mut Open<'_, D>) -> Result<Piece, SnapshotError> {
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
    fn end<D: Disk>(&self, file: &mut Open<'_, D>) -> Result<Piece, SnapshotError> {
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
pub(super) struct Open<'a, D: Disk> {
    pub(super) disk: &'a mut D,
    pub(super) file: D::File,
    pub(super) name: String,
}

impl<D: Disk> core::fmt::Debug for Open<'_, D> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Open").field("name", &self.name).finish()
    }
}

impl<'a, D: Disk> Open<'a, D> {
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

    /// As [`Open::head`], of the snapshot of that entry.
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

fn encode_header(meta: &SnapshotMeta) -> (Vec<u8>, u32) {
    let mut encoded = Vec::new();
    codec::encode_value(meta, &mut encoded);
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

/// Writes an image, block by block.
pub(super) struct Writer<'a, D: Disk> {
    disk: &'a mut D,
    file: &'a D::File,
    scan: Scan,
    /// Room for its header, then what was not written yet.
    block: Vec<u8>,
    /// What the disk said, should whoever writes the image not pass it on.
    failure: Option<DiskError>,
}

impl<'a, D: Disk> Writer<'a, D> {
    /// Writes what is in front of the image.
    pub(super) fn begin(
        disk: &'a mut D,
        file: &'a D::File,
        meta: &SnapshotMeta,
    ) -> Result<Self, DiskError> {
        let (header, crc) = encode_header(meta);
        disk.write_at(file, 0, &header)?;
        Ok(Self {
            disk,
            file,
            scan: Scan::new(&header, crc),
            block: vec![0; BLOCK_HEADER_BYTES],
            failure: None,
        })
    }

    fn flush(&mut self) -> Result<(), DiskError> {
        if self.block.len() == BLOCK_HEADER_BYTES {
            return Ok(());
        }
        self.scan.complete(&mut self.block);
        self.disk
            .write_at(self.file, self.scan.offset, &self.block)?;
        self.scan.pass(&self.block);
        self.block.truncate(BLOCK_HEADER_BYTES);
        Ok(())
    }

    /// Writes what is behind the image; how long the file is then.
    pub(super) fn finish(mut self) -> Result<u64, DiskError> {
        if let Some(failure) = self.failure.take() {
            return Err(failure);
        }
        self.flush()?;
        let trailer = self.scan.trailer();
        self.disk.write_at(self.file, self.scan.offset, &trailer)?;
        Ok(self.scan.offset + trailer.len() as u64)
    }

    /// What the disk said, if that is why the image could not be written.
    pub(super) fn into_failure(self) -> Option<DiskError> {
        self.failure
    }
}

impl<D: Disk> Sink for Writer<'_, D> {
    fn write(&mut self, mut bytes: &[u8]) -> Result<(), ImageError> {
        while !bytes.is_empty() && self.failure.is_none() {
            let room = BLOCK_HEADER_BYTES + BLOCK_BYTES - self.block.len();
            let (taken, rest) = bytes.split_at(bytes.len().min(room));
            self.block.extend_from_slice(taken);
            bytes = rest;
            if taken.len() == room {
                self.failure = self.flush().err();
            }
        }
        match &self.failure {
            Some(failure) => Err(ImageError::Disk(failure.to_string())),
            None => Ok(()),
        }
    }
}

/// Reads an image back; no byte is handed out before its block's checksum was compared.
#[derive(Debug)]
pub struct SnapshotReader<'a, D: Disk> {
    file: Open<'a, D>,
    meta: SnapshotMeta,
    scan: Scan,
    /// The block that is being handed out, its header included.
    block: Vec<u8>,
    /// What was handed out of it.
    taken: usize,
    /// The trailer was checked.
    ended: bool,
}

impl core::fmt::Debug for Scan {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Scan")
            .field("offset", &self.offset)
            .field("number", &self.number)
            .finish_non_exhaustive()
    }
}

impl<'a, D: Disk> SnapshotReader<'a, D> {
    pub(super) fn new(mut file: Open<'a, D>, id: EntryId) -> Result<Self, SnapshotError> {
        let Head { meta, scan } = file.head_of(id)?;
        Ok(Self {
            file,
            meta,
            scan,
            block: Vec::new(),
            taken: 0,
            ended: false,
        })
    }

    /// What it is a snapshot of.
    pub const fn meta(&self) -> &SnapshotMeta {
        &self.meta
    }

    /// Checks what was not read yet, to the end of the file.
    ///
    /// # Errors
    ///
    /// If anything of it is not what was written, or the disk fails.
    pub fn finish(mut self) -> Result<(), SnapshotError> {
        while !self.ended {
            self.advance()?;
        }
        Ok(())
    }

    fn advance(&mut self) -> Result<(), SnapshotError> {
        match self.scan.next(&mut self.file)? {
            Piece::Block(block) => {
                self.block = block;
                self.taken = BLOCK_HEADER_BYTES;
            }
            Piece::Trailer => self.ended = true,
        }
        Ok(())
    }
}

impl<D: Disk> Source for SnapshotReader<'_, D> {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, ImageError> {
        let mut filled = 0;
        while filled < buffer.len() {
            if self.taken == self.block.len() {
                if self.ended {
                    break;
                }
                self.advance()
                    .map_err(|error| ImageError::Disk(error.to_string()))?;
                continue;
            }
            let count = (buffer.len() - filled).min(self.block.len() - self.taken);
            buffer[filled..filled + count]
                .copy_from_slice(&self.block[self.taken..self.taken + count]);
            self.taken += count;
            filled += count;
        }
        Ok(filled)
    }
}
