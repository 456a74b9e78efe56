//! Requests of clients, whoever brought them, and when this node had better not take them.

use raft_core::RequestId;
use raft_core::replica::{RequestError, StateMachine};

use crate::error::ClientError;
use crate::runtime::front::{Front, Request};
use crate::runtime::replica_thread::{Hosted, ReplicaThread};
use crate::standing::Standing;

impl<S: Hosted, F: Front<S>> ReplicaThread<S, F> {
    pub(super) fn on_request(&mut self, request: Request<S>) {
        if let Some(error) = self.refusal(&request) {
            self.fail(request.id(), error);
            return;
        }
        let now = self.state.now;
        match request {
            Request::Propose(id, command) => self.replica.propose(now, id, &command),
            Request::Register(id) => self.replica.register(now, id),
            Request::ProposeIn(id, serial, command) => {
                self.replica.propose_in(now, id, serial, &command);
            }
            Request::Query(id, consistency, query) => {
                self.replica.query_with(now, id, consistency, query);
            }
            Request::QueryStale(id, query) => {
                let stale = self.replica.query_stale(now, &query);
                self.reply_stale(id, stale);
            }
            Request::Order(id, order) => self.on_order(id, order),
        }
    }

    /// Why a request is not worth taking: its client would wait in vain.
    fn refusal(&self, request: &Request<S>) -> Option<ClientError> {
        let status = self.replica.status();
        let outside = Standing::of(&status).refusal(&status);
        match request {
            // A write that is lost on its way is one of which nobody knows what became of it.
            Request::Propose(..) | Request::Register(_) | Request::ProposeIn(..) => {
                let lost = || self.out_of_reach().map(RequestError::Rejected);
                outside.or_else(|| lost().map(ClientError::from))
            }
            // What is lost of a query is asked again.
            Request::Query(..) | Request::QueryStale(..) => outside,
            Request::Order(_, order) => outside.filter(|_| !order.is_of_the_node_alone()),
        }
    }
}

impl<S: StateMachine> Request<S> {
    const fn id(&self) -> RequestId {
        match self {
            Self::Propose(id, _)
            | Self::Register(id)
            | Self::ProposeIn(id, ..)
            | Self::Query(id, ..)
            | Self::QueryStale(id, _)
            | Self::Order(id, _) => *id,
        }
    }
}
