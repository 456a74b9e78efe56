//! What must wait for the disk: §5.1 "persistent state", dissertation §10.2.1.

use raft_core::{
    Action, AppendOutcome, Body, Boot, DiskHealth, HaltReason, HardState, Index, Input, Options,
    PersistId, StorageId, Term,
};

use super::subject::{
    Subject, append, applied, bodies, command, halted, id, log, member, persists, request_vote,
    session,
};

fn matched(actions: &[Action]) -> Option<u64> {
    bodies(actions).into_iter().find_map(|body| match body {
        Body::AppendReply(AppendOutcome::Matched(index)) => Some(index.0),
        _ => None,
    })
}

// S4
#[test]
fn entries_are_acknowledged_only_once_durable() {
    let mut subject = Subject::new(3);
    let got = subject.receive(
        2,
        1,
        session(1),
        append(id(0, 0), 0, log(&[(1, 1), (1, 2)])),
    );
    assert_eq!(matched(&got), None);
    assert_eq!(matched(&subject.persisted(&got)), Some(2));
}

// S3
#[test]
fn the_term_is_durable_with_the_entries_accepted_under_it() {
    let mut subject = Subject::new(3);
    let got = subject.receive(2, 7, session(7), append(id(0, 0), 0, log(&[(7, 1)])));
    let persist = persists(&got).next().unwrap();
    assert_eq!(persist.hard_state.as_ref().unwrap().term, Term(7));
    assert_eq!(persist.entries.len(), 1);
}

/// Found by review: an answer in a term that a crash could take back.
#[test]
fn nothing_is_acknowledged_in_a_term_that_is_not_durable() {
    let state = HardState {
        term: Term(1),
        ..HardState::default()
    };
    let mut subject = Subject::restored(3, state, log(&[(1, 1)]));
    let got = subject.receive(2, 2, session(2), append(id(1, 1), 0, vec![]));
    assert_eq!(matched(&got), None);
    assert_eq!(matched(&subject.persisted(&got)), Some(1));
}

// S4, C04
#[test]
fn a_leader_counts_its_own_copy_only_once_durable() {
    let mut subject = Subject::new(3);
    subject.elect();
    let proposed = subject.step(Input::Propose {
        request: raft_core::RequestId(1),
        command: raft_core::Bytes::from_static(b"x"),
    });
    // One follower has it; that makes one of three while the leader's disk is busy.
    subject.matched(2, 2);
    assert_eq!(subject.commit(), 1);
    subject.persisted(&proposed);
    assert_eq!(subject.commit(), 2);
}

/// Dissertation §10.2.1: the leader's disk is not in the way of its followers' disks.
#[test]
fn a_leader_sends_entries_before_they_are_on_its_own_disk() {
    let mut subject = Subject::new(3);
    subject.elect();
    subject.matched(2, 1);
    subject.matched(3, 1);
    let proposed = subject.step(Input::Propose {
        request: raft_core::RequestId(1),
        command: raft_core::Bytes::from_static(b"x"),
    });
    let order: Vec<&str> = proposed
        .iter()
        .map(|action| match action {
            Action::Send(_) => "send",
            Action::Persist(_) => "persist",
            _ => "other",
        })
        .collect();
    assert_eq!(order, ["send", "send", "persist"]);
}

/// P1: what is applied is committed and durable here, wherever else it may be.
#[test]
fn a_committed_entry_is_applied_only_once_durable_here() {
    let mut subject = Subject::new(3);
    let got = subject.receive(
        2,
        1,
        session(1),
        append(id(0, 0), 2, log(&[(1, 1), (1, 2)])),
    );
    assert_eq!(subject.commit(), 2);
    assert_eq!(applied(&got), [] as [u64; 0]);
    assert_eq!(applied(&subject.persisted(&got)), [1, 2]);
}

