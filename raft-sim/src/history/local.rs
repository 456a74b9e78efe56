//! What is wrong within a short time, found without looking at the whole.
//!
//! Always holds: what is found is a proof, by the rules in `shrink`; finding nothing proves nothing.

use std::collections::BTreeSet;

use super::budget::Budget;
use super::model::ModelKind;
use super::operation::{Call, Value};
use super::search::Item;
use super::shrink::{Shrinker, Shrunk, Start, cuts, end_at, start_at};

/// Operations that show a value, in one stretch of [`refute_locally`].
const STRETCH: usize = 48;

/// Steps for one of those.
const STEPS_PER_STRETCH: u64 = 20_000;

/// Looks for a value that was seen and never written, then for a short stretch of `items` that has no
/// order whatever came before and after. That takes time in proportion to the square of their number,
/// where the search may take exponential time.
pub(super) fn refute_locally<'a>(
    items: &[Item<'a>],
    model: ModelKind,
    budget: &mut Budget<'_>,
) -> Option<Shrunk<'a>> {
    let cuts = cuts(items);
    let mut shrinker = Shrinker { model, budget };
    if let Some(alone) = refute_unwritten(&mut shrinker, items) {
        return Some(alone);
    }
    for first in (0..cuts.len()).step_by(STRETCH / 2) {
        let (cut, value) = cuts[first];
        let end = cuts
            .get(first + STRETCH)
            .and_then(|(last, _)| last.returned);
        let ended = end_at(items, end.unwrap_or(u64::MAX));
        let stretch = start_at(&ended, cut);
        shrinker.budget.allow(8 * STEPS_PER_STRETCH);
        let refuted = shrinker.refute(&stretch, value);
        shrinker.budget.spend(items.len() as u64 / 16);
        if let Some(refuted) = refuted {
            let mut small = Shrunk {
                items: stretch,
                start: Start {
                    value,
                    shown_by: Some(cut.source),
                },
                refuted,
            };
            shrinker.budget.allow(STEPS_PER_STRETCH * 100);
            shrinker.minimise(&mut small);
            return Some(small);
        }
        if shrinker.budget.is_stopped() {
            break;
        }
    }
    None
}

/// An operation that saw a value that none leaves; all others may be left out.
fn refute_unwritten<'a>(shrinker: &mut Shrinker<'_, '_>, items: &[Item<'a>]) -> Option<Shrunk<'a>> {
    if items
        .iter()
        .any(|item| matches!(item.call, Call::Append(_)))
    {
        return None;
    }
    let writers = items.iter().filter(|item| !item.call.only_observes());
    let written: BTreeSet<&Value> = writers.filter_map(|item| item.call.produced()).collect();
    let unwritten = items.iter().find(|item| {
        let seen = item.call.observed().filter(|_| !item.call.is_failed_cas());
        item.returned.is_some()
            && seen.is_some_and(|value| *value != Value::Null && !written.contains(value))
    })?;
    let start = Start {
        value: &Value::Null,
        shown_by: None,
    };
    shrinker.budget.allow(8 * STEPS_PER_STRETCH);
    let items = vec![*unwritten];
    let refuted = shrinker.refute(&items, start.value)?;
    Some(Shrunk {
        items,
        start,
        refuted,
    })
}

#[cfg(test)]
mod tests {
    use super::refute_locally;
    use crate::history::budget::Budget;
    use crate::history::naive::{self, Drawn};
    use crate::history::operation::{Call, Operation, Value};
    use quickcheck::quickcheck;

    fn found_is_bad(drawn: &[Drawn], text: bool) -> bool {
        let operations = naive::operations(drawn, text);
        let items = naive::items(&operations, u64::MAX);
        let mut never = || false;
        let mut budget = Budget::new(&mut never);
        refute_locally(&items, naive::model(text), &mut budget).is_none_or(|small| {
            !naive::is_linearizable(&items, &Value::Null)
                && !naive::is_linearizable(&small.items, small.start.value)
        })
    }

    quickcheck! {
        fn what_is_found_in_a_register_is_bad(drawn: Vec<Drawn>) -> bool {
            found_is_bad(&drawn, false)
        }

        fn what_is_found_in_a_string_is_bad(drawn: Vec<Drawn>) -> bool {
            found_is_bad(&drawn, true)
        }
    }

    #[test]
    fn a_stale_read_far_from_the_start_is_found() {
        let mut operations = Vec::new();
        for number in 0..500_u64 {
            let (at, process) = (number * 10, number % 5);
            let call = Call::Write(number.into());
            operations.push(Operation::new(process, "x", call, at, Some(at + 25)));
        }
        let read = Call::Read(100.into());
        operations.push(Operation::new(9, "x", read, 4_000, Some(4_010)));
        let items = naive::items(&operations, u64::MAX);
        let mut never = || false;
        let mut budget = Budget::new(&mut never);
        let found = refute_locally(&items, naive::model(false), &mut budget).unwrap();
        assert!(found.start.shown_by.is_some());
        assert_eq!(found.items.len(), 1);
    }
}
