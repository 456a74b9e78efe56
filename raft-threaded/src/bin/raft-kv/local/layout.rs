//! What `raft-kv local` keeps in its folder: how many nodes there are, and where each is.

use std::fs;
use std::path::{Path, PathBuf};

use raft_core::NodeId;
use raft_threaded::Seat;
use serde::{Deserialize, Serialize};

use super::super::failure::{Failure, not_understood};
use super::super::values::counted;
use super::Arguments;

/// What a folder remembers, because the log does: addresses are part of the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Layout {
    pub(super) nodes: u16,
    #[serde(default)]
    pub(super) spares: u16,
    pub(super) base_port: u16,
}

/// Nodes of both kinds: each has a port of one digit above the base.
pub(super) const NODES_MAX: u16 = 9;
/// Leaves room for the ports above it.
pub(super) const PORT_MAX: u16 = 65_000;
const LAYOUT_NAME: &str = "local.toml";

impl Layout {
    /// Nodes of the first configuration, and those that were not.
    pub(super) const fn all(self) -> u16 {
        self.nodes + self.spares
    }

    fn is_right(self) -> bool {
        self.nodes >= 1 && self.all() <= NODES_MAX && self.base_port <= PORT_MAX
    }

    pub(super) const fn client_port(self, node: u16) -> u16 {
        self.base_port + node
    }

    pub(super) const fn peer_port(self, node: u16) -> u16 {
        self.base_port + 100 + node
    }

    pub(super) fn data(dir: &Path, node: u16) -> PathBuf {
        dir.join(format!("node-{node}"))
    }
}

pub(super) fn read_layout(dir: &Path) -> Result<Option<Layout>, Failure> {
    let file = dir.join(LAYOUT_NAME);
    match fs::read_to_string(&file) {
        Ok(text) => match toml::from_str::<Layout>(&text) {
            Ok(layout) if layout.is_right() => Ok(Some(layout)),
            Ok(layout) => {
                let file = file.display();
                Err(
                    format!("{file} is not right: {layout:?}, expected 1 to {NODES_MAX} nodes")
                        .into(),
                )
            }
            Err(error) => Err(format!("{} is not right: {error}", file.display()).into()),
        },
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(format!("{} cannot be read: {error}", file.display()).into()),
    }
}

/// A folder that exists is started as it is.
pub(super) fn agree(arguments: &Arguments, layout: Layout) -> Result<Layout, Failure> {
    let dir = arguments.dir.display();
    if arguments.nodes.is_some_and(|nodes| nodes != layout.nodes) {
        return Err(format!(
            "{dir} holds a cluster of {}; leave out --nodes, or give another --dir",
            counted(layout.nodes.into(), "node")
        )
        .into());
    }
    if arguments.spare.is_some_and(|spare| spare != layout.spares) {
        return Err(format!(
            "{dir} holds a cluster with {}; leave out --spare, or give another --dir",
            counted(layout.spares.into(), "spare node")
        )
        .into());
    }
    if arguments
        .base_port
        .is_some_and(|port| port != layout.base_port)
    {
        return Err(format!(
            "{dir} holds a cluster with base port {}; leave out --base-port, or give another --dir",
            layout.base_port
        )
        .into());
    }
    Ok(layout)
}

/// What a folder is to hold that is not there.
pub(super) fn wanted(arguments: &Arguments) -> Result<Layout, Failure> {
    let layout = Layout {
        nodes: arguments.nodes.unwrap_or(3),
        spares: arguments.spare.unwrap_or(0),
        base_port: arguments.base_port.unwrap_or(7000),
    };
    if !layout.is_right() {
        return Err(not_understood(format!(
            "expected at most {NODES_MAX} nodes, spare ones included, found {}",
            layout.all()
        )));
    }
    Ok(layout)
}

/// Makes the folders of a new cluster.
pub(super) fn make(dir: &Path, layout: Layout) -> Result<(), Failure> {
    let seats: Vec<Seat> = (1..=layout.nodes)
        .map(|node| Seat {
            node: NodeId(node.into()),
            data: Layout::data(dir, node),
            address: format!("127.0.0.1:{}", layout.peer_port(node)),
        })
        .collect();
    // A first start that was cut short is not taken for a cluster.
    let occupied = seats.iter().find(|seat| seat.data.exists());
    if let Some(seat) = occupied {
        return Err(format!(
            "{} is there, but no {LAYOUT_NAME} beside it: not a folder of `raft-kv local`, or its \
             first start was cut short; give another --dir, or remove it if nothing in it is needed",
            seat.data.display()
        )
        .into());
    }
    raft_threaded::init(&seats)?;
    fs::write(dir.join(LAYOUT_NAME), toml::to_string(&layout)?)?;
    Ok(())
}
