//! `Node`: one member of a consensus group, as a function from events to actions.
//!
//! Read first: Figure 2. Each submodule is a section of the paper or a chapter of the dissertation.
//!
//! Always holds: `handle` only matches and delegates; whatever a message may not overtake is withheld
//! here, so that a driver cannot misorder durability.

mod apart;
mod apply;
mod change;
mod commit;
mod compaction;
mod control;
mod drain;
mod election;
mod envelopes;
mod follower;
mod forwarding;
mod forwards;
mod handover;
mod hosting;
mod intake;
mod invariants;
mod joining;
mod leader;
mod leases;
mod membership;
mod observed;
mod offers;
mod proposals;
mod reads;
mod receive;
mod replication;
mod requests;
mod resting;
mod snapshot;
mod solo;
mod staleness;
mod status;
mod steady;
mod transfer;
mod vacancy;

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use bytes::Bytes;

use crate::action::{Action, Alert, HaltReason, Outcome, Persist, Refusal, Rejection, RoleKind};
use crate::by_member::ByMember;
use crate::configuration::{Configuration, Configurations};
use crate::entry::Entry;
use crate::error::RestoreError;
use crate::event::{Event, Input};
use crate::freshness::Freshness;
use crate::lease::Promise;
use crate::log::Log;
use crate::message::Envelope;
use crate::options::Options;
use crate::persistence::Persistence;
use crate::planted::{Bug, planted};
use crate::proposal_queue::ProposalQueue;
use crate::rare::Rare;
use crate::snapshot::{SnapshotMark, SnapshotMeta};
use crate::term_runs::TermRuns;
use crate::types::{
    Boot, EntryId, HardState, Identity, Index, Member, PersistId, RequestId, Span, StorageId, Time,
};

use self::apart::Apart;
use self::apply::ApplyLane;
use self::drain::Handed;
use self::election::Campaign;
use self::follower::Follower;
use self::leader::Leader;
use self::observed::Observed;
use self::requests::{Counted, Requests};
use self::snapshot::Snapshots;
pub use self::status::{Refused, Status};

/// What a store holds when a node is made from it: everything in it is durable.
#[derive(Clone, Debug)]
pub struct Restored {
    /// Who the store says it is.
    pub identity: Identity,
    /// Which life this is; one more than the store had seen.
    pub boot: Boot,
    /// Term, vote and promises.
    pub hard_state: HardState,
    /// The terms of the whole log.
    pub terms: TermRuns,
    /// The end of the log, as much of it as is worth having in memory; may be empty.
    pub tail: Vec<Entry>,
    /// The configuration in force where the log begins.
    pub configuration: Arc<Configuration>,
    /// The entry that made it.
    pub configured: EntryId,
    /// The configurations in the log, oldest first.
    pub configurations: Vec<(Index, Arc<Configuration>)>,
    /// What the state machine begins from; without one it begins empty where the log does. It does not
    /// lie below the place where the log begins, nor above its end.
    pub snapshot: Option<SnapshotMeta>,
}

impl Restored {
    /// What a store that was just made holds: nothing but who it is, and who takes part.
    #[must_use]
    pub fn new(identity: Identity, configuration: Configuration) -> Self {
        Self {
            identity,
            boot: Boot(1),
            hard_state: HardState::default(),
            terms: TermRuns::new(EntryId::ZERO),
            tail: Vec::new(),
            configuration: Arc::new(configuration),
            configured: EntryId::ZERO,
            configurations: Vec::new(),
            snapshot: None,
        }
    }
}

/// One member of a consensus group.
///
/// Pure: it owns no clock, socket, file or thread, and never blocks. Feed it events, carry out its
/// actions; the crate's documentation shows the loop.
#[derive(Clone, Debug)]
pub struct Node {
    options: Arc<Options>,
    identity: Identity,
    boot: Boot,
    now: Time,
    hard_state: HardState,
    role: Role,
    /// Counts election timers, so that each draws its own jitter.
    attempt: u64,
    /// The jittered election timeout in use.
    timeout: Span,
    log: Log,
    configurations: Configurations,
    persistence: Persistence,
    /// What this node promised not to do.
    promise: Promise,
    /// How old what is applied is.
    freshness: Freshness,
    handed: Handed,
    /// It was said already that the disk stalls.
    stall_said: bool,
    commit_index: Index,
    apply: ApplyLane,
    snapshots: Rare<Snapshots>,
    proposals: ProposalQueue,
    requests: Rare<Requests>,
    counted: Option<Box<Counted>>,
    apart: Rare<Apart>,
    /// Requests of this node without an outcome.
    pending_requests: u32,
    /// The latest life heard of, for members only, so that it stays small.
    boots: ByMember<Boot>,
    storage_full: bool,
    /// What was sent to the leader may be lost: reads are asked again once it is heard.
    asked_in_vain: bool,
    observed: Observed,
    observed_role: RoleKind,
    outbox: Vec<Action>,
    /// The answer to a heartbeat; it comes before what is in the outbox.
    answer: Option<Box<Envelope>>,
    /// The envelope of a message that was received, for the one that is sent next. A leader has more.
    spare: Option<Box<Envelope>>,
}

