//! Moving snapshots between replicas: this one's questions, and its answers to others'.
//!
//! Always holds: nothing a peer says about parts of snapshots changes the node; what is received is relied on
//! only once the store has verified it as a whole.

use alloc::boxed::Box;
use alloc::vec::Vec;

use bytes::Bytes;

use crate::event::Input;
use crate::message::{Body, Envelope, Session};
use crate::options::Options;
use crate::snapshot::SnapshotMeta;
use crate::types::{EntryId, Index, Member, SnapshotTicket, Term, Time};
use crate::wal::Chunk;

use super::fetch::{Fetch, Taken, Write};
use super::serving::{Asked, Served, Serving};
use super::{Output, Replica, StateMachine};

/// A part of a snapshot that another replica asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadChunk {
    /// Who.
    pub to: Member,
    /// In which exchange.
    pub session: Session,
    /// Of which snapshot.
    pub id: EntryId,
    /// From where on.
    pub offset: u64,
    /// How much at most.
    pub bytes_max: u64,
}

/// Snapshots on their way to and from other replicas.
#[derive(Clone, Debug, Default)]
pub(super) struct Transfer {
    pub(super) fetch: Option<Fetch>,
    serving: Serving,
}

impl Transfer {
    /// The snapshots that are being moved.
    pub(super) fn in_use(&self, now: Time) -> impl Iterator<Item = EntryId> + '_ {
        let fetched = self.fetch.as_ref().and_then(Fetch::id);
        self.serving.in_use(now).chain(fetched)
    }

    pub(super) fn next_deadline(
        &self,
        now: Time,
        durable: Option<EntryId>,
        options: &Options,
    ) -> Option<Time> {
        let fetch = self.fetch.as_ref();
        let fetch = fetch.and_then(|fetch| fetch.next_deadline(options));
        let serving = self.serving.next_deadline(now, durable);
        fetch.into_iter().chain(serving).min()
    }

    pub(super) fn ticket(&self) -> Option<SnapshotTicket> {
        self.fetch.as_ref().and_then(Fetch::ticket)
    }
}

/// Tickets number exchanges, so that an answer to an earlier question is seen as such.
const fn session(ticket: SnapshotTicket) -> Session {
    Session {
        term: Term(0),
        added: Index(0),
        counter: ticket.0,
    }
}

impl<S: StateMachine> Replica<S> {
    /// Takes a message between replicas; gives back one that is for the node.
    pub(super) fn receive(&mut self, envelope: Box<Envelope>) -> Option<Box<Envelope>> {
        let (from, exchange) = (envelope.from.member, envelope.session);
        match &envelope.body {
            Body::FetchSnapshot {
                id,
                at_least,
                offset,
            } => {
                if self.node.admits(&envelope) {
                    let asked = Asked {
                        from,
                        id: *id,
                        at_least: *at_least,
                    };
                    self.serve(asked, exchange, *offset);
                }
                None
            }
            Body::SnapshotChunk {
                id,
                offset,
                total,
                bytes,
            } => {
                if self.node.admits(&envelope) && self.is_source(from, exchange) {
                    self.take_chunk(from, *id, (*offset, *total), bytes);
                }
                None
            }
            Body::NoSnapshot => {
                if self.node.admits(&envelope) && self.is_source(from, exchange) {
                    self.source_lacks_it();
                }
                None
            }
            Body::RequestPreVote { .. }
            | Body::PreVoteReply { .. }
            | Body::RequestVote { .. }
            | Body::VoteReply { .. }
            | Body::AppendEntries { .. }
            | Body::AppendReply(_)
            | Body::Heartbeat { .. }
            | Body::HeartbeatReply { .. }
            | Body::StaleTerm
            | Body::ForwardProposals { .. }
            | Body::ForwardProposalsReply { .. }
            | Body::ForwardRead { .. }
            | Body::ForwardReadReply { .. }
            | Body::ForwardControl { .. }
            | Body::ForwardControlReply { .. }
            | Body::TimeoutNow { .. }
            | Body::RequestLeadership { .. }
            | Body::AskMembership { .. }
            | Body::NotAMember { .. }
            | Body::InstallSnapshot { .. } => Some(envelope),
        }
    }

    fn serve(&mut self, asked: Asked, session: Session, offset: u64) {
        let latest = self.node.durable_snapshot();
        let serving = &mut self.transfer.serving;
        match serving.ask(self.now, asked, latest, &self.options) {
            Served::Read(id) => self.begun.push(Output::ReadChunk(ReadChunk {
                to: asked.from,
                session,
                id,
                offset,
                bytes_max: self.options.snapshot_chunk_bytes,
            })),
            Served::Missing => self.node.say(asked.from, session, Body::NoSnapshot),
            Served::Busy => {}
        }
    }

    /// A part of a snapshot was read for another replica; `None` if there is no such snapshot, or it cannot be
    /// read.
    pub fn chunk_read(&mut self, at: Time, read: &ReadChunk, chunk: Option<Chunk>) {
        self.now = self.now.max(at);
        self.transfer.serving.read(read.to);
        let body = match chunk {
            // Asked for what lies behind the end: there is no such part.
            Some(Chunk { bytes, .. }) if bytes.is_empty() => return,
            Some(Chunk { total, bytes }) => Body::SnapshotChunk {
                id: read.id,
                offset: read.offset,
                total,
                bytes,
            },
            None => {
                self.transfer.serving.gave_up(read.to, read.id);
                Body::NoSnapshot
            }
        };
        self.node.say(read.to, read.session, body);
    }

