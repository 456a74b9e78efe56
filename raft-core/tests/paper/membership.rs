//! Changes of membership: §6, and chapter 4 of the dissertation.

use raft_core::{
    Alert, Body, Bytes, ChangeRefusal, ChangeWay, Configuration, Entry, EntryId, Index, Input,
    MemberChange, MembershipChange, NodeId, Options, Outcome, Payload, Rejection, RequestId,
    RoleKind, Span,
};

use super::group::{Group, add_learner, add_voter, remove};
use super::subject::{Subject, append, bodies, id, member, outcomes, session};

const SECOND: Span = Span(1_000_000_000);

fn refused(refusal: ChangeRefusal) -> Option<Outcome> {
    Some(Outcome::Rejected(Rejection::Change(refusal)))
}

fn changed(group: &Group, request: u64) -> EntryId {
    match group.outcome(request) {
        Some(Outcome::Changed(id)) => id,
        other => panic!("expected a changed configuration, found {other:?}"),
    }
}

fn configuration_entry(term: u64, index: u64, configuration: Configuration) -> Entry {
    Entry {
        id: id(term, index),
        payload: Payload::Configuration(configuration.into()),
    }
}

fn of(voters: &[u64]) -> Configuration {
    Configuration::of_voters(voters.iter().copied().map(member))
}

/// §6, Figure 11: old, joint, new; and the core leaves the joint phase by itself.
#[test]
fn a_change_passes_through_the_joint_configuration_and_ends_in_the_new_one() {
    let mut group = Group::led(3);
    group.add_outsider(4);
    group.add_outsider(5);
    let request = group.changes(1, &[remove(3), add_voter(4), add_voter(5)]);
    let id = changed(&group, request);
    for node in [1, 2, 4, 5] {
        assert_eq!(group.voters(node), [1, 2, 4, 5]);
        assert!(!group.configuration(node).is_joint());
        assert_eq!(group.nodes[&node].status().configured, id);
    }
    let joint = group.sent.iter().any(|envelope| match &envelope.body {
        Body::AppendEntries { entries, .. } => entries.iter().any(|entry| match &entry.payload {
            Payload::Configuration(configuration) => configuration.is_joint(),
            Payload::Noop | Payload::Command(_) => false,
        }),
        _ => false,
    });
    assert!(joint, "both majorities decide in between");
}

/// Dissertation §4.1: the new configuration counts as soon as it is in the log. // S25
#[test]
fn a_configuration_is_in_force_at_append_and_reverts_on_truncation_over_several_levels() {
    let mut subject = Subject::new(3);
    let entries = vec![
        configuration_entry(1, 1, of(&[1, 2, 3, 4])),
        configuration_entry(1, 2, of(&[1, 2, 3, 4, 5])),
        configuration_entry(1, 3, of(&[1, 2])),
    ];
    subject.receive(2, 1, session(1), append(id(0, 0), 0, entries));
    assert_eq!(subject.node.status().configuration, &of(&[1, 2]));
    // Another leader never had the last two.
    let other = vec![configuration_entry(2, 2, of(&[1, 2, 4]))];
    subject.receive(3, 2, session(2), append(id(1, 1), 0, other));
    assert_eq!(subject.node.status().configuration, &of(&[1, 2, 4]));
    // And a third one had none of them.
    let nothing = vec![super::subject::command(3, 1)];
    subject.receive(2, 3, session(3), append(id(0, 0), 0, nothing));
    assert_eq!(subject.node.status().configuration, &of(&[1, 2, 3]));
    assert_eq!(subject.node.status().configured, EntryId::ZERO);
}

/// The erratum of the dissertation's single-server change: without an entry of its own term a leader cannot
/// know that no other change is under way. // S26
#[test]
fn a_new_leader_changes_nothing_before_it_has_committed_an_entry_of_its_own() {
    let mut subject = Subject::new(3);
    subject.elect();
    let request = RequestId(7);
    let change = MembershipChange::new([remove(3)]);
    let asked = subject.settle(Input::ChangeMembership { request, change });
    assert_eq!(
        outcomes(&asked),
        [(
            7,
            Outcome::Rejected(Rejection::Change(ChangeRefusal::TooEarly))
        )]
    );
}

