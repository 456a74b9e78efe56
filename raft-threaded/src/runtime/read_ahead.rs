//! Entries that are read before they are asked for, while what was read last is made use of.
//!
//! Always holds: what is kept is what the log would answer; whatever changes that part of the log makes it forgotten.

use raft_core::wal::{Disk, Wal};
use raft_core::{CompactLog, Entry, Index, LogReadOutcome, Persist, ReadLog};

use super::log_thread::Work;

/// One read ahead of whoever reads the log from one end to the other.
#[derive(Debug, Default)]
pub(super) struct ReadAhead {
    /// Where the last read ended, unless it had all that was asked for.
    end: Option<Index>,
    /// What is likely to be asked for next.
    next: Option<ReadLog>,
    /// How much is read at a time, and what was.
    ready: Option<(u64, Vec<Entry>)>,
}

impl ReadAhead {
    /// Answers a read, with what is here or else from the log.
    pub(super) fn read<D: Disk>(&mut self, read: &ReadLog, wal: &mut Wal<D>) -> LogReadOutcome {
        let outcome = match self.take(read) {
            Some(entries) => LogReadOutcome::Entries(entries),
            None => wal.read(read),
        };
        // Several that take turns have no use for it: none goes on where the last one ended.
        let goes_on = self.end == Some(read.from);
        self.end = after(&outcome).filter(|end| *end <= read.to);
        let next = self.end.map(|from| ReadLog { from, ..*read });
        self.next = next.filter(|_| goes_on);
        outcome
    }

    /// Reads what is likely to be asked for next.
    pub(super) fn look<D: Disk>(&mut self, wal: &mut Wal<D>) {
        if let Some(next) = self.next.take()
            && let LogReadOutcome::Entries(entries) = wal.read(&next)
        {
            self.ready = Some((next.bytes_max, entries));
        }
    }

    /// The log is about to be changed.
    pub(super) fn follow(&mut self, work: &Work) {
        match work {
            Work::Persist(Persist {
                snapshot: None,
                entries,
                ..
            }) if self.is_before(entries) => {}
            Work::Persist(_) | Work::Compact(CompactLog { .. }) | Work::Wipe(_) => self.forget(),
        }
    }

    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }

    fn take(&mut self, read: &ReadLog) -> Option<Vec<Entry>> {
        let (bytes_max, entries) = self.ready.take()?;
        let (first, last) = (entries.first()?.id.index, entries.last()?.id.index);
        let is_asked = first == read.from && last <= read.to && bytes_max == read.bytes_max;
        is_asked.then_some(entries)
    }

    /// Whether all that is here comes before these.
    fn is_before(&self, entries: &[Entry]) -> bool {
        let Some(first) = entries.first() else {
            return true;
        };
        let ready = self.ready.as_ref().and_then(|(_, entries)| entries.last());
        ready.is_none_or(|last| last.id.index < first.id.index)
    }
}

/// What comes after it.
fn after(outcome: &LogReadOutcome) -> Option<Index> {
    match outcome {
        LogReadOutcome::Entries(entries) => entries.last().map(|last| last.id.index.next()),
        LogReadOutcome::Compacted | LogReadOutcome::Damaged => None,
    }
}

#[cfg(test)]
mod tests {
    use raft_core::wal::WalOptions;
    use raft_core::{EntryId, NodeId, Payload, PersistId, Term};

    use super::*;
    use crate::folder::init_in_memory;
    use crate::memory::MemoryDisk;

    const OPTIONS: WalOptions = WalOptions {
        segment_bytes: 64 << 10,
        tail_bytes_max: 64 << 10,
    };

    /// A log, and what it is read through.
    struct Reading {
        wal: Wal<MemoryDisk>,
        ahead: ReadAhead,
        persist: Persist,
    }

