//! What a network does to messages, and which links it has.

use raft_core::{Body, Entry, Envelope, NodeId, Span, Time};

/// What the virtual network and disks do to what passes through them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    /// The shortest way of a message, in nanoseconds.
    pub delay_min: u64,
    /// The longest; different delays reorder messages.
    pub delay_max: u64,
    /// How many of 1,000 messages are lost.
    pub lost_per_mille: u64,
    /// How many of 1,000 messages arrive twice.
    pub repeated_per_mille: u64,
    /// How many of 1,000 messages are followed by one that was sent long ago.
    pub old_per_mille: u64,
    /// How many of 1,000 messages have a bit flipped on their way.
    pub flipped_per_mille: u64,
    /// How many of 1,000 messages also arrive somewhere else, or seem to come from another cluster.
    pub stray_per_mille: u64,
    /// Of how many of 1,000 messages that meet a cut link their sender is told, as of a connection that ended.
    pub told_per_mille: u64,
    /// How long a byte takes, in nanoseconds; 0 for no limit.
    pub nanos_per_byte: u64,
    /// The longest a sync takes, in nanoseconds.
    pub sync_max: u64,
    /// How long a node may collect what comes in before it acts on it, in nanoseconds; 0 to act at once.
    pub batch_max: u64,
}

impl Default for Network {
    /// A quiet local network: half a millisecond each way, nothing lost, quick disks.
    fn default() -> Self {
        Self {
            delay_min: 500_000,
            delay_max: 500_000,
            lost_per_mille: 0,
            repeated_per_mille: 0,
            old_per_mille: 0,
            flipped_per_mille: 0,
            stray_per_mille: 0,
            told_per_mille: 0,
            nanos_per_byte: 0,
            sync_max: 200_000,
            batch_max: 0,
        }
    }
}

impl Network {
    /// A bad day: long and varying delays, one message in fifty lost, one in fifty repeated.
    #[must_use]
    pub fn bad() -> Self {
        Self {
            delay_min: 100_000,
            delay_max: 30_000_000,
            lost_per_mille: 20,
            repeated_per_mille: 20,
            sync_max: 5_000_000,
            ..Self::default()
        }
    }

    /// Whether rare things happen to messages, besides loss and repetition.
    pub(crate) const fn is_odd(&self) -> bool {
        self.old_per_mille + self.flipped_per_mille + self.stray_per_mille > 0
    }
}

/// The state of every directed link between `nodes` nodes.
#[derive(Clone, Debug)]
pub(crate) struct Links {
    nodes: usize,
    cut: Vec<u32>,
    /// Links that lose, repeat and delay nothing, whatever the network does to the others.
    healthy: Vec<bool>,
    /// Until when the bytes sent before take.
    busy: Vec<Time>,
    /// A node of which there are two, and the server that is the other one.
    double: Option<(NodeId, NodeId)>,
}

impl Links {
    pub(crate) fn new(nodes: usize) -> Self {
        Self {
            nodes,
            cut: vec![0; nodes * nodes],
            healthy: vec![false; nodes * nodes],
            busy: vec![Time(0); nodes * nodes],
            double: None,
        }
    }

    fn place(&self, from: NodeId, to: NodeId) -> usize {
        let number = |node: NodeId| usize::try_from(node.0 - 1).unwrap_or(usize::MAX);
        number(from) * self.nodes + number(to)
    }

    /// From now on messages to a node reach it, or another server that says it is that node. False if there is
    /// such a pair already.
    pub(crate) fn double(&mut self, node: NodeId, server: NodeId) -> bool {
        let first = self.double.is_none();
        self.double.get_or_insert((node, server));
        first
    }

    /// The server that a message to a node reaches.
    pub(super) fn place_of(&self, node: NodeId, other: impl FnOnce() -> bool) -> NodeId {
        match self.double {
            Some((doubled, server)) if doubled == node && other() => server,
            Some(_) | None => node,
        }
    }

    /// Cuts one direction; cuts add up, and each is mended once.
    pub(crate) fn cut(&mut self, from: NodeId, to: NodeId) {
        let place = self.place(from, to);
        self.cut[place] += 1;
    }

    pub(crate) fn mend(&mut self, from: NodeId, to: NodeId) {
        let place = self.place(from, to);
        self.cut[place] = self.cut[place].saturating_sub(1);
    }

    pub(crate) fn mend_all(&mut self) {
        self.cut.fill(0);
    }

    pub(crate) fn is_cut(&self, from: NodeId, to: NodeId) -> bool {
        self.cut[self.place(from, to)] > 0
    }

    /// Mends both directions for good.
    pub(crate) fn heal(&mut self, one: NodeId, other: NodeId) {
        for (from, to) in [(one, other), (other, one)] {
            let place = self.place(from, to);
            self.cut[place] = 0;
            self.healthy[place] = true;
        }
    }

    pub(crate) fn is_healthy(&self, from: NodeId, to: NodeId) -> bool {
        self.healthy[self.place(from, to)]
    }

    /// When a message that is sent now has left, on a link on which a byte takes so long; `None` if too
    /// much waits before it.
    pub(crate) fn departure(
        &mut self,
        now: Time,
        envelope: &Envelope,
        to: NodeId,
        nanos_per_byte: u64,
    ) -> Option<Time> {
        let place = self.place(envelope.from.member.node, to);
        let takes = bytes_of(envelope).saturating_mul(nanos_per_byte);
        let departure = Time(self.busy[place].max(now).0.saturating_add(takes));
        if departure - now > QUEUE_MAX {
            return None;
        }
        self.busy[place] = departure;
        Some(departure)
    }
}

/// So much may wait on a link; what comes on top is lost.
const QUEUE_MAX: Span = Span::from_millis(200);

/// About how long a message is.
fn bytes_of(envelope: &Envelope) -> u64 {
    const HEADER_BYTES: u64 = 48;
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "only what carries payload is worth telling apart"
    )]
    let payload = match &envelope.body {
        Body::AppendEntries { entries, .. } => entries
            .iter()
            .map(|entry: &Entry| entry.payload_bytes() + 16)
            .sum(),
        Body::ForwardProposals { commands } => commands.iter().map(|c| c.len() as u64 + 4).sum(),
        _ => 0_u64,
    };
    HEADER_BYTES + payload
}
