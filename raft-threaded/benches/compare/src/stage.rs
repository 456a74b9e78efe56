//! Everything that is started, so that nothing is left of it: not after an error, not after Ctrl-C.
//!
//! Always holds: a process is in `running` from its start until it was waited for, so that whoever interrupts ends
//! it, and the thread that waits for it goes on with an error that takes down the rest.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::Failure;

/// How much of a log is told when its process does not do what it should.
const TAIL_BYTES: usize = 2_000;

/// Keeps account of the processes that run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stage {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    interrupted: Condvar,
}

#[derive(Debug, Default)]
struct State {
    interrupted: bool,
    running: BTreeMap<u32, Arc<OwnedFd>>,
}

impl Stage {
    /// From here on Ctrl-C ends what was started, and then this program in order; a second one ends it at once.
    ///
    /// # Errors
    ///
    /// Signals cannot be listened for.
    pub(crate) fn watched() -> Result<Self, Failure> {
        let stage = Self::default();
        let mut signals = Signals::new([SIGINT, SIGTERM])?;
        let watched = stage.clone();
        std::thread::Builder::new()
            .name("signals".to_string())
            .spawn(move || {
                for _ in signals.forever() {
                    if watched.interrupt() {
                        std::process::exit(130);
                    }
                }
            })?;
        Ok(stage)
    }

    /// Ends everything; whether that was asked for before.
    fn interrupt(&self) -> bool {
        let mut state = self.lock();
        for process in state.running.values() {
            // It may have ended by itself.
            let _ = pidfd_send_signal(&**process, Signal::KILL);
        }
        self.shared.interrupted.notify_all();
        std::mem::replace(&mut state.interrupted, true)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        let state = self.shared.state.lock();
        state.unwrap_or_else(PoisonError::into_inner)
    }

    /// # Errors
    ///
    /// Somebody interrupted.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        if self.lock().interrupted {
            return Err("interrupted".into());
        }
        Ok(())
    }

    /// Lets so much time pass.
    ///
    /// # Errors
    ///
    /// Somebody interrupted meanwhile.
    pub(crate) fn pause(&self, time: Duration) -> Result<(), Failure> {
        let waiting = |state: &mut State| !state.interrupted;
        let waited = self
            .shared
            .interrupted
            .wait_timeout_while(self.lock(), time, waiting);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
        self.check()
    }

    /// Starts a process whose standard input stays open as long as it may live, and whose outputs go to a file.
    ///
    /// # Errors
    ///
    /// It cannot be started, or somebody interrupted.
    pub(crate) fn start(&self, command: &mut Command, log: PathBuf) -> Result<Process, Failure> {
        let file = File::options().create(true).append(true).open(&log)?;
        command.stdout(file.try_clone()?).stderr(file);
        self.spawn(command, log)
    }

    /// Runs a program to its end; returns what it printed.
    ///
    /// # Errors
    ///
    /// It cannot be started, it takes too long, or it says that it failed.
    pub(crate) fn output(
        &self,
        command: &mut Command,
        log: PathBuf,
        patience: Duration,
    ) -> Result<String, Failure> {
        // Not a pipe: it could be full before anybody reads it.
        let printed = log.with_extension("out");
        command
            .stdout(File::create(&printed)?)
            .stderr(File::create(&log)?);
        let mut process = self.spawn(command, log)?;
        let ended = process.ended_within(patience)?;
        let name = command.get_program().display();
        let Some(status) = ended else {
            return Err(process.failed(&format!("{name} does not come to an end")));
        };
        self.check()?;
        let printed = std::fs::read_to_string(printed)?;
        if !status.success() {
            return Err(process.failed(&format!("{name}: {status}; it printed {printed:?}")));
        }
        Ok(printed)
    }

    fn spawn(&self, command: &mut Command, log: PathBuf) -> Result<Process, Failure> {
        // Ctrl-C is for this process, which then ends the others.
        command.stdin(Stdio::piped()).process_group(0);
        let mut state = self.lock();
        if state.interrupted {
            return Err("interrupted".into());
        }
        let mut child = command
            .spawn()
            .map_err(|error| format!("{}: {error}", command.get_program().display()))?;
        let id = child.id();
        let pid = i32::try_from(id).ok().and_then(Pid::from_raw);
        let pid = pid.ok_or("a process without an id")?;
        let handle = match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(handle) => Arc::new(handle),
            Err(error) => {
                child.kill()?;
                child.wait()?;
                return Err(error.into());
            }
        };
        state.running.insert(id, Arc::clone(&handle));
        let stdin = child.stdin.take();
        Ok(Process {
            stage: self.clone(),
            child,
            handle,
            _stdin: stdin,
            log,
        })
    }
}

/// A process; killed when it is dropped.
#[derive(Debug)]
pub(crate) struct Process {
    stage: Stage,
    child: Child,
    handle: Arc<OwnedFd>,
    /// raft-kv ends with it.
    _stdin: Option<ChildStdin>,
    log: PathBuf,
}

impl Process {
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// # Errors
    ///
    /// It has ended.
    pub(crate) fn signal(&self, signal: Signal) -> Result<(), Failure> {
        pidfd_send_signal(&*self.handle, signal)?;
        Ok(())
    }

    /// # Errors
    ///
    /// It has ended, and its log says why.
    pub(crate) fn check(&mut self) -> Result<(), Failure> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => Err(self.failed(&format!("a process ended: {status}"))),
        }
    }

    /// What it printed so far, if it was started with a log.
    ///
    /// # Errors
    ///
    /// The log cannot be read.
    pub(crate) fn said(&self) -> Result<String, Failure> {
        Ok(std::fs::read_to_string(&self.log)?)
    }

    /// How it ended, if it does so in time.
    ///
    /// # Errors
    ///
    /// The system does not say so.
    pub(crate) fn ended_within(
        &mut self,
        patience: Duration,
    ) -> Result<Option<ExitStatus>, Failure> {
        let timeout = Timespec::try_from(patience)?;
        let mut ends = [PollFd::new(&*self.handle, PollFlags::IN)];
        while let Err(error) = poll(&mut ends, Some(&timeout)) {
            if error != rustix::io::Errno::INTR {
                return Err(error.into());
            }
        }
        Ok(self.child.try_wait()?)
    }

    /// What went wrong, with the end of its log.
    pub(crate) fn failed(&self, what: &str) -> Failure {
        let said = tail(&self.log);
        let said = if said.is_empty() { "nothing" } else { &said };
        format!("{what}; at the end it said:\n{said}").into()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = pidfd_send_signal(&*self.handle, Signal::KILL);
        let _ = self.child.wait();
        self.stage.lock().running.remove(&self.child.id());
    }
}

fn tail(log: &Path) -> String {
    let said = std::fs::read(log).unwrap_or_default();
    let from = said.len().saturating_sub(TAIL_BYTES);
    String::from_utf8_lossy(&said[from..]).trim().to_string()
}
