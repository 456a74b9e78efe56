//! `raft-kv local`: a whole cluster on this machine, of real processes.

use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError};
use raft_core::NodeId;
use raft_threaded::Seat;
use serde::{Deserialize, Serialize};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::Failure;
use super::resp_client::ask_status;
use super::values;

/// What `local` needs to know.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Each node is a process of its own, whose output is in a file beside its folder. What each says of itself, and who
leads, is printed as it changes. Ctrl-C stops all of them; the same command starts them again with all their data,
and as many as they were: what is given when --dir is made is kept there.

Examples:
  raft-kv local
  raft-kv local --nodes 5 --restart --dir /tmp/five --base-port 7200
  raft-kv local --spare 2")]
pub(super) struct Arguments {
    /// How many nodes, 1 to 9; kept in --dir [default: 3].
    #[arg(long, value_name = "N", value_parser = values::number(1..=NODES_MAX))]
    nodes: Option<u16>,
    /// Where the nodes keep their data; made if it is not there.
    #[arg(long, value_name = "DIR", default_value = "raft-kv-data")]
    dir: PathBuf,
    /// Node i serves clients on port P+i and its peers on P+100+i; kept in --dir [default: 7000].
    #[arg(long, value_name = "P", value_parser = values::number(1..=PORT_MAX))]
    base_port: Option<u16>,
    /// How many nodes more, which belong to no cluster and wait to be attached; with --nodes at most 9; kept in
    /// --dir [default: 0].
    #[arg(long, value_name = "N", value_parser = values::number(0..=NODES_MAX - 1))]
    spare: Option<u16>,
    /// Start nodes again that die.
    #[arg(long)]
    restart: bool,
}

/// What a folder remembers, because the log does: addresses are part of the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Layout {
    nodes: u16,
    #[serde(default)]
    spares: u16,
    base_port: u16,
}

/// Nodes of both kinds: each has a port of one digit above the base.
const NODES_MAX: u16 = 9;
/// Leaves room for the ports above it.
const PORT_MAX: u16 = 65_000;
/// A node that dies sooner than after so many looks is not started again at once.
const LOOKS_BETWEEN_STARTS: u32 = 10;
const LAYOUT_NAME: &str = "local.toml";
/// How often the nodes are looked at.
const LOOK: Duration = Duration::from_millis(200);
/// How long a node may take to stop before it is killed.
const STOP_LOOKS: u32 = 50;

impl Layout {
    /// Nodes of the first configuration, and those that were not.
    const fn all(self) -> u16 {
        self.nodes + self.spares
    }

    fn is_right(self) -> bool {
        self.nodes >= 1 && self.all() <= NODES_MAX && self.base_port <= PORT_MAX
    }

    const fn client_port(self, node: u16) -> u16 {
        self.base_port + node
    }

    const fn peer_port(self, node: u16) -> u16 {
        self.base_port + 100 + node
    }

    fn data(dir: &Path, node: u16) -> PathBuf {
        dir.join(format!("node-{node}"))
    }
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let dir = &arguments.dir;
    let layout = match read_layout(dir)? {
        Some(layout) => agree(arguments, layout)?,
        None => make(arguments)?,
    };
    check_ports(layout)?;
    // From here on a signal is a wish, not an end.
    let signals = listen_for_signals()?;
    let mut cluster = Cluster {
        dir: dir.clone(),
        layout,
        restart: arguments.restart,
        nodes: Vec::new(),
        leader: None,
    };
    for node in 1..=layout.all() {
        let child = cluster.start(node)?;
        cluster.nodes.push(Node {
            id: node,
            child: Some(child),
            looks: 0,
        });
    }
    cluster.introduce();
    let ended = cluster.watch(&signals);
    cluster.stop();
    ended
}

