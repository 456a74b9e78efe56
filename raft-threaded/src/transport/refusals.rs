//! What an operator is told of dialers who are refused: each once, and again only after a long time.
//!
//! Whoever is refused tries again each second, for as long as its own cluster counts on an answer.

use std::collections::BTreeMap;
use std::net::IpAddr;

use raft_core::{Span, Time};

use super::hello::HelloError;
use super::incoming::IncomingError;

/// When the same is worth saying again.
const AGAIN_AFTER: Span = Span(600_000_000_000);
/// Refusals that are remembered; there are a few for each peer, unless somebody plays with the port.
const REMEMBERED_MAX: usize = 256;

/// The refusals that were told, by who was refused and why, with when that was.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    told: BTreeMap<(Option<IpAddr>, String), Time>,
}

impl Refusals {
    /// Whether this has not been said for long; then it counts as said now.
    pub(super) fn is_news(&mut self, from: Option<IpAddr>, why: String, now: Time) -> bool {
        self.told.retain(|_, since| now < *since + AGAIN_AFTER);
        if self.told.contains_key(&(from, why.clone())) {
            return false;
        }
        if self.told.len() >= REMEMBERED_MAX
            && let Some(oldest) = self.told.iter().min_by_key(|(_, since)| **since)
        {
            let oldest = oldest.0.clone();
            self.told.remove(&oldest);
        }
        self.told.insert((from, why), now);
        true
    }
}

/// What to do about a refusal, for those who run both ends.
pub(super) fn advice(error: &IncomingError) -> &'static str {
    match error {
        IncomingError::Hello(HelloError::Misaddressed { wanted, found })
            if wanted.node == found.node =>
        {
            "this node was emptied or made anew; its old cluster gives up by itself if it was detached there, and \
             otherwise goes on until `raft-kv detach`"
        }
        IncomingError::Hello(HelloError::Misaddressed { .. }) => {
            "an address in its configuration is wrong: `raft-kv members` shows them, `raft-kv move` corrects one"
        }
        IncomingError::Hello(HelloError::Cluster { .. }) => {
            "keep clusters at addresses of their own; a node changes clusters by `raft-kv reset` and `attach`"
        }
        IncomingError::Hello(HelloError::NotAPeer) | IncomingError::Frame(_) => {
            "give clients the client address"
        }
        IncomingError::Hello(HelloError::Version { .. }) => "let all nodes run one version",
        IncomingError::Hello(HelloError::Malformed(_) | HelloError::NoCluster)
        | IncomingError::Decode(_)
        | IncomingError::Impostor { .. }
        | IncomingError::Closed
        | IncomingError::Told
        | IncomingError::Silent
        | IncomingError::Io(_) => "nothing, unless it goes on: then find out what dials here",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn ip(last: u8) -> Option<IpAddr> {
        Some(IpAddr::from([10, 0, 0, last]))
    }

    #[test]
    fn whoever_knocks_each_second_is_spoken_of_once_in_ten_minutes() {
        let mut refusals = Refusals::default();
        let mut knock =
            |at: u64, from, why: &str| refusals.is_news(from, why.to_string(), Time(at * SECOND));
        let said = (0..1_200).filter(|at| knock(*at, ip(1), "it looks for store a"));
        assert_eq!(said.collect::<Vec<_>>(), [0, 600]);
        assert!(knock(1_200, ip(2), "it looks for store a"), "somebody else");
        assert!(
            knock(1_201, ip(2), "it looks for store b"),
            "something else"
        );
        assert!(!knock(1_202, ip(2), "it looks for store a"));
    }

    #[test]
    fn no_more_is_remembered_than_there_is_room_for() {
        let mut refusals = Refusals::default();
        for at in 0..1_000 {
            assert!(refusals.is_news(ip(1), at.to_string(), Time(at)));
        }
        assert_eq!(refusals.told.len(), REMEMBERED_MAX);
        assert!(!refusals.is_news(ip(1), "999".to_string(), Time(1_000)));
        assert!(refusals.is_news(ip(1), "0".to_string(), Time(1_000)));
    }
}
