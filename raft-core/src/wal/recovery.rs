//! Opening a log: what is believed, what is rewritten, what is refused.
//!
//! Always holds: a node is made only from what was synced during this very start. What lies past the
//! last offset known to be synced may be in a page cache only; acknowledged from there, it could be
//! lost with the power. Hence it is copied into a fresh segment, which is synced before anything else
//! happens.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use crate::node::Restored;
use crate::types::{ClusterId, EntryId, Identity, Index, StorageId};

use super::chain::{Chain, Segment, open_chain, read_header, remove_segments};
use super::disk::{Disk, DiskError};
use super::record::{Footer, Record};
use super::recovered::{Records, Recovered};
use super::segment::{Beginning, Header, Link, Summary, segment_name, segment_number};
use super::snapshot_error::SnapshotError;
use super::snapshot_file::SnapshotFile;
use super::snapshot_name::snapshot_name;
use super::spare::{Spare, is_kept, name_segment, prepare, recycle, seal};
use super::state::State;
use super::walk::{
    Walk, check_torn, content_of, first_state, known_synced, load_tail, read_all, summarize, walk,
};
use super::wipe::remove_snapshots;
use super::{Current, FRESH_NAME, RecoveryError, Wal, WalOptions, WalStats, damaged};

/// The newest segment as it was found: with what the store is, and without what is torn.
struct Newest<F> {
    segment: Segment,
    file: F,
    walk: Walk,
    /// Everything before this offset is known to be synced.
    synced: u64,
    identity: Identity,
    state: State,
    /// The first record that is not void.
    valid: usize,
}

/// How the log goes on after the newest segment.
struct Plan {
    /// How the fresh segment is linked.
    link: Link,
    /// The store that the segment before it belongs to.
    former: StorageId,
    /// What ends the newest segment; none if the fresh one takes its place.
    footer: Option<Footer>,
    records: Records,
    summary: Summary,
}

/// How much of the newest segment is copied into a fresh one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Copying {
    /// All of a short one, which the fresh one then replaces.
    Convenient,
    /// What may not be synced, and nothing else.
    Least,
}

impl Plan {
    /// Writes the fresh segment into a file without its name, and without making it durable.
    fn begin<D: Disk>(
        &self,
        disk: &mut D,
        names: &[String],
        newest: &Newest<D::File>,
        options: WalOptions,
    ) -> Result<(D::File, Beginning), DiskError> {
        let needed = Beginning::size(&self.records);
        let Spare { file, filled } = prepare(disk, names, needed, options.segment_bytes)?;
        let header = Header {
            number: newest.segment.header.number + 1,
            identity: newest.identity,
            former: self.former,
            link: self.link,
            begun: 0,
            allocated: 0,
        };
        let beginning = Beginning::new(header, filled, &self.records);
        disk.write_at(&file, 0, &beginning.bytes)?;
        Ok((file, beginning))
    }
}

impl<D: Disk> Wal<D> {
    /// Reads whose log this is, and nothing else.
    ///
    /// # Errors
    ///
    /// If there is no log, or its newest segment cannot be believed.
    pub fn peek(disk: &mut D) -> Result<Identity, RecoveryError> {
        let names = disk.list()?;
        let newest = names.iter().filter_map(|name| segment_number(name)).max();
        let segment = read_header(disk, newest.ok_or(RecoveryError::Empty)?)?;
        Ok(Newest::read(disk, segment)?.identity)
    }

