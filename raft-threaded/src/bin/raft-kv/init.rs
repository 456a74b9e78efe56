//! `raft-kv init`: the data folders of a new cluster.

use std::path::PathBuf;

use raft_core::NodeId;
use raft_threaded::{Seat, StartError};

use super::failure::{Failure, not_understood};
use super::place::{Place, each_once};
use super::values::counted;

/// What `init` needs to know.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The ordinary way to build a cluster is to begin with one node, and to attach the others to it:

  db1$ raft-kv init 1=db1:7101
  db1$ raft-kv serve --id 1 --data raft-kv-data/node-1 --peer-addr 0.0.0.0:7101 --client-addr 0.0.0.0:6379
  db2$ raft-kv serve --join --id 2 --data node-2 --peer-addr 0.0.0.0:7102 --client-addr 0.0.0.0:6379
  db3$ raft-kv serve --join --id 3 --data node-3 --peer-addr 0.0.0.0:7103 --client-addr 0.0.0.0:6379
  any$ raft-kv attach --to db1:6379 2=db2:7102 3=db3:7103

With several nodes named, each is a voter from the beginning, and its folder has to be moved to its machine:

  raft-kv init 1=db1:7101 2=db2:7102 3=db3:7103")]
pub(super) struct Arguments {
    /// Where to make the folders: DIR/node-1, DIR/node-2, …
    #[arg(long, value_name = "DIR", default_value = "raft-kv-data")]
    dir: PathBuf,
    /// The nodes, each with the address at which its peers reach it.
    #[arg(value_name = "ID=HOST:PORT", required = true)]
    nodes: Vec<Place>,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let mut seats: Vec<Seat> = Vec::new();
    each_once(arguments.nodes.iter().map(|node| node.id))?;
    for node in &arguments.nodes {
        seats.push(Seat {
            node: NodeId(node.id),
            data: arguments.dir.join(format!("node-{}", node.id)),
            address: node.address.clone(),
        });
    }
    let cluster = raft_threaded::init(&seats).map_err(|error| {
        if matches!(error, StartError::SameAddress { .. }) {
            not_understood(error.to_string())
        } else {
            error.into()
        }
    })?;
    println!("cluster {cluster} with {}:", counted(seats.len(), "voter"));
    for seat in &seats {
        println!(
            "  node {}  {}  {}",
            seat.node,
            seat.address,
            seat.data.display()
        );
    }
    println!("Move each folder to its machine, and start its node there:");
    for seat in &seats {
        let port = seat
            .address
            .rsplit_once(':')
            .map_or("7101", |(_, port)| port);
        println!(
            "  raft-kv serve --id {} --data node-{} --peer-addr 0.0.0.0:{port} --client-addr 0.0.0.0:6379",
            seat.node, seat.node
        );
    }
    println!("Never copy a folder to two machines: each is one voter.");
    if let [only] = &seats[..] {
        println!("To add a node, start it on an empty folder, and attach it by way of this one:");
        let (second, address) = (only.node.next(), "HOST:7102");
        println!(
            "  raft-kv serve --join --id {second} --data node-{second} --peer-addr 0.0.0.0:7102"
        );
        println!("  raft-kv attach --to THIS-HOST:6379 {second}={address}");
    }
    Ok(())
}
