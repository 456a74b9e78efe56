//! Fetching a snapshot from another replica, part by part: what to ask, and what to do with the answers.
//!
//! The receiver asks, so that it never gets more than it can take; the sender keeps no state but the file.
//! Parts are written in order, and the whole is verified once it is there.
//!
//! Always holds: at most so many parts are asked for, in memory or being written; nothing but the answer to
//! an open question is looked at.

use alloc::collections::BTreeMap;

use bytes::Bytes;

use crate::options::Options;
use crate::types::{EntryId, Index, Member, SnapshotTicket, Time};

use super::pace::Pace;

/// A source that says nothing for so many election timeouts is given up.
const SILENT_TIMEOUTS: u64 = 4;
/// No node sends larger parts.
const PART_BYTES_MAX: u64 = 8 << 20;

/// A snapshot on its way to this node.
#[derive(Clone, Debug)]
pub(super) struct Fetch {
    /// Who waits for it; nobody after it failed, until it is asked for again.
    ticket: Option<SnapshotTicket>,
    at_least: EntryId,
    source: Member,
    /// When the source last sent what was asked for, or was asked after nothing was.
    heard: Time,
    pace: Pace,
    stage: Stage,
}

#[derive(Clone, Debug)]
enum Stage {
    /// Which snapshot there is, and how long it is, will be known from its first part.
    Asking {
        /// When to ask, or to ask again.
        due: Time,
    },
    /// The store finds out what it has of it already.
    Beginning { id: EntryId, first: Part },
    /// Parts are asked for and written.
    Receiving(Parts),
    /// The store verifies it.
    Finishing { id: EntryId },
}

/// The first part of a snapshot, from its beginning.
#[derive(Clone, Debug)]
struct Part {
    total: u64,
    bytes: Bytes,
}

#[derive(Clone, Debug)]
struct Parts {
    id: EntryId,
    total: u64,
    /// How long the source's parts are.
    stride: u64,
    /// The store has everything before.
    written: u64,
    /// Everything before is the store's to write.
    handed: u64,
    /// Nothing from here on was asked for.
    next: u64,
    /// What lies between the two, without a gap.
    open: BTreeMap<u64, Open>,
}

/// A part that was asked for.
#[derive(Clone, Debug)]
enum Open {
    Asked { length: u64, again: Time },
    Here(Bytes),
}

/// What to ask the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Question {
    pub(super) id: Option<EntryId>,
    pub(super) offset: u64,
}

/// What a part of a snapshot was to the one who asked for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// It is of use.
    Yes,
    /// It is the first one: the store is asked what it has.
    Begins { id: EntryId, total: u64 },
    /// It came late, or twice, or is of another file than before.
    No,
    /// Nobody can have meant it so.
    Malformed,
}

/// What the store is to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Write {
    Part {
        id: EntryId,
        offset: u64,
        bytes: Bytes,
    },
    Finish {
        id: EntryId,
    },
}

impl Fetch {
    pub(super) const fn new(
        now: Time,
        ticket: SnapshotTicket,
        at_least: EntryId,
        source: Member,
    ) -> Self {
        Self {
            ticket: Some(ticket),
            at_least,
            source,
            heard: now,
            pace: Pace::new(),
            stage: Stage::Asking { due: now },
        }
    }

    /// Another ticket takes the place of the one before. What is here already stays, if it is new enough.
    pub(super) fn retarget(
        &mut self,
        now: Time,
        ticket: SnapshotTicket,
        at_least: EntryId,
        source: Member,
    ) {
        self.ticket = Some(ticket);
        self.at_least = at_least;
        self.heard = now;
        if self.id().is_none_or(|id| id.index < at_least.index) {
            self.stage = Stage::Asking { due: now };
        } else if self.source != source
            && let Stage::Receiving(parts) = &mut self.stage
        {
            // The new one has yet to be asked, and its parts may be of another length.
            parts.forget_open();
        }
        self.source = source;
    }

    pub(super) const fn ticket(&self) -> Option<SnapshotTicket> {
        self.ticket
    }

    pub(super) const fn source(&self) -> Member {
        self.source
    }

    pub(super) const fn at_least(&self) -> Index {
        self.at_least.index
    }

