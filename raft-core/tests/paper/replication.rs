//! §5.3 and §5.4.2.

use raft_core::{
    Action, AppendOutcome, Body, Bytes, Configuration, Entry, HaltReason, HardState, Index, Input,
    LogReadOutcome, Options, Payload, RequestId, Round, Span, Term,
};

use super::subject::{
    Subject, append, bodies, command, halted, heartbeat, id, log, member, read_of, sent, session,
};

fn conflict(actions: &[Action]) -> Option<(u64, raft_core::EntryId)> {
    bodies(actions).into_iter().find_map(|body| match body {
        Body::AppendReply(AppendOutcome::Conflict { previous, hint }) => Some((previous.0, hint)),
        _ => None,
    })
}

/// The appends to one peer: where each begins, and how many entries it has.
fn appends(actions: &[Action], to: u64) -> Vec<(u64, usize)> {
    let to_peer = sent(actions).filter(|envelope| envelope.to == member(to));
    let appends = to_peer.filter_map(|envelope| match &envelope.body {
        Body::AppendEntries {
            previous, entries, ..
        } => Some((previous.index.0, entries.len())),
        _ => None,
    });
    appends.collect()
}

fn restored(term: u64, ids: &[(u64, u64)]) -> Subject {
    let state = HardState {
        term: Term(term),
        ..HardState::default()
    };
    Subject::restored(3, state, log(ids))
}

/// §5.3: the consistency check.
#[test]
fn entries_are_refused_when_the_one_before_them_is_missing() {
    let mut subject = restored(1, &[(1, 1)]);
    let got = subject.receive(2, 2, session(2), append(id(2, 5), 0, log(&[(2, 6)])));
    assert_eq!(conflict(&got), Some((5, id(1, 1))));
    assert_eq!(subject.last(), id(1, 1));
}

/// §5.3: "If an existing entry conflicts with a new one, delete the existing entry and all that
/// follow it".
#[test]
fn a_conflicting_entry_is_replaced_with_all_that_follow() {
    let mut subject = restored(1, &[(1, 1), (1, 2), (1, 3)]);
    subject.receive(2, 2, session(2), append(id(1, 1), 0, log(&[(2, 2)])));
    assert_eq!(subject.last(), id(2, 2));
}

/// The same message again, or a shorter one that was overtaken. // S47, L01
#[test]
fn a_shorter_append_that_agrees_truncates_nothing() {
    let mut subject = restored(1, &[(1, 1), (1, 2), (1, 3)]);
    subject.receive(2, 1, session(1), append(id(0, 0), 0, log(&[(1, 1)])));
    assert_eq!(subject.last(), id(1, 3));
}

// S45, L03
#[test]
fn a_follower_commits_no_further_than_it_agrees_with_its_leader() {
    let mut subject = restored(1, &[(1, 1), (1, 2), (1, 3)]);
    subject.receive(2, 2, session(2), append(id(1, 1), 3, vec![]));
    assert_eq!(
        subject.commit(),
        1,
        "entries 2 and 3 may be another leader's"
    );
    subject.receive(2, 2, session(2), heartbeat(3, 1));
    assert_eq!(subject.commit(), 1);
}

/// Found by review: agreement shrinks with the log.
#[test]
fn what_was_truncated_does_not_count_as_agreed() {
    let mut subject = Subject::new(3);
    let ten: Vec<(u64, u64)> = (1..=10).map(|index| (3, index)).collect();
    subject.receive(2, 5, session(5), append(id(0, 0), 0, log(&ten)));
    subject.receive(2, 5, session(5), append(id(3, 4), 10, log(&[(4, 5)])));
    assert_eq!((subject.last(), subject.commit()), (id(4, 5), 5));
}

// S46
#[test]
fn a_heartbeat_tells_no_commit_index_beyond_what_the_peer_has() {
    let mut subject = Subject::new(3);
    subject.elect();
    subject.propose(1);
    subject.matched(2, 2);
    assert_eq!(subject.commit(), 2);
    let beat = subject.time_out();
    let told = sent(&beat)
        .find(|envelope| envelope.to == member(3))
        .unwrap();
    assert!(matches!(
        told.body,
        Body::Heartbeat {
            commit: Index(0),
            ..
        }
    ));
}

