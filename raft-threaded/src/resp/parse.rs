//! Requests, as they arrive in pieces.
//!
//! Always holds: a claimed length is checked before a byte is kept for it; what is too long is skipped,
//! not stored.

use core::ops::Range;

use bytes::{Buf, Bytes, BytesMut};

/// What a request may be at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one argument; a longer one is skipped and its command answered with an error.
    pub bulk_bytes_max: u64,
    /// Bytes of all arguments together; the same.
    pub request_bytes_max: u64,
    /// Arguments of one command; more end the connection.
    pub arguments_max: u64,
    /// Bytes of a line: an inline command, or a length.
    pub line_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            bulk_bytes_max: 8 << 20,
            request_bytes_max: 16 << 20,
            arguments_max: 65_536,
            line_bytes_max: 64 << 10,
        }
    }
}

/// Arguments for which memory is kept.
const ARGUMENTS_KEPT: usize = 16;
/// Digits of a length that is read at once.
const LENGTH_DIGITS: usize = 8;

/// The longest bulk string the protocol allows; Redis's own limit.
const PROTOCOL_BULK_MAX: u64 = 512 << 20;

/// A whole request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// A command with its arguments; the first is its name. Never empty.
    Command(Vec<Bytes>),
    /// A command that was skipped because something in it is too long.
    TooLong {
        /// How long.
        bytes: u64,
        /// The limit it exceeds.
        limit: u64,
    },
}

/// A stream that is not the protocol; the connection cannot go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// A length that is none, or none that can be.
    #[error("Protocol error: invalid {what} length '{found}'")]
    Length {
        /// Of what.
        what: &'static str,
        /// What stands there.
        found: String,
    },
    /// A bulk string was expected.
    #[error("Protocol error: expected '$', got '{found}'")]
    ExpectedBulk {
        /// What stands there.
        found: char,
    },
    /// A line without an end.
    #[error("Protocol error: too big inline request (the limit is {limit} bytes)")]
    Line {
        /// The limit.
        limit: usize,
    },
    /// A bulk string that does not end where it said.
    #[error("Protocol error: a bulk string is not followed by CRLF")]
    Unterminated,
}

/// A request in the middle of its arrival.
#[derive(Debug, Default)]
pub struct Parser {
    limits: Limits,
    arguments: Vec<Bytes>,
    /// Arguments still to come.
    expected: u64,
    /// The length of the argument that is arriving.
    bulk: Option<u64>,
    /// Bytes still to be skipped.
    skip: u64,
    /// Bytes of the arguments so far.
    bytes: u64,
    too_long: Option<(u64, u64)>,
    /// Where the arguments of a request that is whole lie.
    spans: Vec<Range<usize>>,
}

