//! Snapshots: what one is said to be is what the log says, and what it contains is the state there (§7).

use raft_core::replica::{Image, ReplicaImage};
use raft_core::{EntryId, NodeId, SnapshotMeta};

use super::Judge;
use super::chain::{Chain, mix_bytes};
use super::ghost::Configured;
use super::invariant::Invariant;
use crate::machine::Machine;

/// What is known of a snapshot that some node took.
#[derive(Clone, Debug)]
pub(super) struct Known {
    meta: SnapshotMeta,
    /// All that it contains, as a number.
    contents: u64,
    /// The state machine's part, as a number.
    machine: u64,
}

/// So many places are remembered; older snapshots are in use no more.
const KNOWN_MAX: usize = 256;

/// All that an image contains, as a number.
pub(crate) fn image_hash<I: Image>(image: &I) -> u64 {
    let mut bytes = Vec::new();
    let written = image.write(&mut bytes);
    written.unwrap_or_else(|_| unreachable!("memory takes everything"));
    mix_bytes(0, &bytes)
}

impl<S: Machine> Judge<S> {
    /// A node freezes its state for a snapshot.
    pub(crate) fn freezing<I: Image>(
        &mut self,
        node: NodeId,
        meta: &SnapshotMeta,
        image: &ReplicaImage<I>,
    ) {
        if self.is_stranger(node) {
            return;
        }
        self.checks += 1;
        self.check_place(node, meta);
        self.check_configured(node, meta);
        let (contents, machine) = (image_hash(image), image_hash(image.machine()));
        if let Some(state) = self.state.hash_at(meta.id.index)
            && state != machine
        {
            let text = format!(
                "its snapshot up to entry {} is not the state that the committed log makes up to there",
                meta.id.index
            );
            self.report(Some(node), Invariant::I14, text);
        }
        let found = Known {
            meta: meta.clone(),
            contents,
            machine,
        };
        let known = self.snapshots.entry(meta.id.index).or_insert(found);
        let same = known.meta.id == meta.id
            && known.meta.configured == meta.configured
            && known.meta.configuration == meta.configuration
            && known.contents == contents;
        if !same {
            let index = meta.id.index;
            let text = format!(
                "its snapshot up to entry {index} ({meta:?}) is not the one that another node took \
                 there ({:?})",
                known.meta
            );
            self.report(Some(node), Invariant::I14, text);
        }
        while self.snapshots.len() > KNOWN_MAX {
            self.snapshots.pop_first();
        }
    }

    /// A snapshot's last entry is committed, and its configuration is the last one up to there.
    fn check_place(&mut self, node: NodeId, meta: &SnapshotMeta) {
        let EntryId { term, index } = meta.id;
        let committed = self.committed.get(index);
        let right = committed.is_some_and(|link| link.term == term);
        if !right && index >= self.committed.base() {
            let text = format!(
                "has a snapshot up to entry {index} of term {term}, which is not committed"
            );
            self.report(Some(node), Invariant::I14, text);
        }
        let configured = self.ghost(node).configured_at(index);
        if let Some(configured) = configured
            && (configured.index != meta.configured.index
                || configured.configuration != meta.configuration)
        {
            let text = format!(
                "its snapshot up to entry {index} has the configuration of entry {}, not of {}",
                meta.configured.index, configured.index
            );
            self.report(Some(node), Invariant::I14, text);
        }
    }

    /// A snapshot's configuration is the last one that is committed up to there.
    fn check_configured(&mut self, node: NodeId, meta: &SnapshotMeta) {
        let index = meta.id.index;
        let known = self.state.configuration_at(index);
        if let Some((at, configuration)) = known
            && (at != meta.configured.index || *configuration != *meta.configuration)
        {
            let text = format!(
                "has a snapshot up to entry {index} with the configuration of entry {}; the last one that is \
                 committed up to there is that of entry {at}",
                meta.configured.index
            );
            self.report(Some(node), Invariant::I14, text);
        }
    }

    /// A node's state machine became what a snapshot says: what was read, and what it is now.
    pub(crate) fn restored<I: Image>(&mut self, node: NodeId, id: EntryId, read: u64, now: &I) {
        if self.is_stranger(node) {
            return;
        }
        self.checks += 1;
        let known = self.snapshots.get(&id.index).map(|known| known.machine);
        let state = self.state.hash_at(id.index);
        let differs = |known: Option<u64>| known.is_some_and(|known| known != read);
        if differs(known) || differs(state) || image_hash(now) != read {
            let text = format!(
                "what it restores up to entry {} is not what was taken there, or not the state that the \
                 committed log makes",
                id.index
            );
            self.report(Some(node), Invariant::I14, text);
        }
        let ghost = self.ghost_mut(node);
        ghost.applied = id.index.max(ghost.applied);
    }

