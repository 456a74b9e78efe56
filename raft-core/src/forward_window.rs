//! Which numbered messages of one sender were seen, in constant memory.
//!
//! Always holds: no number is accepted twice. What is too old to remember is taken for seen.

/// How far back a late number is told from a repeated one.
const WINDOW: u64 = 128;

/// The numbers seen lately.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ForwardWindow {
    /// One past the greatest number seen.
    next: u64,
    /// Bit k stands for `next - 1 - k`.
    seen: u128,
}

impl ForwardWindow {
    /// Takes note of a number; true if it was not seen before.
    pub(crate) fn accept(&mut self, number: u64) -> bool {
        if number >= self.next {
            let ahead = number - self.next;
            self.seen = if ahead < WINDOW - 1 {
                (self.seen << (ahead + 1)) | 1
            } else {
                1
            };
            self.next = number.saturating_add(1);
            // The greatest number of all cannot be told from a repetition of itself.
            return number < u64::MAX;
        }
        let age = self.next - 1 - number;
        if age >= WINDOW || self.seen & (1 << age) != 0 {
            return false;
        }
        self.seen |= 1 << age;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::ForwardWindow;
    use alloc::collections::BTreeSet;
    use alloc::vec::Vec;
    use quickcheck::quickcheck;

    quickcheck! {
        fn no_number_is_accepted_twice_and_recent_ones_are_accepted_once(numbers: Vec<u16>) -> bool {
            let (mut window, mut seen, mut greatest) = (ForwardWindow::default(), BTreeSet::new(), 0);
            numbers.into_iter().map(|number| u64::from(number % 512)).all(|number| {
                let recent = number + super::WINDOW > greatest;
                let new = seen.insert(number);
                greatest = greatest.max(number);
                window.accept(number) == (new && recent)
            })
        }
    }
}
