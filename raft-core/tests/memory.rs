//! What two of three nodes hold in memory while the third is dead and writes never end.

#![expect(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a test that cannot go on has failed, and looks only at what it is about"
)]

use std::collections::VecDeque;

use raft_core::replica::{Applied, Output, Replica, Serde, StateMachine};
use raft_core::{
    Action, Bytes, ClusterId, Configuration, Envelope, Event, GroupId, Identity, Input, Member,
    NodeId, Options, RequestId, Restored, RoleKind, Span, StorageId, Time,
};

const COMMAND_BYTES: u64 = 128;
/// Commands that are proposed together.
const ROUND: u64 = 100;
const MIB: u64 = 1 << 20;

/// Knows how many bytes it was given, and takes no more memory for more of them.
#[derive(Debug, Default)]
struct Sum(u64);

impl StateMachine for Sum {
    type Command = Bytes;
    type Query = ();
    type Reply = u64;

    fn apply(&mut self, entry: Applied<Bytes>) -> u64 {
        self.0 += entry.command.len() as u64;
        self.0
    }

    fn query(&self, (): &()) -> u64 {
        self.0
    }

    type Image = Serde<u64>;

    fn image(&self) -> Serde<u64> {
        Serde(self.0)
    }

    fn restore(&mut self, image: Serde<u64>) {
        self.0 = image.0;
    }
}

/// Small enough that everything is full after a fraction of the commands.
fn options() -> Options {
    Options {
        tail_bytes_max: MIB,
        snapshot_log_bytes: 2 * MIB,
        compact_keep_bytes: MIB / 2,
        compact_wait_bytes_max: 4 * MIB,
        ..Options::default()
    }
}

fn member(node: u64) -> Member {
    Member {
        node: NodeId(node),
        store: StorageId(node.into()),
    }
}

/// Three nodes whose messages, disks and snapshots take no time; the first leads.
struct Group {
    replicas: Vec<Replica<Sum>>,
    network: VecDeque<Box<Envelope>>,
    outputs: Vec<Output<Sum>>,
    now: Time,
    proposed: u64,
    answered: u64,
    snapshots: u64,
}

impl Group {
    fn new() -> Self {
        let replica = |id| {
            let identity = Identity {
                group: GroupId(0),
                cluster: ClusterId(1),
                member: member(id),
            };
            let restored = Restored::new(identity, Configuration::of_voters((1..=3).map(member)));
            Replica::new(Time(1), options(), restored, Sum::default()).unwrap()
        };
        let mut group = Self {
            replicas: (1..=3).map(replica).collect(),
            network: VecDeque::new(),
            outputs: Vec::new(),
            now: Time(1),
            proposed: 0,
            answered: 0,
            snapshots: 0,
        };
        group.tell(0, Input::Campaign);
        group.settle();
        assert_eq!(group.replicas[0].status().role, RoleKind::Leader);
        group
    }

    fn tell(&mut self, place: usize, input: Input) {
        let at = self.now;
        self.replicas[place].handle(Event { at, input });
    }

    /// Until nothing more happens; what is sent to the dead is lost.
    fn settle(&mut self) {
        loop {
            let mut quiet = true;
            for place in 0..self.replicas.len() {
                let mut outputs = core::mem::take(&mut self.outputs);
                self.replicas[place].drain(&mut outputs);
                quiet &= outputs.is_empty();
                for output in outputs.drain(..) {
                    self.carry_out(place, output);
                }
                self.outputs = outputs;
            }
            while let Some(envelope) = self.network.pop_front() {
                let to = usize::try_from(envelope.to.node.0).unwrap() - 1;
                if to < self.replicas.len() {
                    self.tell(to, Input::Receive(envelope));
                }
            }
            if quiet {
                return;
            }
        }
    }

