//! Errors, each named for who must act.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use raft_core::replica::{RequestError, SnapshotRefusal};
use raft_core::wal::{DiskError, RecoveryError};
use raft_core::{ClusterId, HaltReason, Index, NodeId, RestoreError};

use crate::moves::MoveError;

/// A server cannot start: the operator must act.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data folder cannot be used.
    #[error(
        "the data folder {directory} cannot be used: {error}{made}",
        directory = directory.display(),
        made = made_by(error)
    )]
    Data {
        /// The folder.
        directory: PathBuf,
        /// What the file system said.
        error: io::Error,
    },
    /// Another process uses the data folder.
    #[error(
        "the data folder {directory} is in use by another process; stop that one, or give this one \
         a folder of its own",
        directory = directory.display()
    )]
    InUse {
        /// The folder.
        directory: PathBuf,
    },
    /// The data folder holds no log.
    #[error(
        "the data folder {directory} holds no log; a new cluster is made with `raft-kv init`, and \
         an empty folder never becomes a voter by itself; a node that is to be attached to a cluster is \
         started with `raft-kv serve --join`",
        directory = directory.display()
    )]
    NoLog {
        /// The folder.
        directory: PathBuf,
    },
    /// The folder of a node that is to be made holds something else.
    #[error(
        "the data folder {directory} holds {file}, and that of a new node begins empty; give another folder, or \
         move away what is in it",
        directory = directory.display()
    )]
    NotEmpty {
        /// The folder.
        directory: PathBuf,
        /// Something that is in it.
        file: String,
    },
    /// The disk has no room at all.
    #[error(
        "no space left for the log in {directory}, to which each start writes a little; nothing in it is lost: free \
         some and start again",
        directory = directory.display()
    )]
    NoRoom {
        /// The folder.
        directory: PathBuf,
    },
    /// The log cannot be believed.
    #[error("the log in {directory} cannot be used: {error}", directory = directory.display())]
    Recovery {
        /// The folder.
        directory: PathBuf,
        /// Why.
        error: RecoveryError,
    },
    /// The log on a disk of the program's own cannot be believed, or there is none.
    #[error("the log on the disk that was given cannot be used: {0}")]
    Disk(#[from] RecoveryError),
    /// Two servers of one id in one network would be taken for each other.
    #[error(
        "node {node} runs in this network already; stop that server first, or give this one another id"
    )]
    Running {
        /// Which.
        node: NodeId,
    },
    /// What was recovered, or an option, contradicts itself.
    #[error(transparent)]
    Restore(#[from] RestoreError),
    /// The folder belongs to another node than was asked for.
    #[error(
        "the data folder {directory} belongs to node {found}, and node {asked} was asked for",
        directory = directory.display()
    )]
    WrongNode {
        /// The folder.
        directory: PathBuf,
        /// The node it belongs to.
        found: u64,
        /// The node that was asked for.
        asked: u64,
    },
    /// Two nodes of a cluster that is to be made would be looked for in one place.
    #[error(
        "node {second} at {address} would be in the place of node {first}; give each the address at which it \
         alone listens for peers"
    )]
    SameAddress {
        /// The address of the second one, which may be written in another way than that of the first.
        address: String,
        /// One of the nodes.
        first: NodeId,
        /// The other one.
        second: NodeId,
    },
    /// An address cannot be listened on.
    #[error("cannot listen on {address} for {purpose}: {error}{hint}", hint = hint(error))]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What for.
        purpose: &'static str,
        /// What the operating system said.
        error: io::Error,
    },
    /// The operating system refused a resource.
    #[error("{what}: {error}")]
    System {
        /// What was wanted.
        what: &'static str,
        /// What it said.
        error: io::Error,
    },
}

fn made_by(error: &io::Error) -> &'static str {
    if error.kind() == io::ErrorKind::NotFound {
        "; `raft-kv init` makes the folders of a new cluster, and `raft-kv serve --join --id N` that of a node \
         which is to be attached to one"
    } else {
        ""
    }
}

fn hint(error: &io::Error) -> &'static str {
    if error.kind() == io::ErrorKind::AddrInUse {
        "; another process listens there: stop it, or choose another port"
    } else {
        ""
    }
}

/// Why a running server ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StopError {
    /// The node halted.
    #[error("the node halted: {0}")]
    Halted(HaltReason),
    /// The log failed.
    #[error("the log failed and nothing was acknowledged since: {0}; restart to recover")]
    Log(DiskError),
    /// A thread of the server panicked, which is a bug.
    #[error("the {thread} thread panicked; please report this")]
    Panicked {
        /// Which.
        thread: &'static str,
    },
}

