//! Is there an order of one key's operations that explains what all of them saw? Wing and Gong's
//! search (1993) without recursion and with a memory of what was tried (Lowe 2016).
//!
//! Beyond Lowe, the search looks only for orders of a *normal form*, which exist if any order does:
//!
//! 1. *What only observes comes as early as it can.* Moving such an operation to an earlier moment at
//!    which the key held the same changes nothing for the others. So it is never a choice.
//! 2. *Nothing of unknown outcome is in vain.* Take an order with as few of them as possible. Then
//!    none leaves the value as it is, none is followed at once by a write, and none comes last:
//!    without it the others would see the same. For the same reason none appends so that no seen
//!    value begins with the result, unless a failed comparison may have seen merely that the value
//!    *differs*: up to the next write nothing but appends can follow it.
//! 3. *Of equal operations of unknown outcome the earlier invoked comes first.* Neither ever returned,
//!    so they can change places.
//!
//! 1 and 3 keep the number that 2 made smallest, so all hold together. What may follow depends only on
//! what is done, the state, and whether the last was of unknown outcome: that is what is remembered.
//! The rules look no further back, so they hold as well for what follows.
//!
//! Always holds: the value follows from the operations on the stack, in their order.

use std::collections::BTreeMap;

use super::budget::Budget;
use super::events::{Done, Event, Events};
use super::memory::{Memory, Position};
use super::model::{ModelKind, State, States, Step};
use super::operation::{Call, Value};

/// One operation, as far as the order is concerned.
#[derive(Clone, Copy, Debug)]
pub(super) struct Item<'a> {
    /// Its place in the caller's list.
    pub(super) source: usize,
    pub(super) call: &'a Call,
    pub(super) invoked: u64,
    /// `None` if it may take effect or not.
    pub(super) returned: Option<u64>,
}

/// What a search found.
#[derive(Debug)]
pub(super) enum Outcome {
    Linearizable,
    Refuted(Refuted),
    /// The budget ended first.
    Undecided,
}

/// Why there is no order.
#[derive(Clone, Debug)]
pub(super) struct Refuted {
    /// The most operations that can be ordered; sources.
    pub(super) order: Vec<usize>,
    /// Completed operations of which one must come next, and none can; sources.
    pub(super) refused: Vec<usize>,
    /// Operations of unknown outcome that could come next, and help nobody; sources.
    pub(super) useless: Vec<usize>,
    /// What happened up to this time has no order, whatever was to come.
    pub(super) stuck: u64,
}

/// Searches the orders of `items`, all of one key, that start with `initial`.
pub(super) fn search(
    items: &[Item<'_>],
    initial: &Value,
    model: ModelKind,
    budget: &mut Budget<'_>,
) -> Outcome {
    Search::new(items, initial, model).run(budget)
}

struct Required<'a> {
    step: Step<'a>,
    source: usize,
}

struct Optional<'a> {
    step: Step<'a>,
    source: usize,
    invoked: u64,
    /// The latest of those before that do the same.
    twin: Option<usize>,
}

#[derive(Clone, Copy)]
enum Choice {
    Required(usize),
    Optional(usize),
}

/// Where to look for the next choice.
#[derive(Clone, Copy)]
enum Cursor {
    Place(usize),
    Optional(usize),
}

struct Frame {
    choice: Choice,
    /// Rule 1 left no choice.
    forced: bool,
    state_before: State,
    after_optional_before: bool,
}

struct Search<'a> {
    states: States<'a>,
    required: Vec<Required<'a>>,
    optional: Vec<Optional<'a>>,
    failed_cas: bool,
    events: Events,
    required_done: Done,
    optional_done: Done,
    state: State,
    after_optional: bool,
    stack: Vec<Frame>,
    memory: Memory,
    best: Option<Refuted>,
    best_done: usize,
    done: usize,
}

