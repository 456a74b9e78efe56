//! Deterministic worlds around `raft-core`: real replicas and real logs, on virtual time, a virtual
//! network and virtual disks.

#![forbid(unsafe_code)]

pub mod history;
mod judge;
mod machine;
mod panics;
mod registers;
pub mod scenario;
mod schedule;
mod schedule_file;
mod shrink;
mod simulation;
pub mod sweep;
mod timeline;
mod trace;
mod workload;
mod world;

pub use self::judge::{Invariant, Violation};
pub use self::machine::Machine;
pub use self::registers::{
    RegisterCommand, RegisterQuery, RegisterReply, RegisterWorkload, Registers,
};
pub use self::schedule::{Line, LineError, Play, Sent, Step};
pub use self::schedule_file::{Schedule, ScheduleError};
pub use self::shrink::Shrunk;
pub use self::simulation::{
    Asked, Fault, FaultKind, Plan, Profile, Report, Scope, Simulation, Target, Verdict,
};
pub use self::timeline::Timeline;
pub use self::trace::{Clock, Fate, Happening, Trace, TraceEvent};
pub use self::workload::{Draw, Request, Workload};
pub use self::world::{Cluster, Death, MemoryDisk, MemoryFile, Network};