    /// Which snapshot it is, once that is known.
    pub(super) const fn id(&self) -> Option<EntryId> {
        match &self.stage {
            Stage::Asking { .. } => None,
            Stage::Beginning { id, .. } | Stage::Finishing { id } => Some(*id),
            Stage::Receiving(parts) => Some(parts.id),
        }
    }

    /// The ticket ends without a snapshot; what is written is of use if it is asked for again.
    pub(super) fn fail(&mut self) -> Option<SnapshotTicket> {
        if let Stage::Receiving(parts) = &mut self.stage {
            parts.forget_open();
        }
        self.ticket.take()
    }

    /// The source does not have what it was asked for: whether something else can be asked of it.
    pub(super) fn missing(&mut self, now: Time) -> bool {
        let known = matches!(self.stage, Stage::Receiving(_));
        if known {
            self.stage = Stage::Asking { due: now };
        }
        known
    }

    /// What to ask now, if anything; it counts as asked.
    pub(super) fn question(&mut self, now: Time, options: &Options) -> Option<Question> {
        self.ticket?;
        let again = now + options.election_timeout;
        if !self.pace.allows(now) {
            return None;
        }
        let (question, length) = match &mut self.stage {
            Stage::Asking { due } if *due <= now => {
                *due = again;
                let question = Question {
                    id: None,
                    offset: 0,
                };
                (question, options.snapshot_chunk_bytes)
            }
            Stage::Receiving(parts) => {
                if !parts.waits() {
                    self.heard = now;
                }
                let (offset, length) = parts.question(now, again, options.snapshot_chunks_max)?;
                let question = Question {
                    id: Some(parts.id),
                    offset,
                };
                (question, length)
            }
            Stage::Asking { .. } | Stage::Beginning { .. } | Stage::Finishing { .. } => {
                return None;
            }
        };
        self.pace.took(now, length, options);
        Some(question)
    }

    /// A part arrived, from the source and in this exchange.
    pub(super) fn take(
        &mut self,
        now: Time,
        id: EntryId,
        offset: u64,
        total: u64,
        bytes: Bytes,
    ) -> Taken {
        let length = bytes.len() as u64;
        let end = offset.checked_add(length);
        if length == 0 || length > PART_BYTES_MAX || end.is_none_or(|end| end > total) {
            return Taken::Malformed;
        }
        match &mut self.stage {
            Stage::Asking { .. } if offset == 0 => {
                if id.index < self.at_least.index {
                    return Taken::Malformed;
                }
                self.heard = now;
                let first = Part { total, bytes };
                self.stage = Stage::Beginning { id, first };
                Taken::Begins { id, total }
            }
            Stage::Receiving(parts) if parts.id == id => {
                if parts.total != total {
                    // Another node's snapshot of the same place need not have the same bytes.
                    self.stage = Stage::Asking { due: now };
                    return Taken::No;
                }
                let taken = parts.take(offset, bytes);
                if taken == Taken::Yes {
                    self.heard = now;
                }
                taken
            }
            Stage::Asking { .. }
            | Stage::Beginning { .. }
            | Stage::Receiving(_)
            | Stage::Finishing { .. } => Taken::No,
        }
    }

    /// The store has everything before `offset`, from an earlier attempt.
    pub(super) fn begun(&mut self, now: Time, id: EntryId, offset: u64) {
        let Stage::Beginning { id: awaited, first } = &self.stage else {
            return;
        };
        if *awaited != id {
            return;
        }
        let Part { total, bytes } = first.clone();
        let offset = offset.min(total);
        let mut parts = Parts {
            id,
            total,
            stride: bytes.len() as u64,
            written: offset,
            handed: offset,
            next: offset,
            open: BTreeMap::new(),
        };
        if offset == 0 {
            parts.next = parts.stride;
            parts.open.insert(0, Open::Here(bytes));
        }
        self.heard = now;
        self.stage = Stage::Receiving(parts);
    }

