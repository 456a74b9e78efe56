//! Wakes the poller at an instant. What a poller waits for by itself ends at whole milliseconds, which would be
//! seen in the latencies of an open loop.

use std::io;
use std::time::Duration;

use mio::{Poll, Token};

/// A timer among the sockets of a poller. All times are nanoseconds since the same instant.
#[cfg(target_os = "linux")]
#[derive(Debug)]
pub(super) struct Timer {
    fd: std::os::fd::OwnedFd,
    /// When it goes off, if it is set.
    at: Option<u64>,
}

#[cfg(target_os = "linux")]
impl Timer {
    pub(super) fn new(poll: &Poll, token: Token) -> io::Result<Self> {
        use std::os::fd::AsRawFd;

        use mio::Interest;
        use mio::unix::SourceFd;
        use rustix::time::{TimerfdClockId, TimerfdFlags, timerfd_create};

        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let fd = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        let source = &mut SourceFd(&fd.as_raw_fd());
        poll.registry()
            .register(source, token, Interest::READABLE)?;
        Ok(Self { fd, at: None })
    }

    /// Sets it, in place of whatever it was set to; returns how long the poller is to wait for that time by
    /// itself, if it is.
    pub(super) fn set(&mut self, at: u64, now: u64) -> io::Result<Option<Duration>> {
        use rustix::time::{Itimerspec, TimerfdTimerFlags, Timespec, timerfd_settime};

        if self.at == Some(at) {
            return Ok(None);
        }
        // No time at all would switch it off.
        let after = Duration::from_nanos(at.saturating_sub(now).max(1));
        let setting = Itimerspec {
            it_interval: Timespec {
                tv_sec: 0,
                tv_nsec: 0,
            },
            it_value: Timespec {
                tv_sec: after.as_secs().try_into().unwrap_or(i64::MAX),
                tv_nsec: after.subsec_nanos().into(),
            },
        };
        timerfd_settime(&self.fd, TimerfdTimerFlags::empty(), &setting)?;
        self.at = Some(at);
        Ok(None)
    }

    /// The poller said that it went off.
    pub(super) fn went_off(&mut self) {
        self.at = None;
    }
}

/// The poller's own waiting, where there is no such timer.
#[cfg(not(target_os = "linux"))]
#[derive(Debug)]
pub(super) struct Timer;

#[cfg(not(target_os = "linux"))]
impl Timer {
    pub(super) fn new(_: &Poll, _: Token) -> io::Result<Self> {
        Ok(Self)
    }

    pub(super) fn set(&mut self, at: u64, now: u64) -> io::Result<Option<Duration>> {
        Ok(Some(Duration::from_nanos(at.saturating_sub(now))))
    }

    pub(super) fn went_off(&mut self) {}
}
