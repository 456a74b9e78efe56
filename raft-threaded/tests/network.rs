//! Servers of one process without sockets or files.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use raft_core::replica::{Applied, RequestError, Serde, StateMachine};
use raft_core::wal::{Disk, DiskError};
use raft_core::{HaltReason, NodeId, Options};
use raft_threaded::{
    ClientError, Force, Joiner, JoinerError, MemoryDisk, MemoryFile, Network, NetworkOptions, Part,
    Server, StartError, StopError,
};

use support::{Counter, add, eventually, leader, sum};

const PANICKED: StopError = StopError::Panicked { thread: "replica" };
const THREE: [NodeId; 3] = [NodeId(1), NodeId(2), NodeId(3)];

fn start(network: &Network, disk: &MemoryDisk) -> Server<Counter> {
    let started = network.start(NetworkOptions::default(), disk.clone(), Counter::default());
    started.unwrap()
}

fn start_all(network: &Network, disks: &[MemoryDisk]) -> Vec<Server<Counter>> {
    disks.iter().map(|disk| start(network, disk)).collect()
}

#[test]
fn servers_of_one_process_agree_and_go_on_from_their_disks() {
    let network = Network::new().unwrap();
    let disks = Network::init(&THREE).unwrap();
    for round in 1..=2 {
        let servers = start_all(&network, &disks);
        for (place, server) in servers.iter().enumerate() {
            let times = (round - 1) * 3 + place as u64 + 1;
            assert_eq!(add(&server.client(), 10), (times * 10, times));
        }
        for server in &servers {
            assert_eq!(sum(&server.client()), (round * 30, round * 3));
        }
        for server in servers {
            server.shutdown().unwrap();
        }
    }
}

#[test]
fn a_leader_that_is_cut_off_is_replaced_and_follows_when_it_is_back() {
    let network = Network::new().unwrap();
    let servers = start_all(&network, &Network::init(&THREE).unwrap());
    add(&servers[0].client(), 1);
    let old = leader(&servers);
    let next = servers[(old + 1) % 3].client();
    network.cut_off(THREE[old]);
    let unknown = servers[old].client().propose(Serde(100));
    assert!(unknown.is_err(), "nobody else has it: {unknown:?}");
    assert_eq!(add(&next, 2), (3, 2));
    network.reconnect(THREE[old]);
    assert_eq!(
        sum(&servers[old].client()),
        (3, 2),
        "what it took alone is gone"
    );
}

#[test]
fn a_node_is_attached_by_its_address_and_has_everything() {
    let network = Network::new().unwrap();
    let servers = start_all(&network, &Network::init(&[NodeId(1), NodeId(2)]).unwrap());
    let client = servers[0].client();
    add(&client, 5);
    let joiner = Joiner {
        node: NodeId(3),
        address: Network::address(NodeId(3)),
        part: Part::Voter,
    };
    let nobody = client.attach(vec![joiner.clone()]);
    let silent = matches!(
        &nobody,
        Err(ClientError::Joiner(JoinerError::Silent {
            node: NodeId(3),
            ..
        }))
    );
    assert!(silent, "{nobody:?}");
    let third = start(&network, &Network::init_joiner(NodeId(3)).unwrap());
    client.attach(vec![joiner]).unwrap();
    assert_eq!(sum(&third.client()), (5, 1));
    client.detach(&[NodeId(2)]).unwrap();
    assert_eq!(third.status().unwrap().voters, [1, 3]);
}

#[test]
fn a_server_that_is_reset_ends_and_can_be_attached_again() {
    let network = Network::new().unwrap();
    let disks = Network::init(&[NodeId(1), NodeId(2)]).unwrap();
    let mut servers = start_all(&network, &disks);
    let client = servers[0].client();
    add(&client, 5);
    eventually("the change to be taken", || {
        client.detach(&[NodeId(2)]).ok()
    });
    let second = servers.remove(1);
    let before = second.identity();
    second.client().reset(Force::Yes).unwrap();
    assert_eq!(second.wait(), Err(StopError::Halted(HaltReason::Emptied)));
    let second = start(&network, &disks[1]);
    assert_ne!(second.identity().member.store, before.member.store);
    let joiner = Joiner {
        node: NodeId(2),
        address: Network::address(NodeId(2)),
        part: Part::Learner,
    };
    client.attach(vec![joiner]).unwrap();
    assert_eq!(sum(&second.client()), (5, 1));
}

