//! The first words on a connection between nodes.

use bytes::Buf;
use raft_core::codec::{CODEC_ID, FORMAT_VERSION};
use raft_core::{Boot, ClusterId, GroupId, Identity, Member};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

const MAGIC: [u8; 8] = *b"raft-tcp";

/// What a dialer says before anything else, and a peer again when its own address changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Opening {
    /// It is a peer and goes on with messages.
    Peer(Hello),
    /// It only wants to know who is here, and is told with an [`Introduction`].
    WhoAreYou,
}

/// Who speaks to whom.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The dialer.
    pub from: Identity,
    /// Which life of it.
    pub boot: Boot,
    /// The member it wants to reach.
    pub to: Member,
    /// Where it is reached itself, for those whose configuration does not say: a node that is being
    /// attached, or one that was away for long. Empty if it does not know.
    pub address: String,
}

/// Who is here: the answer to [`Opening::WhoAreYou`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Introduction {
    /// The node, its store, and its cluster, if it is in one.
    pub identity: Identity,
    /// Which life of it.
    pub boot: Boot,
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
    /// A dialer that belongs to no cluster has nothing to say.
    #[error("a node without a cluster speaks only when it is spoken to")]
    NoCluster,
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

impl Opening {
    /// The opening's bytes.
    pub(crate) fn encode(&self) -> Vec<u8> {
        encode(self)
    }

    /// Reads an opening.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, HelloError> {
        decode(bytes)
    }

    /// Whether this is an opening and not a message, whose first bytes are a length: taken for one, the magic
    /// is more than any frame holds.
    pub(crate) fn is_one(bytes: &[u8]) -> bool {
        bytes.starts_with(&MAGIC)
    }
}

impl Introduction {
    /// The introduction's bytes.
    pub(crate) fn encode(&self) -> Vec<u8> {
        encode(self)
    }

    /// Reads an introduction.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, HelloError> {
        decode(bytes)
    }
}

fn encode(words: &impl Serialize) -> Vec<u8> {
    let mut out = MAGIC.to_vec();
    out.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
    out.push(CODEC_ID);
    let body = bincode::serde::encode_to_vec(words, bincode::config::standard());
    out.extend(body.unwrap_or_default());
    out
}

fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, HelloError> {
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
        Ok((words, used)) if used == rest.len() => Ok(words),
        Ok((_, used)) => Err(HelloError::Malformed(format!(
            "{} bytes left over",
            rest.len() - used
        ))),
        Err(error) => Err(HelloError::Malformed(error.to_string())),
    }
}

impl Hello {
    /// Whether the dialer may speak to this node, which belongs to no cluster while it waits to be
    /// attached: then any may, and the node inside decides whom it believes.
    pub(crate) fn check(&self, own: Identity) -> Result<(), HelloError> {
        if self.from.cluster == ClusterId::NONE {
            return Err(HelloError::NoCluster);
        }
        let foreign = self.from.cluster != own.cluster && own.cluster != ClusterId::NONE;
        if foreign || self.from.group != own.group {
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

#[cfg(test)]
mod tests {
    use super::*;
    use raft_core::{NodeId, StorageId};

    const NODE: Member = Member {
        node: NodeId(4),
        store: StorageId(0xa4),
    };

    fn identity(cluster: u128, member: Member) -> Identity {
        Identity {
            group: GroupId(0),
            cluster: ClusterId(cluster),
            member,
        }
    }

    fn hello(cluster: u128, to: Member) -> Hello {
        Hello {
            from: identity(cluster, Member::default()),
            boot: Boot(1),
            to,
            address: "db1:7101".to_string(),
        }
    }

    #[test]
    fn what_is_said_is_read_as_it_was_said() {
        for opening in [Opening::WhoAreYou, Opening::Peer(hello(7, NODE))] {
            assert_eq!(Opening::decode(&opening.encode()), Ok(opening));
        }
        let introduction = Introduction {
            identity: identity(7, NODE),
            boot: Boot(3),
        };
        assert_eq!(
            Introduction::decode(&introduction.encode()),
            Ok(introduction)
        );
    }

    #[test]
    fn words_that_end_too_early_or_too_late_are_none() {
        let mut bytes = Opening::Peer(hello(7, NODE)).encode();
        for end in 0..bytes.len() {
            assert!(Opening::decode(&bytes[..end]).is_err(), "of {end} bytes");
        }
        bytes.push(0);
        assert!(matches!(
            Opening::decode(&bytes),
            Err(HelloError::Malformed(_))
        ));
    }

    /// P6.
    #[test]
    fn a_node_without_a_cluster_listens_to_any_and_one_with_a_cluster_to_its_own_only() {
        let (blank, member) = (identity(0, NODE), identity(7, NODE));
        assert_eq!(hello(7, NODE).check(blank), Ok(()));
        assert_eq!(hello(8, NODE).check(blank), Ok(()));
        assert_eq!(hello(7, NODE).check(member), Ok(()));
        assert!(matches!(
            hello(8, NODE).check(member),
            Err(HelloError::Cluster { .. })
        ));
        assert_eq!(hello(0, NODE).check(member), Err(HelloError::NoCluster));
        assert_eq!(hello(0, NODE).check(blank), Err(HelloError::NoCluster));
    }

    /// P6: an earlier store of a node that was made anew is another member.
    #[test]
    fn a_dialer_that_looks_for_another_store_of_the_node_is_refused() {
        let earlier = Member {
            store: StorageId(0xa3),
            ..NODE
        };
        assert!(matches!(
            hello(7, earlier).check(identity(7, NODE)),
            Err(HelloError::Misaddressed { .. })
        ));
    }
}
