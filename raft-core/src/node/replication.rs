//! The sending side of replication: §5.3.
//!
//! Read first: Figure 2, "AppendEntries RPC".
//!
//! Always holds: a peer is sent what follows the place up to which the logs are thought to agree, and told no more
//! of what is committed than this leader knows.

use alloc::sync::Arc;

use crate::action::{Action, Alert, Refusal};
use crate::by_member::ByMember;
use crate::entry::{Entry, Payload, check_run};
use crate::message::{AppendOutcome, Body, DiskHealth, Envelope};
use crate::planted::{Bug, planted};
use crate::progress::{Progress, ProgressState};
use crate::run::Sums;
use crate::types::{Boot, EntryId, Index, Member, Round, Time};

use super::{LogReader, Node, Role};

impl Node {
    /// Appends an entry of this leadership.
    pub(super) fn append_own(&mut self, payload: Payload) -> EntryId {
        if planted(Bug::WrongSlot) {
            self.truncate(self.log.durable().max(self.commit_index).next());
        }
        let id = EntryId {
            term: self.hard_state.term,
            index: self.log.last().index.next(),
        };
        let sums = self.append(Entry { id, payload });
        let Role::Leader(leader) = &mut self.role else {
            unreachable!("only a leader appends entries of its own");
        };
        leader.uncommitted_bytes += sums.quota;
        id
    }

    pub(super) fn append(&mut self, entry: Entry) -> Sums {
        let configuration = match &entry.payload {
            Payload::Configuration(configuration) => Some(configuration.clone()),
            Payload::Noop | Payload::Command(_) => None,
        };
        let id = entry.id;
        let sums = self.log.append(entry);
        if let Some(configuration) = configuration {
            self.configuration_appended(id, configuration);
        }
        sums
    }

    pub(super) fn truncate(&mut self, from: Index) {
        assert!(
            from > self.commit_index,
            "committed entries are never truncated"
        );
        self.log.truncate(from);
        self.persistence.truncated(from);
        self.configurations_truncated(from);
        if let Role::Follower(follower) = &mut self.role {
            follower.truncated(from);
        }
    }

    pub(super) fn on_leader_tick(&mut self) {
        let (me, now) = (self.me(), self.now);
        let Role::Leader(leader) = &self.role else {
            return;
        };
        if now < leader.heartbeat_due {
            return;
        }
        let heard = self.configuration().reached(|member| {
            if member == me {
                now
            } else {
                leader
                    .peers
                    .get(member)
                    .map_or(Time(0), |peer| peer.last_contact)
            }
        });
        // A leader without its majority may have been replaced long ago (dissertation §6.2).
        if heard.is_none_or(|heard| heard + self.options.election_timeout < now)
            && !planted(Bug::NoCheckQuorum)
        {
            self.become_follower(self.hard_state.term, None);
            return;
        }
        let due = now + self.options.heartbeat_interval;
        self.rest();
        self.note_confirmed();
        self.broadcast_heartbeat();
        self.tell_to_lead();
        if let Role::Leader(leader) = &mut self.role {
            leader.heartbeat_due = due;
            leader.settled = (leader.settled.1, self.commit_index);
            // Rounds begun for reads ask nothing: there may be any number of them.
            for peer in leader.peers.values_mut() {
                peer.ask(leader.round);
            }
        }
    }

    /// Begins a round: every read asked for so far is confirmed when a majority answers it.
    pub(super) fn broadcast_heartbeat(&mut self) {
        let commit = self.commit_index;
        let (promise, priority) = (self.wanted_promise(), self.options.priority);
        let Role::Leader(leader) = &mut self.role else {
            return;
        };
        leader.round = leader.round.next();
        let round = leader.round;
        let noop = if planted(Bug::ReadWithoutNoop) {
            Index(0)
        } else {
            leader.noop
        };
        let read_index = commit.max(noop);
        let confirming = if planted(Bug::RoundReused) {
            Round(round.0 - 1)
        } else {
            round
        };
        if let Some(reads) = leader.reads.made() {
            reads.begin(confirming, read_index);
        }
        leader
            .rounds
            .begin(round, self.now, self.options.election_timeout);
        let mut peers = core::mem::take(&mut leader.peers);
        for (member, peer) in peers.iter_mut() {
            // No further than it is known to have the log (S46).
            let commit = commit.min(peer.match_index);
            let heartbeat = Body::Heartbeat {
                commit,
                read_index,
                round,
                promise,
                priority,
            };
            self.send(member, peer.session, heartbeat);
        }
        self.restore_peers(peers);
    }

