//! What a node keeps for requests, only while it needs it: most groups are asked nothing most of the time.
//!
//! Always holds: what is counted never begins anew in one life, whatever is given back meanwhile.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;

use crate::rare::Seldom;
use crate::types::{Boot, ReadTicket, SnapshotTicket, Term};

use super::control::Controls;
use super::forwards::{ForwardWindows, Forwards};
use super::reads::ReadForwards;
use super::vacancy::Vacancy;
use super::{LogRead, Node};

/// Requests of this node on their way, and what it waits for on their behalf.
#[derive(Clone, Debug, Default)]
pub(super) struct Requests {
    pub(super) forwards: Forwards,
    pub(super) reads: ReadForwards,
    pub(super) controls: Controls,
    pub(super) vacancy: Vacancy,
    /// Entries asked for from the log on disk: for a peer, or for `Apply`.
    pub(super) log_reads: BTreeMap<ReadTicket, LogRead>,
}

impl Seldom for Requests {
    const NOTHING: &'static Self = &Self {
        forwards: Forwards::new(),
        reads: ReadForwards::new(),
        controls: Controls::new(),
        vacancy: Vacancy::new(),
        log_reads: BTreeMap::new(),
    };

    fn is_nothing(&self) -> bool {
        self.forwards.is_nothing()
            && self.reads.is_nothing()
            && self.controls.is_nothing()
            && self.vacancy.is_nothing()
            && self.log_reads.is_empty()
    }
}

/// What a node counts that has asked others for something, or was asked by them. It is never given back: no number
/// is used twice, and no message of others is taken twice.
#[derive(Clone, Debug)]
pub(super) struct Counted {
    /// The last message with proposals.
    pub(super) proposals: u64,
    /// The last question for reads.
    pub(super) reads: u64,
    /// The last request to the leader itself.
    pub(super) controls: u64,
    pub(super) log_read: ReadTicket,
    pub(super) snapshot: SnapshotTicket,
    /// The term of the leader that was handed a proposal last.
    pub(super) handed_in: Term,
    /// The last term this node led in this life, if it does not lead now: a leader need not be told.
    pub(super) led: Option<Term>,
    /// Others' messages with proposals, and their requests to this leader.
    pub(super) proposals_seen: ForwardWindows,
    pub(super) controls_seen: ForwardWindows,
}

impl Counted {
    fn new(boot: Boot) -> Self {
        let first = boot.first_number();
        Self {
            proposals: first,
            reads: first,
            controls: first,
            log_read: ReadTicket(first),
            snapshot: SnapshotTicket(first),
            handed_in: Term(0),
            led: None,
            proposals_seen: ForwardWindows::default(),
            controls_seen: ForwardWindows::default(),
        }
    }
}

impl Node {
    pub(super) fn counted(&mut self) -> &mut Counted {
        let boot = self.boot;
        self.counted
            .get_or_insert_with(|| Box::new(Counted::new(boot)))
    }
}
