//! A state machine with a durable store of its own is not fed twice.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a test looks only at what it is about"
)]

use raft_core::replica::{
    Applied, Command, Durable, Image, Output, Replica, ReplicatedRequest, Serde, Sessions,
    StateMachine,
};
use raft_core::{
    Action, ClusterId, Configuration, Entry, EntryId, Event, GroupId, HardState, Identity, Index,
    Input, LogReadOutcome, Member, NodeId, Options, Payload, ReadTicket, RequestId, RestoreError,
    Restored, StorageId, Term, TermRuns, Time,
};

/// Adds up, and survives its process.
#[derive(Debug, Default)]
struct Sum {
    sum: u64,
    durable: Durable,
}

impl StateMachine for Sum {
    type Command = Serde<u64>;
    type Query = ();
    type Reply = u64;

    fn apply(&mut self, entry: Applied<Serde<u64>>) -> u64 {
        assert!(
            entry.id.index > self.durable.applied.index,
            "nothing is applied twice"
        );
        self.sum += entry.command.0;
        self.sum
    }

    fn query(&self, (): &()) -> u64 {
        self.sum
    }

    type Image = Serde<u64>;

    fn image(&self) -> Serde<u64> {
        Serde(self.sum)
    }

    fn restore(&mut self, image: Serde<u64>) {
        self.sum = image.0;
    }

    fn durable(&self) -> Option<Durable> {
        Some(self.durable.clone())
    }

    fn settle(&mut self, durable: &Durable) {
        self.durable = durable.clone();
    }
}

const MEMBER: Member = Member {
    node: NodeId(1),
    store: StorageId(7),
};

fn id(term: u64, index: u64) -> EntryId {
    EntryId {
        term: Term(term),
        index: Index(index),
    }
}

/// The store of the only voter, whose log holds the commands 1 to 4.
fn restored() -> Restored {
    let identity = Identity {
        group: GroupId(0),
        cluster: ClusterId(1),
        member: MEMBER,
    };
    let mut terms = TermRuns::new(EntryId::ZERO);
    let entries = (1..=4).map(|index| {
        let command = ReplicatedRequest::Plain(Command::encode(&Serde(index))).encode();
        Entry {
            id: id(1, index),
            payload: Payload::Command(command),
        }
    });
    let tail: Vec<Entry> = entries.collect();
    tail.iter().for_each(|entry| terms.append(entry.id));
    Restored {
        hard_state: HardState {
            term: Term(1),
            ..HardState::default()
        },
        terms,
        tail,
        ..Restored::new(identity, Configuration::of_voters([MEMBER]))
    }
}

/// What a replica without sessions gives its machine to keep.
fn kept() -> Vec<u8> {
    let mut bytes = Vec::new();
    let written = Sessions::default().write(&mut bytes);
    written.expect("memory takes it");
    bytes
}

fn machine(sum: u64, applied: EntryId) -> Sum {
    let sessions = kept();
    Sum {
        sum,
        durable: Durable { applied, sessions },
    }
}

fn start(machine: Sum) -> Result<Replica<Sum>, RestoreError> {
    Replica::new(Time(0), Options::default(), restored(), machine)
}

/// Lets the node lead and apply; returns replies.
fn run(replica: &mut Replica<Sum>, inputs: Vec<Input>) -> Vec<u64> {
    let mut inputs = std::collections::VecDeque::from(inputs);
    let mut replies = Vec::new();
    while let Some(input) = inputs.pop_front() {
        let at = Time(0);
        replica.handle(Event { at, input });
        let mut outputs = Vec::new();
        replica.drain(&mut outputs);
        for output in outputs {
            match output {
                Output::Action(Action::Persist(persist)) => inputs.push_back(Input::Persisted {
                    store: persist.store,
                    boot: persist.boot,
                    id: persist.id,
                }),
                Output::Reply { result, .. } => replies.extend(result),
                _ => {}
            }
        }
    }
    replies
}

// S12
#[test]
fn what_the_machine_has_already_is_not_applied_again_and_the_rest_is() {
    let mut replica = start(machine(1 + 2, id(1, 2))).unwrap();
    run(&mut replica, vec![Input::Campaign]);
    assert_eq!(replica.machine().sum, 1 + 2 + 3 + 4);
    replica.query(Time(0), RequestId(1), ());
    replica.propose(Time(0), RequestId(2), &Serde(5));
    let mut replies = run(&mut replica, vec![Input::Tick]);
    replies.sort_unstable();
    assert_eq!(replies, [10, 15]);
    let durable = &replica.machine().durable;
    assert_eq!(durable.applied, id(2, 6), "the no-op and the command count");
    assert_eq!(durable.sessions, kept(), "what was kept beside it stays");
}

// S12
#[test]
fn a_machine_that_is_ahead_of_its_log_or_of_another_one_is_refused() {
    for (applied, fits) in [
        (EntryId::ZERO, true),
        (id(1, 4), true),
        (id(1, 5), false),
        (id(2, 4), false),
    ] {
        let refused = start(machine(0, applied)).err();
        let expected = RestoreError::StateMachine {
            found: applied,
            base: EntryId::ZERO,
            last: id(1, 4),
        };
        assert_eq!(refused, (!fits).then_some(expected), "{applied:?}");
    }
}

/// What the replica reads of its log, and which snapshots it takes.
fn drain(replica: &mut Replica<Sum>, taken: &mut Vec<EntryId>) -> Option<ReadTicket> {
    let mut outputs = Vec::new();
    replica.drain(&mut outputs);
    let mut ticket = None;
    for output in outputs {
        match output {
            Output::TakeSnapshot { snapshot, .. } => taken.push(snapshot.id),
            Output::Action(Action::ReadLog(read)) => ticket = Some(read.ticket),
            _ => {}
        }
    }
    ticket
}

#[test]
fn no_snapshot_is_taken_of_a_machine_that_is_ahead_of_what_was_handed_out() {
    let options = Options {
        snapshot_log_bytes: 1,
        ..Options::default()
    };
    let whole = restored();
    let on_disk = Restored {
        tail: Vec::new(),
        ..whole.clone()
    };
    let mut replica = Replica::new(Time(0), options, on_disk, machine(10, id(1, 4))).unwrap();
    let mut taken = Vec::new();
    // One entry first, and the rest later.
    for entries in [&whole.tail[..1], &whole.tail[1..]] {
        let ticket = drain(&mut replica, &mut taken).expect("there is more to read");
        let outcome = LogReadOutcome::Entries(entries.to_vec());
        let input = Input::LogRead { ticket, outcome };
        replica.handle(Event { at: Time(0), input });
    }
    drain(&mut replica, &mut taken);
    assert_eq!(taken, [id(1, 4)]);
}
