//! The one clock: monotonic, in nanoseconds, and running on through a suspend.

use raft_core::Time;

/// Now.
///
/// On Linux the clock counts the time a machine is suspended, because promises between nodes do.
#[cfg(target_os = "linux")]
pub(crate) fn now() -> Time {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    let nanos = u64::try_from(now.tv_nsec).unwrap_or(0);
    Time(seconds.saturating_mul(1_000_000_000).saturating_add(nanos))
}

/// Now.
#[cfg(not(target_os = "linux"))]
pub(crate) fn now() -> Time {
    use std::sync::OnceLock;
    use std::time::Instant;

    static START: OnceLock<Instant> = OnceLock::new();
    #[expect(clippy::disallowed_methods, reason = "this is the adapter's clock")]
    let now = Instant::now();
    let elapsed = now.duration_since(*START.get_or_init(|| now));
    Time(u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX))
}
