//! Histories as JSON lines.
//!
//! Always holds: every error names its line; nothing in the input makes the parser panic.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::io::{self, BufRead};

use super::json::{Fields, Json};
use super::model::ModelKind;
use super::operation::{Call, Lines, Operation, Value};

/// Why a history cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// The file could not be read.
    #[error("cannot read line {line}: {source}")]
    Io {
        /// From 1.
        line: usize,
        /// What the operating system says.
        source: io::Error,
    },
    /// A line is not what it should be.
    #[error("line {line}: expected {expected}, found {found}")]
    Line {
        /// From 1.
        line: usize,
        /// What would have been right.
        expected: String,
        /// What is there.
        found: String,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Function {
    Read,
    Write,
    Cas,
    Append,
}

impl Function {
    const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Cas => "cas",
            Self::Append => "append",
        }
    }
}

#[derive(Debug)]
enum Kind {
    /// With what is known of the call; nothing of a read.
    Invoke(Option<Call>),
    Ok(Json),
    Fail,
    Info,
}

/// What every line says.
#[derive(Debug)]
struct Head {
    line: usize,
    time: u64,
    process: u64,
    function: Function,
    /// `None` if it is missing.
    key: Option<String>,
}

/// One line, understood.
#[derive(Debug)]
struct Event {
    head: Head,
    kind: Kind,
}

/// An operation that has no completion yet.
#[derive(Debug)]
struct Open {
    head: Head,
    /// `None` for a read.
    call: Option<Call>,
}

/// Reads a history; the operations are in the order of their invocations.
///
/// Operations that say nothing, like a read that failed, are left out. The format is described at the
/// top of this module.
///
/// # Errors
///
/// The first line that cannot be read or understood; then the first by time that contradicts those
/// before it.
pub fn parse(mut text: impl BufRead, model: ModelKind) -> Result<Vec<Operation>, HistoryError> {
    let mut events = Vec::new();
    let mut bytes = Vec::new();
    for line in 1.. {
        bytes.clear();
        let read = text.read_until(b'\n', &mut bytes);
        if read.map_err(|source| HistoryError::Io { line, source })? == 0 {
            break;
        }
        let bytes = bytes.trim_ascii();
        if !bytes.is_empty() {
            events.push(Place(line).event(bytes, model)?);
        }
    }
    // Stable: at equal times the order of the lines stays.
    events.sort_by_key(|event| event.head.time);
    pair(events)
}

/// Where something is expected: a line.
#[derive(Clone, Copy)]
struct Place(usize);

impl Place {
    fn error(self, expected: impl Into<String>, found: impl Into<String>) -> HistoryError {
        HistoryError::Line {
            line: self.0,
            expected: expected.into(),
            found: found.into(),
        }
    }

    fn event(self, bytes: &[u8], model: ModelKind) -> Result<Event, HistoryError> {
        if bytes[0] != b'{' {
            let start = String::from_utf8_lossy(&bytes[..bytes.len().min(20)]);
            return Err(self.error("a JSON object", format!("text that starts {start:?}")));
        }
        let fields: Fields = serde_json::from_slice(bytes).map_err(|error| {
            // It is parsed alone, so its line is always 1.
            let reason = error.to_string();
            let reason = reason.split(" at line ").next().unwrap_or_default();
            let column = error.column();
            self.error("a JSON object", format!("{reason} at column {column}"))
        })?;
        let function = self.function(&fields.f, model)?;
        Ok(Event {
            head: Head {
                line: self.0,
                time: self.number("time", &fields.time)?,
                process: self.number("process", &fields.process)?,
                function,
                key: match fields.key {
                    Json::Missing => None,
                    Json::Scalar(key) => Some(key.to_string()),
                    found @ (Json::Pair(..) | Json::Other(_)) => {
                        return Err(self.error("a scalar `key`", found.to_string()));
                    }
                },
            },
            kind: self.kind(&fields.kind, function, fields.value)?,
        })
    }

    fn number(self, name: &str, json: &Json) -> Result<u64, HistoryError> {
        if let Json::Scalar(Value::Integer(number)) = json
            && let Ok(number) = u64::try_from(*number)
        {
            return Ok(number);
        }
        let expected = format!("a whole number of 64 bits as `{name}`");
        Err(self.error(expected, json.to_string()))
    }

