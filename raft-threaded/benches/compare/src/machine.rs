//! Where all of this ran.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::{Advice, fadvise, statfs, statvfs};

use crate::Failure;
use crate::figures::{Spread, write_millis};
use crate::programs::version;
use crate::rounds::{Plan, Rounds};
use crate::systems::{Scene, System};

/// What Linux calls a file system in memory, where a sync costs nothing.
const TMPFS: i64 = 0x0102_1994;
const GB: u64 = 1_000_000_000;
/// The unit in which a file's blocks are counted.
const BLOCK_BYTES: u64 = 512;

/// # Errors
///
/// The folder is in memory.
pub(crate) fn require_disk(dir: &Path) -> Result<(), Failure> {
    if statfs(dir)?.f_type == TMPFS {
        let dir = dir.display();
        return Err(format!("{dir} is in memory; give a folder on a disk with --dir").into());
    }
    Ok(())
}

/// # Errors
///
/// The folder's disk has less room than that, which is told.
pub(crate) fn require_room(dir: &Path, bytes: u64) -> Result<(), Failure> {
    let found = statvfs(dir)?;
    let free = found.f_bavail.saturating_mul(found.f_frsize);
    let [free, needed] = [free, bytes].map(|bytes| bytes.div_ceil(GB));
    if free < needed {
        let dir = dir.display();
        return Err(format!(
            "{dir} has {free} GB free, expected {needed} GB; ask for less, or give another folder with --dir"
        )
        .into());
    }
    eprintln!(
        "up to {needed} GB of {free} GB are needed in {}",
        dir.display()
    );
    Ok(())
}

/// How much of its disk a folder takes, though its files come and go meanwhile.
///
/// # Errors
///
/// It cannot be read.
pub(crate) fn taken_by(folder: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(folder)? {
        match entry?.metadata() {
            Ok(found) => bytes += found.blocks() * BLOCK_BYTES,
            Err(gone) if gone.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(bytes)
}

/// Makes the system forget what it holds in memory of a folder's files, so that they are read from the disk.
///
/// # Errors
///
/// They cannot be opened or synced, or the system does not take it.
pub(crate) fn forget(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let file = File::open(entry?.path())?;
        // What is not on the disk yet would stay.
        file.sync_all()?;
        fadvise(&file, 0, None, Advice::DontNeed)?;
    }
    Ok(())
}

/// Says what was measured, where, and what the machine itself took.
///
/// # Errors
///
/// A program does not say which version it is.
pub(crate) fn print(scene: &Scene, plan: Plan<'_>, rounds: &Rounds) -> Result<(), Failure> {
    let mut programs = Vec::new();
    for system in plan.systems {
        let program = match system {
            System::Ours => scene.raft_kv.display().to_string(),
            System::Redis => "redis-server".to_string(),
            System::Etcd => "etcd".to_string(),
        };
        programs.push(version(&scene.stage, &program, scene.folder.path())?);
    }
    println!("- {}; {}", computer(), programs.join("; "));
    let floor = |floor: Option<Spread>| floor.map_or_else(String::new, |f| f.show(write_millis));
    println!(
        "- the floors (p50): a write of 128 B with fdatasync {} ms, a round trip over TCP {} ms",
        floor(rounds.floor(|floors| floors.sync)),
        floor(rounds.floor(|floors| floors.round_trip)),
    );
    println!(
        "- rounds: {}, of which the median stands (least–most); seconds of each load: {}; loads under which the \
         leader\n  changed: {}; loads that were repeated because a request was refused: {}\n",
        rounds.len(),
        plan.seconds,
        rounds.handovers(),
        rounds.repeated()
    );
    Ok(())
}

/// Processors, memory and system.
pub(crate) fn computer() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let processors = read("/proc/cpuinfo");
    let model = field(&processors, "model name").unwrap_or("an unknown processor");
    let count = std::thread::available_parallelism().map_or(0, usize::from);
    let release = read("/proc/sys/kernel/osrelease");
    format!("{count} cores of {model}, Linux {}", release.trim())
}

fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_takes_what_its_files_take() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(taken_by(folder.path()).unwrap(), 0);
        fs::write(folder.path().join("one"), vec![1; 100_000]).unwrap();
        let file = File::create(folder.path().join("two")).unwrap();
        // A hole takes nothing.
        file.set_len(100_000_000).unwrap();
        forget(folder.path()).unwrap();
        let taken = taken_by(folder.path()).unwrap();
        assert!((100_000..1_000_000).contains(&taken), "{taken}");
    }

    #[test]
    fn too_little_room_is_told_with_what_is_expected() {
        let folder = tempfile::tempdir().unwrap();
        require_room(folder.path(), 0).unwrap();
        let refused = require_room(folder.path(), u64::MAX).unwrap_err();
        assert!(
            refused
                .to_string()
                .contains("free, expected 18446744074 GB")
        );
    }
}
