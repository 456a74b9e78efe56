//! Leaders, and those who would be, whose disk stalls: `Options::disk_stall_timeout`.

use raft_core::{
    Action, Alert, Body, HandOverReason, Input, Member, Observation, Options, RoleKind, Span, Time,
};

use super::subject::{Subject, append, bodies, id, log, member, round_of, session};

const STALL: Span = Span::from_millis(1_000);

fn subject(voters: u64) -> Subject {
    let options = Options {
        disk_stall_timeout: STALL,
        ..Options::default()
    };
    Subject::with(voters, options)
}

fn handed_over(actions: &[Action]) -> Option<(Member, HandOverReason)> {
    actions.iter().find_map(|action| match action {
        Action::Observed(Observation::HandsOver { to, reason }) => Some((*to, *reason)),
        _ => None,
    })
}

fn alerts(actions: &[Action]) -> usize {
    let stalls = actions
        .iter()
        .filter(|action| **action == Action::Alert(Alert::DiskStalled));
    stalls.count()
}

/// A leader of so many whose disk takes a proposal and does not finish; the write.
fn stalling(voters: u64, able: &[u64]) -> (Subject, Vec<Action>) {
    let mut subject = subject(voters);
    subject.elect();
    for peer in able {
        subject.matched(*peer, 1);
    }
    let command = raft_core::Bytes::from_static(b"x");
    let request = raft_core::RequestId(1);
    let written = subject.step(Input::Propose { request, command });
    (subject, written)
}

/// So much time passes, in which these peers answer; everything the node did.
fn pass(subject: &mut Subject, time: Span, answering: &[u64]) -> Vec<Action> {
    let mut all = Vec::new();
    let until = subject.now + time;
    while subject.node.next_deadline().unwrap() <= until {
        let ticked = subject.time_out();
        let beat = bodies(&ticked)
            .iter()
            .any(|body| matches!(body, Body::Heartbeat { .. }));
        if beat {
            for peer in answering {
                let round = round_of(&ticked);
                let got = subject.last().index.0;
                let body = Body::HeartbeatReply {
                    round: raft_core::Round(round),
                    received: raft_core::Index(got),
                    matched: raft_core::Index(got),
                    promised: Span(0),
                };
                let term = subject.term();
                all.extend(subject.receive(*peer, term, session(term), body));
            }
        }
        all.extend(ticked);
    }
    subject.now = until;
    all
}

#[test]
fn a_write_that_takes_too_long_is_said_once() {
    let (mut subject, written) = stalling(3, &[2]);
    let since = subject.now;
    let before = pass(&mut subject, Span(STALL.0 - 1), &[2, 3]);
    assert_eq!(alerts(&before), 0);
    assert_eq!(subject.node.next_deadline(), Some(since + STALL));
    assert_eq!(alerts(&pass(&mut subject, STALL, &[2, 3])), 1);
    // The next time is another time.
    subject.persisted(&written);
    let again = subject.step(Input::Propose {
        request: raft_core::RequestId(2),
        command: raft_core::Bytes::from_static(b"y"),
    });
    assert_eq!(alerts(&again), 0);
    assert_eq!(alerts(&pass(&mut subject, STALL, &[2, 3])), 1);
}

#[test]
fn a_leader_whose_disk_stalls_hands_over_to_the_voter_with_most_of_the_log() {
    let (mut subject, _) = stalling(3, &[2, 3]);
    subject.matched(3, 2);
    let said = pass(&mut subject, STALL, &[3]);
    // Node 2 was not heard, and nodes 1 and 3 need each other's disk.
    assert_eq!(handed_over(&said), None);
    let said = pass(&mut subject, Span::from_millis(100), &[2, 3]);
    let (to, reason) = handed_over(&said).unwrap();
    assert!([member(2), member(3)].contains(&to));
    assert_eq!(reason, HandOverReason::DiskStalled);
    assert_eq!(subject.role(), RoleKind::Leader, "until another one is");
}

/// Whoever else led would wait for the same disk.
#[test]
fn a_leader_that_the_others_cannot_do_without_goes_on_leading() {
    for (voters, answering) in [(2, &[2][..]), (3, &[2]), (4, &[2, 3])] {
        let (mut subject, _) = stalling(voters, answering);
        let said = pass(&mut subject, Span(STALL.0 * 5), answering);
        assert_eq!(handed_over(&said), None);
        assert_eq!(subject.role(), RoleKind::Leader);
        assert_eq!(alerts(&said), 1);
    }
}

#[test]
fn a_cluster_of_one_does_not_flap_while_its_disk_stalls() {
    let mut subject = subject(1);
    subject.settle(Input::Campaign);
    let command = raft_core::Bytes::from_static(b"x");
    let request = raft_core::RequestId(1);
    let written = subject.step(Input::Propose { request, command });
    let said = pass(&mut subject, Span(STALL.0 * 5), &[]);
    assert_eq!(subject.role(), RoleKind::Leader);
    assert_eq!((alerts(&said), handed_over(&said)), (1, None));
    subject.persisted(&written);
    assert_eq!(subject.commit(), 2);
}

/// What is handed over to other nodes is no use while a handover may still be under way.
#[test]
fn a_leader_that_could_not_hand_over_tries_again_after_a_while() {
    let (mut subject, _) = stalling(3, &[2, 3]);
    let said = pass(&mut subject, Span::from_millis(1_900), &[2, 3]);
    let tries = |said: &[Action]| {
        let observed = said
            .iter()
            .filter(|a| matches!(a, Action::Observed(Observation::HandsOver { .. })));
        observed.count()
    };
    assert_eq!(tries(&said), 1);
    let said = pass(&mut subject, Span::from_millis(1_000), &[2, 3]);
    assert_eq!(tries(&said), 1);
}

/// It was only for terms and votes that this waited.
#[test]
fn a_follower_whose_disk_stalls_does_not_campaign_until_it_is_healthy() {
    let mut subject = subject(3);
    let term = subject.envelope(2, 1, session(1), append(id(0, 0), 0, vec![]));
    subject.settle(Input::Receive(term));
    let written = subject.receive(2, 1, session(1), append(id(0, 0), 0, log(&[(1, 1)])));
    let until = subject.now + STALL;
    subject.now = until;
    let said = subject.step(Input::Tick);
    assert_eq!((bodies(&said), alerts(&said)), (vec![], 1));
    for _ in 0..5 {
        assert_eq!(bodies(&subject.time_out()), []);
    }
    assert_eq!(bodies(&subject.settle(Input::Campaign)), []);
    subject.persisted(&written);
    let asked = bodies(&subject.time_out());
    assert!(matches!(asked[..], [Body::RequestPreVote { .. }, ..]));
    assert!(subject.now > Time(until.0));
}
