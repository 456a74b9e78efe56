//! The verdict on a whole history: keys are independent, so each is judged alone.
//!
//! Always holds: a verdict other than `Unknown` is exact.

use std::collections::BTreeMap;

use super::budget::Budget;
use super::explain::{self, Counterexample};
use super::local::refute_locally;
use super::model::ModelKind;
use super::operation::{Operation, Value};
use super::search::{Item, Outcome, search};
use super::shrink::{Shrunk, shrink};

/// Steps, and steps for each operation, after which a key is put off until the others are judged: one
/// hard key shall not hide a bad one. Up to ten concurrent clients rarely take as many.
const STEPS_AT_FIRST: (u64, u64) = (200_000, 100);

/// Steps at least for making a counterexample small.
const STEPS_TO_SHRINK: u64 = 2_000_000;

/// Whether a history is linearizable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// For each key there is an order that explains what everybody saw.
    Linearizable,
    /// For this key there is none; others were perhaps not judged.
    NotLinearizable(Box<Counterexample>),
    /// Time was up; nothing wrong was found so far.
    Unknown {
        /// Keys that were not judged, in order.
        keys: Vec<String>,
    },
}

/// Judges `operations`, which may be in any order.
///
/// A history in which few operations overlap takes time in proportion to its length. In the worst
/// case, which takes many that overlap and disagree, or many of unknown outcome that others saw, time
/// and memory are exponential; so `out_of_time` is asked every thousand steps or so.
///
/// # Panics
///
/// If an operation returned before it was invoked.
pub fn check(
    operations: &[Operation],
    model: ModelKind,
    mut out_of_time: impl FnMut() -> bool,
) -> Verdict {
    let mut keys: BTreeMap<&str, Vec<&Operation>> = BTreeMap::new();
    for operation in operations {
        let invoked = operation.invoked;
        assert!(
            operation.returned.is_none_or(|time| invoked <= time),
            "an operation returns after it was invoked"
        );
        keys.entry(&operation.key).or_default().push(operation);
    }
    let mut undecided: Vec<(&str, Vec<&Operation>)> = keys.into_iter().collect();
    let mut budget = Budget::new(&mut out_of_time);
    for effort in [Effort::Little, Effort::Local, Effort::All] {
        let mut put_off = Vec::new();
        for (key, operations) in undecided {
            if budget.is_stopped() {
                put_off.push((key, operations));
                continue;
            }
            match judge(&items(&operations), model, effort, &mut budget) {
                Judgement::Good => {}
                Judgement::Bad(shrunk) => {
                    let found = explain::counterexample(key, &operations, shrunk, model);
                    return Verdict::NotLinearizable(Box::new(found));
                }
                Judgement::Undecided => put_off.push((key, operations)),
            }
        }
        undecided = put_off;
    }
    if undecided.is_empty() {
        return Verdict::Linearizable;
    }
    Verdict::Unknown {
        keys: undecided.iter().map(|(key, _)| (*key).to_owned()).collect(),
    }
}

/// How a key is judged, in the order in which these are tried.
#[derive(Clone, Copy)]
enum Effort {
    /// With `STEPS_AT_FIRST`.
    Little,
    /// By what is wrong within a short time.
    Local,
    /// As long as it takes.
    All,
}

enum Judgement<'a> {
    Good,
    Bad(Shrunk<'a>),
    Undecided,
}

fn judge<'a>(
    items: &[Item<'a>],
    model: ModelKind,
    effort: Effort,
    budget: &mut Budget<'_>,
) -> Judgement<'a> {
    let steps = match effort {
        Effort::Little => STEPS_AT_FIRST.0 + STEPS_AT_FIRST.1 * items.len() as u64,
        Effort::Local => {
            return refute_locally(items, model, budget)
                .map_or(Judgement::Undecided, Judgement::Bad);
        }
        Effort::All => u64::MAX,
    };
    budget.allow(steps);
    match search(items, &Value::Null, model, budget) {
        Outcome::Linearizable => Judgement::Good,
        Outcome::Refuted(refuted) => {
            // Words for it may take a while longer than the verdict, but not much.
            let used = steps - budget.left();
            budget.allow(used.saturating_mul(8).saturating_add(STEPS_TO_SHRINK));
            Judgement::Bad(shrink(items, refuted, model, budget))
        }
        Outcome::Undecided => Judgement::Undecided,
    }
}

fn items<'a>(operations: &[&'a Operation]) -> Vec<Item<'a>> {
    let items = operations.iter().enumerate();
    items
        .map(|(source, operation)| Item {
            source,
            call: &operation.call,
            invoked: operation.invoked,
            returned: operation.returned,
        })
        .collect()
}
