//! Histories from end to end: judged, explained, drawn.

use std::fs::File;
use std::io::BufReader;

use quickcheck::quickcheck;
use raft_sim::history::{
    Call, Counterexample, ModelKind, Operation, Value, Verdict, check, parse, picture,
    to_json_lines,
};

fn verdict(operations: &[Operation], model: ModelKind) -> Verdict {
    check(operations, model, || false)
}

fn counterexample(operations: &[Operation], model: ModelKind) -> Counterexample {
    match verdict(operations, model) {
        Verdict::NotLinearizable(found) => *found,
        other @ (Verdict::Linearizable | Verdict::Unknown { .. }) => {
            panic!("expected a counterexample, found {other:?}")
        }
    }
}

fn value(word: &str) -> Value {
    if word == "null" {
        return Value::Null;
    }
    word.parse::<i64>()
        .map_or_else(|_| word.into(), Value::from)
}

fn number(word: &str) -> u64 {
    word.parse().expect("a number")
}

/// One operation a line, all of one key: `process call invoked..returned`, or `invoked..` for never.
fn operations(text: &str) -> Vec<Operation> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let operation = |line: &str| {
        let (head, times) = line.rsplit_once(' ').expect("times");
        let (invoked, returned) = times.split_once("..").expect("two times");
        let call = match head.split(' ').collect::<Vec<_>>()[1..] {
            ["read", seen] => Call::Read(value(seen)),
            ["write", new] => Call::Write(value(new)),
            [name @ ("cas" | "failed-cas"), old, new] => Call::Cas {
                old: value(old),
                new: value(new),
                succeeded: name == "cas",
            },
            ["append", suffix] => Call::Append(suffix.to_owned()),
            ref other => panic!("no operation: {other:?}"),
        };
        let process = number(head.split(' ').next().expect("a process"));
        let returned = (!returned.is_empty()).then(|| number(returned));
        Operation::new(process, "x", call, number(invoked), returned)
    };
    lines.map(operation).collect()
}

#[track_caller]
fn good(text: &str) {
    let verdict = verdict(&operations(text), ModelKind::Kv);
    assert_eq!(verdict, Verdict::Linearizable, "{text}");
}

/// `expected` is the first line of the explanation, without its beginning.
#[track_caller]
fn bad(text: &str, expected: &str) {
    let found = counterexample(&operations(text), ModelKind::Kv).to_string();
    let line = found.lines().next().expect("a line");
    let rest = line.strip_prefix("key \"x\" is not linearizable: ");
    assert_eq!(rest, Some(expected), "{text}");
}

#[test]
fn nothing_and_one_after_the_other_are_linearizable() {
    good("");
    good("0 read null 1..2");
    good(
        "0 write 1 1..2
         1 read 1 3..4
         0 cas 1 2 5..6
         1 failed-cas 1 3 7..8
         2 read 2 9..10",
    );
}

#[test]
fn concurrent_writes_take_effect_in_either_order() {
    good("0 write 1 1..4\n 1 write 2 2..3\n 2 read 1 5..6");
    good("0 write 1 1..4\n 1 write 2 2..3\n 2 read 2 5..6");
    bad(
        "0 write 1 1..4
         1 write 2 2..3
         2 read 2 5..6
         2 read 1 7..8",
        "after write 1 (process 0, at 1..4), write 2 (process 1, at 2..3) and read 2 (process 2, at \
         5..6) the value is 2; read by process 2 (at 7..8) returned 1",
    );
}

#[test]
fn a_stale_read_says_who_overwrote_it() {
    bad(
        "0 write 1 1..2
         0 write 2 3..4
         1 read 1 5..6",
        "after write 1 (process 0, at 1..2) and write 2 (process 0, at 3..4) the value is 2; read \
         by process 1 (at 5..6) returned 1, which was overwritten before it began by write 2 \
         (process 0, at 3..4)",
    );
}

/// The second write may have come first, so nobody certainly overwrote the first.
#[test]
fn nothing_is_said_of_an_overwriter_that_may_have_come_first() {
    bad(
        "0 write 1 1..3
         1 write 2 3..4
         2 read 2 5..6
         2 read 1 7..8",
        "after write 1 (process 0, at 1..3), write 2 (process 1, at 3..4) and read 2 (process 2, at \
         5..6) the value is 2; read by process 2 (at 7..8) returned 1",
    );
}

