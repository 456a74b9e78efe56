//! What the verbs that run seeds have in common.

use raft_core::Span;
use raft_sim::{Profile, RegisterWorkload, Simulation};

use crate::Failure;

#[derive(Clone, Debug, clap::Args)]
#[group(id = "scope")]
pub(crate) struct Arguments {
    /// How many voters; drawn for each seed, 1 to 7, unless given [1 to 64].
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=64))]
    nodes: Option<u64>,
    /// For how long things go wrong in each run, in the run's own time: 500ms, 60s, 10m.
    #[arg(long, default_value = "60s", value_parser = parse_time)]
    time: Span,
    /// Which faults: quiet, tolerated, detected, outside, reference.
    ///
    /// tolerated: crashes, power loss, network and clock faults, full disks; every rule holds.
    /// detected: and disks that fail, are wiped or damaged; every rule holds, such stores drop out.
    /// outside: and disks that lie or go back in time; nothing panics, and evidence raises an alert.
    /// reference: a fixed load, for measuring. quiet: nothing fails.
    #[arg(long, verbatim_doc_comment, default_value_t = Profile::Tolerated)]
    profile: Profile,
    /// A bug to plant in the code under test, by its id.
    #[cfg(raft_planted)]
    #[arg(long)]
    plant: Option<String>,
}

pub(crate) fn parse_time(text: &str) -> Result<Span, String> {
    let units = [
        ("ms", 1_000_000_u64),
        ("s", 1_000_000_000),
        ("m", 60_000_000_000),
    ];
    for (unit, nanos) in units {
        if let Some(number) = text.strip_suffix(unit)
            && let Ok(number) = number.parse::<u64>()
        {
            return number
                .checked_mul(nanos)
                .map(Span)
                .ok_or_else(|| "too long".to_string());
        }
    }
    Err("expected a time like 500ms, 60s or 10m".to_string())
}

impl Arguments {
    pub(crate) fn simulation(&self) -> Result<Simulation<RegisterWorkload>, Failure> {
        plant(self.wanted().as_deref())?;
        let mut simulation = Simulation::new(RegisterWorkload)
            .time(self.time)
            .profile(self.profile);
        if let Some(nodes) = self.nodes {
            simulation = simulation.nodes(nodes);
        }
        Ok(simulation)
    }

    pub(crate) const fn nodes(&self) -> Option<u64> {
        self.nodes
    }

    pub(crate) const fn time(&self) -> Span {
        self.time
    }

    #[cfg(raft_planted)]
    fn wanted(&self) -> Option<String> {
        self.plant.clone()
    }

    #[cfg(not(raft_planted))]
    #[expect(
        clippy::unused_self,
        reason = "has something to say where bugs can be planted"
    )]
    const fn wanted(&self) -> Option<String> {
        None
    }

    #[cfg(raft_planted)]
    pub(crate) fn planted(&self) -> Option<String> {
        let id = self.plant.as_deref()?;
        find_bug(id).map(|bug| bug.id().to_string())
    }

    #[cfg(not(raft_planted))]
    #[expect(
        clippy::unused_self,
        reason = "has something to say where bugs can be planted"
    )]
    pub(crate) const fn planted(&self) -> Option<String> {
        None
    }
}

#[cfg(raft_planted)]
fn find_bug(id: &str) -> Option<raft_core::planted::Bug> {
    let bugs = raft_core::planted::Bug::ALL.iter().copied();
    bugs.into_iter()
        .find(|bug| bug.id() == id || bug.name() == id)
}

/// Plants a bug, in a build that has any.
#[cfg(raft_planted)]
pub(crate) fn plant(bug: Option<&str>) -> Result<(), Failure> {
    use raft_core::planted::{Bug, plant};

    let bug = bug.map(|id| {
        let ids: Vec<&str> = Bug::ALL.iter().map(|bug| bug.id()).collect();
        let text = format!("there is no bug {id}; there are {}", ids.join(", "));
        find_bug(id).ok_or(Failure::Usage(text))
    });
    plant(bug.transpose()?);
    Ok(())
}

/// Plants a bug, in a build that has any.
#[cfg(not(raft_planted))]
pub(crate) fn plant(bug: Option<&str>) -> Result<(), Failure> {
    match bug {
        None => Ok(()),
        Some(bug) => Err(Failure::Usage(format!(
            "bug {bug} is to be planted, and this build has none; build with \
             RUSTFLAGS=\"--cfg raft_planted\""
        ))),
    }
}
