//! Servers with a state machine of one's own, in one process.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::mpsc;
use std::thread;

use raft_core::replica::{ClientSession, RequestError, Serde, SessionId};
use raft_core::{Consistency, EntryId, HaltReason, NodeId, Span};
use raft_threaded::{
    ClientError, Force, Joiner, JoinerError, Part, Seat, Server, ServerOptions, StopError, init,
    init_joiner,
};

use support::{Counter, add, eventually, free_port};

fn seat(folder: &Path, node: u64) -> Seat {
    Seat {
        node: NodeId(node),
        data: folder.join(format!("node-{node}")),
        address: format!("localhost:{}", free_port()),
    }
}

fn seats(folder: &Path, nodes: u64) -> Vec<Seat> {
    let seats: Vec<Seat> = (1..=nodes).map(|node| seat(folder, node)).collect();
    init(&seats).unwrap();
    seats
}

fn start(seat: &Seat) -> Server<Counter> {
    let port: u16 = seat.address.rsplit_once(':').unwrap().1.parse().unwrap();
    let listen = SocketAddr::from(([127, 0, 0, 1], port));
    Server::start(ServerOptions::new(&seat.data, listen), Counter::default()).unwrap()
}

#[test]
fn three_servers_agree_over_host_names_and_survive_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let seats = seats(folder.path(), 3);
    for round in 1..=2 {
        let servers: Vec<Server<Counter>> = seats.iter().map(start).collect();
        for (place, server) in servers.iter().enumerate() {
            let expected = (round - 1) * 3 + place as u64 + 1;
            assert_eq!(add(&server.client(), 10), (expected * 10, expected));
        }
        for server in &servers {
            let client = server.client();
            let read = eventually("a leader", || client.query(()).ok());
            assert_eq!(read, (round * 30, round * 3));
            assert_eq!(server.status().unwrap().voters, [1, 2, 3]);
        }
        for server in servers {
            server.shutdown().unwrap();
        }
    }
}

#[test]
fn many_threads_share_one_client_and_each_command_takes_effect_once() {
    let folder = tempfile::tempdir().unwrap();
    let seats = seats(folder.path(), 1);
    let server = start(&seats[0]);
    add(&server.client(), 0);
    thread::scope(|scope| {
        for _ in 0..8 {
            let client = server.client();
            scope.spawn(move || {
                for _ in 0..100 {
                    client.propose(Serde(1)).unwrap();
                }
            });
        }
    });
    assert_eq!(server.client().query(()).unwrap(), (800, 801));
}

/// Dissertation §6.3: whoever is not sure sends it again.
#[test]
fn a_command_of_a_session_that_is_sent_again_to_another_server_takes_effect_once() {
    let folder = tempfile::tempdir().unwrap();
    let seats = seats(folder.path(), 3);
    let servers: Vec<Server<Counter>> = seats.iter().map(start).collect();
    let session = eventually("a session", || servers[0].client().register().ok());
    let serial = ClientSession::new(session).begin().unwrap();
    for server in &servers {
        let client = server.client();
        let reply = eventually("a reply", || client.propose_in(serial, Serde(7)).ok());
        assert_eq!(reply, (7, 1));
    }
    let expired = SessionId(EntryId::ZERO);
    let serial = ClientSession::new(expired).begin().unwrap();
    assert_eq!(
        servers[0].client().propose_in(serial, Serde(7)),
        Err(ClientError::Request(RequestError::SessionExpired))
    );
    for server in servers {
        server.shutdown().unwrap();
    }
}

#[test]
fn a_server_without_its_peers_answers_only_what_may_be_stale() {
    let folder = tempfile::tempdir().unwrap();
    let seats = seats(folder.path(), 3);
    let mut servers: Vec<Server<Counter>> = seats.iter().map(start).collect();
    let client = servers[2].client();
    add(&client, 7);
    let leased = eventually("a leader", || {
        client.query_with(Consistency::Lease, ()).ok()
    });
    assert_eq!(leased, (7, 1));
    let known = eventually("its age to be known", || {
        let stale = client.query_stale(()).unwrap();
        stale.age.is_some().then_some(stale)
    });
    assert_eq!(known.reply, (7, 1));
    servers.truncate(0);
    assert_eq!(client.query_stale(()), Err(ClientError::Stopped));

    let last = start(&seats[2]);
    let client = last.client();
    assert!(client.query(()).is_err(), "nobody can confirm it");
    assert!(client.query_with(Consistency::Lease, ()).is_err());
    // What it has applied, nobody confirms either; it says so.
    assert_eq!(client.query_stale(()).unwrap().age, None::<Span>);
}

/// Found by review: calls that came too late waited for ever.
#[test]
fn calls_end_with_the_server() {
    let folder = tempfile::tempdir().unwrap();
    let seats = seats(folder.path(), 1);
    let server = start(&seats[0]);
    let client = server.client();
    add(&client, 1);
    thread::scope(|scope| {
        for _ in 0..4 {
            let client = client.clone();
            scope.spawn(move || while client.propose(Serde(1)).is_ok() {});
        }
        server.shutdown().unwrap();
    });
    assert_eq!(client.propose(Serde(1)), Err(ClientError::Stopped));
    assert_eq!(client.query(()), Err(ClientError::Stopped));
}

/// T03: a state machine that panics takes its server with it, and whoever waits is told.
#[test]
fn a_panic_in_the_state_machine_stops_the_server_and_no_call_hangs() {
    let folder = tempfile::tempdir().unwrap();
    let seats = seats(folder.path(), 1);
    let server = start(&seats[0]);
    let client = server.client();
    add(&client, 1);
    assert_eq!(client.propose(Serde(1_000)), Err(ClientError::Stopped));
    let thread = "replica";
    assert_eq!(server.wait(), Err(StopError::Panicked { thread }));
}

