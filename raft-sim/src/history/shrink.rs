//! A history that has no order, made small without making it lie.
//!
//! A part of a bad history is bad too only if what was left out could not have helped. So each change
//! here is one that turns a history with an order into a history with an order; then a result without
//! one proves that the whole has none, and nothing that it shows is missing its cause:
//!
//! - *The end is cut off* at some time: what was not invoked is gone, what had not returned may have
//!   taken effect or not. Whatever explains the whole explains how it began.
//! - *An operation that only observes is left out.* The others do not notice.
//! - *Writes and successful comparisons are left out together* if none that stays compares with a
//!   value that they leave, none appends, and none is a failed comparison. In an order of the whole,
//!   whatever stays and compares finds a value that another that stays left, or the first value; it
//!   still does if those in between are gone. (A failed comparison is content with any other value,
//!   and an append takes whatever it finds: these would notice.)
//! - *Appends are left out* if no string that one that stays compares with contains what they add, and
//!   none is a failed comparison: up to the next write no such string can have been there.
//! - *The start is replaced by a value*: after a completed operation that shows the value, say a read.
//!   What returned before that operation was invoked came before it, and is gone. What overlaps it may
//!   have come before it or not, so it becomes an operation of unknown outcome; what has unknown
//!   outcome anyway stays. Whatever explains the whole goes on from that value in the same order.
//!
//! Always holds: the search found no order for what is returned.

use std::collections::BTreeSet;
use std::ops::Range;

use super::budget::Budget;
use super::model::ModelKind;
use super::operation::{Call, Value};
use super::search::{Item, Outcome, Refuted, search};

/// Counterexamples of more operations than this are worth a cut at the start.
const LARGE: usize = 12;

/// What is left, and why it has no order.
#[derive(Clone, Debug)]
pub(super) struct Shrunk<'a> {
    /// Their `returned` is `None` also if cutting made their outcome unknown.
    pub(super) items: Vec<Item<'a>>,
    pub(super) start: Start<'a>,
    pub(super) refuted: Refuted,
}

/// What the key holds at first.
#[derive(Clone, Copy, Debug)]
pub(super) struct Start<'a> {
    pub(super) value: &'a Value,
    /// The operation that shows it, if the start was cut off: its source.
    pub(super) shown_by: Option<usize>,
}

/// Shrinks `items`, for which there is no order, as far as the budget allows.
pub(super) fn shrink<'a>(
    items: &[Item<'a>],
    refuted: Refuted,
    model: ModelKind,
    budget: &mut Budget<'_>,
) -> Shrunk<'a> {
    let mut shrinker = Shrinker { model, budget };
    let mut whole = Shrunk {
        items: items.to_vec(),
        start: Start {
            value: &Value::Null,
            shown_by: None,
        },
        refuted,
    };
    let ended = end_at(&whole.items, whole.refuted.stuck);
    shrinker.accept(&mut whole, ended);
    let mut small = whole.clone();
    // Half of the steps are for what comes if this is not enough.
    let all = shrinker.budget.left();
    shrinker.budget.allow(all / 2);
    let appends = |item: &Item<'_>| matches!(item.call, Call::Append(_));
    if !whole.items.iter().any(appends) {
        shrinker.minimise(&mut small);
    }
    let left = shrinker.budget.left();
    shrinker.budget.allow(left + all / 2);
    // Where something appends, little can be left out before the start is.
    if small.items.len() > LARGE
        && let Some(mut cut) = shrinker.cut_start(&whole)
    {
        shrinker.minimise(&mut cut);
        if cut.items.len() < small.items.len() {
            return cut;
        }
    }
    shrinker.minimise(&mut small);
    small
}

/// What happened up to `end`.
pub(super) fn end_at<'a>(items: &[Item<'a>], end: u64) -> Vec<Item<'a>> {
    let items = items.iter().filter(|item| item.invoked <= end);
    let items = items.map(|item| Item {
        returned: item.returned.filter(|returned| *returned <= end),
        ..*item
    });
    items.filter(matters).collect()
}

