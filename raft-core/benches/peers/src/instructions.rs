//! Instructions per commit of each core: the difference of two runs of this program under callgrind, so that what
//! happens once is not in it. They hardly change from run to run, however busy the machine is.

use std::process::Command;

use crate::{Case, Core};

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
    let rounds = COMMITS.div_ceil(case.outstanding);
    let (few, many) = (whole_run(core, case, 0)?, whole_run(core, case, rounds)?);
    Ok((many - few) / (rounds * case.outstanding))
}

fn whole_run(core: Core, case: Case, rounds: u64) -> Result<u64, String> {
    let this = std::env::current_exe().map_err(|e| format!("where this program is: {e}"))?;
    let numbers = [case.nodes, case.bytes as u64, case.outstanding, rounds];
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(this)
        .args([ONE, core.name()])
        .args(numbers.map(|number| number.to_string()))
        .output()
        .map_err(|e| format!("valgrind cannot be started ({e}); install it to count"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    let collected = said
        .lines()
        .find_map(|line| line.split_once("Collected : "));
    let instructions = collected.and_then(|(_, number)| number.trim().parse().ok());
    instructions.ok_or_else(|| format!("callgrind did not say what it counted:\n{said}"))
}