// S26
#[test]
fn one_change_at_a_time() {
    let mut group = Group::led(3);
    group.cut.extend([2, 3]);
    let first = group.changes(1, &[remove(3)]);
    let second = group.changes(1, &[remove(2)]);
    assert_eq!(group.outcome(second), refused(ChangeRefusal::InProgress));
    assert_eq!(group.outcome(first), None);
    group.cut.clear();
    group.pass(SECOND);
    changed(&group, first);
    assert_eq!(group.voters(1), [1, 2]);
}

/// While both configurations decide, a majority of one of them decides nothing. // S27
#[test]
fn a_joint_configuration_commits_with_both_majorities_only() {
    let mut group = Group::led(3);
    for node in [4, 5] {
        group.add_outsider(node);
    }
    let learners = group.changes(1, &[add_learner(4), add_learner(5)]);
    changed(&group, learners);
    // Of the new voters 1, 4, 5 two are there; of the old ones only the leader is.
    group.cut.extend([2, 3]);
    let promote = |node| MemberChange::Promote { node: NodeId(node) };
    let change = group.changes(1, &[promote(4), promote(5), remove(2), remove(3)]);
    assert!(group.configuration(1).is_joint());
    let before = group.nodes[&1].status().commit_index;
    let proposal = group.propose(1);
    assert_eq!(group.nodes[&1].status().commit_index, before);
    // And the other way round: all of the old ones, and of the new ones only the leader.
    group.cut.clear();
    group.cut.extend([4, 5]);
    assert_eq!(group.outcome(proposal), None);
    group.cut.clear();
    group.pass(SECOND);
    changed(&group, change);
    assert_eq!(group.voters(1), [1, 4, 5]);
    assert!(matches!(
        group.outcome(proposal),
        Some(Outcome::Committed(_))
    ));
}

/// A leader that dies in the joint phase leaves it to the next one. // S28, S29
#[test]
fn a_new_leader_that_inherits_a_joint_configuration_ends_it_once_its_first_entry_commits() {
    let joint = of(&[1, 2, 3]).joint_with(&of(&[1, 2]));
    let mut subject = Subject::new(3);
    let entries = vec![configuration_entry(1, 1, joint.clone())];
    let appended = subject.receive(2, 1, session(1), append(id(0, 0), 0, entries));
    subject.persisted(&appended);
    subject.elect();
    assert_eq!(subject.node.status().configuration, &joint);
    // The no-op is entry 2; nothing is left before it is committed by both majorities.
    assert_eq!(subject.last(), id(2, 2));
    subject.matched_since(2, 1, 2);
    assert_eq!(subject.node.status().configuration, &of(&[1, 2]));
    assert_eq!(subject.last(), id(2, 3));
}

/// Dissertation §4.2.2: it may be needed to elect a leader that removes it. // S30
#[test]
fn a_node_absent_from_its_latest_uncommitted_configuration_campaigns_without_counting_itself() {
    let mut subject = Subject::new(3);
    let entries = vec![configuration_entry(1, 1, of(&[2, 3]))];
    let appended = subject.receive(2, 1, session(1), append(id(0, 0), 0, entries));
    subject.persisted(&appended);
    let asked = subject.time_out();
    assert_eq!(subject.role(), RoleKind::PreCandidate);
    assert_eq!(
        bodies(&asked).len(),
        2,
        "it asks both voters, and gives itself nothing"
    );
    let question = super::subject::sent(&asked).next().unwrap().session;
    subject.receive(2, 1, question, Body::PreVoteReply { granted: true });
    assert_eq!(
        subject.role(),
        RoleKind::PreCandidate,
        "one of two is no majority"
    );
}

/// Dissertation §4.2.2. // S31
#[test]
fn a_removed_leader_manages_the_new_configuration_without_counting_itself_and_hands_over() {
    let mut group = Group::led(3);
    let request = group.changes(1, &[remove(1)]);
    changed(&group, request);
    // Nobody has to tell it: its next heartbeat is answered with the newer term.
    group.pass(Options::default().heartbeat_interval);
    assert_eq!(group.role(1), RoleKind::Follower);
    let leader = group.leader().expect("it handed over");
    assert_ne!(leader, 1);
    assert_eq!(group.voters(leader), [2, 3]);
    assert!(group.was_sent(|body| matches!(body, Body::TimeoutNow { .. })) > 0);
    // It disturbs nobody afterwards.
    let term = group.nodes[&leader].status().term;
    group.pass(Span(5 * SECOND.0));
    assert_eq!(group.nodes[&leader].status().term, term);
    assert_eq!(group.leader(), Some(leader));
}

