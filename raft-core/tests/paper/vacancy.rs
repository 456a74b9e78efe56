//! Requests between two leaders: they wait for the next one (dissertation §3.10).

use raft_core::{
    Body, Bytes, ForwardOutcome, Index, Input, NodeId, Options, Outcome, Rejection, RequestId,
    Span, Term,
};

use super::group::Group;
use super::subject::{Subject, append, bodies, heartbeat, id, outcomes, read_of, sent, session};

const SECOND: Span = Span(1_000_000_000);
const TICK: Span = Span(SECOND.0 / 10);

fn is_committed(outcome: Option<Outcome>) -> bool {
    matches!(outcome, Some(Outcome::Committed(_)))
}

/// A leader of three that hands over to node 2, whose order to begin is lost.
fn handing_over(options: Options) -> Group {
    let mut group = Group::led_with(3, options);
    group.lose = |envelope| matches!(envelope.body, Body::TimeoutNow { .. });
    group.transfer(1, Some(2));
    group
}

#[test]
fn what_is_asked_while_leadership_is_handed_over_is_done_by_the_next_leader() {
    let mut group = handing_over(Options::default());
    let proposals: Vec<u64> = (1..=3).map(|node| group.propose(node)).collect();
    for request in &proposals {
        assert_eq!(group.outcome(*request), None);
    }
    group.lose = |_| false;
    group.pass(TICK);
    assert_eq!(group.leader(), Some(2));
    for request in proposals {
        assert!(is_committed(group.outcome(request)));
    }
}

#[test]
fn a_leader_that_goes_on_after_all_does_what_it_was_asked_meanwhile() {
    let mut group = handing_over(Options::default());
    let proposals: Vec<u64> = (1..=3).map(|node| group.propose(node)).collect();
    group.pass(SECOND);
    assert_eq!(group.leader(), Some(1));
    for request in proposals {
        assert!(is_committed(group.outcome(request)));
    }
}

/// The new leader's first heartbeat has not come yet, and neither has its answer to anything.
#[test]
fn whoever_has_just_voted_for_another_leader_waits_for_it() {
    let mut group = Group::led(3);
    group.lose = |envelope| {
        let first = matches!(
            envelope.body,
            Body::AppendEntries { .. } | Body::Heartbeat { .. }
        );
        first && envelope.term == Term(2)
    };
    group.transfer(1, Some(2));
    let proposal = group.propose(3);
    let read = RequestId(900);
    group.input(3, read_of(read));
    assert_eq!((group.outcome(proposal), group.outcome(900)), (None, None));
    group.lose = |_| false;
    group.pass(TICK);
    assert!(is_committed(group.outcome(proposal)));
    assert!(matches!(group.outcome(900), Some(Outcome::ReadReady(_))));
}

#[test]
fn reads_at_a_leader_that_steps_down_are_answered_by_the_next_one() {
    let mut group = Group::led(3);
    group.lose = |envelope| matches!(envelope.body, Body::HeartbeatReply { .. });
    group.input(1, read_of(RequestId(900)));
    assert_eq!(group.outcome(900), None);
    group.lose = |_| false;
    group.transfer(1, Some(2));
    group.pass(TICK);
    assert!(matches!(group.outcome(900), Some(Outcome::ReadReady(_))));
}

/// A caller can ask another node, which may know more.
#[test]
fn a_node_that_stays_without_a_leader_refuses_what_waited_and_what_comes_later() {
    let mut group = Group::led(3);
    group.cut.insert(3);
    let timeout = Options::default().election_timeout;
    while group.nodes[&3].status().leader.is_some() {
        group.pass(Span(timeout.0 / 20));
    }
    let waiting = group.propose(3);
    group.input(3, read_of(RequestId(900)));
    assert_eq!((group.outcome(waiting), group.outcome(900)), (None, None));
    group.pass(timeout);
    let refused = Some(Outcome::Rejected(Rejection::NotLeader { leader: None }));
    assert_eq!(group.outcome(waiting), refused);
    assert_eq!(group.outcome(900), refused);
    let later = group.propose(3);
    assert_eq!(group.outcome(later), refused);
}

