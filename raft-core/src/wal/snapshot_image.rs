//! The image in a snapshot's file: written and read as a stream, through one block of memory.

use alloc::string::ToString;
use alloc::vec;
use alloc::vec::Vec;

use crate::replica::{ImageError, Sink, Source};
use crate::snapshot::SnapshotMeta;
use crate::types::EntryId;

use super::disk::{Disk, DiskError};
use super::snapshot_error::SnapshotError;
use super::snapshot_file::{
    BLOCK_BYTES, BLOCK_HEADER_BYTES, Head, Piece, Scan, SnapshotFile, encode_header,
};

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
    file: SnapshotFile<'a, D>,
    meta: SnapshotMeta,
    scan: Scan,
    /// The block that is being handed out, its header included.
    block: Vec<u8>,
    /// What was handed out of it.
    taken: usize,
    /// The trailer was checked.
    ended: bool,
}

impl<'a, D: Disk> SnapshotReader<'a, D> {
    pub(super) fn new(mut file: SnapshotFile<'a, D>, id: EntryId) -> Result<Self, SnapshotError> {
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