    /// What the store is to do next, if anything; it counts as handed out.
    pub(super) fn write(&mut self) -> Option<Write> {
        let Stage::Receiving(parts) = &mut self.stage else {
            return None;
        };
        let id = parts.id;
        if parts.written == parts.total {
            self.stage = Stage::Finishing { id };
            return Some(Write::Finish { id });
        }
        let offset = parts.handed;
        let bytes = match parts.open.get(&offset)? {
            Open::Here(bytes) => bytes.clone(),
            Open::Asked { .. } => return None,
        };
        parts.open.remove(&offset);
        parts.handed = offset + bytes.len() as u64;
        Some(Write::Part { id, offset, bytes })
    }

    /// The store has everything before `end`.
    pub(super) fn written(&mut self, id: EntryId, end: u64) {
        if let Stage::Receiving(parts) = &mut self.stage
            && parts.id == id
        {
            parts.written = parts.written.max(end.min(parts.handed));
        }
    }

    /// Whether the source has been silent for too long.
    pub(super) fn is_given_up(&self, now: Time, options: &Options) -> bool {
        self.silence_ends(options).is_some_and(|end| now >= end)
    }

    fn silence_ends(&self, options: &Options) -> Option<Time> {
        let waits = match &self.stage {
            Stage::Asking { .. } => true,
            Stage::Receiving(parts) => parts.waits(),
            Stage::Beginning { .. } | Stage::Finishing { .. } => false,
        };
        // A question may have to wait for its turn before it is asked again.
        let turn = options.election_timeout.max(self.pace.apart());
        let patience = turn.times(SILENT_TIMEOUTS);
        (waits && self.ticket.is_some()).then(|| self.heard + patience)
    }

    /// When there is something to ask, or the source is given up.
    pub(super) fn next_deadline(&self, options: &Options) -> Option<Time> {
        self.ticket?;
        let due = match &self.stage {
            Stage::Asking { due } => Some(*due),
            Stage::Receiving(parts) => parts.due(options.snapshot_chunks_max),
            Stage::Beginning { .. } | Stage::Finishing { .. } => None,
        };
        let due = due.map(|due| due.max(self.pace.next()));
        due.into_iter().chain(self.silence_ends(options)).min()
    }
}

impl Parts {
    fn forget_open(&mut self) {
        self.open.clear();
        self.next = self.handed;
    }

    /// Whether the source has been asked for something and has not sent it.
    fn waits(&self) -> bool {
        let mut open = self.open.values();
        open.any(|open| matches!(open, Open::Asked { .. }))
    }

    /// Whether another part may be asked for: what the store has not written yet counts, too.
    const fn has_room(&self, parts_max: u32) -> bool {
        let room = self.stride.saturating_mul(parts_max as u64);
        self.next < self.total && self.next - self.written < room
    }

    fn question(&mut self, now: Time, again: Time, parts_max: u32) -> Option<(u64, u64)> {
        for (offset, open) in &mut self.open {
            if let Open::Asked { length, again: due } = open
                && *due <= now
            {
                *due = again;
                return Some((*offset, *length));
            }
        }
        if !self.has_room(parts_max) {
            return None;
        }
        let offset = self.next;
        let length = self.stride.min(self.total - offset);
        self.open.insert(offset, Open::Asked { length, again });
        self.next = offset + length;
        Some((offset, length))
    }

    fn due(&self, parts_max: u32) -> Option<Time> {
        if self.has_room(parts_max) {
            return Some(Time(0));
        }
        let asked = self.open.values().filter_map(|open| match open {
            Open::Asked { again, .. } => Some(*again),
            Open::Here(_) => None,
        });
        asked.min()
    }

    fn take(&mut self, offset: u64, bytes: Bytes) -> Taken {
        let Some(Open::Asked { length, .. }) = self.open.get(&offset) else {
            return Taken::No;
        };
        let (wanted, found) = (*length, bytes.len() as u64);
        if found < wanted {
            // The source sends shorter parts than was thought; what was asked for behind this one is asked
            // for anew.
            self.open.split_off(&offset);
            self.stride = found;
            self.next = offset + found;
        }
        let keep = usize::try_from(wanted.min(found)).unwrap_or(usize::MAX);
        self.open
            .insert(offset, Open::Here(bytes.slice(..keep.min(bytes.len()))));
        Taken::Yes
    }
}

#[cfg(test)]
#[path = "fetch_tests.rs"]
mod tests;
