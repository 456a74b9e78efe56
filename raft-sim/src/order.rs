//! What an operator orders: who takes part, and who leads.

use std::fmt;
use std::str::FromStr;

use raft_core::replica::RequestError;
use raft_core::{
    ChangeWay, ClusterId, Input, Member, MemberChange, MembershipChange, NodeId, Outcome,
    RequestId, StorageId,
};

/// A change of membership or of leadership, as text: `add 4`, `learner 4`, `remove 3`, `promote 4`,
/// `demote 3`, `replace 3 4`, `add 4 at-once`, `remove 3 at-once`, `transfer 2`, `transfer`, `step-down`,
/// `reset`, `solo`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    missing_docs,
    reason = "the fields are what the variants' sentences name"
)]
#[non_exhaustive]
pub enum Order {
    /// A node becomes a voter.
    Add { node: NodeId },
    /// A node becomes a learner.
    Learner { node: NodeId },
    /// A member ends its part.
    Remove { node: NodeId },
    /// A learner becomes a voter.
    Promote { node: NodeId },
    /// A voter becomes a learner.
    Demote { node: NodeId },
    /// A node takes the place of another, in one change.
    Replace { old: NodeId, new: NodeId },
    /// A node becomes a voter without a joint phase.
    AddAtOnce { node: NodeId },
    /// A member ends its part without a joint phase.
    RemoveAtOnce { node: NodeId },
    /// A voter is to lead; any that can if none is named.
    Transfer { to: Option<NodeId> },
    /// The leader is to lead no longer.
    StepDown,
    /// The node that takes the order leaves its cluster with everything it has, and is one of its own. One that
    /// does not run is, by what is on its disk.
    Solo,
    /// The node that takes the order forgets everything: its store is another one then, and no member.
    Reset,
}

/// Text that is no order.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected add N [at-once], learner N, remove N [at-once], promote N, demote N, replace N M, \
     transfer [N], step-down, reset or solo, found {0:?}"
)]
pub struct OrderError(pub String);

/// Who a simulated server is after its store was emptied so many times.
pub(crate) fn member(node: NodeId, emptied: u32) -> Member {
    Member {
        node,
        store: StorageId(u128::from(emptied) << 32 | (u128::from(node.0) + 0x5700)),
    }
}

impl Order {
    /// What became of it, in a line.
    pub(crate) fn told(&self, outcome: &Result<Outcome, RequestError>) -> String {
        match outcome {
            Ok(Outcome::Changed(id)) => format!("{self}: done by entry {}", id.index),
            Ok(_) => format!("{self}: done"),
            Err(error) => format!("{self}: {error}"),
        }
    }

