//! The key-value store as a state machine.
//!
//! Always holds: the same commands in the same order give the same replies and the same contents, on
//! every replica.

use bytes::Bytes;
use raft_core::EntryId;
use raft_core::replica::{
    Applied, Image, ImageError, Sink, Source, StateMachine, read_exact, read_part, write_part,
};

use crate::resp::Reply;

use super::command::{Condition, KvCommand, KvQuery};
use super::glob;
use super::kept;
use super::pair::Pair;
use super::shards::Shards;

/// What a command or a query answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KvReply {
    /// What Redis would say.
    pub reply: Reply,
    /// The digest of the command that it answers; none of a query, nor where it was not kept.
    pub(super) of: Option<u32>,
}

/// The largest value, in bytes: the same as the largest argument.
pub(crate) const VALUE_BYTES_MAX: usize = 8 << 20;

/// Most bytes of values in one reply.
const REPLY_BYTES_MAX: usize = 64 << 20;
/// Most keys that one `SCAN` looks at.
const SCAN_KEYS_MAX: u64 = 10_000;
/// Most steps that one `SCAN` spends on its pattern.
const SCAN_STEPS_MAX: u64 = 10_000_000;

/// Keys and values.
///
/// Ordered by a hash of the key, so that `SCAN` can go on from a number: a key that is there
/// throughout a scan is found by it, whatever comes and goes meanwhile.
#[derive(Debug, Default)]
pub struct KvStore {
    values: Shards,
}

/// FNV-1a, then mixed; 63 bits, so that every client can read the cursor as a signed number. The order
/// of keys under it is all that matters, and it is the same everywhere.
fn hash(key: &[u8]) -> u64 {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for byte in key {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    }
    hash ^= hash >> 32;
    // Never 0, which as a cursor means the beginning and the end.
    (hash.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 1).max(1)
}

impl KvStore {
    /// How many keys have a value.
    #[must_use]
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether no key has a value.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// A key's value, as it is now.
    #[must_use]
    pub fn get(&self, key: &[u8]) -> Option<&[u8]> {
        self.pair(key).map(Pair::value)
    }

    fn pair(&self, key: &[u8]) -> Option<&Pair> {
        self.values.get(hash(key), key)
    }

    fn put(&mut self, key: &[u8], value: &[u8]) {
        self.values.set(hash(key), key, &[value]);
    }

    fn get_many(&self, keys: &[Bytes]) -> Reply {
        let pairs: Vec<Option<&Pair>> = keys.iter().map(|key| self.pair(key)).collect();
        let bytes: usize = pairs.iter().flatten().map(|pair| pair.value().len()).sum();
        if bytes > REPLY_BYTES_MAX {
            return Reply::Error(format!(
                "ERR a reply of {bytes} bytes exceeds the limit of {REPLY_BYTES_MAX} bytes"
            ));
        }
        let values = pairs
            .into_iter()
            .map(|pair| Reply::optional(pair.map(Pair::to_bytes)));
        Reply::Array(values.collect())
    }

    fn set(&mut self, key: &[u8], value: &[u8], condition: Condition, get: bool) -> Reply {
        if condition == Condition::Always && !get {
            // What was there before costs a look that nobody asked for.
            self.put(key, value);
            return Reply::OK;
        }
        let before = self.pair(key).cloned();
        let takes_effect = match condition {
            Condition::Always => true,
            Condition::Absent => before.is_none(),
            Condition::Present => before.is_some(),
        };
        if takes_effect {
            self.put(key, value);
        }
        match (get, takes_effect) {
            (true, _) => Reply::optional(before.as_ref().map(Pair::to_bytes)),
            (false, true) => Reply::OK,
            (false, false) => Reply::Null,
        }
    }

    fn increment(&mut self, key: &[u8], by: i64) -> Reply {
        let number = match self.get(key) {
            None => Some(0),
            Some(value) => parse_number(value),
        };
        let Some(number) = number else {
            return Reply::Error("ERR value is not an integer or out of range".to_string());
        };
        let Some(sum) = number.checked_add(by) else {
            return Reply::Error("ERR increment or decrement would overflow".to_string());
        };
        self.put(key, sum.to_string().as_bytes());
        Reply::Integer(sum)
    }

