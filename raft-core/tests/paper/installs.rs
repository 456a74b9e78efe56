//! §7: a snapshot takes the place of a follower's log.

use raft_core::{
    Body, Configuration, Entry, HardState, Index, Input, Outcome, Payload, RequestId, RoleKind,
    SnapshotMark, SnapshotMeta, Term,
};

use super::snapshots::{follower, install, matched, offer};
use super::subject::{
    Subject, append, applied, bodies, command, fetching, halted, id, log, member, outcomes,
    persists, restores, sent, session, snapshot, written_state,
};

/// The log never has a hole, and nothing is claimed that a crash could take back. // S62, S4, S04
#[test]
fn an_installed_snapshot_is_acknowledged_and_restored_only_once_its_mark_is_durable() {
    let mut subject = follower(9, 3);
    let written = install(&mut subject, snapshot(4, 7));
    let persist = persists(&written).next().unwrap();
    assert_eq!(
        persist.snapshot.as_deref(),
        Some(&SnapshotMark::Installed(snapshot(4, 7)))
    );
    assert_eq!(persist.hard_state.as_ref().unwrap().commit, Index(7));
    assert_eq!(matched(&written), None);
    assert_eq!(restores(&written), []);
    // The divergent tail is gone, whole.
    assert_eq!((subject.last(), subject.commit()), (id(4, 7), 7));
    assert_eq!(subject.node.status().first, Index(8));
    let done = subject.persisted(&written);
    assert_eq!(matched(&done), Some(7));
    assert_eq!(restores(&done), [id(4, 7)]);
    let next = subject.receive(2, 5, session(5), append(id(4, 7), 8, log(&[(5, 8)])));
    let durable = subject.persisted(&next);
    assert_eq!((matched(&durable), applied(&durable)), (Some(8), vec![]));
    let restored = subject.step(Input::SnapshotRestored { id: id(4, 7) });
    assert_eq!(applied(&restored), [8]);
}

/// What comes from somebody else may be newer than what the leader says of its own log.
#[test]
fn no_more_of_a_newer_snapshot_is_acknowledged_than_the_leader_offered() {
    let mut subject = follower(3, 3);
    let asked = subject.receive(2, 5, session(5), offer(id(4, 7)));
    let (ticket, ..) = fetching(&asked).unwrap();
    let snapshot = snapshot(4, 9);
    let written = subject.step(Input::SnapshotReceived { ticket, snapshot });
    let done = subject.persisted(&written);
    assert_eq!((matched(&done), restores(&done)), (Some(7), vec![id(4, 9)]));
}

/// One that is older than was asked for would not help.
#[test]
fn a_snapshot_that_is_too_old_is_asked_for_again() {
    let mut subject = follower(3, 3);
    let asked = subject.receive(2, 5, session(5), offer(id(4, 7)));
    let (ticket, ..) = fetching(&asked).unwrap();
    let snapshot = snapshot(4, 6);
    assert_eq!(
        subject.step(Input::SnapshotReceived { ticket, snapshot }),
        []
    );
    let again = subject.receive(2, 5, session(5), offer(id(4, 7)));
    assert!(fetching(&again).is_some());
}

/// The heartbeat's answer is no shorter way around the disk. // S4
#[test]
fn a_heartbeats_answer_claims_no_snapshot_that_is_not_durable() {
    let mut subject = follower(9, 3);
    let written = install(&mut subject, snapshot(4, 7));
    let beat = || Body::Heartbeat {
        commit: Index(3),
        read_index: Index(3),
        priority: 1,
        round: raft_core::Round(1),
        promise: raft_core::Span(0),
    };
    let durable = |actions: &[raft_core::Action]| {
        bodies(actions).into_iter().find_map(|body| match body {
            Body::HeartbeatReply { matched, .. } => Some(matched.0),
            _ => None,
        })
    };
    let early = durable(&subject.receive(2, 5, session(5), beat()));
    assert_eq!(early, Some(3), "what was committed before");
    subject.persisted(&written);
    assert_eq!(durable(&subject.receive(2, 5, session(5), beat())), Some(7));
}

