//! Making a failure small: first what was done to the cluster, then what happened in it, event by event.
//!
//! Read first: Zeller and Hildebrandt, "Simplifying and isolating failure-inducing input" (2002).
//!
//! Always holds: what is kept breaks the same rule as the run it was made from.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use raft_core::{NodeId, Options, Span};

use crate::judge::{Invariant, Violation};
use crate::schedule::Play;
use crate::schedule_line::{Line, Step};
use crate::simulation::{Keep, Plan, Simulation, request};
use crate::workload::Workload;
use crate::world::Network;

/// A small run that breaks the same rule.
#[derive(Clone, Debug)]
pub struct Shrunk {
    /// The rule, and how it was broken in the small run.
    pub violation: Violation,
    /// What is still done to the cluster.
    pub plan: Plan,
    /// Which of the faults that the seed stands for are left.
    pub faults: Vec<usize>,
    /// Which of the requests.
    pub requests: Vec<usize>,
    /// What still happens, event by event. Empty if the rule demands that something happens: leaving
    /// things out would break it for a reason of its own.
    pub lines: Vec<Line>,
    /// How many events it took before.
    pub events_before: u64,
    /// How many tries it took.
    pub tries: u64,
}

/// Enough for everything that was ever seen; what is left then is good, if not the smallest.
const PLAN_TRIES: u64 = 400;
const LINE_TRIES: u64 = 6_000;

/// Removes whatever can be: the rest still fails. `fails` says `None` when it was asked too often.
fn minimize<T: Clone>(mut items: Vec<T>, mut fails: impl FnMut(&[T]) -> Option<bool>) -> Vec<T> {
    let mut size = items.len().div_ceil(2).max(1);
    loop {
        let mut place = 0;
        let before = items.len();
        while place < items.len() {
            let end = (place + size).min(items.len());
            let rest = [&items[..place], &items[end..]].concat();
            match fails(&rest) {
                Some(true) => items = rest,
                Some(false) => place = end,
                None => return items,
            }
        }
        if size == 1 && items.len() == before {
            return items;
        }
        size = (size / 2).max(1);
    }
}

