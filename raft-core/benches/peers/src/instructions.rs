//! Instructions per commit of each core: the difference of two runs of this program under callgrind, so that what
//! happens once is not in it. They hardly change from run to run, however busy the machine is.

use crate::Core;
use crate::callgrind::{instructions, profile};
use crate::case::Case;

/// The first argument of the runs under callgrind.
pub(crate) const ONE: &str = "--one";
/// Rounds before anything is counted, so that buffers have grown to their size.
const WARM_UP: u64 = 64;
/// Of one case, so that the other core's log is compacted twice.
const COMMITS: u64 = 16_384;

/// Does so many rounds and nothing else.
///
/// # Errors
///
/// The core or a number is none.
pub(crate) fn one(name: &str, numbers: [&str; 4]) -> Result<(), String> {
    let known = |core: &Core| core.name() == name;
    let core = Core::ALL.into_iter().find(known);
    let core = core.ok_or_else(|| format!("expected ours, tikv or tikv-quiet, found {name}"))?;
    let number = |at: usize| {
        let parsed = numbers[at].parse::<u32>();
        parsed.map_err(|_| format!("expected a number, found {}", numbers[at]))
    };
    let case = Case {
        nodes: number(0)?.into(),
        bytes: number(1)? as usize,
        outstanding: number(2)?.into(),
    };
    let mut round = core.start(case);
    for _ in 0..WARM_UP + u64::from(number(3)?) {
        round();
    }
    Ok(())
}

/// Prints instructions per commit of all nodes together with the driver.
pub(crate) fn compare(cases: &[Case]) -> Result<(), String> {
    println!(
        "| nodes | bytes | outstanding | ours | tikv | tikv, skip_bcast_commit |\n\
         | --: | --: | --: | --: | --: | --: |"
    );
    for &case in cases {
        eprintln!("{case:?}");
        let mut line = format!("| {} | {} | {} |", case.nodes, case.bytes, case.outstanding);
        for core in Core::ALL {
            line.push_str(&format!(" {} |", per_commit(core, case)?));
        }
        println!("{line}");
    }
    Ok(())
}

fn per_commit(core: Core, case: Case) -> Result<u64, String> {
    let rounds = case.rounds(COMMITS);
    let (few, many) = (whole_run(core, case, 0)?, whole_run(core, case, rounds)?);
    Ok((many - few) / (rounds * case.outstanding))
}

fn whole_run(core: Core, case: Case, rounds: u64) -> Result<u64, String> {
    let numbers = [case.nodes, case.bytes as u64, case.outstanding, rounds];
    let names = [ONE, core.name()].map(str::to_string);
    let arguments = names.into_iter().chain(numbers.map(|n| n.to_string()));
    instructions(&profile(arguments)?)
}