/// What this node is in its term, with what only that role knows.
#[derive(Clone, Debug)]
enum Role {
    Follower(Follower),
    PreCandidate(Campaign),
    Candidate(Campaign),
    /// Kept apart: most nodes of many groups follow.
    Leader(Box<Leader>),
}

/// A read of the log on disk that is under way.
#[derive(Clone, Copy, Debug)]
struct LogRead {
    reader: LogReader,
    from: Index,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LogReader {
    Peer(Member),
    Apply,
}

impl Node {
    /// A node as its store remembers it: a follower that has heard of no leader yet. Many groups can share one
    /// `Arc` of their options.
    ///
    /// # Errors
    ///
    /// If a tunable is out of range, or what was restored contradicts itself.
    pub fn new(
        at: Time,
        options: impl Into<Arc<Options>>,
        restored: Restored,
    ) -> Result<Self, RestoreError> {
        Self::with(at, options.into(), restored)
    }

    fn with(at: Time, options: Arc<Options>, restored: Restored) -> Result<Self, RestoreError> {
        options.validate()?;
        let last = restored.terms.last();
        check_tail(&restored.terms, &restored.tail)?;
        if restored.hard_state.term < last.term {
            return Err(RestoreError::Term {
                found: restored.hard_state.term,
                last,
            });
        }
        let begins = check_snapshot(&restored.terms, restored.snapshot.as_ref())?;
        let base = restored.terms.base().index;
        if restored.configured.index > base {
            return Err(RestoreError::Gap {
                expected: base,
                found: restored.configured.index,
            });
        }
        let mut configurations = Configurations::new(restored.configured, restored.configuration);
        for (index, configuration) in restored.configurations {
            let term = restored.terms.term(index);
            let term = term.filter(|_| index > configurations.latest_index());
            let Some(term) = term else {
                return Err(RestoreError::Gap {
                    expected: configurations.latest_index(),
                    found: index,
                });
            };
            configurations.append(EntryId { term, index }, configuration);
        }
        // A hint only: it was not necessarily durable, nor is it promised (S11).
        let commit_index = restored.hard_state.commit.clamp(begins, last.index);
        let observed = Observed::new(restored.hard_state.term);
        let mut node = Self {
            timeout: options.election_timeout,
            options,
            identity: restored.identity,
            boot: restored.boot,
            now: at,
            hard_state: restored.hard_state,
            role: Role::Follower(Follower::new(at)),
            attempt: restored.boot.first_number(),
            log: Log::new(restored.terms, restored.tail),
            configurations,
            persistence: Persistence::new(last.index),
            promise: Promise::restored(at, restored.hard_state.promised),
            freshness: Freshness::default(),
            handed: Handed::default(),
            stall_said: false,
            commit_index,
            snapshots: Snapshots::restored(restored.snapshot.as_ref().map(|s| s.id)),
            apply: ApplyLane::new(restored.snapshot),
            proposals: ProposalQueue::default(),
            requests: Rare::new(),
            counted: None,
            apart: Rare::new(),
            pending_requests: 0,
            boots: ByMember::default(),
            storage_full: false,
            asked_in_vain: false,
            observed,
            observed_role: RoleKind::Follower,
            outbox: Vec::new(),
            answer: None,
            spare: None,
        };
        let deadline = node.draw_election_deadline();
        node.role = Role::Follower(Follower::new(deadline));
        Ok(node)
    }

    /// Takes one event and returns what follows from it: `handle`, then `drain`.
    pub fn step(&mut self, event: Event) -> Vec<Action> {
        let mut actions = Vec::new();
        self.handle(event);
        self.drain(&mut actions);
        actions
    }

