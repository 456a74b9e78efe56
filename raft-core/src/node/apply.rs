//! The state lane: committed entries on their way to the state machine (§5.3).
//!
//! Always holds: what is handed out is committed and durable here; one `Apply` is out at a time, so
//! that a slow state machine bounds what waits for it. A snapshot to restore takes the place of the
//! entries in it, and nothing else is handed out until the state machine is what it says.

use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::action::{Action, HaltReason, ReadLog};
use crate::entry::Entry;
use crate::event::LogReadOutcome;
use crate::rare::{Rare, Seldom};
use crate::snapshot::SnapshotMeta;
use crate::types::{EntryId, Index, Member, ReadTicket};

use super::{LogRead, LogReader, Node, Role};

/// How far the state machine has got.
#[derive(Clone, Debug)]
pub(super) struct ApplyLane {
    /// The last entry handed out.
    handed: Index,
    /// The last entry reported applied.
    applied: Index,
    detour: Rare<Detour>,
}

/// Why entries in memory are not all there is to hand out.
#[derive(Clone, Debug, Default)]
struct Detour {
    /// Entries are being read from disk for it.
    reading: Option<ReadTicket>,
    /// What the state machine is to become next; not handed out yet.
    restore: Option<SnapshotMeta>,
    /// What it is becoming.
    restoring: Option<EntryId>,
}

impl Seldom for Detour {
    const NOTHING: &'static Self = &Self {
        reading: None,
        restore: None,
        restoring: None,
    };

    fn is_nothing(&self) -> bool {
        self.reading.is_none() && self.restore.is_none() && self.restoring.is_none()
    }
}

impl ApplyLane {
    /// The state machine is empty, and begins from a snapshot if there is one.
    pub(super) fn new(restore: Option<SnapshotMeta>) -> Self {
        let mut detour = Rare::<Detour>::new();
        if restore.is_some() {
            *detour.make() = Detour {
                restore,
                ..Detour::default()
            };
        }
        Self {
            handed: Index(0),
            applied: Index(0),
            detour,
        }
    }

    /// Keeps nothing for what is over.
    pub(super) fn give_back(&mut self) {
        self.detour.give_back();
    }

    /// A snapshot replaces what was to be applied. Gives back the ticket of entries that are being read.
    pub(super) fn install(&mut self, snapshot: SnapshotMeta) -> Option<ReadTicket> {
        assert!(
            snapshot.id.index > self.handed,
            "the state machine never goes back"
        );
        let detour = self.detour.make();
        detour.restore = Some(snapshot);
        detour.reading.take()
    }

    /// The snapshot that the state machine has yet to become: the latest, if there are two.
    pub(super) fn restoring(&self) -> Option<EntryId> {
        let detour = self.detour.get()?;
        let next = detour.restore.as_ref().map(|next| next.id);
        next.or(detour.restoring)
    }

    pub(super) const fn handed(&self) -> Index {
        self.handed
    }

    pub(super) const fn applied(&self) -> Index {
        self.applied
    }
}

impl Node {
    pub(super) fn on_applied(&mut self, index: Index) {
        // While a snapshot is being restored, only that being done says something.
        if self.apply.detour.restoring.is_none() {
            self.apply.applied = self.apply.applied.max(index.min(self.apply.handed));
            self.freshness.advance(self.apply.applied);
        }
    }

    pub(super) fn on_snapshot_restored(&mut self, id: EntryId) {
        let detour = self.apply.detour.made();
        let becomes = detour.and_then(|detour| detour.restoring.take_if(|it| *it == id));
        if becomes.is_some() {
            self.apply.applied = id.index;
            self.freshness.advance(self.apply.applied);
        }
    }

    /// The snapshot that the state machine was to become cannot be read, and what came before it is gone.
    pub(super) fn on_snapshot_damaged(&mut self, id: EntryId) {
        if self.apply.detour.restoring == Some(id) {
            self.halt(HaltReason::SnapshotDamaged { id });
        }
    }

    #[inline(always)]
    pub(super) fn begin_apply(&mut self) {
        let lane = &self.apply;
        let to = self.commit_index.min(self.log.durable());
        let nothing = lane.handed >= to && lane.detour.get().is_none();
        if lane.applied >= lane.handed && !nothing {
            self.begin_apply_to(to);
        }
    }

