//! A cluster of one replica, whose disk takes no time.

use std::collections::BTreeMap;

use raft_core::replica::{
    Applied, Output, Replica, ReplicatedRequest, RequestError, Sequence, Serde, Serial, SessionId,
    StateMachine, decode_reply, encode_reply,
};
use raft_core::{
    Action, Boot, Bytes, ClusterId, Configuration, Entry, EntryId, Event, GroupId, Identity, Input,
    Member, NodeId, Options, Persist, RequestId, Restored, Span, StorageId, TermRuns, Time,
};

/// Remembers every command in order: what was repeated shows.
#[derive(Debug, Default)]
pub(crate) struct Journal(pub(crate) Vec<u64>);

impl StateMachine for Journal {
    type Command = Serde<u64>;
    type Query = ();
    type Reply = Vec<u64>;

    /// The place in the journal, and something of a length that depends on the command.
    fn apply(&mut self, entry: Applied<Serde<u64>>) -> Vec<u64> {
        let value = entry.command.0;
        self.0.push(value);
        let mut reply = vec![self.0.len() as u64];
        reply.resize(1 + (value % 5) as usize, value);
        reply
    }

    fn query(&self, (): &()) -> Vec<u64> {
        self.0.clone()
    }

    fn encode_reply(reply: &Vec<u64>) -> Option<Bytes> {
        Some(encode_reply(reply))
    }

    fn decode_reply(bytes: &Bytes) -> Option<Vec<u64>> {
        decode_reply(bytes)
    }

    type Image = Serde<Vec<u64>>;

    fn image(&self) -> Serde<Vec<u64>> {
        Serde(self.0.clone())
    }

    fn restore(&mut self, image: Serde<Vec<u64>>) {
        self.0 = image.0;
    }
}

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Reply(Vec<u64>),
    Registered(SessionId),
    Error(RequestError),
}

pub(crate) struct Alone {
    pub(crate) replica: Replica<Journal>,
    pub(crate) now: Time,
    options: Options,
    boot: u64,
    pub(crate) log: Vec<Entry>,
    /// Writes that are not durable yet, while the disk is stalled.
    stalled: Option<Vec<Persist>>,
    asked: u64,
    answers: BTreeMap<RequestId, Answer>,
}

fn restored(boot: u64, log: &[Entry]) -> Restored {
    let (node, store) = (NodeId(1), StorageId(1));
    let member = Member { node, store };
    let identity = Identity {
        group: GroupId(0),
        cluster: ClusterId(1),
        member,
    };
    let mut restored = Restored::new(identity, Configuration::of_voters([member]));
    restored.boot = Boot(boot);
    restored.terms = TermRuns::new(EntryId::ZERO);
    for entry in log {
        restored.terms.append(entry.id);
    }
    restored.hard_state.term = restored.terms.last().term;
    restored.tail = log.to_vec();
    restored
}

impl Alone {
    /// It leads already.
    pub(crate) fn new(options: Options) -> Self {
        let replica = Replica::new(Time(1), options, restored(1, &[]), Journal::default());
        let mut alone = Self {
            replica: replica.unwrap(),
            now: Time(1),
            options,
            boot: 1,
            log: Vec::new(),
            stalled: None,
            asked: 0,
            answers: BTreeMap::new(),
        };
        alone.input(Input::Campaign);
        alone
    }

    /// The process begins anew, from its log.
    pub(crate) fn restart(&mut self) {
        self.boot += 1;
        let restored = restored(self.boot, &self.log);
        let replica = Replica::new(self.now, self.options, restored, Journal::default());
        self.replica = replica.unwrap();
        self.input(Input::Campaign);
    }

    pub(crate) fn input(&mut self, input: Input) {
        let at = self.now;
        self.replica.handle(Event { at, input });
        self.settle();
    }

