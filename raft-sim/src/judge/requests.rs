//! What clients asked and were told: exactly once, never falsely refused, linearizable.
//!
//! The log is the witness: an operation's place in it, or the place a read was answered at, is the
//! moment it took effect. That makes linearizability a matter of comparing two numbers, and of asking a
//! reference machine that executes the committed log once and never crashes.
//!
//! Always holds: the reference is never ahead of a read that may still be answered, so that every answer
//! is compared with the state of its very index.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use raft_core::replica::{Applied, RequestError, StateMachine};
use raft_core::{EntryId, Index, NodeId, Term, Time};

use super::invariant::Invariant;
use super::sessions::Deed;
use crate::machine::{Machine, OpId, Witnessed};

/// A machine that only the judge feeds.
pub(crate) type Reference<S> = Box<
    dyn StateMachine<
            Command = <S as StateMachine>::Command,
            Query = <S as StateMachine>::Query,
            Reply = <S as StateMachine>::Reply,
        >,
>;

/// A broken rule, before it is known whose.
pub(super) type Broken = (Invariant, String);

#[derive(Debug)]
enum Call<C, Q> {
    Write {
        /// Taken out when the reference executes it.
        command: Option<C>,
        committed: Option<Index>,
        /// In a session: what it repeats, which is committed there.
        repeats: Option<OpId>,
    },
    Read(Q),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    /// Not answered yet.
    Open,
    /// Answered.
    Done,
    /// Certainly without effect.
    Refused,
    /// Nobody knows, or will say: its node died.
    Unknown,
}

struct Request<S: StateMachine> {
    node: NodeId,
    asked: Time,
    call: Call<S::Command, S::Query>,
    /// The last place at which something had taken effect when this was asked.
    floor: Index,
    /// Of a read that rests on a lease: the last place at which something was committed by then, whether or not
    /// anybody knew.
    lease: Option<Index>,
    ending: Ending,
}

/// A committed entry, as far as clients care.
struct Fact<R> {
    term: Term,
    op: Option<OpId>,
    /// What this repeats, if that is why it has no operation.
    repeats: Option<OpId>,
    /// What the first machine that executed it answered.
    reply: Option<R>,
}

/// Everything clients did, as long as it can still matter.
pub(super) struct Requests<S: Machine> {
    requests: BTreeMap<OpId, Request<S>>,
    /// The facts above `base`.
    facts: VecDeque<Fact<S::Reply>>,
    base: Index,
    /// No operation that begins now may take effect at or before this place.
    floor: Index,
    /// The last operation that is committed, and is no repetition.
    effective: Index,
    reference: Reference<S>,
    /// The last entry in the reference.
    executed: Index,
    /// The last one of those that had a command: what a machine's state is named by.
    commanded: Index,
    /// Reads without an answer, by the place below which they cannot be answered.
    open_reads: BTreeSet<(Index, OpId)>,
    /// Answers to compare when the reference gets there.
    answers: BTreeMap<Index, Vec<(OpId, S::Reply)>>,
    /// Requests that were refused, or are unknown, oldest first.
    watched: VecDeque<OpId>,
    pub(super) acknowledged: u64,
    /// Those of them that changed something.
    pub(super) written: u64,
}

/// So many requests without effect so far are watched; later ones push out the oldest.
const WATCHED_MAX: usize = 1 << 16;

impl<S: Machine> Requests<S> {
    pub(super) fn new(reference: Reference<S>) -> Self {
        Self {
            requests: BTreeMap::new(),
            facts: VecDeque::new(),
            base: Index(0),
            floor: Index(0),
            effective: Index(0),
            reference,
            executed: Index(0),
            commanded: Index(0),
            open_reads: BTreeSet::new(),
            answers: BTreeMap::new(),
            watched: VecDeque::new(),
            acknowledged: 0,
            written: 0,
        }
    }

    pub(super) fn proposed(&mut self, op: OpId, node: NodeId, asked: Time, command: S::Command) {
        let call = Call::Write {
            command: Some(command),
            committed: None,
            repeats: None,
        };
        self.asked(op, node, asked, call);
    }

    pub(super) fn queried(&mut self, op: OpId, node: NodeId, asked: Time, query: S::Query) {
        self.open_reads.insert((self.floor, op));
        self.asked(op, node, asked, Call::Read(query));
    }

    fn asked(&mut self, op: OpId, node: NodeId, asked: Time, call: Call<S::Command, S::Query>) {
        let request = Request {
            node,
            asked,
            call,
            floor: self.floor,
            lease: None,
            ending: Ending::Open,
        };
        self.requests.insert(op, request);
    }

