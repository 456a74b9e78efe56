//! A store that belongs to no cluster yet (P6).

use raft_core::{
    Action, AppendOutcome, Body, Boot, Cause, ClusterId, Configuration, Envelope, HardState,
    Identity, Index, Input, Options, Restored, Round, Session, SnapshotMark, Span, Term,
};

use super::subject::{
    Subject, append, bodies, empty, fetching, id, log, member, persists, restores, sent, session,
    snapshot,
};

fn blank() -> Subject {
    let identity = Identity {
        cluster: ClusterId::NONE,
        ..empty(0).identity
    };
    let restored = Restored::new(identity, Configuration::default());
    Subject::from_store(3, restored, Options::default())
}

/// A message from node 2 of another cluster than the one the rest of these tests is about.
fn foreign(subject: &Subject, body: Body) -> Envelope {
    let mut envelope = subject.envelope(2, 5, session(5), body);
    envelope.from.cluster = ClusterId(2);
    *envelope
}

fn heartbeat() -> Body {
    Body::Heartbeat {
        commit: Index(9),
        read_index: Index(9),
        priority: 1,
        round: Round(1),
        promise: Span(0),
    }
}

#[test]
fn a_blank_store_says_so_in_the_name_of_the_cluster_that_asks() {
    let mut subject = blank();
    let actions = subject.settle(Input::Receive(subject.envelope(
        2,
        5,
        session(5),
        append(id(0, 0), 1, log(&[(5, 1)])),
    )));
    let reply = sent(&actions).next().unwrap();
    assert_eq!(reply.body, Body::AppendReply(AppendOutcome::Blank));
    assert_eq!((reply.from.cluster, reply.term), (ClusterId(1), Term(5)));
    assert_eq!(subject.last(), id(0, 0));
    let actions = subject.receive(2, 5, session(5), heartbeat());
    let reply = Body::HeartbeatReply {
        round: Round(1),
        received: Index(0),
        matched: Index(0),
        promised: Span(0),
        disk: raft_core::DiskHealth::Healthy,
    };
    assert_eq!(bodies(&actions), [reply]);
}

#[test]
fn a_blank_store_listens_to_the_first_cluster_it_heard_and_in_another_life_to_another() {
    let mut subject = blank();
    subject.receive(2, 5, session(5), heartbeat());
    let other = foreign(&subject, heartbeat());
    let refused = subject.step(Input::Receive(Box::new(other)));
    assert_eq!(sent(&refused).count(), 0);
    assert_eq!(subject.node.status().refused.foreign, 1);
    let mut subject = blank();
    let other = foreign(&subject, heartbeat());
    let heard = subject.step(Input::Receive(Box::new(other)));
    assert_eq!(sent(&heard).next().unwrap().from.cluster, ClusterId(2));
    let mut nobody = subject.envelope(2, 5, session(5), heartbeat());
    nobody.from.cluster = ClusterId::NONE;
    assert_eq!(sent(&subject.step(Input::Receive(nobody))).count(), 0);
}

#[test]
fn a_blank_store_neither_votes_nor_campaigns() {
    let mut subject = blank();
    let last = id(9, 9);
    for question in [
        Body::RequestPreVote { last },
        Body::RequestVote {
            last,
            cause: Cause::Timeout,
        },
    ] {
        let asked = Session {
            term: Term(6),
            ..Session::default()
        };
        assert_eq!(sent(&subject.receive(2, 6, asked, question)).count(), 0);
    }
    assert_eq!(subject.settle(Input::Campaign), []);
    assert_eq!(sent(&subject.time_out()).count(), 0);
}

/// It belongs to the cluster from the moment in which it can show why. // S22, S62
#[test]
fn a_blank_store_joins_with_its_first_snapshot_in_one_write() {
    let mut subject = blank();
    let offer = Body::InstallSnapshot {
        id: id(4, 7),
        source: member(2),
    };
    let asked = subject.receive(2, 5, session(5), offer);
    let (ticket, ..) = fetching(&asked).unwrap();
    subject.persisted(&asked);
    let snapshot = snapshot(4, 7);
    let installed = subject.step(Input::SnapshotReceived { ticket, snapshot });
    let persist = persists(&installed).next().unwrap();
    let joined = Identity {
        cluster: ClusterId(1),
        ..empty(3).identity
    };
    assert_eq!(persist.identity.as_deref(), Some(&joined));
    assert!(matches!(
        persist.snapshot.as_deref(),
        Some(SnapshotMark::Installed(_))
    ));
    assert_eq!(
        persist.hard_state.as_ref().map(|state| state.term),
        Some(Term(5))
    );
    let done = subject.persisted(&installed);
    let reply = Body::AppendReply(AppendOutcome::Matched(Index(7)));
    assert_eq!(bodies(&done), [reply]);
    assert_eq!(restores(&done), [id(4, 7)]);
    // Now it is one as any other: it votes when it is asked, and takes no other cluster's word.
    let question = Body::RequestVote {
        last: id(9, 9),
        cause: Cause::Timeout,
    };
    let asked = Session {
        term: Term(9),
        ..Session::default()
    };
    subject.now = subject.now + Options::default().election_timeout;
    let envelope = subject.envelope(3, 9, asked, question);
    let voted = subject.settle(Input::Receive(envelope));
    assert!(bodies(&voted).contains(&Body::VoteReply { granted: true }));
    let other = foreign(&subject, heartbeat());
    assert_eq!(
        sent(&subject.step(Input::Receive(Box::new(other)))).count(),
        0
    );
}

/// A crash before that write is done leaves the store as blank as it was.
#[test]
fn a_store_that_did_not_come_to_join_may_be_attached_elsewhere() {
    let identity = Identity {
        cluster: ClusterId::NONE,
        ..empty(0).identity
    };
    let restored = Restored {
        boot: Boot(2),
        hard_state: HardState {
            term: Term(5),
            ..HardState::default()
        },
        ..Restored::new(identity, Configuration::default())
    };
    let mut subject = Subject::from_store(3, restored, Options::default());
    let other = foreign(&subject, append(id(0, 0), 0, vec![]));
    let actions: Vec<Action> = subject.step(Input::Receive(Box::new(other)));
    let reply = sent(&actions).next().unwrap();
    assert_eq!(reply.body, Body::AppendReply(AppendOutcome::Blank));
    assert_eq!(reply.from.cluster, ClusterId(2));
}
