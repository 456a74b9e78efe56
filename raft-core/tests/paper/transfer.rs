//! Handing leadership over: dissertation §3.10.

use raft_core::{
    Body, Input, MemberChange, NodeId, Outcome, Rejection, RoleKind, Span, TransferRefusal,
};

use super::group::{Group, remove};
use super::subject::{Subject, append, id, session};

const SECOND: Span = Span(1_000_000_000);

fn refused(refusal: TransferRefusal) -> Option<Outcome> {
    Some(Outcome::Rejected(Rejection::Transfer(refusal)))
}

#[test]
fn leadership_goes_to_the_named_voter_without_waiting_for_a_timer() {
    let mut group = Group::led(3);
    group.propose(1);
    let before = group.now;
    let request = group.transfer(1, Some(3));
    assert_eq!(group.leader(), Some(3));
    assert_eq!(group.now, before);
    assert!(matches!(
        group.outcome(request),
        Some(Outcome::Transferred(_))
    ));
}

#[test]
fn leadership_goes_to_the_voter_with_most_of_the_log_if_none_is_named() {
    let mut group = Group::led(3);
    group.cut.insert(2);
    group.propose(1);
    group.cut.clear();
    let request = group.transfer(1, None);
    assert_eq!(group.leader(), Some(3));
    assert!(matches!(
        group.outcome(request),
        Some(Outcome::Transferred(_))
    ));
}

#[test]
fn a_transfer_asked_of_a_follower_is_made_by_its_leader() {
    let mut group = Group::led(3);
    let request = group.transfer(2, Some(2));
    assert_eq!(group.leader(), Some(2));
    assert!(matches!(
        group.outcome(request),
        Some(Outcome::Transferred(_))
    ));
}

/// Otherwise the target's log would never be complete.
#[test]
fn nothing_is_appended_while_leadership_is_handed_over() {
    let mut group = Group::led(3);
    group.lose = |envelope| matches!(envelope.body, Body::TimeoutNow { .. });
    let transfer = group.transfer(1, Some(2));
    let last = group.nodes[&1].status().last;
    let local = group.propose(1);
    let forwarded = group.propose(3);
    for request in [local, forwarded, transfer] {
        assert_eq!(group.outcome(request), None);
    }
    assert_eq!(group.nodes[&1].status().last, last);
}

/// A target that does not take over in time costs an election timeout, and no more. // S42
#[test]
fn a_transfer_that_is_not_taken_up_is_given_up_and_an_entry_says_that_the_leader_goes_on() {
    let mut group = Group::led(3);
    group.lose = |envelope| matches!(envelope.body, Body::TimeoutNow { .. });
    let before = group.nodes[&1].status().last;
    let request = group.transfer(1, Some(2));
    group.pass(Span(SECOND.0 / 2));
    assert_eq!(
        group.outcome(request),
        refused(TransferRefusal::TimedOut(NodeId(2)))
    );
    assert_eq!(group.leader(), Some(1));
    assert_eq!(
        group.nodes[&1].status().last,
        id(before.term.0, before.index.0 + 1)
    );
    let proposal = group.propose(1);
    assert!(matches!(
        group.outcome(proposal),
        Some(Outcome::Committed(_))
    ));
}

#[test]
fn a_lost_order_to_begin_is_given_again() {
    let mut group = Group::led(3);
    group.lose = |envelope| matches!(envelope.body, Body::TimeoutNow { .. });
    let request = group.transfer(1, Some(2));
    group.lose = |_| false;
    group.pass(Span(SECOND.0 / 10));
    assert_eq!(group.leader(), Some(2));
    assert!(matches!(
        group.outcome(request),
        Some(Outcome::Transferred(_))
    ));
}

/// The order names the log it was given for. // S41
#[test]
fn a_target_whose_durable_log_differs_does_not_begin() {
    let mut subject = Subject::new(3);
    let entries = super::subject::log(&[(1, 1)]);
    let appended = subject.receive(2, 1, session(1), append(id(0, 0), 0, entries));
    let order = |last| Body::TimeoutNow {
        last,
        round: raft_core::Round(0),
    };
    subject.receive(2, 1, session(1), order(id(1, 1)));
    assert_eq!(
        subject.role(),
        RoleKind::Follower,
        "its disk does not have the entry yet"
    );
    subject.persisted(&appended);
    subject.receive(2, 1, session(1), order(id(1, 2)));
    assert_eq!(subject.role(), RoleKind::Follower, "it lacks an entry");
    subject.receive(2, 1, session(1), order(id(1, 1)));
    assert_eq!(subject.role(), RoleKind::Candidate);
    assert_eq!(subject.term(), 2);
}

