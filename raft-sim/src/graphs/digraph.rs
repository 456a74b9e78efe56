//! Who can send to whom: digraphs of a handful of nodes, one of each shape.
//!
//! Always holds: [`Digraph::shapes`] has every digraph up to renaming its nodes, and each only once.

use std::collections::BTreeSet;
use std::fmt;

use raft_core::NodeId;

use crate::workload::Draw;

/// The one-way links that are left between some nodes; no node has one to itself.
///
/// Printed as `1-2 2>3`: a dash for a link in both directions, an arrowhead for one.
///
/// ```
/// use raft_sim::graphs::Digraph;
///
/// let graph = Digraph::parse(5, "1-2 1-3 2-3 4>1")?;
/// assert!(graph.has_mutual_majority());
/// assert_eq!(graph.links(), 7);
/// assert_eq!(graph.to_string(), "1-2 1-3 2-3 4>1");
/// # Ok::<(), raft_sim::graphs::LinksError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digraph {
    nodes: u32,
    /// A bit for each ordered pair, those from the first node first.
    bits: u32,
}

/// Links that cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected links between nodes 1 to {nodes} like \"1-2 2>3\", found \"{found}\"")]
pub struct LinksError {
    nodes: u32,
    found: String,
}

/// The most nodes of a graph here: of six there are a million and a half shapes.
pub const NODES_MAX: u32 = 5;

/// The place of an ordered pair of different nodes, numbered from 0.
const fn place(nodes: u32, from: u32, to: u32) -> u32 {
    let before = if to > from { to - 1 } else { to };
    from * (nodes - 1) + before
}

/// Every ordered pair of different nodes, numbered from 0, in the order of their places.
fn pairs(nodes: u32) -> impl Iterator<Item = (u32, u32)> {
    let all = (0..nodes).flat_map(move |from| (0..nodes).map(move |to| (from, to)));
    all.filter(|(from, to)| from != to)
}

/// A renaming of the nodes, and where it takes each ordered pair.
struct Renaming {
    names: Vec<u32>,
    places: Vec<u32>,
}

impl Renaming {
    fn all(nodes: u32) -> Vec<Self> {
        let mut orders: Vec<Vec<u32>> = vec![Vec::new()];
        for node in 0..nodes {
            let longer = orders.iter().flat_map(|order| {
                (0..=order.len()).map(move |at| {
                    let mut order = order.clone();
                    order.insert(at, node);
                    order
                })
            });
            orders = longer.collect();
        }
        let all = orders.into_iter().map(|names| {
            let name = |node: u32| names[node as usize];
            let places = pairs(nodes).map(|(from, to)| place(nodes, name(from), name(to)));
            let places = places.collect();
            Self { names, places }
        });
        all.collect()
    }

    fn image(&self, bits: u32) -> u32 {
        let mut image = 0;
        let mut left = bits;
        while left > 0 {
            image |= 1 << self.places[left.trailing_zeros() as usize];
            left &= left - 1;
        }
        image
    }
}

impl Digraph {
    /// One graph of each shape, in a fixed order: those with links from the first nodes only come first.
    ///
    /// # Panics
    ///
    /// If there are no nodes, or more than [`NODES_MAX`].
    #[must_use]
    pub fn shapes(nodes: u32) -> Vec<Self> {
        assert!((1..=NODES_MAX).contains(&nodes), "a graph of 1 to 5 nodes");
        let renamings = Renaming::all(nodes);
        let labelled = 1_u32 << (nodes * (nodes - 1));
        let mut seen = vec![false; labelled as usize];
        let mut shapes = Vec::new();
        for bits in 0..labelled {
            if !seen[bits as usize] {
                shapes.push(Self { nodes, bits });
                for renaming in &renamings {
                    seen[renaming.image(bits) as usize] = true;
                }
            }
        }
        shapes
    }

