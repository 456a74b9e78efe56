//! The configuration in force, as the log says it (dissertation §4.1).
//!
//! Always holds: a configuration counts from the moment its entry is appended to the moment it is
//! truncated, committed or not (S25).

use alloc::sync::Arc;

use crate::action::{Action, Observation};
use crate::configuration::{Configuration, Configurations};
use crate::message::Session;
use crate::progress::Progress;
use crate::types::{EntryId, Index};

use super::{Node, Role};

impl Node {
    /// A configuration entry was appended.
    pub(super) fn configuration_appended(
        &mut self,
        id: EntryId,
        configuration: Arc<Configuration>,
    ) {
        self.configurations.append(id, configuration);
        self.configuration_changed();
    }

    /// Entries from `from` on were truncated.
    pub(super) fn configurations_truncated(&mut self, from: Index) {
        if self.configurations.truncate(from) {
            self.configuration_changed();
        }
    }

    /// The log was replaced: whatever was said of the membership before counts no more (S60).
    pub(super) fn configurations_replaced(&mut self, configurations: Configurations) {
        self.configurations = configurations;
        self.configuration_changed();
    }

    fn configuration_changed(&mut self) {
        let configuration = self.configuration().clone();
        self.boots
            .retain(|member, _| configuration.contains(*member));
        self.refresh_peers();
        self.outbox
            .push(Action::Observed(Observation::Configuration {
                id: self.configurations.latest_id(),
                configuration,
            }));
    }

    /// A leader keeps progress of exactly the other members of the latest configuration.
    pub(super) fn refresh_peers(&mut self) {
        let me = self.me();
        let added = self.configurations.latest_index();
        let configuration = self.configurations.latest().clone();
        let (now, term) = (self.now, self.hard_state.term);
        let next = self.log.last().index.next();
        let Role::Leader(leader) = &mut self.role else {
            return;
        };
        leader
            .peers
            .retain(|member, _| configuration.contains(*member));
        for member in configuration.members() {
            if member == me || leader.peers.contains_key(&member) {
                continue;
            }
            // A member that was removed and added again gets another session, so that late answers
            // to its first life are seen as such.
            let session = Session {
                term,
                added,
                counter: 0,
            };
            leader
                .peers
                .insert(member, Progress::new(session, next, now));
        }
    }
}