    fn append(&mut self, key: &[u8], value: &[u8]) -> Reply {
        let before = self.pair(key).cloned();
        let before = before.as_ref().map(Pair::value).unwrap_or_default();
        let length = before.len() + value.len();
        if length > VALUE_BYTES_MAX {
            return Reply::Error(format!(
                "ERR a value of {length} bytes exceeds the limit of {VALUE_BYTES_MAX} bytes"
            ));
        }
        self.values.set(hash(key), key, &[before, value]);
        Reply::number(length)
    }

    fn remove(&mut self, keys: &[Bytes]) -> Reply {
        let removed = keys
            .iter()
            .filter(|key| self.values.remove(hash(key), key).is_some());
        let removed = removed.count();
        Reply::number(removed)
    }

    fn execute(&mut self, command: KvCommand) -> Reply {
        match command {
            KvCommand::Set {
                key,
                value,
                condition,
                get,
            } => self.set(&key, &value, condition, get),
            KvCommand::SetNx { key, value } => {
                let absent = self.get(&key).is_none();
                if absent {
                    self.put(&key, &value);
                }
                Reply::Integer(i64::from(absent))
            }
            KvCommand::MSet(pairs) => {
                for (key, value) in &pairs {
                    self.put(key, value);
                }
                Reply::OK
            }
            KvCommand::GetDel(key) => {
                let removed = self.values.remove(hash(&key), &key);
                Reply::optional(removed.as_ref().map(Pair::to_bytes))
            }
            KvCommand::Del(keys) => self.remove(&keys),
            KvCommand::IncrBy { key, by } => self.increment(&key, by),
            KvCommand::Append { key, value } => self.append(&key, &value),
            KvCommand::FlushAll => {
                self.values.clear();
                Reply::OK
            }
        }
    }

    fn answer(&self, query: &KvQuery) -> Reply {
        match query {
            KvQuery::Get(key) => Reply::optional(self.pair(key).map(Pair::to_bytes)),
            KvQuery::MGet(keys) => self.get_many(keys),
            KvQuery::Exists(keys) => {
                Reply::number(keys.iter().filter(|key| self.get(key).is_some()).count())
            }
            KvQuery::StrLen(key) => Reply::number(self.get(key).map_or(0, <[u8]>::len)),
            KvQuery::Type(key) => Reply::Simple(match self.get(key) {
                Some(_) => "string",
                None => "none",
            }),
            KvQuery::Scan {
                cursor,
                pattern,
                count,
                kind,
            } => self.scan(*cursor, pattern.as_ref(), *count, kind.as_ref()),
            KvQuery::DbSize => Reply::number(self.values.len()),
        }
    }

    fn scan(
        &self,
        cursor: u64,
        pattern: Option<&Bytes>,
        count: u64,
        kind: Option<&Bytes>,
    ) -> Reply {
        // One call must not keep the node from its other work: the count is a hint, the steps a limit.
        let (count, mut budget) = (count.clamp(1, SCAN_KEYS_MAX), SCAN_STEPS_MAX);
        let strings = kind.is_none_or(|kind| kind.eq_ignore_ascii_case(b"string"));
        let (mut found, mut looked_at, mut last) = (Vec::new(), 0, 0);
        for (hash, key) in self.values.keys_from(cursor) {
            // Keys with one hash come together, because the cursor is a hash.
            if looked_at >= count && hash != last {
                return page(hash, found);
            }
            (last, looked_at) = (hash, looked_at + 1);
            if strings && pattern.is_none_or(|pattern| glob::matches(pattern, key, &mut budget)) {
                found.push(Reply::Bulk(Bytes::copy_from_slice(key)));
            }
            if budget == 0 {
                return Reply::Error(
                    "ERR the pattern takes too many steps: use fewer stars, or a smaller COUNT"
                        .to_string(),
                );
            }
        }
        page(0, found)
    }
}

fn page(cursor: u64, found: Vec<Reply>) -> Reply {
    Reply::Array(vec![Reply::text(cursor.to_string()), Reply::Array(found)])
}

/// A number as Redis stores them: decimal, without spaces, plus signs or leading zeros.
pub(crate) fn parse_number(text: &[u8]) -> Option<i64> {
    let number: i64 = core::str::from_utf8(text).ok()?.parse().ok()?;
    (number.to_string().as_bytes() == text).then_some(number)
}

