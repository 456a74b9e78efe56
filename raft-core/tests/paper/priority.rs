//! Who had better lead: `Options::priority`.

use raft_core::{
    Action, Body, HandOverReason, HardState, Index, Input, Member, Observation, Options, RoleKind,
    Round, Span, Term,
};

use super::subject::{Subject, bodies, latest_round, log, member, round_of, session};

const TIMEOUT: Span = Span::from_millis(250);
const BEAT: Span = Span::from_millis(50);

fn of_priority(priority: u32) -> Subject {
    let options = Options {
        priority,
        ..Options::default()
    };
    Subject::with(3, options)
}

/// A heartbeat of node 2, which wants to lead this much and has nothing in its log.
fn beat(round: u64, priority: u32) -> Body {
    Body::Heartbeat {
        commit: Index(0),
        read_index: Index(0),
        round: Round(round),
        promise: Span(0),
        priority,
    }
}

fn hear(subject: &mut Subject, body: Body) -> Vec<Action> {
    let message = subject.envelope(2, 1, session(1), body);
    subject.settle(Input::Receive(message))
}

/// After how many heartbeats a follower asked its leader to hand over, in so many.
fn asked_at(subject: &mut Subject, priority: u32, beats: u64) -> Vec<u64> {
    let mut asked = Vec::new();
    for round in 1..=beats {
        let said = bodies(&hear(subject, beat(round, priority)));
        if said
            .iter()
            .any(|body| matches!(body, Body::RequestLeadership { .. }))
        {
            asked.push(round);
        }
        subject.now = subject.now + BEAT;
    }
    asked
}

fn handed_over(actions: &[Action]) -> Option<(Member, HandOverReason)> {
    actions.iter().find_map(|action| match action {
        Action::Observed(Observation::HandsOver { to, reason }) => Some((*to, *reason)),
        _ => None,
    })
}

#[test]
fn a_node_of_priority_zero_never_campaigns_by_itself() {
    let mut subject = of_priority(0);
    for _ in 0..10 {
        assert_eq!(bodies(&subject.time_out()), []);
        assert_eq!(subject.role(), RoleKind::Follower);
    }
    subject.settle(Input::Campaign);
    assert_eq!(subject.role(), RoleKind::PreCandidate, "it was told to");
    subject.time_out();
    assert_eq!(subject.role(), RoleKind::Follower, "once");
}

#[test]
fn a_node_of_priority_zero_votes_like_any_other() {
    let mut subject = of_priority(0);
    let ask = super::subject::request_vote(super::subject::id(0, 0));
    let asked = subject.envelope(2, 1, session(1), ask);
    let said = bodies(&subject.settle(Input::Receive(asked)));
    assert_eq!(said, [Body::VoteReply { granted: true }]);
}

/// Four election timeouts are twenty heartbeats.
#[test]
fn a_follower_of_higher_priority_asks_to_lead_now_and_then() {
    let mut subject = of_priority(2);
    assert_eq!(asked_at(&mut subject, 1, 70), [21, 41, 61]);
}

#[test]
fn nobody_asks_a_leader_of_the_same_or_a_higher_priority() {
    for own in [0, 1, 5] {
        let mut subject = of_priority(own);
        assert_eq!(asked_at(&mut subject, 5, 70), [] as [u64; 0]);
    }
}

#[test]
fn a_follower_that_is_behind_does_not_ask_to_lead() {
    let mut subject = of_priority(2);
    hear(&mut subject, beat(1, 1));
    subject.now = subject.now + Span(TIMEOUT.0 * 4);
    let behind = Body::Heartbeat {
        commit: Index(0),
        read_index: Index(9),
        round: Round(2),
        promise: Span(0),
        priority: 1,
    };
    let said = bodies(&hear(&mut subject, behind));
    assert!(matches!(said[..], [Body::HeartbeatReply { .. }]));
}

