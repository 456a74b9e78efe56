//! A client's side of a session: numbers for its commands, so that one that is repeated takes effect once.
//!
//! Read first: dissertation §6.3.

use alloc::collections::BTreeSet;
use core::fmt;

use serde::{Deserialize, Serialize};

use crate::types::EntryId;

/// How many commands of one session can be without an answer at a time.
///
/// A replica keeps what became of so many for each session, so that memory is bounded.
pub const SESSION_WINDOW: u64 = 16;

/// Names a client's session: by the entry that began it, so that no other ever has the same name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SessionId(pub EntryId);

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0.term, self.0.index)
    }
}

/// A client's number for one of its commands in a session.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Sequence(pub u64);

impl fmt::Display for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Which command of which session: the same whenever the same command is sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Serial {
    /// The session.
    pub session: SessionId,
    /// The command's number.
    pub sequence: Sequence,
    /// The lowest number that the client has no answer to; what was kept for lower ones is discarded, and
    /// they are not executed any more.
    ///
    /// At most `sequence`, and less than [`SESSION_WINDOW`] below it. The only part that may differ when a
    /// command is sent again.
    pub lowest: Sequence,
}

/// A client's own account of its session.
///
/// ```
/// use raft_core::replica::{ClientSession, Sequence, SessionId};
/// # use raft_core::{EntryId, Index, Term};
/// # let id = SessionId(EntryId { term: Term(1), index: Index(2) });
///
/// let mut session = ClientSession::new(id);
/// let first = session.begin().expect("nothing is without an answer");
/// let second = session.begin().expect("one is");
/// assert_eq!((first.sequence, second.sequence), (Sequence(1), Sequence(2)));
/// // The answer to the first was lost: the same command is sent with the same number.
/// assert_eq!(session.again(Sequence(1)), Some(first));
///
/// session.answered(Sequence(1));
/// assert_eq!(session.again(Sequence(1)), None);
/// assert_eq!(session.again(Sequence(2)).map(|serial| serial.lowest), Some(Sequence(2)));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientSession {
    id: SessionId,
    next: u64,
    open: BTreeSet<Sequence>,
}

impl ClientSession {
    /// The account of a session that has just begun.
    #[must_use]
    pub const fn new(id: SessionId) -> Self {
        Self {
            id,
            next: 1,
            open: BTreeSet::new(),
        }
    }

    /// The session's name.
    #[must_use]
    pub const fn id(&self) -> SessionId {
        self.id
    }

    /// A number for one more command; none while the window is full.
    pub fn begin(&mut self) -> Option<Serial> {
        let sequence = Sequence(self.next);
        if self.next - self.lowest().0 >= SESSION_WINDOW {
            return None;
        }
        self.next = self.next.checked_add(1)?;
        self.open.insert(sequence);
        self.again(sequence)
    }

    /// What to send a command with again; none if it has been answered, or never began.
    #[must_use]
    pub fn again(&self, sequence: Sequence) -> Option<Serial> {
        let (session, lowest) = (self.id, self.lowest());
        self.open.contains(&sequence).then_some(Serial {
            session,
            sequence,
            lowest,
        })
    }

    /// A command has its answer, or the client does not want it any more: it will not be sent again.
    pub fn answered(&mut self, sequence: Sequence) {
        self.open.remove(&sequence);
    }

    fn lowest(&self) -> Sequence {
        self.open.first().copied().unwrap_or(Sequence(self.next))
    }
}