/// Whether the outcome of an observation is known, or it is more than one.
fn matters(item: &Item<'_>) -> bool {
    item.returned.is_some() || !item.call.only_observes()
}

/// Asks the search whether what is left still has no order.
pub(super) struct Shrinker<'b, 'c> {
    pub(super) model: ModelKind,
    pub(super) budget: &'b mut Budget<'c>,
}

impl Shrinker<'_, '_> {
    /// Whether `items` have no order. Gives up early, so that one hard question leaves time for others.
    pub(super) fn refute(&mut self, items: &[Item<'_>], initial: &Value) -> Option<Refuted> {
        let all = self.budget.left();
        self.budget.allow(all / 8);
        let outcome = search(items, initial, self.model, self.budget);
        let used = all / 8 - self.budget.left();
        self.budget.allow(all - used);
        match outcome {
            Outcome::Refuted(refuted) => Some(refuted),
            Outcome::Linearizable | Outcome::Undecided => None,
        }
    }

    /// Replaces the items if those have no order either.
    fn accept<'a>(&mut self, shrunk: &mut Shrunk<'a>, items: Vec<Item<'a>>) -> bool {
        let refuted = self.refute(&items, shrunk.start.value);
        let accepted = refuted.is_some();
        if let Some(refuted) = refuted {
            shrunk.items = items;
            shrunk.refuted = refuted;
        }
        accepted
    }

    /// Leaves out what may be left out.
    pub(super) fn minimise(&mut self, shrunk: &mut Shrunk<'_>) {
        // Most often only those that cannot come next are to blame.
        let blamed = shrunk.items.iter().filter(|item| {
            !item.call.only_observes() || shrunk.refuted.refused.contains(&item.source)
        });
        let blamed = blamed.copied().collect();
        self.accept(shrunk, blamed);
        self.leave_out(shrunk, Kind::Observations);
        self.leave_out(shrunk, Kind::WritesToo);
    }

    /// Tries to leave out halves, quarters and so on, down to single operations.
    fn leave_out(&mut self, shrunk: &mut Shrunk<'_>, kind: Kind) {
        let mut size = shrunk.items.len().div_ceil(2);
        while size > 0 {
            let (mut from, before) = (0, shrunk.items.len());
            while from < shrunk.items.len() && !self.budget.is_spent() {
                let to = (from + size).min(shrunk.items.len());
                self.budget.spend(1);
                let accepted = without(&shrunk.items, from..to, kind)
                    .is_some_and(|fewer| self.accept(shrunk, fewer));
                if !accepted {
                    from = to;
                }
            }
            // One that had to stay may go once others are gone.
            if size > 1 || shrunk.items.len() == before {
                size /= 2;
            }
        }
    }

    /// Replaces as much of the start as possible by a value.
    fn cut_start<'a>(&mut self, whole: &Shrunk<'a>) -> Option<Shrunk<'a>> {
        let cuts = cuts(&whole.items);
        // Later ones leave less to search, so all of these together take about as long as the last.
        let mut distance = 1;
        while let Some(place) = cuts.len().checked_sub(distance) {
            let (cut, value) = cuts[place];
            let items = start_at(&whole.items, cut);
            if let Some(refuted) = self.refute(&items, value) {
                return Some(Shrunk {
                    items,
                    start: Start {
                        value,
                        shown_by: Some(cut.source),
                    },
                    refuted,
                });
            }
            distance *= 2;
        }
        None
    }
}

/// What may be left out.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Observations,
    WritesToo,
}