// S48
#[test]
fn a_leader_that_contradicts_a_committed_entry_halts_the_node() {
    let mut subject = Subject::new(3);
    subject.receive(
        2,
        1,
        session(1),
        append(id(0, 0), 2, log(&[(1, 1), (1, 2)])),
    );
    let got = subject.receive(3, 2, session(2), append(id(1, 1), 0, log(&[(2, 2)])));
    let reason = HaltReason::CommittedConflict {
        index: Index(2),
        committed: Term(1),
        found: Term(2),
    };
    assert_eq!(halted(&got), Some(reason));
}

// S49
#[test]
fn an_append_below_the_commit_index_succeeds() {
    let mut subject = Subject::new(3);
    let body = append(id(0, 0), 2, log(&[(1, 1), (1, 2)]));
    subject.settle(Input::Receive(subject.envelope(2, 1, session(1), body)));
    let got = subject.receive(2, 1, session(1), append(id(1, 1), 2, vec![]));
    assert_eq!(conflict(&got), None);
}

/// §5.3, the optimization: one round for each conflicting term, not for each entry. // L19
#[test]
fn a_leader_finds_where_the_logs_agree_by_terms() {
    let ids: Vec<(u64, u64)> = (1..=100)
        .map(|i| (1, i))
        .chain((101..=200).map(|i| (5, i)))
        .collect();
    let mut subject = restored(5, &ids);
    subject.elect();
    // The follower has a hundred and fifty entries of term 2 instead of ours of term 5.
    let reply = AppendOutcome::Conflict {
        previous: Index(200),
        hint: id(2, 150),
    };
    let reply = subject.envelope(2, 6, session(6), Body::AppendReply(reply));
    let next = subject.step(Input::Receive(reply));
    assert_eq!(
        appends(&next, 2).first().map(|(previous, _)| *previous),
        Some(100)
    );
}

// S50
#[test]
fn late_answers_move_nothing_back() {
    let mut subject = Subject::new(3);
    subject.elect();
    for request in 1..=5 {
        subject.propose(request);
    }
    subject.matched(2, 6);
    subject.matched(2, 3);
    let stale = AppendOutcome::Conflict {
        previous: Index(4),
        hint: id(0, 0),
    };
    subject.receive(2, 1, session(1), Body::AppendReply(stale));
    let known: Vec<_> = subject.node.status().peers().collect();
    assert_eq!(known[0], (member(2), Index(6), Index(7)));
}

/// An answer to a message of an earlier life of the exchange. // S50, L20
#[test]
fn an_answer_of_another_session_is_refused() {
    let mut subject = Subject::new(3);
    subject.elect();
    let mut other = session(1);
    other.counter = 7;
    subject.receive(
        2,
        1,
        other,
        Body::AppendReply(AppendOutcome::Matched(Index(1))),
    );
    assert_eq!(subject.commit(), 0);
    assert_eq!(subject.node.status().refused.stale_session, 1);
}

// S51
#[test]
fn appends_are_pipelined_up_to_the_window_and_go_on_with_each_answer() {
    let options = Options {
        inflight_appends_max: 2,
        ..Options::default()
    };
    let mut subject = Subject::with_options(3, HardState::default(), vec![], options);
    subject.elect();
    subject.matched(2, 1);
    let sent_at = |actions: &[Action]| appends(actions, 2);
    assert_eq!(sent_at(&subject.propose(1)), [(1, 1)]);
    assert_eq!(sent_at(&subject.propose(2)), [(2, 1)]);
    assert_eq!(sent_at(&subject.propose(3)), [], "two are on their way");
    assert_eq!(sent_at(&subject.matched(2, 2)), [(3, 1)]);
}

/// An append is lost and nothing else is proposed; found again whatever the round trip. // S51
#[test]
fn a_lost_append_is_sent_again_after_a_heartbeats_answer() {
    let mut subject = Subject::new(3);
    subject.elect();
    subject.matched(2, 1);
    subject.matched(3, 1);
    subject.propose(1);
    subject.time_out();
    subject.heartbeat_reply(3, 1, 2);
    subject.time_out();
    // The answer to the first heartbeat comes after the second was sent.
    let again = subject.heartbeat_reply(2, 1, 1);
    assert_eq!(appends(&again, 2), [(1, 1)]);
}

