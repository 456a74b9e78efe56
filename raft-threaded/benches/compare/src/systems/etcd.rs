//! Three processes of etcd, with every setting as it is by default.

use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use super::{ANSWER_PATIENCE, NODES, Scene, eventually, free_port};
use crate::Failure;
use crate::stage::{Process, Stage};

/// A cluster of processes on data folders of its own.
#[derive(Debug)]
pub(crate) struct Cluster {
    stage: Stage,
    nodes: Vec<Node>,
    /// After the processes, which write into it.
    folder: tempfile::TempDir,
}

#[derive(Debug)]
struct Node {
    name: String,
    peers: u16,
    clients: u16,
    process: Option<Process>,
}

impl Cluster {
    /// Starts all of them, and waits until one leads and all others know it.
    ///
    /// # Errors
    ///
    /// A process ends, or nobody leads for a long time.
    pub(crate) fn start(scene: &Scene) -> Result<Self, Failure> {
        let nodes = (1..=NODES).map(|id| Node {
            name: format!("node-{id}"),
            peers: free_port(),
            clients: free_port(),
            process: None,
        });
        let mut cluster = Self {
            stage: scene.stage.clone(),
            nodes: nodes.collect(),
            folder: scene.fresh_folder("etcd-")?,
        };
        for node in 0..NODES {
            cluster.start_node(node)?;
        }
        cluster.settle()?;
        Ok(cluster)
    }

    /// Starts one of them, which does not run.
    ///
    /// # Errors
    ///
    /// It cannot be started.
    pub(crate) fn start_node(&mut self, node: usize) -> Result<(), Failure> {
        let places = self.nodes.iter().map(|node| {
            let Node { name, peers, .. } = node;
            format!("{name}=http://127.0.0.1:{peers}")
        });
        let places: Vec<String> = places.collect();
        let Node {
            name,
            peers,
            clients,
            ..
        } = &self.nodes[node];
        let data = self.folder.path().join(name);
        let (peers, clients) = (
            format!("http://127.0.0.1:{peers}"),
            format!("http://127.0.0.1:{clients}"),
        );
        let mut serve = Command::new("etcd");
        serve
            .args(["--log-level", "error", "--name", name, "--data-dir"])
            .arg(&data)
            .args(["--listen-peer-urls", &peers])
            .args(["--initial-advertise-peer-urls", &peers])
            .args(["--listen-client-urls", &clients])
            .args(["--advertise-client-urls", &clients])
            .args(["--initial-cluster", &places.join(",")]);
        let log = data.with_extension("log");
        let process = self.stage.start(&mut serve, log)?;
        self.nodes[node].process = Some(process);
        Ok(())
    }

    /// Waits until every node runs and has what the leader has; returns which one leads.
    ///
    /// # Errors
    ///
    /// A process ends, or that takes a long time.
    pub(crate) fn settle(&mut self) -> Result<usize, Failure> {
        let stage = self.stage.clone();
        eventually(&stage, "a leader that all of etcd's nodes know", || {
            for node in &mut self.nodes {
                node.process.as_mut().map_or(Ok(()), Process::check)?;
            }
            let found: Option<Vec<Value>> = self.nodes.iter().map(Node::status).collect();
            Ok(found.and_then(|found| settled(&found)))
        })
    }

    pub(crate) fn port(&self, node: usize) -> u16 {
        self.nodes[node].clients
    }

    pub(crate) fn ports(&self) -> Vec<u16> {
        self.nodes.iter().map(|node| node.clients).collect()
    }

    /// SIGKILL; nothing of the process is left when this returns.
    pub(crate) fn kill(&mut self, node: usize) {
        self.nodes[node].process = None;
    }
}

impl Node {
    /// What it says of itself, if it does.
    fn status(&self) -> Option<Value> {
        let client = Client::new(self.clients, ANSWER_PATIENCE);
        client.call("maintenance/status", &json!({})).ok()
    }
}

/// Who leads, if all have the same leader, and what it has.
fn settled(found: &[Value]) -> Option<usize> {
    let leader = &found.first()?["leader"];
    let known = leader.as_str().is_some_and(|leader| leader != "0");
    let same = |status: &Value| {
        let names = ["leader", "raftTerm", "raftIndex"];
        names.iter().all(|name| status[*name] == found[0][*name])
    };
    let place = found
        .iter()
        .position(|status| status["header"]["member_id"] == *leader);
    place.filter(|_| known && found.iter().all(same))
}

/// Asks one node, which answers JSON.
#[derive(Debug)]
pub(crate) struct Client {
    agent: ureq::Agent,
    port: u16,
}

impl Client {
    pub(crate) fn new(port: u16, patience: Duration) -> Self {
        let agent = ureq::Agent::config_builder()
            .timeout_global(Some(patience))
            .build();
        Self {
            agent: agent.into(),
            port,
        }
    }

    /// # Errors
    ///
    /// Nobody answers in time, or the answer is an error.
    pub(crate) fn call(&self, what: &str, with: &Value) -> Result<Value, ureq::Error> {
        let url = format!("http://127.0.0.1:{}/v3/{what}", self.port);
        self.agent.post(url).send_json(with)?.body_mut().read_json()
    }
}
