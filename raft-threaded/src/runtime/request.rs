//! Requests of clients, whoever brought them.

use crate::runtime::front::{Front, Request};
use crate::runtime::replica_thread::{Hosted, ReplicaThread};

impl<S: Hosted, F: Front<S>> ReplicaThread<S, F> {
    pub(super) fn on_request(&mut self, request: Request<S>) {
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
}
