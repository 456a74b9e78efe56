//! What clients' commands become at the door, over real sockets and without a replica behind it.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a test looks only at what it is about"
)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use mio::{Events, Poll};
use raft_core::Consistency;

use super::*;
use crate::kv::KvQuery;

/// How long anything may take before a test gives up; nothing is decided by it.
const PATIENCE: Duration = Duration::from_secs(60);

/// The door, and one client in front of it.
struct Door {
    poll: Poll,
    front: RespFront,
    ids: RequestIds,
    client: BufReader<TcpStream>,
}

fn no_status() -> ServerStatus {
    unreachable!("nothing here asks how the node is")
}

impl Door {
    fn open() -> Self {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let listener = TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap();
        let mut front = RespFront::new(listener, Limits::default(), 2);
        let poll = Poll::new().unwrap();
        front.register(poll.registry()).unwrap();
        let client = TcpStream::connect(address).unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        Self {
            poll,
            front,
            ids: RequestIds::default(),
            client: BufReader::new(client),
        }
    }

    /// Sends commands, each on a line, and takes in what arrives until the door asks so many requests.
    fn ask(&mut self, commands: &str, count: usize) -> Vec<Request<KvStore>> {
        self.client
            .get_mut()
            .write_all(commands.as_bytes())
            .unwrap();
        let (mut requests, mut events) = (Vec::new(), Events::with_capacity(8));
        while requests.len() < count {
            let patience = if self.front.has_work() {
                Duration::ZERO
            } else {
                PATIENCE
            };
            self.poll.poll(&mut events, Some(patience)).unwrap();
            assert!(
                !events.is_empty() || self.front.has_work(),
                "the door asks {count} requests, not {requests:?} and then nothing"
            );
            for event in &events {
                self.front.on_ready(event, self.poll.registry());
            }
            self.front
                .take_requests(&mut self.ids, &no_status, &mut requests);
        }
        requests
    }

    /// What the door asks by itself, of what has arrived already.
    fn asks(&mut self) -> Vec<Request<KvStore>> {
        let mut requests = Vec::new();
        self.front
            .take_requests(&mut self.ids, &no_status, &mut requests);
        requests
    }

    /// Writes all there is to write, to a client that reads it and says nothing.
    fn write_all(&mut self) {
        let (mut scratch, mut events) = (vec![0; 1 << 20], Events::with_capacity(8));
        self.client.get_ref().set_nonblocking(true).unwrap();
        let client = self.client.get_ref().try_clone().unwrap();
        let mut client = mio::net::TcpStream::from_std(client);
        let registry = self.poll.registry();
        registry
            .register(&mut client, Token(0), Interest::READABLE)
            .unwrap();
        self.front.flush(self.poll.registry());
        while self.front.connections.values().any(Connection::wants_write) {
            while let Ok(1..) = client.read(&mut scratch) {}
            self.poll.poll(&mut events, Some(PATIENCE)).unwrap();
            assert!(
                !events.is_empty(),
                "bytes arrive, or there is room for more"
            );
            // Not by `on_ready`: the event would tell of a client's end once more.
            let front = &mut self.front;
            for (token, connection) in &mut front.connections {
                front.due.note(*token, connection);
            }
            self.front.flush(self.poll.registry());
        }
        self.poll.registry().deregister(&mut client).unwrap();
        self.client.get_ref().set_nonblocking(false).unwrap();
    }

    /// The client has nothing more to say, and the door knows.
    fn hear_the_end(&mut self) {
        let mut events = Events::with_capacity(8);
        self.client.get_ref().shutdown(Shutdown::Write).unwrap();
        let mut heard = false;
        while !heard {
            self.poll.poll(&mut events, Some(PATIENCE)).unwrap();
            assert!(!events.is_empty(), "the end of a client is heard of");
            for event in &events {
                heard |= event.is_read_closed();
                self.front.on_ready(event, self.poll.registry());
            }
        }
    }

    /// The next line of what the client is told.
    fn line(&mut self) -> String {
        self.front.flush(self.poll.registry());
        let mut line = String::new();
        let read = self.client.read_line(&mut line);
        read.expect("the client is told something in time");
        line.trim_end().to_string()
    }
}

/// As if nothing was said of the command.
const fn kept(reply: Reply) -> KvReply {
    KvReply { reply, of: None }
}

/// Reads as they are asked of the replica, by their ids.
fn shown(request: &Request<KvStore>) -> (RequestId, String) {
    match request {
        Request::Query(id, consistency, KvQuery::Get(_)) => (*id, format!("{consistency:?}")),
        Request::QueryStale(id, KvQuery::Get(_)) => (*id, "Stale".to_string()),
        other => panic!("{other:?} is no GET"),
    }
}

