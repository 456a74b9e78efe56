//! What the committed log makes, made once more: the state at an index, and the configuration there.
//!
//! Always holds: it is made from committed entries alone, in their order; nothing that a node executed, took or
//! restored plays a part in it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use raft_core::replica::{Applied, Command, StateMachine};
use raft_core::{Bytes, Configuration, EntryId, Index};

use super::snapshot::image_hash;
use crate::machine::{Machine, Tagged, Watched};
use crate::world::Fresh;

/// The judge's own state machine.
pub(super) struct GhostState<S: Machine> {
    fresh: Fresh<S>,
    /// The commands that are executed, above the earliest state.
    commands: VecDeque<(EntryId, Bytes)>,
    /// States by the index that they are of; any later one is made from one of these.
    states: BTreeMap<Index, Watched<S>>,
    /// Committed configurations: the last one that may be needed, and those above it.
    configurations: VecDeque<(Index, Arc<Configuration>)>,
    /// Something was committed that nobody has seen: no state can be made any more.
    has_gap: bool,
}

/// Nodes take snapshots at about the same places: these are not far apart.
const STATES_KEPT: usize = 4;

impl<S: Machine> GhostState<S> {
    pub(super) const fn new(fresh: Fresh<S>) -> Self {
        Self {
            fresh,
            commands: VecDeque::new(),
            states: BTreeMap::new(),
            configurations: VecDeque::new(),
            has_gap: false,
        }
    }

    /// The next command that is executed.
    pub(super) fn executes(&mut self, id: EntryId, command: Bytes) {
        self.commands.push_back((id, command));
    }

    /// The next configuration.
    pub(super) fn configured(&mut self, index: Index, configuration: &Arc<Configuration>) {
        self.configurations
            .push_back((index, configuration.clone()));
    }

    /// The next entry is one that nobody has seen.
    pub(super) fn misses(&mut self) {
        self.has_gap = true;
    }

    /// The last configuration at or below an index, unless it is the one that the cluster began with, or forgotten.
    pub(super) fn configuration_at(&self, index: Index) -> Option<(Index, &Configuration)> {
        let mut known = self.configurations.iter().rev();
        let (at, configuration) = known.find(|(at, _)| *at <= index)?;
        Some((*at, configuration))
    }

    /// The state after all entries up to an index, as a number; `None` if it cannot be made any more.
    pub(super) fn hash_at(&mut self, index: Index) -> Option<u64> {
        if self.has_gap || !self.make(index) {
            return None;
        }
        let hash = image_hash(&self.states.get(&index)?.image());
        // The earliest is what all others are made from.
        while self.states.len() > STATES_KEPT
            && let Some(second) = self.states.keys().nth(1).copied()
        {
            self.states.remove(&second);
        }
        Some(hash)
    }

    /// Makes the state at an index; false if everything that is remembered is later.
    fn make(&mut self, index: Index) -> bool {
        let mut state = Watched::new((self.fresh)());
        let mut from = Index(0);
        if !self.states.is_empty() {
            let Some((at, before)) = self.states.range(..=index).next_back() else {
                return false;
            };
            from = *at;
            state.restore(before.image());
        } else if index > Index(0) && !self.make(Index(0)) {
            return false;
        }
        let first = self.commands.partition_point(|(id, _)| id.index <= from);
        let commands = self.commands.range(first..);
        for (id, command) in commands.take_while(|(id, _)| id.index <= index) {
            // What no machine understands none executes.
            if let Ok(command) = Tagged::decode(command) {
                state.apply(Applied { id: *id, command });
            }
        }
        state.executions.get_mut().clear();
        self.states.insert(index, state);
        true
    }

    /// Nothing below an index is asked about any more.
    pub(super) fn forget_below(&mut self, index: Index) {
        if self.make(index) {
            self.states = self.states.split_off(&index);
        }
        while self
            .commands
            .front()
            .is_some_and(|(id, _)| id.index <= index)
        {
            self.commands.pop_front();
        }
        while self
            .configurations
            .get(1)
            .is_some_and(|(at, _)| *at <= index)
        {
            self.configurations.pop_front();
        }
    }

    /// How much is remembered: for the test that this stays flat.
    pub(super) fn len(&self) -> usize {
        self.commands.len() + self.configurations.len()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use raft_core::replica::StateMachine;
    use raft_core::{Bytes, EntryId, Index, Term};

    use super::GhostState;
    use crate::judge::image_hash;
    use crate::machine::{Watched, tag};
    use crate::registers::{RegisterCommand, Registers};

    fn command(op: u64) -> Bytes {
        let command: RegisterCommand = "a+=1".parse().unwrap();
        tag(op, &command)
    }

    /// Ten commands, each of which changes the state.
    fn ghost() -> GhostState<Registers> {
        let mut ghost = GhostState::new(Arc::new(Registers::default));
        for index in 1..=10 {
            let id = EntryId {
                term: Term(1),
                index: Index(index),
            };
            ghost.executes(id, command(index));
        }
        ghost
    }

    #[test]
    fn a_state_is_the_same_whichever_was_asked_for_before() {
        let mut in_order = ghost();
        let hashes: Vec<_> = (0..=10).map(|i| in_order.hash_at(Index(i))).collect();
        assert_eq!(
            hashes[0],
            Some(image_hash(&Watched::new(Registers::default()).image()))
        );
        for pair in hashes.windows(2) {
            assert_ne!(pair[0], pair[1]);
        }
        let mut backwards = ghost();
        for index in (0..=10).rev() {
            assert_eq!(
                backwards.hash_at(Index(index)),
                hashes[usize::try_from(index).unwrap()]
            );
        }
    }

    #[test]
    fn what_was_forgotten_cannot_be_told_and_the_rest_stays() {
        let (mut ghost, mut whole) = (ghost(), ghost());
        ghost.forget_below(Index(7));
        assert_eq!(ghost.hash_at(Index(6)), None);
        for index in 7..=10 {
            assert_eq!(ghost.hash_at(Index(index)), whole.hash_at(Index(index)));
        }
        assert_eq!(ghost.len(), 3);
        ghost.misses();
        assert_eq!(ghost.hash_at(Index(9)), None);
    }
}
