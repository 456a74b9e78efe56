//! What a leader knows of one peer's log (Figure 2, "volatile state on leaders").
//!
//! Always holds: `next_index` lies above `match_index` (S52), and `match_index` never falls within a
//! leadership (S50).

use alloc::boxed::Box;

use crate::inflight::Inflight;
use crate::message::{DiskHealth, Session};
use crate::planted::{Bug, planted};
use crate::types::{Boot, EntryId, Index, ReadTicket, Round, Time};

/// How a leader sends to a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProgressState {
    /// Where the logs agree is not known: one append goes out to find out.
    Probe,
    /// The probe is on its way; nothing is sent until it is answered or lost.
    Paused,
    /// The logs agree up to what was sent: appends are pipelined.
    Replicate,
    /// The log does not go back far enough: a snapshot is offered until the peer has it.
    Snapshot,
}

/// A snapshot that a peer was told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Offer {
    /// The last entry in it; the log after it is kept for the peer.
    pub(crate) id: EntryId,
    /// When the peer was told last.
    pub(crate) at: Time,
    /// How many times.
    pub(crate) times: u64,
}

/// One peer as its leader sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Progress {
    /// The exchange that replies must belong to.
    pub(crate) session: Session,
    pub(crate) state: ProgressState,
    pub(crate) match_index: Index,
    pub(crate) next_index: Index,
    pub(crate) inflight: Inflight,
    /// The last entry that the outstanding probe carries, and its bytes.
    probe: (Index, u64),
    /// When the peer was last heard in this leadership.
    pub(crate) last_contact: Time,
    /// The life of the peer that answered last.
    pub(crate) boot: Option<Boot>,
    /// The latest round it answered.
    pub(crate) round: Round,
    /// When that round was begun.
    pub(crate) confirmed: Option<Time>,
    /// Until then, by our clock, it helps nobody else to lead.
    pub(crate) promised_until: Time,
    /// The first heartbeat that is not answered, and what had been sent before it.
    asked: Option<(Round, Index)>,
    /// The commit index it was told last.
    pub(crate) commit_sent: Index,
    /// The commit index it waits for, with a request of its own.
    pub(crate) commit_wanted: Index,
    /// How its disk was when it last answered a round.
    pub(crate) disk: DiskHealth,
    /// It was said already that it lacks what it acknowledged.
    pub(crate) forgot: bool,
    /// Entries for it are being read from disk.
    pub(crate) reading: Option<ReadTicket>,
    /// The snapshot it was told of, in the state `Snapshot`.
    pub(crate) offer: Option<Box<Offer>>,
}

impl Progress {
    pub(crate) fn new(session: Session, next_index: Index, now: Time) -> Self {
        assert!(next_index > Index(0), "the first entry has index 1");
        Self {
            session,
            state: ProgressState::Probe,
            match_index: Index(0),
            next_index,
            inflight: Inflight::default(),
            probe: (Index(0), 0),
            last_contact: now,
            boot: None,
            round: Round(0),
            confirmed: None,
            promised_until: Time(0),
            asked: None,
            disk: DiskHealth::Healthy,
            forgot: false,
            commit_sent: Index(0),
            commit_wanted: Index(0),
            reading: None,
            offer: None,
        }
    }

    /// Whether an append with entries may be sent now.
    pub(crate) fn may_send(&self, appends_max: u32, bytes_max: u64) -> bool {
        match self.state {
            ProgressState::Probe => true,
            ProgressState::Paused | ProgressState::Snapshot => false,
            ProgressState::Replicate => !self.inflight.is_full(appends_max, bytes_max),
        }
    }

    /// Whether everything up to the log's end was sent to it, and all that it waits for of what is committed: there
    /// is nothing to say to it.
    pub(crate) fn has_all(&self, last: Index, commit: Index) -> bool {
        self.state == ProgressState::Replicate
            && self.next_index > last
            && self.commit_sent >= self.commit_wanted.min(commit)
    }