#[test]
fn what_waits_for_a_leader_takes_bounded_memory() {
    let options = Options {
        append_bytes_max: 4096,
        command_bytes_max: 4096,
        uncommitted_bytes_max: 4096,
        ..Options::default()
    };
    for node in [1, 3] {
        let mut group = handing_over(options);
        let requests: Vec<u64> = (0..400).map(|_| group.propose(node)).collect();
        let refused = Some(Outcome::Rejected(Rejection::Transferring));
        let waiting = requests.iter().filter(|r| group.outcome(**r).is_none());
        let waiting = waiting.count();
        assert!((1..64).contains(&waiting), "{waiting} wait");
        for request in &requests[waiting..] {
            assert_eq!(group.outcome(*request), refused, "the first that came wait");
        }
    }
}

/// Node 1 follows node 2 in term 1 and forwarded two messages to it.
fn forwarded() -> (Subject, Vec<raft_core::Session>) {
    let mut subject = Subject::new(3);
    subject.receive(2, 1, session(1), append(id(0, 0), 0, vec![]));
    let mut sessions = Vec::new();
    for request in [1, 2] {
        let said = subject.propose(request);
        sessions.extend(sent(&said).map(|envelope| envelope.session));
    }
    assert_eq!(sessions.len(), 2);
    (subject, sessions)
}

fn given_back() -> Body {
    Body::ForwardProposalsReply {
        outcomes: vec![ForwardOutcome::NotLeader],
    }
}

/// The commands that were forwarded, message by message.
fn forwards(actions: &[raft_core::Action]) -> Vec<Vec<Bytes>> {
    let bodies = bodies(actions).into_iter();
    let commands = bodies.filter_map(|body| match body {
        Body::ForwardProposals { commands } => Some(commands),
        _ => None,
    });
    commands.collect()
}

#[test]
fn what_a_leader_gives_back_goes_to_the_next_one_before_what_was_proposed_later() {
    let (mut subject, sessions) = forwarded();
    let mut said = subject.receive(2, 1, sessions[0], given_back());
    said.extend(subject.propose(3));
    said.extend(subject.receive(2, 1, sessions[1], given_back()));
    assert_eq!(outcomes(&said), []);
    assert_eq!(
        forwards(&said),
        Vec::<Vec<Bytes>>::new(),
        "it leads no longer"
    );
    let said = subject.receive(3, 2, session(2), append(id(0, 0), 0, vec![]));
    let commands = forwards(&said).concat();
    let expected = [1, 2, 3].map(|request| Bytes::from(format!("command {request}")));
    assert_eq!(commands, expected);
}

/// It would come behind what was proposed after it.
#[test]
fn what_a_leader_gives_back_after_the_next_one_was_handed_something_is_refused() {
    let (mut subject, sessions) = forwarded();
    subject.receive(3, 2, session(2), append(id(0, 0), 0, vec![]));
    assert_eq!(forwards(&subject.propose(3)).len(), 1);
    let said = subject.receive(2, 2, sessions[0], given_back());
    let leader = Some(NodeId(3));
    let refused = Outcome::Rejected(Rejection::NotLeader { leader });
    assert_eq!(outcomes(&said), [(1, refused)]);
    assert_eq!(forwards(&said), Vec::<Vec<Bytes>>::new());
}

/// Nor in another order than it was proposed in.
#[test]
fn what_a_leader_gives_back_out_of_order_is_refused() {
    let (mut subject, sessions) = forwarded();
    assert_eq!(
        outcomes(&subject.receive(2, 1, sessions[1], given_back())),
        []
    );
    let said = subject.receive(2, 1, sessions[0], given_back());
    assert!(matches!(
        outcomes(&said)[..],
        [(1, Outcome::Rejected(Rejection::NotLeader { .. }))]
    ));
}

/// It gave the proposal back because it led no longer then, or it did not: its next heartbeat says that it leads.
#[test]
fn a_leader_that_gave_something_back_is_asked_again_once_it_is_heard() {
    let (mut subject, sessions) = forwarded();
    subject.receive(2, 1, sessions[0], given_back());
    subject.receive(2, 1, sessions[1], given_back());
    let said = subject.receive(2, 1, session(1), heartbeat(0, 1));
    assert_eq!(forwards(&said).concat().len(), 2);
}

