//! Why a history is not linearizable, in words.
//!
//! Always holds: whatever is said of an operation follows from the operations of its key.

use std::fmt;
use std::ptr;

use super::model::{ModelKind, apply};
use super::operation::{Call, Operation, Value};
use super::shrink::Shrunk;

/// Operations in a sentence; more are a list.
const IN_A_SENTENCE: usize = 3;

/// Operations in a list; of more, the last.
const IN_A_LIST: usize = 20;

/// A few operations of one key that no order explains, and the best attempt at one.
///
/// `Display` says it in words, on several lines if it must.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counterexample {
    /// The JSON text of the key; empty if keys have no name.
    pub key: String,
    /// The operations, by invocation; others of this key do not matter.
    pub operations: Vec<Shown>,
    /// What the key holds before all of them.
    pub start: Value,
    /// The earlier operation that shows so, unless nothing came earlier.
    pub started_by: Option<Operation>,
    /// The most operations that can be ordered, in order: places in `operations`.
    pub order: Vec<usize>,
    /// What the key holds after those.
    pub value: Value,
    /// One of these would have to come next.
    pub impossible: Vec<Impossible>,
    /// These could come next, but then still none of the impossible ones: places in `operations`.
    pub useless: Vec<usize>,
    /// How many operations this key has altogether.
    pub operations_of_key: usize,
}

/// An operation of a [`Counterexample`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// As recorded.
    pub operation: Operation,
    /// Whether it must be in the order. If not, its outcome is unknown, or was at the time at which
    /// the counterexample ends, or it may have taken effect before the counterexample starts.
    pub required: bool,
}

/// An operation that cannot come next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Impossible {
    /// Its place in `operations`.
    pub operation: usize,
    /// Why not, as a clause.
    pub reason: String,
}

/// Words for what is left of the `operations` of a key.
pub(super) fn counterexample(
    key: &str,
    operations: &[&Operation],
    shrunk: Shrunk<'_>,
    model: ModelKind,
) -> Counterexample {
    let Shrunk {
        mut items,
        start,
        refuted,
    } = shrunk;
    items.sort_by_key(|item| (item.invoked, item.source));
    let mut value = start.value.clone();
    for source in &refuted.order {
        let possible = apply(&operations[*source].call, &mut value);
        assert!(possible, "the order of the search is possible");
    }
    let places = |sources: &[usize]| -> Vec<usize> {
        let place = |source: &usize| items.iter().position(|item| item.source == *source);
        sources.iter().filter_map(place).collect()
    };
    let past = Past { operations, model };
    let reason = |place: usize| Impossible {
        operation: place,
        reason: past.reason(operations[items[place].source], &value),
    };
    Counterexample {
        key: key.to_owned(),
        start: start.value.clone(),
        started_by: start.shown_by.map(|source| operations[source].clone()),
        order: places(&refuted.order),
        impossible: places(&refuted.refused).into_iter().map(reason).collect(),
        useless: places(&refuted.useless),
        operations: items
            .iter()
            .map(|item| Shown {
                operation: operations[item.source].clone(),
                required: item.returned.is_some(),
            })
            .collect(),
        operations_of_key: operations.len(),
        value,
    }
}

/// All operations of the key, among which reasons are looked for.
struct Past<'a> {
    operations: &'a [&'a Operation],
    model: ModelKind,
}

impl Past<'_> {
    /// Why `operation` cannot come while the key holds `value`.
    fn reason(&self, operation: &Operation, value: &Value) -> String {
        let by = by(operation);
        match &operation.call {
            Call::Read(seen) => {
                format!(
                    "read {by} returned {}{}",
                    brief(seen),
                    self.fate(operation, seen, value)
                )
            }
            Call::Cas {
                succeeded: false,
                old,
                ..
            } => format!(
                "{} {by} found something else than {}",
                verb(&operation.call),
                brief(old)
            ),
            Call::Cas { old, .. } => format!(
                "{} {by} found {}{}",
                verb(&operation.call),
                brief(old),
                self.fate(operation, old, value)
            ),
            Call::Write(_) | Call::Append(_) => {
                let what = match self.model {
                    ModelKind::Register => "a register",
                    ModelKind::Kv => "a value that is no string",
                };
                format!("{} {by} was done to {what}", verb(&operation.call))
            }
        }
    }

    /// What is known about the value that `operation` saw, as a relative clause.
    fn fate(&self, operation: &Operation, seen: &Value, value: &Value) -> String {
        if self
            .operations
            .iter()
            .any(|other| matches!(other.call, Call::Append(_)))
        {
            return compare_texts(seen, value);
        }
        let writers: Vec<&Operation> = self
            .operations
            .iter()
            .copied()
            .filter(|other| !ptr::eq(*other, operation) && other.call.produced() == Some(seen))
            .collect();
        let earliest = writers.iter().min_by_key(|writer| writer.invoked);
        let Some(earliest) = earliest else {
            return match seen {
                Value::Null => self.overwriter(operation, seen, None),
                Value::Bool(_) | Value::Integer(_) | Value::Fraction(_) | Value::Text(_) => {
                    ", which was never written".to_owned()
                }
            };
        };
        let too_early = operation
            .returned
            .is_some_and(|returned| returned < earliest.invoked);
        if *seen == Value::Null {
            return String::new();
        }
        if too_early {
            return format!(", which was written only later: {}", named(earliest));
        }
        // If even the last of them to be certain was overwritten, all were.
        match writers
            .iter()
            .map(|writer| writer.returned)
            .max_by_key(|time| time.unwrap_or(u64::MAX))
        {
            Some(Some(last)) => self.overwriter(operation, seen, Some(last)),
            Some(None) | None => String::new(),
        }
    }

    /// Who certainly replaced `seen`, which was there at `since`, before `operation` began.
    fn overwriter(&self, operation: &Operation, seen: &Value, since: Option<u64>) -> String {
        let replaces = |other: &&&Operation| {
            !other.call.only_observes()
                && other.call.produced().is_some_and(|value| value != seen)
                && other.returned.is_some_and(|time| time < operation.invoked)
        };
        let latest = self
            .operations
            .iter()
            .filter(replaces)
            .max_by_key(|other| other.invoked)
            .filter(|other| since.is_none_or(|since| since < other.invoked));
        latest.map_or_else(String::new, |other| {
            format!(
                ", which was overwritten before it began by {}",
                named(other)
            )
        })
    }
}

