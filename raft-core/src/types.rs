//! The small values everything else is made of: terms, indexes, identities, times.
//!
//! Each is a thin newtype, because a function of three `u64`s will be called in the wrong order.

use core::fmt;
use core::ops::{Add, Sub};
use core::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::IdentityError;

macro_rules! counter {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        pub struct $name(pub u64);

        impl $name {
            /// The one after this; stays at the largest value instead of wrapping.
            #[must_use]
            pub const fn next(self) -> Self {
                Self(self.0.saturating_add(1))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

counter! {
    /// A term of leadership (§5.1); 0 before the first election.
    Term
}

counter! {
    /// A position in the log, from 1; 0 is the place before the first entry.
    Index
}

counter! {
    /// Names a server's place in the cluster, for people and for addresses.
    ///
    /// It may be used again after a disk was lost; votes and quorums therefore count [`Member`]s.
    NodeId
}

counter! {
    /// Tells several consensus groups apart that share one transport; 0 for the only one.
    GroupId
}

counter! {
    /// How many times a store has been opened; told in every message, so that a message or a
    /// completion from an earlier life of the process is seen as such.
    Boot
}

counter! {
    /// A caller's name for one request; it comes back in exactly one `Action::Resolve`.
    RequestId
}

counter! {
    /// A round of heartbeats, numbered by the leader: what confirms a linearizable read.
    Round
}

counter! {
    /// One write to the log lane; completions are cumulative.
    PersistId
}

counter! {
    /// One request for entries from the log on disk.
    ReadTicket
}

counter! {
    /// One request for a snapshot of another node.
    SnapshotTicket
}

impl Boot {
    /// Where counters of this life begin: no earlier life got so far.
    pub(crate) const fn first_number(self) -> u64 {
        self.0.wrapping_shl(32)
    }
}

impl Index {
    /// The one before this; 0 stays 0.
    #[must_use]
    pub const fn previous(self) -> Self {
        Self(self.0.saturating_sub(1))
    }
}

macro_rules! identity {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        // Aligned like the numbers beside it: every `Member` would have eight bytes of nothing otherwise, and a
        // node of an idle group has a dozen of them.
        #[repr(Rust, packed(8))]
        pub struct $name(pub u128);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:032x}", { self.0 })
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({:032x})"), { self.0 })
            }
        }

        impl FromStr for $name {
            type Err = IdentityError;

            /// Takes what `Display` prints, and nothing shorter: a part of an id is no id.
            fn from_str(text: &str) -> Result<Self, IdentityError> {
                let found = text.chars().count();
                let whole = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
                let id = whole.then(|| u128::from_str_radix(text, 16).ok()).flatten();
                id.map(Self).ok_or(IdentityError { found })
            }
        }
    };
}

identity! {
    /// Names one unbroken chain of promises: votes and acknowledgements that a disk still remembers.
    ///
    /// A wipe, a restore from a backup or a salvage ends the chain and takes a new id, drawn from
    /// the operating system's randomness by the driver.
    StorageId
}

identity! {
    /// Names the cluster, so that nodes of another one are refused instead of believed.
    ClusterId
}

impl ClusterId {
    /// No cluster yet: a store that waits to be attached to one.
    pub const NONE: Self = Self(0);
}

/// Who votes and who is counted: a node together with the store that remembers its promises.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Member {
    /// The server's place in the cluster.
    pub node: NodeId,
    /// The chain of promises it speaks for.
    pub store: StorageId,
}

/// Identifies one log entry.
///
/// Ordered by term, then index: the paper's "at least as up-to-date" (§5.4.1).
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct EntryId {
    /// The term of the leader that created the entry.
    pub term: Term,
    /// Its position in the log, from 1.
    pub index: Index,
}

impl EntryId {
    /// The place before the first entry of every log.
    pub const ZERO: Self = Self {
        term: Term(0),
        index: Index(0),
    };
}

/// Everything a message or a record needs to say about who it belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Identity {
    /// The consensus group.
    pub group: GroupId,
    /// The cluster.
    pub cluster: ClusterId,
    /// This node and its store.
    pub member: Member,
}

/// What must survive a crash besides the log (Figure 2, "persistent state").
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct HardState {
    /// The latest term this store has seen.
    pub term: Term,
    /// Who got this store's vote in that term.
    pub voted_for: Option<Member>,
    /// The longest lease promise given, in the driver's unit of time; a restarted voter withholds
    /// its vote that long (dissertation §6.4.1).
    pub promised: Span,
    /// The commit index when this was written: a hint that shortens a restart, never a promise.
    pub commit: Index,
}

/// A moment on the driver's monotonic clock; the unit is that of the timeouts in `Options`.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Time(pub u64);

/// A length of time, in the driver's unit (the adapters use nanoseconds).
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Span(pub u64);

impl Span {
    /// A span of so many milliseconds, for drivers whose unit is the nanosecond.
    ///
    /// ```
    /// # use raft_core::Span;
    /// assert_eq!(Span::from_millis(2), Span(2_000_000));
    /// ```
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis.saturating_mul(1_000_000))
    }

    /// So many times as long.
    #[must_use]
    pub(crate) const fn times(self, factor: u64) -> Self {
        Self(self.0.saturating_mul(factor))
    }
}

impl Add<Span> for Time {
    type Output = Self;

    /// Saturates: the end of time is a deadline that never comes.
    fn add(self, span: Span) -> Self {
        Self(self.0.saturating_add(span.0))
    }
}

impl Sub for Time {
    type Output = Span;

    /// The span since an earlier moment; zero if that lies ahead.
    fn sub(self, earlier: Self) -> Span {
        Span(self.0.saturating_sub(earlier.0))
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::string::ToString;

    use super::ClusterId;

    #[test]
    fn an_id_is_what_it_is_printed_as_and_no_part_of_it() {
        let id = ClusterId(0xc1);
        let printed = id.to_string();
        assert_eq!(printed.parse(), Ok(id));
        for other in [
            "c1",
            "",
            "-0000000000000000000000000000000c1",
            &printed[1..],
        ] {
            assert!(other.parse::<ClusterId>().is_err(), "{other}");
        }
        let said = |text: &str| text.parse::<ClusterId>().map_err(|error| error.to_string());
        let expected = "expected an id of 32 hexadecimal digits, as it is printed, found ";
        assert_eq!(said("c1"), Err(format!("{expected}2 characters")));
        assert_eq!(
            said("+0000000000000000000000000000000"),
            Err(format!(
                "{expected}32 characters, not all of which are such digits"
            ))
        );
    }
}
