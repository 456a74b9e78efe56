//! Whole messages: control part, then bulk.

use alloc::vec::Vec;

use bytes::{Buf, Bytes};

use crate::message::{Body, Envelope};

use super::bulk::{decode_commands, encode_commands, finish, need};
use super::{DecodeError, decode_entries, decode_value, encode_entries, encode_part};

/// Appends the control part of a message to `out`, with its length in front.
///
/// ```
/// use raft_core::codec;
/// # use raft_core::*;
/// # let member = Member { node: NodeId(1), store: StorageId(1) };
/// # let identity = Identity { group: GroupId(0), cluster: ClusterId(7), member };
/// # let envelope = Envelope {
/// #     from: identity, boot: Boot(1), to: Member { node: NodeId(2), store: StorageId(2) },
/// #     term: Term(3), session: Session::default(), body: Body::StaleTerm,
/// # };
/// let mut frame = Vec::new();
/// codec::encode_control(&envelope, &mut frame);
/// codec::encode_bulk(&envelope.body, &mut frame);
/// assert_eq!(codec::decode_envelope(&Bytes::from(frame)), Ok(envelope));
/// ```
pub fn encode_control(envelope: &Envelope, out: &mut Vec<u8>) {
    encode_part(envelope, out);
}

/// Whether messages like this one have a bulk part.
#[must_use]
pub const fn has_bulk(body: &Body) -> bool {
    match body {
        Body::AppendEntries { .. } | Body::ForwardProposals { .. } | Body::SnapshotChunk { .. } => {
            true
        }
        Body::RequestPreVote { .. }
        | Body::PreVoteReply { .. }
        | Body::RequestVote { .. }
        | Body::VoteReply { .. }
        | Body::AppendReply(_)
        | Body::Heartbeat { .. }
        | Body::HeartbeatReply { .. }
        | Body::StaleTerm
        | Body::ForwardProposalsReply { .. }
        | Body::ForwardRead { .. }
        | Body::ForwardReadReply { .. }
        | Body::ForwardControl { .. }
        | Body::ForwardControlReply { .. }
        | Body::TimeoutNow { .. }
        | Body::AskMembership { .. }
        | Body::NotAMember { .. }
        | Body::RequestLeadership { .. }
        | Body::InstallSnapshot { .. }
        | Body::FetchSnapshot { .. }
        | Body::NoSnapshot => false,
    }
}

/// Appends the bulk part of a message to `out`: nothing for most.
///
/// It depends on the entries alone, so appends that share their entries share these bytes.
pub fn encode_bulk(body: &Body, out: &mut Vec<u8>) {
    match body {
        Body::AppendEntries { entries, .. } => encode_entries(entries, out),
        Body::ForwardProposals { commands } => encode_commands(commands, out),
        Body::SnapshotChunk { bytes, .. } => out.extend_from_slice(bytes),
        Body::RequestPreVote { .. }
        | Body::PreVoteReply { .. }
        | Body::RequestVote { .. }
        | Body::VoteReply { .. }
        | Body::AppendReply(_)
        | Body::Heartbeat { .. }
        | Body::HeartbeatReply { .. }
        | Body::StaleTerm
        | Body::ForwardProposalsReply { .. }
        | Body::ForwardRead { .. }
        | Body::ForwardReadReply { .. }
        | Body::ForwardControl { .. }
        | Body::ForwardControlReply { .. }
        | Body::TimeoutNow { .. }
        | Body::AskMembership { .. }
        | Body::NotAMember { .. }
        | Body::RequestLeadership { .. }
        | Body::InstallSnapshot { .. }
        | Body::FetchSnapshot { .. }
        | Body::NoSnapshot => {}
    }
}

/// Reads a message that fills `frame` exactly; payloads stay slices of it.
///
/// # Errors
///
/// If the frame is not one whole message in its one shortest form.
pub fn decode_envelope(frame: &Bytes) -> Result<Envelope, DecodeError> {
    let mut rest = frame.clone();
    need("a message", 4, rest.len())?;
    let length = rest.get_u32_le();
    need("the control part", length.into(), rest.len())?;
    let control = rest.split_to(length as usize);
    let mut envelope: Envelope = decode_value(&control)?;
    match &mut envelope.body {
        Body::AppendEntries { entries, .. } => *entries = decode_entries(&rest)?.into(),
        Body::ForwardProposals { commands } => *commands = decode_commands(&rest)?,
        Body::SnapshotChunk { bytes, .. } => *bytes = rest,
        Body::RequestPreVote { .. }
        | Body::PreVoteReply { .. }
        | Body::RequestVote { .. }
        | Body::VoteReply { .. }
        | Body::AppendReply(_)
        | Body::Heartbeat { .. }
        | Body::HeartbeatReply { .. }
        | Body::StaleTerm
        | Body::ForwardProposalsReply { .. }
        | Body::ForwardRead { .. }
        | Body::ForwardReadReply { .. }
        | Body::ForwardControl { .. }
        | Body::ForwardControlReply { .. }
        | Body::TimeoutNow { .. }
        | Body::AskMembership { .. }
        | Body::NotAMember { .. }
        | Body::RequestLeadership { .. }
        | Body::InstallSnapshot { .. }
        | Body::FetchSnapshot { .. }
        | Body::NoSnapshot => finish("the control part", &rest)?,
    }
    Ok(envelope)
}
