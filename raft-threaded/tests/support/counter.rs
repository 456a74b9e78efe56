//! A state machine that is easy to check.

use raft_core::Bytes;
use raft_core::replica::{Applied, RequestError, Serde, StateMachine, decode_reply, encode_reply};
use raft_threaded::{Client, ClientError, Server};

use super::eventually;

/// A counter that remembers how often it was added to.
#[derive(Debug, Default)]
pub struct Counter {
    sum: u64,
    times: u64,
}

impl StateMachine for Counter {
    type Command = Serde<u64>;
    type Query = ();
    type Reply = (u64, u64);

    fn apply(&mut self, entry: Applied<Serde<u64>>) -> (u64, u64) {
        assert!(
            entry.command.0 < 1_000,
            "a command that the machine cannot bear"
        );
        self.sum += entry.command.0;
        self.times += 1;
        (self.sum, self.times)
    }

    fn query(&self, (): &()) -> (u64, u64) {
        (self.sum, self.times)
    }

    fn encode_reply(reply: &(u64, u64)) -> Option<Bytes> {
        Some(encode_reply(reply))
    }

    fn decode_reply(bytes: &Bytes) -> Option<(u64, u64)> {
        decode_reply(bytes)
    }

    type Image = Serde<(u64, u64)>;

    fn image(&self) -> Serde<(u64, u64)> {
        Serde((self.sum, self.times))
    }

    fn restore(&mut self, image: Serde<(u64, u64)>) {
        (self.sum, self.times) = image.0;
    }
}

/// Proposes until it is taken; what is refused had no effect.
pub fn add(client: &Client<Counter>, amount: u64) -> (u64, u64) {
    eventually("a leader", || match client.propose(Serde(amount)) {
        Ok(reply) => Some(reply),
        Err(ClientError::Request(RequestError::Rejected(_) | RequestError::Superseded(_))) => None,
        Err(error) => panic!("{error}"),
    })
}

/// The place of the server that leads.
pub fn leader(servers: &[Server<Counter>]) -> usize {
    let leads = |server: &Server<Counter>| server.status().is_some_and(|s| s.is_leader());
    eventually("a leader", || servers.iter().position(leads))
}

/// The sum, and how many took part in it, as soon as somebody can answer.
pub fn sum(client: &Client<Counter>) -> (u64, u64) {
    eventually("an answer", || client.query(()).ok())
}
