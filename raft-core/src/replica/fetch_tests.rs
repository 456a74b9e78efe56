//! Fetching from sources that are slow, lossy, restarted, or liars.

#![expect(
    clippy::cast_possible_truncation,
    reason = "the files of these tests are short"
)]

use alloc::vec;
use alloc::vec::Vec;

use bytes::Bytes;
use quickcheck::quickcheck;

use super::{Fetch, Question, Taken, Write};
use crate::options::Options;
use crate::types::SnapshotTicket;
use crate::types::{EntryId, Index, Member, NodeId, Span, StorageId, Term, Time};

fn id(index: u64) -> EntryId {
    EntryId {
        term: Term(1),
        index: Index(index),
    }
}

fn source(node: u64) -> Member {
    Member {
        node: NodeId(node),
        store: StorageId(node.into()),
    }
}

fn options() -> Options {
    Options {
        election_timeout: Span(100),
        heartbeat_interval: Span(10),
        snapshot_chunk_bytes: 10,
        snapshot_chunks_max: 4,
        ..Options::default()
    }
}

fn fetch() -> Fetch {
    Fetch::new(Time(0), SnapshotTicket(1), id(5), source(2))
}

fn file(length: u64) -> Bytes {
    (0..length).map(|place| (place % 251) as u8).collect()
}

/// What a source that has `file` and sends parts of `stride` bytes answers.
fn answer(file: &Bytes, stride: u64, offset: u64) -> Bytes {
    let end = (offset + stride).min(file.len() as u64);
    file.slice(offset as usize..end as usize)
}

/// Lets a fetch that knows nothing yet learn what there is.
fn begin(fetch: &mut Fetch, file: &Bytes, stride: u64, has: u64) {
    let first = fetch.question(Time(0), &options()).unwrap();
    assert_eq!((first.id, first.offset), (None, 0));
    let total = file.len() as u64;
    let taken = fetch.take(Time(0), id(5), 0, total, answer(file, stride, 0));
    assert_eq!(taken, Taken::Begins { id: id(5), total });
    fetch.begun(Time(0), id(5), has);
}

fn questions(fetch: &mut Fetch, now: u64) -> Vec<u64> {
    core::iter::from_fn(|| fetch.question(Time(now), &options()))
        .map(|question: Question| question.offset)
        .collect()
}

quickcheck! {
    /// Whatever is lost on the way, what is written is the file, in order, and the window is never larger
    /// than it may be.
    fn a_file_arrives_whole_however_much_is_lost(length: u16, stride: u8, has: u16, luck: Vec<bool>) -> bool {
        let (length, stride) = (u64::from(length % 2_000) + 1, u64::from(stride) + 1);
        let has = u64::from(has) % (length + 1);
        let file = file(length);
        let mut fetch = fetch();
        begin(&mut fetch, &file, stride, has);
        let mut stored = file[..has as usize].to_vec();
        let mut luck = luck.into_iter();
        let mut now = 0;
        loop {
            while let Some(write) = fetch.write() {
                match write {
                    Write::Part { offset, bytes, .. } => {
                        assert_eq!(offset, stored.len() as u64, "parts are written in order");
                        stored.extend_from_slice(&bytes);
                        fetch.written(id(5), stored.len() as u64);
                    }
                    Write::Finish { id: finished } => {
                        assert_eq!(finished, id(5));
                        return stored == file;
                    }
                }
            }
            let asked = questions(&mut fetch, now);
            for offset in asked {
                assert!(offset < stored.len() as u64 + 4 * stride, "at most four parts are asked for");
                if luck.next().unwrap_or(true) {
                    fetch.take(Time(now), id(5), offset, length, answer(&file, stride, offset));
                }
            }
            now += 50;
            assert!(now < 10_000_000, "it arrives in the end");
        }
    }

    /// No part that was not asked for changes anything, and none panics.
    fn nothing_unasked_is_taken(parts: Vec<(u8, u64, u64, u8)>) -> bool {
        let file = file(1_000);
        let mut fetch = fetch();
        begin(&mut fetch, &file, 10, 0);
        questions(&mut fetch, 0);
        parts.into_iter().all(|(index, offset, total, length)| {
            let bytes = Bytes::from(vec![7; length.into()]);
            let (at, of) = (offset, total);
            let taken = fetch.take(Time(1), id(index.into()), at, of, bytes.clone());
            let taken_of_this = fetch.take(Time(1), id(5), at, 1_000, bytes);
            let asked = [10, 20, 30].contains(&offset);
            taken != Taken::Yes && (asked || taken_of_this != Taken::Yes)
        })
    }
}