    /// A read that was just asked may be answered by a leader that asks nobody.
    pub(super) fn rests_on_a_lease(&mut self, op: OpId) {
        let effective = self.effective;
        if let Some(request) = self.requests.get_mut(&op) {
            request.lease = Some(effective);
        }
    }

    /// The next entry is committed, and this is what it does.
    pub(super) fn committed(&mut self, term: Term, deed: Deed) -> Result<(), Broken> {
        let (op, repeats) = match deed {
            Deed::Nothing => (None, None),
            Deed::Executes(op) => (Some(op), None),
            Deed::Repeats { first, .. } => (None, Some(first)),
        };
        let reply = None;
        self.facts.push_back(Fact {
            term,
            op,
            repeats,
            reply,
        });
        if let Deed::Repeats { op, first, at } = deed {
            return self.repeated(op, first, at);
        }
        let index = Index(self.base.0 + self.facts.len() as u64);
        let Some(op) = op else {
            return Ok(());
        };
        self.effective = index;
        let Some(request) = self.requests.get_mut(&op) else {
            return Ok(());
        };
        if let Call::Write { committed, .. } = &mut request.call {
            if let Some(before) = committed {
                let text =
                    format!("request {op} is committed twice: as entry {before} and {index}");
                return Err((Invariant::I16, text));
            }
            *committed = Some(index);
        }
        if request.ending == Ending::Refused {
            let text = format!("request {op} was refused, and is committed as entry {index}");
            return Err((Invariant::I17, text));
        }
        Ok(())
    }

    /// A request is committed that another one of its session has made needless: its answer is that one's.
    fn repeated(&mut self, op: OpId, first: OpId, at: Index) -> Result<(), Broken> {
        let Some(request) = self.requests.get_mut(&op) else {
            return Ok(());
        };
        if let Call::Write {
            committed, repeats, ..
        } = &mut request.call
        {
            *committed = Some(at);
            *repeats = Some(first);
        }
        if request.ending == Ending::Refused {
            let text = format!("request {op} was refused, and is committed");
            return Err((Invariant::I17, text));
        }
        Ok(())
    }

    fn fact_mut(&mut self, index: Index) -> Option<&mut Fact<S::Reply>> {
        let place = usize::try_from(index.0.checked_sub(self.base.0 + 1)?).ok()?;
        self.facts.get_mut(place)
    }

    /// A node has executed an operation.
    pub(super) fn executed(
        &mut self,
        index: Index,
        op: OpId,
        reply: &S::Reply,
    ) -> Result<(), Broken> {
        if index <= self.base {
            return Ok(());
        }
        let Some(fact) = self.fact_mut(index) else {
            let text = format!("request {op} is executed at {index}, which is not committed");
            return Err((Invariant::I7, text));
        };
        if fact.op != Some(op) {
            if let Some(first) = fact.repeats {
                let text = format!(
                    "request {op} is executed at {index}, where it only repeats request {first}"
                );
                return Err((Invariant::I16, text));
            }
            let text = match fact.op {
                Some(other) => format!(
                    "request {op} is executed at {index}, where request {other} is committed"
                ),
                None => {
                    format!("request {op} is executed at {index}, where no request is committed")
                }
            };
            return Err((Invariant::I7, text));
        }
        match &fact.reply {
            None => fact.reply = Some(reply.clone()),
            Some(known) if known == reply => {}
            Some(known) => {
                let text = format!(
                    "the state machines diverge at entry {index}: the same command is answered with \
                     {reply:?}, and was answered with {known:?} before"
                );
                return Err((Invariant::I19, text));
            }
        }
        Ok(())
    }

    /// A client got its answer.
    pub(super) fn answered(
        &mut self,
        op: OpId,
        result: &Result<Witnessed<S::Reply>, RequestError>,
    ) -> Result<(), Broken> {
        let Some(request) = self.requests.get_mut(&op) else {
            return Ok(());
        };
        if request.ending != Ending::Open {
            let text = format!("request {op} has a second outcome: {result:?}");
            return Err((Invariant::I16, text));
        }
        let floor = request.floor;
        let is_read = matches!(request.call, Call::Read(_));
        if is_read {
            self.open_reads.remove(&(floor, op));
        }
        match result {
            Ok(witnessed) if is_read => self.read_answered(op, floor, witnessed),
            Ok(witnessed) => {
                let reply = witnessed.reply.clone();
                self.write_answered(op, floor, witnessed.at, Some(reply))
            }
            Err(RequestError::ReplyLost(id)) => self.write_answered(op, floor, id.index, None),
            Err(
                RequestError::Rejected(_)
                | RequestError::Superseded(_)
                | RequestError::SessionExpired
                | RequestError::SequencePassed { .. }
                | RequestError::WindowFull { .. },
            ) => self.refused(op),
            Err(RequestError::Unknown | RequestError::Undecodable) => {
                request.ending = Ending::Unknown;
                self.forget_if_settled(op);
                self.watch(op);
                Ok(())
            }
        }
    }