#[test]
fn each_read_is_asked_as_its_connection_chose_when_it_was_sent() {
    let mut door = Door::open();
    let commands = "GET a\r\nRAFT.READS LEASE\r\nGET a\r\nREADONLY\r\nGET a\r\nRAFT.READS STALE 9\r\n\
                    RAFT.READS\r\nGET a\r\nREADWRITE\r\nRAFT.STALE GET a\r\nGET a\r\n";
    let asked = door.ask(commands, 6);
    let (ids, asked): (Vec<RequestId>, Vec<String>) = asked.iter().map(shown).unzip();
    assert_eq!(
        asked,
        [
            format!("{:?}", Consistency::Linearizable),
            format!("{:?}", Consistency::Lease),
            "Stale".to_string(),
            "Stale".to_string(),
            "Stale".to_string(),
            format!("{:?}", Consistency::Linearizable),
        ]
    );
    // What is answered first waits for what was asked first.
    let stale = |id, door: &mut Door| {
        let age = Some(raft_core::Span::from_millis(10));
        let reply = kept(Reply::Integer(7));
        door.front.reply_stale(id, Stale { reply, age });
    };
    for id in [ids[4], ids[3], ids[2]] {
        stale(id, &mut door);
    }
    for id in [ids[5], ids[1], ids[0]] {
        door.front.reply(id, Ok(kept(Reply::Integer(1))));
    }
    let told = ":1 +OK :1 +OK :7 +OK $7 STALE";
    for expected in told.split(' ') {
        let line = door.line();
        assert!(line.starts_with(expected), "{line}, expected {expected}");
    }
    let refused = door.line();
    assert!(
        refused.starts_with("-STALE this node's state is 10 ms old"),
        "{refused}"
    );
    for expected in ["+OK", "*2", ":10", ":7", ":1"] {
        assert_eq!(door.line(), expected);
    }
}

#[test]
fn a_read_that_may_be_stale_waits_for_the_writes_before_it() {
    let mut door = Door::open();
    let first = door.ask("READONLY\r\nSET a 1\r\nGET a\r\n", 1);
    let [Request::Propose(id, _)] = &first[..] else {
        panic!("only the write is asked, not {first:?}");
    };
    door.front.reply(*id, Ok(kept(Reply::OK)));
    assert!(matches!(door.asks()[..], [Request::QueryStale(..)]));
}

/// A reply that leaves no room for others until some of it is written.
fn large() -> KvReply {
    kept(Reply::Bulk(vec![b'x'; 2 << 20].into()))
}

/// A write behind a read of a large value was never carried out: it waited for the read first and for room then, and
/// nobody looked at it again. The client waited for ever, and its connection was never ended.
#[test]
fn a_write_that_waited_for_a_large_value_is_asked_once_that_is_written() {
    let mut door = Door::open();
    let first = door.ask("GET big\r\nSET x 1\r\n", 1);
    door.front.reply(shown(&first[0]).0, Ok(large()));
    let early = door.asks();
    assert!(early.is_empty(), "there is no room yet for {early:?}");
    door.write_all();
    assert!(
        door.front.has_work(),
        "the write waits for nothing any more"
    );
    assert!(matches!(door.asks()[..], [Request::Propose(..)]));
}

/// The same, where the reply to the last command before it was not encoded for lack of room.
#[test]
fn a_hello_that_waited_for_large_values_is_answered_once_they_are_written() {
    let mut door = Door::open();
    let first = door.ask("GET big\r\nGET big\r\nHELLO 3\r\nGET x\r\n", 2);
    for request in &first {
        door.front.reply(shown(request).0, Ok(large()));
    }
    let early = door.asks();
    assert!(early.is_empty(), "there is no room yet for {early:?}");
    door.write_all();
    assert!(door.front.has_work(), "HELLO waits for nothing any more");
    let asked = door.asks();
    assert!(matches!(asked[..], [Request::Query(..)]), "{asked:?}");
}

/// A client's end that was found while there was no room was not looked at again, and its place stayed taken.
#[test]
fn a_client_whose_end_is_found_while_there_is_no_room_is_let_go_once_everything_is_written() {
    let mut door = Door::open();
    let asked = door.ask("GET big\r\nGET big\r\n", 2);
    door.front.reply(shown(&asked[0]).0, Ok(large()));
    door.hear_the_end();
    door.write_all();
    assert!(door.front.has_work(), "there is room to look for the end");
    door.front.reply(shown(&asked[1]).0, Ok(large()));
    assert!(door.asks().is_empty(), "nothing more was sent");
    door.write_all();
    assert!(door.asks().is_empty(), "nothing more was sent");
    door.write_all();
    assert!(door.front.connections.is_empty(), "the client is gone");
}
