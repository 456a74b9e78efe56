//! Changes of membership as their leader drives them: chapter 4 of the dissertation.
//!
//! A change passes through up to four configurations: the old one with the new voters as learners, the joint
//! one, the new one; or, should they not catch up, the old one again. At most one of them is uncommitted at
//! any time (S26), and what follows the joint one follows by itself, whoever leads then (S28).
//!
//! Always holds: the configuration that is appended and the one before it have no two majorities that do not
//! meet: they have the same voters, or voters that differ by one (§4.1), or one of them is the joint of both.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;

use crate::change::{ChangeRefusal, ChangeWay, MembershipChange};
use crate::configuration::Configuration;
use crate::entry::Payload;
use crate::message::ControlOutcome;
use crate::planted::{Bug, planted};
use crate::types::{Index, Member, NodeId, Span, Time};

use super::reads::Reader as Asker;
use super::{Node, Role};

/// A change on its way.
#[derive(Clone, Debug)]
pub(super) struct Change {
    /// Who waits for it; nobody for what an earlier leader began.
    asker: Option<Asker>,
    stage: Stage,
}

#[derive(Clone, Debug)]
enum Stage {
    /// New voters receive the log without being counted.
    CatchUp(CatchUp),
    /// The joint configuration was appended.
    Joint,
    /// The configuration with which the change ends was appended.
    Last,
    /// New voters were given up: they stay learners until the configuration that made them so is committed.
    GivenUp(Arc<Configuration>),
}

/// New voters on their way to the end of the log, in rounds that get shorter (dissertation §4.2.1).
#[derive(Clone, Debug)]
struct CatchUp {
    /// What it was before any of them was a learner.
    old: Arc<Configuration>,
    new: Configuration,
    way: ChangeWay,
    rounds: BTreeMap<Member, CatchUpRound>,
    /// After this it has taken too long, whatever progress there is.
    deadline: Time,
}

#[derive(Clone, Copy, Debug)]
struct CatchUpRound {
    number: u32,
    began: Time,
    /// The end of the leader's log when the round began.
    target: Index,
    /// How far the member had got when that was looked at last, and when it last got further.
    matched: Index,
    advanced: Time,
    /// A round was short enough.
    done: bool,
}

impl CatchUpRound {
    const fn first(now: Time, target: Index) -> Self {
        Self {
            number: 1,
            began: now,
            target,
            matched: Index(0),
            advanced: now,
            done: false,
        }
    }

    /// Takes note of how far the member has got, while the log ends at `last`. A round that takes no longer
    /// than an election timeout leaves so little that the member, once it votes, holds up nobody.
    fn observe(&mut self, now: Time, matched: Index, last: Index, short: Span) {
        if matched > self.matched {
            self.matched = matched;
            self.advanced = now;
        }
        if !self.done && matched >= self.target {
            self.done = now - self.began <= short;
            self.number = self.number.saturating_add(1);
            self.began = now;
            self.target = last;
        }
    }
}

impl Node {
    /// The longest that a change may take before the members it adds are given up.
    pub(super) fn change_patience(&self) -> Span {
        let rounds = self.options.catch_up_rounds as u64;
        self.options.catch_up_timeout.times(rounds)
    }

    /// A change was asked of this leader.
    pub(super) fn begin_change(&mut self, asker: Asker, change: &MembershipChange) {
        match self.plan_change(change) {
            Ok(None) => {
                let id = self.configurations.latest_id();
                self.finish_control(asker, ControlOutcome::Changed(id));
            }
            Ok(Some(new)) => self.start_change(asker, new, change.way),
            Err(outcome) => self.finish_control(asker, outcome),
        }
    }

    /// What a change leads to; nothing if that is in force already.
    fn plan_change(
        &self,
        change: &MembershipChange,
    ) -> Result<Option<Configuration>, ControlOutcome> {
        let refused = ControlOutcome::ChangeRefused;
        let Role::Leader(leader) = &self.role else {
            return Err(ControlOutcome::NotLeader);
        };
        if leader.transfer.is_some() || leader.leaving.is_some() {
            return Err(ControlOutcome::Busy);
        }
        let latest = self.configurations.latest_id();
        let old = self.configuration();
        let uncommitted = latest.index > self.commit_index;
        let busy = leader.change.is_some() || uncommitted || old.is_joint();
        if busy && !planted(Bug::TwoChanges) {
            return Err(refused(ChangeRefusal::InProgress));
        }
        // Without an entry of its own term it cannot know that there is no other change (S26).
        if self.commit_index < leader.noop && !planted(Bug::ChangeTooEarly) {
            return Err(refused(ChangeRefusal::TooEarly));
        }
        if change.expect.is_some_and(|expected| expected != latest) {
            return Err(refused(ChangeRefusal::Stale { found: latest }));
        }
        let new = old.changed(&change.changes).map_err(refused)?;
        let voters = old.voters_changed(&new);
        if change.way == ChangeWay::Single && voters > 1 {
            return Err(refused(ChangeRefusal::NotSingle { voters }));
        }
        Ok((new != **old).then_some(new))
    }