impl<W: Workload + Send + Sync + 'static> Simulation<W> {
    /// Makes the failure of a seed as small as it gets; `None` if no rule is broken in its run.
    #[must_use]
    pub fn shrink(&self, seed: u64) -> Option<Shrunk> {
        self.shrink_with(seed, |_| {})
    }

    /// As [`Simulation::shrink`], and tells how many tries were made so far.
    #[must_use]
    pub fn shrink_with(&self, seed: u64, mut progress: impl FnMut(u64)) -> Option<Shrunk> {
        let plan = self.plan(seed);
        let report = self.run_plan(&plan);
        let violation = report.violation?;
        let mut shrunk = Shrunk {
            faults: (0..plan.faults.len()).collect(),
            requests: (0..plan.requests.len()).collect(),
            violation,
            plan,
            lines: Vec::new(),
            events_before: report.events,
            tries: 0,
        };
        if !shrunk.violation.invariant.is_liveness() {
            shrunk.plan.time = Span(shrunk.plan.time.0.min(report.time.0 + 1));
        }
        self.shrink_plan(&mut shrunk, &mut progress);
        if !shrunk.violation.invariant.is_liveness() {
            self.shrink_lines(&mut shrunk, &mut progress);
        }
        Some(shrunk)
    }

    /// Whether a part of the plan breaks the same rule; `None` after too many tries.
    fn plan_fails(&self, plan: &Plan, invariant: Invariant, tries: &mut u64) -> Option<bool> {
        *tries += 1;
        if *tries > PLAN_TRIES {
            return None;
        }
        let violation = self.run_plan(plan).violation;
        Some(violation.is_some_and(|violation| violation.invariant == invariant))
    }

    fn shrink_plan(&self, shrunk: &mut Shrunk, progress: &mut impl FnMut(u64)) {
        let invariant = shrunk.violation.invariant;
        let all = self.plan(shrunk.plan.seed);
        let mut tries = shrunk.tries;
        let mut plan = shrunk.plan.clone();
        shrunk.faults = minimize(shrunk.faults.clone(), |faults| {
            plan.faults = faults
                .iter()
                .map(|place| all.faults[*place].clone())
                .collect();
            progress(tries);
            self.plan_fails(&plan, invariant, &mut tries)
        });
        plan.faults = shrunk
            .faults
            .iter()
            .map(|place| all.faults[*place].clone())
            .collect();
        shrunk.requests = minimize(shrunk.requests.clone(), |requests| {
            plan.requests = requests.iter().map(|place| all.requests[*place]).collect();
            progress(tries);
            self.plan_fails(&plan, invariant, &mut tries)
        });
        plan.requests = shrunk
            .requests
            .iter()
            .map(|place| all.requests[*place])
            .collect();
        for simpler in SIMPLER {
            let mut simpler = Plan {
                network: simpler(plan.network),
                ..plan.clone()
            };
            progress(tries);
            if simpler.network != plan.network
                && self.plan_fails(&simpler, invariant, &mut tries) == Some(true)
            {
                core::mem::swap(&mut plan, &mut simpler);
            }
        }
        shrunk.tries = tries;
        // The last try may have been one that did not fail.
        if let Some(violation) = self.run_plan(&plan).violation
            && violation.invariant == invariant
        {
            shrunk.violation = violation;
            shrunk.plan = plan;
        }
    }

    fn shrink_lines(&self, shrunk: &mut Shrunk, progress: &mut impl FnMut(u64)) {
        let keep = Keep {
            trace: false,
            schedule: true,
        };
        let Some(recorder) = self.course(&shrunk.plan, keep).recorder else {
            return;
        };
        let invariant = shrunk.violation.invariant;
        let mut tries = 0;
        let broken = |plan: &Plan, lines: &[Line]| {
            let violation = self.play(plan, lines, false).violation;
            violation.filter(|violation| violation.invariant == invariant)
        };
        let mut fails = |plan: &Plan, lines: &[Line]| {
            tries += 1;
            progress(tries);
            (tries <= LINE_TRIES).then(|| broken(plan, lines).is_some())
        };
        let mut lines = recorder.lines;
        // What the schedule does not tell, like a damaged disk, may be what it takes.
        if fails(&shrunk.plan, &lines) != Some(true) {
            return;
        }
        // Without what clocks show at the moment much more can go; but some failures take it.
        let timeless = strip_times(&lines, &BTreeSet::new());
        if fails(&shrunk.plan, &timeless) == Some(true) {
            lines = timeless;
        }
        lines = minimize(lines, |lines| fails(&shrunk.plan, lines));
        lines = without_times(lines, |lines| fails(&shrunk.plan, lines));
        let mut plan = shrunk.plan.clone();
        plan.options = Options {
            seed: plan.seed,
            ..Options::default()
        };
        if fails(&plan, &lines) == Some(true) {
            shrunk.plan.options = plan.options;
        }
        // Who is a voter and who is not goes by their numbers.
        if shrunk.plan.spares == 0
            && let Some((nodes, fewer)) = renumbered(&lines, shrunk.plan.nodes)
        {
            let plan = Plan {
                nodes,
                ..shrunk.plan.clone()
            };
            if fails(&plan, &fewer) == Some(true) {
                (shrunk.plan, lines) = (plan, fewer);
            }
        }
        lines = minimize(lines, |lines| fails(&shrunk.plan, lines));
        if let Some(violation) = broken(&shrunk.plan, &lines) {
            shrunk.violation = violation;
        }
        shrunk.tries += tries;
        shrunk.lines = lines;
    }

    /// Plays a schedule in a cluster as the plan says, without anything of the plan's own happening.
    #[must_use]
    pub fn play(&self, plan: &Plan, lines: &[Line], trace: bool) -> Play {
        let setup = self.setup(plan);
        let ask = |op| Some(request(self.workload(), plan.seed, op));
        crate::schedule::play(setup, lines, trace, &ask)
    }
}

