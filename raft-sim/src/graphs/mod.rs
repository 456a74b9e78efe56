//! Liveness on every static graph of links (V5): links are cut one by one and one way, for good, and wherever
//! a majority is left that is linked each to each, it must go on.
//!
//! ```
//! use raft_core::NodeId;
//! use raft_sim::graphs::{Course, Digraph};
//!
//! // Node 2 is heard by both others, and hears neither: it has to make way.
//! let graph = Digraph::parse(3, "1-3 2>1 2>3")?;
//! let course = Course { graph, leader: NodeId(2), round: 0 };
//! let outcome = course.run();
//! assert_eq!((outcome.violation, outcome.elections), (None, 1));
//! # Ok::<(), raft_sim::graphs::LinksError>(())
//! ```
//!
//! What all of them did is told in `docs/link-graphs.md`, which `raft-sim graphs` writes the tables of.
//!
//! Always holds: a graph, a leader and a round stand for one course, event by event.

mod course;
mod digraph;
mod record;
mod survey;
mod table;

pub use self::course::{BOUND, Course, Outcome, election_timeout, timeouts};
pub use self::digraph::{Digraph, LinksError, NODES_MAX};
pub use self::record::{CourseRecord, GraphRecord};
pub use self::survey::{GraphReport, Survey};
