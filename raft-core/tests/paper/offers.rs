//! §7: what a leader does for a peer that its log cannot serve.

use raft_core::{
    Action, AppendOutcome, Body, Configuration, EntryId, HardState, Index, Input, LogReadOutcome,
    Options, ProgressState, ReadTicket, Restored, Term, TermRuns,
};

use super::subject::{
    Subject, append, bodies, empty, id, log, member, restores, sent, session, snapshot,
};

/// The snapshots offered to one peer: up to where, and who has them.
fn offers(actions: &[Action], to: u64) -> Vec<(EntryId, u64)> {
    let to_peer = sent(actions).filter(|envelope| envelope.to == member(to));
    let offers = to_peer.filter_map(|envelope| match envelope.body {
        Body::InstallSnapshot { id, source } => Some((id, source.node.0)),
        _ => None,
    });
    offers.collect()
}

fn appends(actions: &[Action], to: u64) -> Vec<u64> {
    let to_peer = sent(actions).filter(|envelope| envelope.to == member(to));
    let appends = to_peer.filter_map(|envelope| match &envelope.body {
        Body::AppendEntries { previous, .. } => Some(previous.index.0),
        _ => None,
    });
    appends.collect()
}

fn state(subject: &Subject, peer: u64) -> Option<ProgressState> {
    let mut states = subject.node.status().replication();
    let found = states.find(|(other, _)| *other == member(peer));
    found.map(|(_, state)| state)
}

/// A leader of term 2 whose log begins after entry 7 of term 1 and ends with its own entry 9.
fn leader() -> Subject {
    let mut subject = Subject::compacted(id(1, 7), log(&[(1, 8)]));
    subject.settle(Input::Tick);
    subject.elect();
    assert_eq!(subject.last(), id(2, 9));
    subject
}

fn lacks(subject: &mut Subject, peer: u64, previous: u64, hint: EntryId) -> Vec<Action> {
    let previous = Index(previous);
    let conflict = AppendOutcome::Conflict { previous, hint };
    let reply = subject.envelope(peer, 2, session(2), Body::AppendReply(conflict));
    subject.settle(Input::Receive(reply))
}

/// Openraft afd6508: nothing is ever sent to it otherwise. // S54, S06
#[test]
fn a_peer_that_lacks_the_entry_where_the_log_begins_is_offered_a_snapshot() {
    for hint in [id(0, 0), id(1, 3)] {
        let mut subject = leader();
        let actions = lacks(&mut subject, 2, 8, hint);
        assert_eq!(offers(&actions, 2), [(id(1, 7), 1)]);
        assert_eq!(appends(&actions, 2), []);
        assert_eq!(state(&subject, 2), Some(ProgressState::Snapshot));
    }
}

// S54
#[test]
fn a_peer_that_has_the_entry_where_the_log_begins_is_not() {
    let mut subject = leader();
    let actions = lacks(&mut subject, 2, 8, id(1, 7));
    assert_eq!(
        (offers(&actions, 2), appends(&actions, 2)),
        (vec![], vec![7])
    );
}

#[test]
fn an_offer_is_repeated_with_heartbeats_until_the_peer_has_it_and_then_the_log_goes_on() {
    let mut subject = leader();
    lacks(&mut subject, 2, 8, id(0, 0));
    assert_eq!(offers(&subject.propose(1), 2), [], "not with every event");
    subject.matched(3, 9);
    for source in [3, 1, 3] {
        let beat = subject.time_out();
        assert_eq!(offers(&beat, 2), [(id(1, 7), source)]);
        let heard = subject.heartbeat_reply(2, 1, 0);
        assert_eq!((offers(&heard, 2), appends(&heard, 2)), (vec![], vec![]));
    }
    let less = subject.matched(2, 5);
    assert_eq!((offers(&less, 2), appends(&less, 2)), (vec![], vec![]));
    let done = subject.matched(2, 7);
    assert_eq!(appends(&done, 2), [7]);
    assert_eq!(state(&subject, 2), Some(ProgressState::Replicate));
}

/// The acknowledgement was lost. // S51
#[test]
fn a_heartbeats_answer_tells_too_that_the_peer_has_the_snapshot() {
    let mut subject = leader();
    lacks(&mut subject, 2, 8, id(0, 0));
    subject.time_out();
    assert_eq!(appends(&subject.heartbeat_reply(2, 1, 7), 2), [7]);
}

// S50
#[test]
fn a_late_answer_to_an_append_does_not_end_an_offer() {
    let mut subject = leader();
    lacks(&mut subject, 2, 8, id(0, 0));
    let late = lacks(&mut subject, 2, 8, id(1, 7));
    assert_eq!(appends(&late, 2), []);
    assert_eq!(state(&subject, 2), Some(ProgressState::Snapshot));
}

/// raft-rs#416. // S64
#[test]
fn an_outgoing_voter_is_offered_a_snapshot_too() {
    let configuration = Configuration {
        outgoing: (1..=3).map(member).collect(),
        ..Configuration::of_voters((1..=2).map(member))
    };
    let mut terms = TermRuns::new(id(1, 7));
    terms.append(id(1, 8));
    let restored = Restored {
        hard_state: HardState {
            term: Term(1),
            ..HardState::default()
        },
        terms,
        configuration: configuration.into(),
        snapshot: Some(snapshot(1, 7)),
        ..empty(3)
    };
    let mut subject = Subject::from_store(3, restored, Options::default());
    assert_eq!(restores(&subject.settle(Input::Tick)), [id(1, 7)]);
    subject.elect();
    assert_eq!(
        offers(&lacks(&mut subject, 3, 8, id(0, 0)), 3),
        [(id(1, 7), 1)]
    );
}