    /// The node needs a snapshot.
    pub(super) fn begin_fetch(&mut self, ticket: SnapshotTicket, at_least: EntryId, from: Member) {
        match &mut self.transfer.fetch {
            Some(fetch) => fetch.retarget(self.now, ticket, at_least, from),
            None => {
                self.transfer.fetch = Some(Fetch::new(self.now, ticket, at_least, from));
            }
        }
    }

    /// Whether an answer is one to this node's questions.
    fn is_source(&self, from: Member, exchange: Session) -> bool {
        let fetch = self.transfer.fetch.as_ref();
        fetch.is_some_and(|fetch| {
            fetch.source() == from && fetch.ticket().map(session) == Some(exchange)
        })
    }

    fn take_chunk(
        &mut self,
        from: Member,
        id: EntryId,
        (offset, total): (u64, u64),
        bytes: &Bytes,
    ) {
        let Some(fetch) = &mut self.transfer.fetch else {
            return;
        };
        match fetch.take(self.now, id, offset, total, bytes.clone()) {
            Taken::Begins { id, total } => {
                self.snapshots.storing(id);
                self.begun.push(Output::BeginReceive { id, total });
            }
            Taken::Yes | Taken::No => {}
            Taken::Malformed => self.node.refuse_malformed(from),
        }
    }

    fn source_lacks_it(&mut self) {
        let now = self.now;
        let fetch = self.transfer.fetch.as_mut();
        if fetch.is_some_and(|fetch| !fetch.missing(now)) {
            self.fail_fetch();
        }
    }

    fn fail_fetch(&mut self) {
        let ticket = self.transfer.fetch.as_mut().and_then(Fetch::fail);
        if let Some(ticket) = ticket {
            self.tell(Input::SnapshotFailed { ticket });
        }
    }

    /// The store is ready for the snapshot of [`Output::BeginReceive`], and has everything before `offset`.
    pub fn receive_begun(&mut self, at: Time, id: EntryId, offset: u64) {
        self.now = self.now.max(at);
        if let Some(fetch) = &mut self.transfer.fetch {
            fetch.begun(self.now, id, offset);
        }
    }

    /// The store has everything before `end` of a snapshot that is being received.
    pub fn chunk_written(&mut self, at: Time, id: EntryId, end: u64) {
        self.now = self.now.max(at);
        if let Some(fetch) = &mut self.transfer.fetch {
            fetch.written(id, end);
        }
    }

    /// A snapshot could not be received: the disk is full, or failed, or what came is not one. What there is
    /// of it is of no use.
    pub fn receive_failed(&mut self, at: Time, id: EntryId) {
        self.now = self.now.max(at);
        let fetch = self.transfer.fetch.as_ref();
        if fetch.is_some_and(|fetch| fetch.id() == Some(id)) {
            self.fail_fetch();
            self.transfer.fetch = None;
        }
    }

    /// The snapshot of [`Output::FinishReceive`] is whole, verified and synced.
    pub fn received(&mut self, at: Time, snapshot: SnapshotMeta) {
        self.now = self.now.max(at);
        let (id, ticket) = (snapshot.id, self.transfer.ticket());
        let fetch = self.transfer.fetch.as_ref();
        if fetch.is_none_or(|fetch| fetch.id() != Some(id)) {
            return;
        }
        self.transfer.fetch = None;
        if let Some(ticket) = ticket {
            self.tell(Input::SnapshotReceived { ticket, snapshot });
        }
        self.stored(id);
    }

    /// The node has halted.
    pub(super) fn end_transfers(&mut self) {
        self.transfer = Transfer::default();
        self.begun.clear();
    }

    /// Goes on with what is being fetched.
    pub(super) fn drive_fetch(&mut self, outputs: &mut Vec<Output<S>>) {
        let Some(fetch) = &mut self.transfer.fetch else {
            return;
        };
        let now = self.now;
        while let Some(write) = fetch.write() {
            outputs.push(match write {
                Write::Part { id, offset, bytes } => Output::WriteChunk { id, offset, bytes },
                Write::Finish { id } => Output::FinishReceive { id },
            });
        }
        let committed = self.node.commit_index();
        if fetch.id().is_some_and(|id| id.index <= committed) {
            // The log got there first (S58).
            self.fail_fetch();
            self.transfer.fetch = None;
            return;
        }
        if fetch.is_given_up(now, &self.options) {
            self.fail_fetch();
            return;
        }
        let (source, at_least) = (fetch.source(), fetch.at_least());
        while let Some(ticket) = fetch.ticket()
            && let Some(question) = fetch.question(now, &self.options)
        {
            let body = Body::FetchSnapshot {
                id: question.id,
                at_least,
                offset: question.offset,
            };
            self.node.say(source, session(ticket), body);
        }
    }
}
