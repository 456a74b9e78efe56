//! `raft-kv local`: a whole cluster on this machine, of real processes.

mod layout;

use std::fs::File;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use self::layout::{Layout, NODES_MAX, PORT_MAX, agree, make, read_layout, wanted};
use super::failure::Failure;
use super::resp_client::ask_status;
use super::values::{self, counted};

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

/// A node that dies sooner than after so many looks is not started again at once.
const LOOKS_BETWEEN_STARTS: u32 = 10;
/// How often the nodes are looked at.
const LOOK: Duration = Duration::from_millis(200);
/// How long a node may take to stop before it is killed.
const STOP_LOOKS: u32 = 50;

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let dir = &arguments.dir;
    let found = read_layout(dir)?;
    let layout = match found {
        Some(layout) => agree(arguments, layout)?,
        None => wanted(arguments)?,
    };
    // A folder keeps its ports, so that it is not made for some that cannot be used.
    check_ports(layout)?;
    if found.is_none() {
        make(dir, layout)?;
    }
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
            "{}, data and logs in {}",
            counted(self.nodes.len(), "node"),
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
