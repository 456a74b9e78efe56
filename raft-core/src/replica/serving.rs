//! Serving snapshots to others: who reads what, and for how long it must stay.
//!
//! Always holds: only so many parts are being read at once, for one peer and for all; a question that is not
//! answered is asked again.

use alloc::collections::BTreeMap;

use crate::options::Options;
use crate::types::{EntryId, Index, Member, Time};

/// Peers that fetch at once; more have to wait.
const PEERS_MAX: usize = 64;

/// What other nodes fetch from this one.
#[derive(Clone, Debug, Default)]
pub(super) struct Serving {
    peers: BTreeMap<Member, Peer>,
}

#[derive(Clone, Copy, Debug)]
struct Peer {
    /// What it fetches.
    id: EntryId,
    /// It counts as fetching until then.
    until: Time,
    /// Parts that are being read for it.
    reading: u32,
}

/// What a peer asks for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    pub(super) from: Member,
    pub(super) id: Option<EntryId>,
    pub(super) at_least: Index,
}

/// What becomes of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Served {
    /// A part of this snapshot is read.
    Read(EntryId),
    /// There is none that is new enough.
    Missing,
    /// Too much is being read; as good as lost.
    Busy,
}

impl Peer {
    fn fetches(&self, now: Time) -> bool {
        self.until > now || self.reading > 0
    }
}

impl Serving {
    pub(super) fn ask(
        &mut self,
        now: Time,
        asked: Asked,
        latest: Option<EntryId>,
        options: &Options,
    ) -> Served {
        let id = asked.id.or(latest);
        let Some(id) = id.filter(|id| id.index >= asked.at_least) else {
            return Served::Missing;
        };
        self.peers.retain(|_, peer| peer.fetches(now));
        let known = self.peers.contains_key(&asked.from);
        if !known && self.peers.len() >= PEERS_MAX {
            return Served::Busy;
        }
        let until = now + options.request_timeout;
        let peer = self.peers.entry(asked.from).or_insert(Peer {
            id,
            until,
            reading: 0,
        });
        if peer.reading >= options.snapshot_chunks_max {
            return Served::Busy;
        }
        (peer.id, peer.until) = (id, until);
        peer.reading += 1;
        Served::Read(id)
    }

    /// A part was read for a peer, or could not be.
    pub(super) fn read(&mut self, to: Member) {
        if let Some(peer) = self.peers.get_mut(&to) {
            peer.reading = peer.reading.saturating_sub(1);
        }
    }

    /// A peer was told that it cannot have this.
    pub(super) fn gave_up(&mut self, to: Member, id: EntryId) {
        if let Some(peer) = self.peers.get_mut(&to)
            && peer.id == id
        {
            peer.until = Time(0);
        }
    }

    /// The snapshots that somebody fetches.
    pub(super) fn in_use(&self, now: Time) -> impl Iterator<Item = EntryId> + '_ {
        let peers = self.peers.values();
        let fetching = peers.filter(move |peer| peer.fetches(now));
        fetching.map(|peer| peer.id)
    }

    /// When the next peer that fetches anything but this one counts as gone.
    pub(super) fn next_deadline(&self, now: Time, latest: Option<EntryId>) -> Option<Time> {
        let peers = self.peers.values();
        let others = peers.filter(|peer| Some(peer.id) != latest && peer.until > now);
        others.map(|peer| peer.until).min()
    }
}
