//! Who is believed (P6).

use raft_core::{
    Action, Alert, Body, Boot, ClusterId, Envelope, GroupId, Index, Input, Refusal, RoleKind,
    StorageId,
};

use super::subject::{Subject, append, heartbeat, id, log, member, session};

fn heard(subject: &Subject) -> Envelope {
    *subject.envelope(2, 1, session(1), heartbeat(0, 1))
}

fn alerts(actions: &[Action]) -> Vec<Alert> {
    let alerts = actions.iter().filter_map(|action| match action {
        Action::Alert(alert) => Some(*alert),
        _ => None,
    });
    alerts.collect()
}

/// Each is refused, counted, and not answered; the first of its kind is told.
fn refused(change: impl Fn(&mut Envelope), refusal: Refusal) {
    let mut subject = Subject::new(3);
    for repetition in 0..3 {
        let mut envelope = heard(&subject);
        change(&mut envelope);
        let from = envelope.from.member;
        let actions = subject.step(Input::Receive(Box::new(envelope)));
        let expected = (repetition == 0).then_some(Alert::Refused { from, refusal });
        assert_eq!(alerts(&actions), expected.into_iter().collect::<Vec<_>>());
        assert_eq!(actions.len(), usize::from(repetition == 0));
    }
    assert_eq!(subject.term(), 0);
}

#[test]
fn a_message_of_another_cluster_or_group_is_refused() {
    refused(
        |envelope| envelope.from.cluster = ClusterId(2),
        Refusal::Foreign,
    );
    refused(
        |envelope| envelope.from.group = GroupId(2),
        Refusal::Foreign,
    );
}

#[test]
fn a_message_for_another_node_or_another_store_is_refused() {
    refused(|envelope| envelope.to = member(3), Refusal::Misaddressed);
    refused(
        |envelope| envelope.to.store = StorageId(9),
        Refusal::Misaddressed,
    );
    refused(
        |envelope| envelope.from.member = member(1),
        Refusal::Misaddressed,
    );
}

#[test]
fn a_message_of_an_earlier_life_of_its_sender_is_refused() {
    let mut subject = Subject::new(3);
    let mut newer = heard(&subject);
    newer.boot = Boot(5);
    subject.step(Input::Receive(Box::new(newer)));
    let older = heard(&subject);
    let actions = subject.step(Input::Receive(Box::new(older)));
    assert!(
        actions
            .iter()
            .all(|action| !matches!(action, Action::Send(_)))
    );
    assert_eq!(subject.node.status().refused.earlier_boot, 1);
}

/// M16: a node that lost its disk has another store id, and is another voter.
#[test]
fn a_vote_of_another_store_of_the_same_node_does_not_count() {
    let mut subject = Subject::new(3);
    let asking = subject.settle(Input::Campaign);
    let question = super::subject::sent(&asking).next().unwrap().session;
    let mut reply = subject.envelope(2, 0, question, Body::PreVoteReply { granted: true });
    reply.from.member.store = StorageId(999);
    subject.settle(Input::Receive(reply));
    assert_eq!(subject.role(), RoleKind::PreCandidate);
}

/// Evidence that promises were broken somewhere: a cloned disk, for instance.
#[test]
fn a_second_leader_of_one_term_is_not_followed_and_told() {
    let mut subject = Subject::new(3);
    subject.receive(2, 1, session(1), append(id(0, 0), 0, log(&[(1, 1)])));
    let actions = subject.receive(3, 1, session(1), append(id(0, 0), 0, log(&[(1, 1)])));
    assert!(matches!(alerts(&actions)[..], [Alert::TwoLeaders { .. }]));
    assert_eq!(subject.node.status().leader, Some(member(2)));
}

/// D18: evidence of a disk that was rolled back.
#[test]
fn a_follower_that_lacks_what_it_acknowledged_is_told_and_not_asked_at_once_again() {
    let mut subject = Subject::new(3);
    subject.elect();
    subject.propose(1);
    subject.matched(2, 2);
    subject.step(Input::PeerUnreachable { peer: member(2) });
    let lacking = raft_core::AppendOutcome::Conflict {
        previous: Index(2),
        hint: id(0, 0),
    };
    let reply = subject.envelope(2, 1, session(1), Body::AppendReply(lacking));
    let actions = subject.step(Input::Receive(reply));
    assert!(
        matches!(alerts(&actions)[..], [Alert::Forgot { .. }]),
        "{actions:?}"
    );
    assert!(
        actions
            .iter()
            .all(|action| !matches!(action, Action::Send(_)))
    );
}