#[test]
fn operations_at_equal_times_are_concurrent() {
    good("0 write 1 1..2\n 0 write 2 3..4\n 1 read 1 4..6");
    good("0 read 1 1..2\n 1 write 1 2..3");
    good("0 read 1 1..1\n 1 write 1 1..1");
}

#[test]
fn a_lost_write_says_who_wrote() {
    bad(
        "0 write 1 1..2
         1 read null 3..4",
        "after write 1 (process 0, at 1..2) the value is 1; read by process 1 (at 3..4) returned \
         null, which was overwritten before it began by write 1 (process 0, at 1..2)",
    );
}

#[test]
fn a_read_from_the_future_says_who_wrote_it_then() {
    bad(
        "0 read 1 1..2
         1 write 1 3..4",
        "at first the value is null; read by process 0 (at 1..2) returned 1, which was written only \
         later: write 1 (process 1, at 3..4)",
    );
}

#[test]
fn a_read_from_nowhere_says_so() {
    bad(
        "0 write 1 1..2
         0 read 3 3..4",
        "at first the value is null; read by process 0 (at 3..4) returned 3, which was never written",
    );
}

#[test]
fn compare_and_set_observes_whether_it_succeeds_or_not() {
    good("0 write 1 1..2\n 1 cas 1 2 3..6\n 2 cas 2 1 4..5\n 3 read 1 7..8");
    good("0 write 1 1..2\n 1 cas 1 2 3..6\n 2 failed-cas 1 3 4..5");
    bad(
        "0 write 1 1..2
         1 cas 1 2 3..6
         2 cas 1 3 4..5",
        "after write 1 (process 0, at 1..2) and cas 1 to 2 (process 1, at 3..6) the value is 2; cas \
         1 to 3 by process 2 (at 4..5) found 1",
    );
    bad(
        "0 write 1 1..2
         1 failed-cas 1 3 4..5",
        "after write 1 (process 0, at 1..2) the value is 1; failed cas 1 to 3 by process 1 (at 4..5) \
         found something else than 1",
    );
}

#[test]
fn an_unknown_write_takes_effect_late_or_never() {
    good("0 write 1 1..2\n 1 write 2 3..\n 2 read 1 5..6\n 2 read 2 7..8");
    good("0 write 1 1..2\n 1 write 2 3..\n 2 read 1 5..6\n 2 read 1 7..8");
    good("0 write 1 1..2\n 1 cas 1 2 3..\n 2 read 1 5..6\n 2 read 2 7..8");
    good("0 write 1 1..2\n 1 cas 7 2 3..\n 2 read 1 5..6");
    good("0 write 1 1..2\n 1 write 2 3..\n 2 failed-cas 1 5 5..6\n 3 read 2 7..8");
    // A value that nobody reads explains a comparison that failed.
    good("0 write 1 1..2\n 1 write 9 3..\n 2 failed-cas 1 5 5..6");
    bad(
        "0 write 1 1..2
         1 write 2 3..
         2 read 2 5..6
         2 read 1 7..8",
        "after write 1 (process 0, at 1..2), write 2 (process 1, at 3, outcome unknown) and read 2 \
         (process 2, at 5..6) the value is 2; read by process 2 (at 7..8) returned 1",
    );
    bad(
        "0 write 1 1..2
         2 read 2 3..4
         1 write 2 5..",
        "at first the value is null; read by process 2 (at 3..4) returned 2, which was written only \
         later: write 2 (process 1, at 5, outcome unknown)",
    );
}

#[test]
fn appends_add_up() {
    good("0 append a 1..2\n 0 append b 3..4\n 1 read ab 5..6");
    good("0 append a 1..4\n 1 append b 2..3\n 1 read ba 5..6");
    good("0 write x 1..2\n 1 append b 3..\n 2 read x 4..5\n 2 append c 6..7\n 2 read xbc 8..9");
    bad(
        "0 append a 1..2
         0 append b 3..4
         1 read a 5..6",
        "after append \"a\" (process 0, at 1..2) and append \"b\" (process 0, at 3..4) the value is \
         \"ab\"; read by process 1 (at 5..6) returned \"a\", without the last \"b\"",
    );
    bad(
        "0 write 1 1..2
         1 append b 3..4",
        "after write 1 (process 0, at 1..2) the value is 1; append \"b\" by process 1 (at 3..4) was \
         done to a value that is no string",
    );
}

