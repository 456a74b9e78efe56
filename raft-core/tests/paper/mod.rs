//! Sentences of the paper and the dissertation, and rules that others got wrong, as tests of one node.
//!
//! A rule's number, as in `// S44`, leads from the checklist of rules to its test and back. All 64 apply, and have
//! their tests here or beside what they are about: the log's, the replica's, the simulator's.
#![expect(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a test that cannot go on has failed, and looks only at what it is about"
)]

mod clocks;
mod compaction;
mod election;
mod group;
mod identity;
mod installs;
mod joining;
mod leases;
mod membership;
mod offers;
mod persistence;
mod priority;
mod reads;
mod replication;
mod requests;
mod snapshots;
mod solo;
mod staleness;
mod stall;
mod steady;
mod storms;
mod subject;
mod transfer;
mod vacancy;