    /// A word for counting.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Transfer { .. } => "transfer",
            Self::StepDown => "step-down",
            Self::Reset => "reset",
            Self::Solo => "solo",
            Self::Add { .. }
            | Self::Learner { .. }
            | Self::Remove { .. }
            | Self::Promote { .. }
            | Self::Demote { .. }
            | Self::Replace { .. }
            | Self::AddAtOnce { .. }
            | Self::RemoveAtOnce { .. } => "membership",
        }
    }

    /// What the node that takes the order is given; `member` says who a server is now, and `next` who the one
    /// that takes the order is once its store has become another one, and in which cluster if it is alone.
    pub(crate) fn input(
        &self,
        request: RequestId,
        member: &dyn Fn(NodeId) -> Member,
        next: Member,
        clusters: (ClusterId, ClusterId),
    ) -> Input {
        let add = |node| MemberChange::AddVoter {
            member: member(node),
            address: String::new(),
        };
        let changes = match *self {
            Self::Reset => {
                let store = next.store;
                return Input::Reset { request, store };
            }
            Self::Solo => {
                return Input::Solo {
                    request,
                    expect: clusters.0,
                    cluster: clusters.1,
                    store: next.store,
                };
            }
            Self::Transfer { to } => return Input::TransferLeadership { request, to },
            Self::StepDown => return Input::StepDown { request },
            Self::Add { node } | Self::AddAtOnce { node } => vec![add(node)],
            Self::Learner { node } => vec![MemberChange::AddLearner {
                member: member(node),
                address: String::new(),
            }],
            Self::Remove { node } | Self::RemoveAtOnce { node } => {
                vec![MemberChange::Remove { node }]
            }
            Self::Promote { node } => vec![MemberChange::Promote { node }],
            Self::Demote { node } => vec![MemberChange::Demote { node }],
            Self::Replace { old, new } => vec![MemberChange::Remove { node: old }, add(new)],
        };
        let mut change = MembershipChange::new(changes);
        if matches!(self, Self::AddAtOnce { .. } | Self::RemoveAtOnce { .. }) {
            change.way = ChangeWay::Single;
        }
        Input::ChangeMembership { request, change }
    }

    /// Who becomes a member by it.
    pub(crate) const fn joins(&self) -> Option<NodeId> {
        match *self {
            Self::Add { node }
            | Self::AddAtOnce { node }
            | Self::Learner { node }
            | Self::Replace { new: node, .. } => Some(node),
            Self::Remove { .. }
            | Self::RemoveAtOnce { .. }
            | Self::Promote { .. }
            | Self::Demote { .. }
            | Self::Transfer { .. }
            | Self::StepDown
            | Self::Reset
            | Self::Solo => None,
        }
    }

    /// Gives every node another number; `None` if one has none.
    pub(crate) fn rename(&mut self, number: &dyn Fn(NodeId) -> Option<NodeId>) -> Option<()> {
        match self {
            Self::Add { node }
            | Self::Learner { node }
            | Self::Remove { node }
            | Self::Promote { node }
            | Self::Demote { node }
            | Self::AddAtOnce { node }
            | Self::RemoveAtOnce { node }
            | Self::Transfer { to: Some(node) } => *node = number(*node)?,
            Self::Replace { old, new } => {
                *old = number(*old)?;
                *new = number(*new)?;
            }
            Self::Transfer { to: None } | Self::StepDown | Self::Reset | Self::Solo => {}
        }
        Some(())
    }
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Add { node } => write!(f, "add {node}"),
            Self::Learner { node } => write!(f, "learner {node}"),
            Self::Remove { node } => write!(f, "remove {node}"),
            Self::Promote { node } => write!(f, "promote {node}"),
            Self::Demote { node } => write!(f, "demote {node}"),
            Self::Replace { old, new } => write!(f, "replace {old} {new}"),
            Self::AddAtOnce { node } => write!(f, "add {node} at-once"),
            Self::RemoveAtOnce { node } => write!(f, "remove {node} at-once"),
            Self::Transfer { to: Some(node) } => write!(f, "transfer {node}"),
            Self::Transfer { to: None } => f.write_str("transfer"),
            Self::StepDown => f.write_str("step-down"),
            Self::Reset => f.write_str("reset"),
            Self::Solo => f.write_str("solo"),
        }
    }
}

impl FromStr for Order {
    type Err = OrderError;

    fn from_str(text: &str) -> Result<Self, OrderError> {
        let wrong = || OrderError(text.to_string());
        let id = |word: &str| word.parse().map(NodeId).map_err(|_| wrong());
        let words: Vec<&str> = text.split_whitespace().collect();
        match words[..] {
            ["add", node] => Ok(Self::Add { node: id(node)? }),
            ["learner", node] => Ok(Self::Learner { node: id(node)? }),
            ["remove", node] => Ok(Self::Remove { node: id(node)? }),
            ["promote", node] => Ok(Self::Promote { node: id(node)? }),
            ["demote", node] => Ok(Self::Demote { node: id(node)? }),
            ["replace", old, new] => Ok(Self::Replace {
                old: id(old)?,
                new: id(new)?,
            }),
            ["add", node, "at-once"] => Ok(Self::AddAtOnce { node: id(node)? }),
            ["remove", node, "at-once"] => Ok(Self::RemoveAtOnce { node: id(node)? }),
            ["transfer", node] => Ok(Self::Transfer {
                to: Some(id(node)?),
            }),
            ["transfer"] => Ok(Self::Transfer { to: None }),
            ["step-down"] => Ok(Self::StepDown),
            ["reset"] => Ok(Self::Reset),
            ["solo"] => Ok(Self::Solo),
            _ => Err(wrong()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Order;

    #[test]
    fn an_order_is_what_its_text_says() {
        for text in [
            "add 4",
            "learner 4",
            "remove 3",
            "promote 4",
            "demote 3",
            "replace 3 4",
            "add 4 at-once",
            "remove 3 at-once",
            "transfer 2",
            "transfer",
            "step-down",
            "reset",
            "solo",
        ] {
            let order: Order = text.parse().expect("an order");
            assert_eq!(order.to_string(), text);
        }
        assert!("add".parse::<Order>().is_err());
        assert!("remove three".parse::<Order>().is_err());
    }
}
