//! Wiping: a store forgets everything and becomes an empty one of another id, in place.
//!
//! Always holds: at every moment the newest segment is wholly the old store's or wholly the new one's. The
//! name of the new one's first segment is what decides; what it leaves behind is named by its header as the
//! former store's, and goes at the latest with the next start.

use crate::configuration::Configuration;
use crate::types::{ClusterId, Identity, Index, Member, StorageId};

use super::disk::{Disk, DiskError};
use super::segment::{Beginning, Link};
use super::snapshot_name::is_snapshot;
use super::spare::Room;
use super::state::State;
use super::{Wal, no_retry};

impl<D: Disk> Wal<D> {
    /// Forgets everything: the store is empty, durably, has another id, and belongs to no cluster. Snapshots
    /// go, too; whoever uses them must have ended, or their files may come back.
    ///
    /// # Errors
    ///
    /// [`DiskError::Full`] if there is no room for a segment's first bytes; it may be tried again. After any
    /// other error the log refuses everything, and the next start finds the old store or the new one.
    ///
    /// # Panics
    ///
    /// If the id is that of the store.
    pub fn wipe(&mut self, store: StorageId) -> Result<(), DiskError> {
        self.check_failed()?;
        assert!(
            store != self.identity.member.store,
            "a wiped store has another id"
        );
        let begun = self.begin_empty(store);
        self.remember_failure(begun)?;
        let removed = remove_snapshots(&mut self.disk).and_then(|()| self.drop_unneeded());
        self.remember_failure(removed.map_err(no_retry))
    }

    fn begin_empty(&mut self, store: StorageId) -> Result<(), DiskError> {
        let node = self.identity.member.node;
        let identity = Identity {
            group: self.identity.group,
            cluster: ClusterId::NONE,
            member: Member { node, store },
        };
        let number = self.current.seed.number + 1;
        let state = State::new(&Configuration::default(), number);
        let beginning = [state.record()];
        self.make_room(Room::Scarce, Beginning::size(&beginning))?;
        // What was not written yet never will be.
        self.buffer.clear();
        self.begin_segment(identity, Link::default(), beginning)?;
        self.identity = identity;
        self.last = Index(0);
        self.oldest_synced = state.oldest;
        self.state = state;
        self.points.clear();
        Ok(())
    }
}

/// Removes every snapshot, whole or not, durably.
pub(super) fn remove_snapshots<D: Disk>(disk: &mut D) -> Result<(), DiskError> {
    for name in disk.list()? {
        if is_snapshot(&name) {
            disk.remove(&name)?;
        }
    }
    disk.sync_directory()
}
