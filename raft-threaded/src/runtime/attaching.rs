//! Attachments that lose their leader on the way: the node that took them goes on under the next leader.
//!
//! A leader that ends leaves those whom it let catch up as learners, and nobody who waits for more of them.
//!
//! Always holds: an attachment is ordered again only on top of the very configuration that this node looked at,
//! so that it takes effect once, and undoes nothing that somebody else ordered meanwhile.

use std::collections::BTreeMap;

use raft_core::replica::RequestError;
use raft_core::{
    ChangeRefusal, Configuration, EntryId, Input, Member, MemberChange, MembershipChange, Outcome,
    Rejection, RequestId, Span, Status, Time,
};
use tracing::info;

use crate::runtime::front::Front;
use crate::runtime::order::Carried;
use crate::runtime::replica_thread::{Hosted, ReplicaThread};

/// How long a leader is waited for under whom it can go on.
const PATIENCE: Span = Span(30_000_000_000);
/// How long between two looks.
const PAUSE: Span = Span(100_000_000);

/// The attachments that somebody waits for, by the request under which each was ordered last.
pub(crate) type Attachments = BTreeMap<RequestId, Attachment>;

/// One of them.
#[derive(Debug)]
pub(crate) struct Attachment {
    /// The request of whoever waits.
    asker: RequestId,
    changes: Vec<MemberChange>,
    /// What made the configuration in force when it was ordered first.
    before: EntryId,
    /// When it is looked at next, while it is interrupted.
    look_at: Option<Time>,
    /// When it is given up, since it was interrupted first.
    until: Option<Time>,
    /// Everybody was seen to have a part as ordered once: what is missing since then, somebody else undid.
    was_done: bool,
}

/// What is to be done about an interrupted attachment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    /// Nothing: this configuration has everybody.
    Done(EntryId),
    /// Order it again, on top of this configuration.
    Again(EntryId),
    /// Leave it: what became of it cannot be told from what others did.
    Leave,
}

impl Attachment {
    /// What a committed configuration means for it.
    fn next(&self, configuration: &Configuration, configured: EntryId) -> Next {
        if self.is_done(configuration) {
            return Next::Done(configured);
        }
        // New voters become learners in one entry, all of them: that some are missing is somebody else's doing.
        let mut joiners = self.changes.iter().filter_map(joiner);
        let begun = joiners.all(|(member, _)| configuration.contains(member));
        if !self.was_done && (begun || configured == self.before) {
            Next::Again(configured)
        } else {
            Next::Leave
        }
    }

    fn is_done(&self, configuration: &Configuration) -> bool {
        let mut changes = self.changes.iter();
        changes.all(|change| joined(change, configuration))
    }

    /// What its asker is told who gets an error in the end: once it was interrupted, an error says what became of
    /// the last attempt only, and those before may have left learners.
    fn final_error(&self, error: RequestError) -> RequestError {
        match self.until {
            None => error,
            Some(_) => RequestError::Unknown,
        }
    }

    /// Whether an answer leaves it to this node to go on.
    fn goes_on_after(&self, error: &RequestError) -> bool {
        match error {
            RequestError::Unknown => true,
            RequestError::Rejected(rejection) => self.until.is_some() && is_temporary(rejection),
            RequestError::Superseded(_)
            | RequestError::ReplyLost(_)
            | RequestError::Undecodable
            | RequestError::SessionExpired
            | RequestError::SequencePassed { .. }
            | RequestError::WindowFull { .. } => false,
        }
    }
}

/// Whether there is somebody to order it from, and the configuration in force is there to stay.
fn is_settled(status: &Status<'_>) -> bool {
    let committed = status.configured.index <= status.commit_index;
    committed && !status.configuration.is_joint() && status.leader.is_some()
}

