//! §5.2, §5.4.1, and pre-vote (dissertation §9.6).

use raft_core::{Body, HaltReason, HardState, Index, Input, RoleKind, Span, Term};

use super::subject::{
    Subject, append, bodies, halted, id, log, member, persists, read_of, request_vote, sent,
    session, written_state,
};

fn granted(actions: &[raft_core::Action]) -> Option<bool> {
    bodies(actions).into_iter().find_map(|body| match body {
        Body::VoteReply { granted } | Body::PreVoteReply { granted } => Some(granted),
        _ => None,
    })
}

/// §5.2: "each server will vote for at most one candidate in a given term".
#[test]
fn a_vote_is_given_to_one_candidate_of_a_term() {
    let mut subject = Subject::new(3);
    let ask = request_vote(id(0, 0));
    let first = subject.receive(2, 1, session(1), ask.clone());
    let reply = subject.persisted(&first);
    assert_eq!(granted(&reply), Some(true));
    let second = subject.receive(3, 1, session(1), ask);
    assert_eq!(granted(&second), Some(false));
}

// S9
#[test]
fn the_candidate_that_has_the_vote_gets_the_same_answer_again() {
    let mut subject = Subject::new(3);
    let ask = request_vote(id(0, 0));
    let first = subject.receive(2, 1, session(1), ask.clone());
    subject.persisted(&first);
    let again = subject.receive(2, 1, session(1), ask);
    assert_eq!(granted(&again), Some(true));
    assert_eq!(persists(&again).count(), 0, "nothing new to remember");
}

// S1
#[test]
fn a_vote_leaves_only_once_it_is_durable() {
    let mut subject = Subject::new(3);
    let asked = subject.receive(2, 1, session(1), request_vote(id(0, 0)));
    assert_eq!(granted(&asked), None);
    let persist = persists(&asked).next().unwrap();
    let state = persist.hard_state.as_ref().unwrap();
    assert_eq!((state.term, state.voted_for), (Term(1), Some(member(2))));
    assert_eq!(granted(&subject.persisted(&asked)), Some(true));
}

// S1, S2
#[test]
fn a_candidate_asks_and_counts_itself_only_once_its_own_vote_is_durable() {
    let mut subject = Subject::new(3);
    let asking = subject.time_out();
    let question = sent(&asking).next().unwrap().session;
    let won = subject.receive(2, 0, question, Body::PreVoteReply { granted: true });
    assert_eq!(subject.role(), RoleKind::Candidate);
    assert_eq!(bodies(&won), [], "nothing leaves before the disk has it");
    let durable = subject.persisted(&won);
    assert!(matches!(
        bodies(&durable)[..],
        [Body::RequestVote { .. }, Body::RequestVote { .. }]
    ));
    // One more vote makes two of three.
    let ballot = sent(&durable).next().unwrap().session;
    subject.receive(2, 1, ballot, Body::VoteReply { granted: true });
    assert_eq!(subject.role(), RoleKind::Leader);
}

/// §5.4.1: the later term, then the longer log. // S10
#[test]
fn a_candidate_whose_log_is_behind_gets_no_vote() {
    let state = HardState {
        term: Term(5),
        ..HardState::default()
    };
    for (last, expected) in [
        (id(5, 1), true),
        (id(4, 2), true),
        (id(4, 3), true),
        (id(4, 1), false),
        (id(3, 9), false),
    ] {
        let mut subject = Subject::restored(3, state, log(&[(2, 1), (4, 2)]));
        let asked = subject.settle(Input::Receive(subject.envelope(
            2,
            6,
            session(6),
            request_vote(last),
        )));
        assert_eq!(granted(&asked), Some(expected), "{last:?}");
    }
}

// S6 of elections; E06
#[test]
fn a_vote_of_an_earlier_attempt_does_not_count() {
    let mut subject = Subject::new(5);
    subject.settle(Input::Campaign);
    let mut stale = session(1);
    stale.counter = 1;
    for peer in subject.peers() {
        subject.receive(peer, 0, stale, Body::VoteReply { granted: true });
        subject.receive(peer, 0, stale, Body::PreVoteReply { granted: true });
    }
    assert_eq!(subject.role(), RoleKind::PreCandidate);
}

