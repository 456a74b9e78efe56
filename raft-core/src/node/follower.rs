//! The receiving side of replication: §5.3.
//!
//! Read first: Figure 2, "AppendEntries RPC, Receiver implementation".
//!
//! Always holds: entries are acknowledged only once durable (S4), and committed no further than the log
//! is known to agree with the leader's (S45).

use alloc::boxed::Box;
use alloc::sync::Arc;

use crate::action::{HaltReason, Refusal};
use crate::entry::{Entry, Payload, check_run};
use crate::message::{AppendOutcome, Body, Envelope, Session};
use crate::planted::{Bug, planted};
use crate::types::{EntryId, Index, Member, Round, Span, Time};

use super::{Node, Role};

/// What only a follower knows.
#[derive(Clone, Debug)]
pub(super) struct Follower {
    /// The leader of the present term, once it was heard.
    pub(super) leader: Option<Member>,
    /// When it was heard last.
    pub(super) contact: Option<Time>,
    pub(super) deadline: Time,
    /// Up to here the log is known to agree with the leader's, on disk or not.
    pub(super) verified: Index,
    /// The latest round heard of the leader.
    pub(super) round: Round,
    /// Not before then the leader is asked to hand over; `None` until it was heard to want it less.
    pub(super) ask_after: Option<Time>,
    /// An append waits for its answer: whose, and in which exchange.
    owed: Option<(Member, Session)>,
    /// What was acknowledged last.
    acked: Index,
    /// Rare, so it lies apart.
    offer: Option<Box<Offer>>,
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
            contact: None,
            deadline,
            verified: Index(0),
            round: Round(0),
            ask_after: None,
            owed: None,
            acked: Index(0),
            offer: None,
        }
    }

    /// The leader offers a snapshot up to `index`.
    pub(super) fn offered(&mut self, leader: Member, session: Session, index: Index) {
        self.offer = Some(Box::new(Offer {
            leader,
            session,
            index,
        }));
    }

    /// The log has everything up to `index`, and it is committed. As far as the leader offered it, the
    /// leader has it, too, and waits to be told once it is durable here.
    pub(super) fn has_offered(&mut self, index: Index) {
        if let Some(offer) = self.offer.take_if(|offer| offer.index <= index) {
            self.verified = self.verified.max(offer.index);
            self.owed = Some((offer.leader, offer.session));
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
            follower.owed = Some((leader, envelope.session));
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
            self.log.append_run(entries);
            return Ok(());
        }
        for entry in &entries[new..] {
            self.append(entry.clone());
        }
        Ok(())
    }

    /// Answers appends once: with all that is durable of what the leader is known to share.
    pub(super) fn flush_acknowledgement(&mut self) {
        if !matches!(&self.role, Role::Follower(follower) if follower.owed.is_some()) {
            return;
        }
        let durable = self.acknowledgeable();
        let Role::Follower(follower) = &mut self.role else {
            return;
        };
        let Some((leader, session)) = follower.owed else {
            return;
        };
        let matched = follower.verified.min(durable);
        let complete = matched == follower.verified;
        if !complete && matched <= follower.acked {
            return;
        }
        follower.acked = matched;
        if complete {
            follower.owed = None;
        }
        let outcome = AppendOutcome::Matched(matched);
        self.send(leader, session, Body::AppendReply(outcome));
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
        self.send(envelope.from.member, envelope.session, reply);
        self.ask_lost_reads();
    }
}
