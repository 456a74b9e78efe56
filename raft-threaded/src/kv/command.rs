//! What the key-value store replicates, and what it is asked.

use bytes::Bytes;
use raft_core::replica::{Command, CommandError};

/// When a `Set` takes effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// Always.
    Always,
    /// Only if there is no value (`NX`).
    Absent,
    /// Only if there is one (`XX`).
    Present,
}

/// A change of the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KvCommand {
    /// Sets a value; answers whether it did, or the value before.
    Set {
        /// The key.
        key: Bytes,
        /// The value.
        value: Bytes,
        /// When it takes effect.
        condition: Condition,
        /// Whether to answer the value before (`GET`).
        get: bool,
    },
    /// Sets a value if there is none; answers 1 or 0.
    SetNx {
        /// The key.
        key: Bytes,
        /// The value.
        value: Bytes,
    },
    /// Sets several values at once.
    MSet(Vec<(Bytes, Bytes)>),
    /// Removes a value and answers it.
    GetDel(Bytes),
    /// Removes values and answers how many there were.
    Del(Vec<Bytes>),
    /// Adds to a number and answers the sum.
    IncrBy {
        /// The key.
        key: Bytes,
        /// What to add.
        by: i64,
    },
    /// Appends to a value and answers its length.
    Append {
        /// The key.
        key: Bytes,
        /// What to append.
        value: Bytes,
    },
    /// Removes everything.
    FlushAll,
}

/// A question that changes nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KvQuery {
    /// A value.
    Get(Bytes),
    /// Several values.
    MGet(Vec<Bytes>),
    /// How many of these keys have a value, each counted as often as it is named.
    Exists(Vec<Bytes>),
    /// The length of a value.
    StrLen(Bytes),
    /// The kind of a value.
    Type(Bytes),
    /// Some of the keys, and where to go on.
    Scan {
        /// Where to go on; 0 at the beginning.
        cursor: u64,
        /// Only keys like this.
        pattern: Option<Bytes>,
        /// About how many keys to look at.
        count: u64,
        /// Only values of this kind.
        kind: Option<Bytes>,
    },
    /// How many keys there are.
    DbSize,
}

/// The length in front of each argument.
const LENGTH_BYTES: usize = 4;

/// The first byte of an encoded command. Numbers stay as they are: they are in logs.
mod op {
    pub(super) const SET: u8 = 1;
    pub(super) const SET_NX: u8 = 2;
    pub(super) const M_SET: u8 = 3;
    pub(super) const GET_DEL: u8 = 4;
    pub(super) const DEL: u8 = 5;
    pub(super) const INCR_BY: u8 = 6;
    pub(super) const APPEND: u8 = 7;
    pub(super) const FLUSH_ALL: u8 = 8;
}

impl KvCommand {
    /// Tells it from other commands: a checksum of its encoded form, which costs no copy.
    pub(super) fn digest(&self) -> u32 {
        self.in_parts(|op, flags, arguments| {
            let mut digest = crc32fast::Hasher::new();
            digest.update(&[op, flags]);
            for argument in arguments {
                digest.update(&length(argument));
                digest.update(argument);
            }
            digest.finalize()
        })
    }

    /// The first key of an encoded command, if it has one.
    pub(super) fn first_key(encoded: &[u8]) -> Option<&[u8]> {
        Some(split_argument(encoded.get(2..)?)?.0)
    }

    /// Key and value of an encoded command that sets a value whatever there is, and answers nothing of it.
    pub(super) fn plain_set(encoded: &[u8]) -> Option<(&[u8], &[u8])> {
        let ([op::SET, 0], rest) = encoded.split_first_chunk()? else {
            return None;
        };
        let (key, rest) = split_argument(rest)?;
        let (value, rest) = split_argument(rest)?;
        rest.is_empty().then_some((key, value))
    }

    /// Its operation, its flags and its arguments, for as long as they are looked at.
    fn in_parts<T>(&self, take: impl FnOnce(u8, u8, &[&[u8]]) -> T) -> T {
        match self {
            Self::Set {
                key,
                value,
                condition,
                get,
            } => {
                let condition = match condition {
                    Condition::Always => 0,
                    Condition::Absent => 1,
                    Condition::Present => 2,
                };
                take(op::SET, condition | u8::from(*get) << 2, &[key, value])
            }
            Self::SetNx { key, value } => take(op::SET_NX, 0, &[key, value]),
            Self::MSet(pairs) => {
                let pairs = pairs.iter();
                let pairs = pairs.flat_map(|(key, value)| [&key[..], &value[..]]);
                take(op::M_SET, 0, &pairs.collect::<Vec<_>>())
            }
            Self::GetDel(key) => take(op::GET_DEL, 0, &[key]),
            Self::Del(keys) => {
                let keys = keys.iter().map(|key| &key[..]);
                take(op::DEL, 0, &keys.collect::<Vec<_>>())
            }
            Self::IncrBy { key, by } => take(op::INCR_BY, 0, &[key, &by.to_le_bytes()]),
            Self::Append { key, value } => take(op::APPEND, 0, &[key, value]),
            Self::FlushAll => take(op::FLUSH_ALL, 0, &[]),
        }
    }
}

impl Command for KvCommand {
    fn encode(&self) -> Bytes {
        let mut out = Vec::new();
        self.encode_into(&mut out);
        Bytes::from(out)
    }

