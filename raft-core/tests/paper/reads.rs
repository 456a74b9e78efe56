//! Linearizable reads: dissertation §6.4.

use raft_core::{
    Action, Body, HardState, Index, Input, Outcome, Rejection, RequestId, RoleKind, Span, Term,
};

use super::subject::{
    Subject, append, bodies, heartbeat, id, log, member, outcomes, read_of, round_of, sent, session,
};

fn read(subject: &mut Subject, request: u64) -> Vec<Action> {
    subject.settle(read_of(RequestId(request)))
}

// S37, R04
#[test]
fn a_leader_answers_no_read_before_an_entry_of_its_term_is_committed() {
    let state = HardState {
        term: Term(1),
        ..HardState::default()
    };
    let mut subject = Subject::restored(3, state, log(&[(1, 1)]));
    subject.elect();
    let round = round_of(&read(&mut subject, 1));
    let confirmed = subject.heartbeat_reply(2, round, 1);
    assert_eq!(outcomes(&confirmed), []);
    let committed = subject.matched(2, 2);
    assert_eq!(outcomes(&committed), [(1, Outcome::ReadReady(Index(2)))]);
}

// S38, R02
#[test]
fn a_round_begun_before_the_read_does_not_confirm_it() {
    let mut subject = Subject::new(3);
    subject.elect();
    subject.matched(2, 1);
    let earlier = round_of(&subject.time_out());
    let own = round_of(&read(&mut subject, 1));
    assert!(own > earlier);
    assert_eq!(outcomes(&subject.heartbeat_reply(2, earlier, 1)), []);
    let ready = subject.heartbeat_reply(2, own, 1);
    assert_eq!(outcomes(&ready), [(1, Outcome::ReadReady(Index(1)))]);
}

#[test]
fn reads_that_come_together_share_a_round() {
    let mut subject = Subject::new(3);
    subject.elect();
    subject.matched(2, 1);
    for request in 1..=10 {
        let at = subject.now;
        let request = RequestId(request);
        let input = read_of(request);
        subject.node.handle(raft_core::Event { at, input });
    }
    let mut actions = Vec::new();
    subject.node.drain(&mut actions);
    let beats = bodies(&actions);
    assert_eq!(beats.len(), 2, "one to each peer: {beats:?}");
    let ready = subject.heartbeat_reply(2, round_of(&actions), 1);
    assert_eq!(outcomes(&ready).len(), 10);
}

// R01
#[test]
fn a_leader_without_a_majority_answers_no_read_and_says_so_in_the_end() {
    let mut subject = Subject::new(3);
    subject.elect();
    subject.matched(2, 1);
    let asked = read(&mut subject, 1);
    assert_eq!(outcomes(&asked), []);
    let mut said = Vec::new();
    while subject.role() == RoleKind::Leader {
        said.extend(outcomes(&subject.time_out()));
    }
    // It may only have lost its leadership: another leader could confirm the read.
    assert_eq!(said, []);
    said.extend(outcomes(&subject.time_out()));
    assert_eq!(said.len(), 1);
    assert!(matches!(
        said[0].1,
        Outcome::Rejected(Rejection::NotLeader { .. })
    ));
}

#[test]
fn a_follower_asks_its_leader_and_a_new_one_again() {
    let mut subject = Subject::new(3);
    subject.receive(2, 1, session(1), append(id(0, 0), 0, vec![]));
    let asked = read(&mut subject, 1);
    assert!(matches!(bodies(&asked)[..], [Body::ForwardRead { .. }]));
    let again = subject.receive(3, 2, session(2), append(id(0, 0), 0, vec![]));
    let question = sent(&again)
        .find(|e| matches!(e.body, Body::ForwardRead { .. }))
        .unwrap();
    assert_eq!((question.to, question.session.term), (member(3), Term(2)));
    let index = Some(Index(4));
    let (term, session) = (2, question.session);
    let answered = subject.receive(3, term, session, Body::ForwardReadReply { index });
    assert_eq!(outcomes(&answered), [(1, Outcome::ReadReady(Index(4)))]);
}

/// Found by review: numbers of an earlier life must not be used again. // R03
#[test]
fn an_answer_to_a_question_of_an_earlier_life_is_refused() {
    let mut subject = Subject::new(3);
    subject.receive(2, 1, session(1), append(id(0, 0), 0, vec![]));
    let asked = read(&mut subject, 1);
    let question = sent(&asked).next().unwrap().session;
    assert!(
        question.counter > 1 << 32,
        "numbers begin above the life: {question:?}"
    );
    let mut late = question;
    late.counter = 1;
    let index = Some(Index(0));
    let answered = subject.receive(2, 1, late, Body::ForwardReadReply { index });
    assert_eq!(outcomes(&answered), []);
}

#[test]
fn a_read_without_an_answer_ends_after_its_time() {
    let mut subject = Subject::new(3);
    subject.receive(2, 1, session(1), append(id(0, 0), 0, vec![]));
    read(&mut subject, 1);
    subject.now = subject.now + Span::from_millis(6_000);
    let said = subject.step(Input::Tick);
    assert_eq!(
        outcomes(&said),
        [(1, Outcome::Rejected(Rejection::NoQuorum))]
    );
}

#[test]
fn a_read_that_was_lost_on_its_way_is_asked_again_when_the_leader_is_heard() {
    let mut subject = Subject::new(3);
    subject.receive(2, 1, session(1), append(id(0, 0), 0, vec![]));
    read(&mut subject, 1);
    let heard = |subject: &mut Subject, round| {
        let said = subject.receive(2, 1, session(1), heartbeat(0, round));
        let asked = sent(&said).find(|e| matches!(e.body, Body::ForwardRead { .. }));
        asked.map(|envelope| envelope.session)
    };
    assert_eq!(heard(&mut subject, 1), None);
    subject.step(Input::PeerUnreachable { peer: member(2) });
    let session = heard(&mut subject, 2).expect("it is asked again");
    assert_eq!(heard(&mut subject, 3), None, "once");
    let index = Some(Index(0));
    let answered = subject.receive(2, 1, session, Body::ForwardReadReply { index });
    assert_eq!(outcomes(&answered), [(1, Outcome::ReadReady(Index(0)))]);
}