    fn restore_peers(&mut self, peers: ByMember<Progress>) {
        if let Role::Leader(leader) = &mut self.role {
            leader.peers = peers;
        }
    }

    #[inline(always)]
    pub(super) fn replicate(&mut self) {
        let Role::Leader(leader) = &self.role else {
            return;
        };
        let (last, commit) = (self.log.last().index, self.commit_index);
        if !leader.peers.values().all(|peer| peer.has_all(last, commit)) {
            self.replicate_to_all();
        }
    }

    fn replicate_to_all(&mut self) {
        let Role::Leader(leader) = &mut self.role else {
            return;
        };
        let mut peers = core::mem::take(&mut leader.peers);
        let mut waits = false;
        for (member, peer) in peers.iter_mut() {
            self.replicate_to(member, peer);
            waits |= peer.state == ProgressState::Snapshot;
        }
        self.restore_peers(peers);
        if waits {
            self.offer_snapshots();
        }
    }

    fn replicate_to(&mut self, member: Member, peer: &mut Progress) {
        let last = self.log.last().index;
        // Without the entry before the next one nothing can be appended (S54).
        let compacted = peer.next_index.previous() < self.log.base().index;
        if compacted && peer.state != ProgressState::Snapshot {
            if planted(Bug::FullyPurged) {
                return;
            }
            peer.needs_snapshot();
        }
        let (appends, bytes) = (
            self.options.inflight_appends_max,
            self.options.inflight_bytes_max,
        );
        while peer.may_send(appends, bytes) && peer.reading.is_none() {
            let next = peer.next_index;
            if next > last {
                break;
            }
            if !self.log.in_memory(next) {
                // Only what is durable has left memory; what follows may not be written yet.
                let to = last.min(self.log.durable());
                peer.reading = Some(self.read_log(LogReader::Peer(member), next, to));
                break;
            }
            let bytes_max = self.options.append_bytes_max;
            let (entries, bytes) = self.log.slice(next, last, bytes_max);
            self.send_append(member, peer, entries, bytes);
        }
        let must_ask = peer.state == ProgressState::Probe && peer.reading.is_none();
        let must_tell = peer.state == ProgressState::Replicate
            && peer.commit_sent < peer.commit_wanted.min(self.commit_index);
        if must_ask || must_tell {
            self.send_append(member, peer, Arc::default(), 0);
        }
    }

    /// Entries of the log read back from disk are sent like those in memory.
    pub(super) fn send_entries(&mut self, member: Member, entries: Arc<[Entry]>) {
        let Role::Leader(leader) = &mut self.role else {
            return;
        };
        let mut peers = core::mem::take(&mut leader.peers);
        if let Some(peer) = peers.get_mut(member) {
            let bytes = entries.iter().map(Entry::memory_bytes).sum();
            self.send_append(member, peer, entries, bytes);
        }
        self.restore_peers(peers);
    }

    #[inline(always)]
    fn send_append(
        &mut self,
        member: Member,
        peer: &mut Progress,
        entries: Arc<[Entry]>,
        bytes: u64,
    ) {
        let index = peer.next_index.previous();
        let Some(term) = self.log.term(index) else {
            return;
        };
        let previous = EntryId { term, index };
        debug_assert!(
            check_run(previous, &entries, self.hard_state.term).is_ok(),
            "an append carries a contiguous run of the leader's log"
        );
        let commit = self.commit_index;
        let last = entries.last().map_or(index, |entry| entry.id.index);
        peer.sent(last, bytes, commit);
        let body = Body::AppendEntries {
            previous,
            commit,
            entries,
        };
        let append = self.envelope_here(member, peer.session, body);
        self.outbox.push(Action::Send(append));
    }

