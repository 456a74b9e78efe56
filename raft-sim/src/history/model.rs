//! What the operations mean, on plain values and on small numbers that stand for them.
//!
//! Always holds: for every operation of the history, two states that are the same number behave alike.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use super::operation::{Call, Value};

/// What a key is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModelKind {
    /// A value that is read, written, and compared and set.
    Register,
    /// A register that holds strings, to which one can also append.
    Kv,
}

/// The name of a model that does not exist.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected model `register` or `kv`, found `{0}`")]
pub struct UnknownModel(String);

impl FromStr for ModelKind {
    type Err = UnknownModel;

    fn from_str(name: &str) -> Result<Self, UnknownModel> {
        match name {
            "register" => Ok(Self::Register),
            "kv" => Ok(Self::Kv),
            other => Err(UnknownModel(other.to_owned())),
        }
    }
}

impl fmt::Display for ModelKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Register => "register",
            Self::Kv => "kv",
        })
    }
}

/// Lets `call` take effect on `value`; whether it can, given what it saw.
pub(super) fn apply(call: &Call, value: &mut Value) -> bool {
    match call {
        Call::Read(seen) => value == seen,
        Call::Write(new) => {
            value.clone_from(new);
            true
        }
        Call::Cas {
            old,
            new,
            succeeded,
        } => {
            let equal = value == old;
            if equal && *succeeded {
                value.clone_from(new);
            }
            equal == *succeeded
        }
        Call::Append(suffix) => match value {
            Value::Text(text) => {
                text.push_str(suffix);
                true
            }
            Value::Null => {
                *value = Value::Text(suffix.clone());
                true
            }
            // A store refuses this, so it would not have answered `ok`.
            Value::Bool(_) | Value::Integer(_) | Value::Fraction(_) => false,
        },
    }
}

/// Stands for what a key holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum State {
    /// Some value that no operation compares with, so all of these behave alike.
    Unseen,
    /// Some string such that no operation compares with one that begins with it: nor will any be that
    /// comes of appending, so these behave alike too.
    UnseenText,
    /// A value of the list.
    Listed(usize),
    /// A string that ends at this node of the tree, which begins one that an operation compares with.
    Text(usize),
}

/// A [`Call`] whose values are states.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Step<'a> {
    Read(State),
    Write(State),
    Cas { old: State, new: State },
    FailedCas(State),
    Append(&'a str),
}

impl Step<'_> {
    pub(super) const fn is_write(self) -> bool {
        matches!(self, Self::Write(_))
    }

    /// Whether the state is the same before and after, whatever it is.
    pub(super) fn only_observes(self) -> bool {
        match self {
            Self::Read(_) | Self::FailedCas(_) => true,
            // Values that nobody compares with are one state, but what is compared with is listed.
            Self::Cas { old, new } => old == new,
            Self::Write(_) | Self::Append(_) => false,
        }
    }

    /// How long it takes to do, in lookups.
    pub(super) fn cost(self) -> u64 {
        match self {
            Self::Append(suffix) => 1 + suffix.len() as u64 / 16,
            Self::Read(_) | Self::Write(_) | Self::Cas { .. } | Self::FailedCas(_) => 1,
        }
    }
}

/// One byte of strings that begin alike: the values of a key to which many append take the memory of
/// the longest, not of all.
#[derive(Clone, Copy, Debug)]
struct Node {
    byte: u8,
    /// The first that continues here; 0, the root, is none's child.
    child: usize,
    /// The next that continues where this one does.
    sibling: usize,
}

/// All states of one key.
#[derive(Debug)]
pub(super) struct States<'a> {
    listed: BTreeMap<&'a Value, usize>,
    tree: Vec<Node>,
    /// Whether something appends, so that how strings begin matters. Otherwise they are listed.
    appends: bool,
}

impl<'a> States<'a> {
    /// The states that `calls` can tell apart.
    pub(super) fn new(model: ModelKind, calls: impl Iterator<Item = &'a Call> + Clone) -> Self {
        let appends =
            model == ModelKind::Kv && calls.clone().any(|call| matches!(call, Call::Append(_)));
        let mut values: BTreeSet<&Value> = calls.filter_map(Call::observed).collect();
        let root = Node {
            byte: 0,
            child: 0,
            sibling: 0,
        };
        let mut states = Self {
            listed: BTreeMap::new(),
            tree: vec![root],
            appends,
        };
        if appends {
            for value in &values {
                if let Value::Text(text) = value {
                    states.plant(text);
                }
            }
            values.retain(|value| !matches!(value, Value::Text(_)));
            // One can append to it.
            values.insert(&Value::Null);
        }
        states.listed = values.into_iter().zip(0..).collect();
        states
    }

