//! One process of `raft-kv`.

use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use super::client::{Client, Value};
use super::{free_port, raft_kv};

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
    pub fn new(folder: &Path, id: u64) -> Self {
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

    /// SIGSTOP: the system goes on taking what is sent to it.
    pub fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// SIGCONT, after `pause`.
    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        let id = self.child.as_ref().expect("it runs").id();
        let process = Pid::from_raw(i32::try_from(id).unwrap()).unwrap();
        kill_process(process, signal).unwrap();
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