#[test]
fn a_node_runs_once_and_again_when_it_has_stopped() {
    let network = Network::new().unwrap();
    let disks = Network::init(&[NodeId(1)]).unwrap();
    let server = start(&network, &disks[0]);
    let (options, disk) = (NetworkOptions::default(), disks[0].clone());
    let twice = network.start(options, disk, Counter::default());
    assert!(matches!(
        twice,
        Err(StartError::Running { node: NodeId(1) })
    ));
    assert_eq!(add(&server.client(), 1), (1, 1), "it was left alone");
    server.shutdown().unwrap();
    assert_eq!(sum(&start(&network, &disks[0]).client()), (1, 1));
    let empty = network.start(options, MemoryDisk::new(), Counter::default());
    assert!(matches!(empty, Err(StartError::Disk(_))));
    let twins = Network::init(&[NodeId(1), NodeId(1)]);
    assert!(matches!(
        twins,
        Err(StartError::SameAddress {
            second: NodeId(1),
            ..
        })
    ));
}

/// Each waits for its reply, and whoever does drives the servers meanwhile.
#[test]
fn many_threads_drive_the_servers_and_each_command_takes_effect_once() {
    let network = Network::new().unwrap();
    let servers = start_all(&network, &Network::init(&THREE).unwrap());
    add(&servers[0].client(), 0);
    let leader = leader(&servers);
    thread::scope(|scope| {
        for place in 0..8 {
            let client = servers[(leader + place % 2) % 3].client();
            scope.spawn(move || {
                for _ in 0..200 {
                    client.propose(Serde(1)).unwrap();
                }
            });
        }
    });
    assert_eq!(sum(&servers[leader].client()), (1_600, 1_601));
}

/// What a follower missed is not in its leader's log any more.
#[test]
fn a_node_that_was_away_for_long_receives_a_snapshot() {
    let network = Network::new().unwrap();
    let options = NetworkOptions {
        node: Options {
            snapshot_log_bytes: 10_000,
            compact_keep_bytes: 1_000,
            compact_wait_bytes_max: 1_000,
            tail_bytes_max: 1_000,
            ..NetworkOptions::default().node
        },
        ..NetworkOptions::default()
    };
    let disks = Network::init(&THREE).unwrap();
    let servers = disks.into_iter();
    let servers = servers.map(|disk| network.start(options, disk, Counter::default()).unwrap());
    let servers: Vec<Server<Counter>> = servers.collect();
    add(&servers[0].client(), 0);
    let leader = leader(&servers);
    let away = (leader + 1) % 3;
    network.cut_off(THREE[away]);
    let mut queue = servers[leader].client().queue();
    for token in 0..2_000 {
        queue.submit(token, Serde(1)).unwrap();
    }
    while let Some((_, reply)) = queue.wait() {
        reply.unwrap();
    }
    eventually("a snapshot", || servers[leader].client().snapshot().ok());
    network.reconnect(THREE[away]);
    assert_eq!(sum(&servers[away].client()), (2_000, 2_001));
}

/// A disk that has no room for another file while it is full, and counts in vain attempts to make one.
#[derive(Clone)]
struct Scarce {
    disk: MemoryDisk,
    full: Arc<AtomicBool>,
    in_vain: Arc<AtomicUsize>,
}

impl Disk for Scarce {
    type File = MemoryFile;

    fn open(&mut self, name: &str) -> Result<MemoryFile, DiskError> {
        self.disk.open(name)
    }

    fn create(&mut self, name: &str) -> Result<MemoryFile, DiskError> {
        if self.full.load(Ordering::SeqCst) {
            self.in_vain.fetch_add(1, Ordering::SeqCst);
            let name = name.to_string();
            return Err(DiskError::Full { name });
        }
        self.disk.create(name)
    }

    fn length(&mut self, file: &MemoryFile) -> Result<u64, DiskError> {
        self.disk.length(file)
    }

    fn read_at(&mut self, file: &MemoryFile, at: u64, into: &mut [u8]) -> Result<usize, DiskError> {
        self.disk.read_at(file, at, into)
    }

