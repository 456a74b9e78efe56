//! Real processes of `raft-kv`, and a small client to talk to them.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test file uses its own part of this"
)]

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use raft_core::NodeId;
use raft_threaded::Seat;
use tempfile::TempDir;

/// How long anything may take before a test gives up; nothing is decided by it.
const PATIENCE: Duration = Duration::from_secs(60);

/// Asks again and again until there is an answer.
pub fn eventually<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    #[expect(
        clippy::disallowed_methods,
        reason = "only to give up, never to decide"
    )]
    let start = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(start.elapsed() < PATIENCE, "never came: {what}");
        thread::park_timeout(Duration::from_millis(5));
    }
}

/// The program under test.
pub fn raft_kv() -> Command {
    Command::new(env!("CARGO_BIN_EXE_raft-kv"))
}

/// What a run of the program printed, and how it ended.
pub struct Ran {
    pub success: bool,
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

pub fn run(arguments: &[&str]) -> Ran {
    let output = raft_kv().args(arguments).output().unwrap();
    Ran {
        success: output.status.success(),
        code: output.status.code(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Orders something, again for as long as the answer is that it is not the time for it.
pub fn order(arguments: &[&str]) -> Ran {
    eventually("an order to be taken", || {
        let ran = run(arguments);
        let later = ["BUSY ", "CLUSTERDOWN ", "NOTLEADER "];
        let later = later.iter().any(|kind| ran.err.contains(kind));
        (!later).then_some(ran)
    })
}

/// An order that is carried out; returns what was said.
pub fn done(arguments: &[&str]) -> String {
    let ran = order(arguments);
    assert!(ran.success, "{arguments:?}: {}{}", ran.out, ran.err);
    ran.out
}

/// What an order that changes nothing says.
pub fn refused(arguments: &[&str]) -> String {
    let ran = order(arguments);
    assert_eq!(ran.code, Some(1), "{arguments:?}: {}{}", ran.out, ran.err);
    ran.err
}

/// A port that was free a moment ago, and lies below those that the system gives to connections, one of
/// which could take it while its node is down.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let own = u16::try_from(std::process::id() % 1_000).unwrap() * 20;
    let free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
    let next = || 10_000 + (own + NEXT.fetch_add(1, Ordering::Relaxed)) % 22_000;
    std::iter::repeat_with(next).find(free).unwrap()
}

/// One node, running or not.
#[derive(Debug)]
pub struct Node {
    pub id: u64,
    pub data: PathBuf,
    pub peer: u16,
    pub client: u16,
    /// More flags for `serve`.
    pub flags: Vec<String>,
    child: Option<Child>,
}

impl Node {
    fn new(folder: &Path, id: u64) -> Self {
        Self {
            id,
            data: folder.join(format!("node-{id}")),
            peer: free_port(),
            client: free_port(),
            flags: Vec::new(),
            child: None,
        }
    }

    /// Where its peers look for it, as `attach` wants it.
    pub fn place(&self) -> String {
        format!("{}=127.0.0.1:{}", self.id, self.peer)
    }

    /// Its client address, as every verb wants it.
    pub fn to(&self) -> String {
        format!("127.0.0.1:{}", self.client)
    }

    /// With `--join`, so that one without a folder makes it and waits.
    pub fn start(&mut self) {
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.data.with_extension("log"))
            .unwrap();
        let child = raft_kv()
            .args(["serve", "--join", "--log=info", "--stop-with-stdin"])
            .arg(format!("--id={}", self.id))
            .arg(format!("--data={}", self.data.display()))
            .arg(format!("--peer-addr=127.0.0.1:{}", self.peer))
            .arg(format!("--client-addr=127.0.0.1:{}", self.client))
            .args(&self.flags)
            .stdin(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        self.child = Some(child);
    }

    /// What it logged so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.data.with_extension("log")).unwrap_or_default()
    }

    /// SIGKILL, and nothing of the process is left when this returns.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Stops it in order: the end of its standard input is its sign.
    pub fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            drop(child.stdin.take());
            assert!(child.wait().unwrap().success());
        }
    }

    pub fn is_started(&self) -> bool {
        self.child.is_some()
    }

    /// A field of its status, as text; `None` while it does not answer.
    pub fn status(&self, field: &str) -> Option<String> {
        let Value::Bulk(Some(json)) = Client::connect(self.client)
            .ok()?
            .call(&["RAFT.STATUS"])
            .ok()?
        else {
            return None;
        };
        let status: serde_json::Value = serde_json::from_slice(&json).unwrap();
        Some(status[field].to_string().replace('"', ""))
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
    }
}

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
        let mut node = Node::new(self.folder.path(), id);
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

