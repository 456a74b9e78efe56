//! Snapshots that this node takes, or installs in place of its log (§7).
//!
//! Read first: Figure 13, "InstallSnapshot RPC". The parts of a snapshot travel between replicas; here is
//! only what they mean for the log.
//!
//! Always holds: a snapshot is relied on, acknowledged and restored only once its mark is durable (S62);
//! what it replaces is replaced as a whole, log and membership (S60).

use alloc::boxed::Box;

use crate::action::{Action, HaltReason, Refusal};
use crate::configuration::Configurations;
use crate::message::Envelope;
use crate::planted::{Bug, planted};
use crate::rare::{Rare, Seldom};
use crate::snapshot::SnapshotMeta;
use crate::types::{EntryId, Index, Member, NodeId, SnapshotTicket};

use super::{Node, Role};

/// No log gets so long; a snapshot that claims to go further is none, and leaves room to count on from.
const INDEX_MAX: Index = Index(u64::MAX >> 1);

/// What a node knows of snapshots, of which a young group has none.
#[derive(Clone, Debug, Default)]
pub(super) struct Snapshots {
    /// The latest one, whether its mark is durable yet or not.
    latest: Option<EntryId>,
    /// The latest one whose mark is durable.
    durable: Option<EntryId>,
    /// One that is being fetched; boxed, because it seldom is.
    receiving: Option<Box<Receiving>>,
    /// Who was asked for one last, in vain.
    failed: Option<NodeId>,
    /// The replica was asked to take one, and has not reported any since.
    asked: bool,
}

/// A snapshot on its way to this node.
#[derive(Clone, Copy, Debug)]
struct Receiving {
    ticket: SnapshotTicket,
    at_least: EntryId,
    /// Who is asked for it.
    source: NodeId,
}

impl Seldom for Snapshots {
    const NOTHING: &'static Self = &Self {
        latest: None,
        durable: None,
        receiving: None,
        failed: None,
        asked: false,
    };

    fn is_nothing(&self) -> bool {
        self.latest.is_none()
            && self.durable.is_none()
            && self.receiving.is_none()
            && self.failed.is_none()
            && !self.asked
    }
}

impl Snapshots {
    pub(super) fn restored(restored: Option<EntryId>) -> Rare<Self> {
        let mut snapshots = Rare::<Self>::new();
        if restored.is_some() {
            *snapshots.make() = Self {
                latest: restored,
                durable: restored,
                ..Self::default()
            };
        }
        snapshots
    }

    pub(super) const fn latest(&self) -> Option<EntryId> {
        self.latest
    }

    pub(super) const fn durable(&self) -> Option<EntryId> {
        self.durable
    }

    /// What is being fetched is not wanted any more.
    pub(super) fn forget_receiving(&mut self) {
        self.receiving = None;
        self.failed = None;
    }

    fn is_new(&self, index: Index) -> bool {
        self.latest.is_none_or(|latest| index > latest.index)
    }
}

/// What a snapshot's last entry is to the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Committed already (S58).
    Committed,
    /// Not known to be committed until now, though the log has it and all before it.
    InLog,
    /// Not in the log, which ends before it or says something else there.
    Beyond,
}

impl Node {
    /// What a snapshot of the state machine at `applied` is to consensus; `None` unless that would be a
    /// newer one than the latest.
    ///
    /// Its configuration is the latest at or below that place and thus committed, whatever the log says
    /// later (S61).
    #[must_use]
    pub fn snapshot_meta(&self, applied: Index) -> Option<SnapshotMeta> {
        if applied == Index(0) || applied > self.commit_index || !self.snapshots.is_new(applied) {
            return None;
        }
        let term = self.log.term(applied)?;
        let (mut configured, mut configuration) = self.configurations.at(applied);
        if planted(Bug::NewestInSnapshot) {
            configured = self.configurations.latest_id();
            configuration = self.configurations.latest();
        }
        Some(SnapshotMeta {
            id: EntryId {
                term,
                index: applied,
            },
            term: self.hard_state.term,
            configured,
            configuration: configuration.clone(),
        })
    }

    pub(super) fn on_snapshot_taken(&mut self, snapshot: SnapshotMeta) {
        let index = snapshot.id.index;
        // One of an older state, or of another log than this node's, is of no use.
        let own = index <= self.apply.applied()
            && self.snapshot_meta(index).is_some_and(|own| {
                let term = snapshot.term.min(own.term);
                SnapshotMeta { term, ..own } == snapshot
            });
        if !own {
            return;
        }
        let snapshots = self.snapshots.make();
        snapshots.latest = Some(snapshot.id);
        snapshots.asked = false;
        self.persistence.snapshot_taken(snapshot);
    }

    /// Marks became durable, perhaps.
    #[inline(always)]
    pub(super) fn note_marks(&mut self) {
        while let Some(snapshot) = self.persistence.marked() {
            self.snapshots.make().durable = Some(snapshot);
        }
    }

    /// A peer needs a snapshot and there is none: the replica is asked for one, once.
    pub(super) fn ask_for_snapshot(&mut self) {
        let none = self.snapshots.latest.is_none();
        if none && !self.snapshots.asked && self.snapshot_meta(self.apply.applied()).is_some() {
            self.snapshots.make().asked = true;
            self.outbox.push(Action::TakeSnapshot);
        }
    }

