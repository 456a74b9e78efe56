//! Which node, and where it is, as people write it: one set of rules for every edge.

use std::net::{IpAddr, Ipv4Addr};

use raft_core::NodeId;

/// Text that is no address at which a node is reached: whoever wrote it must act.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected HOST:PORT with a port from 1 to 65535, for instance 10.0.0.1:7101")]
pub struct AddressError;

/// Text that names no node: whoever wrote it must act.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected the id of a node, a number from 0 to {}, for instance 3",
    NODE_ID_MAX
)]
pub struct NodeIdError;

/// Answers to clients have ids as signed numbers.
const NODE_ID_MAX: u64 = i64::MAX as u64;

/// Makes sure that text is an address at which others can reach a node: `host:port`, where the port is not 0,
/// which stands for any port and can only be listened on. The host is looked up when it is dialed.
///
/// # Errors
///
/// What is expected instead.
pub fn check_address(text: &str) -> Result<(), AddressError> {
    split(text).map(drop).ok_or(AddressError)
}

/// The node that text names: a number from 0 to 2⁶³ - 1.
///
/// # Errors
///
/// What is expected instead.
pub fn parse_node_id(text: &str) -> Result<NodeId, NodeIdError> {
    let id = text.parse().ok().filter(|id| *id <= NODE_ID_MAX);
    id.map(NodeId).ok_or(NodeIdError)
}

/// Whether two addresses are certainly one place, without asking anybody what a name stands for, which may be
/// something else on another machine.
pub(crate) fn is_one_place(one: &str, other: &str) -> bool {
    let place = |text| split(text).map(|(host, port)| (plain_host(host), port));
    one == other || place(one).is_some_and(|one| Some(one) == place(other))
}

fn split(text: &str) -> Option<(&str, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    let port = port.parse().ok().filter(|port| *port != 0)?;
    (!host.is_empty()).then_some((host, port))
}

/// A host in the one way to write it.
fn plain_host(host: &str) -> String {
    let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
    match bare.unwrap_or(host).parse::<IpAddr>() {
        Ok(ip) if ip == Ipv4Addr::LOCALHOST => "localhost".to_string(),
        Ok(ip) => ip.to_string(),
        Err(_) => host.to_ascii_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_a_host_and_a_port_that_can_be_dialed() {
        for right in ["db1:6379", "10.0.0.1:1", "[::1]:65535"] {
            assert_eq!(check_address(right), Ok(()), "{right}");
        }
        for wrong in [
            "127.0.0.1",
            ":6379",
            "db1:",
            "db1:x",
            "db1:0",
            "db1:65536",
            "",
        ] {
            assert_eq!(check_address(wrong), Err(AddressError), "{wrong}");
        }
    }

    #[test]
    fn a_node_is_named_by_a_number_that_every_client_can_read() {
        assert_eq!(parse_node_id("0"), Ok(NodeId(0)));
        assert_eq!(
            parse_node_id("9223372036854775807"),
            Ok(NodeId(NODE_ID_MAX))
        );
        for wrong in ["9223372036854775808", "-1", "x", ""] {
            assert_eq!(parse_node_id(wrong), Err(NodeIdError), "{wrong}");
        }
    }

    #[test]
    fn one_place_is_known_in_whichever_way_it_is_written() {
        for (one, other) in [
            ("db1:7101", "DB1:7101"),
            ("127.0.0.1:7101", "localhost:7101"),
            ("[::1]:7101", "[0:0:0:0:0:0:0:1]:7101"),
        ] {
            assert!(is_one_place(one, other), "{one} {other}");
        }
        for (one, other) in [
            ("db1:7101", "db1:7102"),
            ("db1:7101", "db2:7101"),
            ("127.0.0.1:7101", "127.0.0.2:7101"),
        ] {
            assert!(!is_one_place(one, other), "{one} {other}");
        }
    }
}
