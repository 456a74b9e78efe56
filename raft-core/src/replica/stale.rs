//! Reads from the state of one node, however old.

use crate::types::{Span, Time};

use super::{Replica, StateMachine};

/// A reply from the state of one node, which others may have left behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stale<R> {
    /// The state machine's reply.
    pub reply: R,
    /// How long ago the leader was heard to be no further, in the driver's unit, as
    /// [`Node::staleness`](crate::Node::staleness) defines it; `None` as long as that is not known.
    pub age: Option<Span>,
}

impl<S: StateMachine> Replica<S> {
    /// Answers a query at once from whatever this node has applied, and says how long ago the leader was heard to be
    /// no further.
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

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::super::{Applied, Output, Replica, Serde, StateMachine};
    use super::Stale;
    use crate::action::Action;
    use crate::configuration::Configuration;
    use crate::event::{Consistency, Event, Input};
    use crate::node::Restored;
    use crate::options::Options;
    use crate::types::{
        ClusterId, GroupId, Identity, Member, NodeId, RequestId, Span, StorageId, Time,
    };

    struct Counter(u64);

    impl StateMachine for Counter {
        type Command = Serde<u64>;
        type Query = ();
        type Reply = u64;
        type Image = Serde<u64>;

        fn apply(&mut self, entry: Applied<Serde<u64>>) -> u64 {
            self.0 += entry.command.0;
            self.0
        }

        fn query(&self, (): &()) -> u64 {
            self.0
        }

        fn image(&self) -> Serde<u64> {
            Serde(self.0)
        }

        fn restore(&mut self, image: Serde<u64>) {
            self.0 = image.0;
        }
    }

    /// A cluster of one, with a disk that takes no time; the replies.
    fn drain(replica: &mut Replica<Counter>, at: Time) -> Vec<(RequestId, u64)> {
        let (mut replies, mut outputs) = (Vec::new(), Vec::new());
        loop {
            replica.drain(&mut outputs);
            if outputs.is_empty() {
                return replies;
            }
            for output in outputs.drain(..) {
                match output {
                    Output::Reply { request, result } => {
                        replies.push((request, result.expect("nothing is refused")));
                    }
                    Output::Action(Action::Persist(persist)) => {
                        let (store, boot, id) = (persist.store, persist.boot, persist.id);
                        let input = Input::Persisted { store, boot, id };
                        replica.handle(Event { at, input });
                    }
                    Output::Action(_)
                    | Output::Done { .. }
                    | Output::Registered { .. }
                    | Output::TakeSnapshot { .. }
                    | Output::RestoreSnapshot { .. }
                    | Output::Snapshot { .. }
                    | Output::ReadChunk(_)
                    | Output::BeginReceive { .. }
                    | Output::WriteChunk { .. }
                    | Output::FinishReceive { .. }
                    | Output::RetainSnapshots { .. } => {}
                }
            }
        }
    }

    #[test]
    fn a_stale_query_is_answered_at_once_and_says_how_old_the_answer_is() {
        let member = Member {
            node: NodeId(1),
            store: StorageId(1),
        };
        let identity = Identity {
            group: GroupId(0),
            cluster: ClusterId(1),
            member,
        };
        let options = Options {
            lease_promise: Span::from_millis(100),
            ..Options::default()
        };
        let restored = Restored::new(identity, Configuration::of_voters([member]));
        let mut now = Time(1);
        let replica = Replica::new(now, options, restored, Counter(0));
        let mut replica = replica.expect("the options are legal");
        let unknown = Stale {
            reply: 0,
            age: None,
        };
        assert_eq!(replica.query_stale(now, &()), unknown);

        let input = Input::Campaign;
        replica.handle(Event { at: now, input });
        drain(&mut replica, now);
        replica.propose(now, RequestId(1), &Serde(5));
        assert_eq!(drain(&mut replica, now), [(RequestId(1), 5)]);
        replica.query_with(now, RequestId(2), Consistency::Lease, ());
        assert_eq!(drain(&mut replica, now), [(RequestId(2), 5)]);

        // A leader knows itself up to date from one heartbeat to the next.
        now = replica.next_deadline().expect("it runs");
        let input = Input::Tick;
        replica.handle(Event { at: now, input });
        drain(&mut replica, now);
        let age = replica.query_stale(now + Span(7), &()).age;
        assert_eq!(age, Some(Span(7)));
    }
}
