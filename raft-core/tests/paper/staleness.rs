//! How old a node's state is, for reads that may be stale.

use raft_core::{Body, Index, Input, Round, Span, Time};

use super::subject::{Subject, append, id, log, round_of, session};

fn beat(commit: u64, read_index: u64, round: u64) -> Body {
    Body::Heartbeat {
        commit: Index(commit),
        read_index: Index(read_index),
        round: Round(round),
        promise: Span(0),
        priority: 1,
    }
}

fn hear(subject: &mut Subject, body: Body) {
    let message = subject.envelope(2, 1, session(1), body);
    subject.settle(Input::Receive(message));
}

fn age(subject: &Subject) -> Option<u64> {
    subject.node.staleness(subject.now).map(|age| age.0)
}

#[test]
fn nothing_is_known_of_the_age_of_a_state_before_a_leader_was_heard() {
    let mut subject = Subject::new(3);
    assert_eq!(age(&subject), None);
    hear(&mut subject, beat(0, 0, 1));
    assert_eq!(age(&subject), Some(0));
    subject.now = subject.now + Span(40);
    assert_eq!(age(&subject), Some(40));
}

/// A follower that is told only of what it has would else take itself for up to date. // S46
#[test]
fn a_state_is_as_old_as_the_heartbeat_that_told_how_far_it_must_be() {
    let mut subject = Subject::new(3);
    hear(&mut subject, beat(0, 2, 1));
    assert_eq!(age(&subject), None, "entries are missing");
    subject.now = subject.now + Span(10);
    hear(&mut subject, beat(0, 3, 2));
    subject.now = subject.now + Span(10);
    hear(&mut subject, append(id(0, 0), 2, log(&[(1, 1), (1, 2)])));
    assert_eq!(age(&subject), Some(20), "as of the first heartbeat");
    hear(&mut subject, append(id(1, 2), 3, log(&[(1, 3)])));
    assert_eq!(age(&subject), Some(10), "as of the second");
}

#[test]
fn a_heartbeat_that_was_overtaken_says_nothing_new() {
    let mut subject = Subject::new(3);
    hear(&mut subject, beat(0, 0, 5));
    subject.now = subject.now + Span(10);
    hear(&mut subject, beat(0, 0, 4));
    assert_eq!(age(&subject), Some(10));
}

#[test]
fn a_leader_was_up_to_date_when_it_began_the_last_round_that_a_majority_answered() {
    let mut subject = Subject::new(3);
    subject.elect();
    let first = round_of(&subject.time_out());
    subject.heartbeat_reply(2, first, 0);
    assert_eq!(age(&subject), None, "its first entry is not committed");
    subject.matched(2, 1);
    let second = round_of(&subject.time_out());
    let begun = subject.now;
    subject.now = begun + Span(30);
    subject.heartbeat_reply(3, second, 1);
    assert_eq!(age(&subject), Some(30));
    // Asking again makes nothing younger before it is answered.
    subject.time_out();
    assert_eq!(age(&subject), Some((subject.now - begun).0));
}

#[test]
fn a_state_stays_as_old_as_it_is_when_its_leader_falls_silent() {
    let mut subject = Subject::new(3);
    hear(&mut subject, beat(0, 0, 1));
    let heard = subject.now;
    for _ in 0..5 {
        subject.time_out();
    }
    assert_eq!(age(&subject), Some((subject.now - heard).0));
    // Nor does asking at an earlier moment make it younger than nothing.
    assert_eq!(subject.node.staleness(Time(0)), Some(subject.now - heard));
}
