//! For tests: histories drawn at random, and a judge that tries every order.

use super::model::{ModelKind, apply};
use super::operation::{Call, Operation, Value};
use super::search::Item;

/// Kind, two values, invocation, duration.
pub(super) type Drawn = (u8, (u8, u8), u8, u8);

pub(super) const fn model(text: bool) -> ModelKind {
    if text {
        ModelKind::Kv
    } else {
        ModelKind::Register
    }
}

fn value(number: u8, text: bool) -> Value {
    match (number % 4, text) {
        (0, _) => Value::Null,
        (number, false) => u64::from(number).into(),
        (1, true) => "a".into(),
        (2, true) => "ab".into(),
        (_, true) => "".into(),
    }
}

fn call(kind: u8, first: u8, second: u8, text: bool) -> Call {
    match kind % if text { 7 } else { 5 } {
        0 | 1 => Call::Read(value(first, text)),
        2 => Call::Write(value(first, text)),
        kind @ (3 | 4) => Call::Cas {
            old: value(first, text),
            new: value(second, text),
            succeeded: kind == 3,
        },
        _ => Call::Append(["a", "b", "ab", ""][usize::from(first % 4)].to_owned()),
    }
}

/// More operations than this take the judge too long.
const MOST: usize = 7;

/// Few values and times, so that many histories are good and many are bad; a process for each.
pub(super) fn operations(drawn: &[Drawn], text: bool) -> Vec<Operation> {
    drawn
        .iter()
        .take(MOST)
        .zip(0..)
        .map(|((kind, (first, second), start, length), process)| {
            let invoked = u64::from(start % 8);
            let returned = (length % 4 != 0).then(|| invoked + u64::from(length % 7));
            let call = call(*kind, *first, *second, text);
            Operation::new(process, "x", call, invoked, returned)
        })
        .collect()
}

/// What happened up to `end`.
pub(super) fn items(operations: &[Operation], end: u64) -> Vec<Item<'_>> {
    let items = operations
        .iter()
        .enumerate()
        .map(|(source, operation)| Item {
            source,
            call: &operation.call,
            invoked: operation.invoked,
            returned: operation.returned.filter(|returned| *returned <= end),
        });
    items.filter(|item| item.invoked <= end).collect()
}

/// Tries every order of every choice of the operations of unknown outcome.
pub(super) fn is_linearizable(items: &[Item<'_>], initial: &Value) -> bool {
    let required = |item: &Item<'_>| item.returned.is_some();
    if !items.iter().any(required) {
        return true;
    }
    (0..items.len()).any(|place| {
        let item = items[place];
        let too_early = items.iter().any(|other| {
            other
                .returned
                .is_some_and(|returned| returned < item.invoked)
        });
        let mut value = initial.clone();
        let mut rest = items.to_vec();
        rest.remove(place);
        !too_early && apply(item.call, &mut value) && is_linearizable(&rest, &value)
    })
}
