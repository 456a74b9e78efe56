//! The cluster of a scenario: no chance, and no time that nobody asked for.

use std::collections::{BTreeSet, VecDeque};
use std::fmt::Write as _;
use std::sync::Arc;

use raft_core::{Configuration, Envelope, Input, NodeId, Options, Span, Term, Time};

use crate::judge::Violation;
use crate::order::{Order, OrderError};
use crate::registers::{RegisterCommand, RegisterQuery, Registers};
use crate::schedule_file::set_option;
use crate::trace::{message_name, message_text};
use crate::world::{Setup, WAL_OPTIONS, World};

/// A command that cannot be understood or carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected}, found \"{found}\"")]
pub struct CommandError {
    /// What belongs there.
    pub expected: String,
    /// What is there.
    pub found: String,
}

fn wrong(expected: &str, found: &str) -> CommandError {
    CommandError {
        expected: expected.to_string(),
        found: found.to_string(),
    }
}

const COMMANDS: &str = "cluster, log, start, kill, lose-power, campaign, wait, propose, read, partition, \
                        order, cut, heal, block, hold, release or show";

/// Nothing that follows from one command takes more steps.
const STEPS_MAX: u32 = 100_000;

/// Messages that do not arrive.
struct Block {
    from: NodeId,
    to: NodeId,
    /// What they say.
    words: Vec<String>,
    /// How many of them still pass.
    passes: u32,
    /// They are not lost, but arrive later.
    holds: bool,
}

pub(super) struct Stage {
    world: World<Registers>,
    now: Time,
    /// Messages on their way, in the order in which they were sent.
    flights: VecDeque<Box<Envelope>>,
    cut: BTreeSet<(NodeId, NodeId)>,
    blocks: Vec<Block>,
    /// What is held back.
    #[expect(
        clippy::vec_box,
        reason = "nodes hand them out and take them as they are"
    )]
    held: Vec<Box<Envelope>>,
    answers: Vec<String>,
    last_op: u64,
    election_timeout: Span,
    shows_logs: bool,
    shows_members: bool,
}

impl Stage {
    pub(super) fn new(line: &str) -> Result<Self, CommandError> {
        let first = "cluster, a number of nodes from 1 to 64, and perhaps OPTION=VALUE";
        let mut words = line.split_whitespace();
        let nodes = match (words.next(), words.next()) {
            (Some("cluster"), Some(nodes)) => nodes.parse().ok(),
            _ => None,
        };
        let nodes = nodes.filter(|nodes| (1..=64).contains(nodes));
        let nodes = nodes.ok_or_else(|| wrong(first, line))?;
        let mut options = Options::default();
        let mut spares = 0;
        for word in words {
            if let Some(number) = word.strip_prefix("spares=") {
                let number = number.parse().ok().filter(|number| *number <= 64);
                spares = number.ok_or_else(|| wrong("a number of spares up to 64", word))?;
                continue;
            }
            let (name, value) = word.split_once('=').ok_or_else(|| wrong(first, word))?;
            set_option(&mut options, name, value)
                .map_err(|error| wrong(error.expected, &error.found))?;
        }
        options
            .validate()
            .map_err(|error| wrong("options in their ranges", &error.to_string()))?;
        let setup = Setup {
            nodes,
            spares,
            options,
            priorities: Vec::new(),
            wal_options: WAL_OPTIONS,
            fresh: Arc::new(Registers::default),
            reference: Box::new(Registers::default()),
        };
        Ok(Self {
            world: World::new(setup),
            now: Time(1),
            flights: VecDeque::new(),
            cut: BTreeSet::new(),
            blocks: Vec::new(),
            held: Vec::new(),
            answers: Vec::new(),
            last_op: 0,
            election_timeout: options.election_timeout,
            shows_logs: false,
            shows_members: false,
        })
    }

    pub(super) fn violation(&self) -> Option<Violation> {
        self.world.violation().cloned()
    }

