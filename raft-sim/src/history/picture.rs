//! A counterexample as one HTML page with a drawing.
//!
//! Always holds: the page loads nothing, and whatever comes from the history is escaped.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write};

use super::explain::{Counterexample, Shown, brief, named, verb};

const LANE: usize = 64;
const BAR: usize = 26;
const LEFT: usize = 110;
const TOP: usize = 24;
/// From one event to the next: times are drawn in order, not to scale.
const STEP: usize = 76;
/// Of one character of a label.
const CHARACTER: usize = 7;

const STYLE: &str = "
:root { color-scheme: light dark; --ground: #fff; --ink: #1c2024; --faint: #dfe3e8; --bar: #b9d2f5;
  --bad: #f3a7a2; --bad-ink: #a3160c; --order: #1a5fb4; }
@media (prefers-color-scheme: dark) { :root { --ground: #16191d; --ink: #e4e7eb; --faint: #333a42;
  --bar: #2b4a74; --bad: #74302b; --bad-ink: #ff8f86; --order: #86b9ff; } }
body { margin: 2rem; background: var(--ground); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.3rem; } h1, p, li { overflow-wrap: anywhere; max-width: 60rem; }
.drawing { overflow-x: auto; }
svg { display: block; }
svg text { font: 12px ui-monospace, monospace; fill: var(--ink); }
.lane { stroke: var(--faint); }
.bar { fill: var(--bar); } .open { fill: url(#fade); } .bad .bar { fill: var(--bad); }
.bad .bar { stroke: var(--bad-ink); stroke-width: 2; } .bad text, .bad-ink { fill: var(--bad-ink); color: var(--bad-ink); }
g:hover > .bar { stroke: var(--ink); }
.order { fill: none; stroke: var(--order); stroke-dasharray: 4 3; }
.tick { stroke: var(--order); stroke-width: 3; } .disc { fill: var(--order); }
svg .number { fill: var(--ground); text-anchor: middle; font-size: 10px; }
";

/// Draws `found` as a page that stands alone: a lane for each process, a bar for each operation from
/// invocation to return, fading out if its outcome is open, the longest order as numbers, and what
/// cannot follow it in red.
#[must_use]
pub fn picture(found: &Counterexample) -> String {
    let mut page = String::new();
    write_page(&mut page, found).expect("a string takes everything");
    page
}

/// Escaped for text and attributes.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for char in self.0.chars() {
            match char {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                char => f.write_char(char)?,
            }
        }
        Ok(())
    }
}

fn write_page(page: &mut String, found: &Counterexample) -> fmt::Result {
    let title = found.title();
    let title = Escaped(&title);
    write!(
        page,
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n<title>{title}</title>\n\
         <style>{STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n"
    )?;
    let reached = found.reached();
    writeln!(
        page,
        "<p>{}; but one of these would have to come next:</p>\n<ul>",
        Escaped(&reached)
    )?;
    for obstacle in found.obstacles() {
        writeln!(page, "<li class=\"bad-ink\">{}</li>", Escaped(&obstacle))?;
    }
    page.push_str("</ul>\n<div class=\"drawing\">\n");
    Drawing::new(found).write(page)?;
    page.push_str("</div>\n");
    if let Some(operation) = &found.started_by {
        let start = format!(
            "It starts with {}, as {} shows.",
            brief(&found.start),
            named(operation)
        );
        writeln!(page, "<p>{}</p>", Escaped(&start))?;
    }
    let extent = found.extent();
    write!(
        page,
        "<p>Time goes to the right, in order but not to scale; {}. Numbers: the longest order that \
         explains what was seen. Red: what cannot follow it.</p>\n\
         <script>document.documentElement.dataset.state = 'ready';</script>\n</body>\n</html>\n",
        Escaped(&extent)
    )
}

/// Where things are.
struct Drawing<'a> {
    found: &'a Counterexample,
    /// The line of each process.
    lanes: BTreeMap<u64, usize>,
    /// The place of each invocation and return; at equal times invocations come first.
    places: BTreeMap<(u64, Moment), usize>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Moment {
    Invoked,
    Returned,
}

impl<'a> Drawing<'a> {
    fn new(found: &'a Counterexample) -> Self {
        let processes: BTreeSet<u64> = found
            .operations
            .iter()
            .map(|shown| shown.operation.process)
            .collect();
        let mut moments = BTreeSet::new();
        for shown in &found.operations {
            moments.insert((shown.operation.invoked, Moment::Invoked));
            moments.extend(returned(shown).map(|time| (time, Moment::Returned)));
        }
        Self {
            found,
            lanes: processes.into_iter().zip(0..).collect(),
            places: moments.into_iter().zip(0..).collect(),
        }
    }

    fn width(&self) -> usize {
        LEFT + self.places.len() * STEP + STEP
    }

    fn start(&self, shown: &Shown) -> usize {
        LEFT + self.places[&(shown.operation.invoked, Moment::Invoked)] * STEP
    }

    fn end(&self, shown: &Shown) -> usize {
        returned(shown).map_or(self.width(), |time| {
            LEFT + self.places[&(time, Moment::Returned)] * STEP
        })
    }

    /// The middle of the bar.
    fn middle(&self, shown: &Shown) -> usize {
        TOP + self.lanes[&shown.operation.process] * LANE + LANE / 2
    }

    fn write(&self, page: &mut String) -> fmt::Result {
        let (width, height) = (self.width(), TOP * 2 + self.lanes.len() * LANE);
        writeln!(
            page,
            "<svg role=\"img\" aria-label=\"operations of each process over time\" width=\"{width}\" \
             height=\"{height}\" viewBox=\"0 0 {width} {height}\">\n\
             <defs><linearGradient id=\"fade\"><stop stop-color=\"var(--bar)\"/>\
             <stop offset=\"1\" stop-color=\"var(--bar)\" stop-opacity=\"0\"/></linearGradient></defs>"
        )?;
        for (process, lane) in &self.lanes {
            let y = TOP + lane * LANE + LANE / 2;
            writeln!(
                page,
                "<line class=\"lane\" x1=\"{LEFT}\" y1=\"{y}\" x2=\"{width}\" y2=\"{y}\"/>\
                 <text x=\"4\" y=\"{}\">{}</text>",
                y + 4,
                Escaped(&fitted(&format!("process {process}"), LEFT))
            )?;
        }
        // Later ones are drawn above those that fade out below them.
        for (place, shown) in self.found.operations.iter().enumerate() {
            self.write_bar(page, place, shown)?;
        }
        self.write_order(page)?;
        page.push_str("</svg>\n");
        Ok(())
    }

    fn write_bar(&self, page: &mut String, place: usize, shown: &Shown) -> fmt::Result {
        let (start, end, middle) = (self.start(shown), self.end(shown), self.middle(shown));
        let mut hover = named(&shown.operation);
        if !shown.required {
            hover.push_str("; may have taken effect here, or not");
        }
        let impossible = self.found.impossible.iter();
        for impossible in impossible.filter(|impossible| impossible.operation == place) {
            hover = format!("{hover}; {}", impossible.reason);
        }
        let impossible = self.found.impossible.iter();
        let bad = impossible
            .map(|impossible| impossible.operation)
            .any(|bad| bad == place);
        let class = if bad { " class=\"bad\"" } else { "" };
        let open = if shown.required { "" } else { " open" };
        let label = fitted(&verb(&shown.operation.call), end - start);
        writeln!(
            page,
            "<g{class}><title>{}</title><rect class=\"bar{open}\" x=\"{start}\" y=\"{}\" \
             width=\"{}\" height=\"{BAR}\" rx=\"4\"/><text x=\"{}\" y=\"{}\">{}</text></g>",
            Escaped(&hover),
            middle - BAR / 2,
            end - start,
            start + 4,
            middle - BAR / 2 - 4,
            Escaped(&label)
        )
    }

    /// The instants of the longest order: each as early as those before it allow.
    fn instants(&self) -> Vec<(usize, usize)> {
        let order = self.found.order.iter();
        let order: Vec<&Shown> = order.map(|place| &self.found.operations[*place]).collect();
        let mut latest = 0;
        let starts: Vec<usize> = order
            .iter()
            .map(|shown| {
                latest = latest.max(self.start(shown));
                latest
            })
            .collect();
        // Those after the same invocation share the space up to the next event.
        let mut instants = Vec::new();
        for group in starts.chunk_by(|a, b| a == b) {
            for (start, number) in group.iter().zip(1..) {
                let shown = order[instants.len()];
                instants.push((
                    start + STEP * number / (group.len() + 1),
                    self.middle(shown),
                ));
            }
        }
        instants
    }

    fn write_order(&self, page: &mut String) -> fmt::Result {
        let instants = self.instants();
        page.push_str("<polyline class=\"order\" points=\"");
        for (x, y) in &instants {
            write!(page, "{x},{y} ")?;
        }
        page.push_str("\"/>\n");
        for ((x, y), number) in instants.iter().zip(1..) {
            writeln!(
                page,
                "<line class=\"tick\" x1=\"{x}\" y1=\"{}\" x2=\"{x}\" y2=\"{}\"/>\
                 <circle class=\"disc\" cx=\"{x}\" cy=\"{y}\" r=\"9\"/>\
                 <text class=\"number\" x=\"{x}\" y=\"{}\">{number}</text>",
                y - BAR / 2,
                y + BAR / 2,
                y + 4
            )?;
        }
        Ok(())
    }
}

/// When it returned, if that limits when it took effect.
fn returned(shown: &Shown) -> Option<u64> {
    shown.operation.returned.filter(|_| shown.required)
}

/// As much of `text` as has space.
fn fitted(text: &str, width: usize) -> String {
    let most = (width / CHARACTER).max(2) - 1;
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most - 1).chain(['…']).collect()
}
