//! What is replicated: the user's part.

use bytes::Bytes;

use crate::types::EntryId;

use super::command::Command;
use super::durable::Durable;
use super::image::Image;

/// What is replicated: a deterministic machine that commands change and queries look at.
///
/// ```
/// use raft_core::replica::{Applied, Serde, StateMachine};
///
/// /// A counter that everybody can add to.
/// #[derive(Default)]
/// struct Counter(u64);
///
/// impl StateMachine for Counter {
///     type Command = Serde<u64>;
///     type Query = ();
///     type Reply = u64;
///
///     fn apply(&mut self, entry: Applied<Serde<u64>>) -> u64 {
///         self.0 += entry.command.0;
///         self.0
///     }
///
///     fn query(&self, (): &()) -> u64 {
///         self.0
///     }
///
///     type Image = Serde<u64>;
///
///     fn image(&self) -> Serde<u64> {
///         Serde(self.0)
///     }
///
///     fn restore(&mut self, image: Serde<u64>) {
///         self.0 = image.0;
///     }
/// }
/// ```
pub trait StateMachine {
    /// What changes the machine; [`Serde`](super::Serde) makes one of any serde type, [`crate::Bytes`] is
    /// one.
    type Command: Command;
    /// What looks at it.
    type Query;
    /// What both answer.
    type Reply;

    /// Applies a committed command and returns its reply.
    ///
    /// Must depend on nothing but the machine and the entry: no clock, no randomness, no iteration
    /// over a hash map. An error is a reply like any other.
    fn apply(&mut self, entry: Applied<Self::Command>) -> Self::Reply;

    /// Applies a committed command in its encoded form and returns its reply, or does nothing and returns none: then
    /// it is decoded for [`StateMachine::apply`], which would do the same.
    ///
    /// For machines that take less time to apply a command than to decode it. By default none is applied so.
    fn apply_encoded(&mut self, id: EntryId, command: &[u8]) -> Option<Self::Reply> {
        let _ = (id, command);
        None
    }

    /// These commands, in their encoded form, are applied next, with others between them perhaps.
    ///
    /// Nothing may change. A machine whose state is larger than the processor's caches can look at what they are
    /// about to touch, all of it at once, instead of waiting for one after the other when it applies them. By
    /// default nothing is done.
    fn prepare<'a>(&self, commands: impl Iterator<Item = &'a [u8]>)
    where
        Self: Sized,
    {
        let _ = commands;
    }

    /// Answers a query from the present state.
    fn query(&self, query: &Self::Query) -> Self::Reply;

    /// A reply's bytes, to be kept for a command that may be sent again in a session; the same for equal
    /// replies, and on every node.
    ///
    /// [`Serde`](super::Serde)'s `encode` and `decode` suit replies that are one, and [`encode_reply`] and
    /// [`decode_reply`] any serde type. By default nothing is kept: a command that is sent again still
    /// takes effect once, and the second time the answer is [`RequestError::ReplyLost`].
    ///
    /// [`encode_reply`]: super::encode_reply
    /// [`decode_reply`]: super::decode_reply
    /// [`RequestError::ReplyLost`]: super::RequestError::ReplyLost
    fn encode_reply(reply: &Self::Reply) -> Option<Bytes>
    where
        Self: Sized,
    {
        let _ = reply;
        None
    }

    /// Reads what [`StateMachine::encode_reply`] wrote; none if this program does not know such replies.
    fn decode_reply(bytes: &Bytes) -> Option<Self::Reply>
    where
        Self: Sized,
    {
        let _ = bytes;
        None
    }

    /// Everything the machine holds, frozen: what snapshots are made of. [`Serde`](super::Serde) makes one
    /// of any serde type.
    type Image: Image
    where
        Self: Sized;

    /// Freezes what the machine holds now.
    ///
    /// The machine waits meanwhile, so a large one hands out what it shares with itself until it changes
    /// (copy on write); encoding comes later, beside it.
    fn image(&self) -> Self::Image
    where
        Self: Sized;

    /// Becomes what the image says, and forgets everything else.
    fn restore(&mut self, image: Self::Image)
    where
        Self: Sized;

    /// What a durable store of the machine's own holds, when the replica begins; a machine without one begins
    /// empty and is fed from the snapshot and the log.
    fn durable(&self) -> Option<Durable> {
        None
    }

    /// Everything up to `durable.applied` was applied, or restored, and the replica's part of the state is
    /// what `durable.sessions` says. A machine with a store of its own makes both durable as one, now or with
    /// a later call, but never one without the other; [`StateMachine::durable`] then returns it.
    fn settle(&mut self, durable: &Durable) {
        let _ = durable;
    }
}

/// A committed command on its way into the state machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Applied<C> {
    /// The entry that carries it.
    pub id: EntryId,
    /// The command.
    pub command: C,
}
