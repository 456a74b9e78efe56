//! A pure, synchronous Raft, without I/O: you bring the clock, the network and the disk.
//!
//! [`Node`] is consensus as a function: [`Node::step`] takes an [`Event`] (what happened, and when) and
//! returns [`Action`]s (what to do). [`replica::Replica`] hosts a state machine on top of it, and
//! [`wal::Wal`] is a log-file format over a small [`wal::Disk`] trait. Nothing here reads a clock, opens
//! a socket or a file, starts a thread, or needs `std`.
//!
//! # The driving loop
//!
//! A cluster of one, driven by hand. With more members the only difference is that `Action::Send` has
//! something to carry, and `Input::Receive` brings what others sent.
//!
//! ```
//! use raft_core::{
//!     Action, Bytes, ClusterId, Configuration, Event, GroupId, Identity, Input, Member, Node, NodeId,
//!     Options, Outcome, RequestId, Restored, StorageId, Time,
//! };
//!
//! let member = Member { node: NodeId(1), store: StorageId(0xa1) };
//! let identity = Identity { group: GroupId(0), cluster: ClusterId(0xc1), member };
//! let restored = Restored::new(identity, Configuration::of_voters([member]));
//! let mut node = Node::new(Time(0), Options::default(), restored)?;
//!
//! let mut inputs = std::collections::VecDeque::from([Input::Campaign]);
//! let mut proposed = false;
//! let mut committed = None;
//! while let Some(input) = inputs.pop_front() {
//!     for action in node.step(Event { at: Time(0), input }) {
//!         match action {
//!             // Write and sync here; only then say so.
//!             Action::Persist(persist) => inputs.push_back(Input::Persisted {
//!                 store: persist.store,
//!                 boot: persist.boot,
//!                 id: persist.id,
//!             }),
//!             // Hand the commands to the state machine here.
//!             Action::Apply { entries } => {
//!                 let index = entries.last().expect("an Apply is never empty").id.index;
//!                 inputs.push_back(Input::Applied { index });
//!             }
//!             Action::Resolve { outcome, .. } => committed = Some(outcome),
//!             _ => {}
//!         }
//!     }
//!     if !proposed && node.status().leader == Some(member) {
//!         proposed = true;
//!         let command = Bytes::from_static(b"x = 1");
//!         inputs.push_back(Input::Propose { request: RequestId(1), command });
//!     }
//! }
//! assert!(matches!(committed, Some(Outcome::Committed(_))));
//! # Ok::<(), raft_core::RestoreError>(())
//! ```
//!
//! `examples/custom_runtime.rs` drives three of them in one thread; `raft-threaded` is the adapter for
//! real machines.
//!
//! # The contract
//!
//! - **Two lanes are ordered.** The log lane is `Persist`, `CompactLog` and `Wipe`: carry them out in
//!   order, sync, then report `Persisted` with the last one's id; many may share one sync. The state lane
//!   is `Apply`, answered by `Applied`, `RestoreSnapshot`, answered by `SnapshotRestored`, and
//!   `TakeSnapshot`, answered by `SnapshotTaken`. Everything else may run at any time, late, twice over the
//!   network, or never.
//! - **Snapshots stay** until a newer one's mark is durable: `SnapshotTaken` and `SnapshotReceived` mean
//!   that the file is verified and synced, its directory too.
//! - **What you are handed is safe to do.** Votes, acknowledgements and commits that must wait for the
//!   disk are withheld by the node, so a driver cannot misorder durability.
//! - **Failure.** After a failed write or sync report `StorageFailed` and do nothing more in the log
//!   lane. A full disk is `StorageFull`, and `StorageAvailable` once there is room.
//! - **Time** is any monotonic clock in the unit of [`Options`]' timeouts, sampled after the input is in
//!   hand. Come back with `Tick` at [`Node::next_deadline`].
//! - **Batching** is yours to take: [`Node::handle`] everything that has arrived, then
//!   [`Node::drain`] once. Many proposals become one write and one append for each peer.
//! - **One outcome.** Every request ends in exactly one `Resolve`; "rejected" means it never takes
//!   effect, "unknown" means nobody can tell yet.
//!
//! # Glossary
//!
//! A *node* takes part in consensus; a *peer* is another node. A *replica* is node and state machine
//! (and beside them a log); a *server* is the process. A *member* is a node with the store that
//! remembers its promises. *Configuration* is who takes part; tunables are *options*.
//!
//! # Code map
//!
//! | module | holds |
//! | --- | --- |
//! | `types` `entry` `message` `snapshot` `change` | terms, indexes, identities; log entries; the RPCs and their envelope; what a snapshot is; changes of membership |
//! | `event` `action` `options` `error` | what goes in, what comes out, tunables, errors |
//! | `log` `run` `log_sizes` `term_runs` `persistence` `quorum` `configuration` `members` `by_member` `rare` `progress` `inflight` `lease` `freshness` `read_queue` `proposal_queue` `sent_requests` `forward_window` | machines that know nothing of `Node` |
//! | `node/` | consensus: one submodule for each section of the paper |
//! | `replica/` | hosting a `StateMachine` |
//! | `wal/` | the log file: records, segments, recovery; snapshot files beside it |
//! | `codec/` | bytes of messages and records |
//!
//! # Deliberately absent
//!
//! No storage trait inside consensus (entries that left memory are asked for with
//! [`Action::ReadLog`]), no generic command type below [`replica`], no logger, no
//! async. Commands are opaque [`Bytes`].

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(feature = "std")]
extern crate std;

mod action;
mod by_member;
mod change;
pub mod codec;
mod configuration;
mod entry;
mod error;
mod event;
mod forward_window;
mod freshness;
mod inflight;
mod lease;
mod log;
mod log_sizes;
mod members;
mod message;
mod node;
mod options;
mod persistence;
#[cfg(not(raft_planted))]
mod planted;
#[cfg(raft_planted)]
pub mod planted;
mod progress;
mod proposal_queue;
pub mod quorum;
mod rare;
mod read_queue;
pub mod replica;
mod run;
mod sent_requests;
mod snapshot;
mod term_runs;
mod types;
pub mod wal;

pub use bytes::Bytes;

pub use self::action::{
    Action, Alert, CompactLog, HaltReason, HandOverReason, IdentityRefusal, Observation, Outcome,
    Persist, Quota, ReadLog, Refusal, Rejection, RoleKind, TransferRefusal,
};
pub use self::change::{
    ADDRESS_BYTES_MAX, ChangeRefusal, ChangeWay, MEMBERS_MAX, MemberChange, MembershipChange,
};
pub use self::configuration::{Configuration, Configurations};
pub use self::entry::{Entry, Payload, RunError, check_run};
pub use self::error::{IdentityError, OptionsError, RestoreError};
pub use self::event::{Consistency, Event, Input, LogReadOutcome};
pub use self::inflight::Inflight;
pub use self::members::Members;
pub use self::message::{
    AppendOutcome, Body, Cause, Control, ControlOutcome, DiskHealth, Envelope, ForwardOutcome,
    LeaderRound, Session,
};
pub use self::node::{Node, Refused, Restored, Status};
pub use self::options::Options;
pub use self::progress::ProgressState;
pub use self::snapshot::{SnapshotMark, SnapshotMeta};
pub use self::term_runs::TermRuns;
pub use self::types::{
    Boot, ClusterId, EntryId, GroupId, HardState, Identity, Index, Member, NodeId, PersistId,
    ReadTicket, RequestId, Round, SnapshotTicket, Span, StorageId, Term, Time,
};
