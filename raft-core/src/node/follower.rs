//! The receiving side of replication: §5.3.
//!
//! Read first: Figure 2, "AppendEntries RPC, Receiver implementation".
//!
//! Always holds: entries are acknowledged only once durable (S4), and committed no further than the log
//! is known to agree with the leader's (S45).

use alloc::boxed::Box;
use alloc::sync::Arc;

use crate::action::{Action, HaltReason, Refusal};
use crate::entry::{Entry, Payload, check_run};
use crate::message::{AppendOutcome, Body, Envelope, Session};
use crate::planted::{Bug, planted};
use crate::rare::{Rare, Seldom};
use crate::types::{EntryId, Index, Member, Round, Span, Time};

use super::{Node, Role};

/// What only a follower knows.
#[derive(Clone, Debug)]
pub(super) struct Follower {
    /// The leader of the present term, once it was heard.
    pub(super) leader: Option<Member>,
    /// When it was heard last, if it was.
    pub(super) contact: Time,
    pub(super) deadline: Time,
    /// Up to here the log is known to agree with the leader's, on disk or not.
    pub(super) verified: Index,
    /// The latest round heard of the leader.
    pub(super) round: Round,
    /// An append waits for its answer, or did lately: kept until a heartbeat finds nothing waiting.
    owed: Option<Box<Owed>>,
    /// What was acknowledged last.
    acked: Index,
    pub(super) aside: Rare<Aside>,
}

/// What few followers have to do with their leader.
#[derive(Clone, Debug, Default)]
pub(super) struct Aside {
    /// Not before then the leader is asked to hand over; `None` until it was heard to want it less.
    pub(super) ask_after: Option<Time>,
    offer: Option<Offer>,
}

impl Seldom for Aside {
    const NOTHING: &'static Self = &Self {
        ask_after: None,
        offer: None,
    };

    fn is_nothing(&self) -> bool {
        self.ask_after.is_none() && self.offer.is_none()
    }
}

/// Whose append waits for its answer, and in which exchange.
#[derive(Clone, Copy, Debug)]
struct Owed {
    leader: Member,
    session: Session,
    /// It was not answered yet, or not for all of it.
    waits: bool,
}

/// The leader offered a snapshot of what it knows to be committed up to an index, in an exchange.
#[derive(Clone, Copy, Debug)]
struct Offer {
    leader: Member,
    session: Session,
    index: Index,
}

impl Follower {
    pub(super) const fn new(deadline: Time) -> Self {
        Self {
            leader: None,
            contact: Time(0),
            deadline,
            verified: Index(0),
            round: Round(0),
            owed: None,
            acked: Index(0),
            aside: Rare::new(),
        }
    }

    /// An append waits for its answer.
    #[inline(always)]
    pub(super) fn owe(&mut self, leader: Member, session: Session) {
        let owed = Owed {
            leader,
            session,
            waits: true,
        };
        match &mut self.owed {
            Some(before) => **before = owed,
            None => self.owed = Some(Box::new(owed)),
        }
    }

    /// What waits for its answer, if anything does.
    fn owes(&mut self) -> Option<&mut Owed> {
        self.owed.as_deref_mut().filter(|owed| owed.waits)
    }

    /// Keeps nothing for appends that were answered.
    pub(super) fn give_back(&mut self) {
        self.owed.take_if(|owed| !owed.waits);
        self.aside.give_back();
    }

    /// The leader offers a snapshot up to `index`.
    pub(super) fn offered(&mut self, leader: Member, session: Session, index: Index) {
        self.aside.make().offer = Some(Offer {
            leader,
            session,
            index,
        });
    }

    /// The log has everything up to `index`, and it is committed. As far as the leader offered it, the
    /// leader has it, too, and waits to be told once it is durable here.
    pub(super) fn has_offered(&mut self, index: Index) {
        if let Some(aside) = self.aside.made()
            && let Some(offer) = aside.offer.take_if(|offer| offer.index <= index)
        {
            self.verified = self.verified.max(offer.index);
            self.owe(offer.leader, offer.session);
        }
    }

    /// Entries from `from` on are gone: what was agreed on them is, too.
    pub(super) fn truncated(&mut self, from: Index) {
        self.acked = self.acked.min(from.previous());
        self.verified = self.verified.min(from.previous());
    }
}