    /// An append was sent whose last entry is `last`; `bytes` is zero when it carried none.
    #[inline(always)]
    pub(crate) fn sent(&mut self, last: Index, bytes: u64, commit: Index) {
        self.commit_sent = self.commit_sent.max(commit);
        match self.state {
            ProgressState::Probe => {
                self.state = ProgressState::Paused;
                self.probe = (last, bytes);
                self.asked = None;
            }
            ProgressState::Paused | ProgressState::Snapshot => {}
            ProgressState::Replicate => {
                if bytes > 0 {
                    self.inflight.sent(last, bytes);
                    self.next_index = last.next();
                }
            }
        }
        self.check();
    }

    /// The peer has everything up to `matched`, durably.
    #[inline(always)]
    pub(crate) fn acknowledged(&mut self, matched: Index) {
        if planted(Bug::MatchRegress) {
            self.match_index = matched;
        }
        if matched > self.match_index {
            self.match_index = matched;
            self.next_index = self.next_index.max(matched.next());
            self.inflight.acknowledged(matched);
        }
        // An answer below what is known already may be a late one, and proves nothing new.
        let goes_on = match self.state {
            ProgressState::Probe | ProgressState::Paused => true,
            ProgressState::Replicate => false,
            // Less than what it was offered may not be in the log any more.
            ProgressState::Snapshot => self
                .offer
                .as_ref()
                .is_some_and(|offer| matched >= offer.id.index),
        };
        if matched >= self.match_index && goes_on {
            let (last, bytes) = self.probe;
            let accepted = self.state == ProgressState::Paused && last > matched;
            self.replicate_from(matched.next());
            if accepted {
                // The rest of the probe waits for the peer's disk. Should it be lost instead, the
                // next heartbeat's answer shows it.
                self.sent(last, bytes, self.commit_sent);
            }
        }
        self.check();
    }

    /// The peer lacks the entry at `previous`; the logs may agree just before `next`. Ignored if that
    /// answers an append that no longer matters.
    pub(crate) fn rejected(&mut self, previous: Index, next: Index) {
        let probing = match self.state {
            ProgressState::Probe | ProgressState::Paused => true,
            ProgressState::Replicate => false,
            // It answers an append of before.
            ProgressState::Snapshot => return,
        };
        // What is acknowledged stays so: such an answer is late, or the peer's disk forgot (S50).
        let stale = previous <= self.match_index || (probing && previous.next() != self.next_index);
        if planted(Bug::NextBelowMatch) {
            self.state = ProgressState::Probe;
            self.next_index = next.min(previous);
            self.check();
            return;
        }
        if !stale {
            self.probe_from(next.min(previous));
        }
    }

    /// A heartbeat was answered: the peer's log agrees with ours up to `received`, on disk or not.
    pub(crate) fn heard(&mut self, round: Round, received: Index) {
        self.round = self.round.max(round);
        let answered = self.asked.filter(|(asked, _)| round >= *asked);
        if answered.is_some() {
            self.asked = None;
        }
        let verified = received > Index(0) && received >= self.match_index;
        match (self.state, answered) {
            // Everything sent before that heartbeat has arrived, or is lost.
            (ProgressState::Replicate, Some((_, sent))) if received < sent => {
                self.probe_from(received.next());
            }
            (ProgressState::Replicate | ProgressState::Snapshot, _) => {}
            (ProgressState::Paused, _) if verified && received >= self.probe.0 => {
                self.replicate_from(received.next());
            }
            // Asked after the probe was sent, and the probe's entries are not there.
            (ProgressState::Paused, Some(_)) if verified => self.probe_from(received.next()),
            (ProgressState::Paused, Some(_)) => self.state = ProgressState::Probe,
            (ProgressState::Paused, None) => {}
            // What is being read for it stays wanted unless this says where to go on instead.
            (ProgressState::Probe, _) if verified && self.next_index != received.next() => {
                self.probe_from(received.next());
            }
            (ProgressState::Probe, _) => {}
        }
        self.check();
    }