    /// Any graph, each link of it being there or not by chance.
    pub(super) fn draw(nodes: u32, draw: &mut Draw) -> Self {
        let bits = pairs(nodes)
            .map(|(from, to)| u32::from(draw.percent(50)) << place(nodes, from, to))
            .sum();
        Self { nodes, bits }
    }

    /// The graph that some text shows.
    ///
    /// # Errors
    ///
    /// If a link is none between two of the nodes.
    ///
    /// # Panics
    ///
    /// If there are no nodes, or more than [`NODES_MAX`].
    pub fn parse(nodes: u32, text: &str) -> Result<Self, LinksError> {
        assert!((1..=NODES_MAX).contains(&nodes), "a graph of 1 to 5 nodes");
        let mut graph = Self { nodes, bits: 0 };
        for word in text.split_whitespace() {
            graph.add(word).ok_or_else(|| LinksError {
                nodes,
                found: word.to_string(),
            })?;
        }
        Ok(graph)
    }

    fn add(&mut self, word: &str) -> Option<()> {
        let at = word.find(['-', '>'])?;
        let number = |text: &str| {
            let number = text.parse::<u32>().ok()?;
            (1..=self.nodes).contains(&number).then(|| number - 1)
        };
        let (from, to) = (number(&word[..at])?, number(&word[at + 1..])?);
        if from == to {
            return None;
        }
        let mut bits = 1 << place(self.nodes, from, to);
        if word[at..].starts_with('-') {
            bits |= 1 << place(self.nodes, to, from);
        }
        self.bits |= bits;
        Some(())
    }

    /// How many nodes there are.
    #[must_use]
    pub const fn nodes(self) -> u32 {
        self.nodes
    }

    /// How many one-way links there are.
    #[must_use]
    pub const fn links(self) -> u32 {
        self.bits.count_ones()
    }

    /// Which graph it is, as a number.
    pub(super) const fn bits(self) -> u32 {
        self.bits
    }

    const fn has(self, from: u32, to: u32) -> bool {
        self.bits & 1 << place(self.nodes, from, to) != 0
    }

    const fn is_mutual(self, one: u32, other: u32) -> bool {
        self.has(one, other) && self.has(other, one)
    }

    /// The links that are missing.
    pub fn cut_links(self) -> impl Iterator<Item = (NodeId, NodeId)> {
        let missing = pairs(self.nodes).filter(move |(from, to)| !self.has(*from, *to));
        missing.map(|(from, to)| (name(from), name(to)))
    }

    /// How many nodes a majority has.
    #[must_use]
    pub const fn majority(self) -> u32 {
        self.nodes / 2 + 1
    }

    /// The size of the largest set of nodes of which each two are linked in both directions.
    #[must_use]
    pub fn largest_mutual_set(self) -> u32 {
        let is_mutual = |set: &u32| {
            let inside = |node: u32| set & 1 << node != 0;
            pairs(self.nodes)
                .all(|(one, other)| !inside(one) || !inside(other) || self.is_mutual(one, other))
        };
        let sets = (1_u32..1 << self.nodes).filter(is_mutual);
        sets.map(u32::count_ones).max().unwrap_or_default()
    }

    /// Whether some majority is linked in both directions, each to each.
    #[must_use]
    pub fn has_mutual_majority(self) -> bool {
        self.largest_mutual_set() >= self.majority()
    }

    /// The nodes that make a majority with those they have links with in both directions: without one, no
    /// vote can be won.
    #[must_use]
    pub fn centers(self) -> Vec<NodeId> {
        let nodes = (0..self.nodes).map(name);
        let is_center =
            |node: &NodeId| self.linked_with(*node).count() + 1 >= self.majority() as usize;
        nodes.filter(is_center).collect()
    }

    /// The nodes that one has links with in both directions.
    pub fn linked_with(self, node: NodeId) -> impl Iterator<Item = NodeId> {
        let own = move |(from, to): &(u32, u32)| name(*from) == node && self.is_mutual(*from, *to);
        pairs(self.nodes).filter(own).map(|(_, to)| name(to))
    }

