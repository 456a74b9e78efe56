//! The commands that are meant for the node itself: how they are read, and how they are answered.

use std::str::FromStr;

use bytes::Bytes;
use raft_core::{ClusterId, EntryId, Index, MemberChange, MembershipChange, NodeId, Outcome, Term};

use crate::membership::{Force, Joiner, Part};
use crate::moves::Move;
use crate::resp::Reply;
use crate::runtime::order::{Carried, Order};
use crate::status::{ServerStatus, text};

use super::table::{Parsed, is, shown, syntax};

/// The words behind a command's name: what it is about, then options in any order.
struct Words<'a> {
    rest: &'a [Bytes],
    expect: Option<&'a Bytes>,
    learner: bool,
    force: Force,
}

impl<'a> Words<'a> {
    /// Takes the options that a command knows off the end.
    fn new(arguments: &'a [Bytes], options: &[&str]) -> Self {
        let mut words = Self {
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
    fn expected(&self) -> Result<Option<EntryId>, String> {
        self.expect.map(expected_id).transpose()
    }

    fn change(&self, changes: impl IntoIterator<Item = MemberChange>) -> Result<Parsed, String> {
        let change = MembershipChange {
            expect: self.expected()?,
            ..MembershipChange::new(changes)
        };
        Ok(Parsed::Order(Order::Change(change)))
    }

    fn one_node(&self) -> Result<NodeId, String> {
        match self.rest {
            [node] => node_id(node),
            _ => Err(syntax()),
        }
    }

    fn nothing_more(&self) -> Result<(), String> {
        self.rest.is_empty().then_some(()).ok_or_else(syntax)
    }
}

pub(super) fn number<N: FromStr>(word: &[u8]) -> Option<N> {
    core::str::from_utf8(word).ok()?.parse().ok()
}

fn node_id(word: &Bytes) -> Result<NodeId, String> {
    let id = number(word).map(NodeId);
    id.ok_or_else(|| {
        format!(
            "ERR '{}' is no id of a node, which is a number",
            shown(word)
        )
    })
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

fn address(word: &Bytes) -> Result<String, String> {
    let text = core::str::from_utf8(word).ok();
    let address = text.filter(|text| {
        let parts = text.rsplit_once(':');
        parts.is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
    });
    let address = address.map(str::to_string);
    address.ok_or_else(|| format!("ERR '{}' is no address, which is HOST:PORT", shown(word)))
}

/// `RAFT.ATTACH id host:port [id host:port …] [LEARNER] [EXPECT term.index]`.
pub(super) fn attach(arguments: &[Bytes]) -> Result<Parsed, String> {
    let words = Words::new(arguments, &["EXPECT", "LEARNER"]);
    let (pairs, rest) = words.rest.as_chunks::<2>();
    if pairs.is_empty() || !rest.is_empty() {
        return Err(syntax());
    }
    let part = if words.learner {
        Part::Learner
    } else {
        Part::Voter
    };
    let joiners = pairs.iter().map(|[node, place]| {
        Ok(Joiner {
            node: node_id(node)?,
            address: address(place)?,
            part,
        })
    });
    Ok(Parsed::Order(Order::Attach {
        joiners: joiners.collect::<Result<_, String>>()?,
        expect: words.expected()?,
    }))
}

/// `RAFT.DETACH id [id …] [EXPECT term.index]`.
pub(super) fn detach(arguments: &[Bytes]) -> Result<Parsed, String> {
    let words = Words::new(arguments, &["EXPECT"]);
    let nodes = words.rest.iter().map(node_id);
    let nodes = nodes.collect::<Result<Vec<_>, String>>()?;
    if nodes.is_empty() {
        return Err(syntax());
    }
    words.change(nodes.into_iter().map(|node| MemberChange::Remove { node }))
}

/// `RAFT.PROMOTE id [EXPECT term.index]`.
pub(super) fn promote(arguments: &[Bytes]) -> Result<Parsed, String> {
    let words = Words::new(arguments, &["EXPECT"]);
    let node = words.one_node()?;
    words.change([MemberChange::Promote { node }])
}

/// `RAFT.DEMOTE id [EXPECT term.index]`.
pub(super) fn demote(arguments: &[Bytes]) -> Result<Parsed, String> {
    let words = Words::new(arguments, &["EXPECT"]);
    let node = words.one_node()?;
    words.change([MemberChange::Demote { node }])
}

/// `RAFT.MOVE id host:port [FORCE] [EXPECT term.index]`.
pub(super) fn set_address(arguments: &[Bytes]) -> Result<Parsed, String> {
    let words = Words::new(arguments, &["EXPECT", "FORCE"]);
    let [node, place] = words.rest else {
        return Err(syntax());
    };
    let (node, address) = (node_id(node)?, address(place)?);
    Ok(Parsed::Order(Order::Move {
        to: Move { node, address },
        expect: words.expected()?,
        force: words.force,
    }))
}

/// `RAFT.TRANSFER [id]`.
pub(super) fn transfer(arguments: &[Bytes]) -> Result<Parsed, String> {
    let words = Words::new(arguments, &[]);
    let to = match words.rest {
        [] => None,
        [_, ..] => Some(words.one_node()?),
    };
    Ok(Parsed::Order(Order::Transfer(to)))
}

/// `RAFT.STEPDOWN`.
pub(super) fn step_down(arguments: &[Bytes]) -> Result<Parsed, String> {
    Words::new(arguments, &[]).nothing_more()?;
    Ok(Parsed::Order(Order::StepDown))
}

/// `RAFT.SOLO [FORCE] [EXPECT cluster]`.
pub(super) fn solo(arguments: &[Bytes]) -> Result<Parsed, String> {
    let words = Words::new(arguments, &["EXPECT", "FORCE"]);
    words.nothing_more()?;
    let cluster = |word: &Bytes| -> Result<ClusterId, String> {
        let id = core::str::from_utf8(word).ok().map(str::parse);
        let expected = "ERR EXPECT takes a cluster's id, as RAFT.STATUS shows it";
        id.and_then(Result::ok).ok_or_else(|| expected.to_string())
    };
    Ok(Parsed::Order(Order::Solo {
        expect: words.expect.map(cluster).transpose()?,
        force: words.force,
    }))
}

/// `RAFT.RESET [FORCE]`.
pub(super) fn reset(arguments: &[Bytes]) -> Result<Parsed, String> {
    let words = Words::new(arguments, &["FORCE"]);
    words.nothing_more()?;
    Ok(Parsed::Order(Order::Reset(words.force)))
}

/// `RAFT.SNAPSHOT`.
pub(super) fn snapshot(arguments: &[Bytes]) -> Result<Parsed, String> {
    Words::new(arguments, &[]).nothing_more()?;
    Ok(Parsed::Order(Order::Snapshot))
}

/// What a client is told whose order was carried out.
pub(super) fn outcome(carried: Carried) -> Reply {
    match carried {
        // As `EXPECT` takes it.
        Carried::Snapshot(id) | Carried::Out(Outcome::Changed(id)) => Reply::text(text(id)),
        Carried::Out(Outcome::Transferred(_) | Outcome::Emptied) => Reply::OK,
        Carried::Out(Outcome::Alone { committed, last }) => Reply::Map(vec![
            (Reply::text("committed"), Reply::number(committed.0)),
            (Reply::text("last"), Reply::number(last.0)),
        ]),
        Carried::Out(
            Outcome::Committed(_)
            | Outcome::ReadReady(_)
            | Outcome::Rejected(_)
            | Outcome::Superseded(_)
            | Outcome::Unknown,
        ) => unreachable!("orders are carried out, or end in an error"),
    }
}

/// Everybody who takes part.
pub(super) fn members(status: &ServerStatus) -> Reply {
    let members = status.members.iter().map(|member| {
        let address = member.address.clone();
        Reply::Map(vec![
            (Reply::text("id"), Reply::number(member.id)),
            (Reply::text("role"), Reply::text(member.role)),
            (Reply::text("store"), Reply::text(member.store.clone())),
            (
                Reply::text("address"),
                address.map_or(Reply::Null, Reply::text),
            ),
            (
                Reply::text("match_index"),
                member.match_index.map_or(Reply::Null, Reply::number),
            ),
            (
                Reply::text("leader"),
                Reply::Integer(i64::from(member.leader)),
            ),
        ])
    });
    Reply::Array(members.collect())
}

#[cfg(test)]
mod tests {
    use super::super::table::says;

    #[test]
    fn options_come_last_in_any_case_and_order() {
        let attach = says("raft.attach 4 db4:7104 5 db5:7105 learner expect 3.17");
        assert_eq!(
            attach,
            says("RAFT.ATTACH 4 db4:7104 5 db5:7105 EXPECT 3.17 LEARNER")
        );
        assert!(
            attach.contains("Learner") && attach.contains("Index(17)"),
            "{attach}"
        );
        let moved = says("RAFT.MOVE 3 db7:7103 EXPECT 3.17 FORCE");
        assert!(
            moved.contains("Yes") && moved.contains("Index(17)"),
            "{moved}"
        );
        let solo = says("RAFT.SOLO FORCE EXPECT 000000000000000000000000000000c1");
        assert!(solo.contains("Yes") && solo.contains("c1)"), "{solo}");
        assert_eq!(
            solo,
            says("RAFT.SOLO expect 000000000000000000000000000000c1 force")
        );
    }

    #[test]
    fn what_cannot_be_meant_is_refused_with_what_would_work() {
        assert_eq!(
            says("RAFT.ATTACH 4"),
            "ERR wrong number of arguments for 'raft.attach' command"
        );
        assert_eq!(says("RAFT.ATTACH 4 db4:7104 5"), "ERR syntax error");
        assert_eq!(says("RAFT.ATTACH 4 LEARNER"), "ERR syntax error");
        assert_eq!(
            says("RAFT.ATTACH 4 db4"),
            "ERR 'db4' is no address, which is HOST:PORT"
        );
        assert_eq!(
            says("RAFT.DETACH x"),
            "ERR 'x' is no id of a node, which is a number"
        );
        assert_eq!(says("RAFT.DETACH EXPECT 1.2"), "ERR syntax error");
        assert_eq!(says("RAFT.PROMOTE 1 2"), "ERR syntax error");
        assert_eq!(says("RAFT.RESET EXPECT 1.2"), "ERR syntax error");
        assert_eq!(says("RAFT.TRANSFER 1 2"), "ERR syntax error");
        assert!(says("RAFT.DETACH 1 EXPECT 12").contains("TERM.INDEX"));
        assert!(says("RAFT.SOLO EXPECT c1").contains("a cluster's id"));
    }
}
