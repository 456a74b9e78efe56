//! Requests on their way through another node: numbered messages that wait for an answer.
//!
//! Always holds: a number is used once, also across lives of the node, so that an answer is taken for the
//! message it answers and for no other; deadlines follow the order of numbers.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use bytes::Bytes;

use crate::entry::OVERHEAD_BYTES;
use crate::message::Session;
use crate::types::{Index, Member, RequestId, Term, Time};

/// The requests in one message.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    /// The leader it went to.
    pub(crate) leader: Member,
    /// The term in which that node led.
    pub(crate) term: Term,
    pub(crate) requests: Vec<RequestId>,
    /// What they ask, in case the leader gives it back; nothing where that would be too much to keep.
    pub(crate) commands: Vec<Bytes>,
    pub(crate) deadline: Time,
}

impl Sent {
    fn kept_bytes(&self) -> u64 {
        bytes_of(&self.commands)
    }
}

/// What commands take in memory, and will in a log.
pub(crate) fn bytes_of(commands: &[Bytes]) -> u64 {
    let sizes = commands.iter().map(|command| command.len() as u64);
    sizes.map(|size| size + OVERHEAD_BYTES).sum()
}

/// Messages without an answer, by number.
#[derive(Clone, Debug, Default)]
pub(crate) struct SentRequests {
    sent: BTreeMap<u64, Sent>,
    /// What the commands take that are kept.
    kept_bytes: u64,
}

impl SentRequests {
    pub(crate) const fn new() -> Self {
        Self {
            sent: BTreeMap::new(),
            kept_bytes: 0,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.sent.is_empty()
    }

    /// A message goes out with the next number: the session that names it.
    pub(crate) fn send(&mut self, number: u64, sent: Sent) -> Session {
        self.kept_bytes += sent.kept_bytes();
        let session = Session {
            term: sent.term,
            added: Index(0),
            counter: number,
        };
        self.sent.insert(number, sent);
        session
    }

    pub(crate) const fn kept_bytes(&self) -> u64 {
        self.kept_bytes
    }

    /// An answer came: what it answers, if it comes from whom it should and `fits` so many requests.
    pub(crate) fn answered(
        &mut self,
        from: Member,
        session: Session,
        fits: impl FnOnce(usize) -> bool,
    ) -> Option<Sent> {
        let sent = self.sent.get(&session.counter)?;
        let right = sent.leader == from && sent.term == session.term && fits(sent.requests.len());
        if !right {
            return None;
        }
        let sent = self.sent.remove(&session.counter)?;
        self.kept_bytes -= sent.kept_bytes();
        Some(sent)
    }

    /// When the first one's time is up.
    pub(crate) fn next_deadline(&self) -> Option<Time> {
        self.sent.values().next().map(|sent| sent.deadline)
    }

    /// The requests of the next message whose time is up.
    pub(crate) fn expired(&mut self, now: Time) -> Option<Vec<RequestId>> {
        let first = self.sent.first_entry()?;
        if first.get().deadline > now {
            return None;
        }
        let sent = first.remove();
        self.kept_bytes -= sent.kept_bytes();
        Some(sent.requests)
    }

    /// What was sent to leaders of earlier terms is worth no more than a wait until `deadline`.
    pub(crate) fn shorten(&mut self, before: Term, deadline: Time) {
        for sent in self.sent.values_mut().filter(|sent| sent.term < before) {
            sent.deadline = sent.deadline.min(deadline);
        }
    }

    /// Takes back what was sent to leaders of earlier terms.
    pub(crate) fn take_back(&mut self, before: Term) -> Vec<Sent> {
        let sent = core::mem::take(&mut self.sent).into_iter();
        let (earlier, current): (BTreeMap<_, _>, _) = sent.partition(|(_, s)| s.term < before);
        self.sent = current;
        self.kept_bytes = self.sent.values().map(Sent::kept_bytes).sum();
        earlier.into_values().collect()
    }

    /// Gives up on everything.
    pub(crate) fn take_all(&mut self) -> impl Iterator<Item = RequestId> + use<> {
        self.kept_bytes = 0;
        let sent = core::mem::take(&mut self.sent).into_values();
        sent.flat_map(|sent| sent.requests)
    }
}
