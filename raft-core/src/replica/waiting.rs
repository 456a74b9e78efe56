//! Requests that wait for the state machine to get where their answer is.
//!
//! Always holds: nobody waits longer than the request timeout.

use alloc::vec::Vec;

use super::{Output, Replica, RequestError, StateMachine};
use crate::action::Rejection;
use crate::message::DiskHealth;
use crate::planted::{Bug, planted};
use crate::types::{Index, Time};

impl<S: StateMachine> Replica<S> {
    /// When whoever waits for the state machine to get there gives up.
    pub(super) fn wait_for(&mut self, index: Index) -> Time {
        let deadline = self.now + self.options.request_timeout;
        if index > self.applied {
            self.deadlines.push_back((deadline, index));
        }
        deadline
    }

    /// Answers the queries that waited for the state machine to get where it is.
    pub(super) fn answer_ready(&mut self, outputs: &mut Vec<Output<S>>) {
        while let Some(entry) = self.ready.first_entry()
            && (*entry.key() <= self.applied || planted(Bug::ReadInRecovery))
        {
            for (request, query, _) in entry.remove() {
                let result = Ok(self.machine.query(&query));
                self.queries -= 1;
                outputs.push(Output::Reply { request, result });
            }
        }
        while let Some((_, index)) = self.deadlines.front()
            && *index <= self.applied
        {
            self.deadlines.pop_front();
        }
    }

    /// Whether the state machine cannot get there, for want of room in the log.
    pub(super) fn has_no_room_for(&self, index: Index) -> bool {
        if index <= self.applied {
            return false;
        }
        let status = self.node.status();
        index > status.last.index && status.disk == DiskHealth::Full
    }

    /// The state machine does not get there in time: its node's disk is full, it is slow, or nothing is heard.
    pub(super) fn expire_waiting(&mut self, outputs: &mut Vec<Output<S>>) {
        while let Some((deadline, index)) = self.deadlines.front().copied()
            && deadline <= self.now
        {
            self.deadlines.pop_front();
            self.expire_queries(index, outputs);
            self.expire_commands(index, outputs);
        }
    }

    fn expire_queries(&mut self, index: Index, outputs: &mut Vec<Output<S>>) {
        let rejection = if self.has_no_room_for(index) {
            Rejection::OwnStorageFull
        } else {
            Rejection::NoQuorum
        };
        let now = self.now;
        let Some(ready) = self.ready.get_mut(&index) else {
            return;
        };
        let expired = ready.extract_if(.., |(_, _, deadline)| *deadline <= now);
        let before = outputs.len();
        outputs.extend(expired.map(|(request, ..)| Output::Reply {
            request,
            result: Err(RequestError::Rejected(rejection)),
        }));
        self.queries -= outputs.len() - before;
        if ready.is_empty() {
            self.ready.remove(&index);
        }
    }