    fn start_change(&mut self, asker: Asker, new: Configuration, way: ChangeWay) {
        let old = self.configuration().clone();
        let mut with_learners = (*old).clone();
        let (now, last) = (self.now, self.log.last().index);
        let mut rounds = BTreeMap::new();
        for joiner in new.voters.difference(&old.voters) {
            rounds.insert(*joiner, CatchUpRound::first(now, last));
            with_learners.learners.insert(*joiner);
            if let Some(address) = new.addresses.get(joiner) {
                with_learners.addresses.insert(*joiner, address.clone());
            }
        }
        let deadline = now + self.change_patience();
        if with_learners != *old {
            self.append_configuration(with_learners);
        }
        let stage = Stage::CatchUp(CatchUp {
            old,
            new,
            way,
            rounds,
            deadline,
        });
        self.set_change(Some(asker), stage);
    }

    fn append_configuration(&mut self, configuration: Configuration) {
        self.append_own(Payload::Configuration(Arc::new(configuration)));
    }

    /// Whether a change is under way that this leader drives.
    pub(super) const fn is_changing(&self) -> bool {
        matches!(&self.role, Role::Leader(leader) if leader.change.is_some())
    }

    /// Takes the change that is under way a step further, if it can be; true if it was.
    pub(super) fn drive_change(&mut self) -> bool {
        let latest = self.configurations.latest_index();
        let committed = self.commit_index;
        let Role::Leader(leader) = &mut self.role else {
            return false;
        };
        // Nothing is appended while leadership is handed over.
        if leader.transfer.is_some() {
            return false;
        }
        // One uncommitted configuration at a time, and none before it is known what is committed.
        let uncommitted = latest > committed && !planted(Bug::TwoChanges);
        let unknown = committed < leader.noop && !planted(Bug::ChangeTooEarly);
        if uncommitted || unknown {
            return false;
        }
        let Some(change) = leader.change.take() else {
            return self.leave_inherited_joint();
        };
        let Change { asker, stage } = *change;
        match stage {
            Stage::CatchUp(catch_up) => self.drive_catch_up(asker, catch_up),
            Stage::Joint => {
                self.leave_joint(asker);
                true
            }
            Stage::Last => {
                self.change_done(asker);
                true
            }
            Stage::GivenUp(old) => {
                // Learners that were members before are left as they were.
                let added = *self.configuration() != old;
                if added {
                    self.append_configuration((*old).clone());
                    self.set_change(asker, Stage::Last);
                }
                added
            }
        }
    }

    fn set_change(&mut self, asker: Option<Asker>, stage: Stage) {
        if let Role::Leader(leader) = &mut self.role {
            leader.change = Some(Box::new(Change { asker, stage }));
        }
    }

    /// An earlier leader began a joint phase: it ends all the same, now that this leader knows that it is
    /// committed (S28).
    fn leave_inherited_joint(&mut self) -> bool {
        if !self.configuration().is_joint() || planted(Bug::StuckJoint) {
            return false;
        }
        self.leave_joint(None);
        true
    }

    fn leave_joint(&mut self, asker: Option<Asker>) {
        let new = self.configuration().left();
        self.append_configuration(new);
        self.set_change(asker, Stage::Last);
    }

    fn drive_catch_up(&mut self, asker: Option<Asker>, mut catch_up: CatchUp) -> bool {
        let (now, last) = (self.now, self.log.last().index);
        let short = self.options.election_timeout;
        if let Role::Leader(leader) = &self.role {
            for (member, round) in &mut catch_up.rounds {
                if let Some(peer) = leader.peers.get(*member) {
                    round.observe(now, peer.match_index, last, short);
                }
            }
        }
        if let Some(node) = self.given_up(&catch_up) {
            let refusal = ChangeRefusal::NotCaughtUp(node);
            self.finish_asked(asker, ControlOutcome::ChangeRefused(refusal));
            self.set_change(None, Stage::GivenUp(catch_up.old));
            return true;
        }
        if !catch_up.rounds.values().all(|round| round.done) {
            self.set_change(asker, Stage::CatchUp(catch_up));
            return false;
        }
        let CatchUp { new, way, .. } = catch_up;
        let present = self.configuration().clone();
        let single =
            way == ChangeWay::Single || present.voters == new.voters || planted(Bug::NoJoint);
        if single {
            self.append_configuration(new);
            self.set_change(asker, Stage::Last);
        } else {
            self.append_configuration(present.joint_with(&new));
            self.set_change(asker, Stage::Joint);
        }
        true
    }

    /// The first new voter that does not catch up: it makes no progress, or too slowly.
    fn given_up(&self, catch_up: &CatchUp) -> Option<NodeId> {
        let (now, options) = (self.now, &self.options);
        let waiting = catch_up.rounds.iter().filter(|(_, round)| !round.done);
        let mut given_up = waiting.filter(|(member, round)| {
            // One that fetches a snapshot is heard, and gets nowhere until it has it.
            let heard = match &self.role {
                Role::Leader(leader) => leader.peers.get(**member).map(|peer| peer.last_contact),
                Role::Follower(_) | Role::PreCandidate(_) | Role::Candidate(_) => None,
            };
            let alive = heard.unwrap_or_default().max(round.advanced);
            now >= alive + options.catch_up_timeout
                || now >= catch_up.deadline
                || round.number > options.catch_up_rounds
        });
        given_up.next().map(|(member, _)| member.node)
    }

    fn change_done(&mut self, asker: Option<Asker>) {
        let id = self.configurations.latest_id();
        self.finish_asked(asker, ControlOutcome::Changed(id));
    }

    /// Leadership is over: what was begun may be finished by another leader, or may vanish.
    pub(super) fn end_change(&mut self, change: Option<Box<Change>>) {
        let asker = change.and_then(|change| change.asker);
        self.finish_asked(asker, ControlOutcome::Unknown);
    }
}
