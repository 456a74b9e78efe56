//! What users build on: thread-safety, sizes, and what must stay small.

use raft_core::replica::{Applied, Replica, Serde, StateMachine};
use raft_core::wal::Wal;
use raft_core::{Action, Bytes, Entry, Envelope, Node};
use raft_sim::MemoryDisk;

#[derive(Debug, Default)]
struct Nothing;

impl StateMachine for Nothing {
    type Command = Bytes;
    type Query = ();
    type Reply = ();

    fn apply(&mut self, _entry: Applied<Bytes>) {}

    fn query(&self, (): &()) {}

    type Image = Serde<()>;

    fn image(&self) -> Serde<()> {
        Serde(())
    }

    fn restore(&mut self, image: Serde<()>) {
        let Serde(()) = image;
    }
}

const fn moves_between_threads<T: Send + Sync>() {}

#[test]
fn everything_moves_between_threads() {
    moves_between_threads::<Node>();
    moves_between_threads::<Replica<Nothing>>();
    moves_between_threads::<Wal<MemoryDisk>>();
    moves_between_threads::<Action>();
}

/// Messages and actions are moved around by value; an idle group is one node.
#[test]
fn what_is_moved_around_is_small() {
    assert!(size_of::<Entry>() <= 56, "{}", size_of::<Entry>());
    assert!(size_of::<Envelope>() <= 184, "{}", size_of::<Envelope>());
    assert!(size_of::<Action>() <= 80, "{}", size_of::<Action>());
    assert!(size_of::<Node>() <= 680, "{}", size_of::<Node>());
}