// S31
#[test]
fn a_removed_leader_that_nobody_takes_over_from_informs_a_majority_before_it_steps_down() {
    let mut group = Group::led(3);
    group.lose = |envelope| matches!(envelope.body, Body::TimeoutNow { .. });
    let request = group.changes(1, &[remove(1)]);
    changed(&group, request);
    assert_eq!(
        group.role(1),
        RoleKind::Leader,
        "it still tries to hand over"
    );
    group.pass(SECOND);
    assert_eq!(group.role(1), RoleKind::Follower);
    for node in [2, 3] {
        let status = group.nodes[&node].status();
        assert!(
            status.commit_index >= status.configured.index,
            "node {node} knows"
        );
    }
    let leader = group.leader().expect("they elect one of them");
    assert_eq!(group.voters(leader), [2, 3]);
}

/// A leader's own disk does not count for a configuration it is not part of. // S31
#[test]
fn a_leader_that_removes_itself_commits_with_a_majority_of_the_others() {
    let mut group = Group::led(3);
    group.cut.insert(3);
    let request = group.change(
        1,
        MembershipChange {
            way: ChangeWay::Single,
            ..MembershipChange::new([remove(1)])
        },
    );
    assert_eq!(
        group.outcome(request),
        None,
        "one of two, and itself, are no majority"
    );
    group.cut.clear();
    group.pass(SECOND);
    changed(&group, request);
}

/// Two of three are enough for what one of three was not. // S32
#[test]
fn a_smaller_quorum_commits_what_waited_for_a_larger_one() {
    let mut group = Group::led(4);
    let request = group.changes(1, &[remove(4)]);
    changed(&group, request);
    // Three of four were needed before; now two are.
    group.cut.insert(3);
    let proposal = group.propose(1);
    assert!(matches!(
        group.outcome(proposal),
        Some(Outcome::Committed(_))
    ));
}

// S33
#[test]
fn a_cluster_shrinks_from_two_to_one_and_goes_on() {
    let mut group = Group::led(2);
    let request = group.changes(1, &[remove(2)]);
    changed(&group, request);
    assert_eq!(group.voters(1), [1]);
    group.cut.insert(2);
    let proposal = group.propose(1);
    assert!(matches!(
        group.outcome(proposal),
        Some(Outcome::Committed(_))
    ));
    group.pass(SECOND);
    assert_eq!(
        group.role(1),
        RoleKind::Leader,
        "nobody else has to answer it"
    );
}

/// Another store under the same id has none of the votes of the first. // S35
#[test]
fn a_joiner_that_replays_old_configurations_is_no_voter_of_any_of_them() {
    let mut group = Group::led(3);
    let request = group.changes(1, &[remove(3)]);
    changed(&group, request);
    let (mut subject, reused) = (Subject::new(1), member(3));
    let old = Configuration::of_voters([member(1), member(2), reused]);
    assert!(!old.is_voter(raft_core::Member {
        node: reused.node,
        store: raft_core::StorageId(0xdead),
    }));
    // Node 1 here plays the joiner: its store is in none of the configurations that it replays.
    let replayed = vec![
        configuration_entry(1, 1, of(&[2, 3])),
        configuration_entry(1, 2, of(&[2])),
    ];
    subject.receive(2, 1, session(1), append(id(0, 0), 2, replayed));
    subject.now = raft_core::Time(subject.now.0 + 60 * SECOND.0);
    subject.step(Input::Tick);
    assert_eq!(subject.role(), RoleKind::Follower);
}

/// Dissertation §4.2.1: a new voter is counted once it has caught up, not before. // S36
#[test]
fn a_new_voter_is_a_learner_until_it_has_caught_up() {
    let mut group = Group::led(3);
    group.add_outsider(4);
    group.cut.insert(4);
    let request = group.changes(1, &[add_voter(4)]);
    assert_eq!(group.voters(1), [1, 2, 3]);
    assert_eq!(group.learners(1), [4]);
    // Nothing waits for it.
    let proposal = group.propose(1);
    assert!(matches!(
        group.outcome(proposal),
        Some(Outcome::Committed(_))
    ));
    group.cut.clear();
    group.pass(SECOND);
    changed(&group, request);
    assert_eq!(group.voters(1), [1, 2, 3, 4]);
    assert_eq!(group.learners(1), []);
}

