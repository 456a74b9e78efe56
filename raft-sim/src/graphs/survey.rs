//! What many graphs amounted to, as tables and what is worth telling.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::fmt;

use raft_core::Span;

use super::course::{Course, Outcome, timeouts};
use super::digraph::Digraph;
use super::table::Table;

/// A graph, and what it did in every course in which it can be left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GraphReport {
    /// Which graph.
    pub graph: Digraph,
    /// Every kind of node leads once in every round.
    pub courses: Vec<(Course, Outcome)>,
}

impl GraphReport {
    /// Runs a graph, with each kind of node as the leader whose links are cut, so many times each.
    #[must_use]
    pub fn run(graph: Digraph, rounds: u64) -> Self {
        let courses = Course::all_of(graph, rounds);
        let courses = courses.map(|course| (course, course.run())).collect();
        Self { graph, courses }
    }

    /// The courses in which something committed in time.
    pub fn commits(&self) -> impl Iterator<Item = &Course> {
        let courses = self.courses.iter();
        let commits = courses.filter(|(_, outcome)| outcome.committed.is_some());
        commits.map(|(course, _)| course)
    }

    /// The courses in which a rule was broken.
    pub fn broken(&self) -> impl Iterator<Item = &(Course, Outcome)> {
        let courses = self.courses.iter();
        courses.filter(|(_, outcome)| outcome.violation.is_some())
    }
}

/// What a graph's links allow, the most first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Class {
    /// So many nodes are linked each to each; the fewest missing from all nodes first.
    Mutual { missing: u32 },
    /// Some node is linked with a majority in both directions, though those are not among themselves.
    Center,
    /// No node hears a majority that hears it.
    Nobody,
}

impl Class {
    fn of(graph: Digraph) -> Self {
        if graph.has_mutual_majority() {
            let missing = graph.nodes() - graph.largest_mutual_set();
            return Self::Mutual { missing };
        }
        if graph.centers().is_empty() {
            return Self::Nobody;
        }
        Self::Center
    }

    fn name(self, nodes: u32) -> String {
        match self {
            Self::Mutual { missing } => format!("{} nodes, each to each", nodes - missing),
            Self::Center => "one node to a majority".to_string(),
            Self::Nobody => "no node to a majority".to_string(),
        }
    }
}

/// Some courses, counted.
#[derive(Clone, Debug, Default)]
struct Tally {
    graphs: u64,
    courses: u64,
    /// Courses in which something committed.
    commit: u64,
    /// How long it took until commits went on steadily, in those courses where they did.
    waits: Vec<Span>,
}

impl Tally {
    fn add(&mut self, report: &GraphReport) {
        self.graphs += 1;
        self.courses += report.courses.len() as u64;
        let outcomes = report.courses.iter().map(|(_, outcome)| outcome);
        let steady = outcomes.clone().filter(|outcome| outcome.is_steady());
        self.waits
            .extend(steady.filter_map(|outcome| outcome.settled));
        let commits = outcomes.filter(|outcome| outcome.committed.is_some());
        self.commit += commits.count() as u64;
    }

    fn cells(&self) -> Vec<String> {
        if self.graphs == 0 {
            return vec!["–".to_string(); 6];
        }
        let mut waits = self.waits.clone();
        waits.sort_unstable();
        let wait = |span: Option<&Span>| span.map_or("–".to_string(), |span| timeouts(*span));
        let counts = [self.graphs, self.courses, self.commit, waits.len() as u64];
        let mut cells: Vec<String> = counts.map(|count| count.to_string()).into();
        cells.extend([wait(waits.get(waits.len() / 2)), wait(waits.last())]);
        cells
    }
}

/// Many graphs.
#[derive(Clone, Debug)]
pub struct Survey {
    nodes: u32,
    rounds: u64,
    reports: Vec<GraphReport>,
}

impl Survey {
    /// Puts reports of graphs with as many nodes together, in the order in which they are given.
    #[must_use]
    pub const fn new(nodes: u32, rounds: u64, reports: Vec<GraphReport>) -> Self {
        Self {
            nodes,
            rounds,
            reports,
        }
    }

    /// The reports.
    #[must_use]
    pub fn reports(&self) -> &[GraphReport] {
        &self.reports
    }

    /// Whether anything was demanded of any of the graphs.
    #[must_use]
    pub fn proves_something(&self) -> bool {
        let mut graphs = self.reports.iter().map(|report| report.graph);
        graphs.any(Digraph::has_mutual_majority)
    }