#[test]
fn an_order_to_begin_from_an_older_term_is_answered_with_the_newer_one() {
    let mut subject = Subject::new(3);
    subject.receive(2, 3, session(3), append(id(0, 0), 0, vec![]));
    let late = subject.receive(
        3,
        2,
        session(2),
        Body::TimeoutNow {
            last: id(0, 0),
            round: raft_core::Round(0),
        },
    );
    assert_eq!(super::subject::bodies(&late), [Body::StaleTerm]);
    assert_eq!(subject.role(), RoleKind::Follower);
}

// S34
#[test]
fn learners_and_strangers_are_no_targets() {
    let mut group = Group::led(3);
    group.changes(1, &[MemberChange::Demote { node: NodeId(3) }]);
    let learner = group.transfer(1, Some(3));
    assert_eq!(
        group.outcome(learner),
        refused(TransferRefusal::NotAVoter(NodeId(3)))
    );
    let stranger = group.transfer(1, Some(9));
    assert_eq!(
        group.outcome(stranger),
        refused(TransferRefusal::NotAVoter(NodeId(9)))
    );
    let itself = group.transfer(1, Some(1));
    assert_eq!(
        group.outcome(itself),
        refused(TransferRefusal::LeadsAlready(NodeId(1)))
    );
}

/// A change that was appended before the transfer removes its target: there is nobody to wait for. // S34
#[test]
fn a_target_that_is_removed_ends_the_transfer() {
    let mut group = Group::led(3);
    group.cut.extend([2, 3]);
    let change = group.changes(1, &[remove(3)]);
    // The joint configuration still has node 3 among its outgoing voters only.
    let transfer = group.transfer(1, Some(3));
    assert_eq!(
        group.outcome(transfer),
        refused(TransferRefusal::NotAVoter(NodeId(3)))
    );
    group.cut.clear();
    group.pass(SECOND);
    assert!(matches!(group.outcome(change), Some(Outcome::Changed(_))));
}

#[test]
fn one_transfer_at_a_time() {
    let mut group = Group::led(3);
    group.lose = |envelope| matches!(envelope.body, Body::TimeoutNow { .. });
    group.transfer(1, Some(2));
    let second = group.transfer(1, Some(3));
    assert_eq!(group.outcome(second), refused(TransferRefusal::InProgress));
}

#[test]
fn a_leader_that_is_told_to_step_down_hands_over() {
    let mut group = Group::led(3);
    let request = group.step_down(2);
    assert!(matches!(
        group.outcome(request),
        Some(Outcome::Transferred(_))
    ));
    let leader = group.leader().unwrap();
    assert_ne!(leader, 1);
}

#[test]
fn a_leader_that_is_told_to_step_down_does_so_when_nobody_takes_over() {
    let mut group = Group::led(3);
    group.lose = |envelope| matches!(envelope.body, Body::TimeoutNow { .. });
    let request = group.step_down(1);
    assert_eq!(group.outcome(request), None);
    group.pass(Span(SECOND.0 / 4));
    assert!(matches!(
        group.outcome(request),
        Some(Outcome::Transferred(_))
    ));
    assert_ne!(group.role(1), RoleKind::Leader);
}

#[test]
fn a_leader_alone_has_nobody_to_hand_over_to() {
    let mut group = Group::led(1);
    let request = group.transfer(1, None);
    assert_eq!(group.outcome(request), refused(TransferRefusal::NobodyElse));
    assert_eq!(group.leader(), Some(1));
}

/// What is asked while no leader is known has no effect.
#[test]
fn a_transfer_without_a_leader_is_refused() {
    let mut subject = Subject::new(3);
    let request = raft_core::RequestId(1);
    let asked = subject.step(Input::TransferLeadership { request, to: None });
    assert_eq!(
        super::subject::outcomes(&asked),
        [(1, Outcome::Rejected(Rejection::NotLeader { leader: None }))]
    );
}
