//! Black-box checking: was what clients saw linearizable?
//!
//! A history is a list of [`Operation`]s, recorded in code or read by [`parse`] from JSON lines
//! shaped like Jepsen's. [`check`] looks, for each key, for an order of its operations in which each
//! takes effect at one instant between invocation and return, and which explains every result. If
//! there is none, the [`Counterexample`] says why in words, and [`picture`] draws it.
//!
//! ```
//! use raft_sim::history::{ModelKind, Verdict, check, parse};
//!
//! let history = r#"
//!     {"time":1,"process":0,"type":"invoke","f":"write","key":"x","value":1}
//!     {"time":2,"process":0,"type":"ok","f":"write","key":"x"}
//!     {"time":3,"process":0,"type":"invoke","f":"write","key":"x","value":2}
//!     {"time":4,"process":0,"type":"ok","f":"write","key":"x"}
//!     {"time":5,"process":1,"type":"invoke","f":"read","key":"x"}
//!     {"time":6,"process":1,"type":"ok","f":"read","key":"x","value":1}
//! "#;
//! let operations = parse(history.as_bytes(), ModelKind::Register)?;
//! let Verdict::NotLinearizable(found) = check(&operations, ModelKind::Register, || false) else {
//!     panic!("a stale read is not linearizable");
//! };
//! assert_eq!(
//!     found.to_string().lines().next(),
//!     Some(
//!         "key \"x\" is not linearizable: after write 1 (process 0, lines 2..3) and write 2 \
//!          (process 0, lines 4..5) the value is 2; read by process 1 (lines 6..7) returned 1, \
//!          which was overwritten before it began by write 2 (process 0, lines 4..5)"
//!     )
//! );
//! # Ok::<(), raft_sim::history::HistoryError>(())
//! ```
//!
//! # The format
//!
//! One JSON object a line; blank lines and further fields are skipped.
//!
//! | Field | Value |
//! | --- | --- |
//! | `time` | a whole number, in any unit; lines may be in any order, and of those at equal times the upper comes first |
//! | `process` | a whole number: the client, which has one operation open at a time |
//! | `type` | `invoke`; then `ok`, `fail` (it had no effect), `info` (nobody knows), or nothing, which is `info` |
//! | `f` | `read`, `write`, `cas` (compare and set), and in the model `kv` also `append` |
//! | `key` | a scalar, or missing if there is but one |
//! | `value` | what `ok` read, or what was to be written, `[old, new]`, or the string to append |
//!
//! Values are scalars; a key that was never written holds `null`, to which one appends as to the empty
//! string. An append to a number or boolean cannot be `ok`. A `cas` that ended with `fail` found
//! something else than `old`, which is an observation; other operations that failed are as if never
//! sent. One that ended with `info` may take effect at any time after it was invoked, or never; its
//! process may go on.
//!
//! An operation precedes another if it returned at a smaller time than the other was invoked; at equal
//! times they are concurrent.
//!
//! # What is absent
//!
//! Transactions and operations on several keys: keys are judged one by one, which is exact only
//! without those (linearizability is local: Herlihy and Wing 1990, theorem 1).

mod budget;
mod check;
mod events;
mod explain;
mod format;
mod json;
mod local;
mod memory;
mod model;
#[cfg(test)]
mod naive;
mod operation;
mod picture;
mod search;
mod shrink;

pub use self::check::{Verdict, check};
pub use self::explain::{Counterexample, Impossible, Shown};
pub use self::format::{HistoryError, parse, to_json_lines};
pub use self::model::{ModelKind, UnknownModel};
pub use self::operation::{Call, Lines, Operation, Value};
pub use self::picture::picture;
