//! Messages that come with every commit are believed no sooner than others (P6).

use raft_core::{AppendOutcome, Body, Boot, ClusterId, Entry, Envelope, GroupId, Index, Input};
use raft_core::{StorageId, Term};

use super::subject::{Subject, append, id, log, member, session};

/// What makes an envelope one that is not believed.
const WRONG: [fn(&mut Envelope); 9] = [
    |envelope| envelope.from.cluster = ClusterId(2),
    |envelope| envelope.from.group = GroupId(2),
    |envelope| envelope.from.member = member(1),
    |envelope| envelope.from.member.store = StorageId(9),
    |envelope| envelope.to = member(3),
    |envelope| envelope.to.store = StorageId(9),
    |envelope| envelope.boot = Boot(0),
    |envelope| envelope.term = Term(1),
    |envelope| envelope.session.term = Term(1),
];

/// Node 1 follows node 2, from which it has two entries.
fn follower() -> Subject {
    let mut subject = Subject::new(3);
    for index in 1..=2 {
        let previous = id(2 * (index - 1).min(1), index - 1);
        subject.receive(2, 2, session(2), append(previous, 0, log(&[(2, index)])));
    }
    assert_eq!(subject.last(), id(2, 2));
    subject
}

fn next(subject: &Subject, entries: Vec<Entry>) -> Envelope {
    *subject.envelope(2, 2, session(2), append(id(2, 2), 2, entries))
}

#[test]
fn an_append_that_goes_on_where_the_log_ends_is_taken_in() {
    let mut subject = follower();
    let envelope = next(&subject, log(&[(2, 3), (2, 4)]));
    subject.step(Input::Receive(Box::new(envelope)));
    assert_eq!((subject.last(), subject.commit()), (id(2, 4), 2));
}

#[test]
fn a_next_append_from_whoever_is_not_the_leader_changes_nothing() {
    for wrong in WRONG {
        let mut subject = follower();
        let mut envelope = next(&subject, log(&[(2, 3)]));
        wrong(&mut envelope);
        let said = format!("{envelope:?}");
        subject.step(Input::Receive(Box::new(envelope)));
        assert_eq!((subject.last(), subject.commit()), (id(2, 2), 0), "{said}");
    }
}

#[test]
fn a_next_append_whose_entries_are_no_run_changes_nothing() {
    for entries in [
        [(2, 3), (2, 5)],
        [(2, 4), (2, 5)],
        [(1, 3), (2, 4)],
        [(2, 3), (3, 4)],
    ] {
        let mut subject = follower();
        let envelope = next(&subject, log(&entries));
        subject.step(Input::Receive(Box::new(envelope)));
        assert_eq!(
            (subject.last(), subject.commit()),
            (id(2, 2), 0),
            "{entries:?}"
        );
    }
}

/// A leader of term 2 with an entry that only it has; what it knows to be committed once it got this answer.
fn commit_after(change: impl Fn(&mut Envelope)) -> u64 {
    let mut subject = Subject::new(3);
    // Another term than the first, so that there is an earlier one.
    subject.receive(2, 1, session(1), Body::StaleTerm);
    subject.elect();
    subject.matched(2, 1);
    subject.propose(1);
    assert_eq!((subject.last(), subject.commit()), (id(2, 2), 1));
    let reply = Body::AppendReply(AppendOutcome::Matched(Index(2)));
    let mut envelope = subject.envelope(2, 2, session(2), reply);
    change(&mut envelope);
    subject.step(Input::Receive(envelope));
    subject.commit()
}

#[test]
fn an_answer_counts_only_from_whoever_got_the_append() {
    assert_eq!(commit_after(|_| {}), 2);
    for (place, wrong) in WRONG.into_iter().enumerate() {
        assert_eq!(commit_after(wrong), 1, "{place}");
    }
    let beyond = Body::AppendReply(AppendOutcome::Matched(Index(4)));
    assert_eq!(commit_after(|envelope| envelope.body = beyond.clone()), 1);
}
