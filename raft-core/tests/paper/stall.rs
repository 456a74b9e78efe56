//! Leaders, and those who would be, whose disk stalls (`Options::disk_stall_timeout`) or is full.

use raft_core::{
    Action, Alert, Body, DiskHealth, HandOverReason, Input, Member, NodeId, Observation, Options,
    Outcome, Rejection, RoleKind, Span, Time, TransferRefusal,
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

/// So much time passes, in which these peers answer that their disks are healthy; everything the node did.
fn pass(subject: &mut Subject, time: Span, answering: &[u64]) -> Vec<Action> {
    let healthy: Vec<_> = answering
        .iter()
        .map(|peer| (*peer, DiskHealth::Healthy))
        .collect();
    pass_with(subject, time, &healthy)
}

/// The same with peers whose disks are like this.
fn pass_with(subject: &mut Subject, time: Span, answering: &[(u64, DiskHealth)]) -> Vec<Action> {
    let mut all = Vec::new();
    let until = subject.now + time;
    while subject.node.next_deadline().unwrap() <= until {
        let ticked = subject.time_out();
        let beat = bodies(&ticked)
            .iter()
            .any(|body| matches!(body, Body::Heartbeat { .. }));
        if beat {
            for (peer, disk) in answering {
                let round = round_of(&ticked);
                let got = subject.last().index.0;
                let body = Body::HeartbeatReply {
                    round: raft_core::Round(round),
                    received: raft_core::Index(got),
                    matched: raft_core::Index(got),
                    promised: Span(0),
                    disk: *disk,
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

/// A leader of three that has a full disk, and wrote nothing since; what it said then.
fn full() -> (Subject, Vec<Action>) {
    let mut subject = subject(3);
    subject.elect();
    subject.matched(2, 1);
    let said = subject.step(Input::StorageFull);
    (subject, said)
}

#[test]
fn a_leader_with_a_full_disk_hands_over_to_a_node_that_has_room() {
    let (mut subject, said) = full();
    // Whose disks are healthy is not known before they have said so.
    assert_eq!(handed_over(&said), None);
    let peers = [(2, DiskHealth::Full), (3, DiskHealth::Healthy)];
    let said = pass_with(&mut subject, Span::from_millis(100), &peers);
    assert_eq!(handed_over(&said), None, "nodes 1 and 3 need another disk");
    let said = pass(&mut subject, Span::from_millis(100), &[2, 3]);
    assert_eq!(handed_over(&said).unwrap().1, HandOverReason::DiskFull);
}

#[test]
fn a_leader_hands_over_at_once_when_its_disk_is_full() {
    let mut subject = subject(3);
    subject.elect();
    subject.matched(2, 1);
    pass(&mut subject, Span::from_millis(100), &[2, 3]);
    let said = subject.step(Input::StorageFull);
    assert_eq!(handed_over(&said).unwrap().1, HandOverReason::DiskFull);
    let request = raft_core::RequestId(1);
    let command = raft_core::Bytes::from_static(b"x");
    let said = subject.step(Input::Propose { request, command });
    let outcome = Outcome::Rejected(Rejection::Transferring);
    assert!(said.contains(&Action::Resolve { request, outcome }));
}

/// Everybody would wait for it until the deadline.
#[test]
fn leadership_is_not_handed_to_a_named_node_whose_disk_is_not_healthy() {
    for (disk, refusal) in [
        (DiskHealth::Full, TransferRefusal::DiskFull(NodeId(2))),
        (DiskHealth::Stalled, TransferRefusal::DiskStalls(NodeId(2))),
    ] {
        let mut subject = subject(3);
        subject.elect();
        subject.matched(2, 1);
        let peers = [(2, disk), (3, DiskHealth::Healthy)];
        pass_with(&mut subject, Span::from_millis(100), &peers);
        let request = raft_core::RequestId(1);
        let to = Some(NodeId(2));
        let said = subject.step(Input::TransferLeadership { request, to });
        let refused = Outcome::Rejected(Rejection::Transfer(refusal));
        assert_eq!(super::subject::outcomes(&said), [(1, refused)]);
    }
}

/// Leadership would go round among them, and nobody would gain by it.
#[test]
fn nodes_without_room_do_not_hand_leadership_to_each_other() {
    for disk in [DiskHealth::Full, DiskHealth::Stalled] {
        let (mut subject, _) = full();
        let said = pass_with(&mut subject, Span(STALL.0 * 5), &[(2, disk), (3, disk)]);
        assert_eq!(handed_over(&said), None);
        assert_eq!(subject.role(), RoleKind::Leader);
    }
}

#[test]
fn a_follower_says_that_its_disk_is_full_and_when_it_has_room_again() {
    let mut subject = subject(3);
    let said = |subject: &mut Subject| {
        let beat = Body::Heartbeat {
            commit: raft_core::Index(0),
            read_index: raft_core::Index(0),
            round: raft_core::Round(1),
            promise: Span(0),
            priority: 0,
        };
        let said = bodies(&subject.receive(2, 1, session(1), beat));
        said.into_iter().find_map(|body| match body {
            Body::HeartbeatReply { disk, .. } => Some(disk),
            _ => None,
        })
    };
    subject.settle(Input::Tick);
    let term = subject.envelope(2, 1, session(1), append(id(0, 0), 0, vec![]));
    subject.settle(Input::Receive(term));
    assert_eq!(said(&mut subject), Some(DiskHealth::Healthy));
    subject.step(Input::StorageFull);
    assert_eq!(said(&mut subject), Some(DiskHealth::Full));
    assert_eq!(subject.node.status().disk, DiskHealth::Full);
    subject.step(Input::StorageAvailable);
    assert_eq!(said(&mut subject), Some(DiskHealth::Healthy));
}

#[test]
fn who_is_to_hand_over_to_anybody_prefers_a_healthy_disk_to_more_of_the_log() {
    let mut subject = subject(3);
    subject.elect();
    subject.matched(2, 1);
    let peers = [(2, DiskHealth::Full), (3, DiskHealth::Healthy)];
    pass_with(&mut subject, Span::from_millis(100), &peers);
    let command = raft_core::Bytes::from_static(b"x");
    let request = raft_core::RequestId(1);
    subject.settle(Input::Propose { request, command });
    subject.matched(2, 2);
    let to = None;
    let request = raft_core::RequestId(2);
    let mut said = subject.settle(Input::TransferLeadership { request, to });
    said.extend(subject.matched(3, 2));
    let told = said.iter().find_map(|action| match action {
        Action::Send(envelope) if matches!(envelope.body, Body::TimeoutNow { .. }) => {
            Some(envelope.to)
        }
        _ => None,
    });
    assert_eq!(told, Some(member(3)));
}
