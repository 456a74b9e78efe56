//! Replies.

use bytes::Bytes;

/// The version of the protocol that a client speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// Until it says otherwise.
    #[default]
    Resp2,
    /// After `HELLO 3`.
    Resp3,
}

/// What a command is answered with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// A status such as `OK`.
    Simple(&'static str),
    /// An error; the first word says its kind.
    Error(String),
    /// A number.
    Integer(i64),
    /// A string.
    Bulk(Bytes),
    /// No value.
    Null,
    /// Several replies.
    Array(Vec<Self>),
    /// Pairs; in version 2 an array of keys and values in turn.
    Map(Vec<(Self, Self)>),
}

impl Reply {
    /// `OK`.
    pub const OK: Self = Self::Simple("OK");

    /// A string of ours.
    #[must_use]
    pub fn text(text: impl Into<String>) -> Self {
        Self::Bulk(Bytes::from(text.into()))
    }

    /// A count; the largest number that a reply has if it is larger.
    #[must_use]
    pub fn number(number: impl TryInto<i64>) -> Self {
        Self::Integer(number.try_into().unwrap_or(i64::MAX))
    }

    /// A value, or none.
    #[must_use]
    pub fn optional(value: Option<Bytes>) -> Self {
        value.map_or(Self::Null, Self::Bulk)
    }

    /// About how many bytes it takes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        16 + match self {
            Self::Simple(text) => text.len(),
            Self::Error(text) => text.len(),
            Self::Integer(_) | Self::Null => 0,
            Self::Bulk(bytes) => bytes.len(),
            Self::Array(replies) => replies.iter().map(Self::bytes).sum(),
            Self::Map(pairs) => {
                let pairs = pairs.iter();
                pairs.map(|(key, value)| key.bytes() + value.bytes()).sum()
            }
        }
    }

    /// Appends the reply's bytes.
    pub fn encode(&self, protocol: Protocol, out: &mut Vec<u8>) {
        match self {
            Self::Simple(status) => line(out, b'+', status.as_bytes()),
            Self::Error(error) => {
                // A line break would end the reply early.
                let error = error.replace(['\r', '\n'], " ");
                line(out, b'-', error.as_bytes());
            }
            Self::Integer(number) => line(out, b':', number.to_string().as_bytes()),
            Self::Bulk(bytes) => {
                line(out, b'$', bytes.len().to_string().as_bytes());
                out.extend_from_slice(bytes);
                out.extend_from_slice(b"\r\n");
            }
            Self::Null => out.extend_from_slice(match protocol {
                Protocol::Resp2 => b"$-1\r\n",
                Protocol::Resp3 => b"_\r\n",
            }),
            Self::Array(replies) => {
                line(out, b'*', replies.len().to_string().as_bytes());
                for reply in replies {
                    reply.encode(protocol, out);
                }
            }
            Self::Map(pairs) => {
                let (sign, count) = match protocol {
                    Protocol::Resp2 => (b'*', pairs.len() * 2),
                    Protocol::Resp3 => (b'%', pairs.len()),
                };
                line(out, sign, count.to_string().as_bytes());
                for (key, value) in pairs {
                    key.encode(protocol, out);
                    value.encode(protocol, out);
                }
            }
        }
    }
}

fn line(out: &mut Vec<u8>, sign: u8, text: &[u8]) {
    out.push(sign);
    out.extend_from_slice(text);
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(reply: &Reply, protocol: Protocol) -> String {
        let mut out = Vec::new();
        reply.encode(protocol, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn each_version_has_its_own_null_and_its_own_map() {
        let map = Reply::Map(vec![(Reply::text("proto"), Reply::Integer(3))]);
        assert_eq!(bytes(&map, Protocol::Resp2), "*2\r\n$5\r\nproto\r\n:3\r\n");
        assert_eq!(bytes(&map, Protocol::Resp3), "%1\r\n$5\r\nproto\r\n:3\r\n");
        assert_eq!(bytes(&Reply::Null, Protocol::Resp2), "$-1\r\n");
        assert_eq!(bytes(&Reply::Null, Protocol::Resp3), "_\r\n");
    }

    #[test]
    fn an_error_stays_on_one_line() {
        let error = Reply::Error("ERR unknown command 'a\r\n+OK'".to_string());
        assert_eq!(
            bytes(&error, Protocol::Resp2),
            "-ERR unknown command 'a  +OK'\r\n"
        );
    }
}