// S36
#[test]
fn a_joiner_that_never_catches_up_fails_the_change_and_blocks_nobody() {
    let mut group = Group::led(3);
    let request = group.changes(1, &[add_voter(4), remove(3)]);
    group.pass(Options::default().catch_up_timeout);
    group.pass(SECOND);
    assert_eq!(
        group.outcome(request),
        refused(ChangeRefusal::NotCaughtUp(NodeId(4)))
    );
    assert_eq!(group.voters(1), [1, 2, 3]);
    assert_eq!(group.learners(1), []);
    let next = group.changes(1, &[remove(3)]);
    changed(&group, next);
}

#[test]
fn a_change_is_refused_unless_the_configuration_is_the_expected_one() {
    let mut group = Group::led(3);
    let found = group.nodes[&1].status().configured;
    let expect = |expected| MembershipChange {
        expect: Some(expected),
        ..MembershipChange::new([remove(3)])
    };
    let wrong = group.change(1, expect(id(9, 9)));
    assert_eq!(
        group.outcome(wrong),
        refused(ChangeRefusal::Stale { found })
    );
    let right = group.change(1, expect(found));
    changed(&group, right);
    let again = group.change(1, expect(found));
    let found = group.nodes[&1].status().configured;
    assert_eq!(
        group.outcome(again),
        refused(ChangeRefusal::Stale { found })
    );
}

/// Dissertation §4.1: any two majorities of configurations that differ by one voter meet.
#[test]
fn a_single_step_is_taken_for_one_voter_and_refused_for_two() {
    let mut group = Group::led(3);
    group.add_outsider(4);
    let single = |changes: Vec<MemberChange>| MembershipChange {
        way: ChangeWay::Single,
        ..MembershipChange::new(changes)
    };
    let two = group.change(1, single(vec![add_voter(4), remove(3)]));
    assert_eq!(
        group.outcome(two),
        refused(ChangeRefusal::NotSingle { voters: 2 })
    );
    let one = group.change(1, single(vec![add_voter(4)]));
    changed(&group, one);
    let joint = group.sent.iter().any(|envelope| match &envelope.body {
        Body::AppendEntries { entries, .. } => entries
            .iter()
            .any(|entry| matches!(&entry.payload, Payload::Configuration(c) if c.is_joint())),
        _ => false,
    });
    assert!(!joint);
    assert_eq!(group.voters(1), [1, 2, 3, 4]);
}

#[test]
fn a_change_asked_of_a_follower_is_made_by_its_leader() {
    let mut group = Group::led(3);
    let request = group.changes(2, &[remove(3)]);
    changed(&group, request);
    assert_eq!(group.voters(2), [1, 2]);
    let nonsense = group.changes(2, &[remove(9)]);
    assert_eq!(
        group.outcome(nonsense),
        refused(ChangeRefusal::NotAMember(NodeId(9)))
    );
}

#[test]
fn a_repeated_message_changes_the_membership_once() {
    let mut group = Group::led(3);
    let request = group.changes(2, &[remove(3)]);
    let first = changed(&group, request);
    let asked = |body: &Body| matches!(body, Body::ForwardControl { .. });
    let message = group
        .sent
        .iter()
        .find(|envelope| asked(&envelope.body))
        .unwrap()
        .clone();
    group.input(1, Input::Receive(Box::new(message)));
    assert_eq!(group.nodes[&1].status().configured, first);
    assert_eq!(
        group.was_sent(|body| matches!(body, Body::ForwardControlReply { .. })),
        1
    );
}

/// The leader may have begun it, or not: nobody can tell.
#[test]
fn a_change_whose_leader_is_lost_is_unknown() {
    let mut group = Group::led(3);
    group.cut.extend([2, 3]);
    let request = group.changes(1, &[remove(3)]);
    group.cut.remove(&2);
    group.cut.remove(&3);
    group.cut.insert(1);
    group.pass(SECOND);
    assert_ne!(group.leader(), Some(1));
    assert_eq!(group.outcome(request), Some(Outcome::Unknown));
}