impl<'a> Search<'a> {
    fn new(items: &[Item<'a>], initial: &'a Value, model: ModelKind) -> Self {
        let mut items: Vec<Item<'a>> = items.to_vec();
        // An observation without an outcome is none.
        items.retain(|item| item.returned.is_some() || !item.call.only_observes());
        // In this order the done ones are mostly the first ones.
        items.sort_by_key(|item| (item.returned.is_none(), item.invoked));
        let calls = || items.iter().map(|item| item.call);
        let states = States::new(model, calls());
        let (mut required, mut times, mut optional) = (Vec::new(), Vec::new(), Vec::new());
        let mut twins = BTreeMap::new();
        for item in &items {
            let (step, source) = (states.step(item.call), item.source);
            if let Some(returned) = item.returned {
                required.push(Required { step, source });
                times.push((item.invoked, returned));
            } else {
                optional.push(Optional {
                    step,
                    source,
                    invoked: item.invoked,
                    twin: twins.insert(step, optional.len()),
                });
            }
        }
        Self {
            state: states.state(initial),
            states,
            events: Events::new(&times),
            required_done: Done::new(required.len()),
            optional_done: Done::new(optional.len()),
            required,
            optional,
            failed_cas: calls().any(Call::is_failed_cas),
            after_optional: false,
            stack: Vec::new(),
            memory: Memory::default(),
            best: None,
            best_done: 0,
            done: 0,
        }
    }

    fn run(mut self, budget: &mut Budget<'_>) -> Outcome {
        self.observe(budget);
        let mut cursor = Cursor::Place(self.events.first());
        while self.done < self.required.len() {
            if budget.is_spent() {
                return Outcome::Undecided;
            }
            if let Some((choice, state)) = self.choose(cursor, budget) {
                self.push(choice, state, false);
                self.observe(budget);
                if self.is_new(budget) {
                    cursor = Cursor::Place(self.events.first());
                    continue;
                }
            } else {
                self.remember_dead_end();
            }
            match self.back() {
                Some(after) => cursor = after,
                None => break,
            }
        }
        if self.done == self.required.len() {
            return Outcome::Linearizable;
        }
        Outcome::Refuted(self.best.expect("a search that ends has met a dead end"))
    }

    /// Takes whatever only observes and can come next (rule 1).
    fn observe(&mut self, budget: &mut Budget<'_>) {
        let mut place = self.events.first();
        while let Event::Invoked(operation) = self.events.event(place) {
            budget.spend(1);
            let step = self.required[operation].step;
            if step.only_observes() && self.states.apply(step, self.state).is_some() {
                place = self.events.next_without(operation);
                self.push(Choice::Required(operation), self.state, true);
            } else {
                place = self.events.next(place);
            }
        }
    }

    /// The next operation that can take effect, from `cursor` on, and the state after it.
    fn choose(&self, cursor: Cursor, budget: &mut Budget<'_>) -> Option<(Choice, State)> {
        let first_optional = match cursor {
            Cursor::Optional(place) => place,
            Cursor::Place(mut place) => {
                while let Event::Invoked(operation) = self.events.event(place) {
                    let step = self.required[operation].step;
                    budget.spend(step.cost());
                    if !(self.after_optional && step.is_write())
                        && let Some(state) = self.states.apply(step, self.state)
                    {
                        return Some((Choice::Required(operation), state));
                    }
                    place = self.events.next(place);
                }
                0
            }
        };
        if first_optional >= self.optional.len() {
            return None;
        }
        let (window, returned) = self.events.window();
        for place in first_optional..self.optional.len() {
            let Optional { step, invoked, .. } = self.optional[place];
            if returned.is_none_or(|returned| invoked > returned) {
                break;
            }
            budget.spend(step.cost());
            if let Some(state) = self.try_optional(place) {
                budget.spend(window.len() as u64);
                if self.is_needed(place, state, &window) {
                    return Some((Choice::Optional(place), state));
                }
            }
        }
        None
    }

    /// The state after an operation of unknown outcome, if that is of normal form so far.
    fn try_optional(&self, place: usize) -> Option<State> {
        let Optional { step, twin, .. } = self.optional[place];
        if self.optional_done.contains(place)
            || twin.is_some_and(|twin| !self.optional_done.contains(twin))
            || (self.after_optional && step.is_write())
        {
            return None;
        }
        let state = self.states.apply(step, self.state)?;
        let in_vain = match step {
            Step::Append(_) => !self.failed_cas && state == State::UnseenText,
            Step::Read(_) | Step::Write(_) | Step::Cas { .. } | Step::FailedCas(_) => false,
        };
        (state != self.state && !in_vain).then_some(state)
    }

    /// Whether something can follow the optional operation at `place` directly that is no write.
    fn is_needed(&self, place: usize, state: State, window: &[usize]) -> bool {
        let follows = |step: Step<'_>| !step.is_write() && self.states.apply(step, state).is_some();
        window
            .iter()
            .any(|operation| follows(self.required[*operation].step))
            || self.optional.iter().enumerate().any(|(other, optional)| {
                other != place && !self.optional_done.contains(other) && follows(optional.step)
            })
    }

    fn push(&mut self, choice: Choice, state: State, forced: bool) {
        self.stack.push(Frame {
            choice,
            forced,
            state_before: self.state,
            after_optional_before: self.after_optional,
        });
        self.state = state;
        match choice {
            Choice::Required(operation) => {
                self.events.take_out(operation);
                self.required_done.insert(operation);
                self.done += 1;
                self.after_optional = false;
            }
            Choice::Optional(place) => {
                self.optional_done.insert(place);
                self.after_optional = true;
            }
        }
    }

    /// Undoes the latest choice; where to look for another, unless there was none.
    fn back(&mut self) -> Option<Cursor> {
        while let Some(frame) = self.stack.pop() {
            self.state = frame.state_before;
            self.after_optional = frame.after_optional_before;
            let after = match frame.choice {
                Choice::Required(operation) => {
                    self.events.put_back(operation);
                    self.required_done.remove(operation);
                    self.done -= 1;
                    Cursor::Place(self.events.after_invocation(operation))
                }
                Choice::Optional(place) => {
                    self.optional_done.remove(place);
                    Cursor::Optional(place + 1)
                }
            };
            if !frame.forced {
                return Some(after);
            }
        }
        None
    }

    /// Whether it was not tried yet to go on from here.
    fn is_new(&mut self, budget: &mut Budget<'_>) -> bool {
        let (full_words, words) = self.required_done.compact();
        let position = Position {
            state: self.state,
            after_optional: self.after_optional,
            full_words,
            words: words.into(),
        };
        self.memory
            .is_new(position, self.optional_done.words(), budget)
    }

    /// Keeps the longest order, and how far into the history any came.
    fn remember_dead_end(&mut self) {
        let (window, returned) = self.events.window();
        let stuck = returned.expect("at a dead end something has not returned");
        let stuck = self
            .best
            .as_ref()
            .map_or(stuck, |best| best.stuck.max(stuck));
        if let Some(best) = &mut self.best
            && self.best_done >= self.done
        {
            best.stuck = stuck;
            return;
        }
        self.best_done = self.done;
        let open = |place: &usize| {
            !self.optional_done.contains(*place)
                && returned.is_some_and(|returned| self.optional[*place].invoked <= returned)
        };
        self.best = Some(Refuted {
            order: self.stack.iter().map(|frame| self.source(frame)).collect(),
            refused: window
                .into_iter()
                .map(|operation| self.required[operation].source)
                .collect(),
            useless: (0..self.optional.len())
                .filter(open)
                .map(|place| self.optional[place].source)
                .collect(),
            stuck,
        });
    }

    fn source(&self, frame: &Frame) -> usize {
        match frame.choice {
            Choice::Required(operation) => self.required[operation].source,
            Choice::Optional(place) => self.optional[place].source,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Outcome, search};
    use crate::history::budget::Budget;
    use crate::history::model::apply;
    use crate::history::naive::{self, Drawn};
    use crate::history::operation::Value;
    use quickcheck::quickcheck;

    fn agrees(drawn: &[Drawn], text: bool) -> bool {
        let operations = naive::operations(drawn, text);
        let items = naive::items(&operations, u64::MAX);
        let mut never = || false;
        let mut budget = Budget::new(&mut never);
        budget.allow(u64::MAX);
        let expected = naive::is_linearizable(&items, &Value::Null);
        match search(&items, &Value::Null, naive::model(text), &mut budget) {
            Outcome::Linearizable => expected,
            Outcome::Refuted(refuted) => {
                // Already what happened up to there has no order.
                let before = naive::items(&operations, refuted.stuck);
                let stuck = !naive::is_linearizable(&before, &Value::Null);
                // The order that was found is one, and nothing that must come next can.
                let mut value = Value::Null;
                let ordered = refuted
                    .order
                    .iter()
                    .all(|source| apply(&operations[*source].call, &mut value));
                let refused = refuted
                    .refused
                    .iter()
                    .all(|source| !apply(&operations[*source].call, &mut value.clone()));
                !expected && stuck && ordered && refused
            }
            Outcome::Undecided => false,
        }
    }

    quickcheck! {
        fn a_register_is_judged_as_by_trying_every_order(drawn: Vec<Drawn>) -> bool {
            agrees(&drawn, false)
        }

        fn a_string_is_judged_as_by_trying_every_order(drawn: Vec<Drawn>) -> bool {
            agrees(&drawn, true)
        }
    }
}
