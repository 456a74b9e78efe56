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
    /// The same of the configuration that was noted last.
    noted: EntryId,
    /// When it is looked at next, while it is interrupted.
    look_at: Option<Time>,
    /// When it is given up, since it was interrupted first.
    until: Option<Time>,
    /// What made a configuration in which everybody had a part as ordered: what is missing since then, somebody
    /// else undid.
    done_by: Option<EntryId>,
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
        let begun = self.is_begun(configuration);
        if self.done_by.is_none() && (begun || configured == self.before) {
            Next::Again(configured)
        } else {
            Next::Leave
        }
    }

    /// New voters become learners in one entry, all of them, and voters in one entry together with everything else
    /// that was ordered: whatever has some of them only is somebody else's doing.
    fn is_begun(&self, configuration: &Configuration) -> bool {
        let joiners = self.changes.iter().filter_map(joiner);
        let mut new_voters = joiners.filter(|(_, votes)| *votes).peekable();
        new_voters.peek().is_some()
            && new_voters.all(|(member, _)| configuration.learners.contains(&member))
    }

    /// Another configuration is in force, which one that follows it may take back for as long as it is not
    /// committed.
    fn note(&mut self, configuration: &Configuration, configured: EntryId) {
        self.noted = configured;
        if self.is_done(configuration) {
            self.done_by.get_or_insert(configured);
        } else if (self.done_by).is_some_and(|done| configured.index < done.index) {
            self.done_by = None;
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

/// Takes note of a configuration that is in force now, each in its turn: one that was in force for a moment only
/// counts as well.
pub(super) fn note_configuration(
    attachments: &mut Attachments,
    configuration: &Configuration,
    configured: EntryId,
) {
    for attachment in attachments.values_mut() {
        attachment.note(configuration, configured);
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
        let before = self.replica.status().configured;
        let attachment = Attachment {
            asker: request,
            changes: change.changes.clone(),
            before,
            noted: before,
            look_at: None,
            until: None,
            done_by: None,
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
        // What led to the configuration in force has to be known, too.
        let settled = is_settled(&status) && attachment.noted == status.configured;
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
#[path = "attaching_tests.rs"]
mod tests;