impl Parser {
    /// A parser with limits of its own.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            ..Self::default()
        }
    }

    /// How much has to have arrived before [`Parser::next`] can go on, in bytes; at most one argument.
    #[must_use]
    pub fn wanted(&self) -> usize {
        let length = self.bulk.map_or(0, |length| length.saturating_add(2));
        usize::try_from(length).unwrap_or(usize::MAX)
    }

    /// Takes the next whole request off the front of what has arrived; `None` if there is none yet.
    ///
    /// # Errors
    ///
    /// If the bytes are not the protocol.
    pub fn next(&mut self, input: &mut BytesMut) -> Result<Option<Request>, ParseError> {
        if let Some(request) = self.take_whole(input) {
            return Ok(Some(request));
        }
        loop {
            if self.skip > 0 {
                let skipped = usize::try_from(self.skip).unwrap_or(usize::MAX);
                let skipped = skipped.min(input.len());
                input.advance(skipped);
                self.skip -= skipped as u64;
                if self.skip > 0 {
                    return Ok(None);
                }
            } else if let Some(length) = self.bulk {
                if !self.take_bulk(length, input)? {
                    return Ok(None);
                }
            } else if self.expected > 0 {
                let Some(line) = self.take_line(input)? else {
                    return Ok(None);
                };
                self.begin_bulk(&line)?;
            } else if input.first() == Some(&b'*') {
                let Some(line) = self.take_line(input)? else {
                    return Ok(None);
                };
                self.expected = self.array_length(&line)?;
                continue;
            } else {
                let Some(line) = self.take_line(input)? else {
                    return Ok(None);
                };
                let words = line.split(|byte| byte.is_ascii_whitespace());
                let words = words.filter(|word| !word.is_empty());
                let arguments: Vec<Bytes> = words.map(Bytes::copy_from_slice).collect();
                if arguments.is_empty() {
                    continue;
                }
                return Ok(Some(Request::Command(arguments)));
            }
            if self.expected == 0 && self.bulk.is_none() && self.skip == 0 {
                return Ok(Some(self.finish()));
            }
        }
    }

    /// The next request at once, if all of it is there, nothing of it was taken, and it is as clients mostly send
    /// them; anything else is for those who take it piece by piece.
    fn take_whole(&mut self, input: &mut BytesMut) -> Option<Request> {
        let begun = self.expected > 0 || self.bulk.is_some() || self.skip > 0;
        if begun || input.first() != Some(&b'*') {
            return None;
        }
        let (count, at) = length_at(input, 1)?;
        if count == 0 || count as u64 > self.limits.arguments_max {
            return None;
        }
        let mut spans = core::mem::take(&mut self.spans);
        let end = self.find_whole(input, count, at, &mut spans);
        let request = end.map(|end| {
            let whole = input.split_to(end).freeze();
            let mut arguments = core::mem::take(&mut self.arguments);
            arguments.extend(spans.iter().map(|span| whole.slice(span.clone())));
            Request::Command(arguments)
        });
        // One command of many arguments does not keep its memory for as long as its connection lives.
        spans.clear();
        spans.shrink_to(ARGUMENTS_KEPT);
        self.spans = spans;
        request
    }

    /// Where `count` arguments lie that begin at `at`, and where they end, if all of them are there.
    fn find_whole(
        &self,
        input: &[u8],
        count: usize,
        mut at: usize,
        spans: &mut Vec<Range<usize>>,
    ) -> Option<usize> {
        let mut bytes = 0;
        for _ in 0..count {
            if input.get(at) != Some(&b'$') {
                return None;
            }
            let (length, start) = length_at(input, at + 1)?;
            bytes += length as u64;
            let fits = length as u64 <= self.limits.bulk_bytes_max
                && bytes <= self.limits.request_bytes_max;
            let end = start + length;
            if !fits || input.get(end..end + 2) != Some(b"\r\n") {
                return None;
            }
            spans.push(start..end);
            at = end + 2;
        }
        Some(at)
    }

    /// Takes back the memory of a command's arguments, for those of a later one.
    pub(crate) fn give_back(&mut self, mut arguments: Vec<Bytes>) {
        if self.arguments.capacity() == 0 && arguments.capacity() <= ARGUMENTS_KEPT {
            arguments.clear();
            self.arguments = arguments;
        }
    }

    fn finish(&mut self) -> Request {
        self.bytes = 0;
        let arguments = core::mem::take(&mut self.arguments);
        match self.too_long.take() {
            Some((bytes, limit)) => Request::TooLong { bytes, limit },
            None => Request::Command(arguments),
        }
    }

    /// Takes a line without its end.
    fn take_line(&self, input: &mut BytesMut) -> Result<Option<Bytes>, ParseError> {
        let limit = self.limits.line_bytes_max;
        let looked_at = &input[..input.len().min(limit)];
        let Some(end) = looked_at.iter().position(|byte| *byte == b'\n') else {
            if input.len() >= limit {
                return Err(ParseError::Line { limit });
            }
            return Ok(None);
        };
        let mut line = input.split_to(end + 1);
        line.truncate(end);
        if line.last() == Some(&b'\r') {
            line.truncate(end - 1);
        }
        Ok(Some(line.freeze()))
    }

    fn array_length(&self, line: &[u8]) -> Result<u64, ParseError> {
        // An empty or null array asks for nothing.
        match number(&line[1..]) {
            Some(length) if length <= 0 => Ok(0),
            Some(length) if length.unsigned_abs() <= self.limits.arguments_max => {
                Ok(length.unsigned_abs())
            }
            Some(_) | None => Err(length_error("multibulk", &line[1..])),
        }
    }

    fn begin_bulk(&mut self, line: &[u8]) -> Result<(), ParseError> {
        let Some((b'$', digits)) = line.split_first() else {
            let found = line.first().map_or(' ', |byte| char::from(*byte));
            return Err(ParseError::ExpectedBulk { found });
        };
        let length = number(digits).and_then(|length| u64::try_from(length).ok());
        let Some(length) = length.filter(|length| *length <= PROTOCOL_BULK_MAX) else {
            return Err(length_error("bulk", digits));
        };
        self.bytes += length;
        let limits = self.limits;
        if self.too_long.is_none() && length > limits.bulk_bytes_max {
            self.too_long = Some((length, limits.bulk_bytes_max));
        } else if self.too_long.is_none() && self.bytes > limits.request_bytes_max {
            self.too_long = Some((self.bytes, limits.request_bytes_max));
        }
        if self.too_long.is_some() {
            self.arguments.clear();
            self.skip = length + 2;
            self.expected -= 1;
        } else {
            self.bulk = Some(length);
        }
        Ok(())
    }

    fn take_bulk(&mut self, length: u64, input: &mut BytesMut) -> Result<bool, ParseError> {
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if input.len() < length + 2 {
            // Room for all of it at once, now that it is known to be allowed.
            input.reserve(length + 2 - input.len());
            return Ok(false);
        }
        let argument = input.split_to(length).freeze();
        if input[..2] != *b"\r\n" {
            return Err(ParseError::Unterminated);
        }
        input.advance(2);
        self.arguments.push(argument);
        self.bulk = None;
        self.expected -= 1;
        Ok(true)
    }
}

/// The length that a line from `at` on is, if it is a short one without a sign, and where the next line begins.
fn length_at(input: &[u8], at: usize) -> Option<(usize, usize)> {
    let mut length = 0;
    for (place, byte) in input.get(at..)?.iter().enumerate().take(LENGTH_DIGITS + 1) {
        match byte {
            b'0'..=b'9' if place < LENGTH_DIGITS => length = length * 10 + usize::from(byte - b'0'),
            b'\r' if place > 0 && input.get(at + place + 1) == Some(&b'\n') => {
                return Some((length, at + place + 2));
            }
            _ => return None,
        }
    }
    None
}

/// A whole number in decimal, as lengths are written.
fn number(digits: &[u8]) -> Option<i64> {
    core::str::from_utf8(digits).ok()?.parse().ok()
}

fn length_error(what: &'static str, found: &[u8]) -> ParseError {
    let found = String::from_utf8_lossy(&found[..found.len().min(32)]);
    ParseError::Length {
        what,
        found: found.into_owned(),
    }
}

#[cfg(test)]
#[path = "parse_tests.rs"]
mod tests;
