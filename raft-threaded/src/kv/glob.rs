//! Patterns as `SCAN MATCH` takes them: `*`, `?`, `[a-c]`, `[^a]`, `\x`.

/// Whether all of `text` is like `pattern`. Takes at most the product of both lengths in steps, and no
/// more than are left in `budget`; without steps left nothing matches.
pub(super) fn matches(pattern: &[u8], text: &[u8], budget: &mut u64) -> bool {
    let (mut p, mut t) = (0, 0);
    // Where to go on if what follows the last star does not match: the star eats one byte more.
    let mut retry: Option<(usize, usize)> = None;
    while t < text.len() {
        let Some(left) = budget.checked_sub(1) else {
            return false;
        };
        *budget = left;
        if pattern.get(p) == Some(&b'*') {
            retry = Some((p + 1, t));
            p += 1;
            continue;
        }
        match one(&pattern[p..], text[t]) {
            Some(used) => {
                // A class is read through for each byte.
                *budget = budget.saturating_sub(used as u64);
                p += used;
                t += 1;
            }
            None => match &mut retry {
                Some((after, eaten)) => {
                    *eaten += 1;
                    (p, t) = (*after, *eaten);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

/// Matches one byte against the front of a pattern; how much of the pattern that used.
fn one(pattern: &[u8], byte: u8) -> Option<usize> {
    match pattern {
        [] => None,
        [b'?', ..] => Some(1),
        [b'[', class @ ..] => {
            let (negated, class) = match class {
                [b'^', rest @ ..] => (true, rest),
                _ => (false, class),
            };
            let (found, used) = in_class(class, byte);
            (found != negated).then_some(1 + usize::from(negated) + used)
        }
        [b'\\', escaped, ..] => (*escaped == byte).then_some(2),
        [literal, ..] => (*literal == byte).then_some(1),
    }
}

/// Whether a byte is in the class, and how long the class is; an open one ends with the pattern.
fn in_class(class: &[u8], byte: u8) -> (bool, usize) {
    let (mut found, mut place) = (false, 0);
    while place < class.len() {
        match class[place..] {
            [b']', ..] => return (found, place + 1),
            [b'\\', escaped, ..] => {
                found |= escaped == byte;
                place += 2;
            }
            [low, b'-', high, ..] if high != b']' => {
                found |= (low.min(high)..=low.max(high)).contains(&byte);
                place += 3;
            }
            [literal, ..] => {
                found |= literal == byte;
                place += 1;
            }
            [] => break,
        }
    }
    (found, place)
}

#[cfg(test)]
mod tests {
    #[test]
    fn patterns_match_as_redis_says() {
        let check = |pattern: &str, text: &str| {
            super::matches(pattern.as_bytes(), text.as_bytes(), &mut 1_000)
        };
        for (pattern, text) in [
            ("h?llo", "hello"),
            ("h*llo", "heeeello"),
            ("h[ae]llo", "hallo"),
            ("h[^e]llo", "hbllo"),
            ("h[a-b]llo", "hbllo"),
            ("*", ""),
            ("*a*b*", "xxaxxbxx"),
            ("h\\*llo", "h*llo"),
            ("[a", "a"),
        ] {
            assert!(check(pattern, text), "{pattern} matches {text}");
        }
        for (pattern, text) in [
            ("h?llo", "hllo"),
            ("h[ae]llo", "hillo"),
            ("h[^e]llo", "hello"),
            ("a*b", "abc"),
            ("", "a"),
            ("h\\*llo", "hello"),
        ] {
            assert!(!check(pattern, text), "{pattern} does not match {text}");
        }
    }

    #[test]
    fn many_stars_take_no_exponential_time() {
        let pattern = "a*".repeat(50);
        let mut budget = 1_000_000;
        assert!(!super::matches(
            (pattern + "b").as_bytes(),
            &[b'a'; 5_000],
            &mut budget
        ));
        assert!(budget > 0, "the product of the lengths is enough");
        assert!(!super::matches(b"*a", &[b'b'; 5_000], &mut 100));
    }
}
