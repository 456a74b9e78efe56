//! What waits to be written to one peer, in order.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, IoSlice, Write};

use bytes::{Buf, Bytes, BytesMut};

use super::frame::Encoded;

/// How many parts go into one vectored write.
const SLICES: usize = 64;

/// Whole frames; of the first one, what is left of it.
#[derive(Debug, Default)]
pub(super) struct Queue {
    parts: VecDeque<Bytes>,
    /// What goes behind the parts: small messages gather here, in memory that is used again.
    gathered: BytesMut,
    bytes: u64,
}

impl Queue {
    /// How much waits.
    pub(super) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Queues a message.
    pub(super) fn push(&mut self, frame: Encoded<'_>) {
        self.bytes += frame.len();
        frame.put_head(&mut self.gathered);
        if !frame.bulk.is_empty() {
            self.seal();
            self.parts.push_back(frame.bulk);
        }
    }

    /// Queues a frame that is encoded already.
    pub(super) fn push_frame(&mut self, frame: Bytes) {
        self.seal();
        self.bytes += frame.len() as u64;
        self.parts.push_back(frame);
    }

    /// Writes as much as the other side takes.
    pub(super) fn write_to(&mut self, stream: &mut impl Write) -> io::Result<()> {
        self.seal();
        while !self.parts.is_empty() {
            let mut slices = [IoSlice::new(&[]); SLICES];
            for (slice, part) in slices.iter_mut().zip(&self.parts) {
                *slice = IoSlice::new(part);
            }
            let parts = self.parts.len().min(SLICES);
            match stream.write_vectored(&slices[..parts]) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(written) => self.advance(written),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Drops everything.
    pub(super) fn clear(&mut self) {
        self.parts.clear();
        self.gathered.clear();
        self.bytes = 0;
    }

    fn seal(&mut self) {
        if !self.gathered.is_empty() {
            self.parts.push_back(self.gathered.split().freeze());
        }
    }

    /// Takes written bytes off the front.
    fn advance(&mut self, mut written: usize) {
        self.bytes -= written as u64;
        while let Some(front) = self.parts.front_mut() {
            if written < front.len() {
                front.advance(written);
                return;
            }
            written -= front.len();
            self.parts.pop_front();
        }
    }
}
