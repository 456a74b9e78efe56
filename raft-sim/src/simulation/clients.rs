//! Clients that hold sessions (dissertation §6.3): they number their commands, and send one again, to any
//! node, for as long as they have heard no answer to it.
//!
//! Always holds: what a client does is decided by the seed, by a request's number and by what it heard.

use std::collections::BTreeMap;

use raft_core::replica::{ClientSession, Sequence, Serial, StateMachine};
use raft_core::{NodeId, RequestId, Span};

use super::agenda::Act;
use super::run::{Run, request};
use crate::machine::{Machine, OpId};
use crate::workload::{Draw, Request, Workload};
use crate::world::{Cluster, Heard, Repeat};

/// What is asked again is numbered from here on, above all requests of a plan.
const AGAIN: OpId = 1 << 40;
/// The streams of chance from which clients draw, one for each number.
const CHANCE: u64 = 1 << 48;
/// How often a command is sent; then its client does not want it any more.
const ATTEMPTS_MAX: u32 = 6;

/// Everybody who may hold a session.
#[derive(Debug)]
pub(super) struct Clients {
    seed: u64,
    clients: Vec<Client>,
    /// Commands without an answer, by their first number.
    open: BTreeMap<OpId, Open>,
    /// Which command was sent under which number.
    sent: BTreeMap<OpId, OpId>,
    last: OpId,
    pub(super) counts: ClientCounts,
}

/// What became of sessions, as numbers.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ClientCounts {
    /// Commands that were sent once more.
    pub(super) repeats: u64,
    /// Sessions that ended before their clients.
    pub(super) ended: u64,
}

#[derive(Clone, Debug, Default)]
struct Client {
    /// The request for a session that was made last.
    registers: Option<OpId>,
    /// The session that it began.
    account: Option<ClientSession>,
}

#[derive(Debug)]
struct Open {
    client: usize,
    sequence: Sequence,
    sent_as: Vec<OpId>,
}

impl Clients {
    pub(super) fn new(seed: u64, clients: u64) -> Self {
        let clients = usize::try_from(clients).unwrap_or(0);
        Self {
            seed,
            clients: vec![Client::default(); clients],
            open: BTreeMap::new(),
            sent: BTreeMap::new(),
            last: AGAIN,
            counts: ClientCounts::default(),
        }
    }

    /// Whose a command is; nobody's, if it is one of those that are sent once.
    fn client_of(&self, op: OpId) -> Option<usize> {
        let clients = self.clients.len() as u64;
        if clients == 0 {
            return None;
        }
        let drawn = self.draw(op).below(2 * clients);
        usize::try_from(drawn).ok().filter(|_| drawn < clients)
    }

    fn draw(&self, op: OpId) -> Draw {
        Draw::new(self.seed, CHANCE | op)
    }

    fn next(&mut self) -> OpId {
        self.last += 1;
        self.last
    }

    /// A number for one more command, in the client's session if it has one.
    fn begin<S: Machine>(&mut self, op: OpId, client: usize, cluster: &Cluster<S>) -> bool {
        let holder = &mut self.clients[client];
        if holder.account.is_none() {
            let session = holder
                .registers
                .and_then(|asked| cluster.session(RequestId(asked)));
            holder.account = session.map(ClientSession::new);
        }
        let serial = holder.account.as_mut().and_then(ClientSession::begin);
        let Some(Serial { sequence, .. }) = serial else {
            return false;
        };
        let open = Open {
            client,
            sequence,
            sent_as: Vec::new(),
        };
        self.open.insert(op, open);
        true
    }

    /// What a command is sent as this time; nothing, if its client has given it up.
    fn attempt(&mut self, first: OpId) -> Option<(OpId, Repeat)> {
        let open = self.open.get(&first)?;
        if open.sent_as.len() >= ATTEMPTS_MAX as usize {
            self.close(first);
            return None;
        }
        let number = if open.sent_as.is_empty() {
            first
        } else {
            self.counts.repeats += 1;
            self.next()
        };
        let open = self.open.get_mut(&first)?;
        let client = &self.clients[open.client];
        let serial = client.account.as_ref()?.again(open.sequence)?;
        open.sent_as.push(number);
        let repeat = Repeat {
            command: first,
            registers: client.registers?,
            sequence: serial.sequence,
            lowest: serial.lowest,
        };
        self.sent.insert(number, first);
        Some((number, repeat))
    }

