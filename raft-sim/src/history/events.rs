//! What the search keeps about completed operations: what is left of the history, and which are done.
//!
//! Always holds: taking out and putting back are inverse, if done in opposite order.

/// The invocations and returns of all completed operations by time, from which operations are taken
/// out and put back (the "linked list" of Lowe, *Testing for linearizability*, 2016).
#[derive(Debug)]
pub(super) struct Events {
    /// Place 0 is both ends; an operation's places are in `places`.
    links: Vec<Link>,
    places: Vec<(usize, usize)>,
}

#[derive(Clone, Copy, Debug)]
struct Link {
    event: Event,
    next: usize,
    previous: usize,
}

/// What happened at a place of [`Events`].
#[derive(Clone, Copy, Debug)]
pub(super) enum Event {
    /// Nothing is left.
    End,
    /// This operation was invoked.
    Invoked(usize),
    /// One of the operations returned, at this time.
    Returned(u64),
}

impl Events {
    /// From invocation and return times.
    pub(super) fn new(times: &[(u64, u64)]) -> Self {
        // At equal times invocations come first: such operations are concurrent.
        let mut events: Vec<(u64, bool, usize)> = Vec::with_capacity(times.len() * 2);
        for (operation, (invoked, returned)) in times.iter().enumerate() {
            events.push((*invoked, false, operation));
            events.push((*returned, true, operation));
        }
        events.sort_unstable();
        let mut links = vec![Link {
            event: Event::End,
            next: 1,
            previous: events.len(),
        }];
        let mut places = vec![(0, 0); times.len()];
        for (time, is_return, operation) in events {
            let place = links.len();
            let event = if is_return {
                places[operation].1 = place;
                Event::Returned(time)
            } else {
                places[operation].0 = place;
                Event::Invoked(operation)
            };
            links.push(Link {
                event,
                next: place + 1,
                previous: place - 1,
            });
        }
        let last = links.len() - 1;
        links[last].next = 0;
        Self { links, places }
    }

    /// The first place that is left; 0 if none is.
    pub(super) fn first(&self) -> usize {
        self.links[0].next
    }

    pub(super) fn event(&self, place: usize) -> Event {
        self.links[place].event
    }

    pub(super) fn next(&self, place: usize) -> usize {
        self.links[place].next
    }

    /// The place that follows the invocation of `operation`, which is left.
    pub(super) fn after_invocation(&self, operation: usize) -> usize {
        self.next(self.places[operation].0)
    }

    /// The same, were `operation` taken out.
    pub(super) fn next_without(&self, operation: usize) -> usize {
        let next = self.after_invocation(operation);
        if next == self.places[operation].1 {
            self.next(next)
        } else {
            next
        }
    }

    pub(super) fn take_out(&mut self, operation: usize) {
        let (invoked, returned) = self.places[operation];
        for place in [invoked, returned] {
            let Link { next, previous, .. } = self.links[place];
            self.links[previous].next = next;
            self.links[next].previous = previous;
        }
    }

    /// Undoes the latest `take_out` that was not undone.
    pub(super) fn put_back(&mut self, operation: usize) {
        let (invoked, returned) = self.places[operation];
        for place in [returned, invoked] {
            let Link { next, previous, .. } = self.links[place];
            self.links[previous].next = place;
            self.links[next].previous = place;
        }
    }

    /// The operations that were invoked before the first return that is left, and when that was.
    pub(super) fn window(&self) -> (Vec<usize>, Option<u64>) {
        let mut operations = Vec::new();
        let mut place = self.first();
        loop {
            match self.event(place) {
                Event::Invoked(operation) => operations.push(operation),
                Event::Returned(time) => return (operations, Some(time)),
                Event::End => return (operations, None),
            }
            place = self.next(place);
        }
    }
}

/// A set of operations, most of which are the first ones.
#[derive(Debug)]
pub(super) struct Done {
    words: Vec<u64>,
    /// Words before this are full.
    low: usize,
    /// Words from this on are empty.
    high: usize,
}

impl Done {
    /// None of `operations`.
    pub(super) fn new(operations: usize) -> Self {
        Self {
            words: vec![0; operations.div_ceil(64)],
            low: 0,
            high: 0,
        }
    }

    pub(super) fn insert(&mut self, operation: usize) {
        let word = operation / 64;
        self.words[word] |= 1 << (operation % 64);
        self.high = self.high.max(word + 1);
        while self.words.get(self.low) == Some(&u64::MAX) {
            self.low += 1;
        }
    }

    pub(super) fn remove(&mut self, operation: usize) {
        let word = operation / 64;
        self.words[word] &= !(1 << (operation % 64));
        self.low = self.low.min(word);
        while self.high > 0 && self.words[self.high - 1] == 0 {
            self.high -= 1;
        }
    }

    pub(super) fn contains(&self, operation: usize) -> bool {
        self.words[operation / 64] >> (operation % 64) & 1 == 1
    }

    /// All words up to the last that is not empty.
    pub(super) fn words(&self) -> &[u64] {
        &self.words[..self.high]
    }

    /// How many words are full, and those that follow up to the last that is not empty. Two sets of
    /// the same size are equal exactly if these are.
    pub(super) fn compact(&self) -> (usize, &[u64]) {
        (self.low, &self.words[self.low..self.high.max(self.low)])
    }
}

#[cfg(test)]
mod tests {
    use super::{Done, Event, Events};
    use quickcheck::quickcheck;
    use std::collections::BTreeSet;

    quickcheck! {
        fn a_set_of_operations_is_a_set(steps: Vec<(bool, u8)>) -> bool {
            let (mut set, mut done) = (BTreeSet::new(), Done::new(256));
            // Most of the low ones are in, so that words are full.
            for operation in (0..130).filter(|operation| operation % 40 != 7) {
                set.insert(operation);
                done.insert(operation);
            }
            for (insert, operation) in steps {
                let operation = usize::from(operation);
                if insert {
                    set.insert(operation);
                    done.insert(operation);
                } else {
                    set.remove(&operation);
                    done.remove(operation);
                }
                let mut fresh = Done::new(256);
                for operation in &set {
                    fresh.insert(*operation);
                }
                if done.compact() != fresh.compact() {
                    return false;
                }
            }
            (0..256).all(|operation| done.contains(operation) == set.contains(&operation))
        }
    }

    #[test]
    fn what_is_taken_out_is_put_back() {
        let mut events = Events::new(&[(1, 4), (2, 3), (4, 5), (5, 6)]);
        assert_eq!(events.window(), (vec![0, 1], Some(3)));
        events.take_out(1);
        assert_eq!(events.window(), (vec![0, 2], Some(4)));
        events.take_out(0);
        events.take_out(2);
        assert_eq!(events.window(), (vec![3], Some(6)));
        events.take_out(3);
        assert!(matches!(events.event(events.first()), Event::End));
        for operation in [3, 2, 0, 1] {
            events.put_back(operation);
        }
        assert_eq!(events.window(), (vec![0, 1], Some(3)));
    }
}
