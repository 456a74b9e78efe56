//! Where the log's jobs are done: on a thread of its own, or at once where nothing has to be waited for.

use std::convert::Infallible;

use crossbeam_channel::{Receiver, Sender};
use raft_core::wal::{Disk, Wal};

use crate::runtime::inbox::Outlet;
use crate::runtime::log_thread::{LogEvent, LogJob, LogWork};

/// Takes the log's jobs, in order; what it answers comes as a [`LogEvent`].
pub(crate) trait Lane: Send {
    /// Hands over a job; false if nobody is there to do it.
    fn ask(&mut self, job: LogJob) -> bool;

    /// Does what was handed over, unless another thread does.
    fn work(&mut self);

    /// Looks whether a full disk has room again, and does what waits for it, unless another thread does.
    fn try_again(&mut self);
}

/// The log has a thread of its own.
impl Lane for Sender<LogJob> {
    fn ask(&mut self, job: LogJob) -> bool {
        self.send(job).is_ok()
    }

    fn work(&mut self) {}

    fn try_again(&mut self) {}
}

/// The log is written by whoever asks: a disk that nobody waits for is not worth a thread.
///
/// Nothing is written about a log at rest while it is in use, because that tells damage to its last record only,
/// and would cost as much as the record.
pub(crate) struct AtOnce<D: Disk> {
    /// Nothing once it failed or was closed.
    log: Option<LogWork<D>>,
}

impl<D: Disk> AtOnce<D> {
    /// Takes over a log; `events` must have room for what one round of jobs answers.
    pub(crate) fn new(
        wal: Wal<D>,
        events: Outlet<LogEvent>,
        snapshots: Receiver<Infallible>,
    ) -> Self {
        Self {
            log: Some(LogWork::new(wal, events, snapshots)),
        }
    }
}

impl<D: Disk + Send> Lane for AtOnce<D>
where
    D::File: Send,
{
    fn ask(&mut self, job: LogJob) -> bool {
        let Some(log) = &mut self.log else {
            return false;
        };
        if log.take(job) {
            self.work();
            if let Some(log) = self.log.take() {
                log.close();
            }
        }
        true
    }

    fn work(&mut self) {
        if self.log.as_ref().is_some_and(LogWork::is_asked) {
            self.try_again();
        }
    }

    fn try_again(&mut self) {
        if let Some(log) = &mut self.log
            && !log.work()
        {
            self.log = None;
        }
    }
}
