//! Several nodes whose messages, clocks and disks are played by the test: everything that can happen at once
//! does, unless a link is cut.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use raft_core::{
    Action, Alert, Body, Bytes, ClusterId, Configuration, Envelope, Event, GroupId, Identity,
    Input, MemberChange, MembershipChange, Node, NodeId, Options, Outcome, RequestId, Restored,
    RoleKind, Span, StorageId, Time,
};

use super::subject::member;

pub(crate) struct Group {
    pub(crate) nodes: BTreeMap<u64, Node>,
    pub(crate) now: Time,
    pub(crate) outcomes: BTreeMap<u64, Outcome>,
    pub(crate) alerts: Vec<(u64, Alert)>,
    /// Nodes that hear nobody and are heard by nobody.
    pub(crate) cut: BTreeSet<u64>,
    /// Messages that are lost, if this says so.
    pub(crate) lose: fn(&Envelope) -> bool,
    /// Everything that was sent.
    pub(crate) sent: Vec<Envelope>,
    options: Options,
    requests: u64,
}

pub(crate) fn identity(node: u64) -> Identity {
    Identity {
        group: GroupId(0),
        cluster: ClusterId(1),
        member: member(node),
    }
}

impl Group {
    /// A cluster of the nodes from 1 on, with node 1 leading it.
    pub(crate) fn led(voters: u64) -> Self {
        Self::led_with(voters, Options::default())
    }

    pub(crate) fn led_with(voters: u64, options: Options) -> Self {
        let mut group = Self {
            nodes: BTreeMap::new(),
            now: Time(1_000_000_000),
            outcomes: BTreeMap::new(),
            alerts: Vec::new(),
            cut: BTreeSet::new(),
            lose: |_| false,
            sent: Vec::new(),
            options,
            requests: 0,
        };
        let configuration = Configuration::of_voters((1..=voters).map(member));
        for node in 1..=voters {
            group.add(node, configuration.clone());
        }
        group.lead(1);
        group
    }

    /// A node that runs, with a log that begins with this configuration.
    pub(crate) fn add(&mut self, node: u64, configuration: Configuration) {
        let restored = Restored::new(identity(node), configuration);
        let made = Node::new(self.now, self.options, restored).unwrap();
        self.nodes.insert(node, made);
    }

    /// A node that has the beginning of everybody's log, and is no member.
    pub(crate) fn add_outsider(&mut self, node: u64) {
        self.add(node, Configuration::default());
    }

    pub(crate) fn lead(&mut self, node: u64) {
        self.input(node, Input::Campaign);
        assert_eq!(self.role(node), RoleKind::Leader);
    }

    pub(crate) fn role(&self, node: u64) -> RoleKind {
        self.nodes[&node].status().role
    }

    pub(crate) fn leader(&self) -> Option<u64> {
        let leaders = self
            .nodes
            .iter()
            .filter(|(_, node)| node.status().role == RoleKind::Leader);
        leaders
            .max_by_key(|(_, node)| node.status().term)
            .map(|(id, _)| *id)
    }

    pub(crate) fn configuration(&self, node: u64) -> Configuration {
        self.nodes[&node].status().configuration.clone()
    }

    pub(crate) fn voters(&self, node: u64) -> Vec<u64> {
        ids(&self.configuration(node).voters)
    }

    pub(crate) fn learners(&self, node: u64) -> Vec<u64> {
        ids(&self.configuration(node).learners)
    }

    /// Hands in one input and lets everything happen that follows from it.
    pub(crate) fn input(&mut self, node: u64, input: Input) {
        let mut queue = VecDeque::from([(node, input)]);
        while let Some((to, input)) = queue.pop_front() {
            let at = self.now;
            let Some(found) = self.nodes.get_mut(&to) else {
                continue;
            };
            let actions = found.step(Event { at, input });
            for action in actions {
                self.act(to, action, &mut queue);
            }
        }
    }

