//! A graph and its courses as a line of JSON.

use serde::Serialize;

use super::survey::GraphReport;
use crate::sweep::Broken;

/// A graph and its courses, as a line of JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct GraphRecord {
    /// The version of the simulator.
    pub version: &'static str,
    /// How many nodes there are.
    pub nodes: u32,
    /// The links that are left.
    pub graph: String,
    /// How many, each direction by itself.
    pub links: u32,
    /// The size of the largest set of which each two are linked in both directions.
    pub mutual: u32,
    /// The nodes that could win a vote.
    pub centers: Vec<u64>,
    /// What happened.
    pub courses: Vec<CourseRecord>,
}

/// A course, as a line of JSON has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CourseRecord {
    /// Who led when the links were cut.
    pub leader: u64,
    /// Which draw.
    pub round: u64,
    /// How long after the cut something new was known to be committed.
    pub committed_ns: Option<u64>,
    /// The same for the first of those that went on to the end without a long pause.
    pub settled_ns: Option<u64>,
    /// Terms that began after the bound.
    pub late_terms: u64,
    /// Leaders elected after the cut.
    pub elections: u64,
    /// Things that happened.
    pub events: u64,
    /// The broken rule.
    pub violation: Option<Broken>,
}

impl GraphReport {
    /// As a line of JSON has it.
    #[must_use]
    pub fn record(&self) -> GraphRecord {
        let courses = self.courses.iter().map(|(course, outcome)| CourseRecord {
            leader: course.leader.0,
            round: course.round,
            committed_ns: outcome.committed.map(|span| span.0),
            settled_ns: outcome.settled.map(|span| span.0),
            late_terms: outcome.late_terms,
            elections: outcome.elections,
            events: outcome.events,
            violation: outcome.violation.as_ref().map(Broken::of),
        });
        GraphRecord {
            version: env!("CARGO_PKG_VERSION"),
            nodes: self.graph.nodes(),
            graph: self.graph.to_string(),
            links: self.graph.links(),
            mutual: self.graph.largest_mutual_set(),
            centers: self.graph.centers().iter().map(|node| node.0).collect(),
            courses: courses.collect(),
        }
    }
}