#[test]
fn one_bad_key_among_good_ones_is_named() {
    let mut all = operations("0 write 1 1..2\n 1 read 1 3..4");
    for operation in operations("0 write 1 1..2\n 1 read 2 3..4") {
        all.push(Operation {
            key: "\"y\"".to_owned(),
            ..operation
        });
    }
    let found = counterexample(&all, ModelKind::Register);
    assert_eq!(found.key, "\"y\"");
    assert!(
        found
            .to_string()
            .ends_with("\n1 of 2 operations of the key matter")
    );
    all.retain(|operation| operation.key == "\"x\"");
    assert_eq!(verdict(&all, ModelKind::Register), Verdict::Linearizable);
}

#[test]
fn the_histories_in_this_directory_are_judged_as_their_names_say() {
    for (name, model, expected) in [
        ("append", ModelKind::Kv, None),
        ("cas", ModelKind::Register, None),
        ("concurrent", ModelKind::Register, None),
        ("unknown", ModelKind::Register, None),
        (
            "stale-read",
            ModelKind::Register,
            Some("(lines 7..8) returned 1, which was overwritten"),
        ),
        (
            "lost-write",
            ModelKind::Register,
            Some("(lines 3..4) returned null, which was overwritten"),
        ),
    ] {
        let path = format!(
            "{}/tests/histories/{name}.jsonl",
            env!("CARGO_MANIFEST_DIR")
        );
        let file = BufReader::new(File::open(path).expect("the file is there"));
        let operations = parse(file, model).expect("it parses");
        match (verdict(&operations, model), expected) {
            (Verdict::Linearizable, None) => {}
            (Verdict::NotLinearizable(found), Some(expected)) => {
                assert!(found.to_string().contains(expected), "{name}: {found}");
            }
            (other, _) => panic!("{name}: {other:?}"),
        }
    }
}

#[test]
fn when_time_is_up_the_keys_that_are_left_are_named() {
    let all = generated(20, 5_000);
    let late = check(&all, ModelKind::Register, || true);
    let Verdict::Unknown { keys } = late else {
        panic!("expected no verdict, found {late:?}");
    };
    assert!(keys.len() > 1 && keys.len() < 20, "{keys:?}");
    assert!(keys.is_sorted());
}

/// What eight clients may see of a store that takes each operation at one instant.
fn generated(keys: u64, count: u64) -> Vec<Operation> {
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut draw = move |below: u64| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        (seed >> 11) % below
    };
    let mut free = [0; 8];
    let mut planned = Vec::new();
    for number in 0..count {
        let process = (number % 8) as usize;
        let invoked = free[process] + 1 + draw(20);
        let effect = invoked + draw(100);
        free[process] = effect + draw(100);
        planned.push((effect, invoked, free[process], number % 8));
    }
    planned.sort_unstable();
    let mut values = vec![Value::Null; usize::try_from(keys).expect("few keys")];
    let mut operations = Vec::new();
    for ((_, invoked, returned, process), unique) in planned.into_iter().zip(0_u64..) {
        let key = draw(keys);
        let value = &mut values[usize::try_from(key).expect("few keys")];
        let known = draw(100) > 0;
        let took_effect = known || draw(2) == 0;
        let call = match draw(4) {
            0 | 1 => Call::Read(value.clone()),
            2 => Call::Write(unique.into()),
            _ => {
                let old = if draw(2) == 0 {
                    value.clone()
                } else {
                    draw(9).into()
                };
                Call::Cas {
                    succeeded: !known || old == *value,
                    old,
                    new: unique.into(),
                }
            }
        };
        match &call {
            Call::Write(new) if took_effect => value.clone_from(new),
            Call::Cas {
                old,
                new,
                succeeded: true,
            } if took_effect && old == value => {
                value.clone_from(new);
            }
            Call::Read(_) | Call::Write(_) | Call::Cas { .. } | Call::Append(_) => {}
        }
        operations.push(Operation::new(
            process,
            key,
            call,
            invoked,
            known.then_some(returned),
        ));
    }
    operations
}