    /// Whether some rule was broken.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.reports
            .iter()
            .any(|report| report.broken().count() > 0)
    }

    fn tally(&self, wanted: impl Fn(Digraph) -> bool) -> Tally {
        let mut tally = Tally::default();
        for report in self.reports.iter().filter(|report| wanted(report.graph)) {
            tally.add(report);
        }
        tally
    }

    fn by_class(&self) -> Table {
        let mut table = Table::new(&[
            "linked in both directions",
            "graphs",
            "courses",
            "commit",
            "steadily",
            "median wait",
            "longest wait",
        ]);
        let classes: BTreeSet<Class> = self.reports.iter().map(|r| Class::of(r.graph)).collect();
        for class in classes {
            let mut row = vec![class.name(self.nodes)];
            row.extend(self.tally(|graph| Class::of(graph) == class).cells());
            table.rows.push(row);
        }
        table
    }

    fn by_links(&self) -> Table {
        let mut table = Table::new(&[
            "links left",
            "graphs with a majority each to each",
            "courses",
            "steadily",
            "median wait",
            "longest wait",
            "other graphs",
            "courses",
            "steadily",
        ]);
        let counts: BTreeSet<u32> = self.reports.iter().map(|r| r.graph.links()).collect();
        for links in counts {
            let of = |graph: &Digraph| graph.links() == links;
            let demanded = self.tally(|graph| of(&graph) && graph.has_mutual_majority());
            let others = self.tally(|graph| of(&graph) && !graph.has_mutual_majority());
            let (demanded, others) = (demanded.cells(), others.cells());
            let mut row = vec![links.to_string()];
            row.extend(demanded[..2].iter().chain(&demanded[3..]).cloned());
            row.extend(others[..2].iter().chain(&others[3..4]).cloned());
            table.rows.push(row);
        }
        table
    }

    /// The courses of graphs that something is demanded of, those in which it took longest first.
    fn slowest(&self) -> Vec<&(Course, Outcome)> {
        let demanded = self
            .reports
            .iter()
            .filter(|r| r.graph.has_mutual_majority());
        let mut courses: Vec<_> = demanded.flat_map(|report| &report.courses).collect();
        courses.sort_by_key(|(course, outcome)| (Reverse(outcome.settled), *course));
        courses
    }

    /// Graphs of which nothing is demanded, and in which something commits in some courses only.
    fn undecided(&self) -> Vec<&GraphReport> {
        let undecided =
            |report: &&GraphReport| (1..report.courses.len()).contains(&report.commits().count());
        let others = self
            .reports
            .iter()
            .filter(|r| !r.graph.has_mutual_majority());
        others.filter(undecided).collect()
    }

    /// Courses of any graph in which something committed, and did not go on steadily.
    fn unsteady(&self) -> Vec<&(Course, Outcome)> {
        let courses = self.reports.iter().flat_map(|report| &report.courses);
        let unsteady = |(_, outcome): &&(Course, Outcome)| {
            outcome.late_terms > 0 || (outcome.committed.is_some() && !outcome.is_steady())
        };
        courses.filter(unsteady).collect()
    }
}

/// So much is shown of each list; the rest is counted.
const SHOWN: usize = 5;

fn show<T>(
    f: &mut fmt::Formatter<'_>,
    title: &str,
    of: &[T],
    line: impl Fn(&T) -> String,
) -> fmt::Result {
    if of.is_empty() {
        return writeln!(f, "\n{title}: none.");
    }
    writeln!(f, "\n{title}: {}.\n", of.len())?;
    for one in of.iter().take(SHOWN) {
        writeln!(f, "- {}", line(one))?;
    }
    match of.len() {
        more if more > SHOWN => writeln!(f, "- and {} more", more - SHOWN),
        _ => Ok(()),
    }
}

impl fmt::Display for Survey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let courses: usize = self.reports.iter().map(|r| r.courses.len()).sum();
        writeln!(
            f,
            "{} graphs of {} nodes, {courses} courses (rounds of each: {})\n",
            self.reports.len(),
            self.nodes,
            self.rounds
        )?;
        write!(f, "{}\n{}", self.by_class(), self.by_links())?;
        let title = "Courses with a majority each to each, the longest waits first";
        show(f, title, &self.slowest(), |(course, outcome)| {
            let wait = outcome.settled.map_or("for ever".to_string(), timeouts);
            format!("{wait}: {course}")
        })?;
        let title = "Other graphs in which something commits in some courses only";
        show(f, title, &self.undecided(), |report| {
            let (commits, of) = (report.commits().count(), report.courses.len());
            format!("`{}`: in {commits} of {of}", report.graph)
        })?;
        let title =
            "Courses in which something commits, but not steadily, or in which terms go on growing";
        show(f, title, &self.unsteady(), |(course, outcome)| {
            format!(
                "{course}: steadily after: {}, terms begun after the bound: {}",
                outcome.settled.map_or("never".to_string(), timeouts),
                outcome.late_terms
            )
        })?;
        let broken: Vec<_> = self.reports.iter().flat_map(GraphReport::broken).collect();
        show(f, "Broken rules", &broken, |(course, outcome)| {
            let violation = outcome.violation.as_ref().map(ToString::to_string);
            format!("{course}: {}", violation.unwrap_or_default())
        })
    }
}