// S9
#[test]
fn a_repeated_vote_counts_once() {
    let mut subject = Subject::new(5);
    let asking = subject.settle(Input::Campaign);
    let question = sent(&asking).next().unwrap().session;
    for _ in 0..3 {
        subject.receive(2, 0, question, Body::PreVoteReply { granted: true });
    }
    assert_eq!(
        subject.role(),
        RoleKind::PreCandidate,
        "two of five, not four"
    );
}

/// Even numbers of voters: 2 of 4 is no majority. // E09
#[test]
fn half_the_votes_are_not_a_majority() {
    let mut subject = Subject::new(4);
    let asking = subject.settle(Input::Campaign);
    let question = sent(&asking).next().unwrap().session;
    subject.receive(2, 0, question, Body::PreVoteReply { granted: true });
    assert_eq!(subject.role(), RoleKind::PreCandidate);
    subject.receive(3, 0, question, Body::PreVoteReply { granted: true });
    assert_eq!(subject.role(), RoleKind::Candidate);
}

// S13
#[test]
fn a_pre_vote_changes_nothing_at_the_receiver() {
    let mut subject = Subject::new(3);
    let deadline = subject.node.next_deadline();
    let asked = subject.receive(2, 7, session(8), Body::RequestPreVote { last: id(0, 0) });
    assert_eq!(granted(&asked), Some(true));
    assert_eq!(subject.term(), 0);
    assert_eq!(persists(&asked).count(), 0);
    assert_eq!(subject.node.next_deadline(), deadline);
}

// S14
#[test]
fn a_grant_echoes_the_term_asked_for_and_a_rejection_tells_the_voters_own() {
    let state = HardState {
        term: Term(4),
        ..HardState::default()
    };
    let mut subject = Subject::restored(3, state, vec![]);
    let yes = subject.receive(2, 4, session(5), Body::RequestPreVote { last: id(0, 0) });
    assert_eq!(sent(&yes).next().unwrap().session.term, Term(5));
    let no = subject.receive(2, 2, session(3), Body::RequestPreVote { last: id(0, 0) });
    assert_eq!(granted(&no), Some(false));
    assert_eq!(sent(&no).next().unwrap().term, Term(4));
}

// S15, S8
#[test]
fn a_rejection_with_a_higher_term_is_adopted_without_its_vote() {
    let mut subject = Subject::new(3);
    let asking = subject.settle(Input::Campaign);
    let question = sent(&asking).next().unwrap().session;
    let actions = subject.receive(2, 9, question, Body::PreVoteReply { granted: false });
    assert_eq!((subject.role(), subject.term()), (RoleKind::Follower, 9));
    let state = written_state(&actions);
    assert_eq!(state.voted_for, None);
}

// S16
#[test]
fn a_node_that_looks_for_a_leader_knows_none() {
    let mut subject = Subject::new(3);
    let heard = subject.receive(2, 1, session(1), append(id(0, 0), 0, vec![]));
    subject.persisted(&heard);
    assert_eq!(subject.node.status().leader, Some(member(2)));
    subject.time_out();
    assert_eq!(subject.role(), RoleKind::PreCandidate);
    assert_eq!(subject.node.status().leader, None);
}

// S17
#[test]
fn a_late_pre_vote_after_winning_changes_nothing_and_a_leader_does_not_campaign() {
    let mut subject = Subject::new(3);
    let asking = subject.settle(Input::Campaign);
    let question = sent(&asking).next().unwrap().session;
    subject.elect();
    let term = subject.term();
    subject.receive(3, term, question, Body::PreVoteReply { granted: true });
    subject.settle(Input::Campaign);
    assert_eq!((subject.role(), subject.term()), (RoleKind::Leader, term));
}

// S18
#[test]
fn a_leader_of_an_earlier_term_is_told_so() {
    let state = HardState {
        term: Term(5),
        ..HardState::default()
    };
    let mut subject = Subject::restored(3, state, vec![]);
    let told = subject.receive(2, 3, session(3), append(id(0, 0), 0, vec![]));
    assert_eq!(bodies(&told), [Body::StaleTerm]);
    assert_eq!(sent(&told).next().unwrap().term, Term(5));
}

