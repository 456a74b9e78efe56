//! Several processes of `raft-kv` that are a cluster.

use std::thread;

use raft_core::NodeId;
use raft_threaded::Seat;
use tempfile::TempDir;

use super::eventually;
use super::node::Node;

/// A cluster of real processes on data folders of its own.
#[derive(Debug)]
pub struct Cluster {
    pub folder: TempDir,
    pub nodes: Vec<Node>,
}

impl Cluster {
    pub fn new(nodes: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let nodes: Vec<Node> = (1..=nodes).map(|id| Node::new(folder.path(), id)).collect();
        let seats: Vec<Seat> = nodes.iter().map(seat).collect();
        raft_threaded::init(&seats).unwrap();
        Self { folder, nodes }
    }

    /// A new cluster with every node running and one of them leading.
    pub fn started(nodes: u64) -> Self {
        let mut cluster = Self::new(nodes);
        cluster.start_all();
        cluster
    }

    pub fn start_all(&mut self) {
        for node in &mut self.nodes {
            node.start();
        }
        self.wait_for_leader();
    }

    /// Starts another node on an empty folder, which waits to be attached.
    pub fn add_joiner(&mut self) -> usize {
        let id = self.nodes.iter().map(|node| node.id).max().unwrap_or(0) + 1;
        self.join(Node::new(self.folder.path(), id))
    }

    /// Starts a node that waits to be attached in the place of another one, under its id.
    pub fn add_replacement(&mut self, of: usize) -> usize {
        let folder = self.folder.path().join("replacements");
        std::fs::create_dir_all(&folder).unwrap();
        self.join(Node::new(&folder, self.nodes[of].id))
    }

    fn join(&mut self, mut node: Node) -> usize {
        node.start();
        eventually("the joiner to answer", || node.status("id"));
        self.nodes.push(node);
        self.nodes.len() - 1
    }

    pub fn leader(&self) -> Option<usize> {
        let running = self
            .nodes
            .iter()
            .enumerate()
            .filter(|(_, n)| n.is_started());
        let mut leading = running.filter_map(|(place, node)| {
            let leads = node.status("role")? == "leader";
            let term: u64 = node.status("term")?.parse().ok()?;
            leads.then_some((term, place))
        });
        let first = leading.next()?;
        Some(leading.fold(first, std::cmp::max).1)
    }

    pub fn wait_for_leader(&self) -> usize {
        eventually("a leader", || self.leader())
    }
}

impl Drop for Cluster {
    /// What the nodes had to say is gone with their folder.
    fn drop(&mut self) {
        if thread::panicking() {
            for node in &self.nodes {
                eprintln!("node {}:\n{}", node.id, node.log());
            }
        }
    }
}

fn seat(node: &Node) -> Seat {
    Seat {
        node: NodeId(node.id),
        data: node.data.clone(),
        address: format!("127.0.0.1:{}", node.peer),
    }
}
