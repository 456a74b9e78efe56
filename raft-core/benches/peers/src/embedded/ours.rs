//! Three servers of `raft-threaded` in one process, with their logs in memory.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use raft_core::replica::{Applied, Serde, StateMachine};
use raft_core::{Bytes, NodeId};
use raft_threaded::{Client, Network, NetworkOptions, Queue, Server};

use super::{Load, Run};

/// A state machine that has no state but how often it was asked.
#[derive(Debug, Default)]
struct Machine(u64);

impl StateMachine for Machine {
    type Command = Bytes;
    type Query = ();
    type Reply = ();

    fn apply(&mut self, _entry: Applied<Bytes>) {
        self.0 += 1;
    }

    fn query(&self, (): &()) {}

    type Image = Serde<u64>;

    fn image(&self) -> Serde<u64> {
        Serde(self.0)
    }

    fn restore(&mut self, image: Serde<u64>) {
        self.0 = image.0;
    }
}

/// A cluster of which one server leads.
pub(crate) struct Cluster {
    servers: Vec<Server<Machine>>,
    _network: Network,
}

impl Cluster {
    pub(crate) fn start() -> Self {
        let network = Network::new().expect("a thread");
        let disks = Network::init(&[NodeId(1), NodeId(2), NodeId(3)]).expect("a new cluster");
        let servers = disks.into_iter().map(|disk| {
            let server = network.start(NetworkOptions::default(), disk, Machine::default());
            server.expect("a new server")
        });
        let servers = servers.collect();
        Self {
            servers,
            _network: network,
        }
    }

    /// A client of the leader, as soon as there is one.
    fn client(&self) -> Client<Machine> {
        loop {
            let leads = |server: &&Server<Machine>| server.status().is_some_and(|s| s.is_leader());
            if let Some(leader) = self.servers.iter().find(leads) {
                return leader.client();
            }
            thread::yield_now();
        }
    }

    /// Commits per second of so many clients: one alone waits for its reply, many share a thread that takes
    /// replies and asks again for each.
    pub(crate) fn run(&self, load: Load) -> Run {
        let client = self.client();
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            let clients = scope.spawn(|| match load.clients {
                1 => one(&client, &stop),
                clients => many(&client, clients as u64, &stop),
            });
            load.time(
                || stop.store(true, Ordering::Relaxed),
                || clients.join().expect("no panic"),
            )
        })
    }

    /// The same of clients that are tasks of an executor, as the other library's are.
    pub(crate) fn run_tasks(&self, load: Load) -> Run {
        let client = self.client();
        super::tasks(load, |stop| {
            let client = client.clone();
            async move {
                let mut commits = 0;
                while !stop.load(Ordering::Relaxed) {
                    let (reply, replied) = tokio::sync::oneshot::channel();
                    let submitted = client.submit(Bytes::new(), |result| drop(reply.send(result)));
                    submitted.expect("room for a command");
                    replied.await.expect("an answer").expect("a commit");
                    commits += 1;
                }
                commits
            }
        })
    }
}

fn one(client: &Client<Machine>, stop: &AtomicBool) -> u64 {
    let mut commits = 0;
    while !stop.load(Ordering::Relaxed) {
        client.propose(Bytes::new()).expect("a commit");
        commits += 1;
    }
    commits
}

fn many(client: &Client<Machine>, clients: u64, stop: &AtomicBool) -> u64 {
    let (mut queue, mut commits) = (client.queue(), 0);
    let submit = |queue: &mut Queue<Machine>, token| {
        let submitted = queue.submit(token, Bytes::new());
        submitted.expect("room for a command");
    };
    for token in 0..clients {
        submit(&mut queue, token);
    }
    while let Some((token, result)) = queue.wait() {
        result.expect("a commit");
        commits += 1;
        if !stop.load(Ordering::Relaxed) {
            submit(&mut queue, token);
        }
    }
    commits
}
