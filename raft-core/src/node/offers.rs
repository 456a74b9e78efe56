//! The leader's side of snapshots: who needs one, and who has it (§7).
//!
//! Always holds: what is offered is durable here; the log after it is kept as long as compaction allows, so
//! that the peer can go on from there.

use alloc::vec::Vec;

use crate::message::Body;
use crate::progress::{Offer, ProgressState};
use crate::types::{EntryId, Index, Member, ReadTicket};

use super::leader::Leader;
use super::{Node, Role};

/// A peer that was silent for so many election timeouts is not waited for.
const SILENT_TIMEOUTS: u64 = 4;

impl Node {
    /// A peer's store is new: entries could follow nothing there.
    pub(super) fn on_blank(&mut self, member: Member) {
        if let Role::Leader(leader) = &mut self.role
            && let Some(peer) = leader.peers.get_mut(member)
            // A late answer, of before the peer had anything.
            && peer.match_index == Index(0)
            && peer.state != ProgressState::Snapshot
        {
            peer.needs_snapshot();
        }
    }

    /// What was being read for a peer is not in the log any more.
    pub(super) fn on_compacted_for(&mut self, member: Member, ticket: ReadTicket) {
        if let Role::Leader(leader) = &mut self.role
            && let Some(peer) = leader.peers.get_mut(member)
            && peer.reading == Some(ticket)
        {
            peer.needs_snapshot();
        }
    }

    /// Tells peers that cannot be served from the log of the latest snapshot, and again with every
    /// heartbeat until they have it.
    pub(super) fn offer_snapshots(&mut self) {
        let Role::Leader(leader) = &self.role else {
            return;
        };
        let waiting = leader.peers.iter();
        let waiting = waiting.filter(|(_, peer)| peer.state == ProgressState::Snapshot);
        let waiting: Vec<(Member, Option<Offer>)> = waiting
            .map(|(member, peer)| (member, peer.offer.as_deref().copied()))
            .collect();
        let Some(latest) = self.snapshots.durable() else {
            self.ask_for_snapshot();
            return;
        };
        for (member, offer) in waiting {
            // The same one again, so that what was fetched of it so far is of use, unless the log does not
            // go back to it any more.
            let offer = offer.filter(|offer| offer.id.index >= self.log.base().index);
            let due = offer.is_none_or(|o| self.now >= o.at + self.options.heartbeat_interval);
            if due {
                let id = offer.map_or(latest, |offer| offer.id);
                self.offer_snapshot(member, id);
            }
        }
    }

    fn offer_snapshot(&mut self, member: Member, id: EntryId) {
        let (me, now) = (self.me(), self.now);
        let Role::Leader(leader) = &mut self.role else {
            return;
        };
        let holders = leader.holders(member, id.index);
        let Some(peer) = leader.peers.get_mut(member) else {
            return;
        };
        peer.offered(id, now);
        let (session, times) = (
            peer.session,
            peer.offer.as_ref().map_or(1, |offer| offer.times),
        );
        // Any node that got so far may have taken one, too: every other time one of them is named, in case
        // the leader cannot serve it.
        let others = holders.len() as u64;
        let source = (times % 2 == 0 && others > 0)
            .then(|| holders.into_iter().nth(place(times / 2, others)))
            .flatten()
            .unwrap_or(me);
        self.send(member, session, Body::InstallSnapshot { id, source });
    }

    /// The last entry that no peer worth waiting for still needs; `None` if there is no such peer.
    pub(super) fn not_needed_by_peers(&self) -> Option<Index> {
        let Role::Leader(leader) = &self.role else {
            return None;
        };
        let patience = self.options.election_timeout.times(SILENT_TIMEOUTS);
        let peers = leader.peers.values();
        let heard = peers.filter(|peer| self.now - peer.last_contact <= patience);
        let has = heard.filter_map(|peer| match peer.state {
            ProgressState::Probe | ProgressState::Paused | ProgressState::Replicate => {
                Some(peer.match_index)
            }
            ProgressState::Snapshot => peer.offer.as_ref().map(|offer| offer.id.index),
        });
        has.min()
    }
}

impl Leader {
    /// Other peers that have everything up to `index`.
    fn holders(&self, except: Member, index: Index) -> Vec<Member> {
        let peers = self.peers.iter();
        let holders = peers.filter(|(member, peer)| *member != except && peer.match_index >= index);
        holders.map(|(member, _)| member).collect()
    }
}

/// Which of `count` comes next, in turn.
fn place(turn: u64, count: u64) -> usize {
    usize::try_from(turn % count).unwrap_or(0)
}
