//! Runs from seeds: what is done to a cluster, and what became of it.

mod agenda;
mod clients;
mod fault;
mod heal;
mod heal_orders;
mod majority;
mod plan;
mod plan_orders;
mod profile;
mod report;
mod run;
mod stores;
mod strike;

use std::sync::Arc;

use raft_core::Span;

pub use self::fault::{Fault, FaultKind};
pub use self::plan::{Asked, Plan, Scope, Target};
pub use self::profile::Profile;
pub use self::report::{Report, Verdict};
pub(crate) use self::run::{Course, Keep, request, run};
use crate::trace::Trace;
use crate::workload::Workload;
use crate::world::Setup;

/// Runs of one workload, each from a seed.
#[derive(Clone, Debug)]
pub struct Simulation<W> {
    workload: Arc<W>,
    scope: Scope,
}

impl<W: Workload + Send + Sync + 'static> Simulation<W> {
    /// Runs of a workload: a simulated minute each, one to seven nodes, tolerated faults.
    pub fn new(workload: W) -> Self {
        Self {
            workload: Arc::new(workload),
            scope: Scope {
                nodes: None,
                time: Span(60_000_000_000),
                profile: Profile::Tolerated,
            },
        }
    }

    /// As many voters in every run.
    ///
    /// # Panics
    ///
    /// If there are none, or more than 64.
    #[must_use]
    pub fn nodes(mut self, nodes: u64) -> Self {
        assert!((1..=64).contains(&nodes), "a cluster of 1 to 64 nodes");
        self.scope.nodes = Some(nodes);
        self
    }

    /// How long things go wrong in a run, in its own time; default a minute.
    #[must_use]
    pub const fn time(mut self, time: Span) -> Self {
        self.scope.time = time;
        self
    }

    /// Which faults the runs may meet.
    #[must_use]
    pub const fn profile(mut self, profile: Profile) -> Self {
        self.scope.profile = profile;
        self
    }

    /// What the runs have in common.
    #[must_use]
    pub const fn scope(&self) -> &Scope {
        &self.scope
    }

    /// What a seed stands for.
    #[must_use]
    pub fn plan(&self, seed: u64) -> Plan {
        Plan::draw(seed, &self.scope)
    }

    pub(crate) fn workload(&self) -> &W {
        &self.workload
    }

    pub(crate) fn course(&self, plan: &Plan, keep: Keep) -> Course {
        run(&*self.workload, self.setup(plan), plan, keep)
    }

    pub(crate) fn setup(&self, plan: &Plan) -> Setup<W::Machine> {
        let workload = self.workload.clone();
        Setup {
            nodes: plan.nodes,
            spares: plan.spares,
            options: plan.options,
            priorities: plan.priorities.clone(),
            wal_options: plan.wal_options,
            fresh: Arc::new(move || workload.machine()),
            reference: self.workload.model(),
        }
    }

    /// One run, from a plan: a drawn one, or what is left of it.
    #[must_use]
    pub fn run_plan(&self, plan: &Plan) -> Report {
        self.course(plan, Keep::default()).report
    }

    /// One run, from a seed.
    #[must_use]
    pub fn run(&self, seed: u64) -> Report {
        self.course(&self.plan(seed), Keep::default()).report
    }

    /// One run, and everything that happened in it.
    #[must_use]
    pub fn trace(&self, seed: u64) -> (Report, Trace) {
        let keep = Keep {
            trace: true,
            schedule: false,
        };
        let course = self.course(&self.plan(seed), keep);
        (course.report, course.trace.unwrap_or_default())
    }

    /// Runs one seed after the other, up to the first in which a rule is broken.
    ///
    /// # Panics
    ///
    /// If a rule is broken, with the seed; or if no run proved anything.
    pub fn check(&self, seeds: std::ops::Range<u64>) {
        let mut proved = false;
        for seed in seeds.clone() {
            let report = self.run(seed);
            report.assert_clean();
            proved |= report.verdict == Verdict::Clean;
        }
        assert!(
            proved,
            "seeds {seeds:?}: nothing was committed, or nothing went wrong"
        );
    }
}
