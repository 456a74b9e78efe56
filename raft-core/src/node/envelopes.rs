//! What a node sends, in envelopes that came with what it received.

use alloc::boxed::Box;

use crate::action::Action;
use crate::message::{Body, Envelope, Session};
use crate::types::{Identity, Member};

use super::leader::SPARE_MAX;
use super::{Node, Role};

impl Node {
    pub(super) fn envelope(&mut self, to: Member, session: Session, body: Body) -> Box<Envelope> {
        self.envelope_here(to, session, body)
    }

    /// The same, where it is worth it that nothing is called.
    #[inline(always)]
    pub(super) fn envelope_here(
        &mut self,
        to: Member,
        session: Session,
        body: Body,
    ) -> Box<Envelope> {
        let from = Identity {
            cluster: self.cluster(),
            ..self.identity
        };
        let (boot, term) = (self.boot, self.hard_state.term);
        let spare = self.spare.take().or_else(|| match &mut self.role {
            Role::Leader(leader) => leader.spare.pop(),
            Role::Follower(_) | Role::PreCandidate(_) | Role::Candidate(_) => None,
        });
        if let Some(mut spare) = spare {
            // Field by field, so that nothing is put together elsewhere first.
            spare.from = from;
            spare.boot = boot;
            spare.to = to;
            spare.term = term;
            spare.session = session;
            if matches!(spare.body, Body::StaleTerm) {
                // Nothing to drop, as nearly always.
                core::mem::forget(core::mem::replace(&mut spare.body, body));
            } else {
                spare.body = body;
            }
            return spare;
        }
        Box::new(Envelope {
            from,
            boot,
            to,
            term,
            session,
            body,
        })
    }

    /// What was received makes room for what is said next.
    pub(super) fn reuse(&mut self, mut envelope: Box<Envelope>) {
        envelope.body = Body::StaleTerm;
        self.keep(envelope);
    }

    /// The same, of one whose body was taken out.
    #[inline(always)]
    pub(super) fn keep(&mut self, envelope: Box<Envelope>) {
        match (&self.spare, &mut self.role) {
            (None, _) => self.spare = Some(envelope),
            (Some(_), Role::Leader(leader)) if leader.spare.len() < SPARE_MAX => {
                leader.spare.push(envelope);
            }
            (
                Some(_),
                Role::Follower(_) | Role::PreCandidate(_) | Role::Candidate(_) | Role::Leader(_),
            ) => {}
        }
    }

    pub(super) fn send(&mut self, to: Member, session: Session, body: Body) {
        let envelope = self.envelope(to, session, body);
        self.outbox.push(Action::Send(envelope));
    }

    /// Sends once the present term and vote are durable.
    pub(super) fn send_when_durable(&mut self, to: Member, session: Session, body: Body) {
        let envelope = self.envelope(to, session, body);
        if let Some(envelope) = self.persistence.withhold(envelope) {
            self.outbox.push(Action::Send(envelope));
        }
    }
}
