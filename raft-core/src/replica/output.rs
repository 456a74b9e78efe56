//! What comes out of a replica.

use alloc::vec::Vec;
use core::fmt;

use bytes::Bytes;

use crate::action::{Action, Outcome, Rejection};
use crate::snapshot::SnapshotMeta;
use crate::types::{EntryId, RequestId};

#[cfg(doc)]
use super::Replica;
use super::machine::StateMachine;
use super::replica_image::ReplicaImage;
use super::serial::{SESSION_WINDOW, Sequence, SessionId};
use super::snapshots::SnapshotRefusal;
use super::transfer::ReadChunk;

/// What a driver is to do for a replica.
pub enum Output<S: StateMachine> {
    /// An order of the node: never `Apply` or `Resolve`, which the replica carries out itself.
    Action(Action),
    /// A request has its answer.
    Reply {
        /// Which.
        request: RequestId,
        /// The state machine's reply, or why there is none.
        result: Result<S::Reply, RequestError>,
    },
    /// A request to the node itself took effect: a change of membership, a transfer, solo or reset. One that
    /// did not ends in a `Reply` with its error.
    Done {
        /// Which.
        request: RequestId,
        /// What it came to: `Changed`, `Transferred`, `Alone` or `Emptied`.
        outcome: Outcome,
    },
    /// A session has begun, as [`Replica::register`] asked.
    Registered {
        /// The request.
        request: RequestId,
        /// The session's name.
        session: SessionId,
    },
    /// Write the image into the snapshot store, on whatever thread, and report `Input::SnapshotTaken` once it
    /// is verified and synced, or [`Replica::snapshot_failed`].
    TakeSnapshot {
        /// What the snapshot is to consensus.
        snapshot: SnapshotMeta,
        /// What it contains.
        image: ReplicaImage<S::Image>,
    },
    /// Read the snapshot from the store beside the state machine, whole and verified, and answer with
    /// [`Replica::restored`] or [`Replica::restore_failed`].
    RestoreSnapshot {
        /// Which.
        snapshot: SnapshotMeta,
    },
    /// A call of [`Replica::snapshot`] has its answer: the snapshot that contains what was applied then.
    Snapshot {
        /// Which.
        request: RequestId,
        /// The snapshot, or why there is none.
        result: Result<EntryId, SnapshotRefusal>,
    },
    /// Read a part of a snapshot and answer with [`Replica::chunk_read`].
    ReadChunk(ReadChunk),
    /// Make room for a snapshot that is being received and answer with [`Replica::receive_begun`] or
    /// [`Replica::receive_failed`].
    BeginReceive {
        /// Which.
        id: EntryId,
        /// How many bytes it has.
        total: u64,
    },
    /// Write a part of it, in order, and answer with [`Replica::chunk_written`] or
    /// [`Replica::receive_failed`].
    WriteChunk {
        /// Of which.
        id: EntryId,
        /// Where it belongs.
        offset: u64,
        /// The part.
        bytes: Bytes,
    },
    /// All of it is written: verify and sync it, and answer with [`Replica::received`] or
    /// [`Replica::receive_failed`].
    FinishReceive {
        /// Which.
        id: EntryId,
    },
    /// Snapshots other than these are not needed any more, after whatever was handed out before. Answered by
    /// nothing.
    RetainSnapshots {
        /// Which are.
        keep: Vec<EntryId>,
    },
}

impl<S: StateMachine> fmt::Debug for Output<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Action(action) => action.fmt(f),
            Self::Reply { request, result } => f
                .debug_struct("Reply")
                .field("request", request)
                .field("error", &result.as_ref().err())
                .finish(),
            Self::Done { request, outcome } => f
                .debug_struct("Done")
                .field("request", request)
                .field("outcome", outcome)
                .finish(),
            Self::Registered { request, session } => f
                .debug_struct("Registered")
                .field("request", request)
                .field("session", session)
                .finish(),
            Self::TakeSnapshot { snapshot, .. } => write!(f, "TakeSnapshot {snapshot:?}"),
            Self::RestoreSnapshot { snapshot } => write!(f, "RestoreSnapshot {snapshot:?}"),
            Self::Snapshot { request, result } => write!(f, "Snapshot {request} {result:?}"),
            Self::ReadChunk(read) => read.fmt(f),
            Self::BeginReceive { id, total } => write!(f, "BeginReceive {id:?} of {total}"),
            Self::WriteChunk { id, offset, bytes } => {
                write!(f, "WriteChunk {id:?} at {offset}, {} bytes", bytes.len())
            }
            Self::FinishReceive { id } => write!(f, "FinishReceive {id:?}"),
            Self::RetainSnapshots { keep } => write!(f, "RetainSnapshots {keep:?}"),
        }
    }
}

/// Why a request has no reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// It had no effect and never will have.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// It had no effect: another command was committed in its place, by another leader.
    #[error("another leader's entry took the place of {}", .0.index)]
    Superseded(EntryId),
    /// It may have taken effect, may yet, or never will.
    #[error("the outcome is not known: no answer came in time")]
    Unknown,
    /// It took effect, but its reply was computed before this node knew whose it was; or this node's state
    /// machine, which would have had the reply, did not get there within `Options::request_timeout`; or, in a
    /// session, it took effect when it was sent earlier, and its reply was too large to be kept.
    #[error("it took effect as entry {}, but its reply is lost", .0.index)]
    ReplyLost(EntryId),
    /// It was committed, and no replica can decode it: nothing was changed.
    #[error("the committed command does not decode")]
    Undecodable,
    /// It had no effect this time, because its session has ended, or never was. What was sent before in
    /// that session may have taken effect.
    #[error("the session has ended")]
    SessionExpired,
    /// It had no effect this time, because its client said that it has the answer to it already, or wants
    /// none.
    #[error("the client has the answers to all sequences below {lowest}")]
    SequencePassed {
        /// What the client said.
        lowest: Sequence,
    },
    /// It had no effect: too many of its session are without an answer.
    #[error("the sequence is {max} or more above {lowest}, the lowest without an answer", max = SESSION_WINDOW)]
    WindowFull {
        /// The lowest sequence without an answer.
        lowest: Sequence,
    },
}