/// A store that was just made can follow nothing, not even the first entry: it has no configuration.
#[test]
fn for_a_blank_peer_a_snapshot_is_taken_at_once_if_there_is_none() {
    let mut subject = Subject::new(3);
    subject.elect();
    let blank = |subject: &mut Subject| {
        let reply = Body::AppendReply(AppendOutcome::Blank);
        subject.settle(Input::Receive(subject.envelope(2, 1, session(1), reply)))
    };
    let wanted = |actions: &[Action]| {
        let wanted = actions.iter();
        wanted.filter(|a| matches!(a, Action::TakeSnapshot)).count()
    };
    assert_eq!(wanted(&blank(&mut subject)), 0, "nothing is applied yet");
    assert_eq!(wanted(&subject.matched(3, 1)), 1);
    assert_eq!(wanted(&blank(&mut subject)), 0, "asked for once");
    let snapshot = subject.node.snapshot_meta(Index(1)).unwrap();
    let taken = subject.step(Input::SnapshotTaken { snapshot });
    assert_eq!(offers(&taken, 2), [], "not durable yet");
    assert_eq!(offers(&subject.persisted(&taken), 2), [(id(1, 1), 1)]);
    assert_eq!(offers(&blank(&mut subject), 2), []);
    subject.propose(1);
    assert_eq!(appends(&subject.matched(2, 1), 2), [1]);
    blank(&mut subject);
    assert_eq!(state(&subject, 2), Some(ProgressState::Replicate), "late");
}

/// A restarted peer whose log was never asked about: what it has may well do.
#[test]
fn an_offer_to_a_peer_that_has_it_already_costs_one_message() {
    let mut follower = Subject::new(3);
    let ids: Vec<(u64, u64)> = (1..=9).map(|index| (1, index)).collect();
    let body = append(id(0, 0), 0, log(&ids));
    follower.settle(Input::Receive(follower.envelope(2, 1, session(1), body)));
    let offer = Body::InstallSnapshot {
        id: id(1, 7),
        source: member(2),
    };
    let actions = follower.receive(2, 2, session(2), offer);
    let done = follower.persisted(&actions);
    let reply = Body::AppendReply(AppendOutcome::Matched(Index(7)));
    assert_eq!(bodies(&done), [reply]);
    assert!(
        done.iter()
            .all(|action| matches!(action, Action::Send(_) | Action::Apply { .. }))
    );
}

/// A leader with nothing in memory that is asked for everything from entry 1 on: the read that it begins.
fn reading() -> (Subject, ReadTicket) {
    let options = Options {
        compact_keep_bytes: 0,
        compact_wait_bytes_max: 0,
        tail_bytes_max: 0,
        ..Options::default()
    };
    let mut subject = Subject::with_options(3, HardState::default(), vec![], options);
    subject.elect();
    (1..=5).for_each(|request| drop(subject.propose(request)));
    subject.matched(3, 6);
    // The probe was lost, and the heartbeat's answer shows it.
    subject.time_out();
    let actions = subject.heartbeat_reply(2, 1, 0);
    let ticket = actions.iter().find_map(|action| match action {
        Action::ReadLog(read) => Some(read.ticket),
        _ => None,
    });
    (subject, ticket.expect("entry 1 is not in memory"))
}

#[test]
fn entries_that_were_compacted_while_they_were_read_for_a_peer_are_not_missed() {
    for outcome in [
        LogReadOutcome::Compacted,
        LogReadOutcome::Entries(log(&[(1, 1)])),
    ] {
        let (mut subject, ticket) = reading();
        assert_eq!(offers(&subject.take_snapshot(), 2), [(id(1, 6), 1)]);
        assert_eq!(subject.node.status().first, Index(7));
        assert_eq!(subject.step(Input::LogRead { ticket, outcome }), []);
        assert_eq!(state(&subject, 2), Some(ProgressState::Snapshot));
    }
}

/// A read waited behind a full disk. Meanwhile the peer's answers took it past what was read, and the log
/// was compacted there too: the leader found no terms to judge the entries by, called its own log damaged,
/// and halted with nothing wrong. Found by D2 in simulation (seed 1210). // S62
#[test]
fn entries_read_for_a_peer_that_went_on_without_them_prove_nothing() {
    let (mut subject, ticket) = reading();
    subject.matched(2, 6);
    subject.take_snapshot();
    assert_eq!(subject.node.status().first, Index(7));
    let outcome = LogReadOutcome::Entries(log(&[(1, 1), (1, 2)]));
    let actions = subject.step(Input::LogRead { ticket, outcome });
    assert_eq!(actions, []);
    assert_eq!(appends(&subject.propose(6), 2), [6]);
}

#[test]
fn a_peer_whose_entries_the_disk_has_compacted_is_offered_a_snapshot() {
    let (mut subject, ticket) = reading();
    let outcome = LogReadOutcome::Compacted;
    let actions = subject.step(Input::LogRead { ticket, outcome });
    assert!(actions.contains(&Action::TakeSnapshot), "{actions:?}");
    assert_eq!(state(&subject, 2), Some(ProgressState::Snapshot));
}
