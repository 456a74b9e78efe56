//! Frames on a byte stream: length, checksum, body.
//!
//! Always holds: a claimed length is compared with the limit before a byte of it is kept, and memory
//! grows only as bytes arrive.

use std::sync::Arc;

use bytes::{Buf, Bytes, BytesMut};
use crc32fast::Hasher;
use raft_core::{Body, Entry, Envelope, codec};

/// Length and checksum in front of each body.
pub(crate) const FRAME_HEADER_BYTES: usize = 8;

/// Bodies up to this size are copied out of the read buffer; larger ones are sliced.
const COPIED_BYTES_MAX: usize = 16 << 10;

/// A stream of frames that cannot be one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// A frame claims to be too long.
    #[error("a frame of {found} bytes, the limit is {limit}")]
    TooLong {
        /// Its length.
        found: u64,
        /// The limit.
        limit: u64,
    },
    /// A frame was damaged on the way.
    #[error("a frame has crc {found:#010x}, expected {expected:#010x}")]
    Checksum {
        /// The checksum of the bytes that arrived.
        expected: u32,
        /// The one that came with them.
        found: u32,
    },
}

/// Takes the next whole frame's body off the front of a buffer.
pub(crate) fn take_frame(buffer: &mut BytesMut, limit: u64) -> Result<Option<Bytes>, FrameError> {
    let Some(mut header) = buffer.get(..FRAME_HEADER_BYTES) else {
        return Ok(None);
    };
    let length = header.get_u32_le();
    let found = header.get_u32_le();
    if u64::from(length) > limit {
        return Err(FrameError::TooLong {
            found: length.into(),
            limit,
        });
    }
    let whole = FRAME_HEADER_BYTES + length as usize;
    if buffer.len() < whole {
        return Ok(None);
    }
    let body = if length as usize <= COPIED_BYTES_MAX {
        // A slice would keep the whole read buffer alive for as long as any of its entries is.
        let body = Bytes::copy_from_slice(&buffer[FRAME_HEADER_BYTES..whole]);
        buffer.advance(whole);
        body
    } else {
        let mut frame = buffer.split_to(whole);
        frame.advance(FRAME_HEADER_BYTES);
        frame.freeze()
    };
    let expected = crc32fast::hash(&body);
    if found != expected {
        return Err(FrameError::Checksum { expected, found });
    }
    Ok(Some(body))
}

/// A whole frame around a small body.
pub(crate) fn small_frame(body: &[u8]) -> Bytes {
    let mut frame = Vec::with_capacity(FRAME_HEADER_BYTES + body.len());
    let length = u32::try_from(body.len()).unwrap_or(u32::MAX);
    frame.extend_from_slice(&length.to_le_bytes());
    frame.extend_from_slice(&crc32fast::hash(body).to_le_bytes());
    frame.extend_from_slice(body);
    Bytes::from(frame)
}

/// Encodes messages; the entries of an append are encoded once for all peers they go to.
#[derive(Debug, Default)]
pub(crate) struct Encoder {
    control: Vec<u8>,
    last: Option<EncodedEntries>,
}

/// A message in two parts, the second of which may be shared, or empty.
#[derive(Debug)]
pub(crate) struct Encoded<'a> {
    control: &'a [u8],
    /// What follows the control part.
    pub(crate) bulk: Bytes,
    crc: u32,
}

impl Encoded<'_> {
    /// The length of the whole frame.
    pub(crate) fn len(&self) -> u64 {
        (FRAME_HEADER_BYTES + self.control.len() + self.bulk.len()) as u64
    }

    /// Appends the frame up to its bulk.
    pub(crate) fn put_head(&self, out: &mut BytesMut) {
        let length = u32::try_from(self.control.len() + self.bulk.len()).unwrap_or(u32::MAX);
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(&self.crc.to_le_bytes());
        out.extend_from_slice(self.control);
    }
}

#[derive(Debug)]
struct EncodedEntries {
    entries: Arc<[Entry]>,
    bytes: Bytes,
    crc: Hasher,
}