    /// A heartbeat was sent because it was time to. The earliest unanswered one counts, so that answers
    /// that take longer than the next heartbeat still tell what was lost.
    pub(crate) fn ask(&mut self, round: Round) {
        self.asked
            .get_or_insert((round, self.next_index.previous()));
    }

    /// What the peer needs next is not in the log any more, or it has nothing that entries could follow.
    pub(crate) fn needs_snapshot(&mut self) {
        self.go_on_from(self.next_index);
        self.state = ProgressState::Snapshot;
        self.reading = None;
        self.offer = None;
    }

    /// It is told of a snapshot, for the first time or again.
    pub(crate) fn offered(&mut self, id: EntryId, now: Time) {
        assert!(
            self.state == ProgressState::Snapshot,
            "a snapshot is offered to a peer that needs one"
        );
        let times = self.offer.as_ref().map_or(0, |offer| offer.times) + 1;
        self.offer = Some(Box::new(Offer { id, at: now, times }));
    }

    /// Start over: find out where the logs agree, from `next` on or from what is certain.
    pub(crate) fn probe_from(&mut self, next: Index) {
        self.state = ProgressState::Probe;
        self.go_on_from(next);
        self.check();
    }

    /// The logs agree before `next`: send what follows without waiting.
    fn replicate_from(&mut self, next: Index) {
        self.state = ProgressState::Replicate;
        self.go_on_from(next);
    }

    fn go_on_from(&mut self, next: Index) {
        let next = next.max(self.match_index.next());
        if next != self.next_index {
            // What is being read from disk is not what is wanted any more.
            self.reading = None;
        }
        self.next_index = next;
        self.inflight.reset();
        self.asked = None;
        self.offer = None;
    }

    /// The peer lives anew: what it had not made durable is gone, and late answers of its former life
    /// prove nothing.
    pub(crate) fn restarted(&mut self, boot: Boot) {
        self.boot = Some(boot);
        self.session.counter += 1;
        self.probe_from(self.match_index.next());
    }

    fn check(&self) {
        assert!(
            self.next_index > self.match_index,
            "the next entry to send lies above what the peer has"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::{Progress, ProgressState};
    use crate::message::Session;
    use crate::types::{EntryId, Index, Round, Term, Time};
    use alloc::vec::Vec;
    use quickcheck::quickcheck;

    quickcheck! {
        /// S50, S52: whatever comes in whatever order, what is known to match never falls, and what is
        /// sent next lies above it. The assertions in `Progress` check the rest.
        fn match_never_falls_and_next_stays_above_it(steps: Vec<(u8, u8, u8)>) -> bool {
            let last = Index(40);
            let mut peer = Progress::new(Session::default(), Index(20), Time(0));
            let mut round = 0;
            for (kind, one, other) in steps {
                let before = peer.match_index;
                let (one, other) = (Index((one % 41).into()), Index((other % 41).into()));
                match kind % 8 {
                    0 if peer.may_send(4, 1_000) && peer.next_index <= last => {
                        let end = last.min(Index(peer.next_index.0 + 3));
                        peer.sent(end, 100, Index(0));
                    }
                    1 => peer.acknowledged(one),
                    2 => peer.rejected(one, other),
                    3 => { round += 1; peer.ask(Round(round)); }
                    4 => peer.heard(Round(other.0.min(round)), one.max(other)),
                    5 => peer.needs_snapshot(),
                    6 if peer.state == ProgressState::Snapshot => {
                        peer.offered(EntryId { term: Term(1), index: one }, Time(0));
                    }
                    _ => peer.probe_from(one.next()),
                }
                if peer.match_index < before || peer.next_index <= peer.match_index {
                    return false;
                }
            }
            peer.state != ProgressState::Replicate || peer.inflight.appends() <= 40
        }
    }
}
