//! The configuration in force, as the log says it (dissertation §4.1), and those who leave it.
//!
//! Always holds: a configuration counts from the moment its entry is appended to the moment it is
//! truncated, committed or not (S25).

use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::action::{Action, Alert, Observation};
use crate::by_member::ByMember;
use crate::configuration::{Configuration, Configurations};
use crate::message::{Body, Session};
use crate::planted::{Bug, planted};
use crate::progress::Progress;
use crate::types::{EntryId, Index, Member, Time};

use super::leader::Leader;
use super::{Node, Role};

/// A member that was removed and is told so, counted by nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Departure {
    /// The configuration without it.
    index: Index,
    /// When it is given up.
    until: Time,
}

/// Members on their way out, by who they are.
pub(super) type Departures = ByMember<Departure>;

/// How many election timeouts a removed member is given to learn of it.
const FAREWELL_TIMEOUTS: u64 = 4;

impl Node {
    /// A configuration entry was appended.
    pub(super) fn configuration_appended(
        &mut self,
        id: EntryId,
        configuration: Arc<Configuration>,
    ) {
        self.configurations.append(id, configuration);
        self.configuration_changed();
    }

    /// Entries from `from` on were truncated.
    pub(super) fn configurations_truncated(&mut self, from: Index) {
        if planted(Bug::NoConfigRollback) {
            return;
        }
        if self.configurations.truncate(from) {
            self.configuration_changed();
        }
    }

    /// The log was replaced: whatever was said of the membership before counts no more (S60).
    pub(super) fn configurations_replaced(&mut self, configurations: Configurations) {
        self.configurations = configurations;
        self.configuration_changed();
    }

    fn configuration_changed(&mut self) {
        self.handed.other = true;
        let configuration = self.configuration().clone();
        let role = &self.role;
        self.boots.retain(|member, _| {
            let leaving = matches!(role, Role::Leader(leader) if leader.peers.contains(member));
            leaving || configuration.contains(member)
        });
        self.refresh_peers();
        self.check_transfer_target();
        if matches!(self.role, Role::Follower(_)) && !configuration.contains(self.me()) {
            // No leader answers a node that is no member: who waits is told now, and not when its time is over.
            self.leave_requests();
        }
        self.outbox
            .push(Action::Observed(Observation::Configuration {
                id: self.configurations.latest_id(),
                configuration,
            }));
    }

    /// The leader, for a follower that is a member still.
    pub(super) fn leader_that_answers(&self) -> Option<Member> {
        let leader = self.leader();
        leader.filter(|_| self.configuration().contains(self.me()))
    }

    /// A leader keeps progress of the other members of the latest configuration, and for a while of those
    /// that it removed.
    pub(super) fn refresh_peers(&mut self) {
        let me = self.me();
        let added = self.configurations.latest_index();
        let configuration = self.configurations.latest().clone();
        let (now, term) = (self.now, self.hard_state.term);
        let until = now + self.options.election_timeout.times(FAREWELL_TIMEOUTS);
        let next = self.log.last().index.next();
        let Role::Leader(leader) = &mut self.role else {
            return;
        };
        let mut returned = Vec::new();
        for (member, peer) in leader.peers.iter_mut() {
            if configuration.contains(member) {
                if leader.departures.remove(member).is_some() {
                    returned.push(member);
                }
            } else {
                let departure = Departure {
                    index: added,
                    until,
                };
                leader.departures.get_or_insert(member, departure);
                peer.commit_wanted = peer.commit_wanted.max(added);
            }
        }
        // A member that was removed and added again gets another session, so that late answers to its
        // first life are seen as such.
        leader.peers.retain(|member, _| !returned.contains(&member));
        for member in configuration.members() {
            if member == me || leader.peers.contains(member) {
                continue;
            }
            let session = Session {
                term,
                added,
                counter: 0,
            };
            leader
                .peers
                .get_or_insert(member, Progress::new(session, next, now));
        }
        self.note_only_voters();
    }

    fn note_only_voters(&mut self) {
        let only = matches!(&self.role, Role::Leader(leader) if self.has_only_voters(leader));
        if let Role::Leader(leader) = &mut self.role {
            leader.only_voters = only;
        }
    }

    /// Whether this leader votes, and so do its peers, in one set, and nobody else takes part.
    pub(super) fn has_only_voters(&self, leader: &Leader) -> bool {
        let configuration = self.configuration();
        let voters = &configuration.voters;
        !configuration.is_joint()
            && configuration.learners.is_empty()
            && voters.len() == leader.peers.len() + 1
            && voters.contains(&self.me())
            && leader.peers.iter().all(|(peer, _)| voters.contains(&peer))
    }

    /// Forgets removed members that know it, or that had their time.
    pub(super) fn forget_departed(&mut self) {
        let now = self.now;
        let Role::Leader(leader) = &mut self.role else {
            return;
        };
        if leader.departures.is_empty() {
            return;
        }
        let peers = &mut leader.peers;
        leader.departures.retain(|member, departure| {
            let told = peers.get(member).is_none_or(|peer| {
                peer.match_index >= departure.index && peer.commit_sent >= departure.index
            });
            let stays = !told && now < departure.until && !planted(Bug::SilentRemoval);
            if !stays {
                peers.remove(member);
            }
            stays
        });
        self.note_only_voters();
    }

    /// Somebody asks for votes who is no member any more, and cannot know it: this node does, for the
    /// configuration without it is committed.
    pub(super) fn tell_outsider(&mut self, outsider: Member, session: Session, last: EntryId) {
        let configured = self.configurations.latest_id();
        let committed = configured.index <= self.commit_index && !planted(Bug::SilentRemoval);
        if committed && last < configured && !self.configuration().contains(outsider) {
            self.send(outsider, session, Body::NotAMember { configured });
        }
    }

    /// A learner hears no leader. It does not campaign, so it asks: it may have been removed while it was away.
    pub(super) fn ask_membership(&mut self) {
        let me = self.me();
        let configuration = self.configuration();
        if configuration.is_voter(me) || !configuration.contains(me) {
            return;
        }
        let last = self.log.last();
        for voter in self.other_voters() {
            self.send(voter, Session::default(), Body::AskMembership { last });
        }
    }

    /// The configuration without this node that others told it of, unless its log knows a later one.
    pub(super) fn removed_by(&self) -> Option<EntryId> {
        let known = self.configurations.latest_id();
        self.apart.told_outside.filter(|told| *told > known)
    }

    /// Another node says that this one is no member any more. That is only worth telling: its own log decides.
    pub(super) fn on_not_a_member(&mut self, from: Member, configured: EntryId) {
        // Those who say so may know of different changes; what is older is no news.
        let known = self
            .apart
            .told_outside
            .max(Some(self.configurations.latest_id()));
        if Some(configured) > known {
            self.apart.make().told_outside = Some(configured);
            self.outbox.push(Action::Alert(Alert::Removed {
                by: from,
                configured,
            }));
        }
    }
}
