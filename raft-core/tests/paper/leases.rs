//! Reads that rest on promises: dissertation §6.4.1.

use raft_core::{
    Action, Body, Cause, Consistency, HardState, Index, Input, LeaderRound, Options, Outcome,
    RoleKind, Round, Session, Span, Term, Time,
};

use super::subject::{
    Subject, append, bodies, id, lease_read_of, member, outcomes, persists, request_vote, round_of,
    sent, session, written_state,
};

const PROMISE: Span = Span::from_millis(200);

fn leased() -> Options {
    Options {
        lease_promise: PROMISE,
        ..Options::default()
    }
}

fn asking(round: u64, promise: Span) -> Body {
    Body::Heartbeat {
        commit: Index(0),
        read_index: Index(0),
        round: Round(round),
        promise,
        priority: 1,
    }
}

/// What a follower promised in its answer.
fn promise_in(actions: &[Action]) -> Option<Span> {
    bodies(actions).into_iter().find_map(|body| match body {
        Body::HeartbeatReply { promised, .. } => Some(promised),
        _ => None,
    })
}

fn granted(actions: &[Action]) -> bool {
    bodies(actions).into_iter().any(|body| match body {
        Body::VoteReply { granted } | Body::PreVoteReply { granted } => granted,
        _ => false,
    })
}

fn asks_for_votes(actions: &[Action]) -> bool {
    bodies(actions)
        .into_iter()
        .any(|body| matches!(body, Body::RequestPreVote { .. } | Body::RequestVote { .. }))
}

/// A follower whose promise to node 2, the leader of term 1, lasts from now on.
fn bound() -> Subject {
    let mut subject = Subject::with(3, leased());
    let message = subject.envelope(2, 1, session(1), asking(1, PROMISE));
    subject.settle(Input::Receive(message));
    subject
}

/// A leader of three with its first entry committed, which has heard no answer to a round.
fn leader() -> Subject {
    let mut subject = Subject::with(3, leased());
    subject.elect();
    subject.matched(2, 1);
    subject
}

/// Ends a leader's wait for its next heartbeat; the round that begins.
fn beat(subject: &mut Subject) -> u64 {
    round_of(&subject.time_out())
}

/// Whether a lease answers a read now.
fn has_lease(subject: &Subject) -> bool {
    let said = outcomes(&subject.clone().step(lease_read_of(99)));
    matches!(said[..], [(99, Outcome::ReadReady(_))])
}

/// S43: what a restarted voter does not remember, nobody may rely on.
#[test]
fn a_promise_is_durable_before_anybody_is_told_of_it() {
    let mut subject = Subject::with(3, leased());
    // Term 1 is durable, so that only the promise is not.
    let append = subject.envelope(2, 1, session(1), append(id(0, 0), 0, vec![]));
    subject.settle(Input::Receive(append));
    let first = subject.receive(2, 1, session(1), asking(1, PROMISE));
    assert_eq!(promise_in(&first), Some(Span(0)));
    let written = written_state(&first);
    assert_eq!(written.promised, PROMISE);
    let early = subject.receive(2, 1, session(1), asking(2, PROMISE));
    assert_eq!(promise_in(&early), Some(Span(0)));
    subject.persisted(&first);
    let second = subject.receive(2, 1, session(1), asking(3, PROMISE));
    assert_eq!(promise_in(&second), Some(PROMISE));
    assert_eq!(persists(&second).count(), 0, "once is enough");
}

#[test]
fn nobody_promises_more_than_an_election_timeout_nor_unasked() {
    let mut subject = Subject::with(3, leased());
    for (asked, expected) in [
        (Span(u64::MAX), Options::default().election_timeout),
        (Span(0), Span(0)),
        (Span(7), Span(7)),
    ] {
        let message = subject.envelope(2, 1, session(1), asking(1, asked));
        subject.settle(Input::Receive(message));
        let again = subject.receive(2, 1, session(1), asking(2, asked));
        assert_eq!(promise_in(&again), Some(expected));
    }
}