    /// One node of each kind: two are of a kind if renaming can exchange them and leave the graph as it is.
    #[must_use]
    pub fn kinds_of_nodes(self) -> Vec<NodeId> {
        let mut renamings = Renaming::all(self.nodes);
        renamings.retain(|renaming| renaming.image(self.bits) == self.bits);
        let least = |node: u32| renamings.iter().map(|r| r.names[node as usize]).min();
        let kinds: BTreeSet<u32> = (0..self.nodes).filter_map(least).collect();
        kinds.into_iter().map(name).collect()
    }
}

fn name(node: u32) -> NodeId {
    NodeId(u64::from(node) + 1)
}

impl fmt::Display for Digraph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut words = Vec::new();
        for (from, to) in pairs(self.nodes).filter(|(from, to)| self.has(*from, *to)) {
            if !self.has(to, from) {
                words.push(format!("{}>{}", name(from), name(to)));
            } else if from < to {
                words.push(format!("{}-{}", name(from), name(to)));
            }
        }
        if words.is_empty() {
            words.push("no links".to_string());
        }
        f.pad(&words.join(" "))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use raft_core::NodeId;

    use super::{Digraph, Renaming};

    /// The numbers of digraphs on unlabelled nodes: sequence A000273.
    #[test]
    fn there_are_as_many_shapes_as_are_known() {
        for (nodes, known) in [(1, 1), (2, 3), (3, 16), (4, 218), (5, 9_608)] {
            assert_eq!(Digraph::shapes(nodes).len(), known, "{nodes} nodes");
        }
    }

    /// Each labelled graph of four nodes is the renaming of one shape: sorted and compared, naively.
    #[test]
    fn no_shape_is_missing_or_there_twice() {
        let renamings = Renaming::all(4);
        assert_eq!(renamings.len(), 24);
        let least = |bits: u32| renamings.iter().map(|r| r.image(bits)).min().unwrap();
        let naive: BTreeSet<u32> = (0..1 << 12).map(least).collect();
        let shapes = Digraph::shapes(4);
        assert_eq!(
            shapes.iter().map(|g| g.bits).collect::<BTreeSet<_>>(),
            naive
        );
        assert_eq!(shapes.len(), naive.len());
    }

    #[test]
    fn graphs_print_as_they_are_read() {
        for graph in Digraph::shapes(4) {
            let text = graph.to_string().replace("no links", "");
            assert_eq!(Digraph::parse(4, &text), Ok(graph));
        }
        for wrong in ["1", "1-1", "0-1", "1-5", "1=2", "-", "1->2", "x-1"] {
            let error = Digraph::parse(4, wrong).unwrap_err().to_string();
            assert!(error.contains("1 to 4"), "{error}");
        }
    }

    fn check(links: &str, mutual: u32, centers: &[u64], kinds: &[u64]) {
        let graph = Digraph::parse(5, links).unwrap();
        let names = |of: &[u64]| of.iter().copied().map(NodeId).collect::<Vec<_>>();
        assert_eq!(graph.largest_mutual_set(), mutual, "{links}");
        assert_eq!(graph.centers(), names(centers), "{links}");
        assert_eq!(graph.kinds_of_nodes(), names(kinds), "{links}");
    }

    #[test]
    fn what_a_graph_can_do_is_read_off_its_links() {
        check("", 1, &[], &[1]);
        check("1>2 2>3 3>4 4>5 5>1", 1, &[], &[1]);
        check("1-2 3-4", 2, &[], &[1, 5]);
        // A chain: nobody in it sees a majority that is linked each to each.
        check("1-2 2-3 3-4 4-5", 2, &[2, 3, 4], &[1, 2, 3]);
        check("1-2 1-3 2-3 4>1", 3, &[1, 2, 3], &[1, 2, 4, 5]);
        check("1-2 1-3 2-3 1-4 1-5 4-5", 3, &[1, 2, 3, 4, 5], &[1, 2]);
    }
}
