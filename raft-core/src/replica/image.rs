//! A state machine's contents, frozen, as bytes: what a snapshot is made of.

use alloc::string::String;
use alloc::vec::Vec;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::codec;

use super::Serde;

/// Everything a state machine holds at one moment.
///
/// Writing and reading it may take long, so both happen beside the state machine, on another thread where
/// there are threads; only making one and putting one in place stop it.
pub trait Image: Sized + Send + 'static {
    /// Writes it, piece by piece.
    ///
    /// # Errors
    ///
    /// What the sink says.
    fn write(&self, sink: &mut dyn Sink) -> Result<(), ImageError>;

    /// Reads what [`Image::write`] wrote.
    ///
    /// # Errors
    ///
    /// What the source says, or that its bytes are no such image.
    fn read(source: &mut dyn Source) -> Result<Self, ImageError>;
}

/// Where an image is written to.
pub trait Sink {
    /// Takes all of the bytes.
    ///
    /// # Errors
    ///
    /// If they cannot be kept; the image is given up then.
    fn write(&mut self, bytes: &[u8]) -> Result<(), ImageError>;
}

/// Where an image is read from.
pub trait Source {
    /// Fills the buffer as far as there is something left; returns how much that was, zero at the end.
    ///
    /// # Errors
    ///
    /// If the bytes cannot be had, or are not what was written.
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, ImageError>;
}

/// Why an image could not be written or read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ImageError {
    /// It ends too early.
    #[error("the image ends after {found} bytes of a part of {expected} bytes")]
    Truncated {
        /// How long the part is.
        expected: u64,
        /// How much of it there is.
        found: u64,
    },
    /// Its bytes are no image of this program.
    #[error("not an image: {0}")]
    Malformed(String),
    /// The disk failed, or what it holds is damaged.
    #[error("{0}")]
    Disk(String),
}

impl Sink for Vec<u8> {
    fn write(&mut self, bytes: &[u8]) -> Result<(), ImageError> {
        self.extend_from_slice(bytes);
        Ok(())
    }
}

impl Source for &[u8] {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, ImageError> {
        let (taken, rest) = self.split_at(buffer.len().min(self.len()));
        buffer[..taken.len()].copy_from_slice(taken);
        *self = rest;
        Ok(taken.len())
    }
}

/// Fills the buffer, or fails.
///
/// # Errors
///
/// What the source says, or that it ends too early.
pub fn read_exact(source: &mut dyn Source, buffer: &mut [u8]) -> Result<(), ImageError> {
    let mut filled = 0;
    while filled < buffer.len() {
        let read = source.read(&mut buffer[filled..])?;
        if read == 0 {
            return Err(ImageError::Truncated {
                expected: buffer.len() as u64,
                found: filled as u64,
            });
        }
        filled += read;
    }
    Ok(())
}

/// Reads a part that begins with its length, a little-endian `u64`, in steps, so that a claimed length takes
/// no memory.
///
/// # Errors
///
/// What the source says, or that it ends too early.
pub fn read_part(source: &mut dyn Source) -> Result<Vec<u8>, ImageError> {
    const STEP: u64 = 1 << 20;
    let mut length = [0; 8];
    read_exact(source, &mut length)?;
    let length = u64::from_le_bytes(length);
    let mut part = Vec::new();
    let mut left = length;
    while left > 0 {
        let (start, step) = (part.len(), left.min(STEP));
        part.resize(start + usize::try_from(step).unwrap_or(usize::MAX), 0);
        read_exact(source, &mut part[start..])?;
        left -= step;
    }
    Ok(part)
}

/// Writes a part with its length in front: what [`read_part`] reads.
///
/// # Errors
///
/// What the sink says.
pub fn write_part(sink: &mut dyn Sink, part: &[u8]) -> Result<(), ImageError> {
    sink.write(&(part.len() as u64).to_le_bytes())?;
    sink.write(part)
}

/// A small machine's contents as any serde type.
impl<T: Serialize + DeserializeOwned + Send + 'static> Image for Serde<T> {
    fn write(&self, sink: &mut dyn Sink) -> Result<(), ImageError> {
        write_part(sink, &codec::value_bytes(&self.0))
    }

    fn read(source: &mut dyn Source) -> Result<Self, ImageError> {
        let part = read_part(source)?;
        codec::decode_unbounded(&part)
            .map(Serde)
            .map_err(|error| ImageError::Malformed(alloc::format!("{error}")))
    }
}
