//! §7 and dissertation §5.1: what leaves the log, and when.

use raft_core::{
    Action, AppendOutcome, Body, Bytes, Configuration, EntryId, HardState, Index, Input, Options,
    Payload, RequestId, SnapshotMark, SnapshotMeta, Span, Term, Time,
};

use super::subject::{
    Subject, append, command, compactions, id, log, member, persists, sent, session,
};

/// Each command takes 10,064 bytes of the log.
const COMMAND_BYTES: u64 = 10_064;

/// A leader of three that keeps, behind a snapshot, so many commands for everybody and so many for peers.
fn leader(keep: u64, wait: u64) -> Subject {
    let options = Options {
        compact_keep_bytes: keep * COMMAND_BYTES,
        compact_wait_bytes_max: wait * COMMAND_BYTES,
        ..Options::default()
    };
    let mut subject = Subject::with_options(3, HardState::default(), vec![], options);
    subject.elect();
    subject
}

/// Entries 2 to `last` are proposed, and committed with the help of node 2.
fn write(subject: &mut Subject, last: u64) {
    while subject.last().index < Index(last) {
        subject.settle(Input::Propose {
            request: RequestId(subject.last().index.0),
            command: Bytes::from(vec![7; 10_000]),
        });
    }
    subject.matched(2, last);
    assert_eq!(subject.node.status().last_applied, Index(last));
}

// S62
#[test]
fn the_log_is_compacted_only_once_the_snapshots_mark_is_durable() {
    let mut subject = leader(0, 0);
    write(&mut subject, 10);
    let snapshot = subject.node.snapshot_meta(Index(8)).unwrap();
    let taken = subject.step(Input::SnapshotTaken {
        snapshot: snapshot.clone(),
    });
    let persist = persists(&taken).next().unwrap();
    assert_eq!(
        persist.snapshot.as_deref(),
        Some(&SnapshotMark::Taken(snapshot))
    );
    assert_eq!(persist.entries.len(), 0);
    assert_eq!(compactions(&taken), []);
    let done = subject.persisted(&taken);
    assert_eq!(compactions(&done), [id(1, 8)]);
    assert_eq!(subject.node.status().first, Index(9));
    assert_eq!(subject.node.status().snapshot, Some(id(1, 8)));
}

/// One write carries both, so neither is durable without the other.
#[test]
fn a_mark_goes_along_with_whatever_is_written_next() {
    let mut subject = leader(0, 0);
    write(&mut subject, 3);
    let snapshot = subject.node.snapshot_meta(Index(3)).unwrap();
    let at = subject.now;
    for input in [
        Input::Propose {
            request: RequestId(9),
            command: Bytes::from_static(b"x"),
        },
        Input::SnapshotTaken { snapshot },
    ] {
        subject.node.handle(raft_core::Event { at, input });
    }
    let mut actions = Vec::new();
    subject.node.drain(&mut actions);
    let persist = persists(&actions).next().unwrap();
    assert_eq!(persist.entries.len(), 1);
    assert_eq!(
        persist.snapshot.as_ref().map(|mark| mark.meta().id),
        Some(id(1, 3))
    );
}

#[test]
fn entries_behind_the_snapshot_are_kept_for_those_who_were_away_for_a_moment() {
    let mut subject = leader(5, 5);
    subject.matched(3, 1);
    write(&mut subject, 20);
    subject.matched(3, 20);
    let compacted = compactions(&subject.take_snapshot());
    assert_eq!(compacted, [id(1, 15)]);
}

/// hashicorp `membership.md`. // S61
#[test]
fn what_is_compacted_and_what_is_in_a_snapshot_name_the_membership_of_just_that_place() {
    let change = |term, index, voters: u64| raft_core::Entry {
        payload: Payload::Configuration(Configuration::of_voters((1..=voters).map(member)).into()),
        ..command(term, index)
    };
    let options = Options {
        compact_keep_bytes: 0,
        compact_wait_bytes_max: 0,
        ..Options::default()
    };
    let mut subject = Subject::with_options(3, HardState::default(), vec![], options);
    let entries = vec![
        command(1, 1),
        change(1, 2, 4),
        command(1, 3),
        change(1, 4, 5),
    ];
    let body = append(id(0, 0), 3, entries);
    subject.settle(Input::Receive(subject.envelope(2, 1, session(1), body)));
    assert_eq!(subject.node.status().configuration.voters.len(), 5);
    assert_eq!(subject.node.snapshot_meta(Index(4)), None, "not committed");
    let snapshot = subject.node.snapshot_meta(Index(3)).unwrap();
    assert_eq!(snapshot.configured, id(1, 2));
    assert_eq!(snapshot.configuration.voters.len(), 4);
    let wrong = SnapshotMeta {
        configured: id(1, 4),
        ..snapshot.clone()
    };
    assert_eq!(subject.settle(Input::SnapshotTaken { snapshot: wrong }), []);
    let actions = subject.settle(Input::SnapshotTaken { snapshot });
    let compact = actions.iter().find_map(|action| match action {
        Action::CompactLog(compact) => Some(compact),
        _ => None,
    });
    let compact = compact.unwrap();
    assert_eq!((compact.base, compact.configured), (id(1, 3), id(1, 2)));
    assert_eq!(compact.configuration.voters.len(), 4);
    // The later change can still be taken back, and the earlier one is then in force.
    subject.receive(3, 2, session(2), append(id(1, 3), 3, log(&[(2, 4)])));
    assert_eq!(subject.node.status().configuration.voters.len(), 4);
}