/// Waiting does not give a request more time.
#[test]
fn what_is_given_back_again_and_again_is_refused_when_its_time_is_over() {
    let options = Options {
        request_timeout: Options::default().election_timeout,
        ..Options::default()
    };
    let mut subject = Subject::with(3, options);
    let mut said = subject.receive(2, 1, session(1), append(id(0, 0), 0, vec![]));
    said.extend(subject.propose(1));
    let begun = subject.now;
    while outcomes(&said).is_empty() {
        assert!(subject.now <= begun + options.request_timeout);
        let asked = sent(&said).find(|e| matches!(e.body, Body::ForwardProposals { .. }));
        let asked = asked.unwrap().session;
        subject.receive(2, 1, asked, given_back());
        subject.now = subject.now + Span(options.heartbeat_interval.0);
        said = subject.step(Input::Tick);
        said.extend(subject.receive(2, 1, session(1), heartbeat(0, 1)));
    }
    assert!(matches!(
        outcomes(&said)[..],
        [(1, Outcome::Rejected(Rejection::NotLeader { .. }))]
    ));
}

#[test]
fn a_candidate_that_wins_appends_what_it_was_given_back() {
    let (mut subject, sessions) = forwarded();
    for session in sessions {
        subject.receive(2, 1, session, given_back());
    }
    let before = subject.last().index;
    subject.elect();
    let appended = subject.last().index.0 - before.0;
    assert_eq!(appended, 3, "the first entry of its term, and two commands");
}

#[test]
fn a_halt_refuses_what_waits() {
    let (mut subject, sessions) = forwarded();
    subject.receive(2, 1, sessions[0], given_back());
    let said = subject.step(Input::StorageFailed);
    let refused = Outcome::Rejected(Rejection::Halted);
    assert!(outcomes(&said).contains(&(1, refused)));
    assert!(outcomes(&said).contains(&(2, Outcome::Unknown)));
}

/// A driver that hands in more before it drains comes back at once, again and again, if it is told to.
#[test]
fn what_was_not_drained_yet_is_nothing_to_come_back_for() {
    let mut subject = Subject::new(3);
    subject.receive(2, 1, session(1), append(id(0, 0), 0, vec![]));
    let input = Input::Propose {
        request: RequestId(1),
        command: Bytes::from_static(b"x"),
    };
    let at = subject.now;
    subject.node.handle(raft_core::Event { at, input });
    assert!(subject.node.next_deadline().unwrap() > at);
}

#[test]
fn a_leader_that_hands_over_keeps_only_so_many_messages_of_others() {
    let options = Options {
        requests_max: 2,
        ..Options::default()
    };
    let mut subject = Subject::with(3, options);
    subject.elect();
    subject.matched(2, 1);
    let (request, to) = (RequestId(1), Some(NodeId(2)));
    subject.step(Input::TransferLeadership { request, to });
    for counter in 1..=3 {
        let message = raft_core::Session {
            counter,
            ..session(1)
        };
        let commands = vec![Bytes::from_static(b"x")];
        let said = subject.receive(3, 1, message, Body::ForwardProposals { commands });
        let refused = Body::ForwardProposalsReply {
            outcomes: vec![ForwardOutcome::Transferring],
        };
        let expected = if counter < 3 { vec![] } else { vec![refused] };
        assert_eq!(bodies(&said), expected);
    }
}

/// A leader gives back what it kept, once.
#[test]
fn a_leader_that_loses_leadership_gives_back_what_it_kept_for_others() {
    let mut subject = Subject::new(3);
    subject.elect();
    subject.matched(2, 1);
    let transfer = RequestId(1);
    let to = Some(NodeId(2));
    subject.step(Input::TransferLeadership {
        request: transfer,
        to,
    });
    let counter = raft_core::Session {
        counter: 7,
        ..session(1)
    };
    let commands = vec![Bytes::from_static(b"x"), Bytes::from_static(b"y")];
    let kept = subject.receive(3, 1, counter, Body::ForwardProposals { commands });
    assert_eq!(bodies(&kept), []);
    let said = subject.receive(2, 2, session(2), append(id(0, 0), 0, vec![]));
    let reply = Body::ForwardProposalsReply {
        outcomes: vec![ForwardOutcome::NotLeader; 2],
    };
    assert_eq!(
        bodies(&said).iter().filter(|body| **body == reply).count(),
        1
    );
    assert_eq!(subject.last().index, Index(1));
}