    fn write_answered(
        &mut self,
        op: OpId,
        floor: Index,
        at: Index,
        reply: Option<S::Reply>,
    ) -> Result<(), Broken> {
        let Some(request) = self.requests.get_mut(&op) else {
            return Ok(());
        };
        request.ending = Ending::Done;
        let Call::Write {
            committed, repeats, ..
        } = request.call
        else {
            return Ok(());
        };
        if committed != Some(at) {
            let text = match committed {
                Some(other) => {
                    format!("request {op} is acknowledged at {at}, and committed as entry {other}")
                }
                None => format!("request {op} is acknowledged at {at}, and not committed"),
            };
            return Err((Invariant::I12, text));
        }
        // What is sent again took effect when it was asked for the first time, or later.
        if at <= floor && repeats.is_none() {
            let text = format!(
                "request {op} takes effect at {at}, but something at {floor} was acknowledged before \
                 it was asked"
            );
            return Err((Invariant::I15, text));
        }
        if let Some(reply) = reply {
            self.executed(at, repeats.unwrap_or(op), &reply)?;
        }
        self.acknowledged += 1;
        self.written += u64::from(repeats.is_none());
        self.floor = self.floor.max(at);
        match repeats {
            // Its own entry says nothing of it.
            Some(_) => drop(self.requests.remove(&op)),
            None => self.forget_if_settled(op),
        }
        Ok(())
    }

    fn read_answered(
        &mut self,
        op: OpId,
        floor: Index,
        witnessed: &Witnessed<S::Reply>,
    ) -> Result<(), Broken> {
        let at = witnessed.at;
        let mut lease = None;
        if let Some(request) = self.requests.get_mut(&op) {
            request.ending = Ending::Done;
            lease = request.lease;
        }
        // Before what clients were told: that nobody was told yet excuses no leader that others replaced.
        if let Some(effective) = lease
            && at < effective
        {
            let text = format!(
                "read {op} rests on a lease and is answered from entry {at}, but entry {effective} was \
                 committed before it was asked"
            );
            return Err((Invariant::I18, text));
        }
        if at < floor {
            let text = format!(
                "read {op} is answered from entry {at}, but something at {floor} was acknowledged \
                 before it was asked"
            );
            return Err((Invariant::I15, text));
        }
        let answers = self.answers.entry(at).or_default();
        answers.push((op, witnessed.reply.clone()));
        self.acknowledged += 1;
        self.floor = self.floor.max(at);
        Ok(())
    }

    fn refused(&mut self, op: OpId) -> Result<(), Broken> {
        let Some(request) = self.requests.get_mut(&op) else {
            return Ok(());
        };
        request.ending = Ending::Refused;
        match request.call {
            Call::Write {
                committed: Some(index),
                ..
            } => {
                let text = format!("request {op} is refused, but committed as entry {index}");
                Err((Invariant::I17, text))
            }
            Call::Write { .. } => {
                self.watch(op);
                Ok(())
            }
            Call::Read(_) => {
                self.requests.remove(&op);
                Ok(())
            }
        }
    }

    /// A request that may still turn up in the log is remembered, but only so many are.
    fn watch(&mut self, op: OpId) {
        self.watched.push_back(op);
        if self.watched.len() > WATCHED_MAX
            && let Some(oldest) = self.watched.pop_front()
        {
            self.requests.remove(&oldest);
        }
    }

    /// A request that nothing more can happen to is forgotten.
    fn forget_if_settled(&mut self, op: OpId) {
        let settled = self.requests.get(&op).is_some_and(|request| {
            request.ending != Ending::Open
                && match request.call {
                    Call::Write { committed, .. } => committed.is_some_and(|at| at <= self.base),
                    Call::Read(_) => request.ending == Ending::Unknown,
                }
        });
        if settled {
            self.requests.remove(&op);
        }
    }

