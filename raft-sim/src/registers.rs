//! The simulator's own state machine: registers with names of one letter.

use std::fmt;
use std::str::FromStr;

use raft_core::Bytes;
use raft_core::replica::{Applied, Command, CommandError, Serde, StateMachine};

use crate::workload::{Draw, Request, Workload};

/// How many registers there are: a to z.
const REGISTERS: usize = 26;

/// Numbers under the names `a` to `z`, none at first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Registers([Option<u64>; REGISTERS]);

/// What is done to a register: `a=5`, `a+=5`, `a:3>5`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct RegisterCommand {
    register: u8,
    change: Change,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Set(u64),
    Add(u64),
    /// To the second, if it is the first.
    Swap(u64, u64),
}

/// Which register is read: `a`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct RegisterQuery(u8);

/// What a register held before a change; what it holds, for a query.
pub type RegisterReply = Option<u64>;

fn place(register: u8) -> usize {
    usize::from(register) % REGISTERS
}

impl StateMachine for Registers {
    type Command = RegisterCommand;
    type Query = RegisterQuery;
    type Reply = RegisterReply;

    fn apply(&mut self, entry: Applied<RegisterCommand>) -> RegisterReply {
        let RegisterCommand { register, change } = entry.command;
        let slot = &mut self.0[place(register)];
        let before = *slot;
        match change {
            Change::Set(value) => *slot = Some(value),
            Change::Add(value) => *slot = Some(before.unwrap_or(0).wrapping_add(value)),
            Change::Swap(old, new) if before == Some(old) => *slot = Some(new),
            Change::Swap(..) => {}
        }
        before
    }

    fn query(&self, query: &RegisterQuery) -> RegisterReply {
        self.0[place(query.0)]
    }

    type Image = Serde<Vec<Option<u64>>>;

    fn image(&self) -> Serde<Vec<Option<u64>>> {
        Serde(self.0.to_vec())
    }

    fn restore(&mut self, image: Serde<Vec<Option<u64>>>) {
        let mut values = image.0.into_iter();
        self.0 = core::array::from_fn(|_| values.next().flatten());
    }
}

/// A kind, a register, two numbers.
const COMMAND_BYTES: usize = 18;

impl Command for RegisterCommand {
    fn encode(&self) -> Bytes {
        let (kind, one, other) = match self.change {
            Change::Set(value) => (0, value, 0),
            Change::Add(value) => (1, value, 0),
            Change::Swap(old, new) => (2, old, new),
        };
        let mut bytes = [0; COMMAND_BYTES];
        bytes[0] = kind;
        bytes[1] = self.register;
        bytes[2..10].copy_from_slice(&one.to_le_bytes());
        bytes[10..].copy_from_slice(&other.to_le_bytes());
        Bytes::copy_from_slice(&bytes)
    }

    fn decode(bytes: &Bytes) -> Result<Self, CommandError> {
        let wrong = || CommandError(format!("{} bytes are no register command", bytes.len()));
        let [kind, register, rest @ ..] = &bytes[..] else {
            return Err(wrong());
        };
        if bytes.len() != COMMAND_BYTES {
            return Err(wrong());
        }
        let one = rest
            .first_chunk()
            .map(|b| u64::from_le_bytes(*b))
            .ok_or_else(wrong)?;
        let other = rest
            .last_chunk()
            .map(|b| u64::from_le_bytes(*b))
            .ok_or_else(wrong)?;
        let change = match kind {
            0 => Change::Set(one),
            1 => Change::Add(one),
            2 => Change::Swap(one, other),
            _ => return Err(wrong()),
        };
        Ok(Self {
            register: *register,
            change,
        })
    }
}

fn letter(register: u8) -> char {
    char::from(b'a' + register % 26)
}

impl fmt::Display for RegisterCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = letter(self.register);
        match self.change {
            Change::Set(value) => write!(f, "{name}={value}"),
            Change::Add(value) => write!(f, "{name}+={value}"),
            Change::Swap(old, new) => write!(f, "{name}:{old}>{new}"),
        }
    }
}

impl fmt::Display for RegisterQuery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", letter(self.0))
    }
}

/// As in a scenario: that is what stories show.
impl fmt::Debug for RegisterCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// As in a scenario: that is what stories show.
impl fmt::Debug for RegisterQuery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

fn register(name: &str) -> Option<u8> {
    match name.as_bytes() {
        [letter @ b'a'..=b'z'] => Some(letter - b'a'),
        _ => None,
    }
}

impl FromStr for RegisterCommand {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parse = || {
            let change = |name: &str, change| {
                let register = register(name)?;
                Some(Self { register, change })
            };
            if let Some((name, value)) = text.split_once("+=") {
                change(name, Change::Add(value.parse().ok()?))
            } else if let Some((name, value)) = text.split_once('=') {
                change(name, Change::Set(value.parse().ok()?))
            } else {
                let (name, values) = text.split_once(':')?;
                let (old, new) = values.split_once('>')?;
                change(name, Change::Swap(old.parse().ok()?, new.parse().ok()?))
            }
        };
        parse().ok_or_else(|| {
            format!("expected a change of a register like a=5, a+=5 or a:3>5, found \"{text}\"")
        })
    }
}

impl FromStr for RegisterQuery {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("expected a register from a to z, found \"{text}\"");
        register(text).map(Self).ok_or_else(wrong)
    }
}

/// Clients that write, add, compare and swap, and read.
#[derive(Clone, Copy, Debug, Default)]
pub struct RegisterWorkload;

impl Workload for RegisterWorkload {
    type Machine = Registers;

    fn machine(&self) -> Registers {
        Registers::default()
    }

    fn request(&self, draw: &mut Draw) -> Request<RegisterCommand, RegisterQuery> {
        // Few registers, so that operations meet.
        let register = u8::try_from(draw.below(5)).unwrap_or(0);
        let small = draw.below(4);
        let change = match draw.below(10) {
            0..=3 => return Request::Query(RegisterQuery(register)),
            4..=6 => Change::Set(draw.below(1 << 32)),
            7 | 8 => Change::Add(small),
            _ => Change::Swap(small, draw.below(4)),
        };
        Request::Command(RegisterCommand { register, change })
    }
}

#[cfg(test)]
mod tests {
    use super::{RegisterCommand, RegisterQuery};
    use raft_core::Bytes;
    use raft_core::replica::Command;

    #[test]
    fn commands_are_what_they_are_printed_and_encoded_as() {
        for text in ["a=5", "b+=7", "z:3>18446744073709551615"] {
            let command: RegisterCommand = text.parse().unwrap();
            assert_eq!(command.to_string(), text);
            assert_eq!(RegisterCommand::decode(&command.encode()).unwrap(), command);
        }
        for text in ["", "A=1", "a", "ab=1", "a=x", "a:1", "a=-1"] {
            assert!(text.parse::<RegisterCommand>().is_err(), "{text}");
        }
        assert!("a".parse::<RegisterQuery>().is_ok());
        assert!("aa".parse::<RegisterQuery>().is_err());
        for length in 0..18 {
            let short = Bytes::from(vec![0; length]);
            assert!(RegisterCommand::decode(&short).is_err());
        }
    }
}
