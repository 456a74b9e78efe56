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
    /// Entries are being read from disk for it.
    reading: Option<ReadTicket>,
    /// What the state machine is to become next; not handed out yet.
    restore: Option<SnapshotMeta>,
    /// What it is becoming.
    restoring: Option<EntryId>,
}

impl ApplyLane {
    /// The state machine is empty, and begins from a snapshot if there is one.
    pub(super) const fn new(restore: Option<SnapshotMeta>) -> Self {
        Self {
            handed: Index(0),
            applied: Index(0),
            reading: None,
            restore,
            restoring: None,
        }
    }

    /// A snapshot replaces what was to be applied. Gives back the ticket of entries that are being read.
    pub(super) fn install(&mut self, snapshot: SnapshotMeta) -> Option<ReadTicket> {
        assert!(
            snapshot.id.index > self.handed,
            "the state machine never goes back"
        );
        self.restore = Some(snapshot);
        self.reading.take()
    }

    /// The snapshot that the state machine has yet to become: the latest, if there are two.
    pub(super) fn restoring(&self) -> Option<EntryId> {
        self.restore.as_ref().map(|next| next.id).or(self.restoring)
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
        if self.apply.restoring.is_none() {
            self.apply.applied = self.apply.applied.max(index.min(self.apply.handed));
            self.freshness.advance(self.apply.applied);
        }
    }

    pub(super) fn on_snapshot_restored(&mut self, id: EntryId) {
        if self.apply.restoring == Some(id) {
            self.apply.restoring = None;
            self.apply.applied = id.index;
            self.freshness.advance(self.apply.applied);
        }
    }

    /// The snapshot that the state machine was to become cannot be read, and what came before it is gone.
    pub(super) fn on_snapshot_damaged(&mut self, id: EntryId) {
        if self.apply.restoring == Some(id) {
            self.halt(HaltReason::SnapshotDamaged { id });
        }
    }

    pub(super) fn begin_apply(&mut self) {
        let lane = &self.apply;
        let to = self.commit_index.min(self.log.durable());
        if lane.applied < lane.handed || lane.restoring.is_some() {
            return;
        }
        if lane.restore.is_some() {
            self.begin_restore();
            return;
        }
        if lane.handed >= to || lane.reading.is_some() {
            return;
        }
        let from = lane.handed.next();
        if self.log.in_memory(from) {
            let bytes_max = self.options.apply_bytes_max;
            let (entries, _) = self.log.slice(from, to, bytes_max);
            self.hand_out(entries);
        } else {
            self.apply.reading = Some(self.read_log(LogReader::Apply, from, to));
        }
    }

    /// Hands out the snapshot to restore, once its mark is durable.
    fn begin_restore(&mut self) {
        let durable = self.log.durable();
        let lane = &mut self.apply;
        if let Some(snapshot) = lane.restore.take_if(|next| next.id.index <= durable) {
            lane.restoring = Some(snapshot.id);
            lane.handed = snapshot.id.index;
            self.outbox.push(Action::RestoreSnapshot { snapshot });
        }
    }

    fn hand_out(&mut self, entries: Arc<[Entry]>) {
        if let Some(last) = entries.last() {
            self.apply.handed = last.id.index;
            self.outbox.push(Action::Apply { entries });
        }
    }

    /// Asks for entries that left memory.
    pub(super) fn read_log(&mut self, reader: LogReader, from: Index, to: Index) -> ReadTicket {
        self.last_ticket = self.last_ticket.next();
        let ticket = self.last_ticket;
        self.log_reads.insert(ticket, LogRead { reader, from });
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
        let Some(read) = self.log_reads.remove(&ticket) else {
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
                self.apply.reading = None;
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