/// The ABA race, with a snapshot in between. // S6
#[test]
fn what_was_being_written_before_does_not_count_for_the_log_behind_the_snapshot() {
    let mut subject = follower(3, 3);
    let old: Vec<(u64, u64)> = (4..=12).map(|index| (1, index)).collect();
    let before = subject.receive(2, 5, session(5), append(id(1, 3), 3, log(&old)));
    let written = install(&mut subject, snapshot(4, 7));
    let after = subject.receive(2, 5, session(5), append(id(4, 7), 7, log(&[(5, 8)])));
    let done = subject.persisted(&before);
    assert_eq!(subject.node.status().durable, Index(3));
    assert_eq!((matched(&done), restores(&done)), (None, vec![]));
    assert_eq!(matched(&subject.persisted(&written)), Some(7));
    assert_eq!(matched(&subject.persisted(&after)), Some(8));
}

/// Openraft 01e813a: membership that only the discarded log knew. // S60
#[test]
fn a_snapshot_replaces_the_membership_whatever_the_log_said() {
    let mut subject = follower(3, 3);
    let change = Entry {
        payload: Payload::Configuration(Configuration::of_voters((1..=5).map(member)).into()),
        ..command(5, 4)
    };
    subject.receive(2, 5, session(5), append(id(1, 3), 3, vec![change]));
    assert_eq!(subject.node.status().configuration.voters.len(), 5);
    let configuration = Configuration::of_voters((1..=4).map(member));
    install(
        &mut subject,
        SnapshotMeta {
            configured: id(2, 6),
            configuration: configuration.clone().into(),
            ..snapshot(4, 7)
        },
    );
    let status = subject.node.status();
    assert_eq!(*status.configuration, configuration);
    assert_eq!(status.configured, id(2, 6));
}

// S01
#[test]
fn an_install_lowers_no_term_and_keeps_the_vote() {
    let mut subject = follower(3, 3);
    let written = install(&mut subject, snapshot(4, 7));
    let state = written_state(&written);
    assert_eq!((state.term, subject.term()), (Term(5), 5));
    assert_eq!(subject.node.status().leader, Some(member(2)));
}

/// A snapshot from anybody may be newer than the leader: whoever knows what is committed in a term follows
/// no leader of an earlier one, which may hold something else in its place.
#[test]
fn whoever_installs_a_snapshot_is_at_least_in_the_term_in_which_it_was_known_to_be_committed() {
    let mut subject = follower(3, 3);
    let written = install(
        &mut subject,
        SnapshotMeta {
            term: Term(8),
            ..snapshot(4, 7)
        },
    );
    let state = written_state(&written);
    assert_eq!((state.term, subject.term()), (Term(8), 8));
    assert_eq!(matched(&subject.persisted(&written)), None);
    let old = subject.receive(2, 5, session(5), append(id(5, 7), 7, vec![]));
    assert_eq!(halted(&old), None);
    assert!(matches!(bodies(&old)[..], [Body::StaleTerm]));
}

/// raft-rs#417. // S63
#[test]
fn a_second_snapshot_in_the_middle_of_writing_the_first_loses_neither() {
    let mut subject = follower(3, 3);
    let first = install(&mut subject, snapshot(4, 7));
    let second = install(&mut subject, snapshot(4, 20));
    let done = subject.persisted(&first);
    assert_eq!(matched(&done), Some(7), "the first one is durable");
    assert_eq!(restores(&done), [], "and of no use any more");
    assert_eq!(subject.node.status().snapshot, Some(id(4, 7)));
    let done = subject.persisted(&second);
    assert_eq!(
        (matched(&done), restores(&done)),
        (Some(20), vec![id(4, 20)])
    );
}

// S63
#[test]
fn a_second_snapshot_in_the_middle_of_restoring_the_first_is_restored_after_it() {
    let mut subject = follower(3, 3);
    let first = install(&mut subject, snapshot(4, 7));
    assert_eq!(restores(&subject.persisted(&first)), [id(4, 7)]);
    let second = install(&mut subject, snapshot(4, 20));
    assert_eq!(restores(&subject.persisted(&second)), [], "one at a time");
    subject.step(Input::SnapshotRestored { id: id(4, 20) });
    assert_ne!(subject.node.status().last_applied, Index(20), "not yet");
    let restored = subject.step(Input::SnapshotRestored { id: id(4, 7) });
    assert_eq!(subject.node.status().last_applied, Index(7));
    assert_eq!(restores(&restored), [id(4, 20)]);
    subject.step(Input::SnapshotRestored { id: id(4, 20) });
    let status = subject.node.status();
    assert_eq!((status.last_applied, status.restoring), (Index(20), None));
}