/// Who is added, and whether as a voter.
const fn joiner(change: &MemberChange) -> Option<(Member, bool)> {
    match change {
        MemberChange::AddVoter { member, .. } => Some((*member, true)),
        MemberChange::AddLearner { member, .. } => Some((*member, false)),
        MemberChange::Promote { .. }
        | MemberChange::Demote { .. }
        | MemberChange::Remove { .. }
        | MemberChange::SetAddress { .. } => None,
    }
}

/// Whether a change has come about.
fn joined(change: &MemberChange, configuration: &Configuration) -> bool {
    joiner(change).is_some_and(|(member, votes)| {
        configuration.voters.contains(&member)
            || (!votes && configuration.learners.contains(&member))
    })
}

/// Whether asking again soon may help.
const fn is_temporary(rejection: &Rejection) -> bool {
    match rejection {
        Rejection::NotLeader { .. }
        | Rejection::Busy(_)
        | Rejection::Transferring
        | Rejection::NoQuorum
        | Rejection::Change(
            ChangeRefusal::InProgress | ChangeRefusal::TooEarly | ChangeRefusal::Stale { .. },
        ) => true,
        Rejection::TooLarge { .. }
        | Rejection::StorageFull
        | Rejection::OwnStorageFull
        | Rejection::Halted
        | Rejection::Change(_)
        | Rejection::Transfer(_)
        | Rejection::Identity(_) => false,
    }
}

/// When one of them is to be looked at.
pub(super) fn next_look(attachments: &Attachments) -> Option<Time> {
    attachments.values().filter_map(|a| a.look_at).min()
}

impl<S: Hosted, F: Front<S>> ReplicaThread<S, F> {
    /// Takes note of a change that is about to be ordered, if it is an attachment that may be ordered again:
    /// one that expects a certain configuration may not.
    pub(super) fn note_attachment(&mut self, request: RequestId, change: &MembershipChange) {
        if change.expect.is_some() || !change.changes.iter().all(|c| joiner(c).is_some()) {
            return;
        }
        let attachment = Attachment {
            asker: request,
            changes: change.changes.clone(),
            before: self.replica.status().configured,
            look_at: None,
            until: None,
            was_done: false,
        };
        self.state.attachments.insert(request, attachment);
    }

    /// An order failed: an attachment may go on, the others have their answer.
    pub(super) fn failed(&mut self, request: RequestId, error: RequestError) {
        let now = self.state.now;
        let Some(mut attachment) = self.state.attachments.remove(&request) else {
            self.reply(request, Err(error));
            return;
        };
        let goes_on = attachment.goes_on_after(&error)
            && now < *attachment.until.get_or_insert(now + PATIENCE);
        if goes_on {
            attachment.look_at = Some(now + PAUSE);
            self.state.attachments.insert(request, attachment);
        } else {
            let error = attachment.final_error(error);
            self.reply(attachment.asker, Err(error));
        }
    }

    /// An order was carried out: its asker's request.
    pub(super) fn asker_of(&mut self, request: RequestId) -> RequestId {
        let attachment = self.state.attachments.remove(&request);
        attachment.map_or(request, |attachment| attachment.asker)
    }

    /// Goes on with the attachments that were interrupted, as far as it is time.
    pub(super) fn look_at_attachments(&mut self) {
        let now = self.state.now;
        if self.state.attachments.is_empty() {
            return;
        }
        let status = self.replica.status();
        if status.configured.index <= status.commit_index {
            for attachment in self.state.attachments.values_mut() {
                attachment.was_done |= attachment.is_done(status.configuration);
            }
        }
        let due = self.state.attachments.iter();
        let due = due.filter(|(_, a)| a.look_at.is_some_and(|at| at <= now));
        let due: Vec<RequestId> = due.map(|(request, _)| *request).collect();
        for request in due {
            if let Some(attachment) = self.state.attachments.remove(&request) {
                self.go_on(request, attachment);
            }
        }
    }

