//! Bytes: how messages and log entries look on the wire and on disk.
//!
//! A message is a small control part (bincode, variable-length integers) followed by a bulk part of
//! fixed layout: entries or commands. The bulk is the same for every peer, so an adapter encodes it
//! once and shares it; decoding slices the frame and copies no payload.
//!
//! Always holds: a claimed length or count is checked against the bytes that are there before anything
//! is allocated for it.

mod bulk;
mod envelope;

use alloc::string::String;
use alloc::vec::Vec;

use serde::Serialize;
use serde::de::DeserializeOwned;

pub(crate) use self::bulk::need;
pub use self::bulk::{decode_entries, encode_entries};
pub use self::envelope::{decode_envelope, encode_bulk, encode_control, has_bulk};

/// Names this encoding, in handshakes and file headers; another codec would take another number.
pub const CODEC_ID: u8 = 1;

/// The version of the message and record layouts that this code speaks.
pub const FORMAT_VERSION: u16 = 1;

/// Most bytes of a control part, and of a configuration inside an entry.
const CONTROL_BYTES_MAX: usize = 4 << 20;

/// Bytes from elsewhere that are not what they claim to be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// It ends too early.
    #[error("{what} needs {needed} bytes, found {found}")]
    Truncated {
        /// Which part.
        what: &'static str,
        /// How many bytes it claims.
        needed: u64,
        /// How many there are.
        found: u64,
    },
    /// Bytes are left over.
    #[error("{extra} bytes left over after {what}")]
    Trailing {
        /// After which part.
        what: &'static str,
        /// How many.
        extra: u64,
    },
    /// The control part does not decode.
    #[error("the control part does not decode: {0}")]
    Control(String),
    /// A value was not encoded in its one shortest form.
    #[error("the control part takes {found} bytes, its shortest form {expected}")]
    NotCanonical {
        /// The length of the shortest form.
        expected: u64,
        /// The length found.
        found: u64,
    },
    /// An entry is of no known kind.
    #[error("entry kind {found}, expected 0 (no-op), 1 (command) or 2 (configuration)")]
    EntryKind {
        /// What was found.
        found: u8,
    },
    /// An index lies beyond the last possible one.
    #[error("{count} entries from index {first} on exceed the last possible index")]
    Index {
        /// The first entry's index.
        first: u64,
        /// How many entries.
        count: u32,
    },
}

fn config() -> impl bincode::config::Config {
    bincode::config::standard().with_limit::<CONTROL_BYTES_MAX>()
}

/// Appends a small value to `out`.
///
/// # Panics
///
/// Never for the types of this crate: their encoding cannot fail.
pub(crate) fn encode_value<T: Serialize>(value: &T, out: &mut Vec<u8>) {
    let written = bincode::serde::encode_into_writer(value, Appender(out), config());
    written.unwrap_or_else(|error| unreachable!("encoding into memory failed: {error}"));
}

/// The bytes of a small value.
pub(crate) fn value_bytes<T: Serialize>(value: &T) -> Vec<u8> {
    let mut out = Vec::new();
    encode_value(value, &mut out);
    out
}

/// Appends a small value to `out`, with its length in front.
pub(crate) fn encode_part<T: Serialize>(value: &T, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    encode_value(value, out);
    let length = u32::try_from(out.len() - start - 4);
    let length = length.unwrap_or_else(|_| unreachable!("a part is smaller than 4 GiB"));
    out[start..start + 4].copy_from_slice(&length.to_le_bytes());
}

/// Writes behind what a buffer holds already.
struct Appender<'a>(&'a mut Vec<u8>);

impl bincode::enc::write::Writer for Appender<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<(), bincode::error::EncodeError> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }
}

/// Decodes a value of any size that fills `bytes` exactly: bytes whose checksum was compared before.
pub(crate) fn decode_unbounded<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, DecodeError> {
    decode_whole(bytes, bincode::config::standard(), "a value")
}

/// Decodes a small value that fills `bytes` exactly, in its one shortest form.
pub(crate) fn decode_value<T: Serialize + DeserializeOwned>(
    bytes: &[u8],
) -> Result<T, DecodeError> {
    let value: T = decode_whole(bytes, config(), "the control part")?;
    let mut size = bincode::enc::write::SizeWriter::default();
    let _ = bincode::serde::encode_into_writer(&value, &mut size, config());
    if size.bytes_written != bytes.len() {
        return Err(DecodeError::NotCanonical {
            expected: size.bytes_written as u64,
            found: bytes.len() as u64,
        });
    }
    Ok(value)
}

fn decode_whole<T: DeserializeOwned>(
    bytes: &[u8],
    config: impl bincode::config::Config,
    what: &'static str,
) -> Result<T, DecodeError> {
    let (value, used) = bincode::serde::decode_from_slice(bytes, config)
        .map_err(|error| DecodeError::Control(alloc::format!("{error:?}")))?;
    if used != bytes.len() {
        let extra = (bytes.len() - used) as u64;
        return Err(DecodeError::Trailing { what, extra });
    }
    Ok(value)
}
