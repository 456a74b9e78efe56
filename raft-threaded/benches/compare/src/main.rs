//! raft-kv beside Redis and etcd: brought up in turn on the same machine, under the same load.

mod case;
mod clock;
mod failover;
mod figures;
mod floors;
mod growth;
mod install;
mod load;
mod machine;
mod memory;
mod programs;
mod recovery;
mod resp;
mod rounds;
mod stage;
mod systems;
mod table;
mod writer;
mod writes;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::programs::Build;
use crate::rounds::{Plan, Rounds};
use crate::stage::Stage;
use crate::systems::{Scene, System};

/// A sentence for whoever ran this.
pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Bring up three processes of raft-kv, one Redis that syncs every write, and three processes of etcd in turn, put
/// the same loads on each, and print what they bore as Markdown.
///
/// Everything runs on this machine, on fresh folders of one file system, and is removed at the end. What is compared
/// takes turns, because only what was measured at the same time can be compared.
#[derive(Debug, Parser)]
#[command(
    name = "compare",
    args_conflicts_with_subcommands = true,
    after_help = "\
redis-server, redis-benchmark, etcd and protoc must be installed; on Debian: apt-get install redis-server redis-tools
etcd-server protobuf-compiler. raft-kv is built from this repository. Ctrl-C ends everything and removes it.

Examples:
  compare
  compare --quick --only ours,redis
  compare --rounds 9 --dir /mnt/disk
  compare failover --etcd
  compare memory
  compare recovery --entries 1000000 --snapshot-mib 256
  compare growth --gigabytes 2"
)]
struct Arguments {
    /// How often each system is brought up.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=100))]
    rounds: u64,
    /// How long each load lasts, besides what warms the server up.
    #[arg(long, value_name = "S", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    seconds: u64,
    /// One round of loads that last a second: whether everything works.
    #[arg(long, conflicts_with_all = ["rounds", "seconds"])]
    quick: bool,
    /// Which systems.
    #[arg(long, value_name = "SYSTEM,…", value_delimiter = ',', default_values = ["ours", "redis", "etcd"])]
    only: Vec<System>,
    #[command(flatten)]
    place: Place,
    #[command(subcommand)]
    other: Option<Other>,
}

#[derive(Debug, clap::Args)]
struct Place {
    /// Where to keep data meanwhile; a folder on a disk [default: the target folder of Cargo].
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// What else is measured.
#[derive(Debug, Subcommand)]
enum Other {
    /// For how long one client's writes stop when the leader is killed, and when it hands over.
    ///
    /// The client tries each node for 250 ms at most, and then the next. The longest time between two acknowledged
    /// writes counts. Every setting is as it is by default.
    Failover {
        /// How often the leader is killed, and how often it hands over.
        #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=1_000))]
        trials: u64,
        /// Kill etcd's leader as often, beside it.
        #[arg(long)]
        etcd: bool,
        #[command(flatten)]
        place: Place,
    },
    /// The most memory that each process holds while it is asked for more than it can do.
    ///
    /// 256 clients write 4 KiB each, 64 pipelined, while 64 others ask and read no answers, and one follower stands
    /// still for a third of the time.
    Memory {
        /// How long the load lasts.
        #[arg(long, value_name = "S", default_value_t = 15, value_parser = clap::value_parser!(u64).range(3..=3_600))]
        seconds: u64,
        #[command(flatten)]
        place: Place,
    },
    /// How long nodes with a long log take to vote again, how fast they apply it, and how fast one gets a snapshot.
    ///
    /// The log is written once, without snapshots. Then one follower is killed and started again, once with its log
    /// in memory and once without, and then all three nodes. A node votes once it says how it is; of three, once
    /// one of them leads. What is left to be applied then, by the time that takes, is the replay. After that an empty
    /// node is attached to a cluster with a snapshot, beside a file of that size that is written and synced, and sent
    /// through a connection.
    Recovery {
        /// How many entries of 128 B the log has.
        #[arg(long, value_name = "N", default_value_t = recovery::ENTRIES,
              value_parser = clap::value_parser!(u64).range(1_000..=1_000_000_000))]
        entries: u64,
        /// How many MiB of values the snapshot has, of 4 KiB each.
        #[arg(long, value_name = "MIB", default_value_t = 1_024,
              value_parser = clap::value_parser!(u64).range(1..=65_536))]
        snapshot_mib: u64,
        /// How often each is done.
        #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=100))]
        trials: u64,
        #[command(flatten)]
        place: Place,
    },
    /// Whether writes stay as fast, and data folders as small, from an empty log on.
    ///
    /// 50 clients write, 16 pipelined, in slices of as many writes each. Every setting is as it is by default. After
    /// each slice a new cluster bears a tenth of it, so that a machine that gets slower is told from a cluster that
    /// does.
    Growth {
        /// How many GB are written to the log of each node.
        #[arg(long, value_name = "GB", default_value_t = 50,
              value_parser = clap::value_parser!(u64).range(1..=100_000))]
        gigabytes: u64,
        /// In how many slices.
        #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u64).range(2..=1_000))]
        slices: u64,
        /// How many different keys there are.
        #[arg(long, value_name = "N", default_value_t = 20_000,
              value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
        keys: u64,
        /// How long each value is.
        #[arg(long, value_name = "N", default_value_t = 1_024,
              value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
        value_bytes: u64,
        #[command(flatten)]
        place: Place,
    },
}