    /// A node is gone, and with it whoever waited for its answers.
    pub(super) fn node_died(&mut self, node: NodeId) {
        let open = |request: &Request<S>| request.node == node && request.ending == Ending::Open;
        let lost: Vec<OpId> = self
            .requests
            .iter()
            .filter_map(|(op, request)| open(request).then_some(*op))
            .collect();
        for op in lost {
            if let Some(request) = self.requests.get_mut(&op) {
                request.ending = Ending::Unknown;
                let floor = request.floor;
                self.open_reads.remove(&(floor, op));
            }
            self.forget_if_settled(op);
            self.watch(op);
        }
    }

    /// Lets the reference execute what no open read can still be answered before, and compares.
    pub(super) fn advance(&mut self) -> Result<(), Broken> {
        let committed = Index(self.base.0 + self.facts.len() as u64);
        let limit = self
            .open_reads
            .first()
            .map_or(committed, |(floor, _)| *floor);
        let limit = limit.min(committed);
        loop {
            self.compare_answers()?;
            if self.executed >= limit {
                return Ok(());
            }
            self.execute_next()?;
        }
    }

    fn compare_answers(&mut self) -> Result<(), Broken> {
        while let Some(entry) = self.answers.first_entry()
            && *entry.key() <= self.executed
        {
            let at = *entry.key();
            for (op, reply) in entry.remove() {
                let Some(request) = self.requests.remove(&op) else {
                    continue;
                };
                let Call::Read(query) = request.call else {
                    continue;
                };
                let expected = self.reference.query(&query);
                if at == self.commanded && expected != reply {
                    let text = format!(
                        "read {op} ({query:?}) is answered from entry {at} with {reply:?}; after \
                         that entry the answer is {expected:?}"
                    );
                    return Err((Invariant::I15, text));
                }
            }
        }
        Ok(())
    }

    fn execute_next(&mut self) -> Result<(), Broken> {
        let index = self.executed.next();
        self.executed = index;
        let Some(fact) = self.fact_mut(index) else {
            return Ok(());
        };
        let (term, Some(op)) = (fact.term, fact.op) else {
            return Ok(());
        };
        let Some(request) = self.requests.get_mut(&op) else {
            return Ok(());
        };
        let Call::Write { command, .. } = &mut request.call else {
            return Ok(());
        };
        let Some(command) = command.take() else {
            return Ok(());
        };
        let id = EntryId { term, index };
        self.commanded = index;
        let reply = self.reference.apply(Applied { id, command });
        self.executed(index, op, &reply)
    }

    /// Nothing at or below this place is asked about any more.
    pub(super) fn forget_below(&mut self, index: Index) {
        let index = index.min(self.executed);
        while self.base < index
            && let Some(fact) = self.facts.pop_front()
        {
            self.base = self.base.next();
            if let Some(op) = fact.op {
                self.forget_if_settled(op);
            }
        }
    }

    /// Requests without an outcome: which, asked of whom, and when.
    pub(super) fn open(&self) -> impl Iterator<Item = (OpId, NodeId, Time)> {
        let open = self.requests.iter();
        let open = open.filter(|(_, request)| request.ending == Ending::Open);
        open.map(|(op, request)| (*op, request.node, request.asked))
    }

    /// How much is remembered: for the test that this stays flat.
    pub(super) fn len(&self) -> usize {
        self.requests.len() + self.facts.len() + self.answers.len()
    }
}

#[cfg(test)]
mod tests {
    use raft_core::{Index, NodeId, Term, Time};

    use super::{Deed, Invariant, Requests, Witnessed};
    use crate::registers::Registers;

    /// Two commands are committed, the second without anybody knowing; then somebody asks, and is answered from
    /// the first.
    fn answered_from_the_first(rests_on_a_lease: bool) -> Option<Invariant> {
        let mut requests = Requests::<Registers>::new(Box::new(Registers::default()));
        for op in 1..=2 {
            let command = "a=5".parse().unwrap();
            requests.proposed(op, NodeId(1), Time(1), command);
            requests.committed(Term(op), Deed::Executes(op)).unwrap();
        }
        requests.queried(3, NodeId(1), Time(2), "a".parse().unwrap());
        if rests_on_a_lease {
            requests.rests_on_a_lease(3);
        }
        let (at, reply) = (Index(1), Some(5));
        let answered = requests.answered(3, &Ok(Witnessed { at, reply }));
        answered.err().map(|(invariant, _)| invariant)
    }

    /// By its round a read may be as old as what was acknowledged; a lease is the claim that there is no newer
    /// leader.
    #[test]
    fn a_lease_read_that_leaves_out_what_a_newer_leader_committed_breaks_i18() {
        assert_eq!(answered_from_the_first(true), Some(Invariant::I18));
        assert_eq!(answered_from_the_first(false), None);
    }
}