/// The items but as many of those at `places` as may be left out together; `None` if none may.
fn without<'a>(items: &[Item<'a>], places: Range<usize>, kind: Kind) -> Option<Vec<Item<'a>>> {
    let may_leave = |item: &Item<'a>| kind == Kind::WritesToo || item.call.only_observes();
    if !items[places.clone()].iter().any(may_leave) {
        return None;
    }
    let mut leaves = vec![false; items.len()];
    for place in places.clone() {
        leaves[place] = may_leave(&items[place]);
    }
    let mut staying = Staying::default();
    for (item, leaves) in items.iter().zip(&leaves) {
        if !leaves {
            staying.add(item.call);
        }
    }
    // One that has to stay may notice that another leaves.
    let mut stable = false;
    while !stable {
        stable = true;
        for place in places.clone() {
            let call = items[place].call;
            if leaves[place] && staying.notices(call) {
                leaves[place] = false;
                staying.add(call);
                stable = false;
            }
        }
    }
    let any = leaves.contains(&true);
    let kept = items.iter().zip(leaves).filter(|(_, leaves)| !leaves);
    any.then(|| kept.map(|(item, _)| *item).collect())
}

/// What stays, as far as it might notice that something leaves.
#[derive(Default)]
struct Staying<'a> {
    compared: BTreeSet<&'a Value>,
    appends: bool,
    failed_cas: bool,
}

impl<'a> Staying<'a> {
    fn add(&mut self, call: &'a Call) {
        self.compared.extend(call.observed());
        self.appends |= matches!(call, Call::Append(_));
        self.failed_cas |= call.is_failed_cas();
    }

    fn notices(&self, call: &Call) -> bool {
        if call.only_observes() {
            return false;
        }
        if self.failed_cas {
            return true;
        }
        match call {
            Call::Append(suffix) => self.compared.len() > LARGE
                || self.compared.iter().any(
                    |value| matches!(value, Value::Text(text) if text.contains(suffix.as_str())),
                ),
            Call::Read(_) | Call::Write(_) | Call::Cas { .. } => {
                self.appends
                    || call
                        .produced()
                        .is_some_and(|value| self.compared.contains(value))
            }
        }
    }
}

/// The value that the key holds right after a completed `call`, if that is certain.
const fn shows(call: &Call) -> Option<&Value> {
    match call {
        Call::Read(value) => Some(value),
        Call::Write(_) | Call::Cas { .. } | Call::Append(_) => call.produced(),
    }
}

/// Operations that show what the key holds after them, by invocation.
pub(super) fn cuts<'a>(items: &[Item<'a>]) -> Vec<(Item<'a>, &'a Value)> {
    let completed = items.iter().filter(|item| item.returned.is_some());
    let mut cuts: Vec<(Item<'a>, &'a Value)> = completed
        .filter_map(|item| Some((*item, shows(item.call)?)))
        .collect();
    cuts.sort_by_key(|(item, _)| item.invoked);
    cuts
}

