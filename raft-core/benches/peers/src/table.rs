//! Commits per second as a Markdown table, to be read where it is printed and pasted where it is kept.

use crate::Case;
use crate::figures::{Ratio, Runs};

/// How many times the other core's commits per second ours aims at.
const BAR: u64 = 5;

/// Ratios of a case: to the other core as it is by default, and with as many messages as ours.
type Ratios = [Ratio; 2];

/// Lines are printed as they come; what remains is how far the bar is.
#[derive(Debug)]
pub(crate) struct Table {
    ratios: Vec<Ratios>,
}

impl Table {
    /// Prints the header.
    pub(crate) fn start() -> Self {
        println!(
            "| nodes | bytes | outstanding | ours | tikv | ratio | tikv, skip_bcast_commit | ratio |\n\
             | --: | --: | --: | --: | --: | --: | --: | --: |"
        );
        Self { ratios: Vec::new() }
    }

    /// The runs of each core: ours, tikv's, tikv's with as many messages.
    pub(crate) fn line(&mut self, case: Case, runs: [Vec<u64>; 3]) {
        let [ours, tikv, quiet] = runs.map(Runs::new);
        let ratios = [&tikv, &quiet].map(|other| Ratio::of(ours.median, other.median));
        let Case {
            nodes,
            bytes,
            outstanding,
        } = case;
        println!(
            "| {nodes} | {bytes} | {outstanding} | {ours} | {tikv} | **{}** | {quiet} | **{}** |",
            ratios[0], ratios[1]
        );
        self.ratios.push(ratios);
    }

    /// How many cases reach the bar, and whether there is one in which ours is the slower one.
    pub(crate) fn verdict(&self) {
        let count = |holds: fn(Ratio) -> bool, column: usize| {
            let ratios = self.ratios.iter().map(|ratios| ratios[column]);
            ratios.filter(|ratio| holds(*ratio)).count()
        };
        println!(
            "\nThousands of commits per second: median (least–most). Of {} cases, at least {BAR} times as many \
             commits in {} ({} with skip_bcast_commit); ours is the slower one in {} ({}).",
            self.ratios.len(),
            count(|ratio| ratio.reaches(BAR), 0),
            count(|ratio| ratio.reaches(BAR), 1),
            count(|ratio| !ratio.reaches(1), 0),
            count(|ratio| !ratio.reaches(1), 1),
        );
    }
}