/// How a string that was seen differs from what the key holds.
fn compare_texts(seen: &Value, value: &Value) -> String {
    let (Value::Text(seen), Value::Text(value)) = (seen, value) else {
        return String::new();
    };
    if let Some(rest) = value.strip_prefix(seen.as_str()) {
        return format!(", without the last {}", brief(&rest.into()));
    }
    if let Some(rest) = seen.strip_prefix(value.as_str()) {
        return format!(", with {} more", brief(&rest.into()));
    }
    let same = seen.bytes().zip(value.bytes()).take_while(|(a, b)| a == b);
    format!(", which differs from byte {} on", same.count())
}

/// A value in one line, shortened.
pub(super) fn brief(value: &Value) -> String {
    let text = value.to_string();
    let length = text.chars().count();
    if length <= 48 {
        return text;
    }
    let start: String = text.chars().take(24).collect();
    let end: String = text.chars().skip(length - 12).collect();
    format!("{start}…{end} ({length} characters)")
}

/// What a call does.
pub(super) fn verb(call: &Call) -> String {
    match call {
        Call::Read(value) => format!("read {}", brief(value)),
        Call::Write(value) => format!("write {}", brief(value)),
        Call::Cas {
            old,
            new,
            succeeded,
        } => {
            let failed = if *succeeded { "" } else { "failed " };
            format!("{failed}cas {} to {}", brief(old), brief(new))
        }
        Call::Append(suffix) => format!("append {}", brief(&suffix.as_str().into())),
    }
}

/// Who did it, and where that is recorded.
fn origin(operation: &Operation) -> String {
    let place = match (operation.lines, operation.returned) {
        (Some(lines), _) => match lines.completed {
            Some(completed) => format!("lines {}..{completed}", lines.invoked),
            None => format!("line {}", lines.invoked),
        },
        (None, Some(returned)) => format!("at {}..{returned}", operation.invoked),
        (None, None) => format!("at {}", operation.invoked),
    };
    match operation.returned {
        Some(_) => place,
        None => format!("{place}, outcome unknown"),
    }
}

fn by(operation: &Operation) -> String {
    format!("by process {} ({})", operation.process, origin(operation))
}

/// An operation, who did it, and where that is recorded.
pub(super) fn named(operation: &Operation) -> String {
    let verb = verb(&operation.call);
    format!(
        "{verb} (process {}, {})",
        operation.process,
        origin(operation)
    )
}

/// `a, b and c`.
fn list(names: &[String]) -> String {
    match names {
        [] => String::new(),
        [only] => only.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

impl Counterexample {
    /// Which key it is about, as the start of a sentence.
    pub(super) fn title(&self) -> String {
        if self.key.is_empty() {
            "the history is not linearizable".to_owned()
        } else {
            format!("key {} is not linearizable", self.key)
        }
    }

    /// The operations of the order, with the one that shows the start.
    fn ordered(&self) -> Vec<String> {
        let order = self.order.iter();
        let order = order.map(|place| &self.operations[*place].operation);
        self.started_by.iter().chain(order).map(named).collect()
    }

    /// What the order leads to, as a clause.
    pub(super) fn reached(&self) -> String {
        let value = brief(&self.value);
        let names = self.ordered();
        match names.as_slice() {
            [] => format!("at first the value is {value}"),
            names if names.len() <= IN_A_SENTENCE => {
                format!("after {} the value is {value}", list(names))
            }
            [.., last] => format!(
                "after {} operations, the last of them {last}, the value is {value}",
                names.len()
            ),
        }
    }

    /// Why it does not go on, as clauses.
    pub(super) fn obstacles(&self) -> Vec<String> {
        let mut clauses: Vec<String> = self
            .impossible
            .iter()
            .map(|impossible| impossible.reason.clone())
            .collect();
        if !self.useless.is_empty() {
            let useless = self.useless.iter();
            let named: Vec<String> = useless
                .map(|place| named(&self.operations[*place].operation))
                .collect();
            clauses.push(format!(
                "{} may have taken effect, which does not help",
                list(&named)
            ));
        }
        clauses
    }

    /// How much of the key's history this is, as a clause.
    pub(super) fn extent(&self) -> String {
        let shown = self.operations.len() + usize::from(self.started_by.is_some());
        let all = self.operations_of_key;
        if shown == all {
            format!("all {all} operations of the key matter")
        } else {
            format!("{shown} of {all} operations of the key matter")
        }
    }
}

impl fmt::Display for Counterexample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let obstacles = self.obstacles().join("; ");
        write!(f, "{}: {}; {obstacles}", self.title(), self.reached())?;
        let names = self.ordered();
        if names.len() > IN_A_SENTENCE {
            write!(f, "\nthe longest order ends:")?;
            let skipped = names.len().saturating_sub(IN_A_LIST);
            for (name, number) in names.iter().zip(1..).skip(skipped) {
                write!(f, "\n{number:>6}. {name}")?;
            }
        }
        write!(f, "\n{}", self.extent())
    }
}