/// A removed member is told by the leader that removed it, and does not campaign.
#[test]
fn a_removed_member_learns_that_it_is_out() {
    let mut group = Group::led(3);
    let request = group.changes(1, &[remove(3)]);
    let id = changed(&group, request);
    let status = group.nodes[&3].status();
    assert_eq!(status.configured, id);
    assert!(status.commit_index >= id.index);
    let before = group.sent.len();
    group.pass(Span(10 * SECOND.0));
    let asked = group.sent[before..].iter();
    assert_eq!(
        asked
            .filter(|envelope| envelope.from.member == member(3))
            .count(),
        0
    );
    assert_eq!(group.role(3), RoleKind::Follower);
}

/// One that was away meanwhile asks for votes, gets none, disturbs nobody, and is told.
#[test]
fn a_member_removed_while_it_was_away_is_told_when_it_asks_for_votes() {
    let mut group = Group::led(3);
    group.cut.insert(3);
    let request = group.changes(1, &[remove(3)]);
    let configured = changed(&group, request);
    group.pass(Span(5 * SECOND.0));
    group.cut.clear();
    let term = group.nodes[&1].status().term;
    group.pass(Span(5 * SECOND.0));
    assert_eq!(
        (group.leader(), group.nodes[&1].status().term),
        (Some(1), term)
    );
    let told: Vec<_> = group.alerts.iter().filter(|(node, _)| *node == 3).collect();
    let says =
        |alert: &Alert| matches!(alert, Alert::Removed { configured: c, .. } if *c == configured);
    assert!(told.iter().any(|(_, alert)| says(alert)), "{told:?}");
    let removed = |node: u64| group.nodes[&node].status().removed;
    assert_eq!((removed(1), removed(3)), (None, Some(configured)));
}

/// A learner does not campaign, so nothing else would tell it.
#[test]
fn a_learner_removed_while_it_was_away_asks_and_is_told() {
    let mut group = Group::led(3);
    let demoted = group.changes(1, &[MemberChange::Demote { node: NodeId(3) }]);
    changed(&group, demoted);
    group.cut.insert(3);
    let removed = group.changes(1, &[remove(3)]);
    changed(&group, removed);
    group.pass(Span(5 * SECOND.0));
    group.cut.clear();
    group.pass(Span(5 * SECOND.0));
    let told = |(node, alert): &(u64, Alert)| *node == 3 && matches!(alert, Alert::Removed { .. });
    assert!(group.alerts.iter().any(told));
}

/// Late answers to its first life are not taken for answers of the second.
#[test]
fn a_member_that_is_removed_and_added_again_is_another_exchange() {
    let mut group = Group::led(3);
    let first = group
        .sent
        .iter()
        .rev()
        .find(|envelope| envelope.to == member(3));
    let first = first.unwrap().session;
    let removed = group.changes(1, &[remove(3)]);
    changed(&group, removed);
    let added = group.changes(1, &[add_voter(3)]);
    changed(&group, added);
    let second = group.sent.iter().rev().find(|envelope| {
        envelope.to == member(3) && matches!(envelope.body, Body::AppendEntries { .. })
    });
    assert!(second.unwrap().session.added > first.added);
    assert_eq!(group.voters(3), [1, 2, 3]);
}

#[test]
fn an_address_can_be_changed_and_travels_in_the_configuration() {
    let mut group = Group::led(3);
    let request = group.changes(
        2,
        &[MemberChange::SetAddress {
            node: NodeId(3),
            address: "elsewhere:2".into(),
        }],
    );
    changed(&group, request);
    for node in 1..=3 {
        assert_eq!(
            group.configuration(node).addresses[&member(3)],
            "elsewhere:2"
        );
    }
}

/// Whoever types another member's address would cut both off from whom they answer.
#[test]
fn no_member_takes_the_address_of_another_one_but_two_may_exchange_theirs() {
    let to = |node, address: &str| MemberChange::SetAddress {
        node: NodeId(node),
        address: address.into(),
    };
    let mut group = Group::led(3);
    let request = group.changes(1, &[to(2, "a:1"), to(3, "b:1")]);
    changed(&group, request);
    let request = group.changes(1, &[to(2, "b:1")]);
    let taken = ChangeRefusal::AddressTaken(NodeId(2));
    assert_eq!(group.outcome(request), refused(taken));
    let request = group.changes(1, &[to(2, "b:1"), to(3, "a:1")]);
    changed(&group, request);
    assert_eq!(group.configuration(3).addresses[&member(2)], "b:1");
}

