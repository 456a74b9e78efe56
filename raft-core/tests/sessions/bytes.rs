//! The bytes of requests, and of sessions in snapshots.

use quickcheck::quickcheck;
use raft_core::replica::{
    Command, Image, ReplicatedRequest, Sequence, Serde, Serial, SessionId, Sessions, command_of,
};
use raft_core::{Bytes, EntryId, Index, Options, Payload, Span, Term};

use crate::alone::{Alone, serial};

const SESSION: SessionId = SessionId(EntryId {
    term: Term(2),
    index: Index(3),
});

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn requests_look_like_this() {
    let command = Bytes::from_static(b"x");
    let serial = Serial {
        session: SESSION,
        sequence: Sequence(9),
        lowest: Sequence(7),
    };
    let requests = [
        (ReplicatedRequest::Plain(command.clone()), "0078"),
        (
            ReplicatedRequest::InSession { serial, command },
            "0102000000000000000300000000000000090000000000000002\
             78",
        ),
        (
            ReplicatedRequest::Register {
                sessions_max: 5,
                reply_bytes_max: 6,
            },
            "020500000006000000",
        ),
        (
            ReplicatedRequest::Elapsed {
                span: Span(7),
                session_timeout: Span(8),
            },
            "0307000000000000000800000000000000",
        ),
    ];
    for (request, expected) in requests {
        let bytes = request.encode();
        assert_eq!(hex(&bytes), expected);
        assert_eq!(ReplicatedRequest::decode(&bytes).as_ref(), Ok(&request));
        assert_eq!(command_of(&bytes), request.command().cloned());
    }
}

#[test]
fn a_sequence_far_above_the_lowest_or_below_zero_is_no_request() {
    for (sequence, behind) in [(20, 16), (20, 255), (3, 4)] {
        let mut bytes = vec![1; 17];
        bytes.extend_from_slice(&u64::to_le_bytes(sequence));
        bytes.push(behind);
        assert!(ReplicatedRequest::decode(&Bytes::from(bytes)).is_err());
    }
}

/// What is executed is what was meant, and takes one byte more.
#[test]
fn a_command_is_one_byte_longer_than_it_was() {
    let mut alone = Alone::new(Options::default());
    alone.propose(300);
    let Payload::Command(request) = &alone.log.last().unwrap().payload else {
        panic!("it is a command");
    };
    let command = Serde(300_u64).encode();
    assert_eq!(request.len(), 1 + command.len());
    assert_eq!(command_of(request), Some(command));
}

#[test]
fn sessions_in_a_snapshot_look_like_this() {
    let mut alone = Alone::new(Options::default());
    let session = alone.register();
    alone.propose_in(serial(session, 4, 3), 0);
    alone.elapse(9, 100);
    let mut image = Vec::new();
    alone.replica.sessions().write(&mut image).unwrap();
    let expected = [
        // The clock; one mark, with its entry and what the clock said.
        "0900000000000000",
        "01000000",
        "04000000000000000900000000000000",
        // One session: its name, its last entry, the lowest sequence, room for replies.
        "01000000",
        "01000000000000000200000000000000",
        "0300000000000000",
        "0300000000000000",
        "00100000",
        // One answer: its sequence, its entry, and a reply that was kept.
        "01000000",
        "0400000000000000",
        "01000000000000000300000000000000",
        "01",
        "02000000",
        "0101",
    ];
    assert_eq!(hex(&image), expected.concat());
}

quickcheck! {
    fn bytes_are_no_request_or_the_only_bytes_of_one(tag: u8, rest: Vec<u8>) -> bool {
        let mut bytes = vec![tag % 5];
        bytes.extend(rest);
        let bytes = Bytes::from(bytes);
        ReplicatedRequest::decode(&bytes).is_ok_and(|request| request.encode() == bytes)
            || ReplicatedRequest::decode(&bytes).is_err()
    }

    /// One changed byte is noticed, or makes other sessions, of which these are the only bytes.
    fn a_damaged_image_is_refused_or_another_one(place: usize, by: u8) -> bool {
        let mut alone = Alone::new(Options::default());
        let (one, other) = (alone.register(), alone.register());
        for sequence in 1..5 {
            alone.propose_in(serial(one, sequence, 2.min(sequence)), sequence);
            alone.elapse(sequence, 100);
            alone.propose_in(serial(other, sequence, sequence), sequence);
        }
        let mut image = Vec::new();
        alone.replica.sessions().write(&mut image).unwrap();
        let place = place % image.len();
        image[place] = image[place].wrapping_add(by);
        let mut source = image.as_slice();
        let Ok(sessions) = Sessions::read(&mut source) else {
            return true;
        };
        let used = image.len() - source.len();
        let mut again = Vec::new();
        sessions.write(&mut again).unwrap();
        again == image[..used]
    }
}