#[test]
fn a_lost_acknowledgement_is_made_up_for_by_a_heartbeats_answer() {
    let mut subject = Subject::new(3);
    subject.elect();
    subject.matched(2, 1);
    subject.propose(1);
    subject.time_out();
    subject.heartbeat_reply(2, 1, 2);
    assert_eq!(subject.commit(), 2);
}

// S53, S57
#[test]
fn what_no_leader_can_have_sent_is_refused_and_counted() {
    let mut subject = restored(1, &[(1, 1)]);
    for nonsense in [
        append(id(1, 1), 0, log(&[(2, 3)])),
        append(id(1, 1), 0, log(&[(2, 2), (1, 3)])),
        append(id(1, 1), 0, log(&[(9, 2)])),
        append(id(1, u64::MAX), 0, log(&[(2, 2)])),
        append(id(9, 1), 0, vec![]),
    ] {
        subject.receive(2, 2, session(2), nonsense);
    }
    assert_eq!(subject.last(), id(1, 1));
    assert_eq!(subject.node.status().refused.malformed, 5);
    subject.elect();
    let term = subject.term();
    for (round, received, matched) in [(99, 0, 0), (0, 99, 0), (0, 0, 1)] {
        let body = Body::HeartbeatReply {
            round: Round(round),
            received: Index(received),
            matched: Index(matched),
            promised: Span(0),
            disk: raft_core::DiskHealth::Healthy,
        };
        subject.receive(2, term, session(term), body);
    }
    subject.receive(
        2,
        term,
        session(term),
        Body::AppendReply(AppendOutcome::Matched(Index(99))),
    );
    assert_eq!(subject.node.status().refused.malformed, 9);
}

/// §5.4.2, Figure 8. // S44, C01
#[test]
fn an_older_term_commits_only_through_an_entry_of_the_current_term() {
    let mut subject = restored(2, &[(1, 1), (2, 2)]);
    subject.elect();
    subject.matched(2, 2);
    assert_eq!(
        subject.commit(),
        0,
        "on a majority, and still not committed"
    );
    subject.matched(2, 3);
    assert_eq!(subject.commit(), 3);
}

/// §8: a leader learns what is committed by an entry of its own. // S44, C05
#[test]
fn a_new_leader_starts_its_term_with_an_entry_of_its_own() {
    let mut subject = restored(2, &[(1, 1), (2, 2)]);
    let elected = subject.elect();
    assert_eq!(subject.last(), id(3, 3));
    let appended = sent(&elected).find_map(|envelope| match &envelope.body {
        Body::AppendEntries { entries, .. } => entries.last().cloned(),
        _ => None,
    });
    assert_eq!(appended.map(|entry| entry.payload), Some(Payload::Noop));
}

// S55
#[test]
fn a_proposal_after_stepping_down_is_not_appended() {
    let mut subject = Subject::new(3);
    subject.elect();
    let last = subject.last();
    subject.receive(2, 9, session(9), append(id(0, 0), 0, vec![]));
    subject.propose(1);
    assert_eq!(subject.last(), last);
}

// S56
#[test]
fn past_the_quota_proposals_are_refused_and_one_may_always_go() {
    let options = Options {
        uncommitted_bytes_max: 100,
        ..Options::default()
    };
    let mut subject = Subject::with_options(3, HardState::default(), vec![], options);
    subject.elect();
    let large = Bytes::from(vec![0; 5_000]);
    let refused = |actions: &[Action]| {
        actions.iter().any(|action| {
            matches!(
                action,
                Action::Resolve {
                    outcome: raft_core::Outcome::Rejected(_),
                    ..
                }
            )
        })
    };
    let propose = |subject: &mut Subject, request| {
        let (request, command) = (RequestId(request), large.clone());
        subject.settle(Input::Propose { request, command })
    };
    assert!(!refused(&propose(&mut subject, 1)));
    assert!(refused(&propose(&mut subject, 2)));
    subject.matched(2, 2);
    assert!(!refused(&propose(&mut subject, 3)));
}

