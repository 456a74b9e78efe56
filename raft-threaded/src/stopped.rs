//! Ending the part of a node that is stopped, by its data folder alone.
//!
//! Always holds: what a running node would do is done, by the same code, up to the sync.

use std::path::Path;

use raft_core::replica::RequestError;
use raft_core::wal::{DiskError, SnapshotError, SnapshotStore, Wal, WalOptions};
use raft_core::{
    Action, ClusterId, Event, Identity, Input, Node, Options, Outcome, Persist, RequestId,
    RestoreError, Restored, StorageId, Time,
};

use crate::disk::FileDisk;
use crate::error::{ClientError, StartError};
use crate::folder::{open, recovery};
use crate::membership::{Alone, Force};
use crate::random::random;
use crate::runtime::order::{check_reset, check_solo};

/// Why a stopped node is what it was.
#[derive(Debug, thiserror::Error)]
pub enum StoppedError {
    /// Its folder cannot be used.
    #[error(transparent)]
    Folder(#[from] StartError),
    /// Its log could not be written.
    #[error("the log could not be written: {0}; start again to see what is durable")]
    Log(#[from] DiskError),
    /// What it would go on from cannot be read.
    #[error("{0}; this node has nothing to go on from, another survivor may")]
    Snapshot(#[from] SnapshotError),
    /// It was not done.
    #[error(transparent)]
    Refused(#[from] ClientError),
}

impl StoppedError {
    /// Whether [`Force::Yes`] would have done it.
    #[must_use]
    pub const fn could_be_forced(&self) -> bool {
        match self {
            Self::Refused(error) => error.could_be_forced(),
            Self::Folder(_) | Self::Log(_) | Self::Snapshot(_) => false,
        }
    }
}

impl From<RestoreError> for StoppedError {
    fn from(error: RestoreError) -> Self {
        Self::Folder(error.into())
    }
}

/// Makes a stopped node a cluster of its own, with everything in its log; `expect` names the cluster that is
/// left, if it matters. Unless it was the only voter, how far it says that entries were committed is only what its
/// log said last: [`Alone::committed`].
///
/// # Errors
///
/// If the folder is in use or cannot be read, its snapshot included, if the node is in another cluster, or if
/// other voters take part and it is not forced.
pub fn solo_stopped(
    data: &Path,
    expect: Option<ClusterId>,
    force: Force,
) -> Result<Alone, StoppedError> {
    let disk = open(data)?;
    let (mut wal, restored) = recover(data, disk.clone())?;
    let mut snapshots = SnapshotStore::open(disk)?;
    let identity = restored.identity;
    let mut node = Node::new(Time(0), Options::default(), restored)?;
    check_solo(&node.status(), force)?;
    // Whatever the only voter has on its disk is committed.
    let only_voter = check_solo(&node.status(), Force::No).is_ok();
    let solo = Input::Solo {
        request: RequestId(1),
        expect: expect.unwrap_or(identity.cluster),
        cluster: ClusterId(random()?),
        store: StorageId(random()?),
    };
    let mut outcome = None;
    let mut inputs = vec![solo, Input::Tick];
    while let Some(input) = inputs.pop() {
        for action in node.step(Event { at: Time(0), input }) {
            // Nobody is there to be told anything, nor to apply it.
            if let Action::Persist(persist) = &action {
                inputs.push(write(&mut wal, persist)?);
            } else if let Action::RestoreSnapshot { snapshot } = &action {
                // No state machine is here that could become it; but one must be able to.
                let id = snapshot.id;
                snapshots.read(id)?.finish()?;
                inputs.push(Input::SnapshotRestored { id });
            } else if let Action::Resolve { outcome: found, .. } = action {
                outcome = Some(found);
            }
        }
    }
    wal.close()?;
    if let Some(Outcome::Alone { committed, last }) = outcome {
        return Ok(Alone {
            committed: if only_voter { last.0 } else { committed.0 },
            last: last.0,
        });
    }
    let error = if let Some(Outcome::Rejected(rejection)) = outcome {
        RequestError::Rejected(rejection)
    } else {
        RequestError::Unknown
    };
    Err(ClientError::from(error).into())
}

/// Empties a stopped node's store and gives it a new id, so that it can be attached to a cluster.
///
/// # Errors
///
/// If the folder is in use or cannot be read, or if the node is a member, as its log says, and it is not forced.
pub fn reset_stopped(data: &Path, force: Force) -> Result<Identity, StoppedError> {
    let (mut wal, restored) = recover(data, open(data)?)?;
    let node = Node::new(Time(0), Options::default(), restored)?;
    check_reset(&node.status(), force)?;
    wal.wipe(StorageId(random()?))?;
    let emptied = wal.identity();
    wal.close()?;
    Ok(emptied)
}

fn recover(data: &Path, disk: FileDisk) -> Result<(Wal<FileDisk>, Restored), StartError> {
    Wal::recover(disk, WalOptions::default()).map_err(|error| recovery(data, error))
}

fn write(wal: &mut Wal<FileDisk>, persist: &Persist) -> Result<Input, DiskError> {
    wal.append(persist)?;
    wal.sync()?;
    Ok(Input::Persisted {
        store: persist.store,
        boot: persist.boot,
        id: persist.id,
    })
}