impl Encoder {
    /// Encodes a message; only one with a bulk part of its own takes memory for it.
    pub(crate) fn encode(&mut self, envelope: &Envelope) -> Encoded<'_> {
        self.control.clear();
        codec::encode_control(envelope, &mut self.control);
        let mut crc = Hasher::new();
        crc.update(&self.control);
        let bulk = if let Body::AppendEntries { entries, .. } = &envelope.body {
            let encoded = self.entries(entries);
            crc.combine(&encoded.crc);
            encoded.bytes.clone()
        } else if codec::has_bulk(&envelope.body) {
            let mut bulk = Vec::new();
            codec::encode_bulk(&envelope.body, &mut bulk);
            crc.update(&bulk);
            Bytes::from(bulk)
        } else {
            Bytes::new()
        };
        Encoded {
            control: &self.control,
            bulk,
            crc: crc.finalize(),
        }
    }

    fn entries(&mut self, entries: &Arc<[Entry]>) -> &EncodedEntries {
        let known = self
            .last
            .take()
            .filter(|last| Arc::ptr_eq(&last.entries, entries));
        self.last.insert(known.unwrap_or_else(|| {
            let mut bytes = Vec::new();
            codec::encode_entries(entries, &mut bytes);
            let mut crc = Hasher::new();
            crc.update(&bytes);
            EncodedEntries {
                entries: Arc::clone(entries),
                bytes: Bytes::from(bytes),
                crc,
            }
        }))
    }

    /// Lets go of the entries encoded last.
    pub(crate) fn forget(&mut self) {
        self.last = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(frames: &[Bytes]) -> BytesMut {
        let mut buffer = BytesMut::new();
        for frame in frames {
            buffer.extend_from_slice(frame);
        }
        buffer
    }

    #[test]
    fn frames_come_out_as_they_went_in() {
        let mut buffer = stream(&[small_frame(b"one"), small_frame(b"two")]);
        assert_eq!(take_frame(&mut buffer, 10), Ok(Some(Bytes::from("one"))));
        assert_eq!(take_frame(&mut buffer, 10), Ok(Some(Bytes::from("two"))));
        assert_eq!(take_frame(&mut buffer, 10), Ok(None));
    }

    fn append(to: u64, entries: &Arc<[Entry]>) -> Envelope {
        let member = |node| raft_core::Member {
            node: raft_core::NodeId(node),
            ..raft_core::Member::default()
        };
        Envelope {
            from: raft_core::Identity {
                group: raft_core::GroupId(0),
                cluster: raft_core::ClusterId(1),
                member: member(1),
            },
            boot: raft_core::Boot(1),
            to: member(to),
            term: raft_core::Term(1),
            session: raft_core::Session::default(),
            body: Body::AppendEntries {
                previous: raft_core::EntryId::ZERO,
                commit: raft_core::Index(0),
                entries: Arc::clone(entries),
            },
        }
    }

    #[test]
    fn peers_share_the_bytes_of_their_entries_and_each_frame_is_whole() {
        let entry = Entry {
            id: raft_core::EntryId {
                term: raft_core::Term(1),
                index: raft_core::Index(1),
            },
            payload: raft_core::Payload::Command(Bytes::from_static(b"shared")),
        };
        let entries: Arc<[Entry]> = vec![entry].into();
        let mut encoder = Encoder::default();
        let mut shared = None;
        for peer in [2, 3] {
            let envelope = append(peer, &entries);
            let encoded = encoder.encode(&envelope);
            let mut buffer = BytesMut::new();
            encoded.put_head(&mut buffer);
            buffer.extend_from_slice(&encoded.bulk);
            assert_eq!(encoded.len(), buffer.len() as u64);
            let place = encoded.bulk.as_ptr();
            assert_eq!(*shared.get_or_insert(place), place, "encoded once");
            let body = take_frame(&mut buffer, 1_000).unwrap().unwrap();
            assert_eq!(codec::decode_envelope(&body), Ok(envelope));
        }
    }

    #[test]
    fn half_a_frame_waits_for_the_rest() {
        let whole = small_frame(b"whole");
        for cut in 0..whole.len() {
            let mut buffer = BytesMut::from(&whole[..cut]);
            assert_eq!(take_frame(&mut buffer, 10), Ok(None));
            buffer.extend_from_slice(&whole[cut..]);
            assert_eq!(take_frame(&mut buffer, 10), Ok(Some(Bytes::from("whole"))));
        }
    }

    #[test]
    fn a_frame_over_the_limit_is_refused_by_its_header_alone() {
        let mut buffer = BytesMut::from(&[255, 255, 255, 255, 0, 0, 0, 0][..]);
        let refused = FrameError::TooLong {
            found: u32::MAX.into(),
            limit: 100,
        };
        assert_eq!(take_frame(&mut buffer, 100), Err(refused));
    }

    #[test]
    fn every_flipped_bit_of_a_body_shows() {
        let whole = small_frame(b"whole");
        for bit in FRAME_HEADER_BYTES * 8..whole.len() * 8 {
            let mut buffer = BytesMut::from(&whole[..]);
            buffer[bit / 8] ^= 1 << (bit % 8);
            assert!(matches!(
                take_frame(&mut buffer, 100),
                Err(FrameError::Checksum { .. })
            ));
        }
    }
}
