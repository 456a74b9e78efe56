//! What is handed to a node: told apart, and handed on to who knows what follows from it.
//!
//! Always holds: time never runs backwards here; what is not one of the few inputs that come with every commit is
//! noted as such, so that the next drain looks at everything.

use alloc::boxed::Box;

use crate::action::HaltReason;
use crate::event::{Event, Input};
use crate::message::{Body, Control, Envelope};

use super::Node;

impl Node {
    /// Takes one event; what follows from it and its neighbors comes out of the next `drain`.
    ///
    /// Handing in everything that has arrived before draining is what batches: many proposals
    /// become one write and one append for each peer.
    pub fn handle(&mut self, event: Event) {
        // Nearly always there is nothing to look at first.
        if self.apart.get().is_some() || self.options.check_invariants {
            self.handle_carefully(event);
            return;
        }
        // A clock that runs backwards would undo promises that rest on time.
        self.now = self.now.max(event.at);
        self.take_in(event.input);
    }

    #[inline(never)]
    fn handle_carefully(&mut self, event: Event) {
        let Event { at, input } = event;
        if self.is_over()
            && (self.apart.halted.is_some()
                || !matches!(input, Input::Wiped { .. } | Input::StorageFailed))
        {
            self.refuse_after_halt(&input);
            return;
        }
        self.now = self.now.max(at);
        let before = self.checkpoint();
        self.take_in(input);
        self.check_against(before.as_ref());
    }

    /// What comes with every commit is told apart from everything else first.
    #[inline(always)]
    fn take_in(&mut self, input: Input) {
        match input {
            Input::Receive(envelope) => self.on_envelope(envelope),
            // There is nothing in it to drop, nor in the next one.
            Input::Persisted { store, boot, id } => {
                core::mem::forget(input);
                self.on_persisted(store, boot, id);
            }
            Input::Applied { index } => {
                core::mem::forget(input);
                self.on_applied(index);
            }
            Input::Propose { request, command } => self.on_propose(request, command),
            other @ (Input::Tick
            | Input::Read { .. }
            | Input::ChangeMembership { .. }
            | Input::TransferLeadership { .. }
            | Input::StepDown { .. }
            | Input::Campaign
            | Input::LogRead { .. }
            | Input::SnapshotTaken { .. }
            | Input::SnapshotReceived { .. }
            | Input::SnapshotFailed { .. }
            | Input::SnapshotRestored { .. }
            | Input::SnapshotDamaged { .. }
            | Input::Solo { .. }
            | Input::Reset { .. }
            | Input::Wiped { .. }
            | Input::PeerUnreachable { .. }
            | Input::StorageFailed
            | Input::StorageFull
            | Input::StorageAvailable) => self.take_in_other(other),
        }
    }

    #[inline(never)]
    fn take_in_other(&mut self, input: Input) {
        self.handed.other = true;
        match input {
            Input::Tick => self.on_tick(),
            Input::Read {
                request,
                consistency,
            } => self.on_read(request, consistency),
            Input::ChangeMembership { request, change } => {
                self.on_control(request, Control::ChangeMembership(change));
            }
            Input::TransferLeadership { request, to } => {
                self.on_control(request, Control::TransferLeadership { to });
            }
            Input::StepDown { request } => self.on_control(request, Control::StepDown),
            Input::SnapshotTaken { snapshot } => self.on_snapshot_taken(snapshot),
            Input::SnapshotReceived { ticket, snapshot } => {
                self.on_snapshot_received(ticket, snapshot);
            }
            Input::SnapshotFailed { ticket } => self.on_snapshot_failed(ticket),
            Input::SnapshotRestored { id } => self.on_snapshot_restored(id),
            Input::SnapshotDamaged { id } => self.on_snapshot_damaged(id),
            Input::Solo {
                request,
                expect,
                cluster,
                store,
            } => self.on_solo(request, expect, cluster, store),
            Input::Reset { request, store } => self.on_reset(request, store),
            Input::Wiped { store } => self.on_wiped(store),
            Input::Campaign => self.on_campaign(),
            Input::LogRead { ticket, outcome } => self.on_log_read(ticket, outcome),
            Input::PeerUnreachable { peer } => self.on_peer_unreachable(peer),
            Input::StorageFailed => self.halt(HaltReason::StorageFailed),
            Input::StorageFull => {
                self.storage_full = true;
                self.check_disk();
            }
            Input::StorageAvailable => self.storage_full = false,
            Input::Receive(_)
            | Input::Persisted { .. }
            | Input::Applied { .. }
            | Input::Propose { .. } => unreachable!("what comes with every commit was taken in"),
        }
    }

    #[inline(never)]
    fn on_envelope(&mut self, mut envelope: Box<Envelope>) {
        if self.on_steady(&mut envelope) {
            self.handed.heard = true;
            self.keep(envelope);
        } else {
            self.handed.other = true;
            self.on_message(envelope);
        }
    }

    #[inline(never)]
    fn on_message(&mut self, envelope: Box<Envelope>) {
        if matches!(envelope.body, Body::Heartbeat { .. }) {
            self.on_beat(envelope);
        } else {
            self.on_receive(&envelope);
            self.reuse(envelope);
        }
    }
}
