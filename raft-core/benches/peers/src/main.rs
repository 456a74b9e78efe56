//! Commits per second of this core and of tikv's, under the same driver and load, and their ratio.
//!
//! Runs of the cores take turns, because only what was measured at the same time can be compared; a case's figure is
//! the median of its runs. Seconds are those that the thread spent on a processor.

#[path = "../../callgrind/mod.rs"]
mod callgrind;
#[path = "../../cluster/case.rs"]
mod case;
mod clock;
#[path = "../../cluster/mod.rs"]
mod cluster;
mod figures;
mod instructions;
mod table;
mod tikv;

use std::process::ExitCode;

use crate::case::Case;
use crate::clock::processor_nanos;
use crate::tikv::Mode;

const USAGE: &str = "\
usage: peers [--quick | --instructions]

  (nothing)       commits per second: 3 and 5 nodes, 16, 128 and 1,024 B, 1, 64 and 1,024 outstanding
  --quick         the same of 3 nodes and 128 B alone
  --instructions  instructions per commit of 3 nodes, 128 and 1,024 B; needs valgrind";

/// Odd, so that one of them is the median.
const RUNS: usize = 7;
const WARM_UP_NANOS: u64 = 100_000_000;
const RUN_NANOS: u64 = 400_000_000;
/// How many commits there are between two looks at the clock, which is a system call.
const COMMITS_BETWEEN_LOOKS: u64 = 1_024;

/// Who is measured.
#[derive(Clone, Copy, Debug)]
enum Core {
    Ours,
    /// As it is by default: followers hear of a commit at once, by a message of its own.
    Tikv,
    /// Followers hear of it with the next append, so that there are as many messages as in our core.
    TikvQuiet,
}

impl Core {
    const ALL: [Self; 3] = [Self::Ours, Self::Tikv, Self::TikvQuiet];

    const fn name(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::Tikv => "tikv",
            Self::TikvQuiet => "tikv-quiet",
        }
    }

    /// A cluster that does one round whenever it is called.
    fn start(self, case: Case) -> Box<dyn FnMut()> {
        let Case {
            nodes,
            bytes,
            outstanding,
        } = case;
        let mode = |skip_bcast_commit| Mode {
            batch_append: outstanding > 1,
            skip_bcast_commit,
        };
        let of_tikv = |mode| {
            let mut cluster = tikv::Cluster::new(mode, nodes, bytes);
            Box::new(move || cluster.round(outstanding))
        };
        match self {
            Self::Ours => {
                let mut cluster = cluster::Cluster::new(nodes, bytes);
                Box::new(move || cluster.round(outstanding))
            }
            Self::Tikv => of_tikv(mode(false)),
            Self::TikvQuiet => of_tikv(mode(true)),
        }
    }

    /// Commits per second of one run.
    fn run(self, case: Case) -> u64 {
        let mut round = self.start(case);
        let rounds = case.rounds(COMMITS_BETWEEN_LOOKS);
        let mut go_on = |nanos| {
            let (start, mut commits) = (processor_nanos(), 0);
            loop {
                for _ in 0..rounds {
                    round();
                }
                commits += rounds * case.outstanding;
                let taken = processor_nanos() - start;
                if taken >= nanos {
                    return commits * 1_000_000_000 / taken;
                }
            }
        };
        go_on(WARM_UP_NANOS);
        go_on(RUN_NANOS)
    }
}

/// Of each core, in the order of [`Core::ALL`], its runs.
fn measure(case: Case) -> [Vec<u64>; 3] {
    let mut rates = [const { Vec::new() }; 3];
    for _ in 0..RUNS {
        for (rates, core) in rates.iter_mut().zip(Core::ALL) {
            rates.push(core.run(case));
        }
    }
    rates
}

fn compare(cases: &[Case]) {
    let mut table = table::Table::start();
    for (at, &case) in cases.iter().enumerate() {
        eprintln!("{} of {}: {case:?}", at + 1, cases.len());
        table.line(case, measure(case));
    }
    table.verdict();
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match arguments[..] {
        [] => {
            compare(&Case::all(&[3, 5], &[16, 128, 1_024]));
            Ok(())
        }
        ["--quick"] => {
            compare(&Case::all(&[3], &[128]));
            Ok(())
        }
        ["--instructions"] => instructions::compare(&Case::all(&[3], &[128, 1_024])),
        [instructions::ONE, core, nodes, bytes, outstanding, rounds] => {
            instructions::one(core, [nodes, bytes, outstanding, rounds])
        }
        _ => Err(USAGE.into()),
    };
    if let Err(said) = done {
        eprintln!("{said}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