    /// Operation, flags, then each argument with its length in front.
    fn encode_into(&self, out: &mut Vec<u8>) {
        self.in_parts(|op, flags, arguments| {
            let size: usize = arguments.iter().map(|a| a.len() + 4).sum();
            out.reserve(2 + size);
            out.extend_from_slice(&[op, flags]);
            for argument in arguments {
                out.extend_from_slice(&length(argument));
                out.extend_from_slice(argument);
            }
        });
    }

    fn decode(bytes: &Bytes) -> Result<Self, CommandError> {
        let Some([op, flags]) = bytes.first_chunk() else {
            return Err(CommandError("it ends too early".to_string()));
        };
        let (op, flags) = (*op, *flags);
        let mut arguments = Arguments { bytes, at: 2 };
        let command = match op {
            op::SET => Self::Set {
                key: arguments.expect(op)?,
                value: arguments.expect(op)?,
                condition: match flags & 3 {
                    0 => Condition::Always,
                    1 => Condition::Absent,
                    2 => Condition::Present,
                    _ => return Err(wrong(op)),
                },
                get: flags & 4 != 0,
            },
            op::SET_NX => Self::SetNx {
                key: arguments.expect(op)?,
                value: arguments.expect(op)?,
            },
            op::M_SET => {
                let mut pairs = Vec::new();
                while let Some(key) = arguments.next()? {
                    pairs.push((key, arguments.expect(op)?));
                }
                Self::MSet(pairs)
            }
            op::GET_DEL => Self::GetDel(arguments.expect(op)?),
            op::DEL => {
                let mut keys = Vec::new();
                while let Some(key) = arguments.next()? {
                    keys.push(key);
                }
                Self::Del(keys)
            }
            op::INCR_BY => {
                let key = arguments.expect(op)?;
                let by = arguments.expect(op)?;
                let by: [u8; 8] = by[..].try_into().map_err(|_| wrong(op))?;
                let by = i64::from_le_bytes(by);
                Self::IncrBy { key, by }
            }
            op::APPEND => Self::Append {
                key: arguments.expect(op)?,
                value: arguments.expect(op)?,
            },
            op::FLUSH_ALL => Self::FlushAll,
            _ => return Err(CommandError(format!("operation {op} is not known"))),
        };
        if arguments.next()?.is_some() {
            return Err(wrong(op));
        }
        Ok(command)
    }
}

/// The arguments of an encoded command, from this place on.
struct Arguments<'a> {
    bytes: &'a Bytes,
    at: usize,
}

impl Arguments<'_> {
    /// The next one, if there is another.
    fn next(&mut self) -> Result<Option<Bytes>, CommandError> {
        let rest = &self.bytes[self.at..];
        if rest.is_empty() {
            return Ok(None);
        }
        let early = || CommandError("an argument ends too early".to_string());
        let (length, rest) = rest.split_first_chunk::<LENGTH_BYTES>().ok_or_else(early)?;
        let length = u32::from_le_bytes(*length) as usize;
        if length > rest.len() {
            return Err(early());
        }
        let start = self.at + LENGTH_BYTES;
        self.at = start + length;
        Ok(Some(self.bytes.slice(start..self.at)))
    }

    /// The next one of an operation that has another.
    fn expect(&mut self, op: u8) -> Result<Bytes, CommandError> {
        self.next()?.ok_or_else(|| wrong(op))
    }
}

/// An encoded argument, and what follows it.
fn split_argument(encoded: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = encoded.split_first_chunk::<LENGTH_BYTES>()?;
    rest.split_at_checked(u32::from_le_bytes(*length) as usize)
}

fn length(argument: &[u8]) -> [u8; 4] {
    let length = u32::try_from(argument.len()).unwrap_or(u32::MAX);
    length.to_le_bytes()
}

fn wrong(op: u8) -> CommandError {
    CommandError(format!("operation {op} has other arguments"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_is_read_as_it_was_written() {
        let b = |text: &'static str| Bytes::from_static(text.as_bytes());
        let commands = [
            KvCommand::Set {
                key: b("k"),
                value: b(""),
                condition: Condition::Present,
                get: true,
            },
            KvCommand::Set {
                key: b("k"),
                value: b("v"),
                condition: Condition::Always,
                get: false,
            },
            KvCommand::Set {
                key: b("k"),
                value: b("v"),
                condition: Condition::Always,
                get: true,
            },
            KvCommand::SetNx {
                key: b("k"),
                value: b("v"),
            },
            KvCommand::MSet(vec![(b("a"), b("1")), (b("b"), b("2"))]),
            KvCommand::GetDel(b("k")),
            KvCommand::Del(vec![b("a"), b("b")]),
            KvCommand::IncrBy {
                key: b("n"),
                by: i64::MIN,
            },
            KvCommand::Append {
                key: b("k"),
                value: b("v"),
            },
            KvCommand::FlushAll,
        ];
        for command in commands {
            let bytes = command.encode();
            assert_eq!(command.digest(), crc32fast::hash(&bytes));
            assert_eq!(KvCommand::decode(&bytes).as_ref(), Ok(&command));
            let plain = if let KvCommand::Set {
                key,
                value,
                condition: Condition::Always,
                get: false,
            } = &command
            {
                Some((&key[..], &value[..]))
            } else {
                None
            };
            assert_eq!(KvCommand::plain_set(&bytes), plain);
        }
    }

    quickcheck::quickcheck! {
        fn bytes_that_are_no_command_are_refused_and_never_panic(bytes: Vec<u8>) -> bool {
            let bytes = Bytes::from(bytes);
            let decoded = KvCommand::decode(&bytes);
            assert!(decoded.is_ok() || KvCommand::plain_set(&bytes).is_none());
            decoded.is_err() || bytes.len() >= 2
        }
    }
}
