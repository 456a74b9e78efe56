//! Commands that nobody waits for, and what becomes of each.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::sync::mpsc;
use std::thread;

use raft_core::NodeId;
use raft_core::replica::Serde;
use raft_threaded::{Client, ClientError, Network, NetworkOptions, Server, StopError};

use support::{Counter, add, eventually, leader, sum};

const THREE: [NodeId; 3] = [NodeId(1), NodeId(2), NodeId(3)];
/// A command that the counter cannot bear.
const UNBEARABLE: u64 = 1_000;
const PANICKED: StopError = StopError::Panicked { thread: "replica" };

fn start_all(network: &Network, nodes: &[NodeId]) -> Vec<Server<Counter>> {
    let disks = Network::init(nodes).unwrap();
    let started = disks.into_iter().map(|disk| {
        let (options, machine) = (NetworkOptions::default(), Counter::default());
        network.start(options, disk, machine).unwrap()
    });
    started.collect()
}

#[test]
fn one_thread_has_many_commands_under_way_and_a_reply_for_each() {
    let network = Network::new().unwrap();
    let servers = start_all(&network, &THREE);
    add(&servers[0].client(), 0);
    let leader = leader(&servers);
    for server in [&servers[leader], &servers[(leader + 1) % 3]] {
        let mut queue = server.client().queue();
        assert_eq!(queue.wait(), None, "nothing is under way");
        for token in 0..1_000 {
            queue.submit(token, Serde(1)).unwrap();
        }
        let mut tokens: Vec<u64> = std::iter::from_fn(|| queue.wait())
            .map(|(token, reply)| reply.map(|_| token).unwrap())
            .collect();
        tokens.sort_unstable();
        assert!(tokens.into_iter().eq(0..1_000));
    }
    assert_eq!(sum(&servers[leader].client()), (2_000, 2_001));
}

#[test]
fn what_was_submitted_leaves_without_anybody_who_waits() {
    let network = Network::new().unwrap();
    let servers = start_all(&network, &[NodeId(1)]);
    let client = servers[0].client();
    add(&client, 1);
    let (replies, replied) = mpsc::channel();
    client
        .submit(Serde(2), move |reply| replies.send(reply).unwrap())
        .unwrap();
    assert_eq!(replied.recv().unwrap(), Ok((3, 2)));
    assert!(replied.recv().is_err(), "there is one reply");
    let mut queue = client.queue();
    queue.submit(7, Serde(3)).unwrap();
    queue.flush();
    let seen = || (sum(&client) == (6, 3)).then_some(());
    eventually("the command to be applied", seen);
    assert_eq!(queue.wait(), Some((7, Ok((6, 3)))));
    queue.submit(8, Serde(4)).unwrap();
    drop(queue);
    eventually("the last one", || (sum(&client) == (10, 4)).then_some(()));
}

#[test]
fn whoever_waits_is_told_when_the_server_stops() {
    let network = Network::new().unwrap();
    let servers = start_all(&network, &THREE);
    add(&servers[0].client(), 1);
    let leader = leader(&servers);
    let client = servers[leader].client();
    network.cut_off(THREE[leader]);
    let (replies, replied) = mpsc::channel();
    let called = replies.clone();
    client
        .submit(Serde(2), move |reply| called.send(reply).unwrap())
        .unwrap();
    let mut queue = client.queue();
    queue.submit(1, Serde(2)).unwrap();
    drop(servers);
    assert!(replied.recv().unwrap().is_err(), "nobody else has it");
    assert!(matches!(queue.wait(), Some((1, Err(_)))));
    let late = client.submit(Serde(2), move |reply| replies.send(reply).unwrap());
    assert_eq!(late, Err(ClientError::Stopped));
    assert!(replied.recv().is_err(), "what was not taken has no reply");
    assert_eq!(queue.submit(2, Serde(2)), Err(ClientError::Stopped));
    assert_eq!(queue.wait(), None);
}

