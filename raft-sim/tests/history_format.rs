//! What a file of a history may look like, and what is said about one that does not.

use std::io::{self, BufReader, Read};

use raft_sim::history::{Call, HistoryError, Lines, ModelKind, Operation, Value, parse};

const WRITE: &str = r#"{"time":1,"process":0,"type":"invoke","f":"write","value":1}"#;

fn parsed(text: &str) -> Vec<Operation> {
    parse(text.as_bytes(), ModelKind::Kv).expect("it parses")
}

fn calls(text: &str) -> Vec<(Call, u64, Option<u64>)> {
    let operations = parsed(text).into_iter();
    operations
        .map(|operation| (operation.call, operation.invoked, operation.returned))
        .collect()
}

#[test]
fn operations_have_times_keys_and_lines() {
    let operations = parsed(
        r#"
        {"index":0,"time":12,"process":3,"type":"invoke","f":"cas","key":"x","value":[1,2],"node":"n1"}

        {"time":13,"process":4,"type":"invoke","f":"read","key":7,"value":[{"ignored":[]}]}
        {"time":14,"process":3,"type":"ok","f":"cas","key":"x"}
        {"time":15,"process":4,"type":"ok","f":"read","value":"a"}
        "#,
    );
    let lines = |invoked, completed| Some(Lines { invoked, completed });
    let cas = Call::Cas {
        old: 1.into(),
        new: 2.into(),
        succeeded: true,
    };
    let mut expected = [
        Operation::new(3, "x", cas, 12, Some(14)),
        Operation::new(4, 7, Call::Read("a".into()), 13, Some(15)),
    ];
    expected[0].lines = lines(2, Some(5));
    expected[1].lines = lines(4, Some(6));
    assert_eq!(operations, expected);
}

#[test]
fn what_failed_is_left_out_but_for_compare_and_set() {
    for (function, value) in [("read", "null"), ("write", "1"), ("append", "\"a\"")] {
        let text = format!(
            r#"{{"time":1,"process":0,"type":"invoke","f":"{function}","value":{value}}}
               {{"time":2,"process":0,"type":"fail","f":"{function}"}}"#
        );
        assert_eq!(calls(&text), [], "{function}");
    }
    let cas = Call::Cas {
        old: Value::Null,
        new: false.into(),
        succeeded: false,
    };
    assert_eq!(
        calls(
            r#"{"time":1,"process":0,"type":"invoke","f":"cas","value":[null,false]}
               {"time":2,"process":0,"type":"fail","f":"cas","value":[null,false]}"#
        ),
        [(cas, 1, Some(2))]
    );
}

#[test]
fn what_is_unknown_stays_open_while_its_process_goes_on() {
    let ended = format!(
        r#"{WRITE}
           {{"time":2,"process":0,"type":"info","f":"write","error":"timeout"}}
           {{"time":3,"process":0,"type":"invoke","f":"write","value":2}}
           {{"time":4,"process":1,"type":"invoke","f":"read"}}"#
    );
    assert_eq!(
        calls(&ended),
        [
            (Call::Write(1.into()), 1, None),
            (Call::Write(2.into()), 3, None)
        ]
    );
}

#[test]
fn lines_may_be_in_any_order_of_time() {
    let text = format!(
        "{}\n{WRITE}",
        r#"{"time":2,"process":0,"type":"ok","f":"write"}"#
    );
    assert_eq!(calls(&text), [(Call::Write(1.into()), 1, Some(2))]);
    let at_once = format!(
        "{WRITE}\n{}",
        r#"{"time":1,"process":0,"type":"ok","f":"write"}"#
    );
    assert_eq!(calls(&at_once), [(Call::Write(1.into()), 1, Some(1))]);
}

