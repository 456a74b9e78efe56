//! Typed commands over the core's opaque bytes.

use alloc::string::String;
use alloc::vec::Vec;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::codec;

/// What can be written to the log and read back.
pub trait Command: Sized {
    /// The command's bytes; the same for equal commands.
    fn encode(&self) -> Bytes;

    /// Puts the command's bytes behind what `out` holds already: the same as [`Command::encode`], without
    /// memory of its own.
    fn encode_into(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.encode());
    }

    /// Reads a command.
    ///
    /// # Errors
    ///
    /// If the bytes are no command, for instance of a version this program does not know.
    fn decode(bytes: &Bytes) -> Result<Self, CommandError>;
}

/// Bytes that are no command of this program.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a command: {0}")]
pub struct CommandError(pub String);

impl Command for Bytes {
    fn encode(&self) -> Bytes {
        self.clone()
    }

    fn decode(bytes: &Bytes) -> Result<Self, CommandError> {
        Ok(bytes.clone())
    }
}

/// Makes a command of any serde type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Serde<T>(pub T);

impl<T: Serialize + DeserializeOwned> Command for Serde<T> {
    fn encode(&self) -> Bytes {
        encode_reply(&self.0)
    }

    fn encode_into(&self, out: &mut Vec<u8>) {
        codec::encode_value(&self.0, out);
    }

    fn decode(bytes: &Bytes) -> Result<Self, CommandError> {
        decode_command(bytes).map(Serde)
    }
}

/// Reads a value of any serde type that came in a command.
pub(super) fn decode_command<T: Serialize + DeserializeOwned>(
    bytes: &[u8],
) -> Result<T, CommandError> {
    codec::decode_value(bytes).map_err(|error| CommandError(alloc::format!("{error}")))
}

/// The bytes of any serde type: for [`StateMachine::encode_reply`](super::StateMachine::encode_reply).
pub fn encode_reply<T: Serialize>(reply: &T) -> Bytes {
    Bytes::from(codec::value_bytes(reply))
}

/// Reads what [`encode_reply`] wrote; none if it is no such reply.
#[must_use]
pub fn decode_reply<T: Serialize + DeserializeOwned>(bytes: &Bytes) -> Option<T> {
    codec::decode_value(bytes).ok()
}
