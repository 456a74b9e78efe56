//! §7: snapshots in place of a log, as the node sees them that has none of its own yet.

use raft_core::{
    AppendOutcome, Body, Configuration, Entry, EntryId, HaltReason, HardState, Index, Input, Node,
    Options, Outcome, Payload, RequestId, RestoreError, Restored, RoleKind, SnapshotMark,
    SnapshotMeta, SnapshotTicket, Term, TermRuns, Time,
};

use super::subject::{
    Subject, append, applied, bodies, command, empty, fetching, halted, id, log, member, outcomes,
    persists, restores, sent, session, snapshot,
};

fn matched(actions: &[raft_core::Action]) -> Option<u64> {
    bodies(actions).into_iter().find_map(|body| match body {
        Body::AppendReply(AppendOutcome::Matched(index)) => Some(index.0),
        _ => None,
    })
}

fn offer(id: EntryId) -> Body {
    let source = member(2);
    Body::InstallSnapshot { id, source }
}

/// A follower of node 2 in term 5, with entries of term 1 of which so many are committed.
fn follower(entries: u64, commit: u64) -> Subject {
    let mut subject = Subject::new(3);
    let ids: Vec<(u64, u64)> = (1..=entries).map(|index| (1, index)).collect();
    let body = append(id(0, 0), commit, log(&ids));
    subject.settle(Input::Receive(subject.envelope(2, 5, session(5), body)));
    subject
}

/// Node 2 offers a snapshot, and it is fetched; what came of its arrival.
fn install(subject: &mut Subject, snapshot: SnapshotMeta) -> Vec<raft_core::Action> {
    let asked = subject.receive(2, 5, session(5), offer(snapshot.id));
    let (ticket, ..) = fetching(&asked).expect("the log does not have it");
    subject.step(Input::SnapshotReceived { ticket, snapshot })
}

// S23
#[test]
fn a_node_whose_state_machine_is_not_whole_does_not_campaign() {
    let mut subject = Subject::compacted(id(1, 7), log(&[(1, 8)]));
    let actions = subject.step(Input::Campaign);
    assert_eq!(restores(&actions), [id(1, 7)]);
    assert_eq!(subject.role(), RoleKind::Follower);
    subject.time_out();
    assert_eq!(subject.role(), RoleKind::Follower);
    let status = subject.node.status();
    assert_eq!(
        (status.last_applied, status.commit_index),
        (Index(0), Index(7))
    );
    assert_eq!(status.restoring, Some(id(1, 7)));
    subject.step(Input::SnapshotRestored { id: id(1, 7) });
    assert_eq!(subject.node.status().last_applied, Index(7));
    subject.step(Input::Campaign);
    assert_eq!(subject.role(), RoleKind::PreCandidate);
}

#[test]
fn nothing_is_applied_before_the_snapshot_is_restored() {
    let mut subject = Subject::compacted(id(1, 7), log(&[(1, 8)]));
    let first = subject.receive(2, 1, session(1), append(id(1, 8), 8, vec![]));
    assert_eq!(
        (restores(&first), applied(&first)),
        (vec![id(1, 7)], vec![])
    );
    let early = subject.step(Input::Applied { index: Index(7) });
    assert_eq!(applied(&early), []);
    assert_eq!(subject.node.status().last_applied, Index(0));
    let restored = subject.step(Input::SnapshotRestored { id: id(1, 7) });
    assert_eq!(applied(&restored), [8]);
}

/// An older snapshot never overwrites newer state. // S58, S03
#[test]
fn a_snapshot_of_what_is_committed_here_is_not_fetched_and_acknowledged_as_far_as_it_goes() {
    let mut subject = follower(6, 6);
    let actions = subject.receive(2, 5, session(5), offer(id(1, 4)));
    assert_eq!(fetching(&actions), None);
    assert_eq!(matched(&actions), Some(6), "what is known to agree anyway");
    assert_eq!(subject.last(), id(1, 6));
}

// S58
#[test]
fn a_snapshot_of_what_is_compacted_here_is_not_fetched() {
    let mut subject = Subject::compacted(id(1, 7), log(&[(1, 8)]));
    let actions = subject.receive(2, 1, session(1), offer(id(1, 3)));
    assert_eq!((fetching(&actions), matched(&actions)), (None, Some(3)));
}

// S58, S4
#[test]
fn a_snapshot_whose_end_is_in_the_log_commits_the_log_up_to_there() {
    let mut subject = Subject::restored(3, HardState::default(), vec![]);
    let written = subject.receive(
        2,
        1,
        session(1),
        append(id(0, 0), 0, log(&[(1, 1), (1, 2), (1, 3)])),
    );
    let actions = subject.receive(2, 1, session(1), offer(id(1, 2)));
    assert_eq!((fetching(&actions), subject.commit()), (None, 2));
    assert_eq!(matched(&actions), None, "not durable yet");
    assert_eq!(matched(&subject.persisted(&written)), Some(3));
}

/// Agreement with the leader ends where its offer does. // S45
#[test]
fn a_snapshot_in_the_log_says_nothing_of_the_entries_behind_it() {
    let state = HardState {
        term: Term(1),
        ..HardState::default()
    };
    let mut subject = Subject::restored(3, state, log(&[(1, 1), (1, 2), (1, 3)]));
    let actions = subject.settle(Input::Receive(subject.envelope(
        2,
        5,
        session(5),
        offer(id(1, 2)),
    )));
    assert_eq!(matched(&actions), Some(2));
}

