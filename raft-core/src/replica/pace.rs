//! How fast a snapshot may be fetched.
//!
//! Always holds: in any stretch of one election timeout no more bytes are asked for than
//! `Options::snapshot_bytes_per_timeout`, and one part.

use crate::options::Options;
use crate::types::{Span, Time};

/// Keeps questions so far apart as the bytes they ask for need.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// Nothing is asked before.
    next: Time,
    /// How long the last question kept the next one waiting.
    apart: Span,
}

impl Pace {
    pub(super) const fn new() -> Self {
        Self {
            next: Time(0),
            apart: Span(0),
        }
    }

    pub(super) const fn next(&self) -> Time {
        self.next
    }

    pub(super) const fn apart(&self) -> Span {
        self.apart
    }

    pub(super) fn allows(&self, now: Time) -> bool {
        now >= self.next
    }

    /// So many bytes were asked for.
    pub(super) fn took(&mut self, now: Time, bytes: u64, options: &Options) {
        let rate = options.snapshot_bytes_per_timeout;
        if rate == 0 {
            return;
        }
        let time = u128::from(bytes) * u128::from(options.election_timeout.0);
        let time = time.div_ceil(u128::from(rate));
        self.apart = Span(u64::try_from(time).unwrap_or(u64::MAX));
        self.next = now + self.apart;
    }
}
