//! Nodes of tikv's `raft` in one thread, driven as `cluster/mod.rs` drives ours: what they send is moved, not
//! encoded, and the disk and the state machine take no time.
//!
//! Where there is a choice, it is the one that costs that core less: a command's bytes are shared and not copied
//! into the proposal, and a node is only asked whether it has something to do after it was handed something.

use std::collections::VecDeque;
use std::hint::black_box;

use raft::eraftpb::{ConfState, Entry, Message, MessageType};
use raft::storage::MemStorage;
use raft::{Config, RawNode, StateRole};
use raft_core::Bytes;
use slog::{Discard, Logger, o};

/// How many applied entries a node's log keeps before it is compacted.
const COMPACT_EVERY: u64 = 8_192;

/// What of that core's options is varied.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mode {
    /// Whether proposals join an append that was not sent yet, as they do in our core.
    pub(crate) batch_append: bool,
    /// Whether followers hear of a commit with the next append, as they do in our core, or at once.
    pub(crate) skip_bcast_commit: bool,
}

impl Mode {
    fn config(self, node: u64) -> Config {
        Config {
            // No election but the one that is asked for, however many ticks are counted.
            election_tick: 1 << 30,
            max_size_per_msg: 1 << 20,
            max_inflight_msgs: 256,
            batch_append: self.batch_append,
            skip_bcast_commit: self.skip_bcast_commit,
            ..Config::new(node)
        }
    }
}

/// One of so many nodes, all of them voters, with an empty log.
pub(crate) fn node(mode: Mode, id: u64, nodes: u64) -> RawNode<MemStorage> {
    let voters = ConfState::from(((1..=nodes).collect::<Vec<_>>(), Vec::new()));
    let storage = MemStorage::new_with_conf_state(voters);
    let logger = Logger::root(Discard, o!());
    RawNode::new(&mode.config(id), storage, &logger).expect("a new node")
}

/// A cluster whose first node leads, and a load of commands of one size.
pub(crate) struct Cluster {
    pub(crate) nodes: Vec<RawNode<MemStorage>>,
    /// Whether a node was handed something since it was asked for its `Ready`.
    handed: Vec<bool>,
    applied: Vec<u64>,
    compacted: Vec<u64>,
    queue: VecDeque<Message>,
    payload: Bytes,
}

impl Cluster {
    /// So many nodes, and commands of so many bytes.
    pub(crate) fn new(mode: Mode, nodes: u64, bytes: usize) -> Self {
        let mut cluster = Self {
            nodes: (1..=nodes).map(|id| node(mode, id, nodes)).collect(),
            handed: (1..=nodes).map(|_| false).collect(),
            applied: (1..=nodes).map(|_| 0).collect(),
            compacted: (1..=nodes).map(|_| 0).collect(),
            queue: VecDeque::new(),
            payload: Bytes::from(vec![7; bytes]),
        };
        cluster.nodes[0].campaign().expect("a voter may campaign");
        cluster.handed[0] = true;
        cluster.settle();
        assert_eq!(cluster.nodes[0].raft.state, StateRole::Leader);
        cluster
    }

    fn step(&mut self, node: usize, message: Message) {
        self.handed[node] = true;
        self.nodes[node].step(message).expect("a message of a peer");
    }

    fn apply(&mut self, node: usize, entries: Vec<Entry>) {
        if let Some(last) = entries.last() {
            self.applied[node] = last.index;
        }
        black_box(entries);
    }

    fn drain(&mut self, node: usize) {
        let raw = &mut self.nodes[node];
        if !raw.has_ready() {
            self.handed[node] = false;
            return;
        }
        let mut ready = raw.ready();
        self.queue.extend(ready.take_messages());
        let committed = ready.take_committed_entries();
        let storage = raw.store().clone();
        {
            let mut disk = storage.wl();
            disk.append(ready.entries()).expect("entries in order");
            if let Some(state) = ready.hs() {
                disk.set_hardstate(state.clone());
            }
        }
        self.queue.extend(ready.take_persisted_messages());
        let mut light = raw.advance(ready);
        if let Some(commit) = light.commit_index() {
            storage.wl().mut_hard_state().set_commit(commit);
        }
        self.queue.extend(light.take_messages());
        raw.advance_apply();
        self.apply(node, committed);
        self.apply(node, light.take_committed_entries());
    }

    fn settle(&mut self) {
        loop {
            while let Some(node) = self.handed.iter().position(|handed| *handed) {
                self.drain(node);
            }
            if self.queue.is_empty() {
                return;
            }
            while let Some(message) = self.queue.pop_front() {
                let to = usize::try_from(message.to - 1).expect("a few nodes");
                self.step(to, message);
            }
        }
    }

    fn compact(&mut self) {
        for (node, raw) in self.nodes.iter().enumerate() {
            let applied = self.applied[node];
            if applied - self.compacted[node] >= COMPACT_EVERY {
                self.compacted[node] = applied;
                let compacted = raw.store().wl().compact(applied);
                compacted.expect("what is applied is in the log");
            }
        }
    }

    /// Proposes so many commands at the leader, and lets everything happen until nothing more does.
    pub(crate) fn round(&mut self, proposals: u64) {
        let before = self.applied[0];
        for _ in 0..proposals {
            let entry = Entry {
                data: self.payload.clone(),
                ..Entry::default()
            };
            let mut message = Message {
                from: 1,
                entries: vec![entry].into(),
                ..Message::default()
            };
            message.set_msg_type(MessageType::MsgPropose);
            self.step(0, message);
        }
        self.settle();
        assert_eq!(
            self.applied[0],
            before + proposals,
            "the leader applied all of the round's commands"
        );
        self.compact();
    }
}
