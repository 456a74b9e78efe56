//! Three processes of raft-kv, with every setting as it is by default where nothing else is asked for.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use super::{ANSWER_PATIENCE, NODES, START_PATIENCE, Scene, eventually, free_port, within};
use crate::Failure;
use crate::resp::Client;
use crate::stage::{Process, Stage};

const INIT_PATIENCE: Duration = Duration::from_secs(60);

/// A cluster of processes on data folders of its own.
#[derive(Debug)]
pub(crate) struct Cluster {
    stage: Stage,
    raft_kv: PathBuf,
    /// Settings that are not as they are by default.
    settings: &'static [&'static str],
    /// After the processes, which write into it.
    nodes: Vec<Node>,
    folder: tempfile::TempDir,
}

#[derive(Debug)]
struct Node {
    id: usize,
    peers: u16,
    clients: u16,
    process: Option<Process>,
}

impl Cluster {
    /// Starts all of them, and waits until one leads and all others follow it.
    ///
    /// # Errors
    ///
    /// A process ends, or nobody leads for a long time.
    pub(crate) fn start(scene: &Scene) -> Result<Self, Failure> {
        Self::start_with(scene, &[])
    }

    /// The same, with such flags of `raft-kv serve`.
    ///
    /// # Errors
    ///
    /// A process ends, or nobody leads for a long time.
    pub(crate) fn start_with(
        scene: &Scene,
        settings: &'static [&'static str],
    ) -> Result<Self, Failure> {
        let nodes = (1..=NODES).map(|id| Node {
            id,
            peers: free_port(),
            clients: free_port(),
            process: None,
        });
        let mut cluster = Self {
            stage: scene.stage.clone(),
            raft_kv: scene.raft_kv.clone(),
            settings,
            nodes: nodes.collect(),
            folder: scene.fresh_folder("ours-")?,
        };
        let seats = cluster.nodes.iter().map(Node::seat);
        let mut init = Command::new(&cluster.raft_kv);
        init.arg("init").arg("--dir").arg(cluster.folder.path());
        init.args(seats);
        let log = cluster.folder.path().join("init.log");
        cluster.stage.output(&mut init, log, INIT_PATIENCE)?;
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
        let Node {
            id, peers, clients, ..
        } = self.nodes[node];
        let data = self.data(node);
        let mut serve = Command::new(&self.raft_kv);
        serve
            .args(["serve", "--log=warn", "--stop-with-stdin"])
            .args(self.settings)
            .arg(format!("--id={id}"))
            .arg(format!("--data={}", data.display()))
            .arg(format!("--peer-addr=127.0.0.1:{peers}"))
            .arg(format!("--client-addr=127.0.0.1:{clients}"));
        let process = self.stage.start(&mut serve, data.with_extension("log"))?;
        self.nodes[node].process = Some(process);
        Ok(())
    }

    /// Waits until every node runs and has applied what the leader has; returns which one leads.
    ///
    /// # Errors
    ///
    /// A process ends, or that takes a long time.
    pub(crate) fn settle(&mut self) -> Result<usize, Failure> {
        self.settle_within(START_PATIENCE)
    }

    /// The same, for so long at most.
    ///
    /// # Errors
    ///
    /// A process ends, or that takes longer.
    pub(crate) fn settle_within(&mut self, patience: Duration) -> Result<usize, Failure> {
        let stage = self.stage.clone();
        within(&stage, patience, "a leader that all others follow", || {
            self.check()?;
            let found: Option<Vec<Value>> = self.nodes.iter().map(Node::status).collect();
            Ok(found.and_then(|found| settled(&found)))
        })
    }

    /// # Errors
    ///
    /// A process has ended.
    pub(crate) fn check(&mut self) -> Result<(), Failure> {
        for node in &mut self.nodes {
            node.process.as_mut().map_or(Ok(()), Process::check)?;
        }
        Ok(())
    }

    /// Waits until somebody leads, whoever follows; returns which one.
    ///
    /// # Errors
    ///
    /// A process ends, or nobody leads for a long time.
    pub(crate) fn leader(&mut self) -> Result<usize, Failure> {
        let stage = self.stage.clone();
        eventually(&stage, "a leader", || {
            self.check()?;
            let leads = |node: &Node| {
                node.status()
                    .is_some_and(|status| status["role"] == "leader")
            };
            Ok(self.nodes.iter().position(leads))
        })
    }

    /// What a node says of itself, if it does.
    pub(crate) fn status(&self, node: usize) -> Option<Value> {
        self.nodes[node].status()
    }

    /// Where a node keeps its data.
    pub(crate) fn data(&self, node: usize) -> PathBuf {
        let id = self.nodes[node].id;
        self.folder.path().join(format!("node-{id}"))
    }

    /// The node's id, and where its peers reach it, as `raft-kv init` and `raft-kv attach` want it.
    pub(crate) fn seat(&self, node: usize) -> String {
        self.nodes[node].seat()
    }

    pub(crate) fn port(&self, node: usize) -> u16 {
        self.nodes[node].clients
    }

    pub(crate) fn ports(&self) -> Vec<u16> {
        self.nodes.iter().map(|node| node.clients).collect()
    }

    pub(crate) fn process(&self, node: usize) -> Option<&Process> {
        self.nodes[node].process.as_ref()
    }

    /// SIGKILL; nothing of the process is left when this returns.
    pub(crate) fn kill(&mut self, node: usize) {
        self.nodes[node].process = None;
    }

    /// Lets another node lead, as an operator would.
    ///
    /// # Errors
    ///
    /// It is refused, or fails.
    pub(crate) fn transfer(&self, from: usize) -> Result<(), Failure> {
        self.order(from, "transfer", &[])
    }

    /// Gives a node an order, as an operator would, and waits until it is carried out.
    ///
    /// # Errors
    ///
    /// It is refused, or fails.
    pub(crate) fn order(&self, node: usize, verb: &str, words: &[&str]) -> Result<(), Failure> {
        let mut order = Command::new(&self.raft_kv);
        let to = format!("127.0.0.1:{}", self.port(node));
        order.args([verb, "--to", &to]).args(words);
        let log = self.folder.path().join(format!("{verb}.log"));
        self.stage.output(&mut order, log, INIT_PATIENCE)?;
        Ok(())
    }
}

impl Node {
    /// As `raft-kv init` wants it.
    fn seat(&self) -> String {
        format!("{}=127.0.0.1:{}", self.id, self.peers)
    }

    /// What it says of itself, if it does.
    fn status(&self) -> Option<Value> {
        self.process.as_ref()?;
        let mut client = Client::connect(self.clients, ANSWER_PATIENCE).ok()?;
        let status = client.call(&[b"RAFT.STATUS"]).ok()?;
        serde_json::from_str(&status).ok()
    }
}

/// Who leads, if all others follow, and have applied what it has.
fn settled(found: &[Value]) -> Option<usize> {
    let leader = found.iter().position(|status| status["role"] == "leader")?;
    let same = |name: &str| {
        let mut values = found.iter().map(|status| &status[name]);
        values.all(|value| *value == found[leader][name])
    };
    let all = ["term", "leader", "applied_index"].into_iter().all(same);
    all.then_some(leader)
}
