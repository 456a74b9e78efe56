//! Time that this thread spent on a processor, of which other programs take less than of the clock's.

use rustix::time::{ClockId, clock_gettime};

/// In nanoseconds, since the thread began.
pub(crate) fn processor_nanos() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let nanos = time.tv_sec * 1_000_000_000 + time.tv_nsec;
    u64::try_from(nanos).expect("a thread's time begins at zero")
}