    fn expire_commands(&mut self, index: Index, outputs: &mut Vec<Output<S>>) {
        let mut place = self.committed.partition_point(|(id, ..)| id.index < index);
        while let Some((id, request, deadline)) = self.committed.get(place).copied()
            && id.index == index
        {
            if deadline > self.now {
                place += 1;
                continue;
            }
            self.committed.remove(place);
            // In a session, an entry that is committed may be one of several, or one that comes too late.
            let result = match self.session_requests.remove(&request) {
                Some(_) => Err(RequestError::Unknown),
                None => Err(RequestError::ReplyLost(id)),
            };
            outputs.push(Output::of(request, result));
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::boxed::Box;
    use alloc::vec;
    use alloc::vec::Vec;

    use super::super::{Applied, Output, Replica, RequestError, Serde, StateMachine};
    use crate::action::{Action, Rejection};
    use crate::configuration::Configuration;
    use crate::entry::{Entry, Payload};
    use crate::event::{Event, Input};
    use crate::message::{Body, Envelope, ForwardOutcome, Session};
    use crate::node::Restored;
    use crate::options::Options;
    use crate::types::{
        Boot, ClusterId, EntryId, GroupId, Identity, Index, Member, NodeId, RequestId, Span,
        StorageId, Term, Time,
    };

    struct Nothing;

    impl StateMachine for Nothing {
        type Command = Serde<u64>;
        type Query = ();
        type Reply = ();
        type Image = Serde<()>;

        fn apply(&mut self, _entry: Applied<Serde<u64>>) {}

        fn query(&self, (): &()) {}

        fn image(&self) -> Serde<()> {
            Serde(())
        }

        fn restore(&mut self, _image: Serde<()>) {}
    }

    fn identity(node: u64) -> Identity {
        Identity {
            group: GroupId(0),
            cluster: ClusterId(1),
            member: Member {
                node: NodeId(node),
                store: StorageId(node.into()),
            },
        }
    }

    /// A follower of node 2, whose disk takes what it is given and does not get to the end of it.
    struct Waiter {
        replica: Replica<Nothing>,
        now: Time,
        sent: Vec<(Session, Body)>,
        replies: Vec<(RequestId, Result<(), RequestError>)>,
    }

    impl Waiter {
        fn new() -> Self {
            let voters = [1, 2, 3].map(|node| identity(node).member);
            let restored = Restored::new(identity(1), Configuration::of_voters(voters));
            let now = Time(1);
            let replica = Replica::new(now, Options::default(), restored, Nothing);
            Self {
                replica: replica.expect("the options are legal"),
                now,
                sent: Vec::new(),
                replies: Vec::new(),
            }
        }

        fn receive(&mut self, session: Session, body: Body) {
            let envelope = Envelope {
                from: identity(2),
                boot: Boot(1),
                to: identity(1).member,
                term: Term(1),
                session,
                body,
            };
            self.handle(Input::Receive(Box::new(envelope)));
        }

        fn handle(&mut self, input: Input) {
            let at = self.now;
            self.replica.handle(Event { at, input });
            self.drain();
        }

        fn drain(&mut self) {
            let mut outputs = Vec::new();
            self.replica.drain(&mut outputs);
            for output in outputs {
                if let Output::Action(Action::Send(envelope)) = output {
                    self.sent.push((envelope.session, envelope.body));
                } else if let Output::Reply { request, result } = output {
                    self.replies.push((request, result));
                }
            }
        }

        /// The session of the last message of this kind.
        fn asked(&self, is: impl Fn(&Body) -> bool) -> Session {
            let mut asked = self.sent.iter().rev();
            asked.find(|(_, body)| is(body)).expect("it was sent").0
        }
    }

    fn id(index: u64) -> EntryId {
        EntryId {
            term: Term(1),
            index: Index(index),
        }
    }

    #[test]
    fn each_of_those_who_wait_for_the_same_entry_waits_its_own_time() {
        let mut waiter = Waiter::new();
        let leads = Session {
            term: Term(1),
            ..Session::default()
        };
        let entries = vec![Entry {
            id: id(1),
            payload: Payload::Noop,
        }];
        let append = Body::AppendEntries {
            previous: EntryId::default(),
            commit: Index(1),
            entries: entries.into(),
        };
        waiter.receive(leads, append);
        let timeout = Options::default().request_timeout;

        waiter.replica.query(waiter.now, RequestId(1), ());
        waiter.drain();
        let asked = waiter.asked(|body| matches!(body, Body::ForwardRead { .. }));
        let index = Some(Index(1));
        waiter.receive(asked, Body::ForwardReadReply { index });

        waiter.now = waiter.now + Span(timeout.0 - 1);
        waiter.replica.propose(waiter.now, RequestId(2), &Serde(7));
        waiter.drain();
        let asked = waiter.asked(|body| matches!(body, Body::ForwardProposals { .. }));
        let outcomes = vec![ForwardOutcome::Appended(Index(1))];
        waiter.receive(asked, Body::ForwardProposalsReply { outcomes });
        assert_eq!(waiter.replies, []);

        waiter.now = waiter.now + Span(1);
        waiter.handle(Input::Tick);
        let late = Err(RequestError::Rejected(Rejection::NoQuorum));
        assert_eq!(waiter.replies, [(RequestId(1), late)]);
        waiter.now = waiter.now + timeout;
        waiter.handle(Input::Tick);
        let lost = Err(RequestError::ReplyLost(id(1)));
        assert_eq!(waiter.replies[1..], [(RequestId(2), lost)]);
    }
}
