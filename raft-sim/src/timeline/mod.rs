//! A run as one page to look at: self-contained, so that it can be sent and opened anywhere.

use serde_json::{Value, json};

use raft_core::{Term, Time};

use crate::judge::Violation;
use crate::trace::{Happening, Trace, TraceEvent};

const PAGE: &str = include_str!("page.html");
/// Where the data goes.
const PLACE: &str = "/*TRACE*/";

/// What a page shows.
#[derive(Clone, Copy, Debug)]
pub struct Timeline<'a> {
    /// The headline.
    pub title: &'a str,
    /// The line below it.
    pub subtitle: &'a str,
    /// How many nodes there are, numbered from 1.
    pub nodes: u64,
    /// What happened.
    pub trace: &'a Trace,
    /// How it ended, if a rule was broken.
    pub violation: Option<&'a Violation>,
}

impl Timeline<'_> {
    /// The whole page.
    #[must_use]
    pub fn html(&self) -> String {
        let end = self.trace.events.last().map_or(Time(0), |event| event.at);
        let events: Vec<Value> = self.trace.events.iter().map(event).collect();
        let violation = self.violation.map(|violation| {
            json!({
                "t": end.0,
                "node": violation.node.map(|node| node.0),
                "code": violation.invariant.code(),
                "text": violation.text,
            })
        });
        let data = json!({
            "title": self.title,
            "subtitle": self.subtitle,
            "nodes": (1..=self.nodes).collect::<Vec<u64>>(),
            "end": end.0,
            "violation": violation,
            "events": events,
        });
        // No text may end the element that holds it, or begin a comment in it.
        let data = data.to_string().replace('<', "\\u003c");
        PAGE.replacen(PLACE, &data, 1)
    }
}

fn event(event: &TraceEvent) -> Value {
    let mut value = fields(&event.what);
    if let Some(fields) = value.as_object_mut() {
        fields.insert("t".to_string(), json!(event.at.0));
        fields.insert("k".to_string(), json!(event.what.kind()));
    }
    value
}

fn fields(what: &Happening) -> Value {
    match what {
        Happening::Role { node, role, term } => {
            json!({ "n": node.0, "role": role.as_str(), "term": term.0 })
        }
        Happening::Commit { node, index } | Happening::Durable { node, index } => {
            json!({ "n": node.0, "index": index.0 })
        }
        Happening::Log {
            node,
            first,
            entries,
        } => {
            let entries: Vec<(u64, &String)> = entries
                .iter()
                .map(|(Term(term), text)| (*term, text))
                .collect();
            json!({ "n": node.0, "first": first.0, "entries": entries })
        }
        Happening::Message {
            from,
            to,
            sent,
            name,
            text,
            fate,
        } => json!({
            "from": from.0,
            "to": to.0,
            "sent": sent.0,
            "name": name,
            "text": text,
            "fate": fate,
        }),
        Happening::Down { node, why } => json!({ "n": node.0, "why": why }),
        Happening::Cut { links, text } | Happening::Heal { links, text } => {
            let links: Vec<[u64; 2]> = links.iter().map(|(from, to)| [from.0, to.0]).collect();
            json!({ "links": links, "text": text })
        }
        Happening::Pause { node, until } => json!({ "n": node.0, "until": until.0 }),
        Happening::Ask { node, op, text } | Happening::Answer { node, op, text } => {
            json!({ "n": node.0, "op": op, "text": text })
        }
        Happening::Up { node, text }
        | Happening::Disk { node, text }
        | Happening::Clock { node, text }
        | Happening::Alert { node, text } => json!({ "n": node.0, "text": text }),
        Happening::Note { node, text } => {
            json!({ "n": node.map(|node| node.0), "text": text })
        }
    }
}
