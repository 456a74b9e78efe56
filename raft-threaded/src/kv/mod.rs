//! `raft-kv`: a replicated key-value server for Redis clients.

mod command;
mod connection;
mod front;
mod glob;
mod kept;
mod local;
mod machine;
mod once;
mod orders;
mod pair;
mod reads;
mod refusal;
mod serve;
mod shard;
mod shards;
mod table;
mod words;

pub use self::command::{Condition, KvCommand, KvQuery};
pub use self::machine::{KvImage, KvReply, KvStore};
pub use self::serve::{KvOptions, KvServer};