    pub(super) fn step(&self, call: &'a Call) -> Step<'a> {
        match call {
            Call::Read(value) => Step::Read(self.state(value)),
            Call::Write(value) => Step::Write(self.state(value)),
            Call::Cas {
                old,
                new,
                succeeded: true,
            } => Step::Cas {
                old: self.state(old),
                new: self.state(new),
            },
            Call::Cas { old, .. } => Step::FailedCas(self.state(old)),
            Call::Append(suffix) => Step::Append(suffix),
        }
    }

    pub(super) fn state(&self, value: &Value) -> State {
        match value {
            Value::Text(text) if self.appends => self.extend(0, text),
            Value::Null
            | Value::Bool(_)
            | Value::Integer(_)
            | Value::Fraction(_)
            | Value::Text(_) => self
                .listed
                .get(value)
                .map_or(State::Unseen, |place| State::Listed(*place)),
        }
    }

    /// Where the string goes on that ends at `node`; 0 if nowhere.
    fn next(&self, node: usize, byte: u8) -> usize {
        let mut next = self.tree[node].child;
        while next != 0 && self.tree[next].byte != byte {
            next = self.tree[next].sibling;
        }
        next
    }

    /// Adds `text` to the tree.
    fn plant(&mut self, text: &str) {
        let mut node = 0;
        for byte in text.bytes() {
            let mut next = self.next(node, byte);
            if next == 0 {
                next = self.tree.len();
                let sibling = std::mem::replace(&mut self.tree[node].child, next);
                self.tree.push(Node {
                    byte,
                    child: 0,
                    sibling,
                });
            }
            node = next;
        }
    }

    /// The string of `node` with `suffix` added.
    fn extend(&self, mut node: usize, suffix: &str) -> State {
        for byte in suffix.bytes() {
            node = self.next(node, byte);
            if node == 0 {
                return State::UnseenText;
            }
        }
        State::Text(node)
    }

    /// The state after `suffix` was added, if that is possible.
    fn append(&self, state: State, suffix: &str) -> Option<State> {
        match state {
            State::UnseenText => Some(state),
            State::Text(node) => Some(self.extend(node, suffix)),
            State::Listed(place) => (self.appends && self.listed.get(&Value::Null) == Some(&place))
                .then(|| self.extend(0, suffix)),
            State::Unseen => None,
        }
    }

    /// The state after `step`, unless what it saw contradicts `state`.
    pub(super) fn apply(&self, step: Step<'_>, state: State) -> Option<State> {
        match step {
            Step::Read(seen) => (state == seen).then_some(state),
            Step::Write(new) => Some(new),
            Step::Cas { old, new } => (state == old).then_some(new),
            Step::FailedCas(old) => (state != old).then_some(state),
            Step::Append(suffix) => self.append(state, suffix),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{ModelKind, State, States, apply};
    use crate::history::operation::{Call, Value};
    use quickcheck::quickcheck;

    fn call((kind, first, second): (u8, u8, u8)) -> Call {
        let value = |number: u8| match number % 6 {
            0 => Value::Null,
            1 => 1.into(),
            2 => "".into(),
            3 => "a".into(),
            4 => "aa".into(),
            _ => "ab".into(),
        };
        match kind % 5 {
            0 => Call::Read(value(first)),
            1 => Call::Write(value(first)),
            2 | 3 => Call::Cas {
                old: value(first),
                new: value(second),
                succeeded: kind % 5 == 2,
            },
            _ => Call::Append(["", "a", "b", "ab"][usize::from(first % 4)].to_owned()),
        }
    }

    quickcheck! {
        fn states_do_what_values_do(calls: Vec<(u8, u8, u8)>) -> bool {
            let calls: Vec<Call> = calls.into_iter().map(call).collect();
            let states = States::new(ModelKind::Kv, calls.iter());
            let mut value = Value::Null;
            let mut state = states.state(&value);
            for call in &calls {
                let next = states.apply(states.step(call), state);
                let mut changed = value.clone();
                if apply(call, &mut changed) != next.is_some() {
                    return false;
                }
                if let Some(next) = next {
                    (state, value) = (next, changed);
                }
            }
            true
        }
    }

    #[test]
    fn values_that_nobody_compares_with_are_one_state() {
        let write = |value: i32| Call::Write(value.into());
        let calls = [write(1), write(2), write(3), Call::Read(3.into())];
        let states = States::new(ModelKind::Register, calls.iter());
        assert_eq!(states.state(&Value::Null), State::Unseen);
        assert_eq!(states.step(&calls[0]), states.step(&calls[1]));
        assert_ne!(states.step(&calls[1]), states.step(&calls[2]));
    }

    #[test]
    fn strings_that_grow_take_the_memory_of_the_longest() {
        let mut calls = vec![Call::Append("0123456789".to_owned())];
        let mut value = String::new();
        for _ in 0..100 {
            value.push_str("0123456789");
            calls.push(Call::Read(value.as_str().into()));
        }
        let states = States::new(ModelKind::Kv, calls.iter());
        assert_eq!(states.tree.len(), 1_001);
        let mut state = states.state(&Value::Null);
        for read in &calls[1..] {
            state = states.apply(states.step(&calls[0]), state).unwrap();
            assert_eq!(states.apply(states.step(read), state), Some(state));
        }
        assert_eq!(
            states.apply(states.step(&calls[0]), state),
            Some(State::UnseenText)
        );
    }

    #[test]
    fn models_have_names() {
        for model in [ModelKind::Register, ModelKind::Kv] {
            assert_eq!(model.to_string().parse(), Ok(model));
        }
        assert_eq!(
            "queue".parse::<ModelKind>().unwrap_err().to_string(),
            "expected model `register` or `kv`, found `queue`"
        );
    }
}
