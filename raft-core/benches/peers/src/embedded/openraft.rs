//! Three nodes of openraft in one process: the log is a map, the network calls the other node.
//!
//! Where there is a choice, it is the one that costs that library less: messages are streamed to the node they
//! are meant for, a reply goes through a oneshot channel, and no snapshot is ever taken of what is nothing.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::ops::RangeBounds;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::{Stream, StreamExt};
use openraft::alias::{LogIdOf, SnapshotMetaOf, SnapshotOf, StoredMembershipOf, VoteOf};
use openraft::base::{BoxFuture, BoxStream};
use openraft::errors::{RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::RPCOption;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, StreamAppendResult, VoteRequest,
    VoteResponse,
};
use openraft::storage::{EntryResponder, IOFlushed, RaftLogStorage, RaftStateMachine};
use openraft::{
    Config, EmptyNode, EntryPayload, LogState, OptionalSend, Raft, RaftLogReader,
    RaftNetworkFactory, RaftNetworkV2, RaftSnapshotBuilder, RaftTypeConfig, SnapshotPolicy,
};
use tokio::runtime::Runtime;

use super::{Load, Run};

/// A command of no bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Nothing;

impl fmt::Display for Nothing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("nothing")
    }
}

/// The types that it is made of: its defaults, besides replies that are one message each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Types;

impl RaftTypeConfig for Types {
    type D = Nothing;
    type R = ();
    type NodeId = u64;
    type Node = EmptyNode;
    type Term = u64;
    type LeaderId = openraft::impls::leader_id_adv::LeaderId<u64, u64>;
    type Vote = openraft::impls::Vote<Self::LeaderId>;
    type Entry = openraft::alias::DefaultEntryOf<Self>;
    type AsyncRuntime = openraft::impls::TokioRuntime;
    type Responder<T>
        = openraft::impls::OneshotResponder<Self, T>
    where
        T: OptionalSend + 'static;
    type Batch<T>
        = openraft::impls::InlineBatch<T>
    where
        T: OptionalSend + 'static;
    type ErrorSource = openraft::impls::BoxedErrorSource;
}

type Node = Raft<Types, Machine>;
type LogEntry = openraft::alias::EntryOf<Types>;

/// The log of a node, which its readers share.
#[derive(Clone, Debug, Default)]
struct Log(Arc<Mutex<Held>>);

#[derive(Debug, Default)]
struct Held {
    vote: Option<VoteOf<Types>>,
    entries: BTreeMap<u64, LogEntry>,
    purged: Option<LogIdOf<Types>>,
}

impl Log {
    fn held(&self) -> MutexGuard<'_, Held> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RaftLogReader<Types> for Log {
    async fn try_get_log_entries<R: RangeBounds<u64> + Clone + fmt::Debug + OptionalSend>(
        &mut self,
        range: R,
    ) -> io::Result<Vec<LogEntry>> {
        let held = self.held();
        Ok(held.entries.range(range).map(|(_, e)| e.clone()).collect())
    }

    async fn read_vote(&mut self) -> io::Result<Option<VoteOf<Types>>> {
        Ok(self.held().vote)
    }
}

impl RaftLogStorage<Types> for Log {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> io::Result<LogState<Types>> {
        let held = self.held();
        let last = held.entries.last_key_value().map(|(_, e)| e.log_id);
        Ok(LogState {
            last_purged_log_id: held.purged,
            last_log_id: last.or(held.purged),
        })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &VoteOf<Types>) -> io::Result<()> {
        self.held().vote = Some(*vote);
        Ok(())
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<Types>) -> io::Result<()>
    where
        I: IntoIterator<Item = LogEntry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries = entries.into_iter().map(|entry| (entry.log_id.index, entry));
        self.held().entries.extend(entries);
        callback.io_completed(Ok(()));
        Ok(())
    }

    async fn truncate_after(&mut self, last: Option<LogIdOf<Types>>) -> io::Result<()> {
        let first = last.map_or(0, |last| last.index + 1);
        self.held().entries.split_off(&first);
        Ok(())
    }

    async fn purge(&mut self, last: LogIdOf<Types>) -> io::Result<()> {
        let mut held = self.held();
        held.entries = held.entries.split_off(&(last.index + 1));
        held.purged = Some(last);
        Ok(())
    }
}

/// A state machine that has no state but how far it is.
#[derive(Clone, Debug, Default)]
pub(crate) struct Machine {
    applied: Option<LogIdOf<Types>>,
    membership: StoredMembershipOf<Types>,
}

impl RaftSnapshotBuilder<Types> for Machine {
    type SnapshotData = ();

    async fn build_snapshot(&mut self) -> io::Result<SnapshotOf<Types, ()>> {
        let meta = SnapshotMetaOf::<Types> {
            last_log_id: self.applied,
            last_membership: self.membership.clone(),
        };
        Ok(SnapshotOf::<Types, ()> { meta, snapshot: () })
    }
}

impl RaftStateMachine<Types> for Machine {
    type SnapshotData = ();
    type SnapshotBuilder = Self;

    async fn applied_state(
        &mut self,
    ) -> io::Result<(Option<LogIdOf<Types>>, StoredMembershipOf<Types>)> {
        Ok((self.applied, self.membership.clone()))
    }

