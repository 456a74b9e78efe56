//! What a commit costs as clusters, logs and sessions grow: instructions, as in `counts`.
//!
//! `cargo bench -p raft-core --bench scale` prints the tables, and exits with 1 if a longer log makes a commit dearer by
//! more than a tenth, or if nodes or sessions cost more than their bounds below.

mod callgrind;
mod cluster;

use std::process::ExitCode;

use raft_core::replica::{Applied, ClientSession, Output, Replica, Serde, StateMachine};
use raft_core::{Event, Input, Options, RequestId, Time};

use crate::callgrind::{instructions, profile};
use crate::cluster::Cluster;
use crate::cluster::node::{carried_out, restored};

const BYTES: usize = 128;
/// Proposed together.
const OUTSTANDING: u64 = 64;
/// Rounds that are counted.
const ROUNDS: u64 = 256;

/// Nodes of a cluster.
const NODES: [u64; 4] = [3, 5, 7, 9];
/// Rounds before those that are counted.
const LENGTHS: [u64; 4] = [64, 1_024, 8_192, 32_768];
/// Sessions whose commands take turns.
const SESSIONS: [u64; 4] = [16, 256, 4_096, 65_536];

/// What a node costs in a cluster of nine, by what it costs in one of three, at most, in percent: the leader's part,
/// which grows with its peers, is shared by more of them.
const NODES_MAX: u64 = 110;
/// The same for the longest log by the shortest.
const LENGTH_MAX: u64 = 110;
/// The same for the most sessions by the fewest: they are kept in two trees, so that every node has them in the same
/// order, and 65,536 of them take more steps to look through than 16.
const SESSIONS_MAX: u64 = 175;

fn commands(nodes: u64, before: u64, rounds: u64) {
    let mut cluster = Cluster::new(nodes, BYTES);
    for _ in 0..before + rounds {
        cluster.round(OUTSTANDING);
    }
}

/// Does nothing with a command but to say so.
struct Nothing;

impl StateMachine for Nothing {
    type Command = Serde<u64>;
    type Query = ();
    type Reply = ();
    type Image = Serde<()>;

    fn apply(&mut self, _entry: Applied<Serde<u64>>) {}

    fn query(&self, (): &()) {}

    fn image(&self) -> Serde<()> {
        Serde(())
    }

    fn restore(&mut self, _image: Serde<()>) {}
}

/// A cluster of one, and its clients' sessions.
struct Alone {
    replica: Replica<Nothing>,
    outputs: Vec<Output<Nothing>>,
    requests: u64,
    sessions: Vec<ClientSession>,
}

impl Alone {
    fn new() -> Self {
        let replica = Replica::new(Time(1), Options::default(), restored(1, 1), Nothing);
        let mut alone = Self {
            replica: replica.expect("a new node"),
            outputs: Vec::new(),
            requests: 0,
            sessions: Vec::new(),
        };
        alone.handle(Input::Campaign);
        alone.settle();
        alone
    }

    fn handle(&mut self, input: Input) {
        self.replica.handle(Event { at: Time(1), input });
    }

    fn next(&mut self) -> RequestId {
        self.requests += 1;
        RequestId(self.requests)
    }

    fn settle(&mut self) {
        let mut outputs = core::mem::take(&mut self.outputs);
        loop {
            self.replica.drain(&mut outputs);
            if outputs.is_empty() {
                break;
            }
            for output in outputs.drain(..) {
                if let Output::Registered { session, .. } = output {
                    self.sessions.push(ClientSession::new(session));
                } else if let Output::Action(action) = output
                    && let Some(done) = carried_out(&action)
                {
                    self.handle(done);
                }
            }
        }
        self.outputs = outputs;
    }
}

fn sessions(many: u64, rounds: u64) {
    let mut alone = Alone::new();
    for _ in 0..many.div_ceil(OUTSTANDING) {
        for _ in 0..OUTSTANDING.min(many) {
            let request = alone.next();
            alone.replica.register(Time(1), request);
        }
        alone.settle();
    }
    assert_eq!(alone.sessions.len() as u64, many);
    let mut turn = 0;
    for _ in 0..rounds {
        for _ in 0..OUTSTANDING {
            // Far from the last one, so that it is not found where that was.
            turn = (turn + 7_919) % alone.sessions.len();
            let session = &mut alone.sessions[turn];
            let serial = session.begin().expect("it has no others under way");
            session.answered(serial.sequence);
            let request = alone.next();
            let (replica, at) = (&mut alone.replica, Time(1));
            replica.propose_in(at, request, serial, &Serde(7));
        }
        alone.settle();
    }
}

/// Instructions of what is counted, by commit.
fn count(kind: u64, size: u64, before: u64) -> Result<u64, String> {
    let run = |rounds: u64| {
        let numbers = [kind, size, before, rounds];
        instructions(&profile(numbers.map(|number| number.to_string()))?)
    };
    Ok((run(ROUNDS)? - run(0)?) / (ROUNDS * OUTSTANDING))
}

fn main() -> ExitCode {
    let numbers: Vec<u64> = std::env::args()
        .filter_map(|arg| arg.parse().ok())
        .collect();
    match numbers[..] {
        [0, nodes, before, rounds] => commands(nodes, before, rounds),
        [1, many, _, rounds] => sessions(many, rounds),
        _ => {
            if let Err(said) = check() {
                eprintln!("{said}");
                return ExitCode::FAILURE;
            }
        }
    }
    ExitCode::SUCCESS
}

fn check() -> Result<(), String> {
    let bound = |what: &str, first: u64, last: u64, most: u64| {
        let percent = last * 100 / first.max(1);
        println!("{percent} % of the first; at most {most} %\n");
        let holds = percent <= most;
        holds.then_some(()).ok_or_else(|| {
            format!("{what}: {percent} %, where {most} % is the most; look at what grew, not at the bound")
        })
    };

    println!("nodes     instructions/commit  by node");
    let mut by_node = Vec::new();
    for nodes in NODES {
        let counted = count(0, nodes, 64)?;
        by_node.push(counted / nodes);
        println!("{nodes:>5}  {counted:>22}  {:>7}", counted / nodes);
    }
    bound("nodes", by_node[0], by_node[NODES.len() - 1], NODES_MAX)?;

    println!("commands in the log  instructions/commit");
    let mut by_length = Vec::new();
    for before in LENGTHS {
        by_length.push(count(0, 3, before)?);
        let last = by_length[by_length.len() - 1];
        println!("{:>19}  {last:>19}", before * OUTSTANDING);
    }
    let (shortest, longest) = (by_length[0], by_length[LENGTHS.len() - 1]);
    bound("a longer log", shortest, longest, LENGTH_MAX)?;

    println!("sessions  instructions/commit");
    let mut by_sessions = Vec::new();
    for many in SESSIONS {
        by_sessions.push(count(1, many, 0)?);
        let last = by_sessions[by_sessions.len() - 1];
        println!("{many:>8}  {last:>19}");
    }
    let (fewest, most) = (by_sessions[0], by_sessions[SESSIONS.len() - 1]);
    bound("sessions", fewest, most, SESSIONS_MAX)
}
