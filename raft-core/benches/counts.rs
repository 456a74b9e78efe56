//! Instructions and allocations of fixed cases, against the committed table in `counts.txt`.
//!
//! Unlike times, these are the same on a busy machine, so that they can fail a build: `cargo bench -p raft-core
//! --bench counts` exits with 1 if one of them grew by more than a tenth. `UPDATE_EXPECT=1` writes the table
//! anew. Instructions need valgrind: they are the difference of two runs of this program under callgrind, so
//! that what happens once is not in them.

mod callgrind;
#[path = "cluster/case.rs"]
mod case;
mod cluster;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::process::ExitCode;

use crate::callgrind::{instructions, profile};
use crate::case::Case;
use crate::cluster::Cluster;

const TABLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/counts.txt");
const HEADER: &str = "nodes  bytes  outstanding  instructions/commit  allocations/commit\n";
/// Rounds before anything is counted, so that buffers have grown to their size.
const WARM_UP: u64 = 64;

/// Of a whole run, or a commit's thousandths, so that there is something to compare below one.
struct Counts {
    instructions: u64,
    allocations: u64,
}

fn run(case: Case, rounds: u64) {
    let mut cluster = Cluster::new(case.nodes, case.bytes);
    for _ in 0..WARM_UP + rounds {
        cluster.round(case.outstanding);
    }
}

fn count(case: Case) -> Result<Counts, String> {
    let rounds = case.rounds(4_096);
    let commits = rounds * case.outstanding;
    let (few, many) = (whole_run(case, 0)?, whole_run(case, rounds)?);
    Ok(Counts {
        instructions: (many.instructions - few.instructions) * 1_000 / commits,
        allocations: (many.allocations - few.allocations) * 1_000 / commits,
    })
}

/// What one run of a case takes from beginning to end.
fn whole_run(case: Case, rounds: u64) -> Result<Counts, String> {
    let numbers = [case.nodes, case.bytes as u64, case.outstanding, rounds];
    let profile = profile(numbers.map(|number| number.to_string()))?;
    Ok(Counts {
        instructions: instructions(&profile)?,
        allocations: calls_of_allocator(&profile),
    })
}

/// How often memory was asked for. A name stands in the profile once; then its number stands for it.
fn calls_of_allocator(profile: &str) -> u64 {
    const ALLOCATOR: [&str; 4] = ["malloc", "calloc", "realloc", "posix_memalign"];
    let mut allocator = BTreeSet::new();
    let (mut is_called, mut calls) = (false, 0);
    for line in profile.lines() {
        let called = line.strip_prefix("cfn=(");
        if let Some(function) = called.or_else(|| line.strip_prefix("fn=(")) {
            let (number, name) = function.split_once(')').unwrap_or((function, ""));
            if ALLOCATOR.contains(&name.trim()) {
                allocator.insert(number);
            }
            is_called = called.is_some() && allocator.contains(number);
        } else if let Some(times) = line.strip_prefix("calls=").filter(|_| is_called) {
            let times = times.split_whitespace().next();
            calls += times
                .and_then(|times| times.parse::<u64>().ok())
                .unwrap_or(0);
        }
    }
    calls
}

fn line(case: Case, counts: &Counts) -> String {
    let thousandths = |count: u64| format!("{}.{:03}", count / 1_000, count % 1_000);
    format!(
        "{:>5}  {:>5}  {:>11}  {:>19}  {:>18}\n",
        case.nodes,
        case.bytes,
        case.outstanding,
        counts.instructions / 1_000,
        thousandths(counts.allocations)
    )
}

/// The two counts of a line, the second in thousandths.
fn parse(line: &str) -> Option<(u64, u64)> {
    let mut columns = line.split_whitespace().skip(3);
    let instructions = columns.next()?.parse().ok()?;
    let (whole, part) = columns.next()?.split_once('.')?;
    let allocations = whole.parse::<u64>().ok()? * 1_000 + part.parse::<u64>().ok()?;
    Some((instructions, allocations))
}

/// By how much more than a tenth a line grew beyond the committed one, if it did.
fn growth(committed: &str, now: &str) -> Option<String> {
    let (Some(before), Some(after)) = (parse(committed), parse(now)) else {
        return Some("is not in the committed table".into());
    };
    let grown = |before: u64, after: u64, spare: u64| after > before + before / 10 + spare;
    if grown(before.0, after.0, 0) {
        return Some(format!("took {} instructions", before.0));
    }
    // A hundredth of an allocation is one more in a whole round of the smallest batch.
    grown(before.1, after.1, 10).then(|| {
        let (whole, part) = (before.1 / 1_000, before.1 % 1_000);
        format!("took {whole}.{part:03} allocations")
    })
}

fn main() -> ExitCode {
    let numbers: Vec<u64> = std::env::args()
        .filter_map(|arg| arg.parse().ok())
        .collect();
    if let [nodes, bytes, outstanding, rounds] = numbers[..] {
        let case = Case {
            nodes,
            bytes: usize::try_from(bytes).unwrap_or(0),
            outstanding,
        };
        run(case, rounds);
        return ExitCode::SUCCESS;
    }
    match check() {
        Ok(()) => ExitCode::SUCCESS,
        Err(said) => {
            eprintln!("{said}");
            ExitCode::FAILURE
        }
    }
}

fn check() -> Result<(), String> {
    let committed = std::fs::read_to_string(TABLE).unwrap_or_default();
    let mut lines = committed.lines().skip(1);
    let mut table = HEADER.to_owned();
    let mut grown = String::new();
    print!("{HEADER}");
    for case in Case::all(&[3, 5], &[16, 128, 1_024]) {
        let now = line(case, &count(case)?);
        print!("{now}");
        if let Some(was) = growth(lines.next().unwrap_or_default(), &now) {
            let _ = write!(grown, "\n{}  {was}", now.trim_end());
        }
        table.push_str(&now);
    }
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        let written = std::fs::write(TABLE, table);
        return written.map_err(|e| format!("{TABLE}: {e}"));
    }
    if grown.is_empty() {
        return Ok(());
    }
    Err(format!(
        "more than a tenth above {TABLE}:{grown}\nFind out why; if it is worth it, write the table anew with \
         UPDATE_EXPECT=1"
    ))
}
