//! A node and where it is, as people write it.

use std::collections::BTreeSet;
use std::str::FromStr;

use super::failure::{Failure, not_understood};
use super::values;

/// A node and its address, as `1=10.0.0.1:7101`.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) id: u64,
    pub(super) address: String,
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = "expected ID=HOST:PORT, for instance 1=10.0.0.1:7101";
        let (id, address) = text.split_once('=').ok_or(expected)?;
        let id = values::node_id(id).map_err(|error| format!("'{id}' names no node: {error}"))?;
        let address = values::host_port(address)
            .map_err(|error| format!("'{address}' is no address: {error}"))?;
        Ok(Self { id, address })
    }
}

/// Nobody means to name a node twice.
pub(super) fn each_once(nodes: impl IntoIterator<Item = u64>) -> Result<(), Failure> {
    let mut named = BTreeSet::new();
    let mut nodes = nodes.into_iter();
    match nodes.find(|node| !named.insert(*node)) {
        None => Ok(()),
        Some(node) => Err(not_understood(format!(
            "node {node} is named twice; name each node once"
        ))),
    }
}