type Simpler = fn(Network) -> Network;

/// Ways to make a network kinder, one property at a time.
const SIMPLER: [Simpler; 9] = [
    |n| Network { batch_max: 0, ..n },
    |n| Network {
        lost_per_mille: 0,
        ..n
    },
    |n| Network {
        repeated_per_mille: 0,
        ..n
    },
    |n| Network {
        old_per_mille: 0,
        ..n
    },
    |n| Network {
        flipped_per_mille: 0,
        ..n
    },
    |n| Network {
        stray_per_mille: 0,
        ..n
    },
    |n| Network {
        told_per_mille: 0,
        ..n
    },
    |n| Network {
        nanos_per_byte: 0,
        ..n
    },
    |n| Network {
        delay_max: n.delay_min,
        ..n
    },
];

/// Drops what clocks show wherever it does not matter.
fn without_times(lines: Vec<Line>, mut fails: impl FnMut(&[Line]) -> Option<bool>) -> Vec<Line> {
    let timed: Vec<usize> = (0..lines.len())
        .filter(|place| lines[*place].at.is_some())
        .collect();
    let strip = |keep: &[usize]| strip_times(&lines, &keep.iter().copied().collect());
    let needed = minimize(timed, |keep| fails(&strip(keep)));
    strip(&needed)
}

fn strip_times(lines: &[Line], keep: &BTreeSet<usize>) -> Vec<Line> {
    let lines = lines.iter().enumerate();
    lines
        .map(|(place, line)| Line {
            at: line.at.filter(|_| keep.contains(&place)),
            ..line.clone()
        })
        .collect()
}

/// The same with only the nodes to which something happens, numbered from 1.
fn renumbered(lines: &[Line], nodes: u64) -> Option<(u64, Vec<Line>)> {
    let used: BTreeSet<NodeId> = lines.iter().map(|line| line.step.node()).collect();
    let used: Vec<NodeId> = used.into_iter().collect();
    if used.is_empty() || used.len() as u64 == nodes {
        return None;
    }
    let number = |node: NodeId| {
        let place = used.iter().position(|known| *known == node);
        place.map(|place| NodeId(place as u64 + 1))
    };
    let mut fewer = Vec::new();
    for line in lines {
        let mut line = line.clone();
        line.step.rename(&number)?;
        fewer.push(line);
    }
    Some((used.len() as u64, fewer))
}

impl Shrunk {
    /// The small run in words: one line for each thing that happens.
    #[must_use]
    pub fn story(&self) -> String {
        let mut story = String::new();
        let _ = writeln!(story, "# {}", self.violation);
        if self.lines.is_empty() {
            for fault in &self.plan.faults {
                let _ = writeln!(story, "at {} ms: {fault}", fault.at.0 / 1_000_000);
            }
            let _ = writeln!(story, "and {} requests", self.plan.requests.len());
        }
        for line in &self.lines {
            let _ = writeln!(story, "{line}");
        }
        story
    }

    /// How many requests the small run needs.
    #[must_use]
    pub fn ops(&self) -> BTreeSet<u64> {
        let steps = self.lines.iter().map(|line| &line.step);
        steps.filter_map(Step::asks).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::minimize;
    use quickcheck::quickcheck;

    quickcheck! {
        /// What is left fails, and without any one of its items it does not.
        fn what_is_left_is_needed(items: Vec<u8>, needed: Vec<u8>) -> bool {
            let needed: Vec<u8> = needed.into_iter().filter(|n| items.contains(n)).collect();
            let fails = |rest: &[u8]| Some(needed.iter().all(|n| rest.contains(n)));
            let mut left = minimize(items, fails);
            left.sort_unstable();
            let mut expected = needed.clone();
            expected.sort_unstable();
            expected.dedup();
            left == expected
        }
    }
}
