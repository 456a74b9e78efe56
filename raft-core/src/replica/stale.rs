//! Reads from the state of one node, however old.

use crate::types::{Span, Time};

use super::{Replica, StateMachine};

/// A reply from the state of one node, which others may have left behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stale<R> {
    /// The state machine's reply.
    pub reply: R,
    /// How old its state is, as [`Node::staleness`](crate::Node::staleness) defines it.
    pub age: Option<Span>,
}

impl<S: StateMachine> Replica<S> {
    /// Answers a query at once from whatever this node has applied, and says how old that is at most.
    ///
    /// ```
    /// # use raft_core::replica::{Replica, Serde, StateMachine};
    /// # use raft_core::Time;
    /// # fn ask<S: StateMachine<Query = ()>>(replica: &Replica<S>, now: Time) {
    /// let stale = replica.query_stale(now, &());
    /// match stale.age {
    ///     Some(age) => { /* as of `age` ago, as far as this node's leader knew */ }
    ///     None => { /* nobody can tell */ }
    /// }
    /// # }
    /// ```
    #[must_use]
    pub fn query_stale(&self, at: Time, query: &S::Query) -> Stale<S::Reply> {
        Stale {
            reply: self.machine.query(query),
            age: self.node.staleness(at),
        }
    }
}