    /// When to come back with `Input::Tick`, if nothing happens before; `None` after a halt.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Time> {
        if self.is_over() {
            return None;
        }
        let role = match &self.role {
            Role::Follower(follower) => follower.deadline,
            Role::PreCandidate(campaign) | Role::Candidate(campaign) => campaign.deadline,
            Role::Leader(leader) => {
                let reads = leader.reads.next_deadline();
                let others = reads.into_iter().chain(self.transfer_deadline());
                others.fold(leader.heartbeat_due, Time::min)
            }
        };
        // Each of these is there only while something is on its way.
        let mut next = role;
        let mut sooner = |deadline: Option<Time>| next = next.min(deadline.unwrap_or(next));
        sooner(self.proposals.next_deadline());
        sooner(self.stall_deadline());
        if let Some(requests) = self.requests.get() {
            sooner(requests.forwards.next_deadline());
            sooner(requests.reads.next_deadline());
            sooner(requests.controls.next_deadline());
            sooner(self.vacancy_deadline());
        }
        Some(next)
    }

    fn on_tick(&mut self) {
        match &self.role {
            Role::Follower(follower) => {
                if self.now >= follower.deadline {
                    self.on_election_timeout();
                }
            }
            Role::PreCandidate(campaign) | Role::Candidate(campaign) => {
                if self.now >= campaign.deadline {
                    self.on_election_timeout();
                }
            }
            Role::Leader(_) => self.on_leader_tick(),
        }
        self.expire_transfer();
        self.check_disk();
        self.expire_requests();
    }

    #[inline(never)]
    fn on_persisted(&mut self, store: StorageId, boot: Boot, id: PersistId) {
        self.handed.durable = true;
        // What was handed out before the store became another one is written, and counts, all the same.
        let own = store == self.me().store || self.persistence.is_pending(store, id);
        if !own || boot != self.boot {
            self.apart.make().refused.stale_completions += 1;
            return;
        }
        if let Some(durable) = self.persistence.completed(id) {
            self.log.set_durable(durable);
        }
        self.note_marks();
        self.stall_said = self.stall_said && self.disk_stalls();
        if self.persistence.hard_state_is_durable() {
            self.count_own_vote();
        }
    }

    fn release_withheld(&mut self) {
        while let Some(envelope) = self.persistence.released() {
            // A promise for a term that is over helps nobody.
            if envelope.term == self.hard_state.term {
                self.outbox.push(Action::Send(envelope));
            }
        }
    }

    #[inline(always)]
    fn begin_persist(&mut self) {
        let limit = self.options.inflight_persists_max;
        while let Some(from) = self.persistence.wants(self.log.last().index, limit) {
            self.begin_persist_from(from);
        }
    }

    #[inline(never)]
    fn begin_persist_from(&mut self, from: Index) {
        let last = self.log.last().index;
        self.hard_state.commit = self.commit_index;
        let entries = if from <= last {
            self.persist_slice(from, last)
        } else {
            Arc::default()
        };
        let to = entries.last().map_or(last, |entry| entry.id.index);
        let write = self.persistence.begin(self.me().store, to, self.now);
        let hard_state = if write.with_hard_state {
            Some(Box::new(self.hard_state_to_write(write.mark.as_deref())))
        } else {
            None
        };
        self.outbox.push(Action::Persist(Persist {
            id: write.id,
            store: self.me().store,
            boot: self.boot,
            hard_state,
            snapshot: write.mark,
            identity: write.identity,
            entries,
        }));
    }

    /// Term, vote and promises as a write has them that carries this mark.
    fn hard_state_to_write(&self, mark: Option<&SnapshotMark>) -> HardState {
        let mut hard_state = self.hard_state;
        if planted(Bug::VoteAmnesia) || (planted(Bug::RewriteDropsVote) && mark.is_some()) {
            hard_state.voted_for = None;
        }
        if let Some(mark) = mark
            && planted(Bug::TermFromSnapshot)
        {
            hard_state.term = mark.meta().term;
        }
        hard_state
    }

    /// Stops for good; every request gets its outcome first.
    fn halt(&mut self, reason: HaltReason) {
        if self.apart.halted.is_some() {
            return;
        }
        self.become_follower(self.hard_state.term, None);
        self.fail_requests();
        self.apart.make().halted = Some(reason);
        self.handed.other = true;
        self.answer = None;
        self.outbox.retain(|action| {
            matches!(
                action,
                Action::Resolve { .. } | Action::Alert(_) | Action::Observed(_)
            )
        });
        self.outbox.push(Action::Halt(reason));
    }

