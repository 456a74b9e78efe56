//! What a replica's snapshot holds: the state machine, and beside it what the replica itself replicates.
//!
//! Always holds: an image that was read is whole, of a version this program knows, and has nothing left over,
//! before anything is replaced by it.

use alloc::format;

use super::image::{Image, ImageError, Sink, Source, read_exact};
use super::sessions::Sessions;

/// The version of the layout, in front of everything else.
const VERSION: u8 = 1;

/// Everything that a snapshot of a replica contains, frozen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplicaImage<I> {
    pub(super) sessions: Sessions,
    pub(super) machine: I,
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
        self.sessions.write(sink)?;
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
            sessions: Sessions::read(source)?,
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
    use super::ReplicaImage;
    use crate::replica::{Image, ImageError, Serde, Sessions};
    use crate::types::{EntryId, Index, Term};
    use alloc::vec::Vec;

    fn sessions() -> Sessions {
        let mut sessions = Sessions::default();
        let id = EntryId {
            term: Term(1),
            index: Index(7),
        };
        sessions.register(id, 8, 100);
        sessions
    }

    fn image() -> ReplicaImage<Serde<u64>> {
        ReplicaImage {
            sessions: sessions(),
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
