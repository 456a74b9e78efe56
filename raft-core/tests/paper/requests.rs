//! Exactly one outcome for each request (P3).

use raft_core::{
    Action, Body, Bytes, ForwardOutcome, HaltReason, Index, Input, Options, Outcome, Quota,
    Rejection, RequestId, Session, Span, Term,
};

use super::subject::{
    Subject, append, bodies, halted, id, log, member, outcomes, read_of, sent, session,
};

fn following(leader: u64) -> Subject {
    let mut subject = Subject::new(3);
    subject.settle(Input::Receive(subject.envelope(
        leader,
        1,
        session(1),
        append(id(0, 0), 0, vec![]),
    )));
    subject
}

fn forwarded(actions: &[Action]) -> Option<(Session, usize)> {
    sent(actions).find_map(|envelope| match &envelope.body {
        Body::ForwardProposals { commands } => Some((envelope.session, commands.len())),
        _ => None,
    })
}

#[test]
fn a_proposal_ends_committed_at_its_entry() {
    let mut subject = Subject::new(3);
    subject.elect();
    subject.propose(1);
    let committed = subject.matched(2, 2);
    assert_eq!(outcomes(&committed), [(1, Outcome::Committed(id(1, 2)))]);
}

/// "Never merely truncated": a third node may revive the entry.
#[test]
fn a_truncated_proposal_is_superseded_only_when_another_entry_is_committed_there() {
    let mut subject = Subject::new(3);
    subject.elect();
    subject.propose(1);
    let truncated = subject.receive(2, 2, session(2), append(id(0, 0), 0, log(&[(2, 1)])));
    assert_eq!(outcomes(&truncated), []);
    let committed = subject.receive(2, 2, session(2), append(id(2, 1), 2, log(&[(2, 2)])));
    assert_eq!(outcomes(&committed), [(1, Outcome::Superseded(id(1, 2)))]);
}

#[test]
fn a_proposal_revived_by_another_leader_ends_committed() {
    let mut subject = Subject::new(3);
    subject.elect();
    subject.propose(1);
    // A leader of term 3 has the entry after all, and commits it with one of its own.
    subject.receive(2, 2, session(2), append(id(0, 0), 0, log(&[(2, 1)])));
    let entries = log(&[(1, 1), (1, 2), (3, 3)]);
    let revived = subject.receive(3, 3, session(3), append(id(0, 0), 3, entries));
    assert_eq!(outcomes(&revived), [(1, Outcome::Committed(id(1, 2)))]);
}

#[test]
fn a_leader_without_a_majority_says_unknown_in_the_end() {
    let mut subject = Subject::new(3);
    subject.elect();
    subject.propose(1);
    subject.now = subject.now + Span::from_millis(6_000);
    let said = subject.step(Input::Tick);
    assert_eq!(outcomes(&said), [(1, Outcome::Unknown)]);
}

#[test]
fn a_follower_hands_what_came_together_to_its_leader_in_one_message() {
    let mut subject = following(2);
    for request in 1..=3 {
        let at = subject.now;
        let (request, command) = (RequestId(request), Bytes::from_static(b"x"));
        let input = Input::Propose { request, command };
        subject.node.handle(raft_core::Event { at, input });
    }
    let mut actions = Vec::new();
    subject.node.drain(&mut actions);
    let (session, count) = forwarded(&actions).unwrap();
    assert_eq!(count, 3);
    let outcomes_sent = vec![
        ForwardOutcome::Appended(Index(5)),
        ForwardOutcome::Busy,
        ForwardOutcome::Appended(Index(6)),
    ];
    let body = Body::ForwardProposalsReply {
        outcomes: outcomes_sent,
    };
    let answered = subject.receive(2, 1, session, body);
    let busy = Outcome::Rejected(Rejection::Busy(Quota::Leader));
    assert_eq!(outcomes(&answered), [(2, busy)]);
    let entries = log(&[(1, 1), (1, 2), (1, 3), (1, 4), (1, 5), (1, 6)]);
    let committed = subject.receive(2, 1, session_1(), append(id(0, 0), 6, entries));
    let expected = [
        (1, Outcome::Committed(id(1, 5))),
        (3, Outcome::Committed(id(1, 6))),
    ];
    assert_eq!(outcomes(&committed), expected);
}

fn session_1() -> Session {
    session(1)
}

#[test]
fn a_forwarded_proposal_without_an_answer_ends_unknown() {
    let mut subject = following(2);
    subject.propose(1);
    subject.now = subject.now + Span::from_millis(6_000);
    let said = subject.step(Input::Tick);
    assert_eq!(outcomes(&said), [(1, Outcome::Unknown)]);
}