    fn write_at(&mut self, file: &MemoryFile, at: u64, bytes: &[u8]) -> Result<(), DiskError> {
        self.disk.write_at(file, at, bytes)
    }

    fn sync(&mut self, file: &MemoryFile) -> Result<(), DiskError> {
        self.disk.sync(file)
    }

    fn rename(&mut self, from: &str, to: &str) -> Result<(), DiskError> {
        self.disk.rename(from, to)
    }

    fn remove(&mut self, name: &str) -> Result<(), DiskError> {
        self.disk.remove(name)
    }

    fn list(&mut self) -> Result<Vec<String>, DiskError> {
        self.disk.list()
    }

    fn sync_directory(&mut self) -> Result<(), DiskError> {
        self.disk.sync_directory()
    }
}

/// Found by review: all that was asked for was written, so nobody looked at the disk again, and a cluster of one
/// refused writes for ever.
#[test]
fn a_server_on_a_full_disk_takes_writes_again_when_there_is_room() {
    let network = Network::new().unwrap();
    let disk = Scarce {
        disk: Network::init(&[NodeId(1)]).unwrap().remove(0),
        full: Arc::default(),
        in_vain: Arc::default(),
    };
    let started = network.start(NetworkOptions::default(), disk.clone(), Counter::default());
    let server = started.unwrap();
    let client = server.client();
    add(&client, 1);
    disk.full.store(true, Ordering::SeqCst);
    let mut queue = client.queue();
    eventually("a full disk", || {
        for token in 0..500 {
            queue.submit(token, Serde(0)).unwrap();
        }
        while queue.wait().is_some() {}
        (server.status()?.disk == "full").then_some(())
    });
    let refused = client.propose(Serde(2));
    assert!(
        matches!(
            &refused,
            Err(ClientError::Request(RequestError::Rejected(_)))
        ),
        "{refused:?}"
    );
    let before = disk.in_vain.load(Ordering::SeqCst);
    let tries = || (disk.in_vain.load(Ordering::SeqCst) > before + 2).then_some(());
    eventually("a look at the disk though nothing happens", tries);
    disk.full.store(false, Ordering::SeqCst);
    let taken = eventually("a write", || client.propose(Serde(2)).ok());
    assert_eq!(taken.0, 3);
}

/// One that bears no command, on one node only.
struct Fragile(Counter, NodeId);

impl StateMachine for Fragile {
    type Command = Serde<u64>;
    type Query = ();
    type Reply = (u64, u64);

    fn apply(&mut self, entry: Applied<Serde<u64>>) -> (u64, u64) {
        assert_ne!(self.1, NodeId(2), "a command that this machine cannot bear");
        self.0.apply(entry)
    }

    fn query(&self, (): &()) -> (u64, u64) {
        self.0.query(&())
    }

    type Image = Serde<(u64, u64)>;

    fn image(&self) -> Self::Image {
        self.0.image()
    }

    fn restore(&mut self, image: Self::Image) {
        self.0.restore(image);
    }
}

#[test]
fn a_panic_in_a_state_machine_stops_its_server_and_no_other() {
    let network = Network::new().unwrap();
    let disks = Network::init(&THREE).unwrap().into_iter().zip(THREE);
    let servers = disks.map(|(disk, node)| {
        let machine = Fragile(Counter::default(), node);
        network
            .start(NetworkOptions::default(), disk, machine)
            .unwrap()
    });
    let mut servers: Vec<Server<Fragile>> = servers.collect();
    let client = servers[0].client();
    let taken = |error: &ClientError| {
        matches!(
            error,
            ClientError::Request(RequestError::Rejected(_) | RequestError::Superseded(_))
        )
    };
    for _ in 0..2 {
        eventually("a leader", || match client.propose(Serde(1)) {
            // Its leader may have been the one that panicked.
            Ok(_) | Err(ClientError::Request(RequestError::Unknown)) => Some(()),
            Err(error) => {
                assert!(taken(&error), "{error}");
                None
            }
        });
    }
    assert_eq!(servers.remove(1).wait(), Err(PANICKED));
    assert!(servers.iter().all(|server| !server.is_stopped()));
}