/// Whatever comes waits in the inbox for as long as this lives.
fn hold(client: &Client<Counter>) -> mpsc::Sender<()> {
    let (held, holding) = mpsc::channel::<()>();
    let (begins, begun) = mpsc::channel();
    let done = move |_| {
        begins.send(()).unwrap();
        assert!(holding.recv().is_err(), "it was let go");
    };
    client.submit(Serde(0), done).unwrap();
    begun.recv().unwrap();
    held
}

/// Found by review: what still lay in the inbox when the server ended was never told, and whoever waited for it
/// waited for ever, because a client that lives keeps it there.
#[test]
fn whatever_was_submitted_has_an_outcome_when_the_state_machine_panics() {
    let network = Network::new().unwrap();
    let servers = start_all(&network, &[NodeId(1)]);
    let client = servers[0].client();
    add(&client, 1);
    let held = hold(&client);
    let mut queue = client.queue();
    queue.submit(0, Serde(UNBEARABLE)).unwrap();
    // More than are taken in one turn.
    for token in 1..=5_000 {
        queue.submit(token, Serde(1)).unwrap();
    }
    drop(held);
    let waiting = thread::Builder::new()
        .spawn(move || {
            let outcomes = std::iter::from_fn(|| queue.wait());
            outcomes
                .filter(|(_, outcome)| outcome == &Err(ClientError::Stopped))
                .count()
        })
        .unwrap();
    eventually("all outcomes", || waiting.is_finished().then_some(()));
    assert_eq!(waiting.join().unwrap(), 5_001);
}

#[test]
fn whatever_is_submitted_while_the_server_stops_has_an_outcome() {
    let network = Network::new().unwrap();
    for _ in 0..8 {
        let server = start_all(&network, &[NodeId(1)]).remove(0);
        let client = server.client();
        add(&client, 1);
        let (told, outcomes) = mpsc::channel();
        let submits = client.clone();
        let submitting = thread::Builder::new()
            .spawn(move || {
                let mut taken = 0;
                loop {
                    let told = told.clone();
                    match submits.submit(Serde(0), move |reply| told.send(reply).unwrap()) {
                        Ok(()) => taken += 1,
                        Err(ClientError::Overloaded) => thread::yield_now(),
                        Err(error) => {
                            assert_eq!(error, ClientError::Stopped);
                            return taken;
                        }
                    }
                }
            })
            .unwrap();
        server.shutdown().unwrap();
        let taken: usize = submitting.join().unwrap();
        let mut told = 0;
        eventually("an outcome of each", || {
            told += outcomes.try_iter().count();
            (told >= taken).then_some(())
        });
        assert!(outcomes.recv().is_err(), "there is one for each");
        drop(client);
    }
}

/// Found by review: a panic while the server ended was one too many, and ended the process.
#[test]
fn a_callback_that_panics_takes_neither_server_nor_process_with_it() {
    let network = Network::new().unwrap();
    let server = start_all(&network, &[NodeId(1)]).remove(0);
    let client = server.client();
    add(&client, 1);
    let (called, calls) = mpsc::channel();
    client
        .submit(Serde(2), move |reply| {
            called.send(reply).unwrap();
            panic!("whatever a program does");
        })
        .unwrap();
    assert_eq!(calls.recv().unwrap(), Ok((3, 2)));
    assert_eq!(client.propose(Serde(3)), Ok((6, 3)), "the server goes on");
    let held = hold(&client);
    for command in [UNBEARABLE, 1, 1] {
        let reckless = |reply: Result<(u64, u64), ClientError>| assert_ne!(reply.unwrap().0, 0);
        client.submit(Serde(command), reckless).unwrap();
    }
    drop(held);
    assert_eq!(server.wait(), Err(PANICKED));
    let other = start_all(&network, &[NodeId(2)]).remove(0);
    assert_eq!(sum(&other.client()), (0, 0));
}
