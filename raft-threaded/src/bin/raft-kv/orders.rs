//! Verbs that order something of a running cluster, by way of any of its nodes.

use super::failure::Failure;
use super::place::{Place, each_once};
use super::target::Target;
use super::values;

/// Compare and set.
#[derive(Debug, clap::Args)]
struct Expect {
    /// Change nothing unless this is the configuration in force: `configuration_id` of `members --json`.
    #[arg(long, value_name = "TERM.INDEX", value_parser = values::entry_id)]
    expect: Option<String>,
}

/// What `attach` needs to know.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Each node must be running and waiting: `raft-kv serve --join --id 4 --data DIR --peer-addr 0.0.0.0:7104`. One that
was detached from this cluster is taken back as it is.
It receives everything first, and votes once it has caught up. Attach several voters at once to go from one
odd number to the next. A node that is a learner already becomes a voter, as by `promote`.

Examples:
  raft-kv attach --to db1:6379 4=db4:7104
  raft-kv attach --to db1:6379 2=db2:7102 3=db3:7103
  raft-kv attach --to db1:6379 9=dr1:7109 --learner")]
pub(super) struct Attach {
    #[command(flatten)]
    to: Target,
    /// The nodes, each with the address at which it listens for peers.
    #[arg(value_name = "ID=HOST:PORT", required = true)]
    nodes: Vec<Place>,
    /// Let them receive everything without voting, for good: `promote` lets them vote.
    #[arg(long)]
    learner: bool,
    #[command(flatten)]
    expect: Expect,
}

/// What `detach` needs to know.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A detached node serves nobody any more, and may be stopped. `raft-kv attach` takes it back with what it has, and it
gets what it missed; `raft-kv reset` empties it, for another cluster. Nodes that are lost are detached in the same way,
by way of one that is not; the leader may be, too.

Examples:
  raft-kv detach --to db1:6379 4
  raft-kv detach --to db1:6379 4 5")]
pub(super) struct Detach {
    #[command(flatten)]
    to: Target,
    /// The ids of the nodes.
    #[arg(value_name = "ID", value_parser = values::node_id, required = true)]
    nodes: Vec<u64>,
    #[command(flatten)]
    expect: Expect,
}

/// What `promote` and `demote` need to know.
#[derive(Debug, clap::Args)]
pub(super) struct OneNode {
    #[command(flatten)]
    to: Target,
    /// The id of the node.
    #[arg(value_name = "ID", value_parser = values::node_id)]
    node: u64,
    #[command(flatten)]
    expect: Expect,
}

/// What `move` needs to know.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Stop the node, start it at the new place, then say where it is: whoever is found there must be that very node.
With --force nobody is asked: say it first, then stop the node and start it at the new place, and both places
are tried meanwhile. That is the way for a cluster of two, which decides nothing while one of them is not found.

Examples:
  raft-kv move --to db1:6379 3=db7:7103
  raft-kv move --to db1:6379 3=db7:7103 --force")]
pub(super) struct Move {
    #[command(flatten)]
    to: Target,
    /// The node, and where its peers reach it from now on.
    #[arg(value_name = "ID=HOST:PORT")]
    place: Place,
    /// Do it although the node does not answer there: it will be started there later.
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    expect: Expect,
}

/// What `transfer` needs to know.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
It fails if the other node does not take over in time; then the leader goes on.

Examples:
  raft-kv transfer --to db1:6379
  raft-kv transfer --to db1:6379 --node 2")]
pub(super) struct Transfer {
    #[command(flatten)]
    to: Target,
    /// Who is to lead [default: the voter that is most caught up].
    #[arg(long, value_name = "ID", value_parser = values::node_id)]
    node: Option<u64>,
}

/// What `step-down` needs to know.
#[derive(Debug, clap::Args)]
pub(super) struct StepDown {
    #[command(flatten)]
    to: Target,
}

/// What `snapshot` needs to know.
#[derive(Debug, clap::Args)]
pub(super) struct Snapshot {
    #[command(flatten)]
    to: Target,
}

impl Target {
    fn change(&self, mut words: Vec<String>, expect: Expect, done: &str) -> Result<(), Failure> {
        if let Some(expect) = expect.expect {
            words.extend(["EXPECT".to_string(), expect]);
        }
        let id = self.order(&words)?.text()?;
        println!("{done}; the configuration is {id} now");
        Ok(())
    }
}

pub(super) fn words(first: &str, rest: impl IntoIterator<Item = String>) -> Vec<String> {
    core::iter::once(first.to_string()).chain(rest).collect()
}

fn list(ids: impl Iterator<Item = u64>) -> String {
    let ids: Vec<String> = ids.map(|id| id.to_string()).collect();
    ids.join(", ")
}

pub(super) fn attach(arguments: Attach) -> Result<(), Failure> {
    each_once(arguments.nodes.iter().map(|node| node.id))?;
    let nodes = arguments.nodes.iter();
    let pairs = nodes.flat_map(|node| [node.id.to_string(), node.address.clone()]);
    let mut order = words("RAFT.ATTACH", pairs);
    if arguments.learner {
        order.push("LEARNER".to_string());
    }
    let done = format!("attached {}", list(arguments.nodes.iter().map(|n| n.id)));
    arguments.to.change(order, arguments.expect, &done)
}

pub(super) fn detach(arguments: Detach) -> Result<(), Failure> {
    each_once(arguments.nodes.iter().copied())?;
    let order = words("RAFT.DETACH", arguments.nodes.iter().map(u64::to_string));
    let done = format!("detached {}", list(arguments.nodes.iter().copied()));
    arguments.to.change(order, arguments.expect, &done)
}

pub(super) fn promote(arguments: OneNode) -> Result<(), Failure> {
    let order = words("RAFT.PROMOTE", [arguments.node.to_string()]);
    let done = format!("node {} votes", arguments.node);
    arguments.to.change(order, arguments.expect, &done)
}

pub(super) fn demote(arguments: OneNode) -> Result<(), Failure> {
    let order = words("RAFT.DEMOTE", [arguments.node.to_string()]);
    let done = format!("node {} votes no longer", arguments.node);
    arguments.to.change(order, arguments.expect, &done)
}

pub(super) fn set_address(arguments: Move) -> Result<(), Failure> {
    let Place { id, address } = arguments.place;
    let done = format!("node {id} is looked for at {address}");
    let mut order = words("RAFT.MOVE", [id.to_string(), address]);
    if arguments.force {
        order.push("FORCE".to_string());
    }
    arguments.to.change(order, arguments.expect, &done)
}

pub(super) fn transfer(arguments: &Transfer) -> Result<(), Failure> {
    let node = arguments.node.map(|node| node.to_string());
    arguments.to.order(&words("RAFT.TRANSFER", node))?;
    match arguments.node {
        Some(node) => println!("node {node} was let to lead"),
        None => println!("another node was let to lead"),
    }
    Ok(())
}

pub(super) fn step_down(arguments: &StepDown) -> Result<(), Failure> {
    arguments.to.order(&words("RAFT.STEPDOWN", None))?;
    println!("the leader stepped down");
    Ok(())
}

pub(super) fn snapshot(arguments: &Snapshot) -> Result<(), Failure> {
    let id = arguments.to.order(&words("RAFT.SNAPSHOT", None))?.text()?;
    println!("the node has a snapshot up to {id}");
    Ok(())
}
