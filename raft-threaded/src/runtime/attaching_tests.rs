//! What becomes of an attachment, by the configurations that its node comes by.

use super::*;
use raft_core::{Index, NodeId, StorageId, Term};

fn member(node: u64) -> Member {
    Member {
        node: NodeId(node),
        store: StorageId(node.into()),
    }
}

fn id(index: u64) -> EntryId {
    EntryId {
        term: Term(1),
        index: Index(index),
    }
}

fn configuration(voters: &[u64], learners: &[u64]) -> Configuration {
    Configuration {
        voters: voters.iter().copied().map(member).collect(),
        learners: learners.iter().copied().map(member).collect(),
        ..Configuration::default()
    }
}

/// Nodes 2 and 3 were to be voters, ordered on top of entry 5.
fn attachment() -> Attachment {
    let add = |node| MemberChange::AddVoter {
        member: member(node),
        address: String::new(),
    };
    Attachment {
        asker: RequestId(1),
        changes: vec![add(2), add(3)],
        before: id(5),
        noted: id(5),
        look_at: None,
        until: None,
        done_by: None,
    }
}

fn next(voters: &[u64], learners: &[u64], configured: u64) -> Next {
    attachment().next(&configuration(voters, learners), id(configured))
}

#[test]
fn what_is_left_to_do_shows_in_the_configuration() {
    assert_eq!(next(&[1, 2, 3], &[], 8), Next::Done(id(8)));
    assert_eq!(next(&[1], &[2, 3], 6), Next::Again(id(6)));
    assert_eq!(next(&[1], &[], 5), Next::Again(id(5)), "nothing was done");
}

/// It may have been carried out, and undone by somebody who knew what he did.
#[test]
fn what_somebody_else_may_have_undone_is_not_done_again() {
    assert_eq!(next(&[1], &[], 9), Next::Leave);
    assert_eq!(next(&[1, 4], &[], 9), Next::Leave);
    assert_eq!(next(&[1], &[2], 9), Next::Leave, "node 3 was detached");
    assert_eq!(next(&[1, 2], &[], 9), Next::Leave);
}

/// Its answer was lost, and somebody demoted a node before it was looked at again: the node was promoted.
#[test]
fn what_everybody_had_once_is_not_done_again() {
    let mut attachment = attachment();
    let learners = configuration(&[1], &[2, 3]);
    attachment.note(&learners, id(6));
    assert_eq!(attachment.next(&learners, id(6)), Next::Again(id(6)));
    attachment.note(&configuration(&[1, 2, 3], &[]), id(8));
    attachment.note(&configuration(&[1, 2], &[3]), id(9));
    attachment.note(&learners, id(10));
    assert_eq!(attachment.next(&learners, id(10)), Next::Leave);
}

/// The leader that promoted them was gone before anybody else had the entry.
#[test]
fn what_was_truncated_is_done_again() {
    let mut attachment = attachment();
    let learners = configuration(&[1], &[2, 3]);
    attachment.note(&configuration(&[1, 2, 3], &[]), id(8));
    attachment.note(&learners, id(6));
    assert_eq!(attachment.next(&learners, id(6)), Next::Again(id(6)));
}

/// New learners come with the last step, so that they are missing when new voters are learners says nothing.
#[test]
fn an_attachment_of_voters_and_learners_goes_on_from_its_first_step() {
    let mut attachment = attachment();
    attachment.changes.push(MemberChange::AddLearner {
        member: member(4),
        address: String::new(),
    });
    let next = |voters, learners| attachment.next(&configuration(voters, learners), id(9));
    assert_eq!(next(&[1], &[2, 3]), Next::Again(id(9)));
    assert_eq!(next(&[1, 2, 3], &[4]), Next::Done(id(9)));
    assert_eq!(next(&[1, 2, 3], &[]), Next::Leave, "node 4 was detached");
    assert_eq!(next(&[1, 2], &[3, 4]), Next::Leave, "node 3 was demoted");
}

/// Learners take part in one step: there is nothing to go on from.
#[test]
fn an_attachment_of_learners_is_not_done_again_once_anything_was_changed() {
    let mut attachment = attachment();
    attachment.changes = vec![MemberChange::AddLearner {
        member: member(4),
        address: String::new(),
    }];
    let next = |configured| attachment.next(&configuration(&[1], &[]), id(configured));
    assert_eq!(next(5), Next::Again(id(5)));
    assert_eq!(next(7), Next::Leave);
}

/// Learners were left by the first attempt, and its asker was told that nothing was changed.
#[test]
fn an_error_after_an_interruption_does_not_say_that_nothing_was_done() {
    let mut attachment = attachment();
    let refused = RequestError::Rejected(Rejection::OwnStorageFull);
    assert_eq!(attachment.final_error(refused), refused);
    attachment.until = Some(Time(1));
    assert_eq!(attachment.final_error(refused), RequestError::Unknown);
}