/// Dissertation §4.2.3. // S19
#[test]
fn a_node_that_hears_its_leader_looks_at_no_candidate() {
    let mut subject = Subject::new(3);
    subject.receive(2, 1, session(1), append(id(0, 0), 0, vec![]));
    let asked = subject.receive(3, 9, session(9), request_vote(id(9, 9)));
    assert_eq!(bodies(&asked), []);
    assert_eq!(subject.term(), 1);
    let asked = subject.receive(3, 1, session(2), Body::RequestPreVote { last: id(9, 9) });
    assert_eq!(granted(&asked), Some(false));
    // Once the leader has been silent for an election timeout, the candidate is heard.
    subject.now = subject.now + Span::from_millis(250);
    let asked = subject.receive(3, 1, session(2), Body::RequestPreVote { last: id(9, 9) });
    assert_eq!(granted(&asked), Some(true));
}

/// §5.2: only the leader of the current term, or giving a vote, resets the timer. // S20, E17
#[test]
fn a_message_of_an_earlier_term_does_not_reset_the_timer() {
    let state = HardState {
        term: Term(5),
        ..HardState::default()
    };
    let mut subject = Subject::restored(3, state, log(&[(5, 1)]));
    let deadline = subject.node.next_deadline();
    subject.now = subject.now + Span::from_millis(100);
    subject.receive(2, 4, session(4), append(id(0, 0), 0, vec![]));
    subject.receive(3, 6, session(6), request_vote(id(0, 0)));
    assert_eq!(subject.term(), 6, "the term is taken, the vote not given");
    assert_eq!(subject.node.next_deadline(), deadline);
}

/// Dissertation §4.1: "servers process incoming RPC requests without consulting their current
/// configurations". // S21, M10
#[test]
fn a_candidate_outside_the_configuration_gets_a_vote() {
    let mut subject = Subject::new(3);
    let ask = request_vote(id(0, 0));
    let asked = subject.receive(9, 1, session(1), ask);
    assert_eq!(granted(&subject.persisted(&asked)), Some(true));
}

fn configuration(change: raft_core::Configuration) -> raft_core::Entry {
    raft_core::Entry {
        id: id(1, 1),
        payload: raft_core::Payload::Configuration(change.into()),
    }
}

/// It may have been promoted without knowing it yet. // S22
#[test]
fn a_learner_votes_when_asked_and_does_not_ask() {
    let mut subject = Subject::new(3);
    let mut change = raft_core::Configuration::of_voters([member(2), member(3)]);
    change.learners.insert(member(1));
    let body = append(id(0, 0), 1, vec![configuration(change)]);
    subject.settle(Input::Receive(subject.envelope(2, 1, session(1), body)));
    subject.time_out();
    assert_eq!(subject.role(), RoleKind::Follower);
    let asked = subject.receive(3, 2, session(2), request_vote(id(1, 1)));
    assert_eq!(granted(&subject.persisted(&asked)), Some(true));
}

/// Dissertation §4.2.2: until the change is committed, nobody else may be able to lead. // S30
#[test]
fn a_node_that_an_uncommitted_configuration_leaves_out_still_campaigns_without_its_own_vote() {
    let mut subject = Subject::new(3);
    let change = raft_core::Configuration::of_voters([member(2), member(3)]);
    let body = append(id(0, 0), 0, vec![configuration(change)]);
    subject.settle(Input::Receive(subject.envelope(2, 1, session(1), body)));
    let asking = subject.time_out();
    assert_eq!(subject.role(), RoleKind::PreCandidate);
    let question = sent(&asking).next().unwrap().session;
    subject.receive(2, 1, question, Body::PreVoteReply { granted: true });
    assert_eq!(
        subject.role(),
        RoleKind::PreCandidate,
        "one of two, its own not counted"
    );
    subject.receive(3, 1, question, Body::PreVoteReply { granted: true });
    assert_eq!(subject.role(), RoleKind::Candidate);
}