impl Node {
    pub(super) fn on_append_entries(
        &mut self,
        envelope: &Envelope,
        previous: EntryId,
        commit: Index,
        entries: &Arc<[Entry]>,
    ) {
        let leader = envelope.from.member;
        if self.is_blank() {
            self.answer_blank(envelope);
            return;
        }
        if check_run(previous, entries, envelope.term).is_err() || previous.term > envelope.term {
            self.refuse(leader, Refusal::Malformed);
            return;
        }
        let full =
            self.storage_full || self.log.undurable_bytes() >= self.options.undurable_bytes_max;
        // As good as lost, and the next heartbeat's answer tells the leader so; but what is here
        // already is still found to agree.
        let refused = full && !entries.is_empty();
        let nothing = Arc::default();
        let entries = if refused { &nothing } else { entries };
        if refused {
            self.refuse(leader, Refusal::Undurable);
        }
        match self.agrees_at(previous) {
            Ok(true) => {}
            Ok(false) => {
                let hint = self.log.terms().best_match(EntryId {
                    term: previous.term,
                    index: previous.index.previous(),
                });
                let conflict = AppendOutcome::Conflict {
                    previous: previous.index,
                    hint,
                };
                self.send(leader, envelope.session, Body::AppendReply(conflict));
                return;
            }
            Err(reason) => {
                self.halt(reason);
                return;
            }
        }
        if let Err(reason) = self.accept(entries) {
            self.halt(reason);
            return;
        }
        let end = entries
            .last()
            .map_or(previous.index, |entry| entry.id.index);
        if planted(Bug::TruncateOnOverlap) && end < self.log.last().index {
            self.truncate(end.next().max(self.commit_index.next()));
        }
        let Role::Follower(follower) = &mut self.role else {
            return;
        };
        follower.verified = follower.verified.max(end);
        if !refused {
            follower.owe(leader, envelope.session);
        }
        let verified = if planted(Bug::CommitLast) {
            self.log.last().index
        } else {
            follower.verified
        };
        self.commit_to(commit.min(verified));
    }

    /// Whether the log has the entry that an append follows.
    fn agrees_at(&self, previous: EntryId) -> Result<bool, HaltReason> {
        if previous.index < self.log.base().index {
            // Compacted, hence committed, and in a term of no later leader than this: the same everywhere.
            return Ok(true);
        }
        match self.log.term(previous.index) {
            Some(term) if term == previous.term => Ok(true),
            Some(_) if planted(Bug::IndexMatches) => Ok(true),
            Some(term) if previous.index <= self.commit_index => {
                Err(HaltReason::CommittedConflict {
                    index: previous.index,
                    committed: term,
                    found: previous.term,
                })
            }
            Some(_) | None => Ok(false),
        }
    }

    /// Takes in what is new, and truncates only where an entry really differs (S47).
    fn accept(&mut self, entries: &Arc<[Entry]>) -> Result<(), HaltReason> {
        let base = self.log.base().index;
        let mut new = entries.len();
        for (place, entry) in entries.iter().enumerate() {
            if entry.id.index < base {
                continue;
            }
            match self.log.term(entry.id.index) {
                Some(term) if term == entry.id.term => {}
                Some(term) if entry.id.index <= self.commit_index => {
                    return Err(HaltReason::CommittedConflict {
                        index: entry.id.index,
                        committed: term,
                        found: entry.id.term,
                    });
                }
                Some(_) => {
                    self.truncate(entry.id.index);
                    new = place;
                    break;
                }
                None => {
                    new = place;
                    break;
                }
            }
        }
        let configures = |entry: &Entry| matches!(entry.payload, Payload::Configuration(_));
        if new == 0 && !entries.iter().any(configures) {
            self.log.append_run(entries.clone());
            return Ok(());
        }
        for entry in &entries[new..] {
            self.append(entry.clone());
        }
        Ok(())
    }

    /// Answers appends once: with all that is durable of what the leader is known to share.
    #[inline(always)]
    pub(super) fn flush_acknowledgement(&mut self) {
        let owes = |follower: &Follower| follower.owed.as_ref().is_some_and(|owed| owed.waits);
        if matches!(&self.role, Role::Follower(follower) if owes(follower)) {
            self.acknowledge_durable();
        }
    }

    #[inline(never)]
    fn acknowledge_durable(&mut self) {
        let durable = self.acknowledgeable();
        let Role::Follower(follower) = &mut self.role else {
            return;
        };
        let (verified, acked) = (follower.verified, follower.acked);
        let Some(owed) = follower.owes() else {
            return;
        };
        let matched = verified.min(durable);
        let complete = matched == verified;
        if !complete && matched <= acked {
            return;
        }
        owed.waits = !complete;
        let (leader, session) = (owed.leader, owed.session);
        follower.acked = matched;
        let outcome = AppendOutcome::Matched(matched);
        let answer = self.envelope_here(leader, session, Body::AppendReply(outcome));
        self.outbox.push(Action::Send(answer));
    }

    /// How much may be acknowledged: what is durable, once the term it is said in is (S3).
    fn acknowledgeable(&self) -> Index {
        if planted(Bug::AckBeforeSync) {
            self.log.last().index
        } else if self.persistence.hard_state_is_durable() {
            self.log.durable()
        } else {
            Index(0)
        }
    }

    pub(super) fn on_heartbeat(
        &mut self,
        envelope: &Envelope,
        commit: Index,
        round: Round,
        promised: Span,
    ) {
        let durable = self.acknowledgeable();
        let Role::Follower(follower) = &self.role else {
            return;
        };
        let received = if planted(Bug::AckOwnTail) {
            self.log.last().index
        } else {
            follower.verified
        };
        let matched = received.min(durable);
        let verified = if planted(Bug::CommitLast) {
            self.log.last().index
        } else {
            received
        };
        self.commit_to(commit.min(verified));
        let reply = Body::HeartbeatReply {
            round,
            received,
            matched,
            promised,
            disk: self.disk_health(),
        };
        self.answer_beat(envelope.from.member, envelope.session, reply);
        self.ask_lost_reads();
    }
}