    fn function(self, json: &Json, model: ModelKind) -> Result<Function, HistoryError> {
        let functions = match model {
            ModelKind::Register => &[Function::Read, Function::Write, Function::Cas][..],
            ModelKind::Kv => &[
                Function::Read,
                Function::Write,
                Function::Cas,
                Function::Append,
            ],
        };
        let named = functions
            .iter()
            .find(|function| *json == Json::Scalar(function.name().into()));
        named.copied().ok_or_else(|| {
            let names: Vec<String> = functions
                .iter()
                .map(|function| format!("`{}`", function.name()))
                .collect();
            let (last, first) = names.split_last().expect("each model has functions");
            let first = first.join(", ");
            let expected = format!("{first} or {last} as `f` in the model `{model}`");
            self.error(expected, json.to_string())
        })
    }

    fn kind(self, json: &Json, function: Function, value: Json) -> Result<Kind, HistoryError> {
        let name = match json {
            Json::Scalar(Value::Text(name)) => name.as_str(),
            Json::Missing | Json::Scalar(_) | Json::Pair(..) | Json::Other(_) => "",
        };
        match name {
            "invoke" => Ok(Kind::Invoke(self.call(function, value)?)),
            "ok" => Ok(Kind::Ok(value)),
            "fail" => Ok(Kind::Fail),
            "info" => Ok(Kind::Info),
            _ => Err(self.error(
                "`invoke`, `ok`, `fail` or `info` as `type`",
                json.to_string(),
            )),
        }
    }

    fn call(self, function: Function, value: Json) -> Result<Option<Call>, HistoryError> {
        match (function, value) {
            (Function::Read, _) => Ok(None),
            (Function::Write, Json::Scalar(value)) => Ok(Some(Call::Write(value))),
            (Function::Cas, Json::Pair(old, new)) => Ok(Some(Call::Cas {
                old,
                new,
                succeeded: true,
            })),
            (Function::Append, Json::Scalar(Value::Text(suffix))) => Ok(Some(Call::Append(suffix))),
            (Function::Write, found) => {
                Err(self.error("a scalar `value` to write", found.to_string()))
            }
            (Function::Cas, found) => {
                Err(self.error("[old, new] as `value` of cas", found.to_string()))
            }
            (Function::Append, found) => {
                Err(self.error("a string `value` to append", found.to_string()))
            }
        }
    }
}

impl Kind {
    const fn name(&self) -> &'static str {
        match self {
            Self::Invoke(_) => "invoke",
            Self::Ok(_) => "ok",
            Self::Fail => "fail",
            Self::Info => "info",
        }
    }
}

impl Head {
    /// What the line says, for messages.
    fn described(&self, kind: &str) -> String {
        let key = self.key.as_deref().map(|key| format!(" of key {key}"));
        format!(
            "{kind} of {}{}",
            self.function.name(),
            key.unwrap_or_default()
        )
    }
}

/// Brings invocations and completions together.
fn pair(events: Vec<Event>) -> Result<Vec<Operation>, HistoryError> {
    let mut open: BTreeMap<u64, Open> = BTreeMap::new();
    let mut operations = Vec::new();
    for Event { head, kind } in events {
        let (place, process) = (Place(head.line), head.process);
        if let Kind::Invoke(call) = kind {
            if let Some(earlier) = open.get(&process) {
                let line = earlier.head.line;
                let expected =
                    format!("a completion of what process {process} invoked on line {line}");
                return Err(place.error(expected, head.described("invoke")));
            }
            open.insert(process, Open { head, call });
            continue;
        }
        let found = |expected| place.error(expected, head.described(kind.name()));
        let Some(invoked) = open.remove(&process) else {
            let time = head.time;
            return Err(found(format!(
                "an invoke of process {process} before this, at time {time} or earlier"
            )));
        };
        let same_key = head.key.is_none() || head.key == invoked.head.key;
        if invoked.head.function != head.function || !same_key {
            return Err(found(format!(
                "a completion of line {}, {}",
                invoked.head.line,
                invoked.head.described("invoke")
            )));
        }
        operations.extend(complete(invoked, &head, kind)?);
    }
    operations.extend(open.into_values().filter_map(|open| open.unknown(None)));
    operations.sort_by_key(|operation| (operation.invoked, operation.lines));
    Ok(operations)
}