    /// Opens the log: reads what is durable, rewrites what may not be, begins the store's next life,
    /// and only then tells what a node may be made from.
    ///
    /// # Errors
    ///
    /// If there is no log, or it cannot be believed; nothing was changed then. If the disk fails; what
    /// it holds is as good as before then.
    pub fn recover(mut disk: D, options: WalOptions) -> Result<(Self, Restored), RecoveryError> {
        options.validate()?;
        let names = disk.list()?;
        let chain = open_chain(&mut disk, &names)?;
        let Some(last) = chain.headers.last() else {
            return Err(RecoveryError::Empty);
        };
        let newest = Newest::read(&mut disk, *last)?;
        let (number, base) = (newest.segment.header.number, newest.state.base.id.index);
        let mut recovered = Recovered::new(newest.identity, newest.state.clone());
        recovered.take_in_chain(&mut disk, &chain)?;
        check_snapshot(&mut disk, &mut recovered.state)?;
        let unplanned = recovered.clone();
        let mut plan = newest.plan(&mut recovered, options, Copying::Convenient)?;
        let (valid, tail) = (&newest.walk.records[newest.valid..], options.tail_bytes_max);
        let tail = load_tail(number, valid, base, tail)?;

        // Everything above only read. From here on the disk changes. Names that were only in a cache so
        // far are made durable before anything builds on them, and the fresh segment before anything
        // that it replaces is touched.
        disk.sync_directory()?;
        remove_stale(&mut disk, &names, &chain)?;
        let begun = match plan.begin(&mut disk, &names, &newest, options) {
            // What is copied only to have fewer segments must not keep a node from starting.
            Err(DiskError::Full { .. }) if plan.footer.is_none() => {
                recovered = unplanned;
                plan = newest.plan(&mut recovered, options, Copying::Least)?;
                plan.begin(&mut disk, &names, &newest, options)
            }
            begun => begun,
        };
        let (file, beginning) = begun?;
        name_segment(&mut disk, &file, number + 1)?;

        let segments = chain.headers.iter().map(|s| (s.header.number, *s));
        let mut segments: BTreeMap<u64, Segment> = segments.collect();
        segments.insert(number + 1, beginning.segment());
        let mut spare_left = None;
        if let Some(footer) = plan.footer {
            let seed = newest.segment.seed;
            seal(&mut disk, &newest.file, seed, plan.link, &footer)?;
        } else {
            spare_left = recycle(&mut disk, newest.file, number, options.segment_bytes)?;
            segments.remove(&number);
        }
        let mut wal = Self {
            disk,
            options,
            identity: recovered.identity,
            state: recovered.state.clone(),
            last: recovered.terms.last().index,
            oldest_synced: recovered.state.oldest,
            segments,
            current: Current::new(&beginning, plan.summary),
            file,
            reading: None,
            buffer: Vec::new(),
            points: recovered.points().to_vec(),
            spare: spare_left,
            kept: Vec::new(),
            kept_max: 0,
            failed: false,
            stats: WalStats::default(),
        };
        wal.drop_unneeded()?;
        Ok((wal, recovered.into_restored(tail)))
    }
}

impl Recovered {
    /// Takes in every sealed segment that is needed.
    fn take_in_chain<D: Disk>(&mut self, disk: &mut D, chain: &Chain) -> Result<(), RecoveryError> {
        let oldest = self.state.oldest;
        if let Some(missing) = chain.missing.filter(|missing| *missing >= oldest) {
            return Err(damaged(missing, 0, "a segment", "no file"));
        }
        for pair in chain.headers.windows(2) {
            if pair[0].header.number >= oldest {
                self.take_in_sealed(disk, &pair[0], pair[1].header.link)?;
            }
        }
        Ok(())
    }
}

impl<F> Newest<F> {
    fn read<D: Disk<File = F>>(disk: &mut D, segment: Segment) -> Result<Self, RecoveryError> {
        let (header, seed) = (segment.header, segment.seed);
        let number = header.number;
        let file = disk.open(&segment_name(number))?;
        let bytes = read_all(disk, &file)?;
        let walk = walk(seed, &bytes, u64::MAX);
        if walk.end < header.begun {
            return Err(walk.damage(number));
        }
        let synced = known_synced(&header, &bytes, &walk);
        check_torn(seed, &bytes, &walk)?;
        let mut state = first_state(number, &walk.records)?;
        let (mut identity, mut valid) = (header.identity, 0);
        for (place, (offset, record)) in walk.records.iter().enumerate() {
            let Some(content) = content_of(number, *offset, record)? else {
                continue;
            };
            let change = content.change.as_ref();
            state.follow(number, content.control.hard_state, change);
            identity = change
                .and_then(|change| change.identity)
                .unwrap_or(identity);
            if content.voids_log() {
                valid = place;
            }
        }
        Ok(Self {
            segment,
            file,
            walk,
            synced,
            identity,
            state,
            valid,
        })
    }

