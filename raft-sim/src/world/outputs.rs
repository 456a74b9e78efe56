//! What a node asks for, and what is done about it.
//!
//! Always holds: all that one drain brings is judged before any of it has an effect.

use raft_core::replica::{Output, RequestError};
use raft_core::{Action, Alert, ClusterId, HaltReason, NodeId, Observation, Persist, RoleKind};

use super::mechanism::{ORDERS, World};
use super::server::LogJob;
use crate::judge::mix;
use crate::machine::{Machine, OpId, Watched, Witnessed, place};
use crate::trace::Happening;

impl<S: Machine> World<S> {
    /// Judges and carries out everything a node asks for.
    pub(crate) fn drain(&mut self, node: NodeId) {
        let mut outputs = core::mem::take(&mut self.outputs);
        if let Some(process) = self.process_mut(node) {
            process.replica.drain(&mut outputs);
            self.judge_outputs(node, &outputs);
        }
        if let Some(process) = self.process_mut(node) {
            process.inputs = 0;
        }
        for output in outputs.drain(..) {
            if self.is_time_to_die(node) {
                break;
            }
            // By far the most, and large: kept from being moved about.
            if let Output::Action(Action::Send(envelope)) = output {
                self.judge.sending(node, &envelope);
                self.counts.sent += 1;
                self.effects.sent.push(envelope);
            } else if !self.carry_out(node, output) {
                break;
            }
        }
        outputs.clear();
        self.outputs = outputs;
    }

    fn judge_outputs(&mut self, node: NodeId, outputs: &[Output<Watched<S>>]) {
        let place = place(node);
        let Some(process) = &self.servers[place].process else {
            return;
        };
        let status = process.replica.status();
        let judge = &mut self.judge;
        let mut leaving = self.leaving.get_mut(&node);
        let cluster = status.identity.cluster;
        if cluster != ClusterId::NONE && cluster != self.cluster && leaving.is_none() {
            judge.estrange(node);
        }
        // Who leads comes before what it writes as a leader.
        for output in outputs {
            if let Output::Action(Action::Observed(Observation::Role { term, role })) = output
                && *role == RoleKind::Leader
            {
                judge.became_leader(node, *term, &status);
            }
        }
        for output in outputs {
            if let Output::Action(Action::Persist(persist)) = output
                && !leaving
                    .as_mut()
                    .is_some_and(|leaving| leaving.keeps(persist))
            {
                judge.persisting(node, persist, Some(&status));
            }
        }
        let actions = outputs
            .iter()
            .filter(|output| matches!(output, Output::Action(_)));
        if leaving.is_none() {
            judge.observe(node, &status, process.inputs, actions.count());
        }
        self.effects.state = mix(
            status.term.0,
            status.commit_index.0 << 32 | status.last.index.0,
        );
        let executions = process.replica.machine().executions.take();
        for execution in &executions {
            judge.executed(node, execution);
            self.counts.executed += 1;
            self.last_executed = node;
        }
        if let Some(trace) = &mut self.trace {
            trace.observe(self.now, node, &status);
        }
    }

    /// Carries out one action; false if the process did not survive it.
    fn carry_out(&mut self, node: NodeId, output: Output<Watched<S>>) -> bool {
        match output {
            Output::Reply { request, result } if request.0 > ORDERS => {
                let refused = result.err().unwrap_or(RequestError::Undecodable);
                self.ordered(request, Err(refused));
            }
            Output::Reply { request, result } => self.answer(node, request.0, result),
            Output::Done { request, outcome } => self.ordered(request, Ok(outcome)),
            Output::Registered { request, session } => {
                // What another cluster calls a session may be somebody else's here.
                if !self.judge.is_stranger(node) {
                    self.effects.registered.push((request.0, session));
                }
            }
            Output::Action(Action::Persist(persist)) => self.persist(node, persist),
            Output::Action(Action::ReadLog(request)) => {
                if let Some(process) = self.process_mut(node) {
                    process.reads.push_back(request);
                }
            }
            Output::Action(Action::Observed(observation)) => self.observed(node, &observation),
            Output::Action(Action::Alert(alert)) => {
                self.counts.alerts += 1;
                if let Alert::Removed { .. } = alert {
                    self.removed.insert(node);
                }
                self.note(|| Happening::alert(node, &alert));
                // Only so many are worth keeping; the count says how many there were.
                if self.alerts.len() < 1_000 {
                    self.alerts.push((node, alert));
                }
            }
            Output::Action(Action::Halt(reason)) => {
                self.halt(node, reason);
                return false;
            }
            Output::Snapshot { request, result } => self.effects.snapshots.push((request, result)),
            output @ (Output::TakeSnapshot { .. }
            | Output::RestoreSnapshot { .. }
            | Output::ReadChunk(_)
            | Output::BeginReceive { .. }
            | Output::WriteChunk { .. }
            | Output::FinishReceive { .. }
            | Output::RetainSnapshots { .. }) => self.move_snapshot(node, output),
            Output::Action(Action::CompactLog(compact)) => {
                if let Some(process) = self.process_mut(node) {
                    process.lane_push(LogJob::Compact(compact));
                }
            }
            Output::Action(Action::Wipe { store }) => {
                if let Some(process) = self.process_mut(node) {
                    process.lane_push(LogJob::Wipe(store));
                }
            }
            Output::Action(_) => unreachable!("an action that the simulator does not know"),
        }
        true
    }

    fn is_time_to_die(&mut self, node: NodeId) -> bool {
        let Some(death) = &mut self.server_mut(node).death else {
            return false;
        };
        if death.actions > 0 {
            death.actions -= 1;
            return false;
        }
        let power = death.power;
        self.counts.dooms += 1;
        match power {
            None => self.kill(node),
            Some(pattern) => self.lose_power(node, pattern),
        }
        true
    }

    fn answer(
        &mut self,
        node: NodeId,
        op: OpId,
        result: Result<Witnessed<S::Reply>, RequestError>,
    ) {
        self.judge.answered(node, op, &result);
        self.note(|| Happening::answer(node, op, &result));
        if matches!(result, Err(RequestError::Rejected(_))) {
            self.counts.refused += 1;
        }
        let result = result.map(|witnessed| witnessed.reply);
        self.effects.replies.push((op, result));
    }

    fn persist(&mut self, node: NodeId, persist: Persist) {
        self.counts.persists += 1;
        self.note(|| Happening::log(node, &persist));
        if let Some(process) = self.process_mut(node) {
            process.lane_push(LogJob::Persist(persist));
        }
    }

    fn observed(&mut self, node: NodeId, observation: &Observation) {
        if let Observation::Role { term, role } = observation {
            if *role == RoleKind::Leader {
                self.counts.elections += 1;
            }
            self.note(|| Happening::Role {
                node,
                role: *role,
                term: *term,
            });
        }
    }

    fn halt(&mut self, node: NodeId, reason: HaltReason) {
        self.end(node, &format!("halted: {reason}"));
        self.server_mut(node).halted = Some(reason);
        self.counts.halts += 1;
    }
}