// S59, S11
#[test]
fn a_snapshot_that_contradicts_a_committed_entry_halts_the_node() {
    let reason = HaltReason::CommittedConflict {
        index: Index(4),
        committed: Term(1),
        found: Term(3),
    };
    let mut subject = follower(6, 6);
    let actions = subject.receive(2, 5, session(5), offer(id(3, 4)));
    assert_eq!(halted(&actions), Some(reason));
    // The same, found only when it arrives: the log was committed meanwhile.
    let mut subject = follower(3, 3);
    let asked = subject.receive(2, 5, session(5), offer(id(3, 4)));
    let (ticket, ..) = fetching(&asked).unwrap();
    subject.receive(2, 5, session(5), append(id(1, 3), 4, log(&[(1, 4)])));
    let snapshot = snapshot(3, 4);
    let actions = subject.step(Input::SnapshotReceived { ticket, snapshot });
    assert_eq!(halted(&actions), Some(reason));
}

// S57
#[test]
fn an_offer_that_no_leader_can_have_made_is_refused() {
    let mut subject = follower(3, 3);
    for nonsense in [id(9, 9), id(0, 0)] {
        let actions = subject.receive(2, 5, session(5), offer(nonsense));
        assert_eq!(fetching(&actions), None);
    }
    assert_eq!(subject.node.status().refused.malformed, 2);
}

/// S07's other side: what was fetched so far is not thrown away by the leader's patience.
#[test]
fn an_offer_is_fetched_once_however_often_it_is_repeated_until_that_fails() {
    let mut subject = follower(3, 3);
    let asked = subject.receive(2, 5, session(5), offer(id(4, 20)));
    let (ticket, at_least, source) = fetching(&asked).unwrap();
    assert_eq!((at_least, source), (id(4, 20), 2));
    let other = Body::InstallSnapshot {
        id: id(4, 20),
        source: member(3),
    };
    for repeated in [offer(id(4, 20)), offer(id(4, 10)), other.clone()] {
        assert_eq!(fetching(&subject.receive(2, 5, session(5), repeated)), None);
    }
    subject.step(Input::SnapshotFailed {
        ticket: SnapshotTicket(ticket.0 + 1),
    });
    assert_eq!(
        fetching(&subject.receive(2, 5, session(5), other.clone())),
        None
    );
    subject.step(Input::SnapshotFailed { ticket });
    let again = fetching(&subject.receive(2, 5, session(5), other));
    assert_eq!(again, Some((ticket.next(), id(4, 20), 3)));
    let newer = fetching(&subject.receive(2, 5, session(5), offer(id(4, 30))));
    assert_eq!(newer.map(|(_, at_least, _)| at_least), Some(id(4, 30)));
    let stale = subject.step(Input::SnapshotReceived {
        ticket: ticket.next(),
        snapshot: snapshot(4, 40),
    });
    assert_eq!(stale, [], "a later ticket took its place");
}

/// The log never has a hole, and nothing is claimed that a crash could take back. // S62, S4, S04
#[test]
fn an_installed_snapshot_is_acknowledged_and_restored_only_once_its_mark_is_durable() {
    let mut subject = follower(9, 3);
    let written = install(&mut subject, snapshot(4, 7));
    let persist = persists(&written).next().unwrap();
    assert_eq!(
        persist.snapshot,
        Some(SnapshotMark::Installed(snapshot(4, 7)))
    );
    assert_eq!(persist.hard_state.unwrap().commit, Index(7));
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
    let state = persists(&written).next().unwrap().hard_state.unwrap();
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
    let state = persists(&written).next().unwrap().hard_state.unwrap();
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

/// What a store must not say.
#[test]
fn a_log_without_the_snapshot_it_goes_on_from_makes_no_node() {
    let make = |base: EntryId, snapshot: Option<SnapshotMeta>| {
        let mut terms = TermRuns::new(base);
        let first = base.index.next();
        terms.append(EntryId {
            index: first,
            ..base
        });
        let restored = Restored {
            hard_state: HardState {
                term: Term(3),
                ..HardState::default()
            },
            terms,
            snapshot,
            ..empty(3)
        };
        Node::new(Time(0), Options::default(), restored).err()
    };
    assert_eq!(make(id(2, 5), Some(snapshot(2, 5))), None);
    assert_eq!(make(id(2, 5), Some(snapshot(2, 6))), None);
    let missing = RestoreError::NoSnapshot { base: id(2, 5) };
    assert_eq!(make(id(2, 5), None), Some(missing));
    for wrong in [snapshot(2, 4), snapshot(2, 7), snapshot(1, 5)] {
        let found = wrong.id;
        let error = make(id(2, 5), Some(wrong));
        assert!(matches!(error, Some(RestoreError::Snapshot { found: f, .. }) if f == found));
    }
}

/// A commit index that was not written in time. // S11
#[test]
fn what_a_restored_snapshot_contains_is_committed() {
    let subject = Subject::compacted(id(1, 7), log(&[(1, 8)]));
    assert_eq!(subject.commit(), 7);
}