    /// The leader offers a snapshot, because its log does not go back to where ours ends.
    pub(super) fn on_install_snapshot(&mut self, envelope: &Envelope, id: EntryId, source: Member) {
        if id.index == Index(0) || id.index > INDEX_MAX || id.term > envelope.term {
            self.refuse(envelope.from.member, Refusal::Malformed);
            return;
        }
        if let Role::Follower(follower) = &mut self.role {
            follower.offered(envelope.from.member, envelope.session, id.index);
        }
        match self.place_of(id) {
            Err(reason) => self.halt(reason),
            Ok(Place::Committed | Place::InLog) => self.skip_to(id.index),
            Ok(Place::Beyond) => {
                let receiving = self.snapshots.receiving.as_ref();
                if receiving.is_some_and(|awaited| awaited.at_least.index >= id.index) {
                    return;
                }
                // The leader names one after the other. Were the same one taken again, whenever the time to
                // give it up fits the time between offers, no other would ever be asked.
                if self.take_failed() == Some(source.node) {
                    return;
                }
                let counted = self.counted();
                counted.snapshot = counted.snapshot.next();
                let ticket = counted.snapshot;
                self.snapshots.make().receiving = Some(Box::new(Receiving {
                    ticket,
                    at_least: id,
                    source: source.node,
                }));
                self.outbox.push(Action::ReceiveSnapshot {
                    ticket,
                    at_least: id,
                    source,
                });
            }
        }
    }

    pub(super) fn on_snapshot_failed(&mut self, ticket: SnapshotTicket) {
        // The leader goes on offering, and another node may have it.
        if let Some(failed) = self.take_receiving(ticket) {
            self.snapshots.make().failed = Some(failed.source);
        }
    }

    fn take_receiving(&mut self, ticket: SnapshotTicket) -> Option<Box<Receiving>> {
        let receiving = &mut self.snapshots.made()?.receiving;
        receiving.take_if(|awaited| awaited.ticket == ticket)
    }

    fn take_failed(&mut self) -> Option<NodeId> {
        self.snapshots.made()?.failed.take()
    }

    pub(super) fn on_snapshot_received(&mut self, ticket: SnapshotTicket, snapshot: SnapshotMeta) {
        let Some(awaited) = self.take_receiving(ticket) else {
            return;
        };
        let at_least = awaited.at_least;
        let (end, configured) = (snapshot.id.index, snapshot.configured.index);
        if end < at_least.index || end > INDEX_MAX || configured > end {
            return;
        }
        // The log went on while the snapshot was on its way.
        match self.place_of(snapshot.id) {
            Err(reason) => self.halt(reason),
            Ok(Place::Committed) => {}
            Ok(Place::InLog) => {
                self.enter_term_of(&snapshot);
                self.skip_to(snapshot.id.index);
            }
            Ok(Place::Beyond) => {
                self.enter_term_of(&snapshot);
                // A leader has every entry that was committed in earlier terms, and made those of its own
                // (§5.4.3): no correct cluster has a snapshot that it lacks.
                if !matches!(self.role, Role::Leader(_)) {
                    self.install(snapshot);
                }
            }
        }
    }

    /// Where a snapshot's last entry stands; a different one that is committed at its place ends the node
    /// (S59).
    fn place_of(&self, id: EntryId) -> Result<Place, HaltReason> {
        let committed = id.index <= self.commit_index;
        match self.log.term(id.index) {
            Some(term) if committed && term != id.term => Err(HaltReason::CommittedConflict {
                index: id.index,
                committed: term,
                found: id.term,
            }),
            Some(_) | None if committed => Ok(Place::Committed),
            // The same entry, hence the same log up to it (Log Matching).
            Some(term) if term == id.term => Ok(Place::InLog),
            Some(_) | None => Ok(Place::Beyond),
        }
    }

    /// The log has the committed entry at `index` already: nothing needs to be fetched or installed (S58).
    fn skip_to(&mut self, index: Index) {
        self.commit_to(index);
        if let Role::Follower(follower) = &mut self.role {
            follower.has_offered(index);
        }
    }

    /// What the snapshot tells to be committed was committed in its term at the latest. With a leader of an
    /// earlier one this node is through: that leader may lack it, and hold something else in its place.
    fn enter_term_of(&mut self, snapshot: &SnapshotMeta) {
        let term = snapshot.term.max(snapshot.id.term);
        if term > self.hard_state.term {
            self.become_follower(term, None);
        }
    }

    /// The log is discarded whole and begins anew after the snapshot; what was only appended may have been
    /// another leader's, and is gone with the rest.
    fn install(&mut self, snapshot: SnapshotMeta) {
        if !matches!(self.role, Role::Follower(_)) {
            // Without a whole state machine nobody campaigns (S23).
            self.become_follower(self.hard_state.term, None);
        }
        // The old log still knows what became of these.
        self.resolve_decided();
        let (id, committed) = (snapshot.id, self.commit_index);
        self.log.install(id, committed);
        self.persistence
            .snapshot_installed(snapshot.clone(), committed);
        let snapshots = self.snapshots.make();
        snapshots.latest = Some(id);
        snapshots.asked = false;
        self.join();
        self.commit_index = id.index;
        if let Some(reading) = self.apply.install(snapshot.clone()) {
            self.requests.make().log_reads.remove(&reading);
        }
        if let Role::Follower(follower) = &mut self.role {
            follower.truncated(committed.next());
            follower.has_offered(id.index);
        }
        self.configurations_replaced(Configurations::new(
            snapshot.configured,
            snapshot.configuration,
        ));
    }

    /// A store that belonged to no cluster belongs to the one whose snapshot it installs, as soon as that
    /// is durable.
    fn join(&mut self) {
        if !self.is_blank() {
            return;
        }
        self.identity.cluster = self.cluster();
        self.persistence.identity_changed(self.identity);
    }
}
