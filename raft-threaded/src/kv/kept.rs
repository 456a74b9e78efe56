//! Replies as a session keeps them, for commands that are sent again.
//!
//! One byte says what it is, then comes its text, or its number as little-endian bytes. Between them stands the
//! digest of the command that was answered, as a little-endian number, if the highest bit of the first byte is set.
//! Replies without one come from snapshots of programs that kept none.
//!
//! Always holds: equal replies have equal bytes, and other bytes are no reply.

use bytes::{Buf, Bytes};

use crate::resp::Reply;

use super::machine::KvReply;

/// What a kept reply is. Numbers stay as they are: they are in snapshots.
mod kind {
    pub(super) const OK: u8 = 1;
    pub(super) const INTEGER: u8 = 2;
    pub(super) const BULK: u8 = 3;
    pub(super) const NULL: u8 = 4;
    pub(super) const ERROR: u8 = 5;
    /// Beside one of these: a digest follows.
    pub(super) const DIGEST: u8 = 0x80;
}

/// A reply's bytes; none for replies that no write has.
pub(super) fn encode(reply: &KvReply) -> Option<Bytes> {
    let (number, digest);
    let (kind, rest): (u8, &[u8]) = match &reply.reply {
        Reply::Simple("OK") => (kind::OK, &[]),
        Reply::Integer(integer) => {
            number = integer.to_le_bytes();
            (kind::INTEGER, &number)
        }
        Reply::Bulk(bytes) => (kind::BULK, bytes),
        Reply::Null => (kind::NULL, &[]),
        Reply::Error(error) => (kind::ERROR, error.as_bytes()),
        Reply::Simple(_) | Reply::Array(_) | Reply::Map(_) => return None,
    };
    let (kind, of): (u8, &[u8]) = match reply.of {
        None => (kind, &[]),
        Some(of) => {
            digest = of.to_le_bytes();
            (kind | kind::DIGEST, &digest)
        }
    };
    Some([&[kind], of, rest].concat().into())
}

/// Reads what [`encode`] wrote; none if it is something else.
pub(super) fn decode(bytes: &Bytes) -> Option<KvReply> {
    let mut rest = bytes.clone();
    let kind = rest.try_get_u8().ok()?;
    let of = if kind & kind::DIGEST == 0 {
        None
    } else {
        Some(rest.try_get_u32_le().ok()?)
    };
    let reply = match (kind & !kind::DIGEST, &rest[..]) {
        (kind::OK, []) => Reply::OK,
        (kind::INTEGER, number) => {
            let number = number.try_into().ok()?;
            Reply::Integer(i64::from_le_bytes(number))
        }
        (kind::BULK, _) => Reply::Bulk(rest),
        (kind::NULL, []) => Reply::Null,
        (kind::ERROR, error) => {
            let error = core::str::from_utf8(error).ok()?;
            Reply::Error(error.to_string())
        }
        _ => return None,
    };
    Some(KvReply { reply, of })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reply_of_a_write_is_read_as_it_was_kept() {
        let replies = [
            Reply::OK,
            Reply::Integer(i64::MIN),
            Reply::Bulk(Bytes::from_static(b"\0value\r\n")),
            Reply::Bulk(Bytes::new()),
            Reply::Null,
            Reply::Error("ERR größer".to_string()),
        ];
        for reply in replies {
            for of in [None, Some(7)] {
                let reply = KvReply {
                    reply: reply.clone(),
                    of,
                };
                let kept = encode(&reply).unwrap();
                assert_eq!(decode(&kept), Some(reply));
            }
        }
    }

    /// They are in snapshots: another byte here, and a newer program reads older ones wrongly.
    #[test]
    fn the_bytes_are_these() {
        let kept = |reply, of| encode(&KvReply { reply, of }).unwrap();
        let bytes = |reply| kept(reply, None);
        assert_eq!(
            kept(Reply::Integer(1), Some(0x0403_0201))[..],
            [0x82, 1, 2, 3, 4, 1, 0, 0, 0, 0, 0, 0, 0]
        );
        assert_eq!(kept(Reply::OK, Some(5))[..], [0x81, 5, 0, 0, 0]);
        assert_eq!(bytes(Reply::OK)[..], [1]);
        assert_eq!(bytes(Reply::Integer(258))[..], [2, 2, 1, 0, 0, 0, 0, 0, 0]);
        assert_eq!(bytes(Reply::Bulk(Bytes::from("ab")))[..], *b"\x03ab");
        assert_eq!(bytes(Reply::Null)[..], [4]);
        assert_eq!(bytes(Reply::Error("ERR".to_string()))[..], *b"\x05ERR");
    }

    quickcheck::quickcheck! {
        fn other_bytes_are_no_reply_and_never_panic(bytes: Vec<u8>, kind: u8, digest: bool) -> bool {
            let mut bytes = bytes;
            bytes.insert(0, (kind % 7) | if digest { kind::DIGEST } else { 0 });
            let bytes = Bytes::from(bytes);
            decode(&bytes).is_none_or(|reply| encode(&reply) == Some(bytes))
        }
    }
}
