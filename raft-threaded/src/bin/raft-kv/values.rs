//! Values of flags, as people write them: each parser says what it expected, after which clap says what it found.

use std::fmt::Display;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::str::FromStr;

use raft_threaded::{check_address, parse_node_id};

/// The id of a node.
pub(super) fn node_id(text: &str) -> Result<u64, String> {
    let id = parse_node_id(text).map_err(|error| error.to_string())?;
    Ok(id.0)
}

/// Where somebody is reached.
pub(super) fn host_port(text: &str) -> Result<String, String> {
    check_address(text).map_err(|error| error.to_string())?;
    Ok(text.to_string())
}

/// What made a configuration.
pub(super) fn entry_id(text: &str) -> Result<String, String> {
    let numbers = text.split_once('.');
    let right = numbers
        .is_some_and(|(term, index)| term.parse::<u64>().is_ok() && index.parse::<u64>().is_ok());
    let expected = || "expected TERM.INDEX, two numbers such as 3.17".to_string();
    right.then(|| text.to_string()).ok_or_else(expected)
}

/// Where to listen.
pub(super) fn ip_port(text: &str) -> Result<SocketAddr, String> {
    parsed(
        text,
        "IP:PORT of an address of this machine, for instance 0.0.0.0:7101",
    )
}

/// A time.
pub(super) fn millis(text: &str) -> Result<u64, String> {
    parsed(text, "a number of milliseconds")
}

/// A number in a range.
pub(super) fn number<N>(range: RangeInclusive<N>) -> impl Fn(&str) -> Result<N, String> + Clone
where
    N: Clone + Display + FromStr + PartialOrd,
{
    move |text| {
        let found = text.parse().ok().filter(|found| range.contains(found));
        let (low, high) = (range.start(), range.end());
        found.ok_or_else(|| format!("expected a number from {low} to {high}"))
    }
}

/// So many of them, as people say it.
pub(super) fn counted(count: usize, what: &str) -> String {
    let ending = if count == 1 { "" } else { "s" };
    format!("{count} {what}{ending}")
}

fn parsed<T: FromStr>(text: &str, what: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("expected {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_expected_is_said_and_not_what_a_parser_stumbled_over() {
        assert_eq!(node_id("3"), Ok(3));
        assert!(node_id("x").unwrap_err().contains("the id of a node"));
        assert!(millis("1s").unwrap_err().contains("milliseconds"));
        assert_eq!(host_port("db1:6379"), Ok("db1:6379".to_string()));
        assert!(host_port("db1:0").unwrap_err().contains("HOST:PORT"));
        assert!(ip_port("db1:7101").unwrap_err().contains("IP:PORT"));
        let small = number(1..=9_u16);
        assert_eq!(small("9"), Ok(9));
        for wrong in ["0", "10", "x", ""] {
            let expected = "expected a number from 1 to 9".to_string();
            assert_eq!(small(wrong), Err(expected));
        }
    }
}
