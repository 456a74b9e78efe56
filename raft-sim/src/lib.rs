//! A cluster's worst year in a minute: deterministic worlds around `raft-core`.
//!
//! Real replicas over real logs, the code that production runs, on virtual time, networks, disks and clocks
//! that fail in every way we could think of; a judge that checks every rule of Raft after every event; and
//! what it takes to understand a failure once it is found. One seed decides everything, on every platform.
//!
//! # Your state machine
//!
//! [`Simulation`] runs any [`StateMachine`](raft_core::replica::StateMachine) under a [`Workload`]: what
//! clients ask, and what must hold. Every answer is compared with a model that never fails (unless you
//! bring a better one, the machine itself), reads must be linearizable, nothing may happen twice.
//!
//! ```
//! use raft_core::Span;
//! use raft_core::replica::{Applied, Serde, StateMachine};
//! use raft_sim::{Draw, Request, Simulation, Workload};
//!
//! /// Money in accounts: transfers never make or lose any.
//! #[derive(Default)]
//! struct Bank([u64; 4]);
//!
//! impl StateMachine for Bank {
//!     type Command = Serde<(u8, u8, u64)>;
//!     type Query = u8;
//!     type Reply = u64;
//!
//!     fn apply(&mut self, entry: Applied<Self::Command>) -> u64 {
//!         let Serde((from, to, amount)) = entry.command;
//!         let moved = amount.min(self.0[usize::from(from)]);
//!         self.0[usize::from(from)] -= moved;
//!         self.0[usize::from(to)] += moved;
//!         moved
//!     }
//!
//!     fn query(&self, account: &u8) -> u64 {
//!         self.0[usize::from(*account)]
//!     }
//!
//!     type Image = Serde<[u64; 4]>;
//!
//!     fn image(&self) -> Serde<[u64; 4]> {
//!         Serde(self.0)
//!     }
//!
//!     fn restore(&mut self, image: Serde<[u64; 4]>) {
//!         self.0 = image.0;
//!     }
//! }
//!
//! struct Transfers;
//!
//! impl Workload for Transfers {
//!     type Machine = Bank;
//!
//!     fn machine(&self) -> Bank {
//!         Bank([100; 4])
//!     }
//!
//!     fn request(&self, draw: &mut Draw) -> Request<Serde<(u8, u8, u64)>, u8> {
//!         let accounts = [0, 1, 2, 3];
//!         let (from, to) = (draw.pick(&accounts), draw.pick(&accounts));
//!         Request::Command(Serde((from, to, draw.below(50))))
//!     }
//!
//!     fn check(&self, bank: &Bank) -> Result<(), String> {
//!         let money: u64 = bank.0.iter().sum();
//!         if money == 400 { Ok(()) } else { Err(format!("{money} left of 400")) }
//!     }
//! }
//!
//! Simulation::new(Transfers).time(Span(5_000_000_000)).check(0..5);
//! ```
//!
//! A state machine that is not deterministic is caught, with the first index at which it diverges:
//!
//! ```
//! # use raft_core::replica::{Applied, Serde, StateMachine};
//! # use raft_sim::{Draw, Invariant, Profile, Request, Simulation, Workload};
//! # use std::sync::atomic::{AtomicU64, Ordering};
//! static LIVES: AtomicU64 = AtomicU64::new(0);
//!
//! /// Numbers what it is given, from a place that is not in the log.
//! struct Numbering(u64);
//!
//! impl StateMachine for Numbering {
//!     // …
//! #     type Command = Serde<()>;
//! #     type Query = ();
//! #     type Reply = u64;
//! #
//!     fn apply(&mut self, _: Applied<Serde<()>>) -> u64 {
//!         self.0 += 1;
//!         self.0
//!     }
//! #
//! #     fn query(&self, (): &()) -> u64 {
//! #         self.0
//! #     }
//!
//!     type Image = Serde<u64>;
//!
//!     fn image(&self) -> Serde<u64> {
//!         Serde(self.0)
//!     }
//!
//!     fn restore(&mut self, image: Serde<u64>) {
//!         self.0 = image.0;
//!     }
//! }
//! # struct Numbers;
//! # impl Workload for Numbers {
//! #     type Machine = Numbering;
//! #     fn machine(&self) -> Numbering {
//! #         Numbering(LIVES.fetch_add(1, Ordering::Relaxed))
//! #     }
//! #     fn request(&self, _: &mut Draw) -> Request<Serde<()>, ()> {
//! #         Request::Command(Serde(()))
//! #     }
//! # }
//!
//! let report = Simulation::new(Numbers).profile(Profile::Quiet).nodes(3).run(0);
//! let violation = report.violation.expect("three machines count from different numbers");
//! assert_eq!(violation.invariant, Invariant::I19);
//! assert!(violation.text.contains("diverge at entry 2"));
//! ```
//!
//! # By hand
//!
//! [`Cluster`] is the same world without the dice: kill, cut and propose where a test wants to. The judge
//! looks on.
//!
//! ```
//! use raft_core::replica::Serde;
//! # use raft_core::replica::{Applied, StateMachine};
//! use raft_sim::{Cluster, Network};
//! # #[derive(Default)]
//! # struct Sum(u64);
//! # impl StateMachine for Sum {
//! #     type Command = Serde<u64>;
//! #     type Query = ();
//! #     type Reply = u64;
//! #     fn apply(&mut self, entry: Applied<Serde<u64>>) -> u64 {
//! #         self.0 += entry.command.0;
//! #         self.0
//! #     }
//! #     fn query(&self, (): &()) -> u64 {
//! #         self.0
//! #     }
//! #
//! #     type Image = Serde<u64>;
//! #
//! #     fn image(&self) -> Serde<u64> {
//! #         Serde(self.0)
//! #     }
//! #
//! #     fn restore(&mut self, image: Serde<u64>) {
//! #         self.0 = image.0;
//! #     }
//! # }
//!
//! let mut cluster = Cluster::<Sum>::new(3, 42, Network::bad());
//! let leader = cluster.elect();
//! let request = cluster.propose(leader, Serde(7));
//! cluster.lose_power(leader);
//! cluster.start(leader).expect("the log is whole");
//! let leader = cluster.elect();
//! let request = cluster.propose(leader, Serde(1));
//! cluster.run_until(|cluster| cluster.reply(request).is_some());
//! ```
//!
//! # When a rule is broken
//!
//! The report names the rule ([`Invariant`]), the node and the seed. [`Simulation::shrink`] makes the run
//! small, [`Simulation::trace`] tells it as a story, [`Timeline`] draws it, and the command `raft-sim` does
//! all of this for the simulator's own workload: `run`, `merge`, `replay`, `view`, `shrink`, `check`,
//! `scenario`; `graphs` is about links that stay cut. How strong the rules are is shown by planted bugs:
//! `docs/planted-bugs.md`.
//!
//! # Code map
//!
//! | module | holds |
//! | --- | --- |
//! | `world/` | the servers, their disks, links and clocks; [`Cluster`] puts them on virtual time |
//! | `judge/` | every rule, checked after every event against a memory that no crash touches |
//! | `simulation/` | what a seed stands for, the run of it, and what must happen once it heals |
//! | `workload` `machine` `registers` | what clients do, to whose state machine |
//! | `schedule` `schedule_line` `schedule_file` `shrink` | a run as a list of what happens, played, kept and made small |
//! | `trace` `timeline/` | a run as a story, and as a page |
//! | [`history`] | was what clients saw linearizable, for histories from anywhere |
//! | [`scenario`] | stories as text, with what must be true afterwards |
//! | [`sweep`] | many runs: records, shards, the table |
//! | [`graphs`] | which links may be missing for good, and who can still commit |
//!
//! # Deliberately absent
//!
//! Threads and sockets: those are tested on the real ones, in `raft-threaded`.

#![forbid(unsafe_code)]

pub mod graphs;
pub mod history;
mod judge;
mod machine;
mod order;
mod panics;
mod registers;
pub mod scenario;
mod schedule;
mod schedule_file;
mod schedule_line;
mod shrink;
mod simulation;
pub mod sweep;
mod timeline;
mod trace;
mod workload;
mod world;

pub use self::judge::{Invariant, Violation};
pub use self::machine::Machine;
pub use self::order::{Order, OrderError};
pub use self::registers::{
    RegisterCommand, RegisterQuery, RegisterReply, RegisterWorkload, Registers,
};
pub use self::schedule::Play;
pub use self::schedule_file::{Schedule, ScheduleError};
pub use self::schedule_line::{Line, LineError, Sent, Step};
pub use self::shrink::Shrunk;
pub use self::simulation::{
    Asked, Fault, FaultKind, Plan, Profile, Report, Scope, Simulation, Target, Verdict,
};
pub use self::timeline::Timeline;
pub use self::trace::{Clock, Fate, Happening, Trace, TraceEvent};
pub use self::workload::{Draw, Request, Workload};
pub use self::world::{Cluster, Death, MemoryDisk, MemoryFile, Network, Repeat};
