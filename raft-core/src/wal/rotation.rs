//! From one segment to the next.
//!
//! Always holds: a segment is sealed and synced before the next one has a name, and the next one begins with
//! all that the store is besides its entries.

use alloc::vec::Vec;

use crate::types::Identity;

use super::Wal;
use super::disk::{Disk, DiskError};
use super::record::{Kind, Seed};
use super::segment::{Beginning, Header, Link, Summary};
use super::spare::{Room, name_segment, seal};

/// The segment that is written to.
#[derive(Debug)]
pub(super) struct Current {
    pub(super) seed: Seed,
    /// What it held when it got its name.
    pub(super) begun: u64,
    /// Where the next record goes.
    pub(super) end: u64,
    /// Everything before is synced.
    pub(super) synced: u64,
    /// The checksum of the last record.
    pub(super) chain: u32,
    pub(super) summary: Summary,
}

impl<D: Disk> Wal<D> {
    /// Seals the present segment and begins the next.
    pub(super) fn rotate(&mut self, room: Room) -> Result<(), DiskError> {
        // First what may fail for lack of room, while nothing has changed.
        let beginning = [self.state.record()];
        self.make_room(room, Beginning::size(&beginning))?;
        self.pad();
        self.flush()?;
        let link = Link {
            previous: self.current.seed.number,
            end: self.current.end,
            chain: self.current.chain,
        };
        let footer = self.current.summary.footer();
        let sealed = seal(&mut self.disk, &self.file, self.current.seed, link, &footer);
        self.remember_failure(sealed)?;
        let begun = self.begin_segment(self.identity, link, beginning);
        self.remember_failure(begun)?;
        // What came before is synced.
        self.oldest_synced = self.state.oldest;
        Ok(())
    }

    /// Makes the spare the segment that is written to.
    pub(super) fn begin_segment(
        &mut self,
        identity: Identity,
        link: Link,
        records: [(Kind, Vec<u8>); 1],
    ) -> Result<(), DiskError> {
        let Some(spare) = self.spare.take() else {
            unreachable!("a spare was just filled");
        };
        let number = self.current.seed.number;
        let header = Header {
            number: number + 1,
            identity,
            former: self.segments[&number].store(),
            link,
            begun: 0,
            allocated: 0,
        };
        let beginning = Beginning::new(header, spare.filled, &records);
        if let Err(error) = self.disk.write_at(&spare.file, 0, &beginning.bytes) {
            self.spare = Some(spare);
            return Err(error);
        }
        name_segment(&mut self.disk, &spare.file, number + 1)?;
        self.file = spare.file;
        self.segments.insert(number + 1, beginning.segment());
        self.current = Current::new(&beginning, Summary::new());
        self.stats.segments += 1;
        Ok(())
    }
}

impl Current {
    pub(super) const fn new(beginning: &Beginning, summary: Summary) -> Self {
        Self {
            seed: beginning.seed,
            begun: beginning.header.begun,
            end: beginning.header.begun,
            synced: beginning.header.begun,
            chain: beginning.chain,
            summary,
        }
    }
}
