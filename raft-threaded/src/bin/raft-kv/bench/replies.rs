//! Where each reply ends, and whether it is an error. Nothing else is kept of it.
//!
//! Always holds: memory does not grow with what a server sends; a length that it claims is only counted down.

/// How much of a line is kept; what is longer is a text, whose beginning says enough.
const LINE_BYTES_MAX: usize = 256;

/// How a request was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// With something.
    Done,
    /// With no value.
    Nothing,
    /// With an error; at most its first [`LINE_BYTES_MAX`] bytes.
    Error(String),
}

/// What answers speaks something else.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it answered {0:?}; does a server that speaks RESP listen there?")]
pub(super) struct Nonsense(String);

/// A reply in the middle of its arrival.
#[derive(Debug, Default)]
pub(super) struct Replies {
    /// What arrived of a line.
    line: Vec<u8>,
    /// What the reply is, once it has begun.
    outcome: Option<Outcome>,
    /// Values of the reply that are still to begin.
    values: u64,
    /// Bytes of a string that are still to come, with what ends it.
    skip: u64,
}

impl Replies {
    /// Takes the next reply that is complete off the front of what has arrived; `None` if all of it is taken.
    pub(super) fn next(&mut self, input: &mut &[u8]) -> Result<Option<Outcome>, Nonsense> {
        loop {
            let skipped = usize::try_from(self.skip).unwrap_or(usize::MAX);
            let skipped = skipped.min(input.len());
            *input = &input[skipped..];
            self.skip -= skipped as u64;
            if self.skip > 0 {
                return Ok(None);
            }
            if self.values == 0
                && let Some(outcome) = self.outcome.take()
            {
                return Ok(Some(outcome));
            }
            let Some(end) = input.iter().position(|byte| *byte == b'\n') else {
                self.keep(input);
                *input = &[];
                return Ok(None);
            };
            let (line, rest) = input.split_at(end);
            *input = &rest[1..];
            if self.line.is_empty() {
                self.begin(line)?;
            } else {
                self.keep(line);
                let line = core::mem::take(&mut self.line);
                self.begin(&line)?;
            }
        }
    }

    fn keep(&mut self, part: &[u8]) {
        let room = LINE_BYTES_MAX - self.line.len();
        self.line.extend_from_slice(&part[..part.len().min(room)]);
    }

    /// Begins a value: the reply itself, or one within it.
    fn begin(&mut self, line: &[u8]) -> Result<(), Nonsense> {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let text = || {
            let line = &line[..line.len().min(LINE_BYTES_MAX)];
            String::from_utf8_lossy(line).into_owned()
        };
        let length = || match &line[1..] {
            b"-1" => Some(None),
            digits => Some(Some(std::str::from_utf8(digits).ok()?.parse::<u64>().ok()?)),
        };
        let nonsense = || Nonsense(text());
        let (mut values, mut outcome) = (0, Outcome::Done);
        match line.first() {
            Some(b'+' | b':') => {}
            Some(b'-') => outcome = Outcome::Error(text().split_off(1)),
            Some(b'$') => match length().ok_or_else(nonsense)? {
                None => outcome = Outcome::Nothing,
                Some(bytes) => self.skip = bytes.saturating_add(2),
            },
            Some(b'*') => match length().ok_or_else(nonsense)? {
                None => outcome = Outcome::Nothing,
                Some(count) => values = count,
            },
            Some(_) | None => return Err(nonsense()),
        }
        if self.outcome.is_none() {
            self.outcome = Some(outcome);
        } else {
            self.values -= 1;
        }
        self.values = self.values.saturating_add(values);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quickcheck::quickcheck;

    fn all(mut input: &[u8]) -> Result<Vec<Outcome>, Nonsense> {
        let mut replies = Replies::default();
        std::iter::from_fn(|| replies.next(&mut input).transpose()).collect()
    }

    fn error(text: &str) -> Outcome {
        Outcome::Error(text.to_string())
    }

    const EVERY_KIND: &[u8] =
        b"+OK\r\n-NOTLEADER ask node 2\r\n:17\r\n$5\r\na\r\nb-\r\n$-1\r\n$0\r\n\r\n\
        *3\r\n$1\r\nx\r\n*2\r\n-ERR within\r\n*0\r\n:1\r\n*-1\r\n*0\r\n+PONG\r\n";

    #[test]
    fn each_reply_ends_where_it_should_and_only_its_own_error_counts() {
        use Outcome::{Done, Nothing};
        let refused = error("NOTLEADER ask node 2");
        let expected = [
            Done, refused, Done, Done, Nothing, Done, Done, Nothing, Done, Done,
        ];
        assert_eq!(all(EVERY_KIND).unwrap(), expected);
    }

    #[test]
    fn a_reply_that_has_not_ended_is_none_yet() {
        for begun in ["+OK", "$5\r\nabcde\r", "*2\r\n:1\r\n", "*1\r\n$3\r\nab"] {
            assert_eq!(all(begun.as_bytes()), Ok(Vec::new()), "{begun:?}");
        }
    }

    #[test]
    fn what_is_no_reply_is_shown() {
        let said = all(b"HTTP/1.1 400 Bad Request\r\n")
            .unwrap_err()
            .to_string();
        assert!(
            said.contains("it answered \"HTTP/1.1 400 Bad Request\""),
            "{said}"
        );
        for wrong in ["\r\n", "$x\r\n", "*-2\r\n", "$99999999999999999999\r\n"] {
            assert!(all(wrong.as_bytes()).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn of_a_long_error_only_the_beginning_is_kept_however_it_arrives() {
        let long = format!("-ERR {}\r\n+OK\r\n", "x".repeat(1_000_000));
        let kept = error(&format!("ERR {}", "x".repeat(LINE_BYTES_MAX - 5)));
        let expected = vec![kept, Outcome::Done];
        assert_eq!(all(long.as_bytes()).unwrap(), expected);
        let mut replies = Replies::default();
        let mut found = Vec::new();
        for mut piece in long.as_bytes().chunks(1_000) {
            while let Some(outcome) = replies.next(&mut piece).unwrap() {
                found.push(outcome);
            }
            assert!(replies.line.capacity() <= 2 * LINE_BYTES_MAX);
        }
        assert_eq!(found, expected);
    }

    quickcheck! {
        fn however_the_bytes_are_cut_the_replies_are_the_same(cuts: Vec<u8>) -> bool {
            let (mut replies, mut found, mut rest) = (Replies::default(), Vec::new(), EVERY_KIND);
            for cut in cuts.iter().map(|cut| usize::from(*cut % 16)).chain([usize::MAX]) {
                let (mut now, later) = rest.split_at(cut.min(rest.len()));
                rest = later;
                while let Some(outcome) = replies.next(&mut now).unwrap() {
                    found.push(outcome);
                }
            }
            found == all(EVERY_KIND).unwrap()
        }

        fn no_bytes_make_it_panic_or_hang(input: Vec<u8>) -> bool {
            let _ = all(&input);
            true
        }
    }
}
