//! What counts when a load is late: it is let to begin in the past, so that nobody has to wait.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use super::load::{Load, Plan};
use super::progress::Progress;
use super::requests::{Mix, Requests};
use super::schedule::End;
use super::tally::Tally;

const SECOND: u64 = 1_000_000_000;

/// A load of requests that are due in the first tenth of a second, on one connection.
fn late_load(listener: &TcpListener, seconds_late: u64, end: End) -> Load {
    let plan = Plan {
        to: &[listener.local_addr().unwrap().to_string()],
        clients: 1,
        pipeline: 1,
        rate: Some(1_000),
        warm_up: 0,
        end,
    };
    let requests = Requests::new(Mix {
        keys: 10,
        value_bytes: 10,
        reads_percent: 100,
        seed: 1,
    });
    let mut load = Load::connect(&plan, requests, Progress::hidden()).unwrap();
    let late = Duration::from_secs(seconds_late);
    load.began = load.began.checked_sub(late).unwrap();
    load
}

fn latency_min(tally: &Tally) -> u64 {
    tally.latencies.value_at_quantile(0.0)
}

/// Answers whatever it is asked, one request at a time, until nobody asks any more.
fn answer_all(mut stream: TcpStream) {
    let mut request = [0; 256];
    while stream.read(&mut request).is_ok_and(|bytes| bytes > 0) {
        stream.write_all(b"$-1\r\n").unwrap();
    }
}

#[test]
fn what_was_held_up_is_late_since_it_was_due_however_fast_the_answer_is() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let load = late_load(&listener, 5, End::At(SECOND / 10));
    let (tally, elapsed) = thread::scope(|scope| {
        scope.spawn(|| answer_all(listener.accept().unwrap().0));
        load.go_on().unwrap()
    });
    assert_eq!(tally.answered() + tally.unanswered, 100);
    let least = 4 * SECOND + SECOND * 8 / 10;
    assert!(latency_min(&tally) >= least, "{}", latency_min(&tally));
    // What came after the end is part of how long it took.
    assert!(elapsed >= least, "{elapsed}");
}

#[test]
fn what_was_due_and_never_sent_counts_with_the_time_until_it_was_given_up() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    for end in [End::At(SECOND / 10), End::After(100)] {
        // Longer than anybody waits for an answer at the end.
        let load = late_load(&listener, 20, end);
        // The connection is there, and nobody reads what is sent on it.
        let (tally, _) = load.go_on().unwrap();
        assert_eq!((tally.answered(), tally.unanswered), (0, 100), "{end:?}");
        assert!(
            latency_min(&tally) >= 19 * SECOND,
            "{}",
            latency_min(&tally)
        );
    }
}