    /// A command has its answer, or is given up.
    fn close(&mut self, first: OpId) {
        let Some(open) = self.open.remove(&first) else {
            return;
        };
        for number in open.sent_as {
            self.sent.remove(&number);
        }
        if let Some(account) = &mut self.clients[open.client].account {
            account.answered(open.sequence);
        }
    }

    /// A session has ended: what was open in it is of no use any more.
    fn expire(&mut self, client: usize) {
        let of_client = self.open.iter().filter(|(_, open)| open.client == client);
        for first in of_client.map(|(first, _)| *first).collect::<Vec<_>>() {
            self.close(first);
        }
        self.counts.ended += 1;
        self.clients[client] = Client::default();
    }

    /// A client hears what became of what it sent; some answers are lost on their way to it.
    fn hear(&mut self, op: OpId, heard: Heard) {
        let Some(first) = self.sent.get(&op).copied() else {
            return;
        };
        let lost = self.draw(op).percent(30);
        match heard {
            Heard::Nothing => {}
            Heard::Answer if lost => {}
            Heard::Answer => self.close(first),
            Heard::SessionEnded => {
                if let Some(client) = self.open.get(&first).map(|open| open.client) {
                    self.expire(client);
                }
            }
        }
    }
}

type Command<W> = <<W as Workload>::Machine as StateMachine>::Command;

impl<W: Workload> Run<'_, W> {
    /// Asks in a session if the command's client has one, and as any other if it does not.
    pub(super) fn propose(&mut self, node: NodeId, op: OpId, command: Command<W>) {
        let client = self.clients.client_of(op);
        if client.is_some_and(|client| self.clients.begin(op, client, &self.cluster)) {
            self.send(node, op, command);
            return;
        }
        if let Some(client) = client {
            self.register(node, op, client);
        }
        self.cluster.propose_as(op, node, command);
    }

    /// A client without a session asks for one; again, now and then, if it hears nothing.
    fn register(&mut self, node: NodeId, op: OpId, client: usize) {
        let holder = &self.clients.clients[client];
        let patient = holder.registers.is_some() && !self.clients.draw(op).percent(20);
        if holder.account.is_some() || patient {
            return;
        }
        let number = self.clients.next();
        self.clients.clients[client].registers = Some(number);
        self.cluster.register_as(number, node);
    }

    fn send(&mut self, node: NodeId, first: OpId, command: Command<W>) {
        let Some((number, repeat)) = self.clients.attempt(first) else {
            return;
        };
        self.cluster.propose_again(number, node, repeat, command);
        let patience = self.plan.options.request_timeout.0;
        let waits = [1_000_000, 30_000_000, patience / 2, 2 * patience];
        let wait = Span(self.clients.draw(number).pick(&waits));
        let at = self.cluster.now() + wait;
        self.agenda.insert(at, Act::Again(first));
    }

    /// A client that has heard nothing sends its command again, to whichever node.
    pub(super) fn send_again(&mut self, first: OpId) {
        let Some(open) = self.clients.open.get(&first) else {
            return;
        };
        let last = open.sent_as.last().copied().unwrap_or(first);
        let mut draw = self.clients.draw(last);
        let node = NodeId(draw.number() % self.plan.servers() + 1);
        if self.cluster.is_running(node) && !self.cluster.is_paused(node) {
            if let Request::Command(command) = request(self.workload, self.plan.seed, first) {
                self.send(node, first, command);
            }
        } else {
            // Nobody there: the next one is asked soon.
            let at = self.cluster.now() + self.plan.options.election_timeout;
            self.agenda.insert(at, Act::Again(first));
        }
    }

    /// Clients hear what was answered.
    pub(super) fn hear(&mut self) {
        for (op, heard) in self.cluster.take_heard() {
            self.clients.hear(op, heard);
        }
    }
}
