//! Named handlers, hosted by replicas.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on has failed, and looks only at what it is about"
)]

use raft_core::replica::{
    Applied, Call, ClientSession, Command, EnqueueError, Failure, Image, ProcessorReply,
    Processors, ReplyError, Serde, StateMachine,
};
use raft_core::{Bytes, EntryId, NodeId, Span};
use raft_sim::{Cluster, Network};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Account {
    balance: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Refused {
    Overdrawn { balance: u64 },
}

fn account() -> Processors<Account> {
    Processors::new(Account::default())
        .with("deposit", |account: &mut Account, amount: u64| {
            account.balance += amount;
            Ok::<u64, Refused>(account.balance)
        })
        .with("withdraw", |account: &mut Account, amount: u64| {
            let balance = account.balance;
            let left = balance.checked_sub(amount);
            account.balance = left.ok_or(Refused::Overdrawn { balance })?;
            Ok::<u64, Refused>(account.balance)
        })
        .with_reader("balance", |account: &Account, (): ()| {
            Ok::<u64, Refused>(account.balance)
        })
}

fn apply(account: &mut Processors<Account>, command: Call) -> ProcessorReply {
    let id = EntryId::ZERO;
    account.apply(Applied { id, command })
}

fn read(reply: &ProcessorReply) -> Result<u64, Refused> {
    reply.read().unwrap()
}

#[test]
fn an_error_of_a_handler_is_a_reply_and_changes_what_the_handler_changed() {
    let mut account = account();
    let deposit = account.enqueue("deposit", &5_u64).unwrap();
    assert_eq!(read(&apply(&mut account, deposit)), Ok(5));
    let withdraw = account.enqueue("withdraw", &7_u64).unwrap();
    let refused = apply(&mut account, withdraw);
    assert_eq!(read(&refused), Err(Refused::Overdrawn { balance: 5 }));
    assert!(matches!(refused.failure(), Some(Failure::Refused(_))));
    assert_eq!(account.state().balance, 5);
}

#[test]
fn an_unknown_action_or_other_parameters_are_refused_before_there_is_a_command() {
    let account = account();
    let action = "deposti".to_string();
    let known = vec!["deposit".to_string(), "withdraw".to_string()];
    assert_eq!(
        account.enqueue("deposti", &5_u64),
        Err(EnqueueError::UnknownAction { action, known })
    );
    assert!(matches!(
        account.enqueue("deposit", &"five"),
        Err(EnqueueError::Parameters { .. })
    ));
    let error = account.ask("deposit", &5_u64).unwrap_err();
    assert_eq!(
        error.to_string(),
        "unknown action \"deposit\", expected one of: balance"
    );
}

/// Nodes that run another program say so, instead of doing nothing.
#[test]
fn an_action_that_is_committed_and_unknown_is_a_reply() {
    let newer = account().with("close", |_: &mut Account, (): ()| Ok::<(), Refused>(()));
    let mut older = account();
    let reply = apply(&mut older, newer.enqueue("close", &()).unwrap());
    let unknown = ReplyError::UnknownAction("close".to_string());
    assert_eq!(reply.read::<(), Refused>(), Err(unknown));
    let other =
        Processors::new(Account::default()).with("deposit", |_: &mut Account, _: String| {
            Ok::<(), Refused>(())
        });
    let reply = apply(&mut older, other.enqueue("deposit", &"five").unwrap());
    assert!(matches!(
        reply.read::<u64, Refused>(),
        Err(ReplyError::Parameters(_))
    ));
    assert_eq!(older.state().balance, 0);
}

#[test]
fn a_reply_that_is_read_as_another_type_is_an_error() {
    let mut account = account();
    let deposit = account.enqueue("deposit", &300_u64).unwrap();
    let reply = apply(&mut account, deposit);
    assert_eq!(reply.read::<String, Refused>(), Err(ReplyError::OtherType));
}

#[test]
fn commands_replies_and_states_come_back_from_their_bytes() {
    let mut first = account();
    let deposit = first.enqueue("deposit", &5_u64).unwrap();
    assert_eq!(deposit.action(), "deposit");
    assert_eq!(Call::decode(&deposit.encode()).as_ref(), Ok(&deposit));
    assert!(Call::decode(&Bytes::from_static(b"\xff")).is_err());
    let reply = apply(&mut first, deposit);
    let bytes = Processors::<Account>::encode_reply(&reply).unwrap();
    assert_eq!(Processors::<Account>::decode_reply(&bytes), Some(reply));

    let mut image = Vec::new();
    first.image().write(&mut image).unwrap();
    let mut second = account();
    second.restore(Serde::read(&mut image.as_slice()).unwrap());
    assert_eq!(second.state(), first.state());
    let balance = second.ask("balance", &()).unwrap();
    assert_eq!(read(&second.query(&balance)), Ok(5));
}

#[test]
#[should_panic(expected = "there are two handlers for \"deposit\"")]
fn two_handlers_of_one_name_are_a_mistake() {
    let _ = account().with("deposit", |_: &mut Account, (): ()| Ok::<(), Refused>(()));
}

/// What the simulator makes many of.
#[derive(Debug)]
struct Bank(Processors<Account>);

impl Default for Bank {
    fn default() -> Self {
        Self(account())
    }
}

impl StateMachine for Bank {
    type Command = Call;
    type Query = Call;
    type Reply = ProcessorReply;

    fn apply(&mut self, entry: Applied<Call>) -> ProcessorReply {
        self.0.apply(entry)
    }

    fn query(&self, query: &Call) -> ProcessorReply {
        self.0.query(query)
    }

    fn encode_reply(reply: &ProcessorReply) -> Option<Bytes> {
        Processors::<Account>::encode_reply(reply)
    }

    fn decode_reply(bytes: &Bytes) -> Option<ProcessorReply> {
        Processors::<Account>::decode_reply(bytes)
    }

    type Image = Serde<Account>;

    fn image(&self) -> Serde<Account> {
        self.0.image()
    }

    fn restore(&mut self, image: Serde<Account>) {
        self.0.restore(image);
    }
}

/// consensual's `enqueue`, from any node; sent twice in a session, it takes effect once.
#[test]
fn a_cluster_answers_with_what_the_handler_said() {
    let mut cluster = Cluster::<Bank>::new(3, 1, Network::default());
    let leader = cluster.elect();
    cluster.run_for(Span::from_millis(1_000));
    let request = cluster.register(leader);
    cluster.run_until(|cluster| cluster.session(request).is_some());
    let mut client = ClientSession::new(cluster.session(request).unwrap());
    let serial = client.begin().unwrap();
    for node in [1, 2, 3].map(NodeId) {
        let deposit = cluster.machine(node).0.enqueue("deposit", &5_u64).unwrap();
        let request = cluster.propose_in(node, serial, deposit);
        cluster.run_until(|cluster| cluster.reply(request).is_some());
        let reply = cluster.reply(request).unwrap().as_ref().unwrap();
        assert_eq!(read(reply), Ok(5), "node {node}");
    }
    let balance = cluster.machine(leader).0.ask("balance", &()).unwrap();
    let request = cluster.query(leader, balance);
    cluster.run_until(|cluster| cluster.reply(request).is_some());
    assert_eq!(
        read(cluster.reply(request).unwrap().as_ref().unwrap()),
        Ok(5)
    );
}