/// Dissertation §4.1. // S25, M04
#[test]
fn a_configuration_counts_from_its_append_to_its_truncation() {
    let mut subject = Subject::new(3);
    let change = |term, index, voters: u64| Entry {
        payload: Payload::Configuration(Configuration::of_voters((1..=voters).map(member)).into()),
        ..command(term, index)
    };
    let voters = |subject: &Subject| subject.node.status().configuration.voters.len();
    let entries = vec![change(1, 1, 4), change(1, 2, 5)];
    subject.receive(2, 1, session(1), append(id(0, 0), 0, entries));
    assert_eq!(voters(&subject), 5);
    subject.receive(3, 2, session(2), append(id(1, 1), 0, log(&[(2, 2)])));
    assert_eq!(voters(&subject), 4);
    subject.receive(3, 3, session(3), append(id(0, 0), 0, log(&[(3, 1)])));
    assert_eq!(voters(&subject), 3);
}

/// P5: what left memory is read back, under a byte limit, and checked.
#[test]
fn a_peer_far_behind_is_sent_what_is_read_back_from_the_log() {
    let options = Options {
        tail_bytes_max: 0,
        ..Options::default()
    };
    let state = HardState {
        term: Term(1),
        ..HardState::default()
    };
    let all: Vec<(u64, u64)> = (1..=20).map(|index| (1, index)).collect();
    let mut subject = Subject::with_options(3, state, log(&all), options);
    subject.elect();
    subject.matched(3, 21);
    assert_eq!(subject.commit(), 21);
    let behind = AppendOutcome::Conflict {
        previous: Index(20),
        hint: id(0, 0),
    };
    let reply = subject.envelope(2, 2, session(2), Body::AppendReply(behind));
    let actions = subject.step(Input::Receive(reply));
    let read = actions.iter().find_map(|action| match action {
        Action::ReadLog(read) => Some(*read),
        _ => None,
    });
    let read = read.expect("the entries are not in memory");
    assert_eq!(read.from, Index(1));
    let outcome = LogReadOutcome::Entries(log(&all[..5]));
    let sent = subject.step(Input::LogRead {
        ticket: read.ticket,
        outcome,
    });
    assert_eq!(appends(&sent, 2), [(0, 5)]);
}

/// Found by review: an answer that says nothing new must not throw away what is being read.
#[test]
fn what_is_being_read_for_a_peer_is_not_asked_for_again_with_every_heartbeat() {
    let state = HardState {
        term: Term(1),
        ..HardState::default()
    };
    let all: Vec<(u64, u64)> = (1..=20).map(|index| (1, index)).collect();
    let mut subject = Subject::with_log_on_disk(3, state, &log(&all));
    subject.elect();
    let behind = AppendOutcome::Conflict {
        previous: Index(20),
        hint: id(1, 4),
    };
    let reply = subject.envelope(2, 2, session(2), Body::AppendReply(behind));
    let reads = |actions: &[Action]| {
        actions
            .iter()
            .filter(|action| matches!(action, Action::ReadLog(_)))
            .count()
    };
    assert_eq!(reads(&subject.step(Input::Receive(reply))), 1);
    for round in 1..=3 {
        subject.time_out();
        assert_eq!(reads(&subject.heartbeat_reply(2, round, 4)), 0);
    }
}

/// Found by review: a follower that refuses entries is not sent them with every read.
#[test]
fn a_probe_is_repeated_with_heartbeats_and_not_with_reads() {
    let mut subject = Subject::new(3);
    subject.elect();
    for request in 0..5 {
        let request = RequestId(request);
        let asked = subject.step(read_of(request));
        assert_eq!(appends(&asked, 2), []);
        let round = u64::try_from(bodies(&asked).len()).unwrap() / 2 * (request.0 + 1);
        assert_eq!(appends(&subject.heartbeat_reply(2, round, 0), 2), []);
    }
    subject.time_out();
    assert_eq!(appends(&subject.heartbeat_reply(2, 6, 0), 2), [(0, 1)]);
}