#[test]
fn a_long_history_is_linearizable_until_one_late_read_is_stale() {
    for keys in [1, 50] {
        let mut all = generated(keys, 5_000);
        assert_eq!(verdict(&all, ModelKind::Register), Verdict::Linearizable);
        let late = all.iter_mut().rev().find(|operation| {
            operation.returned.is_some() && matches!(operation.call, Call::Read(_))
        });
        let late = late.expect("a read");
        late.call = Call::Read(Value::Null);
        let (key, process, invoked) = (late.key.clone(), late.process, late.invoked);
        let found = counterexample(&all, ModelKind::Register);
        assert_eq!(found.key, key);
        assert!(found.operations.len() <= 3, "{found}");
        let blamed = &found.operations[found.impossible[0].operation].operation;
        assert_eq!((blamed.process, blamed.invoked), (process, invoked));
        assert!(
            found
                .to_string()
                .contains("which was overwritten before it began by")
        );
    }
}

#[test]
fn many_writes_of_unknown_outcome_do_not_make_it_slow() {
    let mut text = String::new();
    for number in 0..200 {
        text += &format!("{number} write {number} {number}..\n");
    }
    good(&(text.clone() + "900 read 77 300..301\n 900 read 199 302..303\n 900 read 3 304..305"));
    let found = counterexample(
        &operations(
            &(text + "900 read 77 300..301\n 900 read 199 302..303\n 900 read 77 304..305"),
        ),
        ModelKind::Register,
    );
    assert_eq!(found.operations.len(), 5, "{found}");
}

#[test]
fn the_picture_shows_each_operation_and_escapes_what_it_says() {
    let mut all =
        operations("0 append a 1..2\n 1 append <b> 2..5\n 2 write c 6..\n 1 read <b>a&' 6..7");
    for operation in &mut all {
        operation.key = "\"<script>\"".to_owned();
    }
    let found = counterexample(&all, ModelKind::Kv);
    let page = picture(&found);
    assert!(page.starts_with("<!DOCTYPE html>"));
    assert!(page.contains("document.documentElement.dataset.state = 'ready'"));
    assert!(page.contains("key &quot;&lt;script&gt;&quot; is not linearizable"));
    assert!(page.contains("prefers-color-scheme: dark"));
    for absent in ["<b>", "<script>\"", "http", "src="] {
        assert!(!page.contains(absent), "{absent} in {page}");
    }
    assert_eq!(page.matches("<rect").count(), found.operations.len());
    assert_eq!(
        page.matches("<g class=\"bad\">").count(),
        found.impossible.len()
    );
    assert_eq!(page.matches("<circle").count(), found.order.len());
}

quickcheck! {
    /// Files keep what was recorded, if each process does one thing after the other.
    fn what_is_written_is_read_again(drawn: Vec<(u8, u8, u8)>) -> bool {
        let mut operations = Vec::new();
        for ((kind, wait, length), number) in drawn.into_iter().zip(0_u64..) {
            let invoked = number * 300 + u64::from(wait);
            let value = Value::from(format!("\u{7}\"{wait}"));
            let call = match kind % 5 {
                0 => Call::Read(Value::Null),
                1 => Call::Write(value),
                kind @ (2 | 3) => Call::Cas { old: value, new: true.into(), succeeded: kind == 2 },
                _ => Call::Append("é".to_owned()),
            };
            let certain = kind < 200 || kind % 5 == 0 || kind % 5 == 3;
            let returned = certain.then(|| invoked + u64::from(length) % 300);
            operations.push(Operation::new(number % 3, u64::from(wait), call, invoked, returned));
        }
        // Three processes take turns, so that operations of one do not overlap.
        let text = to_json_lines(&operations);
        let mut read = parse(text.as_bytes(), ModelKind::Kv).expect("it parses");
        for operation in &mut read {
            operation.lines = None;
        }
        read == operations
    }
}
