//! What hardly any node ever has to know, kept apart from what all do.

use crate::action::HaltReason;
use crate::rare::Seldom;
use crate::types::EntryId;

use super::joining::Joining;
use super::solo::{Emptying, Solo};
use super::status::Refused;

/// The beginning and the end of a node, and what it does not believe.
#[derive(Clone, Debug, Default)]
pub(super) struct Apart {
    /// Whom a store without a cluster heard first.
    pub(super) joining: Option<Joining>,
    /// It leaves its cluster, and keeps what it has.
    pub(super) solo: Option<Solo>,
    /// It forgets everything.
    pub(super) emptying: Option<Emptying>,
    /// The configuration without this node that it was told of last.
    pub(super) told_outside: Option<EntryId>,
    pub(super) refused: Refused,
    pub(super) halted: Option<HaltReason>,
}

impl Seldom for Apart {
    const NOTHING: &'static Self = &Self {
        joining: None,
        solo: None,
        emptying: None,
        told_outside: None,
        refused: Refused::none(),
        halted: None,
    };

    fn is_nothing(&self) -> bool {
        self.joining.is_none()
            && self.solo.is_none()
            && self.emptying.is_none()
            && self.told_outside.is_none()
            && self.refused == Refused::none()
            && self.halted.is_none()
    }
}
