//! What is measured: a cluster and its load.

/// So many nodes, and so many commands of a size that are proposed together.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Case {
    pub(crate) nodes: u64,
    pub(crate) bytes: usize,
    pub(crate) outstanding: u64,
}

impl Case {
    /// Each cluster with each size of command, and one, some and many of them outstanding.
    pub(crate) fn all(nodes: &[u64], bytes: &[usize]) -> Vec<Self> {
        let mut cases = Vec::new();
        for &nodes in nodes {
            for &bytes in bytes {
                for outstanding in [1, 64, 1_024] {
                    cases.push(Self {
                        nodes,
                        bytes,
                        outstanding,
                    });
                }
            }
        }
        cases
    }

    /// Rounds that are worth about so many commits.
    pub(crate) fn rounds(self, commits: u64) -> u64 {
        commits.div_ceil(self.outstanding)
    }
}
