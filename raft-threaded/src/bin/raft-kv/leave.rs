//! `raft-kv solo` and `raft-kv reset`: ending the part a node plays, while it runs or while it is stopped.

use std::path::PathBuf;

use raft_core::ClusterId;
use raft_threaded::{Alone, Force};

use super::failure::Failure;
use super::orders::words;
use super::target::Target;

/// What `solo` needs to know.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
For the case that a majority of the voters is lost for good. The node keeps everything in its log, also what
was only assumed to be committed, gets a new cluster id, and serves alone; attach fresh nodes to it then.
It says how much that was; of a stopped node, how much at most. The old nodes must never serve again: should
a majority of them still live, there are two histories, which is why it takes --force.

Examples:
  raft-kv solo --to db1:6379 --force
  raft-kv solo --data node-1 --force")]
pub(super) struct Solo {
    #[command(flatten)]
    target: Left,
    /// Leave this cluster and no other: `cluster_id` of `status --json`.
    #[arg(long, value_name = "CLUSTER")]
    expect: Option<ClusterId>,
    /// Do it although other voters take part.
    #[arg(long)]
    force: bool,
}

/// What `reset` needs to know.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Everything on the node is deleted, and it waits to be attached to any cluster; `attach` takes a node that was only
detached back without. Detach the node first, by way of another one; a node that was removed while it was away does
not know, and takes --force. A node that runs starts again by itself.

Examples:
  raft-kv detach --to db1:6379 4 && raft-kv reset --to db4:6379
  raft-kv reset --data node-4")]
pub(super) struct Reset {
    #[command(flatten)]
    target: Left,
    /// Do it although the node is a member, as its log says.
    #[arg(long)]
    force: bool,
}

/// One certain node: running, or stopped.
#[derive(Debug, clap::Args)]
struct Left {
    #[command(flatten)]
    to: Target,
    /// The data folder of the node, in place of --to, while the node is stopped.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["to", "timeout"])]
    data: Option<PathBuf>,
}

const fn force(forced: bool) -> Force {
    if forced { Force::Yes } else { Force::No }
}

pub(super) fn solo(arguments: &Solo) -> Result<(), Failure> {
    let Alone { committed, last } = match &arguments.target.data {
        Some(data) => raft_threaded::solo_stopped(data, arguments.expect, force(arguments.force))
            .map_err(|error| format!("{error}{}", hint(&error)))?,
        None => online_solo(arguments)?,
    };
    println!("the node is a cluster of its own now");
    if last > committed {
        let first = committed + 1;
        match &arguments.target.data {
            Some(_) => println!(
                "entries {first} to {last} were kept; some of the last ones may never have been committed: which, a \
                 stopped node cannot tell, because its log says only now and then how many were"
            ),
            None => {
                println!("entries {first} to {last} were kept, and only assumed to be committed");
            }
        }
    }
    Ok(())
}

fn online_solo(arguments: &Solo) -> Result<Alone, Failure> {
    let expect = arguments.expect.iter();
    let expect = expect.flat_map(|expect| ["EXPECT".to_string(), expect.to_string()]);
    let mut words = words("RAFT.SOLO", expect);
    if arguments.force {
        words.push("FORCE".to_string());
    }
    let answer = arguments.target.to.order(&words)?;
    // A map, as version 2 of the protocol has it: names and values in turn.
    let (committed, last) = (answer.number_at(1), answer.number_at(3));
    match (committed, last) {
        (Some(committed), Some(last)) => Ok(Alone { committed, last }),
        (None, _) | (_, None) => Err(format!("it answered {answer:?}").into()),
    }
}

pub(super) fn reset(arguments: &Reset) -> Result<(), Failure> {
    match &arguments.target.data {
        Some(data) => {
            let identity = raft_threaded::reset_stopped(data, force(arguments.force))
                .map_err(|error| format!("{error}{}", hint(&error)))?;
            println!(
                "node {} is empty now; start it with `raft-kv serve` and attach it",
                identity.member.node
            );
        }
        None => {
            let force = arguments.force.then(|| "FORCE".to_string());
            arguments.target.to.order(&words("RAFT.RESET", force))?;
            println!("the node is empty now, and waits to be attached");
        }
    }
    Ok(())
}

fn hint(error: &raft_threaded::StoppedError) -> &'static str {
    if error.could_be_forced() {
        " (--force)"
    } else {
        ""
    }
}
