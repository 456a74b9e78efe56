//! What other threads ask of the replica thread, and the threads that look up names for it.

use std::net::ToSocketAddrs;
use std::thread;

use crossbeam_channel::Sender;
use raft_core::replica::{Serial, SessionId, Stale, StateMachine};
use raft_core::{Consistency, EntryId, Member, RequestId};

use crate::runtime::front::{Front, Request};
use crate::runtime::order::{Asked, Carried, Order};
use crate::runtime::replica_thread::{Hosted, ReplicaThread};
use crate::runtime::waiter::{Answer, Completion, Waiter};
use crate::status::ServerStatus;

/// What other threads ask of the replica thread.
pub(crate) enum Call<S: StateMachine> {
    /// Replicate a command.
    Propose(S::Command, Answer<S::Reply>),
    /// The same for a client that does not wait.
    Submit(S::Command, Completion<S::Reply>),
    /// Begin a session.
    Register(Answer<SessionId>),
    /// Replicate a command of a session.
    ProposeIn(Serial, S::Command, Answer<S::Reply>),
    /// Answer a query with this consistency.
    Query(Consistency, S::Query, Answer<S::Reply>),
    /// Answer a query at once from the state of this node.
    QueryStale(S::Query, Answer<Stale<S::Reply>>),
    /// Carry out an order.
    Order(Order, Answer<Carried>),
    /// Other nodes were asked who they are, for this order.
    Asked(RequestId, Asked, Option<EntryId>),
    /// Tell how things are.
    Status(Sender<ServerStatus>),
    /// A name was looked up.
    Resolved(Member, String, Result<Vec<std::net::SocketAddr>, String>),
    /// End in order.
    Shutdown,
}

impl<S: Hosted, F: Front<S>> ReplicaThread<S, F> {
    pub(super) fn on_call(&mut self, call: Call<S>) {
        match call {
            Call::Propose(command, answer) => {
                let id = self.wait_for(Waiter::Reply(answer));
                self.on_request(Request::Propose(id, command));
            }
            Call::Submit(command, completion) => {
                let id = self.wait_for(Waiter::Completion(completion));
                self.on_request(Request::Propose(id, command));
            }
            Call::Register(answer) => {
                let id = self.wait_for(Waiter::Session(answer));
                self.on_request(Request::Register(id));
            }
            Call::ProposeIn(serial, command, answer) => {
                let id = self.wait_for(Waiter::Reply(answer));
                self.on_request(Request::ProposeIn(id, serial, command));
            }
            Call::Query(consistency, query, answer) => {
                let id = self.wait_for(Waiter::Reply(answer));
                self.on_request(Request::Query(id, consistency, query));
            }
            Call::QueryStale(query, answer) => {
                let id = self.wait_for(Waiter::Stale(answer));
                self.on_request(Request::QueryStale(id, query));
            }
            Call::Order(order, answer) => {
                let id = self.wait_for(Waiter::Order(answer));
                self.on_request(Request::Order(id, order));
            }
            Call::Asked(id, asked, expect) => self.on_asked(id, asked, expect),
            Call::Status(answer) => {
                let status = ServerStatus::new(&self.replica.status(), self.state.log_stats);
                let _ = answer.try_send(status);
            }
            Call::Resolved(member, name, addresses) => {
                let (now, registry) = (self.state.now, &self.registry);
                self.transport
                    .resolved((member, &name), &addresses, now, registry);
            }
            Call::Shutdown => self.state.stopping = Some(Ok(())),
        }
    }

    fn wait_for(&mut self, waiter: Waiter<S::Reply>) -> RequestId {
        let id = self.state.ids.next();
        self.state.answers.insert(id, waiter);
        id
    }

    pub(super) fn look_up(&mut self, member: Member, name: String) {
        let outlet = self.outlet.clone();
        let looking = thread::Builder::new().name("raft-resolver".to_string());
        let wanted = name.clone();
        let spawned = looking.spawn(move || {
            let addresses = name.to_socket_addrs().map(Iterator::collect);
            let addresses = addresses.map_err(|error| format!("looking up {name}: {error}"));
            outlet.send(Call::Resolved(member, name, addresses));
        });
        if let Err(error) = spawned {
            let (now, registry) = (self.state.now, &self.registry);
            let failed = Err(format!("looking up a name: {error}"));
            self.transport
                .resolved((member, &wanted), &failed, now, registry);
        }
    }
}
