//! What a node keeps while it leads.

use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::by_member::ByMember;
use crate::lease::Rounds;
use crate::message::Envelope;
use crate::progress::Progress;
use crate::rare::Rare;
use crate::read_queue::ReadQueue;
use crate::types::{Index, Round, Span, Time};

use super::change::Change;
use super::forwards::HeldForwards;
use super::membership::Departures;
use super::reads::Reader;
use super::transfer::{Leaving, Transfer};

/// What only a leader knows.
#[derive(Clone, Debug)]
pub(super) struct Leader {
    pub(super) peers: ByMember<Progress>,
    /// The latest configuration is one set of voters, this node among them, and its peers are all the others.
    pub(super) only_voters: bool,
    /// The latest round of heartbeats.
    pub(super) round: Round,
    pub(super) heartbeat_due: Time,
    pub(super) reads: Rare<ReadQueue<Reader>>,
    /// The first entry of this leadership: nothing is known to be committed before it is.
    pub(super) noop: Index,
    /// When rounds were begun, and whether promises are asked for.
    pub(super) rounds: Rounds,
    /// What was committed when the last regular heartbeat but one was sent, and when the last one was.
    pub(super) settled: (Index, Index),
    /// Not before then it hands over of its own accord.
    pub(super) hand_over_after: Time,
    /// Bytes of this leadership's entries that are not committed (S56).
    pub(super) uncommitted_bytes: u64,
    /// What others proposed while this leader hands over.
    pub(super) held: Rare<HeldForwards>,
    /// Members that were removed, and are told so.
    pub(super) departures: Departures,
    /// The change of membership that is under way.
    pub(super) change: Option<Box<Change>>,
    /// Leadership on its way to another node.
    pub(super) transfer: Option<Box<Transfer>>,
    /// This leader is no voter any more.
    pub(super) leaving: Option<Leaving>,
    /// Envelopes of messages that were received, for those that are sent next.
    #[expect(clippy::vec_box, reason = "they are handed out as they are")]
    pub(super) spare: Vec<Box<Envelope>>,
}

/// How many messages a leader sends at once without asking for memory, besides the first.
pub(super) const SPARE_MAX: usize = 3;

impl Leader {
    pub(super) fn new(now: Time, heartbeat_interval: Span, noop: Index) -> Self {
        Self {
            peers: ByMember::default(),
            only_voters: false,
            round: Round(0),
            heartbeat_due: Time(now.0.saturating_add(heartbeat_interval.0)),
            reads: Rare::new(),
            noop,
            rounds: Rounds::new(),
            settled: (Index(0), Index(0)),
            hand_over_after: now,
            uncommitted_bytes: 0,
            held: Rare::new(),
            departures: Departures::default(),
            change: None,
            transfer: None,
            leaving: None,
            spare: Vec::new(),
        }
    }

    /// Keeps no room for what was acknowledged and answered, nor more envelopes than heartbeats take.
    pub(super) fn give_back(&mut self) {
        self.reads.give_back();
        self.held.give_back();
        self.spare.truncate(self.peers.len().saturating_sub(1));
        for peer in self.peers.values_mut() {
            peer.inflight.give_back();
        }
    }
}
