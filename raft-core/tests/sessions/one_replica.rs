//! The rules, one by one.

use raft_core::replica::{RequestError, SESSION_WINDOW, Sequence};
use raft_core::{EntryId, Index, Options, Payload, Span};

use crate::alone::{Alone, Answer, serial};

#[test]
fn a_repeated_command_takes_effect_once_and_is_answered_again() {
    let mut alone = Alone::new(Options::default());
    let session = alone.register();
    let first = alone.propose_in(serial(session, 1, 1), 7);
    assert_eq!(first, Some(Answer::Reply(vec![1, 7, 7])));
    assert_eq!(alone.propose(9), Some(Answer::Reply(vec![2, 9, 9, 9, 9])));
    assert_eq!(alone.propose_in(serial(session, 1, 1), 7), first);
    alone.restart();
    assert_eq!(alone.propose_in(serial(session, 1, 1), 7), first);
    assert_eq!(alone.replica.machine().0, [7, 9]);
}

#[test]
fn a_command_without_a_session_is_executed_as_often_as_it_is_sent() {
    let mut alone = Alone::new(Options::default());
    alone.propose(7);
    alone.propose(7);
    assert_eq!(alone.replica.machine().0, [7, 7]);
}

#[test]
fn sessions_are_named_by_the_entry_that_began_them() {
    let mut alone = Alone::new(Options::default());
    let (one, other) = (alone.register(), alone.register());
    assert_ne!(one, other);
    assert_eq!(alone.log.last().map(|entry| entry.id), Some(other.0));
    // Numbers are each session's own.
    alone.propose_in(serial(one, 1, 1), 5);
    alone.propose_in(serial(other, 1, 1), 6);
    assert_eq!(alone.replica.machine().0, [5, 6]);
}

#[test]
fn several_commands_of_a_session_may_be_on_their_way_in_any_order() {
    let mut alone = Alone::new(Options::default());
    let session = alone.register();
    for sequence in (1..=SESSION_WINDOW).rev() {
        assert!(
            alone
                .propose_in(serial(session, sequence, 1), sequence)
                .is_some()
        );
    }
    for sequence in 1..=SESSION_WINDOW {
        let place = 1 + SESSION_WINDOW - sequence;
        let Some(Answer::Reply(reply)) = alone.propose_in(serial(session, sequence, 1), sequence)
        else {
            panic!("{sequence} has an answer");
        };
        assert_eq!(reply[0], place);
    }
    let lowest = Sequence(1);
    assert_eq!(
        alone.propose_in(serial(session, 1 + SESSION_WINDOW, 1), 0),
        Some(Answer::Error(RequestError::WindowFull { lowest }))
    );
    assert_eq!(alone.replica.machine().0.len() as u64, SESSION_WINDOW);
}

#[test]
fn what_a_client_has_the_answer_to_is_refused_and_not_executed() {
    let mut alone = Alone::new(Options::default());
    let session = alone.register();
    alone.propose_in(serial(session, 1, 1), 5);
    alone.propose_in(serial(session, 3, 2), 6);
    let lowest = Sequence(2);
    let passed = Some(Answer::Error(RequestError::SequencePassed { lowest }));
    assert_eq!(alone.propose_in(serial(session, 1, 1), 5), passed);
    // Said in a request that contradicts itself.
    assert_eq!(alone.propose_in(serial(session, 1, 2), 5), passed);
    assert_eq!(alone.replica.machine().0, [5, 6]);
    // One that is late, but was not given up, is executed.
    alone.propose_in(serial(session, 2, 2), 7);
    assert_eq!(alone.replica.machine().0, [5, 6, 7]);
}

#[test]
fn a_command_of_a_session_that_never_was_or_has_ended_has_no_effect() {
    let mut alone = Alone::new(Options::default());
    let session = alone.register();
    let expired = Some(Answer::Error(RequestError::SessionExpired));
    let mut never = session;
    never.0.index = never.0.index.next();
    assert_eq!(alone.propose_in(serial(never, 1, 1), 5), expired);
    alone.elapse(10, 100);
    alone.elapse(99, 100);
    assert_eq!(
        alone.propose_in(serial(session, 1, 1), 5),
        Some(Answer::Reply(vec![1]))
    );
    alone.elapse(1, 100);
    alone.elapse(100, 100);
    assert_eq!(alone.propose_in(serial(session, 1, 1), 5), expired);
    assert_eq!(alone.replica.machine().0, [5]);
    assert!(alone.replica.sessions().is_empty());
}

/// What passed before a session's last command was sent is not the session's silence, though it is told
/// afterwards.
#[test]
fn time_before_a_sessions_last_command_does_not_count() {
    let mut alone = Alone::new(Options::default());
    let session = alone.register();
    alone.elapse(1_000, 100);
    assert!(alone.replica.sessions().contains(session));
    alone.elapse(99, 100);
    assert!(alone.replica.sessions().contains(session));
    alone.elapse(1, 100);
    assert!(!alone.replica.sessions().contains(session));
}

/// With leaders of very different timeouts there may be more marks than are kept: silence then counts from a
/// later one, so that a session may end late, and never early.
#[test]
fn time_that_is_told_very_often_ends_no_session_early() {
    let mut alone = Alone::new(Options::default());
    let session = alone.register();
    for told in 1..=1_000 {
        assert!(alone.replica.sessions().contains(session), "{told}");
        alone.elapse(1, 1_001);
    }
    alone.elapse(1_001, 1_001);
    assert!(!alone.replica.sessions().contains(session));
}