/// S43: it is the promise that holds, not that a leader was heard: the term may move on.
#[test]
fn a_promise_outlasts_the_term_it_was_given_in() {
    let mut subject = bound();
    let until = subject.now + PROMISE;
    subject.receive(3, 5, session(1), Body::StaleTerm);
    assert_eq!(subject.node.status().leader, None);
    subject.now = Time(until.0 - 1);
    for term in [5, 6] {
        let ask = request_vote(id(9, 9));
        let asked = subject.envelope(3, term, session(term), ask);
        assert!(!granted(&subject.settle(Input::Receive(asked))));
    }
    let pre_vote = Body::RequestPreVote { last: id(9, 9) };
    assert!(!granted(&subject.receive(3, 5, session(6), pre_vote)));
    assert_eq!(subject.term(), 5, "its term is not looked at");
    subject.now = until;
    let asked = subject.envelope(3, 6, session(6), request_vote(id(9, 9)));
    assert!(granted(&subject.settle(Input::Receive(asked))));
}

// S43
#[test]
fn a_node_that_promised_does_not_campaign() {
    let mut subject = bound();
    let until = subject.now + PROMISE;
    subject.receive(3, 5, session(1), Body::StaleTerm);
    subject.now = Time(until.0 - 1);
    assert!(!asks_for_votes(&subject.settle(Input::Campaign)));
    subject.now = until;
    assert!(asks_for_votes(&subject.settle(Input::Campaign)));
}

/// S43: it cannot know when it gave its last promise, nor to whom.
#[test]
fn a_restarted_voter_withholds_its_vote_as_long_as_it_ever_promised() {
    let longest = Span::from_millis(900);
    let state = HardState {
        term: Term(1),
        promised: longest,
        ..HardState::default()
    };
    let mut subject = Subject::with_options(3, state, vec![], leased());
    let until = subject.now + longest;
    let ask = |subject: &Subject| {
        let mut copy = subject.clone();
        let asked = copy.envelope(3, 2, session(2), request_vote(id(0, 0)));
        granted(&copy.settle(Input::Receive(asked)))
    };
    while subject.node.next_deadline().unwrap() < until {
        assert!(!asks_for_votes(&subject.time_out()));
        assert!(!ask(&subject) || subject.now >= until);
    }
    subject.now = Time(until.0 - 1);
    assert!(!ask(&subject));
    subject.now = until;
    assert!(ask(&subject));
    assert!(asks_for_votes(&subject.time_out()));
}

/// S43: without a promise there is nothing to wait for.
#[test]
fn a_restarted_voter_that_never_promised_votes_at_once() {
    let mut subject = Subject::with(3, leased());
    let asked = subject.envelope(3, 2, session(2), request_vote(id(0, 0)));
    assert!(granted(&subject.settle(Input::Receive(asked))));
}

/// Its question, or our answer, was lost: that vote was given before any promise. // S9
#[test]
fn a_vote_that_was_given_is_answered_again_in_spite_of_a_promise() {
    let state = HardState {
        term: Term(2),
        voted_for: Some(member(3)),
        promised: PROMISE,
        ..HardState::default()
    };
    let mut subject = Subject::with_options(3, state, vec![], leased());
    let asked = subject.envelope(3, 2, session(2), request_vote(id(0, 0)));
    assert!(granted(&subject.settle(Input::Receive(asked))));
}

/// S39: from when the round was begun, and by as much less as clocks may drift apart.
#[test]
fn a_lease_counts_from_when_its_round_began_and_ends_early() {
    let mut subject = leader();
    let round = beat(&mut subject);
    let begun = subject.now;
    subject.now = begun + Span::from_millis(30);
    assert!(!has_lease(&subject), "a new leader has none");
    subject.promised(2, round, 1, PROMISE);
    // 200 ms by a clock that is faster by a twentieth.
    let worth = (PROMISE.0 - 1) * 1_000 / 1_050;
    subject.now = Time(begun.0 + worth - 1);
    assert!(has_lease(&subject));
    subject.now = Time(begun.0 + worth);
    assert!(!has_lease(&subject));
    let asked = subject.settle(lease_read_of(1));
    assert_eq!(outcomes(&asked), []);
    let round = round_of(&asked);
    let confirmed = subject.heartbeat_reply(3, round, 1);
    assert_eq!(outcomes(&confirmed), [(1, Outcome::ReadReady(Index(1)))]);
}

