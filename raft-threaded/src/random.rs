//! The operating system's randomness: what names clusters and stores.

use crate::error::StartError;

/// Sixteen bytes that nobody else has.
pub(crate) fn random() -> Result<u128, StartError> {
    let mut bytes = [0; 16];
    match getrandom::fill(&mut bytes) {
        Ok(()) => Ok(u128::from_le_bytes(bytes)),
        Err(error) => Err(StartError::System {
            what: "the operating system has no randomness",
            error: std::io::Error::other(error),
        }),
    }
}