/// A follower that lags is waited for, and one that is gone holds nothing beyond the bound.
#[test]
fn a_slow_follower_holds_the_log_up_to_a_bound_and_a_dead_one_not_for_long() {
    let mut subject = leader(0, 10);
    write(&mut subject, 5);
    subject.matched(3, 3);
    assert_eq!(compactions(&subject.take_snapshot()), [], "in small steps");
    subject.matched(3, 4);
    assert_eq!(compactions(&subject.matched(3, 5)), [id(1, 5)]);
    write(&mut subject, 30);
    assert_eq!(
        compactions(&subject.take_snapshot()),
        [id(1, 20)],
        "bounded"
    );
    assert_eq!(compactions(&subject.matched(3, 19)), []);
    let mut late = Vec::new();
    for round in 1..=25 {
        late.extend(subject.time_out());
        late.extend(subject.heartbeat_reply(2, round, 30));
    }
    assert_eq!(compactions(&late), [id(1, 30)], "node 3 is silent");
}

/// That a peer was silent for long is noticed whenever anything is handed in, and not only at a deadline.
#[test]
fn a_proposal_finds_that_a_silent_peer_holds_the_log_no_longer() {
    let mut subject = leader(0, 100);
    write(&mut subject, 5);
    subject.matched(3, 4);
    assert_eq!(compactions(&subject.take_snapshot()), [], "node 3 lacks 5");
    let patience = Span(4 * Options::default().election_timeout.0);
    let silent = subject.now + patience;
    subject.settle(Input::PeerUnreachable { peer: member(3) });
    let mut round = 0;
    while let Some(due) = subject.node.next_deadline().filter(|due| *due <= silent) {
        round += 1;
        assert_eq!(compactions(&subject.time_out()), [], "at {due:?}");
        subject.heartbeat_reply(2, round, 5);
    }
    subject.now = Time(silent.0 + 1);
    let actions = subject.settle(Input::Propose {
        request: RequestId(99),
        command: Bytes::from_static(b"late"),
    });
    assert_eq!(compactions(&actions), [id(1, 5)]);
    assert_eq!(offered(&actions), [id(1, 5)], "what it needs is gone");
}

#[test]
fn the_log_behind_a_snapshot_that_is_on_its_way_is_kept_up_to_a_bound() {
    let mut subject = leader(0, 10);
    write(&mut subject, 5);
    let blank = Body::AppendReply(AppendOutcome::Blank);
    subject.settle(Input::Receive(subject.envelope(3, 1, session(1), blank)));
    assert_eq!(offered(&subject.take_snapshot()), [id(1, 5)]);
    write(&mut subject, 12);
    let beat = subject.time_out();
    assert_eq!(compactions(&subject.take_snapshot()), []);
    assert_eq!(offered(&beat), [id(1, 5)]);
    assert_eq!(subject.node.status().first, Index(6));
    let beat = subject.time_out();
    assert_eq!(offered(&beat), [id(1, 5)], "so that it can be gone on with");
    // Past the bound it is of no use any more.
    write(&mut subject, 30);
    let actions = subject.take_snapshot();
    assert_eq!(compactions(&actions), [id(1, 20)]);
    assert_eq!(offered(&actions), [id(1, 30)]);
}

fn offered(actions: &[Action]) -> Vec<EntryId> {
    let offers = sent(actions).filter_map(|envelope| match envelope.body {
        Body::InstallSnapshot { id, .. } => Some(id),
        _ => None,
    });
    offers.collect()
}

#[test]
fn a_snapshot_of_an_older_state_or_of_what_is_not_applied_is_ignored() {
    let mut subject = leader(0, 0);
    write(&mut subject, 10);
    let older = subject.node.snapshot_meta(Index(5)).unwrap();
    subject.take_snapshot();
    assert_eq!(subject.node.snapshot_meta(Index(10)), None, "nothing new");
    for wrong in [
        older.clone(),
        SnapshotMeta {
            id: id(1, 11),
            ..older.clone()
        },
        SnapshotMeta {
            id: id(0, 9),
            ..older.clone()
        },
        SnapshotMeta {
            term: Term(9),
            ..older
        },
    ] {
        let actions = subject.settle(Input::SnapshotTaken { snapshot: wrong });
        assert_eq!(persists(&actions).count(), 0);
    }
}

#[test]
fn a_snapshot_of_what_is_committed_but_not_applied_is_none() {
    let mut subject = Subject::new(3);
    let body = append(id(0, 0), 2, log(&[(1, 1), (1, 2)]));
    let written = subject.receive(2, 1, session(1), body);
    subject.persisted(&written);
    let status = subject.node.status();
    assert_eq!(
        (status.commit_index, status.last_applied),
        (Index(2), Index(0))
    );
    let snapshot = subject.node.snapshot_meta(Index(2)).unwrap();
    assert_eq!(subject.settle(Input::SnapshotTaken { snapshot }), []);
}

/// §5.3 goes on where the log begins.
#[test]
fn appends_that_reach_below_the_beginning_of_the_log_are_taken_from_there_on() {
    let mut subject = Subject::compacted(id(1, 7), log(&[(1, 8)]));
    subject.settle(Input::Tick);
    let body = append(id(1, 5), 9, log(&[(1, 6), (1, 7), (1, 8), (2, 9)]));
    let actions = subject.settle(Input::Receive(subject.envelope(2, 2, session(2), body)));
    assert_eq!((subject.last(), subject.commit()), (id(2, 9), 9));
    let reply = Body::AppendReply(AppendOutcome::Matched(Index(9)));
    assert!(sent(&actions).any(|envelope| envelope.body == reply));
    let contradiction = append(id(1, 6), 9, log(&[(2, 7)]));
    let actions = subject.receive(2, 2, session(2), contradiction);
    assert!(super::subject::halted(&actions).is_some());
}
