//! Majorities.
//!
//! Pure arithmetic over one set of voters; `Configuration` combines two of them for the joint phase.

use alloc::vec::Vec;

use crate::planted::{Bug, planted};

/// How many of `voters` make a majority: any two majorities share a voter.
///
/// ```
/// # use raft_core::quorum::majority;
/// assert_eq!([majority(1), majority(2), majority(3), majority(4)], [1, 2, 2, 3]);
/// ```
#[must_use]
pub const fn majority(voters: usize) -> usize {
    voters / 2 + 1
}

/// How many are needed here.
fn needed(voters: usize) -> usize {
    if planted(Bug::EvenQuorum) {
        return voters.div_ceil(2);
    }
    majority(voters)
}

/// How a ballot stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tally {
    /// A majority said yes.
    Won,
    /// So many said no that no majority can say yes any more.
    Lost,
    /// Still open.
    Open,
}

/// Counts a ballot; `None` stands for a voter that has not answered.
///
/// No voters never win, so that an empty configuration elects nobody.
pub fn tally(ballots: impl ExactSizeIterator<Item = Option<bool>>) -> Tally {
    let needed = needed(ballots.len());
    let (mut granted, mut rejected, mut voters) = (0, 0, 0);
    for ballot in ballots {
        voters += 1;
        match ballot {
            Some(true) => granted += 1,
            Some(false) => rejected += 1,
            None => {}
        }
    }
    if voters > 0 && granted >= needed {
        Tally::Won
    } else if voters - rejected < needed {
        Tally::Lost
    } else {
        Tally::Open
    }
}

/// Voters whose values are compared without a heap allocation; nearly every cluster is smaller.
const INLINE_VOTERS: usize = 8;

/// The greatest value that a majority has reached: the commit index of match indexes, the confirmed
/// round of acknowledged ones, the moment by which a majority was heard.
///
/// `None` without voters.
#[inline]
pub fn reached<T: Copy + Ord + Default>(mut values: impl ExactSizeIterator<Item = T>) -> Option<T> {
    let voters = values.len();
    if voters == 0 {
        return None;
    }
    // In ascending order, the values from this place on are a majority.
    let place = voters - needed(voters);
    if voters == 3 && place == 1 {
        // Most clusters are of three: the one in the middle.
        let (Some(a), Some(b), Some(c)) = (values.next(), values.next(), values.next()) else {
            return None;
        };
        return Some(a.min(b).max(a.max(b).min(c)));
    }
    if voters <= INLINE_VOTERS {
        let mut sorted = [T::default(); INLINE_VOTERS];
        for (end, value) in (0..INLINE_VOTERS).zip(values) {
            let mut slot = end;
            while slot > 0 && sorted[slot - 1] > value {
                sorted[slot] = sorted[slot - 1];
                slot -= 1;
            }
            sorted[slot] = value;
        }
        Some(sorted[place])
    } else {
        let mut sorted: Vec<T> = values.collect();
        sorted.sort_unstable();
        Some(sorted[place])
    }
}