#[test]
fn numbers_are_compared_exactly() {
    let value = |text: &str| {
        let line =
            format!(r#"{{"time":1,"process":0,"type":"invoke","f":"write","value":{text}}}"#);
        parse(line.as_bytes(), ModelKind::Register).map(|mut operations| operations.remove(0).call)
    };
    for (text, expected) in [
        ("1.0", Value::Integer(1)),
        ("-0.0", Value::Integer(0)),
        ("1e3", Value::Integer(1_000)),
        ("18446744073709551615", Value::Integer(u64::MAX.into())),
        ("0.10", Value::Fraction("0.1".to_owned())),
        ("1e-300", Value::Fraction("1e-300".to_owned())),
    ] {
        assert_eq!(value(text).expect(text), Call::Write(expected));
    }
    for text in ["1e20", "18446744073709551616", "-1e300"] {
        assert_eq!(
            value(text).expect_err(text).to_string(),
            "line 1: expected a scalar `value` to write, found a number too large to compare exactly"
        );
    }
}

#[track_caller]
fn refused(text: &str, expected: &str) {
    let error = parse(text.as_bytes(), ModelKind::Kv).expect_err(text);
    assert_eq!(error.to_string(), expected, "{text}");
}

#[test]
fn lines_that_are_no_objects_are_refused() {
    refused(
        "\n nonsense",
        "line 2: expected a JSON object, found text that starts \"nonsense\"",
    );
    refused(
        "[1]",
        "line 1: expected a JSON object, found text that starts \"[1]\"",
    );
    refused(
        r#"{"time":1"#,
        "line 1: expected a JSON object, found EOF while parsing an object at column 9",
    );
    refused(
        r#"{"time":1,"time":2}"#,
        "line 1: expected a JSON object, found duplicate field `time` at column 16",
    );
    refused(
        r#"{"time":1} {}"#,
        "line 1: expected a JSON object, found trailing characters at column 12",
    );
    let error = parse(&b"{\"f\":\"\xff\"}"[..], ModelKind::Kv).expect_err("no UTF-8");
    assert!(
        error
            .to_string()
            .starts_with("line 1: expected a JSON object, found invalid unicode")
    );
}

/// The line after a good one, in which `was` is replaced.
#[track_caller]
fn replaced(was: &str, by: &str, expected: &str) {
    assert!(WRITE.contains(was), "{was}");
    let other = WRITE.replace("\"process\":0", "\"process\":1");
    let other = other.replace(&was.replace("\"process\":0", "\"process\":1"), by);
    refused(
        &format!("{WRITE}\n{other}"),
        &format!("line 2: expected {expected}"),
    );
}

#[test]
fn fields_that_are_wrong_are_refused() {
    let number =
        |name: &str, found: &str| format!("a whole number of 64 bits as `{name}`, found {found}");
    replaced("\"time\":1,", "", &number("time", "none"));
    replaced("\"time\":1,", "\"time\":-1,", &number("time", "-1"));
    replaced("\"time\":1,", "\"time\":\"1\",", &number("time", "\"1\""));
    replaced(
        "\"process\":0,",
        "\"process\":1.5,",
        &number("process", "1.5"),
    );
    replaced(
        "\"process\":0,",
        "\"process\":null,",
        &number("process", "null"),
    );
    let types = "`invoke`, `ok`, `fail` or `info` as `type`, found";
    replaced("\"invoke\"", "\"done\"", &format!("{types} \"done\""));
    replaced("\"invoke\"", "[1,2]", &format!("{types} [1,2]"));
    let functions = "`read`, `write`, `cas` or `append` as `f` in the model `kv`, found";
    replaced("\"write\"", "\"txn\"", &format!("{functions} \"txn\""));
    replaced("\"write\"", "{}", &format!("{functions} an object"));
    let write = "a scalar `value` to write, found";
    replaced("\"value\":1", "\"v\":1", &format!("{write} none"));
    replaced("\"value\":1", "\"value\":[1]", &format!("{write} an array"));
    replaced(
        "\"value\":1",
        "\"value\":1,\"key\":{}",
        "a scalar `key`, found an object",
    );
    for value in ["1", "[1]", "[1,2,3]", "[1,[2]]", "[]"] {
        let found = if value == "1" { "1" } else { "an array" };
        replaced(
            "\"write\",\"value\":1",
            &format!("\"cas\",\"value\":{value}"),
            &format!("[old, new] as `value` of cas, found {found}"),
        );
    }
    replaced(
        "\"write\",\"value\":1",
        "\"append\",\"value\":1",
        "a string `value` to append, found 1",
    );
}

#[test]
fn a_register_does_not_append() {
    let line = WRITE.replace("\"write\",\"value\":1", "\"append\",\"value\":\"a\"");
    let error = parse(line.as_bytes(), ModelKind::Register).expect_err("no append");
    assert_eq!(
        error.to_string(),
        "line 1: expected `read`, `write` or `cas` as `f` in the model `register`, found \"append\""
    );
}

#[test]
fn lines_that_contradict_earlier_ones_are_refused() {
    let completion = |time: u64, kind: &str, function: &str, more: &str| {
        format!("{{\"time\":{time},\"process\":0,\"type\":\"{kind}\",\"f\":\"{function}\"{more}}}")
    };
    let no_invoke = "an invoke of process 0 before this, at time 2 or earlier, found";
    let ok = completion(2, "ok", "write", "");
    refused(&ok, &format!("line 1: expected {no_invoke} ok of write"));
    let again = format!("{WRITE}\n{ok}\n{ok}");
    refused(&again, &format!("line 3: expected {no_invoke} ok of write"));
    refused(
        &format!("{WRITE}\n{}", completion(0, "fail", "write", "")),
        "line 2: expected an invoke of process 0 before this, at time 0 or earlier, found fail of write",
    );
    refused(
        &format!("{WRITE}\n{WRITE}"),
        "line 2: expected a completion of what process 0 invoked on line 1, found invoke of write",
    );
    let other = "line 2: expected a completion of line 1, invoke of write, found";
    refused(
        &format!("{WRITE}\n{}", completion(2, "ok", "read", ",\"value\":1")),
        &format!("{other} ok of read"),
    );
    refused(
        &format!(
            "{WRITE}\n{}",
            completion(2, "info", "write", ",\"key\":\"x\"")
        ),
        &format!("{other} info of write of key \"x\""),
    );
    refused(
        &format!("{WRITE}\n{}", completion(2, "ok", "write", ",\"value\":3")),
        "line 2: expected 1 again, or no `value`, found 3",
    );
    let read = WRITE.replace("write", "read");
    refused(
        &format!("{read}\n{}", completion(2, "ok", "read", "")),
        "line 2: expected the scalar `value` that was read, found none",
    );
}

#[test]
fn deep_and_large_lines_are_skipped_or_refused_without_harm() {
    let deep = "[".repeat(200_000) + &"]".repeat(200_000);
    let ignored = WRITE.replace("\"time\"", &format!("\"trace\":{deep},\"time\""));
    assert_eq!(parsed(&ignored).len(), 1);
    for value in [
        &deep[..],
        &deep[..100_000],
        &format!("[{}1]", "1,".repeat(200_000)),
    ] {
        let line = WRITE.replace("\"value\":1", &format!("\"value\":{value}"));
        let error = parse(line.as_bytes(), ModelKind::Kv).expect_err("no scalar");
        assert!(error.to_string().len() < 200, "{error}");
    }
    let long = WRITE.replace("\"write\"", &format!("\"{}\"", "w".repeat(200_000)));
    let error = parse(long.as_bytes(), ModelKind::Kv).expect_err("no function");
    assert!(error.to_string().len() < 200, "{error}");
}

#[test]
fn a_file_that_cannot_be_read_says_where() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("disk on fire"))
        }
    }
    let first = format!("{WRITE}\n");
    let text = BufReader::new(first.as_bytes().chain(Broken));
    let error = parse(text, ModelKind::Register).expect_err("broken");
    assert!(matches!(error, HistoryError::Io { line: 2, .. }));
    assert_eq!(error.to_string(), "cannot read line 2: disk on fire");
}