/// What follows `cut`, and what may.
pub(super) fn start_at<'a>(items: &[Item<'a>], cut: Item<'a>) -> Vec<Item<'a>> {
    let after = |item: &Item<'a>| cut.returned.is_some_and(|returned| returned < item.invoked);
    let before = |item: &Item<'a>| item.returned.is_some_and(|returned| returned < cut.invoked);
    items
        .iter()
        .filter(|item| item.source != cut.source && !before(item))
        .map(|item| Item {
            returned: item.returned.filter(|_| after(item)),
            ..*item
        })
        .filter(matters)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{Kind, Shrunk, end_at, shrink, start_at, without};
    use crate::history::budget::Budget;
    use crate::history::naive::{self, Drawn};
    use crate::history::operation::{Call, Operation, Value};
    use crate::history::search::{Item, Outcome, search};
    use quickcheck::{TestResult, quickcheck};

    /// Every single change, on histories that have an order.
    fn changes_keep_orders(drawn: &[Drawn], text: bool) -> TestResult {
        let operations = naive::operations(drawn, text);
        let items = naive::items(&operations, u64::MAX);
        if !naive::is_linearizable(&items, &Value::Null) {
            return TestResult::discard();
        }
        let from_null = |items: &[Item<'_>]| naive::is_linearizable(items, &Value::Null);
        let ends = (0..15).all(|end| from_null(&end_at(&items, end)));
        let mut parts = (0..items.len())
            .flat_map(|from| (from..=items.len()).map(move |to| from..to))
            .filter_map(|places| without(&items, places, Kind::WritesToo));
        let parts = parts.all(|items| from_null(&items));
        let mut cuts = items.iter().filter(|item| item.returned.is_some());
        let starts = cuts.all(|cut| {
            super::shows(cut.call)
                .is_none_or(|value| naive::is_linearizable(&start_at(&items, *cut), value))
        });
        TestResult::from_bool(ends && parts && starts)
    }

    fn shrunk_histories_are_bad(drawn: &[Drawn], text: bool) -> TestResult {
        let operations = naive::operations(drawn, text);
        let items = naive::items(&operations, u64::MAX);
        let mut never = || false;
        let mut budget = Budget::new(&mut never);
        budget.allow(1_000_000);
        let Outcome::Refuted(refuted) =
            search(&items, &Value::Null, naive::model(text), &mut budget)
        else {
            return TestResult::discard();
        };
        let small = shrink(&items, refuted, naive::model(text), &mut budget);
        TestResult::from_bool(!naive::is_linearizable(&small.items, small.start.value))
    }

    quickcheck! {
        fn no_change_makes_a_good_register_bad(drawn: Vec<Drawn>) -> TestResult {
            changes_keep_orders(&drawn, false)
        }

        fn no_change_makes_a_good_string_bad(drawn: Vec<Drawn>) -> TestResult {
            changes_keep_orders(&drawn, true)
        }

        fn what_is_left_of_a_bad_register_is_bad(drawn: Vec<Drawn>) -> TestResult {
            shrunk_histories_are_bad(&drawn, false)
        }

        fn what_is_left_of_a_bad_string_is_bad(drawn: Vec<Drawn>) -> TestResult {
            shrunk_histories_are_bad(&drawn, true)
        }
    }

    fn sources(operations: &[Operation], text: bool) -> (Vec<usize>, Option<usize>) {
        let items = naive::items(operations, u64::MAX);
        let mut never = || false;
        let mut budget = Budget::new(&mut never);
        budget.allow(1_000_000);
        let outcome = search(&items, &Value::Null, naive::model(text), &mut budget);
        let Outcome::Refuted(refuted) = outcome else {
            panic!("the history has no order");
        };
        let Shrunk { items, start, .. } = shrink(&items, refuted, naive::model(text), &mut budget);
        let mut sources: Vec<usize> = items.iter().map(|item| item.source).collect();
        sources.sort_unstable();
        (sources, start.shown_by)
    }

    #[test]
    fn only_the_writes_and_the_read_that_matter_stay() {
        let mut operations = Vec::new();
        for number in 0..100_u64 {
            let at = number * 10;
            for (call, at) in [
                (Call::Write(number.into()), at),
                (Call::Read(number.into()), at + 3),
            ] {
                operations.push(Operation::new(0, "x", call, at, Some(at + 1)));
            }
        }
        operations[121].call = Call::Read(58.into());
        // Write 58, any that came after it, and the read.
        let (sources, start) = sources(&operations, false);
        assert_eq!((sources.len(), start), (3, None));
        assert_eq!((sources[0], sources[2]), (116, 121));
    }

    #[test]
    fn a_long_string_is_cut_at_its_start() {
        let mut operations = Vec::new();
        let mut value = String::new();
        for number in 0..100_u64 {
            let at = number * 10;
            let call = Call::Append("a".to_owned());
            operations.push(Operation::new(0, "x", call, at, Some(at + 5)));
            value.push('a');
            let call = Call::Read(value.as_str().into());
            // Overlaps the append after it.
            operations.push(Operation::new(1, "x", call, at + 6, Some(at + 12)));
        }
        operations[181].call = Call::Read("a".into());
        let (sources, start) = sources(&operations, true);
        assert!(sources.len() < 6, "{sources:?}");
        assert!(start.is_some());
    }
}
