//! What a search tried in vain.
//!
//! Always holds: positions that are equal, with the same optional operations done, allow the same.

use super::budget::Budget;
use super::model::State;

/// With the optional operations that are done, all that decides what may follow.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Position {
    pub(super) state: State,
    /// Whether the last operation was an optional one.
    pub(super) after_optional: bool,
    /// Required operations that are done: full words, and those that follow.
    pub(super) full_words: usize,
    pub(super) words: Box<[u64]>,
}

/// Where the search was: positions, and for each the optional operations that were done.
#[derive(Debug, Default)]
pub(super) struct Memory {
    #[expect(
        clippy::disallowed_types,
        reason = "it is never iterated, and a search looks up millions"
    )]
    tried: std::collections::HashMap<Position, Vec<Box<[u64]>>>,
}

impl Memory {
    /// Whether the search was not at `position` yet with `done`, a set of optional operations, or part
    /// of it; if so, it is now.
    ///
    /// Part of it is enough: whatever could follow now could have followed then.
    pub(super) fn is_new(
        &mut self,
        position: Position,
        done: &[u64],
        budget: &mut Budget<'_>,
    ) -> bool {
        let tried = self.tried.entry(position).or_default();
        budget.spend(1 + (tried.len() * done.len()) as u64 / 16);
        // A word that is missing is empty.
        let is_part = |fewer: &[u64]| {
            fewer.len() <= done.len() && fewer.iter().zip(done).all(|(a, b)| a & !b == 0)
        };
        if tried.iter().any(|fewer| is_part(fewer)) {
            return false;
        }
        tried.push(done.into());
        true
    }
}

#[cfg(test)]
mod tests {
    use super::{Memory, Position};
    use crate::history::budget::Budget;
    use crate::history::model::State;

    #[test]
    fn more_of_the_same_is_not_new() {
        let position = |state| Position {
            state,
            after_optional: false,
            full_words: 0,
            words: [1].into(),
        };
        let mut never = || false;
        let mut budget = Budget::new(&mut never);
        let mut memory = Memory::default();
        let mut is_new = |done: &[u64]| memory.is_new(position(State::Unseen), done, &mut budget);
        assert!(is_new(&[0b110]));
        assert!(!is_new(&[0b110]));
        assert!(!is_new(&[0b111]));
        assert!(!is_new(&[0b110, 1]));
        assert!(is_new(&[0b011]));
        assert!(is_new(&[]));
        assert!(!is_new(&[0, 1]));
        assert!(memory.is_new(position(State::UnseenText), &[1], &mut budget));
    }
}