/// Found by thought: an answer from the disk to a question about the log that was discarded.
#[test]
fn entries_that_were_being_read_for_the_old_log_are_not_applied_to_the_new_one() {
    let state = HardState {
        term: Term(1),
        commit: Index(3),
        ..HardState::default()
    };
    let entries = log(&[(1, 1), (1, 2), (1, 3)]);
    let mut subject = Subject::with_log_on_disk(3, state, &entries);
    let reading = subject.step(Input::Tick);
    let ticket = reading.iter().find_map(|action| match action {
        raft_core::Action::ReadLog(read) => Some(read.ticket),
        _ => None,
    });
    let ticket = ticket.expect("nothing is in memory");
    let written = install(&mut subject, snapshot(4, 7));
    let outcome = raft_core::LogReadOutcome::Entries(entries);
    let late = subject.step(Input::LogRead { ticket, outcome });
    assert_eq!((applied(&late), halted(&late)), (vec![], None));
    assert_eq!(restores(&subject.persisted(&written)), [id(4, 7)]);
}

#[test]
fn a_candidate_that_installs_a_snapshot_follows() {
    let mut subject = follower(3, 3);
    let asked = subject.receive(2, 5, session(5), offer(id(4, 7)));
    let (ticket, ..) = fetching(&asked).unwrap();
    subject.step(Input::Campaign);
    assert_eq!(subject.role(), RoleKind::PreCandidate);
    let snapshot = snapshot(4, 7);
    subject.settle(Input::SnapshotReceived { ticket, snapshot });
    assert_eq!(
        (subject.role(), subject.last()),
        (RoleKind::Follower, id(4, 7))
    );
}

/// P3: what a snapshot covers it does not show, but terms tell what is certain.
#[test]
fn a_request_whose_place_is_in_a_snapshot_ends_as_is_certain() {
    // A leader of term 1 appended entries 2 to 6 for its callers, and was then cut off.
    for last in [id(3, 4), id(3, 9)] {
        let mut subject = Subject::new(3);
        subject.elect();
        for request in 2..=6 {
            subject.propose(request);
        }
        let ended = outcomes(&install(&mut subject, snapshot(last.term.0, last.index.0)));
        let expected = (2..=6).map(|request| {
            // Terms do not fall along a log, and at the snapshot's end there is another entry.
            let certain = request >= last.index.0;
            let superseded = Outcome::Superseded(id(1, request));
            (
                request,
                if certain {
                    superseded
                } else {
                    Outcome::Unknown
                },
            )
        });
        assert_eq!(ended, expected.collect::<Vec<_>>());
    }
}

/// A forwarded proposal whose leader made the snapshot's last entry, too, is in it.
#[test]
fn a_forwarded_request_below_a_snapshots_end_of_its_own_term_is_committed() {
    let mut subject = follower(3, 3);
    let forwarded = subject.step(Input::Propose {
        request: RequestId(1),
        command: raft_core::Bytes::from_static(b"x"),
    });
    let question = sent(&forwarded).next().unwrap().session;
    let reply = Body::ForwardProposalsReply {
        outcomes: vec![raft_core::ForwardOutcome::Appended(Index(6))],
    };
    subject.receive(2, 5, question, reply);
    let actions = install(&mut subject, snapshot(5, 9));
    assert_eq!(outcomes(&actions), [(1, Outcome::Committed(id(5, 6)))]);
}

/// What the old log says is said before it is gone.
#[test]
fn a_request_that_was_committed_just_before_an_install_is_committed() {
    let mut subject = follower(3, 3);
    let asked = subject.receive(2, 5, session(5), offer(id(5, 9)));
    let (ticket, ..) = fetching(&asked).unwrap();
    let forwarded = subject.step(Input::Propose {
        request: RequestId(1),
        command: raft_core::Bytes::from_static(b"x"),
    });
    let question = sent(&forwarded).next().unwrap().session;
    let reply = Body::ForwardProposalsReply {
        outcomes: vec![raft_core::ForwardOutcome::Appended(Index(4))],
    };
    let body = append(id(1, 3), 4, log(&[(5, 4)]));
    let (at, snapshot) = (subject.now, snapshot(6, 9));
    for input in [
        Input::Receive(subject.envelope(2, 5, question, reply)),
        Input::Receive(subject.envelope(2, 5, session(5), body)),
        Input::SnapshotReceived { ticket, snapshot },
    ] {
        subject.node.handle(raft_core::Event { at, input });
    }
    let mut actions = Vec::new();
    subject.node.drain(&mut actions);
    assert_eq!(outcomes(&actions), [(1, Outcome::Committed(id(5, 4)))]);
}
