//! Requests to the leader itself: changes of membership, transfers, stepping down.

use crate::action::Outcome;
use crate::message::Control;
use crate::types::{Boot, RequestId};

use super::Node;

/// Control requests of this node on their way through a leader.
#[derive(Clone, Debug)]
pub(super) struct Controls {}

impl Controls {
    pub(super) const fn new(_boot: Boot) -> Self {
        Self {}
    }
}

impl Node {
    pub(super) fn on_control(&mut self, request: RequestId, _control: Control) {
        if self.admit(request) {
            let outcome: Outcome = self.not_leader();
            self.resolve(request, outcome);
        }
    }
}