    impl Reading {
        fn new() -> Self {
            let disk = init_in_memory(&[NodeId(1)]).unwrap().remove(0);
            let (wal, restored) = Wal::recover(disk, OPTIONS).unwrap();
            let persist = Persist {
                id: PersistId(0),
                store: restored.identity.member.store,
                boot: restored.boot,
                hard_state: None,
                snapshot: None,
                identity: None,
                entries: Vec::new().into(),
            };
            let ahead = ReadAhead::default();
            Self {
                wal,
                ahead,
                persist,
            }
        }

        /// Appends entries of a term; what the log had from the first of them on is replaced.
        fn append(&mut self, term: u64, indices: core::ops::RangeInclusive<u64>) {
            let entries = indices.map(|index| Entry {
                id: EntryId {
                    term: Term(term),
                    index: Index(index),
                },
                payload: Payload::Noop,
            });
            self.persist.id = self.persist.id.next();
            self.persist.entries = entries.collect();
            self.ahead.follow(&Work::Persist(self.persist.clone()));
            self.wal.append(&self.persist).unwrap();
            self.wal.sync().unwrap();
        }

        /// The entries from one index on: a few at a time, up to another.
        fn read(&mut self, from: u64, to: u64) -> Vec<Entry> {
            let read = ReadLog {
                ticket: raft_core::ReadTicket(0),
                from: Index(from),
                to: Index(to),
                bytes_max: 1_000,
            };
            let outcome = self.ahead.read(&read, &mut self.wal);
            self.ahead.look(&mut self.wal);
            let LogReadOutcome::Entries(entries) = outcome else {
                panic!("the log has entries {from} to {to}, and not {outcome:?}");
            };
            let LogReadOutcome::Entries(told) = self.wal.read(&read) else {
                panic!("the log is not damaged");
            };
            assert!(told.starts_with(&entries) && !entries.is_empty());
            entries
        }

        fn is_ahead(&self) -> bool {
            self.ahead.ready.is_some()
        }
    }

    #[test]
    fn whoever_goes_on_where_it_ended_finds_the_next_entries_read_up_to_the_last_one_it_wants() {
        let mut reading = Reading::new();
        reading.append(1, 1..=200);
        let (mut from, mut ahead) = (1, Vec::new());
        while from <= 150 {
            let found = reading.read(from, 150);
            from += found.len() as u64;
            ahead.push(reading.is_ahead());
        }
        assert_eq!(from, 151, "nothing is left out, nor read twice");
        let (last, others) = ahead.split_last().unwrap();
        assert!(!others[0], "nobody knows yet how the first one goes on");
        assert!(others.len() > 3 && others[1..].iter().all(|it| *it));
        assert!(!last, "nothing is wanted after it");
    }

    #[test]
    fn readers_that_take_turns_cost_the_disk_nothing_more() {
        let mut reading = Reading::new();
        reading.append(1, 1..=200);
        let (mut one, mut other) = (1, 101);
        for _ in 0..3 {
            one += reading.read(one, 100).len() as u64;
            assert!(!reading.is_ahead());
            other += reading.read(other, 200).len() as u64;
            assert!(!reading.is_ahead());
        }
    }

    #[test]
    fn whoever_goes_elsewhere_gets_what_is_there() {
        let mut reading = Reading::new();
        reading.append(1, 1..=200);
        let mut from = 1;
        for _ in 0..2 {
            from += reading.read(from, 200).len() as u64;
        }
        assert!(reading.is_ahead());
        let found = reading.read(from - 1, 200);
        assert_eq!(found[0].id.index, Index(from - 1));
    }

    #[test]
    fn entries_that_are_replaced_after_they_were_read_ahead_are_not_what_is_read() {
        let mut reading = Reading::new();
        reading.append(1, 1..=200);
        let mut from = 1;
        for _ in 0..2 {
            from += reading.read(from, 200).len() as u64;
        }
        assert!(reading.is_ahead());
        reading.append(1, 201..=210);
        assert!(reading.is_ahead(), "what comes behind it changes nothing");
        reading.append(2, from + 1..=from + 20);
        let found = reading.read(from, from + 20);
        let terms: Vec<u64> = found.iter().map(|entry| entry.id.term.0).collect();
        assert_eq!(terms[..2], [1, 2]);
    }
}
