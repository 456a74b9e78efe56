//! Orders to the node itself: who takes part, who leads, what becomes of the store.

use std::thread;

use raft_core::replica::RequestError;
use raft_core::{
    ChangeRefusal, ClusterId, Configuration, EntryId, Identity, Input, Member, MemberChange,
    MembershipChange, NodeId, Outcome, Quota, Rejection, RequestId, Status, StorageId,
};
use tracing::warn;

use crate::error::{ClientError, JoinerError};
use crate::membership::{Force, Joiner};
use crate::moves::Move;
use crate::random::random;
use crate::runtime::calls::Call;
use crate::runtime::front::Front;
use crate::runtime::replica_thread::{Hosted, ReplicaThread};

/// Orders that may be asking other nodes who they are at a time, each on a thread of its own.
const ASKING_MAX: usize = 8;

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// Learn the stores of these nodes from themselves, then add them.
    Attach {
        joiners: Vec<Joiner>,
        expect: Option<EntryId>,
    },
    /// Make sure that a member is at its new address, then let the others look for it there.
    Move {
        to: Move,
        expect: Option<EntryId>,
        force: Force,
    },
    /// Change who takes part.
    Change(MembershipChange),
    /// Let another voter lead.
    Transfer(Option<NodeId>),
    /// Lead no longer.
    StepDown,
    /// Become a cluster of one.
    Solo {
        /// The cluster that is left behind; `None` for whichever it is.
        expect: Option<ClusterId>,
        force: Force,
    },
    /// Forget everything.
    Reset(Force),
    /// Take a snapshot of everything that is applied.
    Snapshot,
}

impl Order {
    /// The entry that is expected to have made the configuration in force.
    #[cfg(feature = "raft-kv")]
    pub(crate) const fn expected(&self) -> Option<EntryId> {
        match self {
            Self::Attach { expect, .. } | Self::Move { expect, .. } => *expect,
            Self::Change(change) => change.expect,
            Self::Transfer(_)
            | Self::StepDown
            | Self::Solo { .. }
            | Self::Reset(_)
            | Self::Snapshot => None,
        }
    }

    /// Whether it takes no other node to carry it out.
    pub(crate) const fn is_of_the_node_alone(&self) -> bool {
        match self {
            Self::Solo { .. } | Self::Reset(_) | Self::Snapshot => true,
            Self::Attach { .. }
            | Self::Move { .. }
            | Self::Change(_)
            | Self::Transfer(_)
            | Self::StepDown => false,
        }
    }
}

/// What came of an order that was carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Carried {
    /// The node says.
    Out(Outcome),
    /// The disk relies on this snapshot.
    Snapshot(EntryId),
}

/// What is to be changed, now that others said who they are.
pub(crate) type Asked = Result<Vec<MemberChange>, ClientError>;

impl<S: Hosted, F: Front<S>> ReplicaThread<S, F> {
    pub(super) fn on_order(&mut self, request: RequestId, order: Order) {
        let input = match order {
            Order::Attach { joiners, expect } => {
                let own = self.transport.identity().cluster;
                let inquiry = self.transport.inquiry();
                self.ask_first(request, expect, move || {
                    let asked = joiners.iter().map(|joiner| joiner.ask(&*inquiry, own));
                    Ok(asked.collect::<Result<_, JoinerError>>()?)
                });
                return;
            }
            Order::Move { to, expect, force } => {
                self.set_address(request, to, expect, force);
                return;
            }
            Order::Snapshot => {
                self.replica.snapshot(self.state.now, request);
                return;
            }
            Order::Change(change) => Ok(Input::ChangeMembership { request, change }),
            Order::Transfer(to) => Ok(Input::TransferLeadership { request, to }),
            Order::StepDown => Ok(Input::StepDown { request }),
            Order::Solo { expect, force } => self.solo(request, expect, force),
            Order::Reset(force) => self.reset(request, force),
        };
        match input {
            Ok(input) => self.hand_over(request, input),
            Err(error) => self.answer_order(request, Err(error)),
        }
    }

    /// What the leader has to carry out is not even asked of one that is not reached from here: no answer would
    /// come, for minutes, and then nobody would know.
    pub(super) fn hand_over(&mut self, request: RequestId, input: Input) {
        let for_the_leader = matches!(
            input,
            Input::ChangeMembership { .. }
                | Input::TransferLeadership { .. }
                | Input::StepDown { .. }
        );
        match self.out_of_reach() {
            Some(rejection) if for_the_leader => {
                self.failed(request, RequestError::Rejected(rejection));
            }
            Some(_) | None => self.input(input),
        }
    }