    /// A node's log is to be replaced by a snapshot. False if that cannot be followed.
    pub(super) fn installing(&mut self, node: NodeId, meta: &SnapshotMeta) -> bool {
        self.checks += 1;
        self.check_configured(node, meta);
        let index = meta.id.index;
        let link = self.committed.get(index);
        let before = link.map(|link| {
            let handed = &mut self.ghost_mut(node).handed;
            core::mem::replace(handed, Chain::beginning(index, link))
        });
        let link = link.filter(|link| link.term == meta.id.term);
        let (Some(link), Some(before)) = (link, before) else {
            let text = format!("installs a snapshot up to entry {index}, which is not committed");
            self.report(Some(node), Invariant::I14, text);
            return false;
        };
        let end = before.last_index().min(self.commit_index());
        if end > index && before.get(end) == self.committed.get(end) {
            let text = format!(
                "installs a snapshot up to entry {index}, and cuts entry {end}, which is committed"
            );
            self.report(Some(node), Invariant::I8, text);
        }
        let ghost = self.ghost_mut(node);
        let installed = vec![Configured {
            index: meta.configured.index,
            link,
            configuration: meta.configuration.clone(),
        }];
        let before = core::mem::replace(&mut ghost.configurations, installed);
        ghost.replaced.get_or_insert(before);
        true
    }
}

#[cfg(test)]
mod tests {
    use raft_core::replica::{Applied, Serde, StateMachine};
    use raft_core::{NodeId, Options};

    use crate::order::Order;
    use crate::registers::Registers;
    use crate::world::{Cluster, Network};

    /// Adds what it has counted, and forgets to say in its snapshots how far it has.
    #[derive(Default)]
    struct Forgetful {
        sum: u64,
        count: u64,
    }

    impl StateMachine for Forgetful {
        type Command = Serde<()>;
        type Query = ();
        type Reply = u64;

        fn apply(&mut self, _: Applied<Serde<()>>) -> u64 {
            self.count += 1;
            self.sum += self.count;
            self.sum
        }

        fn query(&self, (): &()) -> u64 {
            self.sum
        }

        type Image = Serde<u64>;

        fn image(&self) -> Serde<u64> {
            Serde(self.sum)
        }

        fn restore(&mut self, image: Serde<u64>) {
            *self = Self {
                sum: image.0,
                count: 0,
            };
        }
    }

    /// Nobody else has taken one there, and nobody has restored one: it is the log that says so.
    #[test]
    #[should_panic(expected = "I14: node 1: its snapshot up to entry")]
    fn a_snapshot_from_which_the_log_leads_elsewhere_is_caught_on_a_single_node() {
        let options = Options {
            snapshot_log_bytes: 200,
            ..Options::default()
        };
        let mut cluster: Cluster<Forgetful> = Cluster::with_options(1, Network::default(), options);
        let alone = cluster.elect();
        for _ in 0..100 {
            let request = cluster.propose(alone, Serde(()));
            cluster.run_until(|cluster| cluster.reply(request).is_some());
        }
    }

    /// A node without a snapshot executes its log from the beginning when it starts again, and the one that it
    /// takes for a newcomer meanwhile goes up to where it just is: far behind what everybody has on its disk.
    #[test]
    fn a_snapshot_taken_while_a_long_log_is_executed_again_is_recognized() {
        let options = Options {
            // Entries are read back one by one.
            apply_bytes_max: 1,
            tail_bytes_max: 0,
            ..Options::default()
        };
        let mut cluster: Cluster<Registers> = Cluster::with_options(2, Network::default(), options);
        let alone = cluster.elect();
        let newcomer = NodeId(3 - alone.0);
        let write = |cluster: &mut Cluster<Registers>| {
            let request = cluster.propose(alone, "a+=1".parse().unwrap());
            cluster.run_until(|cluster| cluster.reply(request).is_some());
        };
        write(&mut cluster);
        let left = cluster.order(alone, Order::Solo);
        cluster.run_until(|cluster| cluster.ordered(left).is_some());
        for _ in 0..3_000 {
            write(&mut cluster);
        }
        cluster.order(newcomer, Order::Reset);
        cluster.run_until(|cluster| !cluster.is_running(newcomer));
        cluster.start(newcomer).unwrap();
        cluster.kill(alone);
        cluster.start(alone).unwrap();
        cluster.elect();
        // Nothing changes before the new leader has committed something.
        cluster.run_until(|cluster| cluster.commit_index() == cluster.status(alone).last.index);
        let added = cluster.order(alone, Order::Add { node: newcomer });
        cluster.run_until(|cluster| cluster.ordered(added).is_some());
        assert!(cluster.ordered(added).unwrap().is_ok());
    }
}
