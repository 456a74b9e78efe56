//! Data folders: making them, and telling whose they are.

use std::path::{Path, PathBuf};

use raft_core::wal::{DiskError, RecoveryError, Wal};
use raft_core::{ClusterId, Configuration, GroupId, Identity, Member, NodeId, StorageId};

use crate::disk::FileDisk;
use crate::error::StartError;
use crate::memory::MemoryDisk;
use crate::place::is_one_place;
use crate::random::random;
use crate::transport::in_process::address_of;

/// One node of a cluster that is to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seat {
    /// Its id.
    pub node: NodeId,
    /// Its data folder.
    pub data: PathBuf,
    /// Where its peers reach it: `host:port`.
    pub address: String,
}

/// Makes the data folders of a new cluster: each with a store id of its own, all of them voters of the
/// first configuration.
///
/// # Errors
///
/// If two nodes have one address, in whichever way it is written, or if a folder holds anything already: nothing was
/// made. If a folder cannot be made: those made before the failure stay, and belong to no cluster.
pub fn init(seats: &[Seat]) -> Result<ClusterId, StartError> {
    check_addresses(seats)?;
    let cluster = ClusterId(random()?);
    let mut configuration = Configuration::default();
    let mut members = Vec::new();
    for seat in seats {
        let member = Member {
            node: seat.node,
            store: StorageId(random()?),
        };
        configuration.voters.insert(member);
        configuration.addresses.insert(member, seat.address.clone());
        members.push((seat, member));
    }
    // First a look at all of them, so that nothing is made when one is taken.
    for seat in seats {
        if seat.data.is_dir() {
            check_unused(&seat.data)?;
        }
    }
    for (seat, member) in members {
        let identity = Identity {
            group: GroupId(0),
            cluster,
            member,
        };
        create(&seat.data, identity, &configuration)?;
    }
    Ok(cluster)
}

/// A member that is found where another one is would never be reached.
fn check_addresses(seats: &[Seat]) -> Result<(), StartError> {
    for (place, second) in seats.iter().enumerate() {
        let mut before = seats[..place].iter();
        if let Some(first) = before.find(|seat| is_one_place(&seat.address, &second.address)) {
            return Err(StartError::SameAddress {
                address: second.address.clone(),
                first: first.node,
                second: second.node,
            });
        }
    }
    Ok(())
}

/// Makes the data folder of a node that is to be attached to a cluster, with a new store id: it holds nothing,
/// belongs to no cluster, and never votes before it was attached ([`crate::Client::attach`]).
///
/// # Errors
///
/// If the folder cannot be made or holds anything already.
pub fn init_joiner(node: NodeId, data: &Path) -> Result<Identity, StartError> {
    let member = Member {
        node,
        store: StorageId(random()?),
    };
    let identity = Identity {
        group: GroupId(0),
        cluster: ClusterId::NONE,
        member,
    };
    create(data, identity, &Configuration::default())?;
    Ok(identity)
}

fn create(
    data: &Path,
    identity: Identity,
    configuration: &Configuration,
) -> Result<(), StartError> {
    FileDisk::create_directory(data).map_err(|error| StartError::Data {
        directory: data.to_path_buf(),
        error,
    })?;
    check_unused(data)?;
    let mut disk = FileDisk::open(data)?;
    Wal::create(&mut disk, identity, configuration).map_err(|error| recovery(data, error))
}

/// Whose a data folder is, without opening its log for use.
///
/// # Errors
///
/// If the folder holds no log, or is in use.
pub fn identity_of(data: &Path) -> Result<Identity, StartError> {
    let mut disk = open(data)?;
    Wal::peek(&mut disk).map_err(|error| recovery(data, error))
}

/// The disks in memory of a new cluster, as [`init`] makes the folders of one.
pub(crate) fn init_in_memory(nodes: &[NodeId]) -> Result<Vec<MemoryDisk>, StartError> {
    let cluster = ClusterId(random()?);
    let mut members = Vec::new();
    let mut configuration = Configuration::default();
    for &node in nodes {
        let store = StorageId(random()?);
        let member = Member { node, store };
        if configuration.member_of(node).is_some() {
            return Err(StartError::Running { node });
        }
        configuration.voters.insert(member);
        configuration.addresses.insert(member, address_of(node));
        members.push(member);
    }
    let disks = members.into_iter().map(|member| {
        let group = GroupId(0);
        let identity = Identity {
            group,
            cluster,
            member,
        };
        in_memory(identity, &configuration)
    });
    disks.collect()
}

/// The disk in memory of a node that is to be attached, as [`init_joiner`] makes a folder.
pub(crate) fn init_joiner_in_memory(node: NodeId) -> Result<MemoryDisk, StartError> {
    let store = StorageId(random()?);
    let identity = Identity {
        group: GroupId(0),
        cluster: ClusterId::NONE,
        member: Member { node, store },
    };
    in_memory(identity, &Configuration::default())
}

fn in_memory(identity: Identity, configuration: &Configuration) -> Result<MemoryDisk, StartError> {
    let mut disk = MemoryDisk::new();
    Wal::create(&mut disk, identity, configuration)?;
    Ok(disk)
}

/// Opens a folder that holds a log, and touches no other.
pub(crate) fn open(directory: &Path) -> Result<FileDisk, StartError> {
    let names = FileDisk::look_into(directory)?;
    if !names.iter().any(|name| is_log(name)) {
        return Err(recovery(directory, RecoveryError::Empty));
    }
    FileDisk::open(directory)
}

fn is_log(name: &str) -> bool {
    name.ends_with(".wal")
}

/// What may lie in a folder that is to be used: what a first attempt left behind that was cut short, and what file
/// systems put there.
const NOBODYS: [&str; 2] = ["fresh", "lost+found"];

/// A log takes the names it needs, and whatever had them would be gone.
fn check_unused(directory: &Path) -> Result<(), StartError> {
    let names = FileDisk::look_into(directory)?;
    if let Some(file) = names.iter().find(|name| is_log(name)) {
        let file = file.clone();
        return Err(recovery(directory, RecoveryError::Exists { file }));
    }
    let mut names = names.into_iter();
    match names.find(|name| !NOBODYS.contains(&name.as_str())) {
        Some(file) => Err(StartError::NotEmpty {
            directory: directory.to_path_buf(),
            file,
        }),
        None => Ok(()),
    }
}

pub(crate) fn recovery(directory: &Path, error: RecoveryError) -> StartError {
    let directory = directory.to_path_buf();
    match error {
        RecoveryError::Empty => StartError::NoLog { directory },
        RecoveryError::Disk(DiskError::Full { .. }) => StartError::NoRoom { directory },
        RecoveryError::Exists { .. }
        | RecoveryError::NotALog { .. }
        | RecoveryError::Version { .. }
        | RecoveryError::Damaged { .. }
        | RecoveryError::Foreign { .. }
        | RecoveryError::Options(_)
        | RecoveryError::Disk(_) => StartError::Recovery { directory, error },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An operator who was told that writing goes on waited for a node that had ended.
    #[test]
    fn a_start_without_room_is_to_be_repeated() {
        let name = "spare".to_string();
        let full = RecoveryError::Disk(DiskError::Full { name });
        let said = recovery(Path::new("node-1"), full).to_string();
        assert!(
            said.contains("node-1") && said.contains("free some and start again"),
            "{said}"
        );
    }
}