    #[inline(never)]
    fn begin_apply_to(&mut self, to: Index) {
        let lane = &self.apply;
        if let Some(detour) = lane.detour.get() {
            if detour.restoring.is_some() {
                return;
            }
            if detour.restore.is_some() {
                self.begin_restore();
                return;
            }
            if detour.reading.is_some() {
                return;
            }
        }
        if lane.handed >= to {
            return;
        }
        let from = lane.handed.next();
        if self.log.in_memory(from) {
            let bytes_max = self.options.apply_bytes_max;
            let (entries, _) = self.log.slice(from, to, bytes_max);
            self.hand_out(entries);
        } else {
            let ticket = self.read_log(LogReader::Apply, from, to);
            self.apply.detour.make().reading = Some(ticket);
        }
    }

    /// Hands out the snapshot to restore, once its mark is durable.
    fn begin_restore(&mut self) {
        let durable = self.log.durable();
        let detour = self.apply.detour.make();
        if let Some(snapshot) = detour.restore.take_if(|next| next.id.index <= durable) {
            detour.restoring = Some(snapshot.id);
            self.apply.handed = snapshot.id.index;
            self.outbox.push(Action::RestoreSnapshot { snapshot });
        }
    }

    #[inline(always)]
    fn hand_out(&mut self, entries: Arc<[Entry]>) {
        if let Some(last) = entries.last() {
            self.apply.handed = last.id.index;
            self.outbox.push(Action::Apply { entries });
        }
    }

    /// Asks for entries that left memory.
    pub(super) fn read_log(&mut self, reader: LogReader, from: Index, to: Index) -> ReadTicket {
        let counted = self.counted();
        counted.log_read = counted.log_read.next();
        let ticket = counted.log_read;
        self.requests
            .make()
            .log_reads
            .insert(ticket, LogRead { reader, from });
        let bytes_max = match reader {
            LogReader::Peer(_) => self.options.append_bytes_max,
            LogReader::Apply => self.options.apply_bytes_max,
        };
        self.outbox.push(Action::ReadLog(ReadLog {
            ticket,
            from,
            to,
            bytes_max,
        }));
        ticket
    }

    pub(super) fn on_log_read(&mut self, ticket: ReadTicket, outcome: LogReadOutcome) {
        // An answer nobody waits for any more: leadership ended in between.
        let asked = self.requests.made();
        let Some(read) = asked.and_then(|requests| requests.log_reads.remove(&ticket)) else {
            return;
        };
        let entries = match outcome {
            LogReadOutcome::Entries(entries) => entries,
            LogReadOutcome::Compacted => {
                if let LogReader::Peer(peer) = read.reader {
                    self.on_compacted_for(peer, ticket);
                    return;
                }
                // The log is never compacted above what is applied.
                Vec::new()
            }
            LogReadOutcome::Damaged => {
                self.halt(HaltReason::LogDamaged { index: read.from });
                return;
            }
        };
        match read.reader {
            LogReader::Apply => {
                self.apply.detour.make().reading = None;
                if !self.is_own_log(read.from, &entries) {
                    self.halt(HaltReason::LogDamaged { index: read.from });
                    return;
                }
                let to = self.commit_index.min(self.log.durable());
                let committed = entries.into_iter().take_while(|e| e.id.index <= to);
                self.hand_out(committed.collect());
            }
            LogReader::Peer(peer) => self.on_log_read_for(peer, ticket, read.from, entries),
        }
    }

    fn on_log_read_for(
        &mut self,
        peer: Member,
        ticket: ReadTicket,
        from: Index,
        entries: Vec<Entry>,
    ) {
        let base = self.log.base().index;
        let Role::Leader(leader) = &mut self.role else {
            return;
        };
        let Some(progress) = leader.peers.get_mut(peer) else {
            return;
        };
        if progress.reading != Some(ticket) {
            return;
        }
        progress.reading = None;
        if progress.next_index != from {
            // The peer's answers took it further meanwhile. The log may be compacted past what was read
            // for it, and then there is nothing left to judge these entries by.
            return;
        }
        if from <= base {
            progress.needs_snapshot();
        } else if self.is_own_log(from, &entries) {
            self.send_entries(peer, entries.into());
        } else {
            self.halt(HaltReason::LogDamaged { index: from });
        }
    }

    /// Whether entries read back are the ones that were written: our own terms say so.
    fn is_own_log(&self, from: Index, entries: &[Entry]) -> bool {
        let mut expected = from;
        for entry in entries {
            let own = EntryId {
                term: self.log.term(expected).unwrap_or_default(),
                index: expected,
            };
            if entry.id != own {
                return false;
            }
            expected = expected.next();
        }
        !entries.is_empty()
    }
}