// S24
#[test]
fn the_last_term_ends_the_node_instead_of_wrapping() {
    let state = HardState {
        term: Term(u64::MAX),
        ..HardState::default()
    };
    let mut subject = Subject::restored(1, state, vec![]);
    let actions = subject.time_out();
    assert_eq!(halted(&actions), Some(HaltReason::TermExhausted));
    assert_eq!(subject.node.next_deadline(), None);
}

/// Dissertation §6.2.
#[test]
fn a_leader_that_hears_no_majority_steps_down() {
    let mut subject = Subject::new(3);
    subject.elect();
    let term = subject.term();
    let mut rounds = 0;
    while subject.role() == RoleKind::Leader {
        subject.time_out();
        rounds += 1;
        assert!(rounds < 10, "after one election timeout");
    }
    assert_eq!((subject.role(), subject.term()), (RoleKind::Follower, term));
}

/// Reads begin rounds of their own; they must not keep a lonely leader in office. Found by review.
#[test]
fn steady_reads_do_not_keep_a_lonely_leader_in_office() {
    let mut subject = Subject::new(3);
    subject.elect();
    for read in 0..100 {
        subject.now = subject.now + Span::from_millis(20);
        let request = raft_core::RequestId(read);
        subject.step(read_of(request));
        if subject.node.next_deadline().unwrap() <= subject.now {
            subject.step(Input::Tick);
        }
    }
    assert_ne!(subject.role(), RoleKind::Leader);
}

// S7
#[test]
fn a_lone_voter_waits_for_its_disk_to_lead_and_to_commit() {
    let mut subject = Subject::new(1);
    let voting = subject.time_out();
    assert_eq!(subject.role(), RoleKind::Candidate);
    let leading = subject.persisted(&voting);
    assert_eq!((subject.role(), subject.commit()), (RoleKind::Leader, 0));
    subject.persisted(&leading);
    assert_eq!(subject.commit(), 1);
}

/// E05: stepping down within a term keeps its vote.
#[test]
fn a_candidate_that_meets_the_leader_of_its_term_keeps_its_vote() {
    let mut subject = Subject::new(3);
    let asking = subject.settle(Input::Campaign);
    let question = sent(&asking).next().unwrap().session;
    let reply = subject.envelope(2, 0, question, Body::PreVoteReply { granted: true });
    subject.settle(Input::Receive(reply));
    assert_eq!((subject.role(), subject.term()), (RoleKind::Candidate, 1));
    subject.receive(2, 1, session(1), append(id(0, 0), 0, vec![]));
    assert_eq!(subject.role(), RoleKind::Follower);
    let asked = subject.receive(3, 1, session(1), request_vote(id(0, 0)));
    assert_eq!(granted(&asked), Some(false));
}

/// V4: another term would only be one more to wait for.
#[test]
fn a_node_whose_disk_stalls_does_not_campaign() {
    let mut subject = Subject::new(3);
    let heard = subject.receive(2, 1, session(1), append(id(0, 0), 0, vec![]));
    subject.time_out();
    assert_eq!(subject.role(), RoleKind::Follower);
    subject.persisted(&heard);
    subject.time_out();
    assert_eq!(subject.role(), RoleKind::PreCandidate);
}

/// Found by review: a node alone must lead in the end, however slow its disk.
#[test]
fn a_candidate_whose_disk_is_slow_stays_one() {
    let mut subject = Subject::new(1);
    let voting = subject.time_out();
    subject.time_out();
    assert_eq!((subject.role(), subject.term()), (RoleKind::Candidate, 1));
    subject.persisted(&voting);
    assert_eq!(subject.role(), RoleKind::Leader);
}

#[test]
fn election_timeouts_lie_between_once_and_twice_the_shortest_and_differ() {
    let mut seen = std::collections::BTreeSet::new();
    let mut subject = Subject::new(3);
    for _ in 0..50 {
        let wait = subject.node.next_deadline().unwrap() - subject.now;
        assert!((250_000_000..500_000_000).contains(&wait.0), "{wait:?}");
        seen.insert(wait);
        subject.time_out();
    }
    assert!(seen.len() > 40, "jitter is spread: {}", seen.len());
    assert_eq!(subject.last().index, Index(0));
}