    fn refuse_after_halt(&mut self, input: &Input) {
        match input {
            Input::Propose { request, .. }
            | Input::Read { request, .. }
            | Input::ChangeMembership { request, .. }
            | Input::TransferLeadership { request, .. }
            | Input::StepDown { request }
            | Input::Solo { request, .. }
            | Input::Reset { request, .. } => {
                self.outbox.push(Action::Resolve {
                    request: *request,
                    outcome: Outcome::Rejected(Rejection::Halted),
                });
            }
            Input::Tick
            | Input::Receive(_)
            | Input::Campaign
            | Input::Persisted { .. }
            | Input::Applied { .. }
            | Input::LogRead { .. }
            | Input::PeerUnreachable { .. }
            | Input::SnapshotTaken { .. }
            | Input::SnapshotReceived { .. }
            | Input::SnapshotFailed { .. }
            | Input::SnapshotRestored { .. }
            | Input::SnapshotDamaged { .. }
            | Input::Wiped { .. }
            | Input::StorageFailed
            | Input::StorageFull
            | Input::StorageAvailable => {}
        }
    }

    /// Counts a message that is not answered, and says so once for each cause.
    fn refuse(&mut self, from: Member, refusal: Refusal) {
        if self.apart.make().refused.count(refusal) == 1 {
            self.outbox
                .push(Action::Alert(Alert::Refused { from, refusal }));
        }
    }

    fn resolve(&mut self, request: RequestId, outcome: Outcome) {
        self.pending_requests -= 1;
        self.outbox.push(Action::Resolve { request, outcome });
    }

    fn me(&self) -> Member {
        self.identity.member
    }

    fn configuration(&self) -> &Arc<Configuration> {
        self.configurations.latest()
    }

    /// Who leads the present term, as far as is known; possibly this node.
    fn leader(&self) -> Option<Member> {
        match &self.role {
            Role::Follower(follower) => follower.leader,
            Role::Leader(_) => Some(self.me()),
            Role::PreCandidate(_) | Role::Candidate(_) => None,
        }
    }

    fn role_kind(&self) -> RoleKind {
        match self.role {
            Role::Follower(_) => RoleKind::Follower,
            Role::PreCandidate(_) => RoleKind::PreCandidate,
            Role::Candidate(_) => RoleKind::Candidate,
            Role::Leader(_) => RoleKind::Leader,
        }
    }

    /// A request of this node is about to be taken in: whether there is room.
    fn admit(&mut self, request: RequestId) -> bool {
        if self.pending_requests >= self.options.requests_max && !planted(Bug::NoRequestLimit) {
            let full = Rejection::Busy(crate::action::Quota::Requests);
            self.pending_requests += 1;
            self.resolve(request, Outcome::Rejected(full));
            return false;
        }
        self.pending_requests += 1;
        true
    }

    fn request_deadline(&self) -> Time {
        self.now + self.options.request_timeout
    }

    fn not_leader(&self) -> Outcome {
        let leader = self.leader().filter(|leader| *leader != self.me());
        Outcome::Rejected(Rejection::NotLeader {
            leader: leader.map(|member| member.node),
        })
    }

    fn command_too_large(&self, command: &Bytes) -> Option<Rejection> {
        let (bytes, limit) = (command.len() as u64, self.options.command_bytes_max);
        (bytes > limit).then_some(Rejection::TooLarge { bytes, limit })
    }
}

/// A snapshot lies in the log, or where it begins, and a log does not begin anywhere else without one.
/// Returns up to where entries are certain to be committed.
fn check_snapshot(
    terms: &TermRuns,
    snapshot: Option<&SnapshotMeta>,
) -> Result<Index, RestoreError> {
    let (base, last) = (terms.base(), terms.last());
    match snapshot {
        None if base.index == Index(0) => Ok(Index(0)),
        None => Err(RestoreError::NoSnapshot { base }),
        Some(snapshot) if terms.term(snapshot.id.index) == Some(snapshot.id.term) => {
            Ok(snapshot.id.index)
        }
        Some(snapshot) => Err(RestoreError::Snapshot {
            found: snapshot.id,
            base,
            last,
        }),
    }
}

/// The tail is the end of the log, entry by entry.
fn check_tail(terms: &TermRuns, tail: &[Entry]) -> Result<(), RestoreError> {
    let mut expected = terms
        .last()
        .index
        .0
        .checked_sub(tail.len() as u64)
        .map(Index);
    for entry in tail {
        let next = expected.unwrap_or_default().next();
        if expected.is_none() || entry.id.index != next || terms.term(next) != Some(entry.id.term) {
            return Err(RestoreError::Gap {
                expected: next,
                found: entry.id.index,
            });
        }
        expected = Some(next);
    }
    Ok(())
}
