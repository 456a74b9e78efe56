//! The rules, by their codes, and what a broken one looks like.

use std::fmt;

use raft_core::NodeId;

/// A rule that the simulator checks; the codes are those of the project's test plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Invariant {
    /// One leader per term (§5.2).
    I1,
    /// One vote per member and term, across restarts.
    I2,
    /// Terms never fall, across restarts.
    I3,
    /// Log matching (§5.3): index and term name one log.
    I4,
    /// A leader only appends to its log.
    I5,
    /// Leader completeness (§5.4): a leader has everything that is committed.
    I6,
    /// State machine safety: what is applied at an index is what was committed there.
    I7,
    /// The commit index never falls, and nothing at or below it is cut.
    I8,
    /// What is claimed to be committed is durable at a quorum, and of the leader's own term.
    I9,
    /// The configuration in force is the last one in the log; one at a time is uncommitted; and of two that
    /// follow one another every two majorities meet.
    I10,
    /// Nothing is promised before it is durable.
    I11,
    /// What was acknowledged is committed, and stays.
    I12,
    /// What a leader counts for a follower is on the follower's disk.
    I13,
    /// A snapshot is what the log says: its last entry is committed, its configuration the last one up to
    /// there, its contents the state there, and what is restored from it is that state.
    I14,
    /// Linearizability: every operation takes effect between its call and its answer.
    I15,
    /// One request takes effect at most once.
    I16,
    /// A request that was refused never takes effect.
    I17,
    /// A read that rests on a lease shows all that was committed when it was asked: while clocks keep to their
    /// bound, no newer leader has committed anything that it leaves out.
    I18,
    /// Equal logs give equal states, as far as answers show them: each command is answered alike by every
    /// machine that executes it, and each query as the model answers it after the same entry.
    I19,
    /// Nothing panics.
    I20,
    /// Queues and memory are bounded.
    I21,
    /// A healed cluster elects a leader.
    V1,
    /// A healed cluster commits what is proposed, and its logs converge.
    V2,
    /// Every request has an outcome in time.
    V3,
    /// No term begins without a cause.
    V4,
    /// Wherever a majority is linked in both directions, each to each, a leader commits and stays, whatever
    /// the other links are; and so it does wherever one node is linked with a majority that has no longer log.
    V5,
    /// Changes of membership are made, and joint phases end.
    V6,
    /// A slow follower catches up.
    V7,
    /// What recovery finds is what was written, up to some point at or after the last sync.
    D1,
    /// Damage is reported: never dropped silently, never accepted.
    D2,
    /// A rule of the user's own state machine.
    Own,
}

impl Invariant {
    /// All of them.
    pub const ALL: [Self; 31] = [
        Self::I1,
        Self::I2,
        Self::I3,
        Self::I4,
        Self::I5,
        Self::I6,
        Self::I7,
        Self::I8,
        Self::I9,
        Self::I10,
        Self::I11,
        Self::I12,
        Self::I13,
        Self::I14,
        Self::I15,
        Self::I16,
        Self::I17,
        Self::I18,
        Self::I19,
        Self::I20,
        Self::I21,
        Self::V1,
        Self::V2,
        Self::V3,
        Self::V4,
        Self::V5,
        Self::V6,
        Self::V7,
        Self::D1,
        Self::D2,
        Self::Own,
    ];

    /// The code, as reports show it.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::I1 => "I1",
            Self::I2 => "I2",
            Self::I3 => "I3",
            Self::I4 => "I4",
            Self::I5 => "I5",
            Self::I6 => "I6",
            Self::I7 => "I7",
            Self::I8 => "I8",
            Self::I9 => "I9",
            Self::I10 => "I10",
            Self::I11 => "I11",
            Self::I12 => "I12",
            Self::I13 => "I13",
            Self::I14 => "I14",
            Self::I15 => "I15",
            Self::I16 => "I16",
            Self::I17 => "I17",
            Self::I18 => "I18",
            Self::I19 => "I19",
            Self::I20 => "I20",
            Self::I21 => "I21",
            Self::V1 => "V1",
            Self::V2 => "V2",
            Self::V3 => "V3",
            Self::V4 => "V4",
            Self::V5 => "V5",
            Self::V6 => "V6",
            Self::V7 => "V7",
            Self::D1 => "D1",
            Self::D2 => "D2",
            Self::Own => "own",
        }
    }

    /// Whether it says that something must happen, rather than that something never does.
    #[must_use]
    pub const fn is_liveness(self) -> bool {
        matches!(
            self,
            Self::V1 | Self::V2 | Self::V3 | Self::V4 | Self::V5 | Self::V6 | Self::V7
        )
    }
}

impl fmt::Display for Invariant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// A broken rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which rule.
    pub invariant: Invariant,
    /// Who broke it, if it was one node.
    pub node: Option<NodeId>,
    /// What happened, in a sentence.
    pub text: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.invariant)?;
        if let Some(node) = self.node {
            write!(f, "node {node}: ")?;
        }
        f.write_str(&self.text)
    }
}