    fn go_on(&mut self, request: RequestId, mut attachment: Attachment) {
        let now = self.state.now;
        let status = self.replica.status();
        let settled = is_settled(&status);
        if !settled && attachment.until.is_some_and(|until| now < until) {
            attachment.look_at = Some(now + PAUSE);
            self.state.attachments.insert(request, attachment);
            return;
        }
        let next = if settled {
            attachment.next(status.configuration, status.configured)
        } else {
            Next::Leave
        };
        match next {
            Next::Leave => self.reply(attachment.asker, Err(RequestError::Unknown)),
            Next::Done(id) => {
                let carried = Carried::Out(Outcome::Changed(id));
                self.answer_order(attachment.asker, Ok(carried));
            }
            Next::Again(expect) => {
                info!(
                    index = expect.index.0,
                    "going on with an attachment that was interrupted"
                );
                let change = MembershipChange {
                    expect: Some(expect),
                    ..MembershipChange::new(attachment.changes.clone())
                };
                attachment.look_at = None;
                let request = self.state.ids.next();
                self.state.attachments.insert(request, attachment);
                self.hand_over(request, Input::ChangeMembership { request, change });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use raft_core::{Index, NodeId, StorageId, Term};

    fn member(node: u64) -> Member {
        Member {
            node: NodeId(node),
            store: StorageId(node.into()),
        }
    }

    fn id(index: u64) -> EntryId {
        EntryId {
            term: Term(1),
            index: Index(index),
        }
    }

    fn configuration(voters: &[u64], learners: &[u64]) -> Configuration {
        Configuration {
            voters: voters.iter().copied().map(member).collect(),
            learners: learners.iter().copied().map(member).collect(),
            ..Configuration::default()
        }
    }

    /// Nodes 2 and 3 were to be voters, ordered on top of entry 5.
    fn attachment() -> Attachment {
        let add = |node| MemberChange::AddVoter {
            member: member(node),
            address: String::new(),
        };
        Attachment {
            asker: RequestId(1),
            changes: vec![add(2), add(3)],
            before: id(5),
            look_at: None,
            until: None,
            was_done: false,
        }
    }

    fn next(voters: &[u64], learners: &[u64], configured: u64) -> Next {
        attachment().next(&configuration(voters, learners), id(configured))
    }

    #[test]
    fn what_is_left_to_do_shows_in_the_configuration() {
        assert_eq!(next(&[1, 2, 3], &[], 8), Next::Done(id(8)));
        assert_eq!(next(&[1], &[2, 3], 6), Next::Again(id(6)));
        assert_eq!(next(&[1], &[], 5), Next::Again(id(5)), "nothing was done");
    }

    /// It may have been carried out, and undone by somebody who knew what he did.
    #[test]
    fn what_somebody_else_may_have_undone_is_not_done_again() {
        assert_eq!(next(&[1], &[], 9), Next::Leave);
        assert_eq!(next(&[1, 4], &[], 9), Next::Leave);
        assert_eq!(next(&[1], &[2], 9), Next::Leave, "node 3 was detached");
        assert_eq!(next(&[1, 2], &[], 9), Next::Leave);
    }

    /// Its answer was lost, and somebody demoted a node before it was looked at again: the node was promoted.
    #[test]
    fn what_everybody_had_once_is_not_done_again() {
        let mut attachment = attachment();
        attachment.was_done = true;
        let next = |voters, learners, configured| {
            attachment.next(&configuration(voters, learners), id(configured))
        };
        assert_eq!(next(&[1, 2], &[3], 9), Next::Leave);
        assert_eq!(next(&[1, 2, 3], &[], 10), Next::Done(id(10)));
    }

    /// Learners were left by the first attempt, and its asker was told that nothing was changed.
    #[test]
    fn an_error_after_an_interruption_does_not_say_that_nothing_was_done() {
        let mut attachment = attachment();
        let refused = RequestError::Rejected(Rejection::OwnStorageFull);
        assert_eq!(attachment.final_error(refused.clone()), refused);
        attachment.until = Some(Time(1));
        assert_eq!(attachment.final_error(refused), RequestError::Unknown);
    }
}