/// A leader of this priority whose peer 2 has everything, and whose peer 3 has nothing.
fn leader(priority: u32) -> Subject {
    let mut subject = of_priority(priority);
    subject.elect();
    subject.matched(2, 1);
    for _ in 0..3 {
        let round = round_of(&subject.time_out());
        subject.heartbeat_reply(2, round, 1);
        subject.heartbeat_reply(3, round, 0);
    }
    subject
}

fn request(subject: &mut Subject, from: u64, priority: u32) -> Option<(Member, HandOverReason)> {
    let body = Body::RequestLeadership { priority };
    let said = subject.receive(from, 1, session(1), body);
    handed_over(&said)
}

#[test]
fn a_leader_hands_over_to_a_voter_of_higher_priority_that_is_caught_up() {
    let given = Some((member(2), HandOverReason::Priority));
    for (from, own, theirs, expected) in [
        (2, 1, 2, given),
        (2, 2, 2, None),
        (2, 3, 2, None),
        (3, 1, 2, None),
        // Not a member.
        (4, 1, 2, None),
    ] {
        let mut subject = leader(own);
        assert_eq!(request(&mut subject, from, theirs), expected);
    }
}

/// It would have to catch up first, while nobody can write; under load, every voter lags a little.
#[test]
fn a_leader_does_not_hand_over_to_a_voter_whose_disk_lags_behind() {
    let mut subject = leader(1);
    subject.matched(3, 1);
    for request in 1..=5 {
        subject.propose(request);
    }
    subject.matched(2, 6);
    let mut busy = subject.clone();
    assert!(request(&mut busy, 3, 2).is_some());
    for _ in 0..2 {
        let round = round_of(&subject.time_out());
        let body = Body::HeartbeatReply {
            round: Round(round),
            received: Index(6),
            matched: Index(1),
            promised: Span(0),
            disk: raft_core::DiskHealth::Healthy,
        };
        subject.receive(3, 1, session(1), body);
    }
    assert_eq!(request(&mut subject, 3, 2), None);
    assert_eq!(
        request(&mut subject, 2, 2).map(|(to, _)| to),
        Some(member(2))
    );
}

#[test]
fn a_leader_hands_over_of_its_own_accord_only_now_and_then() {
    let mut subject = leader(1);
    assert!(request(&mut subject, 2, 2).is_some());
    assert!(request(&mut subject, 2, 2).is_none());
    let again = subject.now + Span(TIMEOUT.0 * 4);
    while subject.now < again {
        let ticked = subject.time_out();
        if let Some(round) = latest_round(&ticked) {
            let last = subject.last().index.0;
            subject.heartbeat_reply(2, round, last);
        }
    }
    assert!(request(&mut subject, 2, 2).is_some());
}

#[test]
fn a_request_of_another_exchange_moves_nobody() {
    let mut subject = leader(1);
    let body = Body::RequestLeadership { priority: 2 };
    let said = subject.receive(2, 1, session(7), body);
    assert_eq!(handed_over(&said), None);
    assert_eq!(subject.node.status().refused.stale_session, 1);
}

/// It cannot tell yet who has everything that is committed.
#[test]
fn a_leader_whose_first_entry_is_not_committed_hands_over_to_nobody() {
    let state = HardState {
        term: Term(1),
        ..HardState::default()
    };
    let mut subject = Subject::restored(3, state, log(&[(1, 1)]));
    subject.elect();
    subject.matched(2, 1);
    let body = Body::RequestLeadership { priority: 2 };
    let said = subject.receive(2, 2, session(2), body);
    assert_eq!(handed_over(&said), None);
}

#[test]
fn in_the_middle_of_a_change_of_members_nobody_is_handed_over_to() {
    let mut subject = Subject::joint(Options::default());
    let body = Body::RequestLeadership { priority: 2 };
    let said = subject.receive(4, 1, session(1), body);
    assert_eq!(handed_over(&said), None);
}