/// S39: a late answer to an early round is worth what is left of it.
#[test]
fn an_answer_extends_the_lease_of_its_own_round_only() {
    let mut subject = leader();
    let first = beat(&mut subject);
    let begun = subject.now;
    beat(&mut subject);
    beat(&mut subject);
    subject.promised(2, first, 1, PROMISE);
    subject.now = Time(begun.0 + (PROMISE.0 - 1) * 1_000 / 1_050);
    assert!(!has_lease(&subject));
}

#[test]
fn a_round_begun_for_a_read_makes_a_lease() {
    let mut subject = leader();
    let asked = subject.settle(lease_read_of(1));
    let round = round_of(&asked);
    let promises = bodies(&asked).into_iter().filter_map(|body| match body {
        Body::Heartbeat { promise, .. } => Some(promise),
        _ => None,
    });
    assert_eq!(promises.collect::<Vec<_>>(), [PROMISE; 2]);
    let answered = subject.promised(2, round, 1, PROMISE);
    assert_eq!(outcomes(&answered), [(1, Outcome::ReadReady(Index(1)))]);
    let second = subject.settle(lease_read_of(2));
    assert_eq!(outcomes(&second), [(2, Outcome::ReadReady(Index(1)))]);
    assert_eq!(bodies(&second), [], "nobody is asked");
}

/// S43: what counts is what was promised, not what the leader's options say.
#[test]
fn a_follower_that_promised_nothing_makes_no_lease() {
    let mut subject = leader();
    let round = beat(&mut subject);
    subject.promised(2, round, 1, Span(0));
    assert!(!has_lease(&subject));
    subject.promised(3, round, 1, Span::from_millis(10));
    assert!(has_lease(&subject));
    subject.now = subject.now + Span::from_millis(10);
    assert!(!has_lease(&subject));
}

// S37
#[test]
fn a_lease_answers_nothing_before_the_leaders_first_entry_is_committed() {
    let mut subject = Subject::with(3, leased());
    subject.elect();
    let round = beat(&mut subject);
    subject.promised(2, round, 0, PROMISE);
    assert!(!has_lease(&subject));
    subject.matched(2, 1);
    assert!(has_lease(&subject));
}

// S27
#[test]
fn in_a_joint_configuration_a_lease_needs_promises_of_both_majorities() {
    for (first, second) in [(2, 4), (5, 3)] {
        let mut subject = Subject::joint(leased());
        let round = beat(&mut subject);
        subject.promised(first, round, 1, PROMISE);
        assert!(!has_lease(&subject));
        subject.promised(second, round, 1, PROMISE);
        assert!(has_lease(&subject));
    }
}

// S43
#[test]
fn a_lease_ends_with_the_leadership_and_the_next_one_begins_without() {
    let mut subject = leader();
    let round = beat(&mut subject);
    subject.promised(2, round, 1, PROMISE);
    assert!(has_lease(&subject));
    subject.receive(3, 5, session(1), Body::StaleTerm);
    assert!(!has_lease(&subject));
    subject.elect();
    subject.matched(2, 2);
    assert!(!has_lease(&subject));
}

#[test]
fn without_the_option_nobody_is_asked_to_promise_and_reads_ask_a_majority() {
    let mut subject = Subject::new(3);
    subject.elect();
    subject.matched(2, 1);
    let round = beat(&mut subject);
    // A follower with other options, or a forged answer.
    subject.promised(2, round, 1, PROMISE);
    let asked = subject.settle(lease_read_of(1));
    assert_eq!(outcomes(&asked), []);
    let asks = bodies(&asked)
        .iter()
        .any(|body| matches!(body, Body::Heartbeat { promise, .. } if promise.0 > 0));
    assert!(!asks);
}

