//! What a client is told whose request was not carried out.

use raft_core::replica::RequestError;
use raft_core::{ChangeRefusal, Rejection, TransferRefusal};

use crate::error::ClientError;
use crate::resp::Reply;

pub(super) fn too_long(bytes: u64, limit: u64) -> Reply {
    Reply::Error(format!(
        "ERR a value of {bytes} bytes exceeds the limit of {limit} bytes"
    ))
}

/// What a client is told whose request has no reply; the first word says whether to try again.
fn explain(error: &RequestError) -> Reply {
    let kind = match error {
        RequestError::Rejected(rejection) => match rejection {
            Rejection::NotLeader { leader: Some(_) } => "NOTLEADER",
            Rejection::NotLeader { leader: None } | Rejection::NoQuorum | Rejection::Halted => {
                "CLUSTERDOWN"
            }
            Rejection::Busy(_)
            | Rejection::Transferring
            | Rejection::Change(ChangeRefusal::InProgress | ChangeRefusal::TooEarly)
            | Rejection::Transfer(TransferRefusal::InProgress) => "BUSY",
            Rejection::StorageFull | Rejection::OwnStorageFull => "MISCONF",
            Rejection::TooLarge { .. }
            | Rejection::Change(_)
            | Rejection::Transfer(_)
            | Rejection::Identity(_) => "ERR",
        },
        // Certainly not done, because another leader took over.
        RequestError::Superseded(_) => "NOTLEADER",
        RequestError::Unknown | RequestError::ReplyLost(_) => "UNKNOWN",
        RequestError::Undecodable
        | RequestError::SessionExpired
        | RequestError::SequencePassed { .. }
        | RequestError::WindowFull { .. } => "ERR",
    };
    Reply::Error(format!("{kind} {error}"))
}

/// What a client is told that was refused by this node, whatever it asked for.
pub(super) fn refuse(error: &ClientError) -> Reply {
    let hint = if error.could_be_forced() {
        " (FORCE)"
    } else {
        ""
    };
    match error {
        ClientError::Request(error) => explain(error),
        ClientError::NoCluster { .. }
        | ClientError::NotAMember { .. }
        | ClientError::Removed { .. } => Reply::Error(format!("NOTMEMBER {error}")),
        ClientError::Overloaded => Reply::Error(format!("BUSY {error}")),
        ClientError::Stopped => Reply::Error(format!("UNKNOWN {error}")),
        ClientError::OtherVoters { .. }
        | ClientError::StillAMember { .. }
        | ClientError::Joiner(_)
        | ClientError::Move(_)
        | ClientError::Snapshot(_)
        | ClientError::NoRandomness => Reply::Error(format!("ERR {error}{hint}")),
    }
}

#[cfg(test)]
mod tests {
    use raft_core::NodeId;
    use raft_core::replica::RequestError;

    use super::*;
    use crate::moves::MoveError;

    #[test]
    fn force_is_offered_only_where_nobody_answers() {
        let (node, address) = (NodeId(3), "db7:7103".to_string());
        let said = |error: MoveError| {
            let Reply::Error(said) = refuse(&error.into()) else {
                panic!("a refusal is an error");
            };
            said
        };
        let silent = said(MoveError::Silent {
            node,
            address: address.clone(),
            error: String::new(),
        });
        assert!(silent.ends_with("(FORCE)"), "{silent}");
        let other = said(MoveError::OtherNode {
            node,
            address,
            found: NodeId(2),
        });
        assert!(!other.contains("FORCE"), "{other}");
    }

    #[test]
    fn the_first_word_says_whom_to_ask_next() {
        let node = NodeId(3);
        let full = RequestError::Rejected(Rejection::OwnStorageFull);
        for (error, expected) in [
            (full.into(), "MISCONF the disk of this node is full"),
            (
                ClientError::NoCluster { node },
                "NOTMEMBER node 3 is in no cluster",
            ),
            (
                ClientError::NotAMember { node },
                "NOTMEMBER node 3 was removed",
            ),
            (ClientError::Overloaded, "BUSY "),
            (ClientError::Stopped, "UNKNOWN "),
        ] {
            let Reply::Error(said) = refuse(&error) else {
                panic!("{error} is refused");
            };
            assert!(said.starts_with(expected), "{said}");
        }
    }
}