    fn act(&mut self, node: u64, action: Action, queue: &mut VecDeque<(u64, Input)>) {
        match action {
            Action::Send(envelope) => {
                self.sent.push(*envelope.clone());
                let to = envelope.to.node.0;
                let lost = self.cut.contains(&node) || self.cut.contains(&to);
                if !lost && !(self.lose)(&envelope) {
                    queue.push_back((to, Input::Receive(envelope)));
                }
            }
            Action::Persist(persist) => {
                let done = Input::Persisted {
                    store: persist.store,
                    boot: persist.boot,
                    id: persist.id,
                };
                queue.push_back((node, done));
            }
            Action::Apply { entries } => {
                let index = entries.last().unwrap().id.index;
                queue.push_back((node, Input::Applied { index }));
            }
            Action::Resolve { request, outcome } => {
                let before = self.outcomes.insert(request.0, outcome);
                assert_eq!(before, None, "a request has one outcome");
            }
            Action::Wipe { store } => queue.push_back((node, Input::Wiped { store })),
            Action::Alert(alert) => self.alerts.push((node, alert)),
            _ => {}
        }
    }

    /// Time passes, in small steps, and every timer that ends is attended to.
    pub(crate) fn pass(&mut self, span: Span) {
        let end = Time(self.now.0 + span.0);
        loop {
            let due = self
                .nodes
                .iter()
                .filter_map(|(id, node)| node.next_deadline().map(|due| (due, *id)));
            match due.min() {
                Some((due, node)) if due <= end => {
                    self.now = self.now.max(due);
                    self.input(node, Input::Tick);
                }
                Some(_) | None => break,
            }
        }
        self.now = end;
    }

    pub(crate) fn propose(&mut self, node: u64) -> u64 {
        self.requests += 1;
        self.input(
            node,
            Input::Propose {
                request: RequestId(self.requests),
                command: Bytes::from_static(b"x"),
            },
        );
        self.requests
    }

    pub(crate) fn change(&mut self, node: u64, change: MembershipChange) -> u64 {
        self.requests += 1;
        let request = RequestId(self.requests);
        self.input(node, Input::ChangeMembership { request, change });
        self.requests
    }

    pub(crate) fn changes(&mut self, node: u64, changes: &[MemberChange]) -> u64 {
        self.change(node, MembershipChange::new(changes.iter().cloned()))
    }

    pub(crate) fn transfer(&mut self, node: u64, to: Option<u64>) -> u64 {
        self.requests += 1;
        let (request, to) = (RequestId(self.requests), to.map(NodeId));
        self.input(node, Input::TransferLeadership { request, to });
        self.requests
    }

    pub(crate) fn step_down(&mut self, node: u64) -> u64 {
        self.requests += 1;
        let request = RequestId(self.requests);
        self.input(node, Input::StepDown { request });
        self.requests
    }

    pub(crate) fn solo(&mut self, node: u64, expect: u128) -> u64 {
        self.requests += 1;
        self.input(
            node,
            Input::Solo {
                request: RequestId(self.requests),
                expect: ClusterId(expect),
                cluster: ClusterId(2),
                store: StorageId(900 + u128::from(node)),
            },
        );
        self.requests
    }

    pub(crate) fn reset(&mut self, node: u64) -> u64 {
        self.requests += 1;
        let request = RequestId(self.requests);
        let store = StorageId(900 + u128::from(node));
        self.input(node, Input::Reset { request, store });
        self.requests
    }

    pub(crate) fn outcome(&self, request: u64) -> Option<Outcome> {
        self.outcomes.get(&request).copied()
    }

    pub(crate) fn was_sent(&self, which: impl Fn(&Body) -> bool) -> usize {
        self.sent
            .iter()
            .filter(|envelope| which(&envelope.body))
            .count()
    }
}

fn ids(members: &raft_core::Members) -> Vec<u64> {
    members.iter().map(|member| member.node.0).collect()
}

pub(crate) fn add_voter(node: u64) -> MemberChange {
    MemberChange::AddVoter {
        member: member(node),
        address: format!("host{node}:1"),
    }
}

pub(crate) fn add_learner(node: u64) -> MemberChange {
    MemberChange::AddLearner {
        member: member(node),
        address: format!("host{node}:1"),
    }
}

pub(crate) fn remove(node: u64) -> MemberChange {
    MemberChange::Remove { node: NodeId(node) }
}