#[test]
fn entries_read_back_that_are_not_the_ones_written_halt_the_node() {
    let state = HardState {
        term: Term(1),
        commit: Index(1),
        ..HardState::default()
    };
    for (outcome, expected) in [
        (LogReadOutcome::Entries(log(&[(1, 1)])), None),
        (LogReadOutcome::Damaged, Some(1)),
        (LogReadOutcome::Entries(log(&[(9, 1)])), Some(1)),
        (LogReadOutcome::Entries(vec![]), Some(1)),
    ] {
        let mut subject = Subject::with_log_on_disk(1, state, &log(&[(1, 1)]));
        let first = subject.step(Input::Tick);
        let Some(Action::ReadLog(read)) = first.first() else {
            panic!("what is to be applied is not in memory: {first:?}");
        };
        let ticket = read.ticket;
        let actions = subject.step(Input::LogRead { ticket, outcome });
        let expected = expected.map(|index| HaltReason::LogDamaged {
            index: Index(index),
        });
        assert_eq!(halted(&actions), expected);
    }
}

/// Many `handle`s, one `drain`: one write and one append for each peer.
#[test]
fn a_batch_of_proposals_is_one_write_and_one_append_for_each_peer() {
    let mut subject = Subject::new(3);
    subject.elect();
    subject.matched(2, 1);
    subject.matched(3, 1);
    for request in 0..100 {
        let at = subject.now;
        let (request, command) = (RequestId(request), Bytes::from_static(b"x"));
        let input = Input::Propose { request, command };
        subject.node.handle(raft_core::Event { at, input });
    }
    let mut actions = Vec::new();
    subject.node.drain(&mut actions);
    assert_eq!(appends(&actions, 2), [(1, 100)]);
    assert_eq!(appends(&actions, 3), [(1, 100)]);
    let written: Vec<_> = super::subject::persists(&actions).collect();
    assert_eq!(written.len(), 1);
    let shared = sent(&actions).all(|envelope| match &envelope.body {
        Body::AppendEntries { entries, .. } => std::sync::Arc::ptr_eq(entries, &written[0].entries),
        _ => true,
    });
    assert!(shared, "peers and disk share one run of entries");
}

#[test]
fn a_restarted_peer_is_asked_anew_where_the_logs_agree() {
    let mut subject = Subject::new(3);
    subject.elect();
    subject.matched(2, 1);
    subject.propose(1);
    let round = Body::HeartbeatReply {
        round: Round(0),
        received: Index(0),
        matched: Index(0),
        promised: Span(0),
        disk: raft_core::DiskHealth::Healthy,
    };
    let mut reply = subject.envelope(2, 1, session(1), round);
    reply.boot = raft_core::Boot(2);
    let actions = subject.step(Input::Receive(reply));
    assert_eq!(
        appends(&actions, 2),
        [(1, 1)],
        "from what is known to be durable there"
    );
    assert_eq!(sent(&actions).next().unwrap().session.counter, 1);
    subject.now = subject.now + Span::from_millis(1);
    // What its former life still says is no answer to this.
    subject.receive(
        2,
        1,
        session(1),
        Body::AppendReply(AppendOutcome::Matched(Index(2))),
    );
    assert_eq!(subject.commit(), 1);
}

/// S52: answers that overtake each other, or come again, take nothing back.
#[test]
fn what_is_sent_next_lies_above_what_is_matched_in_whatever_order_answers_come() {
    let mut subject = Subject::new(3);
    subject.elect();
    for request in 1..=4 {
        subject.propose(request);
    }
    let peer = |subject: &Subject| {
        let status = subject.node.status();
        let mut peers = status.peers().filter(|(peer, ..)| *peer == member(2));
        let (_, matched, next) = peers.next().unwrap();
        (matched.0, next.0)
    };
    subject.matched(2, 1);
    let conflict = AppendOutcome::Conflict {
        previous: Index(5),
        hint: id(1, 1),
    };
    for (answer, expected) in [
        (AppendOutcome::Matched(Index(4)), 4),
        (AppendOutcome::Matched(Index(2)), 4),
        (conflict, 4),
        (AppendOutcome::Matched(Index(4)), 4),
        (AppendOutcome::Matched(Index(5)), 5),
        (conflict, 5),
    ] {
        let term = subject.term();
        subject.receive(2, term, session(term), Body::AppendReply(answer));
        let (matched, next) = peer(&subject);
        assert_eq!(matched, expected);
        assert!(next > matched, "{next} is sent next, {matched} is matched");
    }
}
