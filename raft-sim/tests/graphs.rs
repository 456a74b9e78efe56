//! Liveness on static graphs of links (V5): all of three and four nodes, some of five.
//! `UPDATE_EXPECT=1` writes `docs/link-graphs.md`'s tables anew, those of five nodes, too (use `--release`).

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use raft_core::NodeId;
use raft_sim::graphs::{Course, Digraph, GraphReport, Survey};

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/link-graphs.md");

/// Runs graphs in two threads, and keeps their order.
fn survey(graphs: &[Digraph], rounds: u64) -> Survey {
    let run = |graphs: &[Digraph]| {
        let reports = graphs.iter().map(|graph| GraphReport::run(*graph, rounds));
        reports.collect::<Vec<_>>()
    };
    let (one, other) = graphs.split_at(graphs.len() / 2);
    let reports = std::thread::scope(|scope| {
        let other = scope.spawn(|| run(other));
        let mut reports = run(one);
        reports.extend(other.join().unwrap());
        reports
    });
    Survey::new(graphs[0].nodes(), rounds, reports)
}

/// No rule is broken, and what the links cannot carry did not happen by magic.
fn check(survey: &Survey) {
    assert!(!survey.is_broken(), "{survey}");
    assert!(survey.proves_something());
    for report in survey.reports() {
        if report.graph.has_mutual_majority() {
            assert_eq!(report.commits().count(), report.courses.len());
        } else if report.graph.centers().is_empty() {
            assert_eq!(report.commits().count(), 0, "`{}`", report.graph);
        }
    }
}

/// What the page shows of graphs with so many nodes lies between two comments.
fn shown(nodes: u32, page: &str) -> std::ops::Range<usize> {
    let begin = format!("<!-- raft-sim graphs --nodes {nodes} -->\n");
    let from = page.find(&begin).unwrap() + begin.len();
    from..from + page[from..].find("<!-- end -->").unwrap()
}

#[test]
fn every_graph_of_three_and_four_nodes_commits_where_it_must_as_the_page_says() {
    let update = std::env::var_os("UPDATE_EXPECT").is_some();
    for nodes in [3, 4, 5] {
        if nodes == 5 && !update {
            break;
        }
        let survey = survey(&Digraph::shapes(nodes), 1);
        check(&survey);
        let mut page = std::fs::read_to_string(PAGE).unwrap();
        let shown = shown(nodes, &page);
        if update {
            page.replace_range(shown, &survey.to_string());
            std::fs::write(PAGE, page).unwrap();
        } else {
            assert_eq!(page[shown], survey.to_string(), "{nodes} nodes");
        }
    }
}

#[test]
fn some_graphs_of_five_nodes_commit_where_they_must() {
    let shapes = Digraph::shapes(5);
    let sample: Vec<Digraph> = shapes.into_iter().step_by(241).collect();
    check(&survey(&sample, 1));
}

/// What other links did to terms and logs before does not matter, either.
#[test]
fn a_majority_recovers_from_any_graph_that_was_before() {
    let mut majorities = Digraph::shapes(5);
    majorities.retain(|graph| graph.has_mutual_majority());
    assert_eq!(majorities.len(), 1_407);
    let sample: Vec<Digraph> = majorities.into_iter().step_by(181).collect();
    check(&survey(&sample, 4));
}

fn run(nodes: u32, links: &str, leader: u64) -> (bool, u64) {
    let graph = Digraph::parse(nodes, links).unwrap();
    let (leader, round) = (NodeId(leader), 0);
    let outcome = Course {
        graph,
        leader,
        round,
    }
    .run();
    assert_eq!(outcome.violation, None);
    (outcome.is_steady(), outcome.elections)
}

/// A leader that is heard and hears nobody keeps its followers from electing. It has to step down.
#[test]
fn a_half_connected_leader_makes_way() {
    assert_eq!(run(3, "1-3 2>1 2>3", 2), (true, 1));
}

/// A leader that hears a majority which hears it may stay, though others could lead as well.
#[test]
fn a_leader_with_its_majority_stays() {
    assert_eq!(run(5, "1-2 1-3 2-3 4-1 4-2", 4), (true, 0));
}

/// Nobody who could win has the longest log, and nobody with the longest log could win (§5.4.1): the
/// leader's last entry went one way only.
#[test]
fn a_center_without_the_last_entry_cannot_lead() {
    assert_eq!(run(4, "1-3 1-4 2>3", 2), (false, 0));
    assert_eq!(run(4, "1-3 1-4 2>3", 3), (true, 1));
}