    pub(super) fn command(&mut self, line: &str) -> Result<(), CommandError> {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["log", node, terms @ ..] => self.log(line, node, terms)?,
            ["start", node] => {
                let node = self.node(node)?;
                self.start(node)?;
            }
            ["kill", node] => {
                let node = self.node(node)?;
                self.world.kill(node);
            }
            ["lose-power", node] => {
                let node = self.node(node)?;
                self.world.lose_power(node, 0);
            }
            ["campaign", node] => {
                let node = self.running(node)?;
                self.start_all()?;
                // Whoever heard a leader lately would not vote.
                self.now = self.now + Span(2 * self.election_timeout.0);
                self.give(node, Input::Campaign);
            }
            ["wait", span] => self.wait(span)?,
            ["propose", node, command] => self.propose(node, command)?,
            ["read", node, query] => self.read(node, query)?,
            ["partition", ..] => self.partition(line)?,
            ["cut", link] => {
                let (from, to) = self.link(link)?;
                self.cut.extend(pairs(&from, &to));
            }
            [verb @ ("block" | "hold"), link, words @ ..] if !words.is_empty() => {
                let (words, passes) = match words {
                    [words @ .., "after", passes] if !words.is_empty() => {
                        let passes = passes.parse();
                        let passes = passes.map_err(|_| wrong("a number after \"after\"", line))?;
                        (words, passes)
                    }
                    words => (words, 0),
                };
                self.block(link, words, passes, *verb == "hold")?;
            }
            ["release"] => {
                self.blocks.retain(|block| !block.holds);
                let held = core::mem::take(&mut self.held);
                self.flights.extend(held);
            }
            ["heal"] => {
                self.cut.clear();
                self.blocks.retain(|block| block.holds);
            }
            ["show", "logs"] => self.shows_logs = true,
            ["show", "members"] => self.shows_members = true,
            ["order", node, order @ ..] => self.order(node, order)?,
            _ => return Err(wrong(COMMANDS, line)),
        }
        self.settle(line)
    }

    fn node(&self, text: &str) -> Result<NodeId, CommandError> {
        let known = text.parse().ok().map(NodeId);
        let known = known.filter(|node| self.world.nodes().any(|other| other == *node));
        known.ok_or_else(|| wrong("a node of the cluster", text))
    }

    /// A node that runs, after everything was started that never was.
    fn running(&mut self, text: &str) -> Result<NodeId, CommandError> {
        let node = self.node(text)?;
        self.start_all()?;
        if self.world.status(node).is_none() {
            return Err(wrong("a node that runs", text));
        }
        Ok(node)
    }

    /// The first command that needs a running cluster starts it.
    fn start_all(&mut self) -> Result<(), CommandError> {
        if self.world.counts.starts > 0 {
            return Ok(());
        }
        let nodes: Vec<NodeId> = self.world.nodes().collect();
        nodes.into_iter().try_for_each(|node| self.start(node))
    }

    fn start(&mut self, node: NodeId) -> Result<(), CommandError> {
        if self.world.status(node).is_some() {
            return Err(wrong("a node that does not run", &node.to_string()));
        }
        let result = self.world.start(self.now, node);
        result.map_err(|error| wrong("a log that can be believed", &error.to_string()))
    }

    fn log(&mut self, line: &str, node: &str, terms: &[&str]) -> Result<(), CommandError> {
        let node = self.node(node)?;
        let terms: Option<Vec<Term>> = terms.iter().map(|t| t.parse().ok().map(Term)).collect();
        let terms = terms.filter(|terms| terms.is_sorted() && terms.first() > Some(&Term(0)));
        let terms = terms.ok_or_else(|| wrong("terms from 1 that never fall", line))?;
        if self.world.counts.starts > 0 {
            return Err(wrong("logs before the first start", line));
        }
        self.world.write_log(node, &terms);
        Ok(())
    }

    fn give(&mut self, node: NodeId, input: Input) {
        self.world.now = self.now;
        self.world.handle(self.now, node, input);
        self.world.drain(node);
    }

    fn wait(&mut self, text: &str) -> Result<(), CommandError> {
        let millis = text
            .strip_suffix("ms")
            .and_then(|millis| millis.parse().ok());
        let span = millis.map(Span::from_millis);
        let span = span.ok_or_else(|| wrong("milliseconds like 100ms", text))?;
        self.start_all()?;
        let end = self.now + span;
        loop {
            self.settle(text)?;
            let due = self.world.nodes().filter_map(|node| {
                let deadline = self.world.next_deadline(node)?;
                Some((deadline, node))
            });
            let Some((deadline, node)) = due.min().filter(|(deadline, _)| *deadline <= end) else {
                break;
            };
            self.now = self.now.max(deadline);
            self.give(node, Input::Tick);
        }
        self.now = end;
        Ok(())
    }

    fn propose(&mut self, node: &str, command: &str) -> Result<(), CommandError> {
        let node = self.running(node)?;
        let command: RegisterCommand = command
            .parse()
            .map_err(|_| wrong("a change of a register like a=5, a+=5 or a:3>5", command))?;
        self.last_op += 1;
        self.world.propose(self.now, node, self.last_op, command);
        self.world.drain(node);
        Ok(())
    }

    fn read(&mut self, node: &str, query: &str) -> Result<(), CommandError> {
        let node = self.running(node)?;
        let query: RegisterQuery = query
            .parse()
            .map_err(|_| wrong("a register from a to z", query))?;
        self.last_op += 1;
        self.world.query(self.now, node, self.last_op, query);
        self.world.drain(node);
        Ok(())
    }

    fn order(&mut self, node: &str, words: &[&str]) -> Result<(), CommandError> {
        let node = self.running(node)?;
        let order: Order = words
            .join(" ")
            .parse()
            .map_err(|error: OrderError| wrong("an order like remove 3", &error.0))?;
        self.world.order(self.now, node, order);
        self.world.drain(node);
        Ok(())
    }

    fn partition(&mut self, line: &str) -> Result<(), CommandError> {
        let groups = line.trim_start_matches("partition");
        let mut parsed = Vec::new();
        for group in groups.split('|') {
            let nodes = group.split(',').map(|node| self.node(node.trim()));
            parsed.push(nodes.collect::<Result<Vec<NodeId>, CommandError>>()?);
        }
        for (place, one) in parsed.iter().enumerate() {
            for other in parsed.iter().skip(place + 1) {
                self.cut.extend(pairs(one, other));
                self.cut.extend(pairs(other, one));
            }
        }
        Ok(())
    }

    /// `1>2`, where `*` stands for any node.
    fn link(&self, text: &str) -> Result<(Vec<NodeId>, Vec<NodeId>), CommandError> {
        let ends = text.split_once('>');
        let (from, to) = ends.ok_or_else(|| wrong("a link like 1>2 or 1>*", text))?;
        let end = |end: &str| match end {
            "*" => Ok(self.world.nodes().collect()),
            node => self.node(node).map(|node| vec![node]),
        };
        Ok((end(from)?, end(to)?))
    }

    fn block(
        &mut self,
        link: &str,
        words: &[&str],
        passes: u32,
        holds: bool,
    ) -> Result<(), CommandError> {
        let (from, to) = self.link(link)?;
        for (from, to) in pairs(&from, &to) {
            self.blocks.push(Block {
                from,
                to,
                words: words.iter().map(|word| (*word).to_string()).collect(),
                passes,
                holds,
            });
        }
        Ok(())
    }

    /// Everything that follows happens, without time passing.
    fn settle(&mut self, line: &str) -> Result<(), CommandError> {
        for _ in 0..STEPS_MAX {
            self.collect();
            let busy = self
                .world
                .nodes()
                .find(|node| self.world.lane_is_busy(*node));
            let moves = self
                .world
                .nodes()
                .find(|node| self.world.snapshot_lane_is_busy(*node));
            if let Some(node) = busy {
                self.world.lane(self.now, node);
                self.world.drain(node);
            } else if let Some(node) = moves {
                self.world.snapshot_lane(self.now, node);
                self.world.drain(node);
            } else if let Some(envelope) = self.flights.pop_front() {
                self.deliver(envelope);
            } else {
                return Ok(());
            }
        }
        Err(wrong("a command after which things come to rest", line))
    }

    fn deliver(&mut self, envelope: Box<Envelope>) {
        let (from, to) = (envelope.from.member.node, envelope.to.node);
        let text = format!(
            "{} {}",
            message_name(&envelope.body),
            message_text(&envelope)
        );
        let said: Vec<&str> = text.split(' ').collect();
        let (mut blocked, mut held) = (false, false);
        for block in &mut self.blocks {
            let says = block.words.iter().all(|word| said.contains(&word.as_str()));
            if (block.from, block.to) == (from, to) && says {
                let stops = block.passes == 0;
                blocked |= stops && !block.holds;
                held |= stops && block.holds;
                block.passes = block.passes.saturating_sub(1);
            }
        }
        if blocked || self.cut.contains(&(from, to)) {
            return;
        }
        if held {
            self.held.push(envelope);
        } else {
            self.give(to, Input::Receive(envelope));
        }
    }

    fn collect(&mut self) {
        self.flights.extend(self.world.effects.sent.drain(..));
        for (op, result) in self.world.effects.replies.drain(..) {
            let answer = match result {
                Ok(Some(value)) => format!("request {op}: {value}"),
                Ok(None) => format!("request {op}: nothing"),
                Err(error) => format!("request {op}: {error}"),
            };
            self.answers.push(answer);
        }
        for (_, order, result) in self.world.effects.ordered.drain(..) {
            self.answers.push(order.told(&result));
        }
        self.world.effects.clear_answers();
    }

    /// What there is to compare.
    pub(super) fn states(&mut self) -> String {
        let mut out = String::new();
        for node in self.world.nodes() {
            let Some(status) = self.world.status(node) else {
                let _ = writeln!(out, "{node}: down");
                continue;
            };
            let _ = write!(
                out,
                "{node}: {} term={} commit={} last={}",
                status.role.as_str(),
                status.term,
                status.commit_index,
                status.last.index
            );
            if self.shows_logs {
                let terms = self.world.judge.terms(node);
                let terms: Vec<String> = terms.iter().map(Term::to_string).collect();
                let _ = write!(out, " log={}", terms.join(","));
            }
            if self.shows_members {
                out.push_str(&members(status.configuration));
            }
            out.push('\n');
        }
        for answer in self.answers.drain(..) {
            let _ = writeln!(out, "{answer}");
        }
        for (node, alert) in self.world.alerts.drain(..) {
            let _ = writeln!(out, "{node} alerts: {alert}");
        }
        out
    }
}

/// ` voters=1,2 outgoing=1,2,3 learners=4`, without what is empty.
fn members(configuration: &Configuration) -> String {
    let parts = [
        ("voters", &configuration.voters),
        ("outgoing", &configuration.outgoing),
        ("learners", &configuration.learners),
    ];
    let parts = parts.into_iter().filter(|(_, members)| !members.is_empty());
    let parts = parts.map(|(name, members)| {
        let nodes: Vec<String> = members.iter().map(|m| m.node.to_string()).collect();
        format!(" {name}={}", nodes.join(","))
    });
    parts.collect()
}

fn pairs<'a>(
    from: &'a [NodeId],
    to: &'a [NodeId],
) -> impl Iterator<Item = (NodeId, NodeId)> + use<'a> {
    let pairs = from
        .iter()
        .flat_map(move |from| to.iter().map(|to| (*from, *to)));
    pairs.filter(|(from, to)| from != to)
}