// S5
#[test]
fn completions_are_cumulative_and_an_older_one_takes_nothing_back() {
    let mut subject = Subject::new(3);
    let mut written = Vec::new();
    for index in 1..=3 {
        let previous = id(u64::from(index > 1), index - 1);
        written.extend(subject.receive(2, 1, session(1), append(previous, 0, log(&[(1, index)]))));
    }
    assert_eq!(persists(&written).count(), 3);
    assert_eq!(matched(&subject.persisted(&written)), Some(3));
    let first = persists(&written).next().unwrap().id;
    let late = subject.step(Input::Persisted {
        store: member(1).store,
        boot: Boot(1),
        id: first,
    });
    assert_eq!(late, []);
    assert_eq!(subject.node.status().durable, Index(3));
}

/// The ABA race. // S6
#[test]
fn the_completion_of_an_overwritten_entry_does_not_make_its_replacement_durable() {
    let mut subject = Subject::new(3);
    let old = subject.receive(
        2,
        1,
        session(1),
        append(id(0, 0), 0, log(&[(1, 1), (1, 2)])),
    );
    let new = subject.receive(3, 2, session(2), append(id(1, 1), 0, log(&[(2, 2)])));
    let done = subject.persisted(&old);
    assert_eq!(subject.node.status().durable, Index(1));
    assert_eq!(matched(&done), None, "the term is not durable yet, either");
    assert_eq!(matched(&subject.persisted(&new)), Some(2));
}

#[test]
fn a_completion_of_another_life_or_store_is_ignored() {
    let mut subject = Subject::new(3);
    let got = subject.receive(2, 1, session(1), append(id(0, 0), 0, log(&[(1, 1)])));
    let id = persists(&got).next().unwrap().id;
    for (store, boot, id) in [
        (StorageId(7), Boot(1), id),
        (member(1).store, Boot(0), id),
        (member(1).store, Boot(1), PersistId(99)),
    ] {
        assert_eq!(subject.step(Input::Persisted { store, boot, id }), []);
    }
    assert_eq!(subject.node.status().durable, Index(0));
}

// S11
#[test]
fn a_restored_commit_index_is_clamped_to_the_log() {
    let state = HardState {
        term: Term(1),
        commit: Index(9),
        ..HardState::default()
    };
    let subject = Subject::restored(3, state, log(&[(1, 1), (1, 2)]));
    assert_eq!(subject.commit(), 2);
}

#[test]
fn after_a_failed_write_the_node_answers_nothing() {
    let mut subject = Subject::new(3);
    let got = subject.receive(2, 1, session(1), append(id(0, 0), 0, log(&[(1, 1)])));
    let failed = subject.step(Input::StorageFailed);
    assert_eq!(halted(&failed), Some(HaltReason::StorageFailed));
    assert_eq!(subject.persisted(&got), []);
    let asked = subject.receive(3, 9, session(9), request_vote(id(9, 9)));
    assert_eq!(asked, []);
}

#[test]
fn a_follower_with_a_full_disk_refuses_entries_and_still_hears_its_leader_and_votes() {
    let mut subject = Subject::new(3);
    subject.step(Input::StorageFull);
    let got = subject.receive(2, 1, session(1), append(id(0, 0), 0, log(&[(1, 1)])));
    assert_eq!(matched(&got), None);
    assert_eq!(subject.last(), id(0, 0));
    assert_eq!(subject.node.status().leader, Some(member(2)));
    assert_eq!(subject.node.status().disk, DiskHealth::Full);
    subject.step(Input::StorageAvailable);
    assert_eq!(subject.node.status().disk, DiskHealth::Healthy);
    let got = subject.settle(Input::Receive(subject.envelope(
        2,
        1,
        session(1),
        append(id(0, 0), 0, vec![command(1, 1)]),
    )));
    assert_eq!(matched(&got), Some(1));
}

/// P5: a follower whose disk is slow does not grow without bound.
#[test]
fn a_follower_takes_no_more_than_may_wait_for_its_disk() {
    let options = Options {
        undurable_bytes_max: 100,
        ..Options::default()
    };
    let mut subject = Subject::with_options(3, HardState::default(), vec![], options);
    for index in 1..=50 {
        let previous = id(u64::from(index > 1), index - 1);
        subject.receive(2, 1, session(1), append(previous, 0, log(&[(1, index)])));
    }
    assert!(subject.last().index <= Index(3), "{:?}", subject.last());
    assert!(subject.node.status().refused.undurable > 40);
}