    fn carry_out(&mut self, place: usize, output: Output<Sum>) {
        match output {
            Output::Action(Action::Send(envelope)) => self.network.push_back(envelope),
            Output::Action(Action::Persist(persist)) => {
                let (store, boot, id) = (persist.store, persist.boot, persist.id);
                self.tell(place, Input::Persisted { store, boot, id });
            }
            Output::Action(Action::ReadLog(read)) => {
                unreachable!("nobody alive needs what left memory: {read:?}")
            }
            Output::TakeSnapshot { snapshot, .. } => {
                self.snapshots += 1;
                self.tell(place, Input::SnapshotTaken { snapshot });
            }
            Output::Reply { result, .. } => {
                result.unwrap();
                self.answered += 1;
            }
            _ => {}
        }
    }

    /// A millisecond for each round.
    fn commit(&mut self, commands: u64) {
        for _ in 0..commands / ROUND {
            self.now = self.now + Span::from_millis(1);
            for place in 0..self.replicas.len() {
                let due = self.replicas[place].next_deadline();
                if due.is_some_and(|due| due <= self.now) {
                    self.tell(place, Input::Tick);
                }
            }
            for _ in 0..ROUND {
                self.proposed += 1;
                let (at, request) = (self.now, RequestId(self.proposed));
                let command = Bytes::from(vec![7; 128]);
                self.replicas[0].propose(at, request, &command);
            }
            self.settle();
            assert_eq!(self.answered, self.proposed, "every command is committed");
        }
    }
}

/// What was in use after so many commands, and at the most while they were committed, in bytes.
#[derive(Debug)]
struct Held {
    commands: u64,
    bytes: i64,
    bytes_max: i64,
}

/// Commits more, and adds what is held then.
fn commit_and_measure(group: &mut Group, commands: u64, held: &mut Vec<Held>) {
    let before = held.last().map_or(0, |held| held.bytes);
    let measured = allocation_counter::measure(|| group.commit(commands));
    held.push(Held {
        commands: group.proposed,
        bytes: before + measured.bytes_current,
        bytes_max: before + i64::try_from(measured.bytes_max).unwrap(),
    });
}

/// Entries stay in the log for a follower that is away, but not in memory, and not for long: what two nodes
/// hold together is what their options say, however much they commit.
#[test]
fn two_nodes_of_which_the_third_is_dead_hold_no_more_however_much_they_commit() {
    let mut group = None;
    let new = allocation_counter::measure(|| group = Some(Group::new()));
    let mut group = group.unwrap();
    let mut held = vec![Held {
        commands: 0,
        bytes: new.bytes_current,
        bytes_max: new.bytes_current,
    }];
    commit_and_measure(&mut group, 1_000, &mut held);
    // The third has all of that, so that the leader streams to it when it dies. Its own memory stays counted.
    group.replicas.truncate(2);
    for commands in [49_000, 50_000, 100_000] {
        commit_and_measure(&mut group, commands, &mut held);
    }

    let bound = i64::try_from(2 * options().tail_bytes_max + MIB / 2).unwrap();
    assert!(
        held.iter().all(|held| held.bytes_max <= bound),
        "at most {bound} bytes: {held:?}"
    );
    // The tail gives up entries in strides, so what is held goes up and down.
    let late = held.iter().filter(|held| held.commands >= 50_000);
    let late = late.map(|held| held.bytes);
    let spread = late.clone().max().unwrap() - late.min().unwrap();
    assert!(spread < 256 << 10, "more by {spread} bytes: {held:?}");

    let status = group.replicas[0].status();
    assert_eq!(status.role, RoleKind::Leader);
    assert_eq!(group.replicas[0].machine().0, 200_000 * COMMAND_BYTES);
    assert!(group.snapshots > 20, "{} snapshots", group.snapshots);
    let entries = status.last.index.0 - status.first.0;
    let kept = options().snapshot_log_bytes + options().compact_wait_bytes_max;
    assert!(
        entries < kept / COMMAND_BYTES,
        "the log has {entries} entries"
    );
}
