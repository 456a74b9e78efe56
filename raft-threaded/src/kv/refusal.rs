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
pub(super) fn explain(error: &RequestError) -> Reply {
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

/// What a client is told whose order was not carried out.
pub(super) fn refuse(error: &ClientError) -> Reply {
    let hint = if error.could_be_forced() {
        " (FORCE)"
    } else {
        ""
    };
    match error {
        ClientError::Request(error) => explain(error),
        ClientError::Overloaded => Reply::Error(format!("BUSY {error}")),
        ClientError::Stopped => Reply::Error(format!("UNKNOWN {error}")),
        ClientError::OtherVoters { .. }
        | ClientError::StillAMember { .. }
        | ClientError::Joiner(_)
        | ClientError::Snapshot(_)
        | ClientError::NoRandomness => Reply::Error(format!("ERR {error}{hint}")),
    }
}
