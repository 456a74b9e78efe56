//! What can be chosen about a log, and what it has done.

use crate::error::OptionsError;

/// Tunables of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WalOptions {
    /// The size of a segment. A single larger record still gets one of its own.
    ///
    /// Default 32 MiB; legal 4 KiB to 4 GiB, in multiples of 4 KiB.
    pub segment_bytes: u64,
    /// How much of the log's end to hand to the node in memory at a start.
    ///
    /// Default 16 MiB; any value.
    pub tail_bytes_max: u64,
}

impl Default for WalOptions {
    fn default() -> Self {
        Self {
            segment_bytes: 32 << 20,
            tail_bytes_max: 16 << 20,
        }
    }
}

impl WalOptions {
    /// Checks every field against its legal range.
    ///
    /// # Errors
    ///
    /// The field out of range, with its value and the range.
    pub const fn validate(&self) -> Result<(), OptionsError> {
        let (value, low, high) = (self.segment_bytes, 4 << 10, 4 << 30);
        if value < low || value > high || !value.is_multiple_of(4 << 10) {
            return Err(OptionsError {
                option: "segment_bytes (a multiple of 4096)",
                value,
                low,
                high,
            });
        }
        Ok(())
    }
}

/// What a log has done since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WalStats {
    /// Writes of the log lane.
    pub persists: u64,
    /// Syncs that made them durable: fewer when many share one.
    pub syncs: u64,
    /// Bytes of records.
    pub bytes: u64,
    /// Segments begun.
    pub segments: u64,
}