impl Arguments {
    fn plan(&self) -> Plan<'_> {
        let (rounds, seconds) = if self.quick {
            (1, 1)
        } else {
            (self.rounds, self.seconds)
        };
        Plan {
            rounds: usize::try_from(rounds).unwrap_or(usize::MAX),
            seconds,
            systems: &self.only,
        }
    }
}

impl Place {
    /// Builds and makes all that is needed.
    fn scene(&self, builds: &[Build]) -> Result<Scene, Failure> {
        let stage = Stage::watched()?;
        let dir = match &self.dir {
            Some(dir) => dir.clone(),
            None => programs::target_dir(&stage)?,
        };
        std::fs::create_dir_all(&dir)?;
        machine::require_disk(&dir)?;
        let folder = tempfile::Builder::new()
            .prefix("compare-")
            .tempdir_in(&dir)?;
        let with_etcd = builds.contains(&Build::WithEtcd);
        let raft_kv = programs::raft_kv(&stage, Build::Default, folder.path())?;
        let etcd_load =
            with_etcd.then(|| programs::raft_kv(&stage, Build::WithEtcd, folder.path()));
        Ok(Scene {
            etcd_load: etcd_load.transpose()?,
            stage,
            folder,
            raft_kv,
        })
    }
}

fn compare(arguments: &Arguments) -> Result<(), Failure> {
    let plan = arguments.plan();
    let is_measured = |system| plan.systems.contains(&system);
    let with_etcd = is_measured(System::Etcd);
    let needed = [
        (
            "redis-benchmark",
            is_measured(System::Ours) || is_measured(System::Redis),
        ),
        ("redis-server", is_measured(System::Redis)),
        ("etcd", with_etcd),
        ("protoc", with_etcd),
    ];
    let needed = needed.iter().filter(|(_, needed)| *needed);
    let needed: Vec<&str> = needed.map(|(name, _)| *name).collect();
    programs::require(&needed)?;
    let builds: &[Build] = if with_etcd {
        &[Build::Default, Build::WithEtcd]
    } else {
        &[Build::Default]
    };
    let scene = arguments.place.scene(builds)?;
    let rounds = Rounds::run(&scene, plan)?;
    machine::print(&scene, plan, &rounds)?;
    table::print(&rounds);
    Ok(())
}

fn run(arguments: &Arguments) -> Result<(), Failure> {
    match &arguments.other {
        None => compare(arguments),
        Some(Other::Failover {
            trials,
            etcd,
            place,
        }) => {
            programs::require(if *etcd { &["etcd"] } else { &[] })?;
            failover::run(&place.scene(&[Build::Default])?, *trials, *etcd)
        }
        Some(Other::Memory { seconds, place }) => {
            memory::run(&place.scene(&[Build::Default])?, *seconds)
        }
        Some(Other::Recovery {
            entries,
            snapshot_mib,
            trials,
            place,
        }) => {
            let plan = recovery::Plan {
                entries: *entries,
                snapshot_mib: *snapshot_mib,
                trials: *trials,
            };
            recovery::run(&place.scene(&[Build::Default])?, plan)
        }
        Some(Other::Growth {
            gigabytes,
            slices,
            keys,
            value_bytes,
            place,
        }) => {
            let plan = growth::Plan {
                gigabytes: *gigabytes,
                slices: *slices,
                keys: *keys,
                value_bytes: *value_bytes,
            };
            growth::run(&place.scene(&[Build::Default])?, plan)
        }
    }
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("compare: {error}");
            ExitCode::FAILURE
        }
    }
}
