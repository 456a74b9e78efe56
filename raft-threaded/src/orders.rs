//! Orders to a node from a program that embeds it: who takes part, who leads, what becomes of the store.

use raft_core::replica::StateMachine;
use raft_core::{ClusterId, EntryId, MemberChange, MembershipChange, NodeId, Outcome, Term};

use crate::client::Client;
use crate::error::ClientError;
use crate::membership::{Alone, Force, Joiner};
use crate::moves::Move;
use crate::runtime::calls::Call;
use crate::runtime::order::{Carried, Order};
use crate::status::MemberStatus;

impl<S: StateMachine> Client<S> {
    /// Changes who takes part, as one whole; returns the entry that made the new configuration.
    ///
    /// Any node takes it. It waits until new voters have caught up, which may take minutes.
    ///
    /// # Errors
    ///
    /// A refused change changed nothing. After `Unknown` or `Stopped` it may have taken effect, or may yet:
    /// [`Client::members`] of the leader shows.
    pub fn change_membership(&self, change: MembershipChange) -> Result<EntryId, ClientError> {
        self.changed(Order::Change(change))
    }

    /// Adds nodes that run on empty stores and wait, after asking each for its store. Should leadership change
    /// meanwhile, it goes on under the next leader, who is waited for for half a minute.
    ///
    /// # Errors
    ///
    /// As [`Client::change_membership`], or which joiner did not answer as expected. After `Unknown` or `Stopped`
    /// some of them may be learners: calling it again finishes that, [`Client::detach`] takes it back.
    pub fn attach(&self, joiners: Vec<Joiner>) -> Result<EntryId, ClientError> {
        let expect = None;
        self.changed(Order::Attach { joiners, expect })
    }

    /// Ends the part of these nodes.
    ///
    /// # Errors
    ///
    /// As [`Client::change_membership`].
    pub fn detach(&self, nodes: &[NodeId]) -> Result<EntryId, ClientError> {
        let nodes = nodes.iter();
        let changes = nodes.map(|node| MemberChange::Remove { node: *node });
        self.change_membership(MembershipChange::new(changes))
    }

    /// Makes a learner a voter.
    ///
    /// # Errors
    ///
    /// As [`Client::change_membership`].
    pub fn promote(&self, node: NodeId) -> Result<EntryId, ClientError> {
        self.change_membership(MembershipChange::new([MemberChange::Promote { node }]))
    }

    /// Makes a voter a learner.
    ///
    /// # Errors
    ///
    /// As [`Client::change_membership`].
    pub fn demote(&self, node: NodeId) -> Result<EntryId, ClientError> {
        self.change_membership(MembershipChange::new([MemberChange::Demote { node }]))
    }

    /// Lets the others look for a member elsewhere from now on, after asking who is there; forced, without
    /// asking, for a member that is down and will be started there, or that must be found in both places
    /// meanwhile because the others are no majority without it.
    ///
    /// # Errors
    ///
    /// As [`Client::change_membership`], or what is there instead.
    pub fn set_address(
        &self,
        node: NodeId,
        address: impl Into<String>,
        force: Force,
    ) -> Result<EntryId, ClientError> {
        let address = address.into();
        self.changed(Order::Move {
            to: Move { node, address },
            expect: None,
            force,
        })
    }

    /// Lets another voter lead, the one that is most caught up unless one is named; returns the term that
    /// ended.
    ///
    /// # Errors
    ///
    /// If leadership stays where it is. After `Unknown` or `Stopped` it may have moved.
    pub fn transfer_leadership(&self, to: Option<NodeId>) -> Result<Term, ClientError> {
        self.transferred(Order::Transfer(to))
    }

    /// Lets the leader lead no longer, whoever leads next; returns the term that ended.
    ///
    /// # Errors
    ///
    /// As [`Client::transfer_leadership`].
    pub fn step_down(&self) -> Result<Term, ClientError> {
        self.transferred(Order::StepDown)
    }

    /// Makes this node a cluster of its own, with everything in its log. The others go on without it, or do
    /// not; it has to be reset before it can be attached to them again.
    ///
    /// # Errors
    ///
    /// If the node is not in the expected cluster, or if other voters may still live: then two histories
    /// would be served, unless forced.
    pub fn solo(&self, expect: ClusterId, force: Force) -> Result<Alone, ClientError> {
        let expect = Some(expect);
        let outcome = self.order(Order::Solo { expect, force })?;
        let Outcome::Alone { committed, last } = outcome else {
            unreachable!("a node is alone in the end, not {outcome:?}");
        };
        Ok(Alone {
            committed: committed.0,
            last: last.0,
        })
    }

    /// Empties this node's store and gives it a new id, so that it can be attached to a cluster; then the
    /// server stops with `HaltReason::Emptied`, and is to be started anew.
    ///
    /// # Errors
    ///
    /// If its configuration has the node as a member, unless forced: nothing was deleted.
    pub fn reset(&self, force: Force) -> Result<(), ClientError> {
        let outcome = self.order(Order::Reset(force))?;
        assert!(
            outcome == Outcome::Emptied,
            "a store is empty in the end, not {outcome:?}"
        );
        Ok(())
    }

    /// Takes a snapshot of everything that is applied at this node, unless there is one; returns the last entry
    /// in it, as soon as the disk relies on it.
    ///
    /// # Errors
    ///
    /// If it could not be written: then the log is as long as before.
    pub fn snapshot(&self) -> Result<EntryId, ClientError> {
        match self.carried(Order::Snapshot)? {
            Carried::Snapshot(id) => Ok(id),
            Carried::Out(outcome) => unreachable!("a snapshot was taken, not {outcome:?}"),
        }
    }

    /// Who takes part, as this node's log says; `None` once the server has stopped.
    pub fn members(&self) -> Option<Vec<MemberStatus>> {
        self.status().map(|status| status.members)
    }

    fn changed(&self, order: Order) -> Result<EntryId, ClientError> {
        let outcome = self.order(order)?;
        let Outcome::Changed(id) = outcome else {
            unreachable!("a change is committed in the end, not {outcome:?}");
        };
        Ok(id)
    }

    fn transferred(&self, order: Order) -> Result<Term, ClientError> {
        let outcome = self.order(order)?;
        let Outcome::Transferred(term) = outcome else {
            unreachable!("leadership moves in the end, not {outcome:?}");
        };
        Ok(term)
    }

    fn order(&self, order: Order) -> Result<Outcome, ClientError> {
        match self.carried(order)? {
            Carried::Out(outcome) => Ok(outcome),
            Carried::Snapshot(id) => unreachable!("that is no snapshot: {id:?}"),
        }
    }

    fn carried(&self, order: Order) -> Result<Carried, ClientError> {
        self.ask(|answer| Call::Order(order, answer))?
    }
}