/// The operation; `None` if it says nothing.
fn complete(open: Open, head: &Head, kind: Kind) -> Result<Option<Operation>, HistoryError> {
    let place = Place(head.line);
    let call = match (kind, &open.call) {
        (Kind::Invoke(_) | Kind::Info, _) => return Ok(open.unknown(Some(head.line))),
        (Kind::Ok(Json::Scalar(value)), None) => Some(Call::Read(value)),
        (Kind::Ok(found), None) => {
            return Err(place.error("the scalar `value` that was read", found.to_string()));
        }
        (Kind::Ok(found), Some(call)) => {
            let invoked = match call {
                Call::Read(value) | Call::Write(value) => Json::Scalar(value.clone()),
                Call::Cas { old, new, .. } => Json::Pair(old.clone(), new.clone()),
                Call::Append(suffix) => Json::Scalar(suffix.as_str().into()),
            };
            // Some write null where there is nothing to say.
            if ![Json::Missing, Json::Scalar(Value::Null)].contains(&found) && found != invoked {
                let expected = format!("{invoked} again, or no `value`");
                return Err(place.error(expected, found.to_string()));
            }
            open.call.clone()
        }
        (Kind::Fail, Some(Call::Cas { old, new, .. })) => Some(Call::Cas {
            old: old.clone(),
            new: new.clone(),
            succeeded: false,
        }),
        (Kind::Fail, Some(Call::Read(_) | Call::Write(_) | Call::Append(_)) | None) => None,
    };
    Ok(call.map(|call| open.operation(call, Some(head.line), Some(head.time))))
}

impl Open {
    /// The operation if its outcome is unknown, unless it is a read.
    fn unknown(mut self, completed: Option<usize>) -> Option<Operation> {
        let call = self.call.take()?;
        Some(self.operation(call, completed, None))
    }

    fn operation(self, call: Call, completed: Option<usize>, returned: Option<u64>) -> Operation {
        Operation {
            process: self.head.process,
            key: self.head.key.unwrap_or_default(),
            call,
            invoked: self.head.time,
            returned,
            lines: Some(Lines {
                invoked: self.head.line,
                completed,
            }),
        }
    }
}

/// Writes a history as [`parse`] reads it, provided that each process has one operation open at a time.
///
/// A key that is no JSON is written as a string. Reads without result come out as `info`.
///
/// ```
/// use raft_sim::history::{Call, ModelKind, Operation, parse, to_json_lines};
///
/// let written = [Operation::new(0, "x", Call::Write(1.into()), 10, Some(20))];
/// let text = to_json_lines(&written);
/// let read = parse(text.as_bytes(), ModelKind::Register)?;
/// assert_eq!(read[0].call, written[0].call);
/// # Ok::<(), raft_sim::history::HistoryError>(())
/// ```
#[must_use]
pub fn to_json_lines(operations: &[Operation]) -> String {
    let mut operations: Vec<&Operation> = operations.iter().collect();
    operations.sort_by_key(|operation| {
        (
            operation.invoked,
            operation.returned.is_none(),
            operation.returned,
        )
    });
    let mut lines: Vec<(u64, &Operation, Written)> = Vec::new();
    for operation in operations {
        lines.push((operation.invoked, operation, Written::Invoke));
        // Nothing is learned from when an outcome became unknown, and the process may go on.
        let returned = operation.returned.unwrap_or(operation.invoked);
        lines.push((returned, operation, Written::Completion));
    }
    lines.sort_by_key(|(time, _, _)| *time);
    let mut text = String::new();
    for (index, (time, operation, written)) in lines.into_iter().enumerate() {
        let process = operation.process;
        let (kind, function, value) = written.fields(operation);
        let key = match operation.key.as_str() {
            "" => String::new(),
            key if serde_json::from_str::<serde_json::Value>(key).is_ok() => {
                format!(r#","key":{key}"#)
            }
            key => format!(r#","key":{}"#, Value::from(key)),
        };
        writeln!(
            text,
            r#"{{"index":{index},"time":{time},"process":{process},"type":"{kind}","f":"{function}"{key},"value":{value}}}"#,
        )
        .expect("a string takes everything");
    }
    text
}

#[derive(Clone, Copy)]
enum Written {
    Invoke,
    Completion,
}

impl Written {
    /// Type, function and value.
    fn fields(self, operation: &Operation) -> (&'static str, &'static str, String) {
        let (function, value) = match &operation.call {
            Call::Read(value) => ("read", value.to_string()),
            Call::Write(value) => ("write", value.to_string()),
            Call::Cas { old, new, .. } => ("cas", format!("[{old},{new}]")),
            Call::Append(suffix) => ("append", Value::from(suffix.as_str()).to_string()),
        };
        match (self, operation.returned) {
            (Self::Invoke, _) if function == "read" => ("invoke", function, "null".to_owned()),
            (Self::Invoke, _) => ("invoke", function, value),
            (Self::Completion, None) => ("info", function, value),
            (Self::Completion, Some(_)) if operation.call.is_failed_cas() => {
                ("fail", function, value)
            }
            (Self::Completion, Some(_)) => ("ok", function, value),
        }
    }
}