    /// The entries of one write: those just sent or received, if they are the same.
    #[inline(always)]
    pub(super) fn persist_slice(&mut self, from: Index, to: Index) -> Arc<[Entry]> {
        let bytes_max = if self.persistence.is_whole() {
            u64::MAX
        } else {
            self.options.append_bytes_max
        };
        self.log.slice(from, to, bytes_max).0
    }

    pub(super) fn on_append_reply(&mut self, envelope: &Envelope, outcome: AppendOutcome) {
        let member = envelope.from.member;
        let last = self.log.last().index;
        match outcome {
            AppendOutcome::Matched(matched) => self.acknowledge(member, matched),
            AppendOutcome::Blank => self.on_blank(member),
            AppendOutcome::Conflict { previous, hint } => {
                if previous > last || hint.index >= previous {
                    self.refuse(member, Refusal::Malformed);
                    return;
                }
                // Where the log begins it agrees with everybody who got so far.
                let known = hint.index >= self.log.base().index;
                let agreed = self.log.terms().best_match(hint).index;
                let next = if known { agreed } else { hint.index }.next();
                if let Role::Leader(leader) = &mut self.role
                    && let Some(peer) = leader.peers.get_mut(member)
                {
                    let acknowledged = peer.match_index;
                    if previous <= acknowledged
                        && !peer.forgot
                        && peer.next_index == previous.next()
                    {
                        peer.forgot = true;
                        self.outbox.push(Action::Alert(Alert::Forgot {
                            peer: member,
                            acknowledged,
                            lacks: previous,
                        }));
                    }
                    peer.rejected(previous, next);
                }
            }
        }
    }

    /// A peer says what it has durably; nobody can have more of this log than its leader.
    fn acknowledge(&mut self, member: Member, matched: Index) {
        if matched > self.log.last().index {
            self.refuse(member, Refusal::Malformed);
            return;
        }
        if let Role::Leader(leader) = &mut self.role
            && let Some(peer) = leader.peers.get_mut(member)
        {
            peer.acknowledged(matched);
        }
    }

    pub(super) fn on_heartbeat_reply(
        &mut self,
        envelope: &Envelope,
        round: Round,
        received: Index,
        matched: Index,
        disk: DiskHealth,
    ) {
        let member = envelope.from.member;
        let last = self.log.last().index;
        let Role::Leader(leader) = &mut self.role else {
            return;
        };
        if round > leader.round || received > last || matched > received {
            self.refuse(member, Refusal::Malformed);
            return;
        }
        if let Some(peer) = leader.peers.get_mut(member) {
            if matched > peer.match_index {
                peer.acknowledged(matched);
            }
            peer.heard(round, received);
            peer.disk = disk;
        }
    }

    /// A peer answered: it lives, perhaps anew.
    pub(super) fn note_contact(&mut self, member: Member, boot: Boot) {
        let now = self.now;
        if let Role::Leader(leader) = &mut self.role
            && let Some(peer) = leader.peers.get_mut(member)
        {
            peer.last_contact = now;
            match peer.boot {
                Some(known) if known != boot => peer.restarted(boot),
                Some(_) => {}
                None => peer.boot = Some(boot),
            }
        }
    }

    pub(super) fn on_peer_unreachable(&mut self, member: Member) {
        if let Role::Leader(leader) = &mut self.role
            && let Some(peer) = leader.peers.get_mut(member)
            && peer.state == ProgressState::Replicate
        {
            peer.probe_from(peer.match_index.next());
        }
        if self.leader() == Some(member) {
            self.asked_in_vain = true;
            // It may have got there, and its answer may yet come.
            self.shorten_forwards(self.hard_state.term.next());
        }
    }
}
