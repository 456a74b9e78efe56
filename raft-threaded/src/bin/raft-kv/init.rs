//! `raft-kv init`: the data folders of a new cluster.

use std::path::PathBuf;
use std::str::FromStr;

use raft_core::NodeId;
use raft_threaded::Seat;

use super::Failure;

/// What `init` needs to know.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Where to make the folders: DIR/node-1, DIR/node-2, …
    #[arg(long, value_name = "DIR", default_value = "raft-kv-data")]
    dir: PathBuf,
    /// The nodes, each with the address at which its peers reach it.
    #[arg(value_name = "ID=HOST:PORT", required = true)]
    nodes: Vec<Node>,
}

/// A node and its address, as `1=10.0.0.1:7101`.
#[derive(Clone, Debug)]
struct Node {
    id: u64,
    address: String,
}

impl FromStr for Node {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = "expected ID=HOST:PORT, for instance 1=10.0.0.1:7101";
        let (id, address) = text.split_once('=').ok_or(expected)?;
        let id = id
            .parse()
            .map_err(|_| format!("{id:?} is no id; {expected}"))?;
        let (host, port) = address.rsplit_once(':').ok_or(expected)?;
        if host.is_empty() || port.parse::<u16>().is_err() {
            return Err(format!("{address:?} is no address; {expected}"));
        }
        Ok(Self {
            id,
            address: address.to_string(),
        })
    }
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let mut seats: Vec<Seat> = Vec::new();
    for node in &arguments.nodes {
        if seats.iter().any(|seat| seat.node.0 == node.id) {
            return Err(format!("node {} is named twice", node.id).into());
        }
        seats.push(Seat {
            node: NodeId(node.id),
            data: arguments.dir.join(format!("node-{}", node.id)),
            address: node.address.clone(),
        });
    }
    let cluster = raft_threaded::init(&seats)?;
    println!("cluster {cluster} with {} voters:", seats.len());
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
    Ok(())
}