    /// Why nothing can be handed to the leader, if it is known and not reached from here: another node may reach it.
    pub(super) fn out_of_reach(&self) -> Option<Rejection> {
        let status = self.replica.status();
        let (own, leader) = (status.identity.member, status.leader?);
        let reached = leader == own || self.transport.reaches(leader);
        (!reached).then_some(Rejection::NotLeader {
            leader: Some(leader.node),
        })
    }

    /// Who is asked is who is moved: without force the change is made only on top of the configuration that said
    /// whom to ask, or that there is nobody to ask, which the leader may know better.
    fn set_address(&mut self, request: RequestId, to: Move, expect: Option<EntryId>, force: Force) {
        let status = self.replica.status();
        let (identity, found) = (status.identity, status.configured);
        let member = status.configuration.member_of(to.node);
        if force == Force::Yes {
            self.change(request, vec![to.change()], expect);
        } else if expect.is_some_and(|expected| expected != found) {
            // Asked on the strength of one configuration, it would be made on top of the other.
            let stale = Rejection::Change(ChangeRefusal::Stale { found });
            self.failed(request, RequestError::Rejected(stale));
        } else if let Some(member) = member {
            let member = Identity { member, ..identity };
            let inquiry = self.transport.inquiry();
            self.ask_first(request, Some(found), move || {
                Ok(vec![to.ask(&*inquiry, member)?])
            });
        } else {
            self.change(request, vec![to.change()], Some(found));
        }
    }

    /// Other nodes may take long to answer, or not answer at all, which must hold up nobody.
    fn ask_first(
        &mut self,
        request: RequestId,
        expect: Option<EntryId>,
        ask: impl FnOnce() -> Asked + Send + 'static,
    ) {
        let busy = || RequestError::Rejected(Rejection::Busy(Quota::Requests));
        if self.state.asking >= ASKING_MAX {
            self.answer_order(request, Err(busy().into()));
            return;
        }
        let outlet = self.outlet.clone();
        let asking = thread::Builder::new().name("raft-asking".to_string());
        let spawned = asking.spawn(move || {
            outlet.send(Call::Asked(request, ask(), expect));
        });
        match spawned {
            Ok(_) => self.state.asking += 1,
            Err(error) => {
                warn!(%error, "no thread to ask other nodes who they are");
                self.answer_order(request, Err(busy().into()));
            }
        }
    }

    /// Other nodes said who they are, or did not.
    pub(super) fn on_asked(&mut self, request: RequestId, asked: Asked, expect: Option<EntryId>) {
        self.state.asking -= 1;
        match asked {
            Ok(changes) => self.change(request, changes, expect),
            Err(error) => self.answer_order(request, Err(error)),
        }
    }

    fn change(&mut self, request: RequestId, changes: Vec<MemberChange>, expect: Option<EntryId>) {
        let change = MembershipChange {
            expect,
            ..MembershipChange::new(changes)
        };
        self.note_attachment(request, &change);
        self.hand_over(request, Input::ChangeMembership { request, change });
    }

    fn solo(
        &self,
        request: RequestId,
        expect: Option<ClusterId>,
        force: Force,
    ) -> Result<Input, ClientError> {
        let status = self.replica.status();
        check_solo(&status, force)?;
        Ok(Input::Solo {
            request,
            expect: expect.unwrap_or(status.identity.cluster),
            cluster: ClusterId(draw()?),
            store: StorageId(draw()?),
        })
    }

    fn reset(&self, request: RequestId, force: Force) -> Result<Input, ClientError> {
        check_reset(&self.replica.status(), force)?;
        Ok(Input::Reset {
            request,
            store: StorageId(draw()?),
        })
    }
}

fn draw() -> Result<u128, ClientError> {
    random().map_err(|_| ClientError::NoRandomness)
}

/// Two histories would be served if other voters live; only whoever asks can know that they do not.
pub(crate) fn check_solo(status: &Status<'_>, force: Force) -> Result<(), ClientError> {
    let others = other_voters(status.configuration, status.identity.member);
    if others > 0 && force == Force::No {
        return Err(ClientError::OtherVoters { others });
    }
    Ok(())
}

/// A member's vote, and what it has acknowledged, would be lost.
pub(crate) fn check_reset(status: &Status<'_>, force: Force) -> Result<(), ClientError> {
    let member = status.identity.member;
    if status.configuration.contains(member) && force == Force::No {
        return Err(ClientError::StillAMember { node: member.node });
    }
    Ok(())
}

/// How many others vote, in either half of a joint configuration.
fn other_voters(configuration: &Configuration, own: Member) -> u64 {
    let members = configuration.members().into_iter();
    let voters = members.filter(|member| configuration.is_voter(*member));
    voters.filter(|voter| *voter != own).count() as u64
}