#[test]
fn a_source_that_is_silent_is_asked_again_and_then_given_up() {
    let mut fetch = fetch();
    let mut asked = 0;
    for now in 0..400 {
        assert!(!fetch.is_given_up(Time(now), &options()));
        asked += questions(&mut fetch, now).len();
    }
    assert_eq!(asked, 4);
    assert!(fetch.is_given_up(Time(400), &options()));
    assert_eq!(fetch.fail(), Some(SnapshotTicket(1)));
    assert_eq!(questions(&mut fetch, 401), []);
    assert_eq!(fetch.next_deadline(&options()), None);
}

#[test]
fn what_waits_to_be_written_holds_back_further_questions() {
    let file = file(1_000);
    let mut fetch = fetch();
    begin(&mut fetch, &file, 10, 0);
    assert_eq!(questions(&mut fetch, 0), [10, 20, 30]);
    for offset in [10, 20, 30] {
        fetch.take(Time(1), id(5), offset, 1_000, answer(&file, 10, offset));
    }
    let handed = core::iter::from_fn(|| fetch.write()).count();
    assert_eq!(handed, 4);
    assert_eq!(questions(&mut fetch, 2), []);
    // Nothing is awaited of the source meanwhile, so it is not held to be silent.
    assert!(!fetch.is_given_up(Time(100_000), &options()));
    fetch.written(id(5), 20);
    assert_eq!(questions(&mut fetch, 100_000), [40, 50]);
}

#[test]
fn another_ticket_goes_on_with_what_is_here_if_that_is_new_enough() {
    let file = file(100);
    let mut fetch = fetch();
    begin(&mut fetch, &file, 10, 40);
    assert_eq!(questions(&mut fetch, 0), [40, 50, 60, 70]);
    fetch.retarget(Time(1), SnapshotTicket(2), id(5), source(3));
    assert_eq!(questions(&mut fetch, 1), [40, 50, 60, 70]);
    assert_eq!(fetch.source(), source(3));
    fetch.retarget(Time(2), SnapshotTicket(3), id(6), source(3));
    assert_eq!(fetch.id(), None);
    let question = fetch.question(Time(2), &options()).unwrap();
    assert_eq!((question.id, question.offset), (None, 0));
}

#[test]
fn a_file_of_another_length_is_another_file() {
    let mut fetch = fetch();
    begin(&mut fetch, &file(100), 10, 0);
    questions(&mut fetch, 0);
    let taken = fetch.take(Time(1), id(5), 10, 101, Bytes::from_static(&[0; 10]));
    assert_eq!(taken, Taken::No);
    assert_eq!(fetch.id(), None);
}

#[test]
fn a_snapshot_that_is_too_old_is_refused() {
    let mut fetch = fetch();
    questions(&mut fetch, 0);
    let taken = fetch.take(Time(1), id(4), 0, 100, Bytes::from_static(&[0; 10]));
    assert_eq!(taken, Taken::Malformed);
}

#[test]
fn a_source_that_no_longer_has_it_is_asked_what_it_has() {
    let mut fetch = fetch();
    begin(&mut fetch, &file(100), 10, 0);
    questions(&mut fetch, 0);
    assert!(fetch.missing(Time(1)));
    let question = fetch.question(Time(1), &options()).unwrap();
    assert_eq!((question.id, question.offset), (None, 0));
    assert!(!fetch.missing(Time(2)), "and it has none at all");
}

#[test]
fn no_more_is_asked_for_in_one_timeout_than_the_rate_allows_and_one_part() {
    let options = Options {
        snapshot_bytes_per_timeout: 50,
        ..options()
    };
    let file = file(1_000);
    let mut fetch = fetch();
    fetch.question(Time(0), &options).unwrap();
    fetch.take(Time(0), id(5), 0, 1_000, answer(&file, 10, 0));
    fetch.begun(Time(0), id(5), 0);
    let mut asked = Vec::new();
    for now in 0..2_000 {
        while let Some(question) = fetch.question(Time(now), &options) {
            asked.push(now);
            fetch.take(
                Time(now),
                id(5),
                question.offset,
                1_000,
                answer(&file, 10, question.offset),
            );
        }
        while let Some(Write::Part { offset, bytes, .. }) = fetch.write() {
            fetch.written(id(5), offset + bytes.len() as u64);
        }
    }
    assert_eq!(asked.len(), 99, "all of it was asked for");
    for now in 0..2_000 {
        let within = asked.iter().filter(|at| (now..now + 100).contains(*at));
        assert!(within.count() <= 6);
    }
}
