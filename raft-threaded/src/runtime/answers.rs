//! What waits for an answer, by the request it waits for.
//!
//! Requests are numbered as they come, and most are answered in about that order, so those of late are found by their
//! place.

use std::collections::{BTreeMap, VecDeque};

use raft_core::RequestId;

/// Places for requests of late.
const PLACES: usize = 4_096;

/// Those who wait.
#[derive(Debug)]
pub(crate) struct Answers<W> {
    /// The request that has the first place.
    first: u64,
    /// The first one waits, or there is none.
    late: VecDeque<Option<W>>,
    /// Those that came so long ago that others have their places.
    early: BTreeMap<RequestId, W>,
}

impl<W> Default for Answers<W> {
    fn default() -> Self {
        Self {
            first: 0,
            late: VecDeque::new(),
            early: BTreeMap::new(),
        }
    }
}

impl<W> Answers<W> {
    /// Where a request's place is, if it has one or may get one.
    fn place(&self, request: RequestId) -> Option<usize> {
        let place = request.0.checked_sub(self.first)?;
        usize::try_from(place).ok()
    }

    /// Somebody waits for a request, which is a later one than any before.
    pub(crate) fn insert(&mut self, request: RequestId, waiter: W) {
        while self.place(request).is_some_and(|place| place >= PLACES) {
            match self.late.pop_front() {
                Some(Some(waiter)) => drop(self.early.insert(RequestId(self.first), waiter)),
                Some(None) => {}
                None => self.first = request.0 - 1,
            }
            self.first += 1;
        }
        self.late.extend(
            core::iter::repeat_with(|| None).take(
                self.place(request)
                    .unwrap_or(0)
                    .saturating_sub(self.late.len()),
            ),
        );
        assert!(
            self.place(request) == Some(self.late.len()),
            "requests are numbered as they come"
        );
        self.late.push_back(Some(waiter));
    }

    /// Who waits for a request, if anybody still does.
    pub(crate) fn remove(&mut self, request: RequestId) -> Option<W> {
        let Some(place) = self.place(request) else {
            return self.early.remove(&request);
        };
        let waiter = self.late.get_mut(place)?.take();
        while let Some(None) = self.late.front() {
            self.late.pop_front();
            self.first += 1;
        }
        waiter
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whatever is asked, a map would say the same.
    #[test]
    fn everybody_is_found_once_however_long_it_takes() {
        fn holds(steps: Vec<(u16, u16)>) -> bool {
            let (mut answers, mut map) = (Answers::default(), BTreeMap::new());
            let mut last = 0;
            steps.into_iter().all(|(skip, back)| {
                // Some numbers are given to requests that nobody here waits for.
                last += 1 + u64::from(skip) % 5_000;
                answers.insert(RequestId(last), last);
                map.insert(RequestId(last), last);
                let asked = RequestId(last.saturating_sub(u64::from(back) % 8_000));
                let newest = (back % 3 > 0).then_some(RequestId(last));
                [Some(asked), newest]
                    .into_iter()
                    .flatten()
                    .all(|request| answers.remove(request) == map.remove(&request))
            })
        }
        quickcheck::quickcheck(holds as fn(Vec<(u16, u16)>) -> bool);
    }

    #[test]
    fn a_request_that_is_never_answered_takes_no_places_from_those_that_are() {
        let mut answers = Answers::default();
        answers.insert(RequestId(1), 'a');
        for request in 2..100_000 {
            answers.insert(RequestId(request), 'b');
            assert_eq!(answers.remove(RequestId(request)), Some('b'));
            assert!(answers.late.len() <= PLACES);
        }
        assert_eq!(answers.remove(RequestId(1)), Some('a'));
        assert_eq!(answers.remove(RequestId(1)), None);
    }
}
