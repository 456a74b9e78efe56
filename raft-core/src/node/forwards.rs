//! Proposals that wait on their way through a leader, of this node and of others.
//!
//! Always holds: what a leader gave back goes before what was proposed after it; a message of others is taken once.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;

use bytes::Bytes;

use crate::entry::OVERHEAD_BYTES;
use crate::forward_window::ForwardWindow;
use crate::message::Session;
use crate::options::Options;
use crate::rare::Seldom;
use crate::sent_requests::{SentRequests, bytes_of};
use crate::types::{Boot, Member, RequestId, Time};

/// A proposal that no leader was handed yet.
#[derive(Clone, Debug)]
pub(super) struct Unsent {
    pub(super) request: RequestId,
    pub(super) command: Bytes,
    pub(super) deadline: Time,
}

impl Unsent {
    const fn bytes(&self) -> u64 {
        self.command.len() as u64 + OVERHEAD_BYTES
    }
}

/// Proposals of this node on their way through a leader.
#[derive(Clone, Debug, Default)]
pub(super) struct Forwards {
    /// Not sent yet: what one drain sends goes together.
    pub(super) outgoing: VecDeque<Unsent>,
    outgoing_bytes: u64,
    /// How many of them, at the front, a leader gave back.
    returned: usize,
    /// The message that the last of those was in.
    returned_in: u64,
    pub(super) sent: SentRequests,
}

impl Forwards {
    pub(super) const fn new() -> Self {
        Self {
            outgoing: VecDeque::new(),
            outgoing_bytes: 0,
            returned: 0,
            returned_in: 0,
            sent: SentRequests::new(),
        }
    }

    pub(super) fn is_nothing(&self) -> bool {
        self.outgoing.is_empty() && self.sent.is_empty()
    }

    pub(super) fn next_deadline(&self) -> Option<Time> {
        let waiting = self.outgoing.front().map(|unsent| unsent.deadline);
        self.sent.next_deadline().into_iter().chain(waiting).min()
    }

    pub(super) fn is_waiting(&self) -> bool {
        !self.outgoing.is_empty()
    }

    pub(super) fn push(&mut self, unsent: Unsent) {
        self.outgoing_bytes += unsent.bytes();
        self.outgoing.push_back(unsent);
    }

    pub(super) fn pop(&mut self) -> Option<Unsent> {
        let unsent = self.outgoing.pop_front()?;
        self.outgoing_bytes -= unsent.bytes();
        self.returned = self.returned.saturating_sub(1);
        Some(unsent)
    }

    /// The newest, if there is more than may wait.
    pub(super) fn pop_beyond(&mut self, bytes_max: u64) -> Option<Unsent> {
        if self.outgoing_bytes <= bytes_max {
            return None;
        }
        let unsent = self.outgoing.pop_back()?;
        self.outgoing_bytes -= unsent.bytes();
        self.returned = self.returned.min(self.outgoing.len());
        Some(unsent)
    }

    /// The next one whose time is up before it was sent.
    pub(super) fn pop_expired(&mut self, now: Time) -> Option<Unsent> {
        let first = self.outgoing.front()?;
        if first.deadline > now {
            return None;
        }
        self.pop()
    }

    /// Whether what a leader gives back of that message can still be handed to the next one without coming
    /// behind what was given back before.
    pub(super) const fn takes_back(&self, message: u64) -> bool {
        self.returned == 0 || message > self.returned_in
    }

    /// Puts what a leader gave back before everything else that waits.
    pub(super) fn put_back(&mut self, message: u64, unsent: Vec<Unsent>) {
        self.returned_in = message;
        for unsent in unsent {
            self.outgoing_bytes += unsent.bytes();
            self.outgoing.insert(self.returned, unsent);
            self.returned += 1;
        }
    }
}

/// What a leader remembers of forwarded messages, so that none takes effect twice.
///
/// Kept beyond the end of the leadership, because only with it can a repeated message be told from
/// one that was never taken.
#[derive(Clone, Debug, Default)]
pub(super) struct ForwardWindows {
    seen: BTreeMap<(Member, Boot), ForwardWindow>,
}

impl ForwardWindows {
    pub(super) fn clear(&mut self) {
        self.seen.clear();
    }

    /// Takes note of a message; true if it was not seen before.
    pub(super) fn accept(&mut self, origin: Member, boot: Boot, number: u64) -> bool {
        if !self.seen.contains_key(&(origin, boot)) {
            self.seen.retain(|(member, _), _| *member != origin);
        }
        let window = self.seen.entry((origin, boot)).or_default();
        window.accept(number)
    }
}

/// Messages of others that a leader keeps while it hands over: it will go on, or give them back.
#[derive(Clone, Debug, Default)]
pub(super) struct HeldForwards {
    messages: VecDeque<Held>,
    bytes: u64,
}

#[derive(Clone, Debug)]
pub(super) struct Held {
    pub(super) origin: Member,
    pub(super) session: Session,
    pub(super) commands: Vec<Bytes>,
}

impl Held {
    fn bytes(&self) -> u64 {
        OVERHEAD_BYTES + bytes_of(&self.commands)
    }
}

impl Seldom for HeldForwards {
    const NOTHING: &'static Self = &Self {
        messages: VecDeque::new(),
        bytes: 0,
    };

    fn is_nothing(&self) -> bool {
        self.is_empty()
    }
}

impl HeldForwards {
    /// False if there is no room for it: each is to be answered when leadership ends.
    pub(super) fn push(&mut self, held: Held, options: &Options) -> bool {
        let bytes = self.bytes.saturating_add(held.bytes());
        let full = self.messages.len() >= options.requests_max as usize;
        if full || bytes > options.uncommitted_bytes_max {
            return false;
        }
        self.bytes = bytes;
        self.messages.push_back(held);
        true
    }

    pub(super) fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    pub(super) fn pop(&mut self) -> Option<Held> {
        let held = self.messages.pop_front()?;
        self.bytes -= held.bytes();
        Some(held)
    }
}