/// Why a call of a [`crate::Client`] has no reply.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// The request was refused, superseded, or its outcome is not known.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// Too many requests wait for the server; this one was not taken.
    #[error("too many requests wait for the server")]
    Overloaded,
    /// The server stopped before answering: the outcome of a command is not known.
    #[error("the server stopped before it answered")]
    Stopped,
    /// The node belongs to no cluster.
    #[error(
        "node {node} is in no cluster and waits to be attached to one: `raft-kv attach --to \
         CLIENT-ADDRESS-OF-A-MEMBER {node}=HOST:PEER-PORT`"
    )]
    NoCluster {
        /// Which.
        node: NodeId,
    },
    /// The node is no member of its cluster any more, or not yet.
    #[error(
        "node {node} was removed from its cluster, or is still being attached: ask a member; `raft-kv attach` takes \
         it back as it is, and `raft-kv reset` empties it"
    )]
    NotAMember {
        /// Which.
        node: NodeId,
    },
    /// The node was removed from its cluster while it was away, as others say.
    #[error(
        "node {node} was removed from its cluster by entry {index} while it was away: ask a member; `raft-kv attach` \
         takes it back as it is, and `raft-kv reset --force` empties it"
    )]
    Removed {
        /// Which.
        node: NodeId,
        /// The entry that made the configuration without it.
        index: Index,
    },
    /// No snapshot was taken.
    #[error(transparent)]
    Snapshot(#[from] SnapshotRefusal),
    /// A node that was to be attached is not there, or not what was expected: nothing was changed.
    #[error(transparent)]
    Joiner(#[from] JoinerError),
    /// A member is not where it was to be looked for: nothing was changed.
    #[error(transparent)]
    Move(#[from] MoveError),
    /// The node was to become a cluster of its own, and others may go on without it.
    #[error(
        "{others} {}: if a majority of the voters still lives, two clusters will serve two histories; stop the \
         others for good, or make sure that they never come back, then force it",
        if *others == 1 { "other voter takes part" } else { "other voters take part" }
    )]
    OtherVoters {
        /// How many.
        others: u64,
    },
    /// The node was to forget everything, and is still counted on.
    #[error(
        "node {node} is a member, as its log says: its data here would be gone and its vote be missed; \
         detach it first, or force it if it was detached while it was away"
    )]
    StillAMember {
        /// Which.
        node: NodeId,
    },
    /// New ids could not be drawn.
    #[error("the operating system has no randomness")]
    NoRandomness,
}

impl ClientError {
    /// Whether [`crate::Force::Yes`] would have done it.
    #[must_use]
    pub const fn could_be_forced(&self) -> bool {
        match self {
            Self::OtherVoters { .. }
            | Self::StillAMember { .. }
            | Self::Move(MoveError::Silent { .. }) => true,
            // What is there is somebody else: forced, the member would be looked for there in vain.
            Self::Move(
                MoveError::NotAPeer { .. }
                | MoveError::OtherNode { .. }
                | MoveError::OtherStore { .. },
            ) => false,
            Self::Request(_)
            | Self::Overloaded
            | Self::Stopped
            | Self::NoCluster { .. }
            | Self::NotAMember { .. }
            | Self::Removed { .. }
            | Self::Snapshot(_)
            | Self::Joiner(_)
            | Self::NoRandomness => false,
        }
    }
}

/// A node cannot be attached: whoever runs it must act.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JoinerError {
    /// Nobody is there.
    #[error(
        "node {node} does not answer at {address}: {error}; start it there first, with \
         `raft-kv serve --join --id {node}` and an empty --data folder"
    )]
    Silent {
        /// The node that is to join.
        node: NodeId,
        /// Where it was looked for.
        address: String,
        /// What the operating system said.
        error: String,
    },
    /// Somebody else is there.
    #[error(
        "node {node} was looked for at {address}: {error}; give the address at which it listens for peers"
    )]
    NotAPeer {
        /// The node that is to join.
        node: NodeId,
        /// Where it was looked for.
        address: String,
        /// What was found.
        error: String,
    },
    /// Another node is there.
    #[error("at {address} is node {found}, and node {node} is to be attached")]
    OtherNode {
        /// The node that is to join.
        node: NodeId,
        /// Where it was looked for.
        address: String,
        /// The node that was found.
        found: NodeId,
    },
    /// The node belongs to another cluster.
    #[error(
        "node {node} at {address} belongs to cluster {cluster}; reset it before it is attached to another \
         one: `raft-kv reset`"
    )]
    Occupied {
        /// The node that is to join.
        node: NodeId,
        /// Where it is.
        address: String,
        /// Its cluster.
        cluster: ClusterId,
    },
}
