//! What clients' commands become at the door, over real sockets and without a replica behind it.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a test looks only at what it is about"
)]

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
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
            self.poll.poll(&mut events, Some(PATIENCE)).unwrap();
            assert!(
                !events.is_empty(),
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
    let mut requests = Vec::new();
    door.front
        .take_requests(&mut door.ids, &no_status, &mut requests);
    assert!(matches!(requests[..], [Request::QueryStale(..)]));
}