fn read_layout(dir: &Path) -> Result<Option<Layout>, Failure> {
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
fn agree(arguments: &Arguments, layout: Layout) -> Result<Layout, Failure> {
    let dir = arguments.dir.display();
    if arguments.nodes.is_some_and(|nodes| nodes != layout.nodes) {
        return Err(format!(
            "{dir} holds a cluster of {} nodes; leave out --nodes, or give another --dir",
            layout.nodes
        )
        .into());
    }
    if arguments.spare.is_some_and(|spare| spare != layout.spares) {
        return Err(format!(
            "{dir} holds a cluster with {} spare nodes; leave out --spare, or give another --dir",
            layout.spares
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

/// Makes the folders of a new cluster.
fn make(arguments: &Arguments) -> Result<Layout, Failure> {
    let dir = &arguments.dir;
    let layout = Layout {
        nodes: arguments.nodes.unwrap_or(3),
        spares: arguments.spare.unwrap_or(0),
        base_port: arguments.base_port.unwrap_or(7000),
    };
    if !layout.is_right() {
        return Err(format!("at most {NODES_MAX} nodes, spare ones included").into());
    }
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
    Ok(layout)
}

fn check_ports(layout: Layout) -> Result<(), Failure> {
    for node in 1..=layout.all() {
        for port in [layout.client_port(node), layout.peer_port(node)] {
            if let Err(error) = TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
                return Err(format!(
                    "port {port} of node {node} cannot be used: {error}; stop what listens there, or \
                     give another --base-port with a --dir of its own"
                )
                .into());
            }
        }
    }
    Ok(())
}

fn listen_for_signals() -> Result<Receiver<i32>, Failure> {
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    let (sender, receiver) = crossbeam_channel::bounded(4);
    std::thread::Builder::new()
        .name("signals".to_string())
        .spawn(move || {
            for signal in signals.forever() {
                if sender.send(signal).is_err() {
                    break;
                }
            }
        })?;
    Ok(receiver)
}

struct Cluster {
    dir: PathBuf,
    layout: Layout,
    restart: bool,
    nodes: Vec<Node>,
    /// Who leads, and in which term, as shown last.
    leader: Option<(u64, u64)>,
}

struct Node {
    id: u16,
    child: Option<Child>,
    /// Looks since it was started, or since it ended.
    looks: u32,
}

impl Cluster {
    /// The words that start one node, also for people to type.
    fn words(&self, node: u16) -> Vec<String> {
        // A spare node's folder is made when it starts first.
        let join = (node > self.layout.nodes).then(|| "--join".to_string());
        let words = [
            format!("--id={node}"),
            format!("--data={}", Layout::data(&self.dir, node).display()),
            format!("--peer-addr=127.0.0.1:{}", self.layout.peer_port(node)),
            format!("--client-addr=127.0.0.1:{}", self.layout.client_port(node)),
        ];
        let serve = core::iter::once("serve".to_string());
        serve.chain(join).chain(words).collect()
    }

    fn log(&self, node: u16) -> PathBuf {
        self.dir.join(format!("node-{node}.log"))
    }

    fn start(&self, node: u16) -> Result<Child, Failure> {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.log(node))?;
        let child = Command::new(std::env::current_exe()?)
            .args(self.words(node))
            .arg("--stop-with-stdin")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(log)
            // Ctrl-C is for this process, which then stops them in order.
            .process_group(0)
            .spawn()?;
        Ok(child)
    }

    fn introduce(&self) {
        println!(
            "{} nodes, data and logs in {}",
            self.nodes.len(),
            self.dir.display()
        );
        for node in &self.nodes {
            let process = node.child.as_ref().map_or(0, Child::id);
            let port = self.layout.client_port(node.id);
            println!("  node {}  127.0.0.1:{port}  process {process}", node.id);
        }
        let first = self.layout.client_port(1);
        let last = self.layout.client_port(self.layout.nodes);
        for spare in self.layout.nodes + 1..=self.layout.all() {
            println!(
                "Node {spare} belongs to no cluster until you attach it:\n  raft-kv attach --to 127.0.0.1:{} \
                 {spare}=127.0.0.1:{}",
                first,
                self.layout.peer_port(spare)
            );
        }
        println!("Try, in another terminal:");
        println!("  redis-cli -p {first} set greeting hello");
        println!("  redis-cli -p {last} get greeting");
        println!("Kill the leader with kill -9 and go on writing. Ctrl-C stops everything.");
    }

    /// Shows what changes, until a signal comes or nobody is left.
    fn watch(&mut self, signals: &Receiver<i32>) -> Result<(), Failure> {
        loop {
            match signals.recv_timeout(LOOK) {
                Ok(_) => {
                    println!("Stopping.");
                    return Ok(());
                }
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
                Err(RecvTimeoutError::Timeout) => {}
            }
            self.look_after_processes()?;
            if !self.restart && self.nodes.iter().all(|node| node.child.is_none()) {
                return Err(format!(
                    "no node is left; the logs {}/node-*.log say why",
                    self.dir.display()
                )
                .into());
            }
            self.look_for_leader();
        }
    }

    fn look_after_processes(&mut self) -> Result<(), Failure> {
        for place in 0..self.nodes.len() {
            let id = self.nodes[place].id;
            self.nodes[place].looks += 1;
            let Some(child) = &mut self.nodes[place].child else {
                if self.restart && self.nodes[place].looks >= LOOKS_BETWEEN_STARTS {
                    let child = self.start(id)?;
                    println!("node {id} started again, process {}", child.id());
                    self.nodes[place].child = Some(child);
                }
                continue;
            };
            let Some(status) = child.try_wait()? else {
                continue;
            };
            self.nodes[place].child = None;
            self.nodes[place].looks = 0;
            println!(
                "node {id} ended: {status}; its log is {}",
                self.log(id).display()
            );
            if !self.restart {
                println!("  to start it again: raft-kv {}", self.words(id).join(" "));
            }
        }
        Ok(())
    }

    fn look_for_leader(&mut self) {
        let found = (1..=self.layout.all())
            .filter_map(|node| {
                let address = format!("127.0.0.1:{}", self.layout.client_port(node));
                let json = ask_status(&address, LOOK).ok()?;
                let status: serde_json::Value = serde_json::from_str(&json).ok()?;
                let leads = status["role"] == "leader";
                leads.then(|| (status["id"].as_u64(), status["term"].as_u64()))
            })
            .filter_map(|(id, term)| Some((term?, id?)))
            .max();
        let found = found.map(|(term, id)| (id, term));
        if found == self.leader {
            return;
        }
        match found {
            Some((id, term)) => println!("node {id} leads, term {term}"),
            None => println!("no leader"),
        }
        self.leader = found;
    }

    /// Stops every node in order, and those that do not want to by force.
    fn stop(&mut self) {
        for node in &self.nodes {
            if let Some(child) = &node.child
                && let Ok(id) = i32::try_from(child.id())
                && let Some(process) = rustix::process::Pid::from_raw(id)
            {
                let _ = rustix::process::kill_process(process, rustix::process::Signal::TERM);
            }
        }
        let (_sender, never) = crossbeam_channel::bounded::<()>(0);
        for _ in 0..STOP_LOOKS {
            let running = |node: &mut Node| {
                let child = node.child.as_mut();
                child.is_some_and(|child| matches!(child.try_wait(), Ok(None)))
            };
            if !self.nodes.iter_mut().any(running) {
                return;
            }
            let _ = never.recv_timeout(LOOK / 4);
        }
        for node in &mut self.nodes {
            if let Some(child) = &mut node.child {
                println!("node {} did not stop; killed", node.id);
                let _ = child.kill();
                let _ = child.wait();
            }
        }
    }
}
