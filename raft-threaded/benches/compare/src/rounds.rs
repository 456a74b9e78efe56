//! The rounds: in each, every system is brought up on fresh folders, bears every load, and is taken down again.

use std::collections::BTreeMap;

use crate::Failure;
use crate::case::{CASES, Case};
use crate::figures::{Figure, Spread, thousandths};
use crate::floors::Floors;
use crate::load::Load;
use crate::systems::{Scene, System, etcd, ours, redis};

/// How often a load is begun before everything is given up.
const ATTEMPTS: u32 = 4;

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan<'a> {
    pub(crate) rounds: usize,
    /// Of each load.
    pub(crate) seconds: u64,
    pub(crate) systems: &'a [System],
}

/// What was measured.
#[derive(Debug, Default)]
pub(crate) struct Rounds {
    rounds: Vec<BTreeMap<(usize, System), Figure>>,
    floors: Vec<Floors>,
    /// Loads under which the leader changed, which makes them slower.
    handovers: usize,
    /// Loads that were put on a system again, because a request was refused or lost.
    repeated: usize,
}

impl Rounds {
    /// Runs all of them, and says what it does as it goes.
    ///
    /// # Errors
    ///
    /// A system or a load fails, or somebody interrupted.
    pub(crate) fn run(scene: &Scene, plan: Plan<'_>) -> Result<Self, Failure> {
        let mut rounds = Self::default();
        for round in 0..plan.rounds {
            rounds.floors.push(Floors::measure(scene)?);
            rounds.rounds.push(BTreeMap::new());
            // Whoever comes after another one finds the disk as that one left it: each is each's successor.
            for turn in 0..plan.systems.len() {
                let system = plan.systems[(round + turn) % plan.systems.len()];
                rounds.bear(scene, plan, system)?;
            }
        }
        Ok(rounds)
    }

    /// Brings one system up and puts every load on it.
    fn bear(&mut self, scene: &Scene, plan: Plan<'_>, system: System) -> Result<(), Failure> {
        let round = self.rounds.len();
        let name = system.name();
        eprintln!("round {round} of {}: {name} starts", plan.rounds);
        let mut running = Running::start(scene, system)?;
        for (place, case) in CASES.iter().enumerate() {
            // It has no pipelining to speak of, and no bar.
            if system == System::Etcd && case.pipeline > 1 {
                continue;
            }
            let figure = self.attempt(scene, plan, &mut running, case)?;
            eprintln!(
                "round {round} of {}: {name}, {}: {} per second, p50 {} µs, p99 {} µs",
                plan.rounds, case.name, figure.rate, figure.p50, figure.p99
            );
            let figures = self.rounds.last_mut().ok_or("no round has begun")?;
            figures.insert((place, system), figure);
        }
        Ok(())
    }

    /// One load, again if a request was refused: a system that stops for a moment ends it, and has nothing to tell.
    fn attempt(
        &mut self,
        scene: &Scene,
        plan: Plan<'_>,
        running: &mut Running,
        case: &Case,
    ) -> Result<Figure, Failure> {
        for attempt in 1.. {
            let leader = running.leader()?;
            let load = Load {
                scene,
                system: running.system(),
                port: leader,
                seconds: plan.seconds,
            };
            let figure = load.run(case);
            scene.stage.check()?;
            if running.leader()? != leader {
                eprintln!("the leader changed under that load");
                self.handovers += 1;
            }
            match figure {
                Err(error) if attempt < ATTEMPTS => eprintln!("again, because: {error}"),
                figure => return figure,
            }
            self.repeated += 1;
        }
        Err("no attempt was made".into())
    }

    /// One number of a system under a load, over all rounds.
    pub(crate) fn spread(
        &self,
        case: usize,
        system: System,
        what: fn(&Figure) -> u64,
    ) -> Option<Spread> {
        let figures = self.rounds.iter();
        let figures = figures.filter_map(|round| round.get(&(case, system)));
        Spread::of(figures.map(what))
    }

    /// What ours is of another system's in the same round, in thousandths.
    pub(crate) fn ratio(
        &self,
        case: usize,
        of: System,
        what: fn(&Figure) -> u64,
    ) -> Option<Spread> {
        let ratios = self.rounds.iter().filter_map(|round| {
            let (ours, other) = (round.get(&(case, System::Ours))?, round.get(&(case, of))?);
            Some(thousandths(what(ours), what(other)))
        });
        Spread::of(ratios)
    }

    /// One of the floors, over all rounds.
    pub(crate) fn floor(&self, which: fn(&Floors) -> u64) -> Option<Spread> {
        Spread::of(self.floors.iter().map(which))
    }

    pub(crate) fn len(&self) -> usize {
        self.rounds.len()
    }

    pub(crate) fn handovers(&self) -> usize {
        self.handovers
    }

    pub(crate) fn repeated(&self) -> usize {
        self.repeated
    }
}

/// A system that serves.
enum Running {
    Ours(ours::Cluster),
    Redis(redis::Server),
    Etcd(etcd::Cluster),
}

impl Running {
    fn start(scene: &Scene, system: System) -> Result<Self, Failure> {
        Ok(match system {
            System::Ours => Self::Ours(ours::Cluster::start(scene)?),
            System::Redis => Self::Redis(redis::Server::start(scene)?),
            System::Etcd => Self::Etcd(etcd::Cluster::start(scene)?),
        })
    }

    fn system(&self) -> System {
        match self {
            Self::Ours(_) => System::Ours,
            Self::Redis(_) => System::Redis,
            Self::Etcd(_) => System::Etcd,
        }
    }

    /// The port of whom loads are sent to.
    fn leader(&mut self) -> Result<u16, Failure> {
        match self {
            Self::Ours(cluster) => {
                let leader = cluster.settle()?;
                Ok(cluster.port(leader))
            }
            Self::Redis(server) => Ok(server.port()),
            Self::Etcd(cluster) => {
                let leader = cluster.settle()?;
                Ok(cluster.port(leader))
            }
        }
    }
}
