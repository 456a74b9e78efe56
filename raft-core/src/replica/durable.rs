//! State machines that keep a durable store of their own.
//!
//! Such a machine survives a restart, so entries that are in its store must not be applied again. It says how
//! far it got, and what the replica had given it to keep beside its state.
//!
//! Read first: dissertation §5.2, "on-disk state machines".
//!
//! Always holds: what the store has is in the durable log, or in the snapshot before it (S12).

use alloc::vec::Vec;

use crate::error::RestoreError;
use crate::node::Restored;
use crate::types::{EntryId, Index};

use super::image::Image;
use super::sessions::Sessions;
use super::{Replica, StateMachine};

/// What a state machine's own store holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Durable {
    /// The last entry whose effect is in it; [`EntryId::ZERO`] in a new store.
    pub applied: EntryId,
    /// What the replica keeps about its clients: opaque to the machine, and of that very entry.
    pub sessions: Vec<u8>,
}

/// How the replica treats its machine's store.
#[derive(Clone, Copy, Debug)]
pub(super) enum Store {
    /// The machine is in memory only.
    None,
    /// When this life began it held everything up to here.
    Holds(Index),
}

impl Store {
    /// Entries up to here are not applied again.
    pub(super) const fn holds(self) -> Index {
        match self {
            Self::None => Index(0),
            Self::Holds(index) => index,
        }
    }
}

/// Whether a machine's store fits the log beside it, and what that means for the replica. What is in the
/// store is known to be committed.
pub(super) fn check(
    restored: &mut Restored,
    durable: Option<&Durable>,
) -> Result<Store, RestoreError> {
    let Some(durable) = durable else {
        return Ok(Store::None);
    };
    let found = durable.applied;
    let (base, last) = (restored.terms.base(), restored.terms.last());
    let snapshot = restored.snapshot.as_ref().map(|snapshot| snapshot.id.index);
    if found.index < snapshot.unwrap_or_default() {
        // It becomes the snapshot, whatever it was before.
        return Ok(Store::Holds(Index(0)));
    }
    if restored.terms.term(found.index) != Some(found.term) {
        return Err(RestoreError::StateMachine { found, base, last });
    }
    let commit = &mut restored.hard_state.commit;
    *commit = found.index.max(*commit);
    Ok(Store::Holds(found.index))
}

/// What a machine's own store kept of sessions.
pub(super) fn sessions(durable: Option<&Durable>) -> Result<Sessions, RestoreError> {
    let kept = durable.filter(|durable| !durable.sessions.is_empty());
    let Some(kept) = kept else {
        return Ok(Sessions::default());
    };
    let mut source = kept.sessions.as_slice();
    match Sessions::read(&mut source) {
        Ok(sessions) if source.is_empty() => Ok(sessions),
        Ok(_) | Err(_) => Err(RestoreError::Sessions {
            bytes: kept.sessions.len() as u64,
        }),
    }
}

impl<S: StateMachine> Replica<S> {
    /// What a machine with a store of its own keeps beside its state.
    fn sessions_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let written = self.sessions.write(&mut bytes);
        written.unwrap_or_else(|error| unreachable!("writing into memory failed: {error}"));
        bytes
    }

    /// Everything up to `id` was applied: a machine with a store of its own may make it durable now.
    pub(super) fn settle(&mut self, id: EntryId) {
        if let Store::Holds(_) = self.durable
            && id.index > self.durable.holds()
        {
            self.machine.settle(&Durable {
                applied: id,
                sessions: self.sessions_bytes(),
            });
        }
    }
}