impl StateMachine for KvStore {
    type Command = KvCommand;
    type Query = KvQuery;
    type Reply = KvReply;

    fn apply(&mut self, entry: Applied<KvCommand>) -> KvReply {
        // What a session keeps says which command it answers, so that another one with its number is told so. Whether
        // there is a session, a state machine is not told; and it costs no more than another copy.
        let of = Some(entry.command.digest());
        let reply = self.execute(entry.command);
        KvReply { reply, of }
    }

    fn apply_encoded(&mut self, _id: EntryId, command: &[u8]) -> Option<KvReply> {
        let (key, value) = KvCommand::plain_set(command)?;
        let reply = self.set(key, value, Condition::Always, false);
        let of = Some(crc32fast::hash(command));
        Some(KvReply { reply, of })
    }

    fn prepare<'a>(&self, commands: impl Iterator<Item = &'a [u8]>) {
        let keys = commands.filter_map(KvCommand::first_key);
        self.values.look_at(keys.map(hash));
    }

    fn query(&self, query: &KvQuery) -> KvReply {
        let (reply, of) = (self.answer(query), None);
        KvReply { reply, of }
    }

    fn encode_reply(reply: &KvReply) -> Option<Bytes> {
        kept::encode(reply)
    }

    fn decode_reply(bytes: &Bytes) -> Option<KvReply> {
        kept::decode(bytes)
    }

    type Image = KvImage;

    fn image(&self) -> KvImage {
        KvImage(self.values.clone())
    }

    fn restore(&mut self, image: KvImage) {
        self.values = image.0;
    }
}

/// The keys and values of one moment, shared with the store until that changes.
#[derive(Debug)]
pub struct KvImage(Shards);

impl Image for KvImage {
    fn write(&self, sink: &mut dyn Sink) -> Result<(), ImageError> {
        sink.write(&(self.0.len() as u64).to_le_bytes())?;
        for pair in self.0.iter() {
            write_part(sink, pair.key())?;
            write_part(sink, pair.value())?;
        }
        Ok(())
    }

    fn read(source: &mut dyn Source) -> Result<Self, ImageError> {
        let mut count = [0; 8];
        read_exact(source, &mut count)?;
        let mut values = Shards::default();
        for _ in 0..u64::from_le_bytes(count) {
            let (key, value) = (read_part(source)?, read_part(source)?);
            values.set(hash(&key), &key, &[&value]);
        }
        Ok(Self(values))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(keys: core::ops::Range<u32>) -> KvStore {
        let mut store = KvStore::default();
        for key in keys {
            let key = format!("key:{key}");
            store.put(key.as_bytes(), key.as_bytes());
        }
        store
    }

    /// Every key that a scan with this count finds, in its order.
    fn scanned(store: &KvStore, count: u64) -> Vec<Reply> {
        let (mut cursor, mut found) = (0, Vec::new());
        loop {
            let Reply::Array(page) = store.scan(cursor, None, count, None) else {
                panic!("a scan answers an array");
            };
            let [Reply::Bulk(next), Reply::Array(keys)] = &page[..] else {
                panic!("a scan answers a cursor and keys");
            };
            found.extend(keys.iter().cloned());
            cursor = core::str::from_utf8(next).unwrap().parse().unwrap();
            if cursor == 0 {
                return found;
            }
        }
    }

    #[test]
    fn an_image_stays_what_it_was_while_the_store_goes_on() {
        let mut store = with(0..5_000);
        let image = store.image();
        store.remove(&[Bytes::from("key:7")]);
        store.put(b"key:8", b"new");
        store.put(b"more", b"");
        store.remove(&[Bytes::from("key:9"), Bytes::from("key:9")]);
        assert_eq!(store.len(), 4_999);
        let mut bytes = Vec::new();
        image.write(&mut bytes).unwrap();
        store.restore(KvImage::read(&mut &bytes[..]).unwrap());
        assert_eq!(store.len(), 5_000);
        assert_eq!(store.get(b"key:8"), Some(&b"key:8"[..]));
        assert_eq!(store.get(b"more"), None);
    }

    #[test]
    fn a_scan_goes_through_every_shard_in_order() {
        let store = with(0..10_000);
        let at_once = scanned(&store, 10_000);
        assert_eq!(at_once.len(), 10_000);
        assert_eq!(scanned(&store, 7), at_once);
    }
}
