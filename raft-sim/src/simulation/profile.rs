//! Which faults a run may meet.

use std::fmt;
use std::str::FromStr;

/// A class of faults, by what can be demanded of a cluster that meets them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Profile {
    /// Nothing fails.
    Quiet,
    /// Crashes, power loss, network and clock faults, full disks: every rule holds, and a healed cluster
    /// goes on.
    Tolerated,
    /// The same, and disks that fail, forget everything or return damaged bytes: a store that noticed
    /// takes no further part, and every rule holds.
    Detected,
    /// The same as tolerated, and disks that lie about syncs, go back to an older image or are copied:
    /// acknowledged writes can be lost whatever the protocol does. Nothing may panic, and evidence that reaches a node
    /// raises an alert; how often it did is told.
    Outside,
    /// A fixed load, for measuring: five nodes, heartbeats every 50 ms, 20 requests a second, few faults.
    Reference,
}

impl Profile {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Quiet,
        Self::Tolerated,
        Self::Detected,
        Self::Outside,
        Self::Reference,
    ];

    /// Whether each run is drawn anew, faults, options and all (swarm testing).
    pub(super) const fn is_swarm(self) -> bool {
        match self {
            Self::Tolerated | Self::Detected | Self::Outside => true,
            Self::Quiet | Self::Reference => false,
        }
    }

    /// The name, as the command line knows it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Quiet => "quiet",
            Self::Tolerated => "tolerated",
            Self::Detected => "detected",
            Self::Outside => "outside",
            Self::Reference => "reference",
        }
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Profile {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = Self::ALL
            .into_iter()
            .find(|profile| profile.as_str() == text);
        known.ok_or_else(|| {
            let names: Vec<&str> = Self::ALL.iter().map(|profile| profile.as_str()).collect();
            format!("expected one of {}, found \"{text}\"", names.join(", "))
        })
    }
}
