//! The places where a peer may be, tried in turn.
//!
//! Always holds: a place where it was reached is kept until it is reached at another one, whatever anybody
//! says of it. What is said may be wrong, and an answer that never arrives corrects nothing.

/// Where one peer may be.
#[derive(Debug)]
pub(super) struct Places {
    /// Tried from the first on, and again from the first after the last; never empty.
    turn: Vec<String>,
    /// Whose turn it is.
    at: usize,
    /// Where it was reached last.
    reached: Option<String>,
}

impl Places {
    pub(super) fn new(place: String) -> Self {
        Self {
            turn: vec![place],
            at: 0,
            reached: None,
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

    /// It is there, for certain.
    pub(super) fn reached(&mut self) {
        if self.reached.as_deref() != Some(self.now()) {
            self.reached = Some(self.now().to_string());
        }
    }

    /// Somebody took a connection there, which counts for as long as nothing better is known.
    pub(super) fn answered(&mut self) {
        if self.reached.is_none() {
            self.reached();
        }
    }

    /// Where it is said to be, the likeliest place first, besides where it was reached; false if it is looked for
    /// at the first one from now on because the place of before is none any more.
    pub(super) fn set(&mut self, first: &str, second: Option<&str>) -> bool {
        let now = self.now().to_string();
        let mut turn = vec![first.to_string()];
        for place in second.into_iter().chain(self.reached.as_deref()) {
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
    fn where_it_was_reached_is_kept_until_it_is_reached_elsewhere() {
        let mut places = Places::new("a".to_string());
        places.answered();
        places.set("wrong", Some("wrong"));
        places.restart();
        assert_eq!(places.in_turn(), ["wrong", "a"]);
        places.answered();
        assert_eq!(places.in_turn(), ["wrong", "a"], "somebody else's door");
        places.set("b", None);
        assert_eq!(places.in_turn(), ["b", "a"]);
        places.reached();
        places.set("c", None);
        assert_eq!(places.in_turn(), ["b", "c"]);
    }
}