/// Asks a node again until there is an answer that counts.
pub fn ask<T>(
    cluster: &Cluster,
    node: usize,
    words: &[&str],
    take: impl Fn(Value) -> Option<T>,
) -> T {
    let port = cluster.nodes[node].client;
    eventually("an answer", || {
        take(Client::connect(port).ok()?.call(words).ok()?)
    })
}

/// Lets a node lead, by way of another one.
pub fn let_lead(cluster: &Cluster, by: usize, node: usize) {
    let id = cluster.nodes[node].id.to_string();
    done(&["transfer", "--to", &cluster.nodes[by].to(), "--node", &id]);
    eventually("the node to lead", || {
        (cluster.leader() == Some(node)).then_some(())
    });
}

pub fn set(cluster: &Cluster, node: usize, key: &str) {
    let words = ["SET", key, key];
    ask(cluster, node, &words, |reply| {
        (reply == Value::ok()).then_some(())
    });
}

/// The value, as this node answers it linearizably.
pub fn check(cluster: &Cluster, node: usize, key: &str) {
    let found = ask(cluster, node, &["GET", key], |reply| match reply {
        Value::Bulk(found) => Some(found),
        Value::Simple(_) | Value::Error(_) | Value::Integer(_) | Value::Array(_) => None,
    });
    let expected = Some(key.as_bytes().to_vec());
    assert_eq!(found, expected, "{key} at node {}", node + 1);
}

fn seat(node: &Node) -> Seat {
    Seat {
        node: NodeId(node.id),
        data: node.data.clone(),
        address: format!("127.0.0.1:{}", node.peer),
    }
}

/// The newest segment of a data folder.
pub fn newest_segment(data: &Path) -> PathBuf {
    let files = std::fs::read_dir(data)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    files
        .filter(|path| path.extension().is_some_and(|e| e == "wal"))
        .max()
        .unwrap()
}

/// A reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    Simple(String),
    Error(String),
    Integer(i64),
    Bulk(Option<Vec<u8>>),
    Array(Vec<Self>),
}

impl Value {
    pub fn bulk(text: &str) -> Self {
        Self::Bulk(Some(text.as_bytes().to_vec()))
    }

    pub fn ok() -> Self {
        Self::Simple("OK".to_string())
    }

    /// Whether the answer is to send the same again: a write that may have taken effect only in a session, or
    /// if that does no harm.
    pub fn says_again(&self) -> bool {
        let kinds = ["BUSY ", "CLUSTERDOWN ", "NOTLEADER ", "UNKNOWN "];
        matches!(self, Self::Error(error) if kinds.iter().any(|kind| error.starts_with(kind)))
    }
}

/// A connection to one node.
#[derive(Debug)]
pub struct Client {
    stream: BufReader<TcpStream>,
}

impl Client {
    pub fn connect(port: u16) -> io::Result<Self> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream: BufReader::new(stream),
        })
    }

    pub fn call<A: AsRef<[u8]>>(&mut self, words: &[A]) -> io::Result<Value> {
        self.send(&request(words))?;
        self.receive()
    }

    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.get_mut().write_all(bytes)
    }

    /// Ends this side of the connection: nothing more is sent.
    pub fn end(&self) -> io::Result<()> {
        self.stream.get_ref().shutdown(Shutdown::Write)
    }

    /// One line of what is received.
    pub fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        Ok(line.trim_end().to_string())
    }

    pub fn receive(&mut self) -> io::Result<Value> {
        let mut line = String::new();
        if self.stream.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let (sign, text) = line.trim_end().split_at(1);
        let number = || text.parse::<i64>().unwrap();
        Ok(match sign {
            "+" => Value::Simple(text.to_string()),
            "-" => Value::Error(text.to_string()),
            ":" => Value::Integer(number()),
            "_" => Value::Bulk(None),
            "$" if number() < 0 => Value::Bulk(None),
            "$" => {
                let mut bytes = vec![0; usize::try_from(number()).unwrap() + 2];
                self.stream.read_exact(&mut bytes)?;
                bytes.truncate(bytes.len() - 2);
                Value::Bulk(Some(bytes))
            }
            "*" | "%" => {
                let each = if sign == "%" { 2 } else { 1 };
                let values = (0..number() * each).map(|_| self.receive());
                Value::Array(values.collect::<io::Result<_>>()?)
            }
            _ => panic!("not a reply: {line:?}"),
        })
    }
}

/// A request's bytes.
pub fn request<A: AsRef<[u8]>>(words: &[A]) -> Vec<u8> {
    let mut out = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        let word = word.as_ref();
        out.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        out.extend_from_slice(word);
        out.extend_from_slice(b"\r\n");
    }
    out
}
