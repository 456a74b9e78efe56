//! The first words on a connection between nodes.

use bytes::Buf;
use raft_core::codec::{CODEC_ID, FORMAT_VERSION};
use raft_core::{Boot, ClusterId, GroupId, Identity, Member};
use serde::{Deserialize, Serialize};

const MAGIC: [u8; 8] = *b"raft-tcp";

/// Who speaks to whom: what a dialer says before anything else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The dialer.
    pub from: Identity,
    /// Which life of it.
    pub boot: Boot,
    /// The member it wants to reach.
    pub to: Member,
}

/// Why a connection is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HelloError {
    /// Not a node of this kind at all.
    #[error("this port is for raft peers; clients connect to the client port")]
    NotAPeer,
    /// A node that speaks another version.
    #[error(
        "format {version} with codec {codec}, expected format {FORMAT_VERSION} with codec {CODEC_ID}"
    )]
    Version {
        /// Its format version.
        version: u16,
        /// Its codec.
        codec: u8,
    },
    /// Its words make no sense.
    #[error("the hello does not decode: {0}")]
    Malformed(String),
    /// A node of another cluster.
    #[error("group {} of cluster {}, expected group {} of cluster {}", found.0, found.1, expected.0, expected.1)]
    Cluster {
        /// Who was reached.
        expected: (GroupId, ClusterId),
        /// Who dialed.
        found: (GroupId, ClusterId),
    },
    /// It wants to reach another node or an earlier store of this one.
    #[error(
        "it looks for node {} with store {}, and this is node {} with store {}",
        wanted.node, wanted.store, found.node, found.store
    )]
    Misaddressed {
        /// Who was wanted.
        wanted: Member,
        /// Who was reached.
        found: Member,
    },
}

impl Hello {
    /// The hello's bytes.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        out.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
        out.push(CODEC_ID);
        let body = bincode::serde::encode_to_vec(self, bincode::config::standard());
        out.extend(body.unwrap_or_default());
        out
    }

    /// Reads a hello.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, HelloError> {
        let Some(mut rest) = bytes.strip_prefix(&MAGIC) else {
            return Err(HelloError::NotAPeer);
        };
        if rest.len() < 3 {
            return Err(HelloError::Malformed("it ends too early".to_string()));
        }
        let (version, codec) = (rest.get_u16_le(), rest.get_u8());
        if version != FORMAT_VERSION || codec != CODEC_ID {
            return Err(HelloError::Version { version, codec });
        }
        let config = bincode::config::standard().with_limit::<4096>();
        match bincode::serde::decode_from_slice(rest, config) {
            Ok((hello, used)) if used == rest.len() => Ok(hello),
            Ok((_, used)) => Err(HelloError::Malformed(format!(
                "{} bytes left over",
                rest.len() - used
            ))),
            Err(error) => Err(HelloError::Malformed(error.to_string())),
        }
    }

    /// Whether the dialer may speak to this node.
    pub(crate) fn check(&self, own: Identity) -> Result<(), HelloError> {
        if self.from.cluster != own.cluster || self.from.group != own.group {
            return Err(HelloError::Cluster {
                expected: (own.group, own.cluster),
                found: (self.from.group, self.from.cluster),
            });
        }
        if self.to != own.member {
            return Err(HelloError::Misaddressed {
                wanted: self.to,
                found: own.member,
            });
        }
        Ok(())
    }
}
