//! A user's state machine, with something inside that watches it.

use std::cell::RefCell;
use std::fmt;

use raft_core::replica::{
    Applied, Command, CommandError, Image, ImageError, Sink, Source, StateMachine, command_of,
    read_exact,
};
use raft_core::{Bytes, Index, NodeId};

/// Names one operation of one client, for all of a run.
pub(crate) type OpId = u64;

/// Where a node stands in a list of all: nodes are numbered from 1.
pub(crate) fn place(node: NodeId) -> usize {
    usize::try_from(node.0).map_or(usize::MAX, |number| number.wrapping_sub(1))
}

/// A state machine that can be judged: its answers can be compared and shown.
///
/// Implemented by itself for every [`StateMachine`] whose types allow it.
pub trait Machine:
    StateMachine<Command: fmt::Debug, Query: Clone + fmt::Debug, Reply: Clone + PartialEq + fmt::Debug>
{
}

impl<S> Machine for S where
    S: StateMachine<
            Command: fmt::Debug,
            Query: Clone + fmt::Debug,
            Reply: Clone + PartialEq + fmt::Debug,
        >
{
}

/// A command that says which operation it is, so that a repetition shows.
#[derive(Clone, Debug)]
pub(crate) struct Tagged<C> {
    pub(crate) op: OpId,
    pub(crate) command: C,
}

const TAG_BYTES: usize = 8;

/// The operation in an entry's command; none in what replicas ask of themselves.
pub(crate) fn op_of(request: &Bytes) -> Option<OpId> {
    tag_of(&command_of(request)?)
}

/// The operation in a command that replicas execute.
pub(crate) fn tag_of(command: &Bytes) -> Option<OpId> {
    command.first_chunk().map(|tag| u64::from_le_bytes(*tag))
}

/// The bytes of a command that says which operation it is.
pub(crate) fn tag<C: Command>(op: OpId, command: &C) -> Bytes {
    let inner = command.encode();
    let mut bytes = Vec::with_capacity(TAG_BYTES + inner.len());
    bytes.extend_from_slice(&op.to_le_bytes());
    bytes.extend_from_slice(&inner);
    Bytes::from(bytes)
}

impl<C: Command> Command for Tagged<C> {
    fn encode(&self) -> Bytes {
        tag(self.op, &self.command)
    }

    fn decode(bytes: &Bytes) -> Result<Self, CommandError> {
        let short = || CommandError("a tagged command is longer than its tag".to_string());
        let op = tag_of(bytes).ok_or_else(short)?;
        let command = C::decode(&bytes.slice(TAG_BYTES..))?;
        Ok(Self { op, command })
    }
}

/// An answer, and the entry whose state it shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Witnessed<R> {
    pub(crate) at: Index,
    pub(crate) reply: R,
}

/// What a machine executed: where, which operation, and its answer.
#[derive(Debug)]
pub(crate) struct Execution<R> {
    pub(crate) at: Index,
    pub(crate) op: OpId,
    pub(crate) reply: R,
}

/// The user's machine as a replica hosts it here.
pub(crate) struct Watched<S: StateMachine> {
    pub(crate) machine: S,
    at: Index,
    /// What was executed since this was looked at last.
    pub(crate) executions: RefCell<Vec<Execution<S::Reply>>>,
}

impl<S: StateMachine> Watched<S> {
    pub(crate) const fn new(machine: S) -> Self {
        Self {
            machine,
            at: Index(0),
            executions: RefCell::new(Vec::new()),
        }
    }
}

impl<S: Machine> StateMachine for Watched<S> {
    type Command = Tagged<S::Command>;
    type Query = S::Query;
    type Reply = Witnessed<S::Reply>;

    fn apply(&mut self, entry: Applied<Self::Command>) -> Self::Reply {
        let Applied { id, command } = entry;
        self.at = id.index;
        let Tagged { op, command } = command;
        let reply = self.machine.apply(Applied { id, command });
        self.executions.get_mut().push(Execution {
            at: id.index,
            op,
            reply: reply.clone(),
        });
        Witnessed {
            at: id.index,
            reply,
        }
    }

    fn query(&self, query: &S::Query) -> Self::Reply {
        Witnessed {
            at: self.at,
            reply: self.machine.query(query),
        }
    }

    fn encode_reply(reply: &Self::Reply) -> Option<Bytes> {
        let inner = S::encode_reply(&reply.reply)?;
        let mut bytes = reply.at.0.to_le_bytes().to_vec();
        bytes.extend_from_slice(&inner);
        Some(Bytes::from(bytes))
    }

    fn decode_reply(bytes: &Bytes) -> Option<Self::Reply> {
        let at = Index(u64::from_le_bytes(*bytes.first_chunk()?));
        let reply = S::decode_reply(&bytes.slice(size_of::<u64>()..))?;
        Some(Witnessed { at, reply })
    }

    type Image = WatchedImage<S::Image>;

    fn image(&self) -> Self::Image {
        WatchedImage {
            at: self.at,
            image: self.machine.image(),
        }
    }

    fn restore(&mut self, image: Self::Image) {
        self.at = image.at;
        self.machine.restore(image.image);
    }
}

/// A user's image, and the entry whose state it shows.
pub(crate) struct WatchedImage<I> {
    at: Index,
    image: I,
}

impl<I: Image> Image for WatchedImage<I> {
    fn write(&self, sink: &mut dyn Sink) -> Result<(), ImageError> {
        sink.write(&self.at.0.to_le_bytes())?;
        self.image.write(sink)
    }

    fn read(source: &mut dyn Source) -> Result<Self, ImageError> {
        let mut at = [0; 8];
        read_exact(source, &mut at)?;
        Ok(Self {
            at: Index(u64::from_le_bytes(at)),
            image: I::read(source)?,
        })
    }
}
