//! The words of commands that are meant for the node itself.

use std::collections::BTreeSet;
use std::str::FromStr;

use bytes::Bytes;
use raft_core::{EntryId, Index, MemberChange, MembershipChange, NodeId, Term};

use crate::membership::Force;
use crate::place::{check_address, parse_node_id};
use crate::runtime::order::Order;

use super::table::{Parsed, is, shown};

/// The words behind a command's name: what it is about, then options in any order.
pub(super) struct Words<'a> {
    /// What the command looks like when it is right.
    usage: &'static str,
    pub(super) rest: &'a [Bytes],
    pub(super) expect: Option<&'a Bytes>,
    pub(super) learner: bool,
    pub(super) force: Force,
}

impl<'a> Words<'a> {
    /// Takes the options that a command knows off the end.
    pub(super) fn new(arguments: &'a [Bytes], options: &[&str], usage: &'static str) -> Self {
        let mut words = Self {
            usage,
            rest: &arguments[1..],
            expect: None,
            learner: false,
            force: Force::No,
        };
        let takes = |word: &Bytes, option| options.contains(&option) && is(word, option);
        loop {
            match words.rest {
                [rest @ .., word, value] if takes(word, "EXPECT") => {
                    words.expect = Some(value);
                    words.rest = rest;
                }
                [rest @ .., word] if takes(word, "LEARNER") => {
                    words.learner = true;
                    words.rest = rest;
                }
                [rest @ .., word] if takes(word, "FORCE") => {
                    words.force = Force::Yes;
                    words.rest = rest;
                }
                _ => return words,
            }
        }
    }

    /// The entry that made the configuration which is expected to be in force.
    pub(super) fn expected(&self) -> Result<Option<EntryId>, String> {
        self.expect.map(expected_id).transpose()
    }

    pub(super) fn change(
        &self,
        changes: impl IntoIterator<Item = MemberChange>,
    ) -> Result<Parsed, String> {
        let change = MembershipChange {
            expect: self.expected()?,
            ..MembershipChange::new(changes)
        };
        Ok(Parsed::Order(Order::Change(change)))
    }

    pub(super) fn one_node(&self) -> Result<NodeId, String> {
        match self.rest {
            [node] => node_id(node),
            _ => Err(self.wrong()),
        }
    }

    pub(super) fn nothing_more(&self) -> Result<(), String> {
        let nothing = self.rest.is_empty().then_some(());
        nothing.ok_or_else(|| self.wrong())
    }

    pub(super) fn wrong(&self) -> String {
        format!("ERR syntax error, expected {}", self.usage)
    }
}

/// Nobody means to name a node twice.
pub(super) fn each_once(nodes: impl IntoIterator<Item = NodeId>) -> Result<(), String> {
    let mut named = BTreeSet::new();
    let mut nodes = nodes.into_iter();
    match nodes.find(|node| !named.insert(*node)) {
        None => Ok(()),
        Some(node) => Err(format!(
            "ERR node {node} is named twice; name each node once"
        )),
    }
}

pub(super) fn number<N: FromStr>(word: &[u8]) -> Option<N> {
    core::str::from_utf8(word).ok()?.parse().ok()
}

pub(super) fn node_id(word: &Bytes) -> Result<NodeId, String> {
    // What is no text is no number, either.
    let text = core::str::from_utf8(word).unwrap_or_default();
    parse_node_id(text).map_err(|error| format!("ERR '{}' names no node: {error}", shown(word)))
}

/// `TERM.INDEX`.
pub(super) fn entry_id(word: &Bytes) -> Option<EntryId> {
    let dot = word.iter().position(|byte| *byte == b'.')?;
    Some(EntryId {
        term: Term(number(&word[..dot])?),
        index: Index(number(&word[dot + 1..])?),
    })
}

fn expected_id(word: &Bytes) -> Result<EntryId, String> {
    let expected =
        "ERR EXPECT takes TERM.INDEX, as RAFT.STATUS shows it for the configuration in force";
    entry_id(word).ok_or_else(|| expected.to_string())
}

pub(super) fn address(word: &Bytes) -> Result<String, String> {
    let text = core::str::from_utf8(word).unwrap_or_default();
    match check_address(text) {
        Ok(()) => Ok(text.to_string()),
        Err(error) => Err(format!("ERR '{}' is no address: {error}", shown(word))),
    }
}