    fn settle(&mut self) {
        let mut outputs = Vec::new();
        loop {
            self.replica.drain(&mut outputs);
            if outputs.is_empty() {
                return;
            }
            for output in outputs.drain(..) {
                match output {
                    Output::Action(Action::Persist(persist)) => match &mut self.stalled {
                        Some(waiting) => waiting.push(persist),
                        None => self.persist(&persist),
                    },
                    Output::Reply { request, result } => {
                        let answer = result.map_or_else(Answer::Error, Answer::Reply);
                        assert_eq!(self.answers.insert(request, answer), None);
                    }
                    Output::Registered { request, session } => {
                        let answer = Answer::Registered(session);
                        assert_eq!(self.answers.insert(request, answer), None);
                    }
                    Output::Action(_)
                    | Output::Done { .. }
                    | Output::TakeSnapshot { .. }
                    | Output::RestoreSnapshot { .. }
                    | Output::Snapshot { .. }
                    | Output::ReadChunk(_)
                    | Output::BeginReceive { .. }
                    | Output::WriteChunk { .. }
                    | Output::FinishReceive { .. }
                    | Output::RetainSnapshots { .. } => {}
                }
            }
        }
    }

    fn persist(&mut self, persist: &Persist) {
        self.log.extend(persist.entries.iter().cloned());
        let (store, boot, id) = (persist.store, persist.boot, persist.id);
        let (at, input) = (self.now, Input::Persisted { store, boot, id });
        self.replica.handle(Event { at, input });
    }

    /// Nothing becomes durable from now on.
    pub(crate) fn stall(&mut self) {
        self.stalled = Some(Vec::new());
    }

    /// The disk does what it was asked to meanwhile.
    pub(crate) fn go_on(&mut self) {
        for persist in self.stalled.take().unwrap() {
            self.persist(&persist);
        }
        self.settle();
    }

    fn ask(&mut self) -> RequestId {
        self.asked += 1;
        RequestId(self.asked)
    }

    pub(crate) fn register(&mut self) -> SessionId {
        let request = self.ask();
        self.replica.register(self.now, request);
        self.settle();
        match self.answers.remove(&request) {
            Some(Answer::Registered(session)) => session,
            other => panic!("no session: {other:?}"),
        }
    }

    /// A request that goes straight to the node, as if another replica had asked it.
    pub(crate) fn ask_raw(&mut self, command: Bytes) -> Option<Answer> {
        let request = self.ask();
        self.input(Input::Propose { request, command });
        self.answers.remove(&request)
    }

    pub(crate) fn propose(&mut self, value: u64) -> Option<Answer> {
        let request = self.ask();
        self.replica.propose(self.now, request, &Serde(value));
        self.settle();
        self.answers.remove(&request)
    }

    pub(crate) fn propose_in(&mut self, serial: Serial, value: u64) -> Option<Answer> {
        let request = self.ask();
        self.replica
            .propose_in(self.now, request, serial, &Serde(value));
        self.settle();
        self.answers.remove(&request)
    }

    /// Time passes, as a leader said.
    pub(crate) fn elapse(&mut self, span: u64, session_timeout: u64) -> EntryId {
        let request = ReplicatedRequest::Elapsed {
            span: Span(span),
            session_timeout: Span(session_timeout),
        };
        match self.ask_raw(request.encode()) {
            Some(Answer::Error(RequestError::ReplyLost(id))) => id,
            other => panic!("time did not pass: {other:?}"),
        }
    }

    /// Time passes here, and the replica's timer goes off whenever it is to.
    pub(crate) fn run_for(&mut self, span: Span) {
        let end = self.now + span;
        while let Some(due) = self.replica.next_deadline()
            && due <= end
        {
            self.now = self.now.max(due);
            self.input(Input::Tick);
            let next = self.replica.next_deadline();
            assert!(next > Some(self.now), "a timer is not due again at once");
        }
        self.now = end;
    }
}

pub(crate) const fn serial(session: SessionId, sequence: u64, lowest: u64) -> Serial {
    Serial {
        session,
        sequence: Sequence(sequence),
        lowest: Sequence(lowest),
    }
}