    /// Decides what stays where it is and what is copied into a fresh segment, and takes in both.
    fn plan(
        &self,
        recovered: &mut Recovered,
        options: WalOptions,
        copying: Copying,
    ) -> Result<Plan, RecoveryError> {
        let (header, seed) = (&self.segment.header, self.segment.seed);
        let (number, records) = (header.number, &self.walk.records);
        let split = records.partition_point(|(offset, _)| *offset < self.synced);
        // A short segment is copied whole, so that restarts do not pile up segments; and so is what is left
        // of one that is void up to where it may not be synced. But each change of the store's id has a
        // segment that ends with it, so that a header can name the one id before its own.
        let renamed = self.identity.member.store != self.segment.store();
        let long = match copying {
            Copying::Convenient => self.synced > options.segment_bytes / 4,
            Copying::Least => true,
        };
        let stays = renamed || (long && self.valid < split);
        if !stays {
            if recovered.state.oldest == number {
                recovered.state.oldest = number + 1;
            }
            let (records, summary) = recovered.rewrite(header, &records[self.valid..])?;
            return Ok(Plan {
                link: header.link,
                former: header.former,
                footer: None,
                records,
                summary,
            });
        }
        let (kept, copied) = records.split_at(split);
        let copied = &copied[self.valid.saturating_sub(split)..];
        let summary = summarize(number, kept)?;
        let above = recovered.state.base.id.index.next();
        if self.valid >= split || replaces_from(number, copied, above)? {
            // The log above its base is all in what is copied. What it replaced need not even follow the base.
            recovered.state.oldest = number + 1;
        } else {
            recovered.take_in(number, &summary)?;
        }
        let footer = Some(summary.footer());
        let link = Link {
            previous: number,
            end: self.synced,
            chain: kept.last().map_or(seed.header, |(_, record)| record.crc),
        };
        let (records, summary) = recovered.rewrite(header, copied)?;
        Ok(Plan {
            link,
            former: self.segment.store(),
            footer,
            records,
            summary,
        })
    }
}

/// Whether some record replaces everything from an entry on.
fn replaces_from(
    number: u64,
    records: &[(u64, Record)],
    index: Index,
) -> Result<bool, RecoveryError> {
    for (offset, record) in records {
        let content = content_of(number, *offset, record)?;
        let first = content.and_then(|content| Some(content.entries.first()?.id.index));
        if first.is_some_and(|first| first <= index) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Removes what a crash left behind.
fn remove_stale<D: Disk>(disk: &mut D, names: &[String], chain: &Chain) -> Result<(), DiskError> {
    let newest = chain.headers.last().map(|segment| segment.header.identity);
    let wiped = newest.is_some_and(|newest| {
        let former = |segment: &Segment| segment.store() != newest.member.store;
        newest.cluster == ClusterId::NONE && chain.stale.iter().any(former)
    });
    if wiped {
        // Cut short: first what only the former store's segments tell to be its.
        remove_snapshots(disk)?;
    }
    remove_segments(disk, &chain.stale)?;
    for name in names
        .iter()
        .filter(|name| *name == FRESH_NAME || is_kept(name))
    {
        disk.remove(name)?;
    }
    Ok(())
}

/// What the state machine begins from must be there, unless the log holds all of it anyway.
fn check_snapshot<D: Disk>(disk: &mut D, state: &mut State) -> Result<(), RecoveryError> {
    let Some(meta) = &state.snapshot else {
        return Ok(());
    };
    let name = snapshot_name(meta.id);
    let found = SnapshotFile::open(disk, name.clone()).and_then(|mut open| open.outline(meta.id));
    let (file, offset, expected, found) = match found {
        Ok(found) if found == *meta => return Ok(()),
        Ok(found) => (
            name,
            0,
            alloc::format!("{meta:?}"),
            alloc::format!("{found:?}"),
        ),
        Err(SnapshotError::Damaged {
            file,
            offset,
            expected,
            found,
        }) => (file, offset, expected, found),
        Err(SnapshotError::Missing { .. }) => {
            let expected = String::from("the snapshot that the log begins after");
            (name, 0, expected, String::from("no file"))
        }
        Err(SnapshotError::Version {
            file,
            version,
            codec,
        }) => {
            return Err(RecoveryError::Version {
                file,
                version,
                codec,
            });
        }
        Err(SnapshotError::Disk(error)) => return Err(error.into()),
        Err(other) => unreachable!("reading the beginning of a snapshot said: {other}"),
    };
    if state.base.id == EntryId::ZERO {
        state.snapshot = None;
        return Ok(());
    }
    Err(RecoveryError::Damaged {
        file,
        offset,
        expected,
        found,
    })
}
