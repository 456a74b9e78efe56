//! Who had better lead: priorities, and leaders whose disk stalls or is full.
//!
//! A leader hands over of its own accord to a voter that asked and has a higher priority, or to any that
//! is caught up and has a healthy disk while its own stalls or is full. Neither can go on for ever,
//! because:
//!
//! - Priorities do not change while a node runs, and a leader gives in only to a higher one. So every
//!   handover for its sake leads upwards, and nodes of equal priority never ask each other.
//! - A node asks only while its own disk is healthy and it lacks nothing it was told of, only after it
//!   heard the leader for [`PACE`] election timeouts, and then once in as many. A node that can win but
//!   not lead therefore takes leadership at most that often, and a leader hands over at most that often,
//!   whatever the reason and whether or not it succeeds.
//! - A leader whose disk stalls goes on committing through the other voters' disks, and one whose disk is
//!   full still answers reads. So it hands over only where others can elect and commit without it: a
//!   majority, of every set of voters, that leaves it out, is alive, and has healthy disks. Where there is
//!   none, a new leader would wait for the same disks. So it goes on leading, and a cluster of one does so
//!   always.
//!
//! A node whose disk stalls does not campaign; one whose disk is full does, because votes and reads need
//! next to no room, and somebody has to lead even where every disk is full.

use crate::action::{Action, Alert, HandOverReason, Observation};
use crate::message::{Body, DiskHealth, Envelope};
use crate::progress::{Progress, ProgressState};
use crate::quorum::Tally;
use crate::types::{Member, Span, Time};

use super::leader::Leader;
use super::{Node, Role};

/// How many election timeouts pass before a follower asks for leadership, and between two handovers
/// that nobody told a leader to make.
const PACE: u64 = 4;

impl Node {
    fn hand_over_pause(&self) -> Span {
        self.options.election_timeout.times(PACE)
    }

    /// Whether a write is under way for longer than is healthy.
    pub(super) fn disk_stalls(&self) -> bool {
        let since = self.persistence.waits_since();
        since.is_some_and(|since| since + self.options.disk_stall_timeout <= self.now)
    }

    /// When a write that is under way will have taken too long; `None` once that was said.
    pub(super) fn stall_deadline(&self) -> Option<Time> {
        let since = self
            .persistence
            .waits_since()
            .filter(|_| !self.stall_said)?;
        Some(since + self.options.disk_stall_timeout)
    }

    pub(super) fn disk_health(&self) -> DiskHealth {
        if self.storage_full {
            DiskHealth::Full
        } else if self.disk_stalls() {
            DiskHealth::Stalled
        } else {
            DiskHealth::Healthy
        }
    }

    /// Says so when the disk stalls; a leader lets another node lead if that would help.
    pub(super) fn check_disk(&mut self) {
        if self.disk_stalls() && !self.stall_said {
            self.stall_said = true;
            self.outbox.push(Action::Alert(Alert::DiskStalled));
        }
        let reason = match self.disk_health() {
            DiskHealth::Healthy => return,
            DiskHealth::Stalled => HandOverReason::DiskStalled,
            DiskHealth::Full => HandOverReason::DiskFull,
        };
        if let Some(peer) = self.healthy_successor() {
            self.hand_over_to(peer, reason);
        }
    }

    /// The voter with the most of the log, if the others can elect it and commit without this node's disk.
    fn healthy_successor(&self) -> Option<Member> {
        let Role::Leader(leader) = &self.role else {
            return None;
        };
        let is_able = |peer: &Progress| self.is_live(peer) && peer.disk == DiskHealth::Healthy;
        let others = |member: Member| Some(leader.peers.get(member).is_some_and(is_able));
        let others = self.configuration().tally(others);
        if others != Tally::Won {
            return None;
        }
        let able = leader.peers.iter();
        let able =
            able.filter(|(member, peer)| is_able(peer) && self.can_take_over(leader, *member));
        let most = able.max_by_key(|(_, peer)| peer.match_index);
        most.map(|(member, _)| member)
    }

    /// Whether a peer was heard within the last election timeout.
    fn is_live(&self, peer: &Progress) -> bool {
        peer.boot.is_some() && self.now < peer.last_contact + self.options.election_timeout
    }

    /// Whether a peer could take over in a moment: a voter that stays one, lives, and has on its disk what
    /// was committed a moment ago.
    fn can_take_over(&self, leader: &Leader, member: Member) -> bool {
        let Some(peer) = leader.peers.get(member) else {
            return false;
        };
        let configuration = self.configuration();
        configuration.voters.contains(&member)
            && configuration.outgoing.is_empty()
            && self.is_live(peer)
            && peer.state == ProgressState::Replicate
            && peer.match_index >= leader.settled.0
            && self.commit_index >= leader.noop
    }

    /// A follower that would rather lead than its leader asks to, now and then.
    pub(super) fn maybe_request_leadership(&mut self, heartbeat: &Envelope, priority: u32) {
        let own = self.options.priority;
        let pause = self.hand_over_pause();
        let age = self.freshness.age(self.now);
        let ready = self.configuration().voters.contains(&self.me())
            && age.is_some_and(|age| age < self.options.election_timeout)
            && self.disk_health() == DiskHealth::Healthy;
        let now = self.now;
        let Role::Follower(follower) = &mut self.role else {
            return;
        };
        if own <= priority {
            if let Some(aside) = follower.aside.made() {
                aside.ask_after = None;
            }
            return;
        }
        let ask_after = &mut follower.aside.make().ask_after;
        let after = *ask_after.get_or_insert(now + pause);
        if ready && now >= after {
            *ask_after = Some(now + pause);
            let body = Body::RequestLeadership { priority: own };
            self.send(heartbeat.from.member, heartbeat.session, body);
        }
    }

    pub(super) fn on_request_leadership(&mut self, member: Member, priority: u32) {
        let Role::Leader(leader) = &self.role else {
            return;
        };
        if priority > self.options.priority && self.can_take_over(leader, member) {
            self.hand_over_to(member, HandOverReason::Priority);
        }
    }

    /// Begins to hand over to a voter that is caught up, unless that was tried a moment ago.
    fn hand_over_to(&mut self, member: Member, reason: HandOverReason) {
        let (now, pause) = (self.now, self.hand_over_pause());
        let Role::Leader(leader) = &mut self.role else {
            return;
        };
        if now < leader.hand_over_after {
            return;
        }
        leader.hand_over_after = now + pause;
        let begins = Observation::HandsOver { to: member, reason };
        self.outbox.push(Action::Observed(begins));
        self.begin_handover(member);
    }
}