    async fn apply<S>(&mut self, mut entries: S) -> io::Result<()>
    where
        S: Stream<Item = io::Result<EntryResponder<Types>>> + Unpin + OptionalSend,
    {
        while let Some(next) = entries.next().await {
            let (entry, responder) = next?;
            self.applied = Some(entry.log_id);
            match entry.payload {
                EntryPayload::Blank | EntryPayload::Normal(Nothing) => {}
                EntryPayload::Membership(membership) => {
                    self.membership = StoredMembershipOf::<Types>::new(self.applied, membership);
                }
            }
            if let Some(responder) = responder {
                responder.send(());
            }
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Self {
        self.clone()
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMetaOf<Types>, (): ()) -> io::Result<()> {
        self.applied = meta.last_log_id;
        self.membership = meta.last_membership.clone();
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<SnapshotOf<Types, ()>>> {
        // The state is nothing, so that it is its own snapshot.
        Ok(match self.applied {
            Some(_) => Some(self.build_snapshot().await?),
            None => None,
        })
    }
}

/// The nodes by their ids, as far as they have started.
type Nodes = Arc<Mutex<BTreeMap<u64, Node>>>;

#[derive(Clone)]
struct Network(Nodes);

/// The way to one node.
struct Way {
    nodes: Nodes,
    to: u64,
}

impl Way {
    fn node(&self) -> Result<Node, Unreachable<Types>> {
        let nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        let node = nodes.get(&self.to).cloned();
        node.ok_or_else(|| unreachable("it has not started"))
    }
}

fn unreachable(why: impl ToString) -> Unreachable<Types> {
    Unreachable::new(&io::Error::other(why.to_string()))
}

impl RaftNetworkFactory<Types> for Network {
    type Network = Way;

    async fn new_client(&mut self, to: u64, _node: &EmptyNode) -> Way {
        let nodes = Arc::clone(&self.0);
        Way { nodes, to }
    }
}

impl RaftNetworkV2<Types> for Way {
    type SnapshotData = ();

    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<Types>,
        _option: RPCOption,
    ) -> Result<AppendEntriesResponse<Types>, RPCError<Types>> {
        let answer = self.node()?.append_entries(request).await;
        answer.map_err(|error| unreachable(error).into())
    }

    /// Without waiting for one answer before the next request, which is what it does by default.
    fn stream_append<'s, S>(
        &'s mut self,
        requests: S,
        _option: RPCOption,
    ) -> BoxFuture<
        's,
        Result<BoxStream<'s, Result<StreamAppendResult<Types>, RPCError<Types>>>, RPCError<Types>>,
    >
    where
        S: Stream<Item = AppendEntriesRequest<Types>> + OptionalSend + Unpin + 'static,
    {
        let node = self.node();
        Box::pin(async move {
            let answers = node?.stream_append(requests);
            let answers = answers.map(|answer| answer.map_err(|error| unreachable(error).into()));
            let answers: BoxStream<'s, _> = Box::pin(answers);
            Ok(answers)
        })
    }

    async fn vote(
        &mut self,
        request: VoteRequest<Types>,
        _option: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        let answer = self.node()?.vote(request).await;
        answer.map_err(|error| unreachable(error).into())
    }

    async fn full_snapshot(
        &mut self,
        vote: VoteOf<Types>,
        snapshot: SnapshotOf<Types, ()>,
        _cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<Types>, StreamingError<Types>> {
        let node = self.node().map_err(StreamingError::Unreachable)?;
        let answer = node.install_full_snapshot(vote, snapshot).await;
        answer.map_err(|error| StreamingError::Unreachable(unreachable(error)))
    }
}

/// A cluster with a runtime of its own, of which the first node leads.
pub(crate) struct Cluster {
    nodes: Nodes,
    leader: Node,
    runtime: Runtime,
}

impl Cluster {
    /// Three nodes on so many worker threads.
    pub(crate) fn start(workers: usize) -> Self {
        let runtime = super::runtime(workers);
        let nodes = Nodes::default();
        let config = Config {
            // Long enough that a busy machine is not taken for a leader that is gone.
            heartbeat_interval: 250,
            election_timeout_min: 1_000,
            election_timeout_max: 2_000,
            max_payload_entries: 4_096,
            snapshot_policy: SnapshotPolicy::LogsSinceLast(50_000),
            ..Config::default()
        };
        let config = Arc::new(config.validate().expect("a legal configuration"));
        let leader = runtime.block_on(async {
            for id in 1..=3 {
                let (network, log) = (Network(Arc::clone(&nodes)), Log::default());
                let node = Raft::new(id, Arc::clone(&config), network, log, Machine::default());
                let node = node.await.expect("a new node");
                let mut nodes = nodes.lock().unwrap_or_else(PoisonError::into_inner);
                nodes.insert(id, node);
            }
            let leader = {
                let nodes = nodes.lock().unwrap_or_else(PoisonError::into_inner);
                nodes[&1].clone()
            };
            let members: BTreeMap<u64, EmptyNode> =
                (1..=3).map(|id| (id, EmptyNode::default())).collect();
            leader.initialize(members).await.expect("a new cluster");
            let led = leader.wait(None).current_leader(1, "a leader").await;
            led.expect("the first node leads");
            // Others may campaign at first.
            while leader.client_write(Nothing).await.is_err() {
                tokio::task::yield_now().await;
            }
            leader
        });
        Self {
            nodes,
            leader,
            runtime,
        }
    }

    /// Commits per second of so many clients, each a task that waits for its reply before it asks again.
    pub(crate) fn run(&self, load: Load) -> Run {
        super::tasks(load, |stop| {
            let leader = self.leader.clone();
            async move {
                let mut commits = 0;
                while !stop.load(Ordering::Relaxed) {
                    leader.client_write(Nothing).await.expect("a commit");
                    commits += 1;
                }
                commits
            }
        })
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let nodes =
            core::mem::take(&mut *self.nodes.lock().unwrap_or_else(PoisonError::into_inner));
        self.runtime.block_on(async {
            for node in nodes.into_values() {
                node.shutdown().await.expect("an orderly end");
            }
        });
    }
}
