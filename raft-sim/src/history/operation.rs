//! What clients did and saw, whether recorded in code or parsed from a file.
//!
//! Always holds: two values are equal exactly if their texts are.

use std::fmt;

/// What a key can hold: a JSON scalar.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Value {
    /// Nothing: what a key holds that was never written.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number; `1` and `1.0` are the same one.
    Integer(i128),
    /// A number with a fraction, as its shortest JSON text; only parsing makes these.
    Fraction(String),
    /// A string.
    Text(String),
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Integer(value.into())
    }
}

impl From<u64> for Value {
    fn from(value: u64) -> Self {
        Self::Integer(value.into())
    }
}

// What a bare `1` becomes where any of these would do.
impl From<i32> for Value {
    fn from(value: i32) -> Self {
        Self::Integer(value.into())
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::Text(value.to_owned())
    }
}

impl From<String> for Value {
    fn from(value: String) -> Self {
        Self::Text(value)
    }
}

/// JSON, in which control characters are escaped, so that a terminal shows them and does not obey.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool(value) => value.fmt(f),
            Self::Integer(value) => value.fmt(f),
            Self::Fraction(text) => f.write_str(text),
            Self::Text(text) => {
                f.write_str("\"")?;
                for char in text.chars() {
                    match char {
                        '"' => f.write_str("\\\"")?,
                        '\\' => f.write_str("\\\\")?,
                        // All of them are below U+00A0, so four digits do.
                        char if char.is_control() => write!(f, "\\u{:04x}", u32::from(char))?,
                        char => write!(f, "{char}")?,
                    }
                }
                f.write_str("\"")
            }
        }
    }
}

/// What an operation asked for, and what it saw.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Call {
    /// The key held this.
    Read(Value),
    /// The key holds this from now on.
    Write(Value),
    /// Compare and set.
    Cas {
        /// What the key must hold.
        old: Value,
        /// What it holds afterwards, if it did.
        new: Value,
        /// Whether it did. `false` is an observation: the key held something else than `old`. An
        /// operation of unknown outcome says `true`, since without effect it is as if never sent.
        succeeded: bool,
    },
    /// This is added to the end of the string that the key holds; `Null` counts as the empty string.
    Append(String),
}

impl Call {
    /// The value that it compares the key with.
    pub(super) const fn observed(&self) -> Option<&Value> {
        match self {
            Self::Read(value) | Self::Cas { old: value, .. } => Some(value),
            Self::Write(_) | Self::Append(_) => None,
        }
    }

    /// The value that the key holds after it, if it has an effect and that is known.
    pub(super) const fn produced(&self) -> Option<&Value> {
        match self {
            Self::Write(value)
            | Self::Cas {
                new: value,
                succeeded: true,
                ..
            } => Some(value),
            Self::Read(_) | Self::Cas { .. } | Self::Append(_) => None,
        }
    }

    pub(super) const fn is_failed_cas(&self) -> bool {
        matches!(
            self,
            Self::Cas {
                succeeded: false,
                ..
            }
        )
    }

    /// Whether the key holds the same before and after, whatever that is.
    pub(super) fn only_observes(&self) -> bool {
        match self {
            Self::Read(_) => true,
            Self::Cas {
                old,
                new,
                succeeded,
            } => !succeeded || old == new,
            Self::Write(_) | Self::Append(_) => false,
        }
    }
}

/// The lines of a file that an operation was parsed from, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lines {
    /// The invocation.
    pub invoked: usize,
    /// The completion, if the file has one.
    pub completed: Option<usize>,
}

/// One operation of one client.
///
/// ```
/// use raft_sim::history::{Call, Operation};
///
/// let write = Operation::new(0, "x", Call::Write(1.into()), 10, Some(20));
/// assert_eq!(write.key, "\"x\"");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// The client; it has one operation open at a time, though one of unknown outcome stays open.
    pub process: u64,
    /// The JSON text of the key, so that `1` and `"1"` are two keys; empty if keys have no name.
    pub key: String,
    /// What it asked for, and what it saw.
    pub call: Call,
    /// When it was sent, in any unit.
    pub invoked: u64,
    /// When its outcome was known, not before `invoked`; `None` if it never was, so that it takes
    /// effect at any time after `invoked`, or never.
    pub returned: Option<u64>,
    /// Where it was parsed from.
    pub lines: Option<Lines>,
}

impl Operation {
    /// An operation that was observed while the program ran.
    pub fn new(
        process: u64,
        key: impl Into<Value>,
        call: Call,
        invoked: u64,
        returned: Option<u64>,
    ) -> Self {
        Self {
            process,
            key: key.into().to_string(),
            call,
            invoked,
            returned,
            lines: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Call, Operation, Value};

    #[test]
    fn values_are_shown_as_json() {
        for (value, text) in [
            (Value::Null, "null"),
            (true.into(), "true"),
            ((-3).into(), "-3"),
            (u64::MAX.into(), "18446744073709551615"),
            ("a\"b\\c\n\u{9b}é".into(), r#""a\"b\\c\u000a\u009bé""#),
        ] {
            assert_eq!(value.to_string(), text);
            serde_json::from_str::<serde_json::Value>(text).unwrap();
        }
    }

    #[test]
    fn keys_of_different_kinds_are_different_keys() {
        let key = |key: Value| Operation::new(0, key, Call::Read(Value::Null), 0, None).key;
        let keys = [Value::Null, "null".into(), 1.into(), "1".into(), "".into()].map(key);
        assert_eq!(keys, ["null", "\"null\"", "1", "\"1\"", "\"\""]);
    }
}