#[test]
fn one_session_too_many_ends_the_one_that_was_silent_longest() {
    let options = Options {
        sessions_max: 2,
        ..Options::default()
    };
    let mut alone = Alone::new(options);
    let (first, second) = (alone.register(), alone.register());
    alone.propose_in(serial(first, 1, 1), 5);
    let third = alone.register();
    let alive = [first, second, third].map(|id| alone.replica.sessions().contains(id));
    assert_eq!(alive, [true, false, true]);
}

#[test]
fn a_reply_without_room_is_lost_and_its_command_still_takes_effect_once() {
    let options = Options {
        session_reply_bytes_max: 3,
        ..Options::default()
    };
    let mut alone = Alone::new(options);
    let session = alone.register();
    assert_eq!(
        alone.propose_in(serial(session, 1, 1), 3),
        Some(Answer::Reply(vec![1, 3, 3, 3]))
    );
    let index = alone.log.last().map(|entry| entry.id.index).unwrap();
    let lost = alone.propose_in(serial(session, 1, 1), 3);
    let is_first = |id: EntryId| id.index == index;
    assert!(
        matches!(lost, Some(Answer::Error(RequestError::ReplyLost(id))) if is_first(id)),
        "{lost:?}"
    );
    // What the client has seen makes room.
    let small = alone.propose_in(serial(session, 2, 2), 5);
    assert_eq!(alone.propose_in(serial(session, 2, 2), 5), small);
    assert_eq!(alone.replica.machine().0, [3, 5]);
}

/// Internal requests are entries like any other to the log, and nothing to the state machine.
#[test]
fn what_replicas_ask_of_themselves_never_reaches_the_state_machine() {
    let mut alone = Alone::new(Options::default());
    alone.register();
    alone.elapse(5, 10);
    alone.propose(4);
    assert_eq!(alone.replica.machine().0, [4]);
    let status = alone.replica.status();
    assert_eq!(status.last_applied, status.commit_index);
    assert_eq!(status.last_applied, Index(alone.log.len() as u64));
}

#[test]
fn bytes_that_are_no_request_change_nothing() {
    let mut alone = Alone::new(Options::default());
    for bytes in [&[][..], &[9], &[1, 2, 3], &[2], &[3, 0]] {
        let answer = alone.ask_raw(raft_core::Bytes::copy_from_slice(bytes));
        assert_eq!(answer, Some(Answer::Error(RequestError::Undecodable)));
    }
    assert!(alone.replica.machine().0.is_empty());
}

fn commands(alone: &Alone) -> usize {
    let commands = alone.log.iter();
    commands
        .filter(|entry| matches!(entry.payload, Payload::Command(_)))
        .count()
}

/// So that little has to happen in a timeout.
fn short() -> Options {
    Options {
        session_timeout: Options::default().request_timeout,
        ..Options::default()
    }
}

#[test]
fn a_leader_without_sessions_writes_nothing_however_long_it_idles() {
    let mut alone = Alone::new(short());
    alone.run_for(Span::from_millis(600_000));
    assert_eq!(commands(&alone), 0);
}

#[test]
fn a_leader_with_sessions_tells_the_time_eight_times_in_a_timeout_until_they_end() {
    let timeout = short().session_timeout;
    let mut alone = Alone::new(short());
    alone.run_for(timeout);
    let session = alone.register();
    alone.run_for(timeout);
    assert!(alone.replica.sessions().contains(session));
    assert_eq!(commands(&alone), 1 + 8);
    assert_eq!(alone.replica.sessions().clock(), timeout);
    // Silence counts from the first entry after the session's last.
    alone.run_for(Span(timeout.0 / 4));
    assert!(!alone.replica.sessions().contains(session));
    assert_eq!(commands(&alone), 1 + 9);
    alone.run_for(Span(timeout.0 * 4));
    assert_eq!(commands(&alone), 1 + 9);
}

#[test]
fn time_that_was_told_is_not_told_again_before_it_has_passed_for_all() {
    let timeout = short().session_timeout;
    let mut alone = Alone::new(short());
    let session = alone.register();
    alone.stall();
    alone.run_for(Span(timeout.0 / 2));
    alone.go_on();
    assert_eq!(alone.replica.sessions().clock(), Span(timeout.0 / 8));
    // The rest is not forgotten.
    alone.run_for(Span(timeout.0 / 8));
    assert_eq!(alone.replica.sessions().clock(), Span(timeout.0 / 8 * 5));
    assert!(alone.replica.sessions().contains(session));
}

#[test]
fn a_session_that_is_used_goes_on() {
    let timeout = short().session_timeout;
    let mut alone = Alone::new(short());
    let session = alone.register();
    for sequence in 1..=10 {
        alone.run_for(Span(timeout.0 - 1));
        let answer = alone.propose_in(serial(session, sequence, sequence), 5);
        assert_eq!(answer, Some(Answer::Reply(vec![sequence])));
    }
}

/// A clock that stood still, or ran, while nobody led counts for nothing.
#[test]
fn time_without_a_leader_does_not_pass() {
    let timeout = short().session_timeout;
    let mut alone = Alone::new(short());
    let session = alone.register();
    for _ in 0..20 {
        alone.now = alone.now + timeout;
        alone.restart();
        alone.run_for(Span(timeout.0 / 16));
    }
    assert!(alone.replica.sessions().contains(session));
    assert_eq!(alone.replica.sessions().clock(), Span(0));
}