/// The loop guard, and why a rejection is definite.
#[test]
fn a_forwarded_proposal_is_appended_once_and_never_forwarded_again() {
    let mut subject = Subject::new(3);
    subject.elect();
    let session = Session {
        counter: 7,
        ..session(1)
    };
    let body = || Body::ForwardProposals {
        commands: vec![Bytes::from_static(b"x")],
    };
    let answered = subject.receive(2, 1, session, body());
    let appended = vec![ForwardOutcome::Appended(Index(2))];
    let reply = Body::ForwardProposalsReply { outcomes: appended };
    assert!(bodies(&answered).contains(&reply));
    let repeated = subject.receive(2, 1, session, body());
    assert_eq!(
        bodies(&repeated),
        [],
        "a repetition takes no effect, and is not answered"
    );
    assert_eq!(subject.last(), id(1, 2));
    // Another leader's term: what was not taken before is refused for good, and what was is not.
    subject.receive(3, 2, session_2(), append(id(0, 0), 0, vec![]));
    assert_eq!(bodies(&subject.receive(2, 2, session, body())), []);
    let fresh = Session {
        counter: 8,
        ..session
    };
    let refused = subject.receive(2, 2, fresh, body());
    let refusal = Body::ForwardProposalsReply {
        outcomes: vec![ForwardOutcome::NotLeader],
    };
    assert_eq!(bodies(&refused), [refusal]);
}

fn session_2() -> Session {
    session(2)
}

/// A node that never led the term in this life cannot know what an earlier life took.
#[test]
fn a_proposal_for_a_term_this_life_never_led_is_not_answered() {
    let mut subject = following(2);
    let commands = vec![Bytes::from_static(b"x")];
    let asked = subject.receive(3, 1, session(1), Body::ForwardProposals { commands });
    assert_eq!(bodies(&asked), []);
}

/// Found by review: the greatest number overflowed the window.
#[test]
fn no_number_of_a_forwarded_message_makes_the_leader_panic() {
    let mut subject = Subject::new(3);
    subject.elect();
    for counter in [u64::MAX, 0, 1 << 63, 127, 128, 129, u64::MAX] {
        let session = Session {
            counter,
            ..session(1)
        };
        let commands = vec![Bytes::from_static(b"x")];
        subject.receive(2, 1, session, Body::ForwardProposals { commands });
    }
}

#[test]
fn without_a_leader_a_proposal_is_rejected_at_once() {
    let mut subject = Subject::new(3);
    let said = subject.propose(1);
    let expected = Outcome::Rejected(Rejection::NotLeader { leader: None });
    assert_eq!(outcomes(&said), [(1, expected)]);
}

#[test]
fn a_command_over_the_limit_is_rejected_with_it() {
    let options = Options {
        command_bytes_max: 4,
        ..Options::default()
    };
    let hard_state = raft_core::HardState::default();
    let mut subject = Subject::with_options(1, hard_state, vec![], options);
    let said = subject.propose(1);
    let expected = Rejection::TooLarge { bytes: 9, limit: 4 };
    assert_eq!(outcomes(&said), [(1, Outcome::Rejected(expected))]);
}

#[test]
fn more_requests_than_may_wait_are_refused() {
    let options = Options {
        requests_max: 3,
        ..Options::default()
    };
    let mut subject = Subject::with_options(3, raft_core::HardState::default(), vec![], options);
    subject.elect();
    for request in 1..=3 {
        assert_eq!(outcomes(&subject.propose(request)), []);
    }
    let busy = Outcome::Rejected(Rejection::Busy(Quota::Requests));
    assert_eq!(outcomes(&subject.propose(4)), [(4, busy)]);
    assert_eq!(outcomes(&subject.matched(2, 4)).len(), 3);
    assert_eq!(outcomes(&subject.propose(5)), []);
}

#[test]
fn a_halt_resolves_every_request_first() {
    let mut subject = Subject::new(3);
    subject.elect();
    subject.propose(1);
    let request = RequestId(2);
    subject.step(read_of(request));
    let halting = subject.step(Input::StorageFailed);
    assert_eq!(halted(&halting), Some(HaltReason::StorageFailed));
    assert_eq!(outcomes(&halting).len(), 2);
    assert!(matches!(halting.last(), Some(Action::Halt(_))));
    let after = subject.propose(3);
    assert_eq!(
        outcomes(&after),
        [(3, Outcome::Rejected(Rejection::Halted))]
    );
    assert_eq!(subject.node.status().term, Term(1));
}

/// The answer may be on its way, but not for long: whoever asked need not wait for the request timeout.
#[test]
fn a_proposal_that_was_lost_on_its_way_ends_unknown_within_an_election_timeout() {
    let mut subject = following(2);
    subject.propose(1);
    subject.step(Input::PeerUnreachable { peer: member(3) });
    subject.step(Input::PeerUnreachable { peer: member(2) });
    assert!(
        subject.node.next_deadline() <= Some(subject.now + Options::default().election_timeout)
    );
    subject.now = subject.now + Options::default().election_timeout;
    let said = subject.step(Input::Tick);
    assert_eq!(outcomes(&said), [(1, Outcome::Unknown)]);
}
