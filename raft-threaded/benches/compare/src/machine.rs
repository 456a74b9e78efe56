//! Where all of this ran.

use std::path::Path;

use rustix::fs::statfs;

use crate::Failure;
use crate::figures::{Spread, write_millis};
use crate::programs::version;
use crate::rounds::{Plan, Rounds};
use crate::systems::{Scene, System};

/// What Linux calls a file system in memory, where a sync costs nothing.
const TMPFS: i64 = 0x0102_1994;

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
fn computer() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
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
