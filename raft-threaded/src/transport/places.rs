//! The places where a peer may be, tried in turn.
//!
//! Always holds: a place where it answered is kept until it answers at another one, whatever anybody says of it, and
//! whoever takes connections elsewhere. What is said may be wrong, and an answer that never arrives corrects nothing.

/// The most places that are kept besides those where it is said to be.
const KEPT_MAX: usize = 3;

/// Where one peer may be.
#[derive(Debug)]
pub(super) struct Places {
    /// Tried from the first on, and again from the first after the last; never empty.
    turn: Vec<String>,
    /// Whose turn it is.
    at: usize,
    /// Where it answered, and behind that, where connections lasted since: whoever is there may be somebody else, and
    /// silent, so the oldest comes first.
    kept: Vec<String>,
}

impl Places {
    pub(super) fn new(place: String) -> Self {
        Self {
            turn: vec![place],
            at: 0,
            kept: Vec::new(),
        }
    }

    /// Where it is looked for now.
    pub(super) fn now(&self) -> &str {
        &self.turn[self.at]
    }

    /// It is not there: the next place's turn.
    pub(super) fn next(&mut self) {
        self.at = (self.at + 1) % self.turn.len();
    }

    /// It answers there.
    pub(super) fn answered(&mut self) {
        if self.kept.len() != 1 || self.kept[0] != self.now() {
            self.kept = vec![self.now().to_string()];
        }
    }

    /// Connections last there.
    pub(super) fn lasted(&mut self) {
        if self.kept.iter().any(|kept| kept == self.now()) {
            return;
        }
        if self.kept.len() == KEPT_MAX {
            self.kept.remove(1);
        }
        self.kept.push(self.now().to_string());
    }

    /// Somebody took a connection there, which counts for as long as nothing better is known.
    pub(super) fn taken(&mut self) {
        if self.kept.is_empty() {
            self.lasted();
        }
    }

    /// Where it is said to be, the likeliest place first, besides where it was before; false if it is looked for
    /// at the first one from now on because the place of before is none any more.
    pub(super) fn set(&mut self, first: &str, second: Option<&str>) -> bool {
        let now = self.now().to_string();
        let mut turn = vec![first.to_string()];
        let kept = self.kept.iter().map(String::as_str);
        for place in second.into_iter().chain(kept) {
            if !turn.iter().any(|known| known == place) {
                turn.push(place.to_string());
            }
        }
        let kept = turn.iter().position(|place| *place == now);
        self.turn = turn;
        self.at = kept.unwrap_or(0);
        kept.is_some()
    }

    /// Begins with the likeliest place again.
    pub(super) fn restart(&mut self) {
        self.at = 0;
    }

    /// Every place, the one whose turn it is first.
    #[cfg(test)]
    pub(super) fn in_turn(&self) -> Vec<&str> {
        let (before, rest) = self.turn.split_at(self.at);
        rest.iter().chain(before).map(String::as_str).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_place_has_its_turn_and_none_has_two() {
        let mut places = Places::new("a".to_string());
        assert!(places.set("a", Some("b")));
        assert_eq!(places.in_turn(), ["a", "b"]);
        places.next();
        assert!(places.set("a", Some("b")), "a connection to either stays");
        assert_eq!(places.in_turn(), ["b", "a"]);
        places.next();
        assert!(places.set("a", Some("a")));
        assert_eq!(places.in_turn(), ["a"]);
        assert!(!places.set("c", None));
        assert_eq!(places.in_turn(), ["c"]);
    }

    #[test]
    fn where_somebody_took_a_connection_counts_while_nothing_better_is_known() {
        let mut places = Places::new("a".to_string());
        places.taken();
        places.set("wrong", Some("wrong"));
        places.restart();
        assert_eq!(places.in_turn(), ["wrong", "a"]);
        places.taken();
        places.set("b", None);
        assert_eq!(places.in_turn(), ["b", "a"], "somebody else's door");
    }

    #[test]
    fn where_it_answered_is_kept_until_it_answers_elsewhere() {
        let mut places = Places::new("a".to_string());
        places.answered();
        places.set("silent", None);
        places.restart();
        places.lasted();
        places.set("b", None);
        places.restart();
        assert_eq!(places.in_turn(), ["b", "a", "silent"]);
        places.answered();
        places.set("c", None);
        places.restart();
        assert_eq!(places.in_turn(), ["c", "b"]);
    }

    #[test]
    fn however_many_take_its_connections_only_some_are_kept() {
        let mut places = Places::new("a".to_string());
        places.answered();
        for silent in ["b", "c", "d", "e"] {
            places.set(silent, None);
            places.restart();
            places.lasted();
        }
        places.set("f", None);
        places.restart();
        assert_eq!(places.in_turn(), ["f", "a", "d", "e"]);
    }
}