/// Found by review: whoever was told while the thread unwound, and panicked, ended the process.
#[test]
fn a_panic_in_a_callback_beside_one_in_the_state_machine_is_one_server_that_ends() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(&seats(folder.path(), 1)[0]);
    let client = server.client();
    add(&client, 1);
    let (go_on, held) = mpsc::channel();
    let hold = move |_| held.recv().unwrap();
    client.submit(Serde(1), hold).unwrap();
    for _ in 0..2 {
        client
            .submit(Serde(1_000), |reply| assert_ne!(reply.unwrap().0, 0))
            .unwrap();
    }
    go_on.send(()).unwrap();
    let thread = "replica";
    assert_eq!(server.wait(), Err(StopError::Panicked { thread }));
}

/// A node that waits to be attached, and where it waits.
fn joiner(folder: &Path, node: u64) -> (Seat, Joiner) {
    let seat = seat(folder, node);
    init_joiner(seat.node, &seat.data).unwrap();
    let joiner = Joiner {
        node: seat.node,
        address: seat.address.clone(),
        part: Part::Voter,
    };
    (seat, joiner)
}

#[test]
fn a_program_grows_its_cluster_and_lets_another_node_lead() {
    let folder = tempfile::tempdir().unwrap();
    let seats = seats(folder.path(), 1);
    let first = start(&seats[0]);
    let client = first.client();
    add(&client, 1);
    let (second, third) = (joiner(folder.path(), 2), joiner(folder.path(), 3));
    let nobody = client.attach(vec![second.1.clone(), third.1.clone()]);
    assert!(
        matches!(
            nobody,
            Err(ClientError::Joiner(JoinerError::Silent {
                node: NodeId(2),
                ..
            }))
        ),
        "{nobody:?}"
    );
    let (two, three) = (start(&second.0), start(&third.0));
    let waits = ClientError::NoCluster { node: NodeId(2) };
    assert_eq!(two.client().query(()), Err(waits.clone()));
    assert_eq!(two.client().propose(Serde(1)), Err(waits));
    let id = client.attach(vec![second.1, third.1]).unwrap();
    assert_eq!(two.client().query(()).unwrap(), (1, 1));
    assert_eq!(
        first.status().unwrap().configuration_id,
        format!("{}.{}", id.term, id.index)
    );
    client.transfer_leadership(Some(NodeId(2))).unwrap();
    let leads = |server: &Server<Counter>| server.status().is_some_and(|s| s.is_leader());
    eventually("node 2 to lead", || leads(&two).then_some(()));
    assert_eq!(add(&three.client(), 2), (3, 2));
    let member = three.client().members().unwrap();
    assert_eq!(
        member.iter().map(|member| member.id).collect::<Vec<_>>(),
        [1, 2, 3]
    );
    eventually("the change to be taken", || {
        two.client().demote(NodeId(3)).ok()
    });
    client.promote(NodeId(3)).unwrap();
    client.detach(&[NodeId(3)]).unwrap();
    assert_eq!(first.status().unwrap().voters, [1, 2]);
    two.client().step_down().unwrap();
    add(&client, 1);
}

#[test]
fn a_server_that_is_reset_ends_and_can_be_attached_again() {
    let folder = tempfile::tempdir().unwrap();
    let seats = seats(folder.path(), 2);
    let (one, two) = (start(&seats[0]), start(&seats[1]));
    add(&one.client(), 5);
    let refused = two.client().reset(Force::No);
    assert_eq!(refused, Err(ClientError::StillAMember { node: NodeId(2) }));
    eventually("the change to be taken", || {
        one.client().detach(&[NodeId(2)]).ok()
    });
    let before = two.identity();
    two.client().reset(Force::Yes).unwrap();
    let emptied = StopError::Halted(HaltReason::Emptied);
    assert_eq!(two.wait(), Err(emptied));
    let two = start(&seats[1]);
    assert_ne!(two.identity().member.store, before.member.store);
    let joiner = Joiner {
        node: NodeId(2),
        address: seats[1].address.clone(),
        part: Part::Learner,
    };
    eventually("the change to be taken", || {
        one.client().attach(vec![joiner.clone()]).ok()
    });
    let read = eventually("a leader", || two.client().query(()).ok());
    assert_eq!(read, (5, 1));
}

#[test]
fn a_server_goes_on_alone_and_from_a_snapshot() {
    let folder = tempfile::tempdir().unwrap();
    let seats = seats(folder.path(), 2);
    let (one, two) = (start(&seats[0]), start(&seats[1]));
    add(&one.client(), 5);
    let (cluster, client) = (one.identity().cluster, one.client());
    let others = 1;
    let refused = client.solo(cluster, Force::No);
    assert_eq!(refused, Err(ClientError::OtherVoters { others }));
    drop(two);
    let alone = client.solo(cluster, Force::Yes).unwrap();
    assert!(alone.committed <= alone.last);
    assert_eq!(add(&client, 1), (6, 2));
    let snapshot = client.snapshot().unwrap();
    assert!(snapshot.index.0 > alone.last);
    one.shutdown().unwrap();
    let one = start(&seats[0]);
    assert_ne!(one.identity().cluster, cluster);
    let read = eventually("a leader", || one.client().query(()).ok());
    assert_eq!(read, (6, 2));
}
