//! Time as people have it: what is measured here is how long others take.

use std::time::{Duration, Instant};

#[expect(
    clippy::disallowed_methods,
    reason = "how long others take is what is measured"
)]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Whole microseconds.
pub(crate) fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
