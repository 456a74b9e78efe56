//! What a replica's snapshot holds: the state machine, and beside it what the replica itself replicates.
//!
//! Always holds: an image that was read is whole, of a version this program knows, and has nothing left over,
//! before anything is replaced by it.

use alloc::format;
use alloc::vec::Vec;

use super::durable::Durable;
use super::image::{Image, ImageError, Sink, Source, read_exact, read_part, write_part};

/// The version of the layout, in front of everything else.
const VERSION: u8 = 1;

/// Everything that a snapshot of a replica contains, frozen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplicaImage<I> {
    pub(super) sessions: SessionsImage,
    pub(super) machine: I,
}

/// What the replica knows of its clients, frozen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct SessionsImage {
    pub(super) bytes: Vec<u8>,
}

impl SessionsImage {
    /// What a state machine's own store kept of it.
    pub(super) fn of(durable: Durable) -> Self {
        Self {
            bytes: durable.sessions,
        }
    }
}

impl<I> ReplicaImage<I> {
    /// The state machine's part.
    pub const fn machine(&self) -> &I {
        &self.machine
    }
}

impl<I: Image> Image for ReplicaImage<I> {
    fn write(&self, sink: &mut dyn Sink) -> Result<(), ImageError> {
        sink.write(&[VERSION])?;
        write_part(sink, &self.sessions.bytes)?;
        self.machine.write(sink)
    }

    fn read(source: &mut dyn Source) -> Result<Self, ImageError> {
        let mut version = [0];
        read_exact(source, &mut version)?;
        if version != [VERSION] {
            let found = version[0];
            return Err(ImageError::Malformed(format!(
                "version {found}, expected {VERSION}"
            )));
        }
        let image = Self {
            sessions: SessionsImage {
                bytes: read_part(source)?,
            },
            machine: I::read(source)?,
        };
        if source.read(&mut [0])? > 0 {
            return Err(ImageError::Malformed(
                "bytes are left over after the state machine".into(),
            ));
        }
        Ok(image)
    }
}

#[cfg(test)]
mod tests {
    use super::{ReplicaImage, SessionsImage};
    use crate::replica::{Image, ImageError, Serde};
    use alloc::vec;
    use alloc::vec::Vec;

    fn image() -> ReplicaImage<Serde<u64>> {
        ReplicaImage {
            sessions: SessionsImage {
                bytes: vec![7, 8, 9],
            },
            machine: Serde(300),
        }
    }

    fn bytes() -> Vec<u8> {
        let mut bytes = Vec::new();
        image().write(&mut bytes).unwrap();
        bytes
    }

    fn read(bytes: &[u8]) -> Result<ReplicaImage<Serde<u64>>, ImageError> {
        let mut source = bytes;
        Image::read(&mut source)
    }

    #[test]
    fn an_image_is_read_as_it_was_written() {
        assert_eq!(read(&bytes()), Ok(image()));
    }

    #[test]
    fn an_image_that_ends_too_early_anywhere_is_none() {
        let bytes = bytes();
        for end in 0..bytes.len() {
            assert!(read(&bytes[..end]).is_err(), "of {end} bytes");
        }
    }

    #[test]
    fn an_image_of_another_version_or_with_more_behind_it_is_none() {
        let mut other = bytes();
        other[0] = 2;
        assert!(matches!(read(&other), Err(ImageError::Malformed(_))));
        let mut longer = bytes();
        longer.push(0);
        assert!(matches!(read(&longer), Err(ImageError::Malformed(_))));
    }
}