#[test]
fn a_cluster_of_one_has_a_lease_as_soon_as_it_leads() {
    let mut subject = Subject::with(1, leased());
    subject.settle(Input::Campaign);
    assert_eq!(subject.role(), RoleKind::Leader);
    assert!(has_lease(&subject));
}

/// A lease answers other nodes, too.
#[test]
fn a_leader_answers_another_nodes_lease_read_at_once() {
    let mut subject = leader();
    let round = beat(&mut subject);
    subject.promised(2, round, 1, PROMISE);
    let question = Session {
        counter: 7,
        ..session(1)
    };
    for (consistency, at_once) in [
        (Consistency::Lease, true),
        (Consistency::Linearizable, false),
    ] {
        let read = Body::ForwardRead { consistency };
        let said = subject.receive(3, 1, question, read);
        let index = Some(Index(1));
        let answered = bodies(&said).contains(&Body::ForwardReadReply { index });
        assert_eq!(answered, at_once);
    }
}

#[test]
fn a_follower_says_what_its_read_may_rest_on_and_asks_a_new_leader_for_a_majority() {
    let mut subject = Subject::with(3, leased());
    subject.receive(2, 1, session(1), append(id(0, 0), 0, vec![]));
    let asked = subject.settle(lease_read_of(1));
    let lease = Body::ForwardRead {
        consistency: Consistency::Lease,
    };
    assert_eq!(bodies(&asked), [lease]);
    let again = subject.receive(3, 2, session(2), append(id(0, 0), 0, vec![]));
    let linearizable = Body::ForwardRead {
        consistency: Consistency::Linearizable,
    };
    assert!(sent(&again).any(|e| e.to == member(3) && e.body == linearizable));
}

/// A target's request for a vote, after node 2 gave back its promises up to `round`.
fn transfer_vote(round: u64) -> Body {
    Body::RequestVote {
        last: id(0, 0),
        cause: Cause::Transfer(LeaderRound {
            leader: member(2),
            term: Term(1),
            round: Round(round),
        }),
    }
}

/// S19: "transfer overrides"; S40: the leader gave its promises back first.
#[test]
fn a_voter_helps_whom_its_leader_hands_over_to_at_once() {
    let mut subject = bound();
    let plain = subject.envelope(3, 2, session(2), request_vote(id(0, 0)));
    assert!(!granted(&subject.settle(Input::Receive(plain))));
    let asked = subject.envelope(3, 2, session(2), transfer_vote(1));
    assert!(granted(&subject.settle(Input::Receive(asked))));
}

/// S42: the transfer was given up, and the leader has a lease again, when this arrives.
#[test]
fn a_late_request_of_a_transfer_does_not_undo_a_later_promise() {
    let mut subject = bound();
    let later = subject.envelope(2, 1, session(1), asking(4, PROMISE));
    subject.settle(Input::Receive(later));
    let late = subject.envelope(3, 2, session(2), transfer_vote(3));
    assert!(!granted(&subject.settle(Input::Receive(late))));
    assert_eq!(subject.term(), 1);
}

/// Found by thinking: the earlier life may have promised in a later round than any this one has heard.
#[test]
fn a_transfer_does_not_undo_what_an_earlier_life_promised() {
    let state = HardState {
        term: Term(1),
        promised: PROMISE,
        ..HardState::default()
    };
    let mut subject = Subject::with_options(3, state, vec![], leased());
    let late = subject.envelope(2, 1, session(1), asking(1, PROMISE));
    subject.settle(Input::Receive(late));
    let asked = subject.envelope(3, 2, session(2), transfer_vote(1));
    assert!(!granted(&subject.settle(Input::Receive(asked))));
}

#[test]
fn a_transfer_of_another_term_is_malformed() {
    let mut subject = bound();
    let asked = subject.envelope(3, 3, session(3), transfer_vote(1));
    assert!(!granted(&subject.settle(Input::Receive(asked))));
    assert_eq!(subject.node.status().refused.malformed, 1);
}