#[test]
fn a_voter_is_demoted_and_promoted() {
    let mut group = Group::led(3);
    let request = group.changes(1, &[MemberChange::Demote { node: NodeId(3) }]);
    changed(&group, request);
    assert_eq!((group.voters(3), group.learners(3)), (vec![1, 2], vec![3]));
    group.propose(1);
    assert_eq!(group.nodes[&3].status().last, group.nodes[&1].status().last);
    let request = group.changes(1, &[MemberChange::Promote { node: NodeId(3) }]);
    changed(&group, request);
    assert_eq!(group.voters(3), [1, 2, 3]);
}

#[test]
fn what_makes_no_sense_is_refused_and_changes_nothing() {
    let mut group = Group::led(2);
    let last = group.nodes[&1].status().last;
    let cases = [
        (vec![remove(9)], ChangeRefusal::NotAMember(NodeId(9))),
        (
            vec![add_learner(2)],
            ChangeRefusal::AlreadyAMember(NodeId(2)),
        ),
        (vec![remove(1), remove(2)], ChangeRefusal::NoVoters),
        (
            vec![MemberChange::Promote { node: NodeId(2) }],
            ChangeRefusal::NotALearner(NodeId(2)),
        ),
        (
            vec![MemberChange::SetAddress {
                node: NodeId(2),
                address: "a".repeat(1_025),
            }],
            ChangeRefusal::AddressTooLong,
        ),
    ];
    for (changes, refusal) in cases {
        let request = group.changes(1, &changes);
        assert_eq!(group.outcome(request), refused(refusal));
    }
    let many: Vec<_> = (10..300).map(add_learner).collect();
    let request = group.changes(1, &many);
    assert_eq!(
        group.outcome(request),
        refused(ChangeRefusal::TooManyMembers)
    );
    assert_eq!(group.nodes[&1].status().last, last);
    // What is in force already is done at once.
    let nothing = group.changes(1, &[]);
    assert_eq!(
        group.outcome(nothing),
        Some(Outcome::Changed(EntryId::ZERO))
    );
}

/// The voters of the old configuration cannot outvote the leader that replaces them one by one.
#[test]
fn a_node_is_replaced_by_another_store_of_the_same_id_in_one_change() {
    let mut group = Group::led(3);
    let new = raft_core::Member {
        node: NodeId(3),
        store: raft_core::StorageId(0x333),
    };
    let add = MemberChange::AddVoter {
        member: new,
        address: "host3:1".into(),
    };
    group.cut.insert(3);
    let request = group.changes(1, &[remove(3), add]);
    // Its new store is not there yet, and nothing was lost by that.
    assert_eq!(group.voters(1), [1, 2, 3]);
    assert!(group.configuration(1).learners.contains(&new));
    assert_eq!(group.outcome(request), None);
    group.pass(Options::default().catch_up_timeout);
    group.pass(SECOND);
    assert_eq!(
        group.outcome(request),
        refused(ChangeRefusal::NotCaughtUp(NodeId(3)))
    );
    assert!(group.configuration(1).voters.contains(&member(3)));
    assert_eq!(Index(0), EntryId::ZERO.index);
}

/// Clients of a follower that was detached waited five seconds for nothing: its leader does not answer a node that
/// is no member. What was on its way is not known; what comes later is refused at once.
#[test]
fn whoever_waits_at_a_node_that_was_removed_is_told_at_once() {
    let mut subject = Subject::new(3);
    let nothing = || append(id(0, 0), 0, vec![]);
    subject.receive(2, 1, session(1), nothing());
    let propose = |subject: &mut Subject, request| {
        let (request, command) = (RequestId(request), Bytes::from_static(b"x"));
        outcomes(&subject.step(Input::Propose { request, command }))
    };
    assert_eq!(propose(&mut subject, 1), [], "it is forwarded");
    let without = Entry {
        id: id(1, 1),
        payload: Payload::Configuration(Configuration::of_voters([2, 3].map(member)).into()),
    };
    let removed = subject.receive(2, 1, session(1), append(id(0, 0), 0, vec![without]));
    assert_eq!(outcomes(&removed), [(1, Outcome::Unknown)]);
    let leader = Some(NodeId(2));
    let expected = Outcome::Rejected(Rejection::NotLeader { leader });
    assert_eq!(propose(&mut subject, 2), [(2, expected)]);
}
