//! The commands that are meant for the node itself: how they are read, and how they are answered.

use bytes::Bytes;
use raft_core::replica::RequestError;
use raft_core::{ChangeRefusal, ClusterId, EntryId, MemberChange, Outcome, Rejection};

use crate::membership::{Joiner, Part};
use crate::moves::Move;
use crate::resp::Reply;
use crate::runtime::order::{Carried, Order};
use crate::status::{ServerStatus, text};

use super::table::Parsed;
use super::words::{Words, address, each_once, node_id};

/// `RAFT.ATTACH id host:port [id host:port …] [LEARNER] [EXPECT term.index]`.
///
/// A node that is a learner already becomes a voter, as by `RAFT.PROMOTE`; with `LEARNER` it is refused as a
/// member.
pub(super) fn attach(arguments: &[Bytes]) -> Result<Parsed, String> {
    let words = Words::new(
        arguments,
        &["EXPECT", "LEARNER"],
        "RAFT.ATTACH id host:port [id host:port ...] [LEARNER] [EXPECT term.index]",
    );
    let (pairs, rest) = words.rest.as_chunks::<2>();
    if pairs.is_empty() || !rest.is_empty() {
        return Err(words.wrong());
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
    let joiners = joiners.collect::<Result<Vec<_>, String>>()?;
    each_once(joiners.iter().map(|joiner| joiner.node))?;
    Ok(Parsed::Order(Order::Attach {
        joiners,
        expect: words.expected()?,
    }))
}

/// `RAFT.DETACH id [id …] [EXPECT term.index]`.
pub(super) fn detach(arguments: &[Bytes]) -> Result<Parsed, String> {
    let words = Words::new(
        arguments,
        &["EXPECT"],
        "RAFT.DETACH id [id ...] [EXPECT term.index]",
    );
    let nodes = words.rest.iter().map(node_id);
    let nodes = nodes.collect::<Result<Vec<_>, String>>()?;
    if nodes.is_empty() {
        return Err(words.wrong());
    }
    each_once(nodes.iter().copied())?;
    words.change(nodes.into_iter().map(|node| MemberChange::Remove { node }))
}

/// `RAFT.PROMOTE id [EXPECT term.index]`.
pub(super) fn promote(arguments: &[Bytes]) -> Result<Parsed, String> {
    let words = Words::new(
        arguments,
        &["EXPECT"],
        "RAFT.PROMOTE id [EXPECT term.index]",
    );
    let node = words.one_node()?;
    words.change([MemberChange::Promote { node }])
}

/// `RAFT.DEMOTE id [EXPECT term.index]`.
pub(super) fn demote(arguments: &[Bytes]) -> Result<Parsed, String> {
    let words = Words::new(arguments, &["EXPECT"], "RAFT.DEMOTE id [EXPECT term.index]");
    let node = words.one_node()?;
    words.change([MemberChange::Demote { node }])
}

/// `RAFT.MOVE id host:port [FORCE] [EXPECT term.index]`.
pub(super) fn set_address(arguments: &[Bytes]) -> Result<Parsed, String> {
    let words = Words::new(
        arguments,
        &["EXPECT", "FORCE"],
        "RAFT.MOVE id host:port [FORCE] [EXPECT term.index]",
    );
    let [node, place] = words.rest else {
        return Err(words.wrong());
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
    let words = Words::new(arguments, &[], "RAFT.TRANSFER [id]");
    let to = match words.rest {
        [] => None,
        [_, ..] => Some(words.one_node()?),
    };
    Ok(Parsed::Order(Order::Transfer(to)))
}

/// `RAFT.STEPDOWN`.
pub(super) fn step_down(arguments: &[Bytes]) -> Result<Parsed, String> {
    Words::new(arguments, &[], "RAFT.STEPDOWN").nothing_more()?;
    Ok(Parsed::Order(Order::StepDown))
}

/// `RAFT.SOLO [FORCE] [EXPECT cluster]`.
pub(super) fn solo(arguments: &[Bytes]) -> Result<Parsed, String> {
    let words = Words::new(
        arguments,
        &["EXPECT", "FORCE"],
        "RAFT.SOLO [FORCE] [EXPECT cluster]",
    );
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
    let words = Words::new(arguments, &["FORCE"], "RAFT.RESET [FORCE]");
    words.nothing_more()?;
    Ok(Parsed::Order(Order::Reset(words.force)))
}

/// `RAFT.SNAPSHOT`.
pub(super) fn snapshot(arguments: &[Bytes]) -> Result<Parsed, String> {
    Words::new(arguments, &[], "RAFT.SNAPSHOT").nothing_more()?;
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

/// What a client is told about an error of its order, if what it expected says more than others hear.
pub(super) fn explain(error: &RequestError, expected: EntryId) -> Option<String> {
    match error {
        RequestError::Rejected(Rejection::Change(ChangeRefusal::Stale { found })) => Some(format!(
            "ERR the configuration in force is {}, expected {}: it was changed meanwhile, or this was not its \
             name; look at it with RAFT.MEMBERS and RAFT.STATUS, and order again",
            text(*found),
            text(expected)
        )),
        RequestError::Rejected(_)
        | RequestError::Superseded(_)
        | RequestError::Unknown
        | RequestError::ReplyLost(_)
        | RequestError::Undecodable
        | RequestError::SessionExpired
        | RequestError::SequencePassed { .. }
        | RequestError::WindowFull { .. } => None,
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
        let wrong = |request: &str| {
            let name = request.split(' ').next().unwrap();
            let said = says(request);
            let expected = format!("ERR syntax error, expected {name}");
            assert!(said.starts_with(&expected), "{request}: {said}");
        };
        assert_eq!(
            says("RAFT.ATTACH 4"),
            "ERR wrong number of arguments for 'raft.attach' command"
        );
        wrong("RAFT.ATTACH 4 db4:7104 5");
        wrong("RAFT.ATTACH 4 LEARNER");
        assert_eq!(
            says("RAFT.ATTACH 4 db4"),
            "ERR 'db4' is no address: expected HOST:PORT with a port from 1 to 65535, for instance 10.0.0.1:7101"
        );
        assert!(says("RAFT.MOVE 4 db4:0").starts_with("ERR 'db4:0' is no address: "));
        assert!(
            says("RAFT.DETACH x").starts_with("ERR 'x' names no node: expected the id of a node")
        );
        wrong("RAFT.DETACH EXPECT 1.2");
        wrong("RAFT.PROMOTE 1 2");
        wrong("RAFT.RESET EXPECT 1.2");
        wrong("RAFT.TRANSFER 1 2");
        assert_eq!(
            says("RAFT.TRANSFER a b"),
            "ERR syntax error, expected RAFT.TRANSFER [id]"
        );
        for twice in ["RAFT.DETACH 2 3 2", "RAFT.ATTACH 2 a:1 3 b:1 2 c:1"] {
            let expected = "ERR node 2 is named twice; name each node once";
            assert_eq!(says(twice), expected, "{twice}");
        }
        assert!(says("RAFT.DETACH 1 EXPECT 12").contains("TERM.INDEX"));
        assert!(says("RAFT.SOLO EXPECT c1").contains("a cluster's id"));
    }
}
