//! The log against a plain list.

use super::Log;
use crate::entry::{Entry, Payload};
use crate::term_runs::TermRuns;
use crate::types::{EntryId, Index, Term};
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use bytes::Bytes;
use quickcheck::quickcheck;

fn entry(term: u64, index: u64, bytes: u8) -> Entry {
    Entry {
        id: EntryId {
            term: Term(term),
            index: Index(index),
        },
        payload: Payload::Command(Bytes::from(vec![0; bytes.into()])),
    }
}

quickcheck! {
    /// Against a plain list: appended, truncated, made durable, evicted and compacted in any order,
    /// or replaced by a snapshot.
    fn the_log_knows_what_a_list_knows(steps: Vec<(u8, u8)>) -> bool {
        let mut log = Log::new(TermRuns::new(EntryId::ZERO), vec![]);
        let (mut list, mut durable, mut committed, mut term): (Vec<Entry>, u64, u64, u64) =
            (vec![], 0, 0, 1);
        let mut base = 0;
        for (kind, amount) in steps {
            let last = list.len() as u64;
            match kind % 10 {
                0 | 1 => {
                    let entry = entry(term, last + 1, amount);
                    list.push(entry.clone());
                    log.append(entry);
                }
                8 => {
                    let run = (0..amount % 8).map(|n| entry(term, last + 1 + u64::from(n), n * 40));
                    let run: Arc<[Entry]> = run.collect();
                    list.extend(run.iter().cloned());
                    log.append_run(run.clone());
                    // Whoever asks for just these is handed the same.
                    let shared = run.is_empty()
                        || Arc::ptr_eq(&log.slice(Index(last + 1), Index(u64::MAX), u64::MAX).0, &run);
                    if !shared {
                        return false;
                    }
                }
                2 if last > committed => {
                    let from = committed + 1 + u64::from(amount) % (last - committed);
                    list.truncate(from as usize - 1);
                    log.truncate(Index(from));
                    durable = durable.min(from - 1);
                    term += 1;
                }
                3 => {
                    durable += u64::from(amount) % (last - durable + 1);
                    log.set_durable(Index(durable));
                }
                4 if durable.min(committed) > base => {
                    base += u64::from(amount) % (durable.min(committed) - base + 1);
                    log.compact(Index(base));
                }
                5 if kind % 3 == 0 => {
                    term += 1;
                    base = committed + 1 + u64::from(amount) % 9;
                    list.truncate(committed as usize);
                    list.extend((committed + 1..=base).map(|index| entry(term, index, 0)));
                    log.install(list[base as usize - 1].id, Index(committed));
                    // The mark is durable at once.
                    log.set_durable(Index(base));
                    (durable, committed) = (base, base);
                }
                _ => {
                    committed += u64::from(amount) % (last - committed + 1);
                    let held = log.tail_bytes();
                    let oldest = (1..=last).find(|index| log.in_memory(Index(*index)));
                    log.evict(Index(committed), 300);
                    let next = (1..=last).find(|index| log.in_memory(Index(*index)));
                    let gone = oldest.unwrap_or(0)..next.unwrap_or(last + 1);
                    // As few as that takes, oldest first.
                    let enough = log.tail_bytes() <= 300 || next > Some(durable.min(committed));
                    let few = gone.clone().next_back().filter(|_| oldest.is_some());
                    let few = few.is_none_or(|evicted| {
                        held > 300
                            && evicted <= durable.min(committed)
                            && log.tail_bytes() + list[evicted as usize - 1].memory_bytes() > 300
                    });
                    if !enough || !few {
                        return false;
                    }
                }
            }
            let waiting = list[durable as usize..].iter().map(Entry::memory_bytes);
            let mut kept_terms = list.iter().skip(base as usize);
            let terms = kept_terms.all(|e| log.term(e.id.index) == Some(e.id.term));
            let held = (1..=list.len() as u64).filter(|index| log.in_memory(Index(*index)));
            let held: Vec<u64> = held.collect();
            let needed = durable.min(committed);
            let kept = (needed + 1..=list.len() as u64).all(|index| held.contains(&index));
            // One of them only: what was not asked for must leave memory, too.
            let asked = held.get(usize::from(amount) % held.len().max(1));
            let slices = asked.is_none_or(|from| {
                let to = from + u64::from(amount % 16);
                let (slice, bytes) = log.slice(Index(*from), Index(to), 200);
                let rest = &list[*from as usize - 1..];
                let sum: u64 = slice.iter().map(Entry::memory_bytes).sum();
                let next = rest.get(slice.len()).filter(|next| next.id.index.0 <= to);
                slice[..] == rest[..slice.len()]
                    && (1..=to + 1 - from).contains(&(slice.len() as u64))
                    && bytes == sum
                    && (bytes <= 200 || slice.len() == 1)
                    && next.is_none_or(|next| bytes + next.memory_bytes() > 200)
            });
            let in_memory = held.iter().map(|index| list[*index as usize - 1].memory_bytes());
            let from = held.iter().min().map_or(1, |first| first + u64::from(amount) % held.len() as u64);
            let counted = list.iter().filter(|entry| entry.id.index >= Index(from) && held.contains(&from));
            let counted: u64 = counted.map(Entry::quota_bytes).sum();
            let quota = log.quota_bytes(Index(from), Index(if held.is_empty() { 0 } else { list.len() as u64 }));
            if log.tail_bytes() != in_memory.sum::<u64>() || quota != counted {
                return false;
            }
            if !terms || !kept || !slices || log.undurable_bytes() != waiting.sum::<u64>() {
                return false;
            }
        }
        true
    }
}
