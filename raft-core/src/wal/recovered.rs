//! The log as far as its segments were taken in, at a start.

use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

use crate::configuration::Configuration;
use crate::entry::Entry;
use crate::node::Restored;
use crate::planted::{Bug, planted};
use crate::term_runs::TermRuns;
use crate::types::{EntryId, Identity, Index};

use super::chain::Segment;
use super::disk::Disk;
use super::reading::Point;
use super::record::{Control, Kind, Record, encode_content, record_size};
use super::segment::{HEADER_BYTES, Header, Link, Summary, segment_name};
use super::state::State;
use super::walk::{content_of, read_all, read_footer, summarize, walk};
use super::{RecoveryError, damaged};

/// Records that are to be written, by kind and payload.
pub(super) type Records = Vec<(Kind, Vec<u8>)>;

/// What the newest segment says the store is, and what the segments say the log holds above its base.
#[derive(Clone)]
pub(super) struct Recovered {
    pub(super) identity: Identity,
    pub(super) state: State,
    pub(super) terms: TermRuns,
    configurations: Vec<(Index, Arc<Configuration>)>,
    points: Vec<Point>,
}

impl Recovered {
    pub(super) const fn new(identity: Identity, state: State) -> Self {
        Self {
            identity,
            terms: TermRuns::new(state.base.id),
            state,
            configurations: Vec::new(),
            points: Vec::new(),
        }
    }

    /// From where entries can be read: one point for the first of them, and all that follow.
    pub(super) fn points(&self) -> &[Point] {
        let first = self.state.base.id.index.next();
        let place = self.points.partition_point(|point| point.first <= first);
        if self.terms.last().index < first {
            return &[];
        }
        &self.points[place.saturating_sub(1)..]
    }

    pub(super) fn into_restored(self, tail: Vec<Entry>) -> Restored {
        let State {
            boot,
            hard_state,
            base,
            snapshot,
            oldest: _,
        } = self.state;
        Restored {
            identity: self.identity,
            boot,
            hard_state,
            terms: self.terms,
            tail,
            configuration: base.configuration,
            configured: base.configured,
            configurations: self.configurations,
            snapshot,
        }
    }

    /// Takes in a sealed segment, by its footer if it has one.
    pub(super) fn take_in_sealed<D: Disk>(
        &mut self,
        disk: &mut D,
        segment: &Segment,
        link: Link,
    ) -> Result<(), RecoveryError> {
        let (number, seed) = (segment.header.number, segment.seed);
        let file = disk.open(&segment_name(number))?;
        if let Some(summary) = read_footer(disk, &file, seed, link)? {
            return self.take_in(number, &summary);
        }
        let bytes = read_all(disk, &file)?;
        let walk = walk(seed, &bytes, link.end);
        if walk.end != link.end || walk.chain != link.chain {
            return Err(walk.damage(number));
        }
        self.take_in(number, &summarize(number, &walk.records)?)
    }

    /// Takes in what a segment holds, as far as it lies above the base.
    pub(super) fn take_in(&mut self, number: u64, summary: &Summary) -> Result<(), RecoveryError> {
        let (Some(first), Some(added)) = (summary.first(), summary.terms()) else {
            return Ok(());
        };
        let base = self.state.base.id;
        self.configurations.retain(|(at, _)| *at < first);
        self.points.retain(|point| point.first < first);
        let (mut last, before) = (added.last().index, self.terms.last().index);
        if planted(Bug::TruncateForgotten) {
            last = last.max(before);
        }
        let fits = if first > base.index {
            self.terms.splice(first, added.runs(), last)
        } else {
            self.terms = TermRuns::new(base);
            let runs = runs_from(base.index.next(), added.runs());
            last <= base.index || self.terms.splice(base.index.next(), &runs, last)
        };
        if !fits {
            let expected = alloc::format!("entries that follow entry {before}");
            return Err(damaged(number, HEADER_BYTES as u64, expected, first));
        }
        let above = |(at, _): &&(Index, Arc<Configuration>)| *at > base.index;
        self.configurations
            .extend(summary.configurations.iter().filter(above).cloned());
        self.points
            .extend(summary.points.iter().map(|(first, offset)| Point {
                first: *first,
                segment: number,
                offset: *offset,
            }));
        Ok(())
    }

    /// What the segment begins with in which the store's next life begins: what must be known first,
    /// then whatever has to be copied.
    pub(super) fn rewrite(
        &mut self,
        newest: &Header,
        copied: &[(u64, Record)],
    ) -> Result<(Records, Summary), RecoveryError> {
        self.state.boot = self.state.boot.next();
        let start = self.state.record();
        let mut offset = HEADER_BYTES as u64 + record_size(start.1.len());
        let mut records = vec![start];
        let mut summary = Summary::new();
        let control = Control {
            watermark: 0,
            hard_state: None,
        };
        for (at, record) in copied {
            let Some(content) = content_of(newest.number, *at, record)? else {
                continue;
            };
            // Below the base, too: a record may be there for what it replaces.
            let entries = content.entries;
            if entries.is_empty() {
                continue;
            }
            assert!(
                summary.add(offset, &entries),
                "what was summarized once can be summarized again"
            );
            let mut payload = Vec::new();
            encode_content(&control, None, &entries, &mut payload);
            offset += record_size(payload.len());
            records.push((Kind::Persist, payload));
        }
        self.take_in(newest.number + 1, &summary)?;
        Ok((records, summary))
    }
}

/// The runs of entries from an index on that the first of them does not lie above.
fn runs_from(index: Index, runs: &[EntryId]) -> Vec<EntryId> {
    let place = runs.partition_point(|run| run.index <= index);
    let mut runs = runs[place.saturating_sub(1)..].to_vec();
    if let Some(first) = runs.first_mut() {
        first.index = first.index.max(index);
    }
    runs
}
