//! What happened, in order: for people as a story, for the timeline page as data.

use std::fmt;

use raft_core::replica::RequestError;
use raft_core::{
    Alert, AppendOutcome, Body, DiskHealth, Entry, EntryId, Envelope, Index, Input, NodeId,
    Outcome, Payload, Persist, Restored, RoleKind, Status, Term, Time,
};
use serde::Serialize;

use crate::machine::{OpId, Witnessed, op_of};
use crate::order::Order;

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Fate {
    /// It arrived.
    Delivered,
    /// The network lost it.
    Lost,
    /// The link was cut.
    Cut,
    /// It arrived damaged, and its checksum told.
    Refused,
    /// Nobody was there.
    Nobody,
}

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    missing_docs,
    reason = "the fields are what the variants' sentences name"
)]
#[non_exhaustive]
pub enum Happening {
    /// A node's part in its term changed.
    Role {
        node: NodeId,
        role: RoleKind,
        term: Term,
    },
    /// A node counts more as committed.
    Commit { node: NodeId, index: Index },
    /// A node's disk has more of its log.
    Durable { node: NodeId, index: Index },
    /// A node's log was written from an index on, whatever was there before.
    Log {
        node: NodeId,
        first: Index,
        entries: Vec<(Term, String)>,
    },
    /// A message arrived, or was lost.
    Message {
        from: NodeId,
        to: NodeId,
        sent: Time,
        name: &'static str,
        text: String,
        fate: Fate,
    },
    /// A process ended.
    Down { node: NodeId, why: String },
    /// A process began.
    Up { node: NodeId, text: String },
    /// Links were cut, in these directions.
    Cut {
        links: Vec<(NodeId, NodeId)>,
        text: String,
    },
    /// Links were mended, in these directions.
    Heal {
        links: Vec<(NodeId, NodeId)>,
        text: String,
    },
    /// Something about a disk.
    Disk { node: NodeId, text: String },
    /// Something about a clock.
    Clock { node: NodeId, text: String },
    /// A process does nothing for a while.
    Pause { node: NodeId, until: Time },
    /// A client asked.
    Ask { node: NodeId, op: u64, text: String },
    /// A client was answered.
    Answer { node: NodeId, op: u64, text: String },
    /// A node found something alarming.
    Alert { node: NodeId, text: String },
    /// Anything else.
    Note { node: Option<NodeId>, text: String },
}

/// Something that happened, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceEvent {
    /// In the time of the world, in nanoseconds.
    pub at: Time,
    /// What.
    pub what: Happening,
}

/// Everything that happened in a run.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    /// In order.
    pub events: Vec<TraceEvent>,
    commits: Vec<Index>,
}

impl Trace {
    pub(crate) fn note(&mut self, at: Time, what: Happening) {
        self.events.push(TraceEvent { at, what });
    }

    /// Notes a commit index if it is news.
    pub(crate) fn observe(&mut self, at: Time, node: NodeId, status: &Status<'_>) {
        let place = usize::try_from(node.0).unwrap_or(0);
        if self.commits.len() <= place {
            self.commits.resize(place + 1, Index(0));
        }
        let index = status.commit_index;
        if self.commits[place] != index {
            self.commits[place] = index;
            self.note(at, Happening::Commit { node, index });
        }
    }
}

impl Happening {
    pub(crate) fn up(node: NodeId, restored: &Restored) -> Self {
        let text = format!(
            "boot {}, term {}, log up to {}",
            restored.boot,
            restored.hard_state.term,
            id(restored.terms.last())
        );
        Self::Up { node, text }
    }

    /// The end of a log that was found on a disk.
    pub(crate) fn recovered(node: NodeId, restored: &Restored) -> Self {
        let end = restored.terms.last().index.next();
        let first = restored.tail.first().map_or(end, |entry| entry.id.index);
        let entries = restored.tail.iter().map(entry_text).collect();
        Self::Log {
            node,
            first,
            entries,
        }
    }

    pub(crate) fn down(node: NodeId, why: &str) -> Self {
        let why = why.to_string();
        Self::Down { node, why }
    }

    pub(crate) fn ask(node: NodeId, op: OpId, text: String) -> Self {
        Self::Ask { node, op, text }
    }

    pub(crate) fn answer<R: fmt::Debug>(
        node: NodeId,
        op: OpId,
        result: &Result<Witnessed<R>, RequestError>,
    ) -> Self {
        let text = match result {
            Ok(witnessed) => format!("{:?}, as of entry {}", witnessed.reply, witnessed.at),
            Err(error) => error.to_string(),
        };
        Self::Answer { node, op, text }
    }

    pub(crate) fn order(node: NodeId, order: Order) -> Self {
        Self::Note {
            node: Some(node),
            text: format!("node {node} is ordered: {order}"),
        }
    }

    pub(crate) fn ordered(
        node: NodeId,
        order: Order,
        outcome: &Result<Outcome, RequestError>,
    ) -> Self {
        Self::Note {
            node: Some(node),
            text: order.told(outcome),
        }
    }

    pub(crate) fn alert(node: NodeId, alert: &Alert) -> Self {
        let text = alert.to_string();
        Self::Alert { node, text }
    }

    pub(crate) fn log(node: NodeId, persist: &Persist) -> Self {
        let Some(first) = persist.entries.first() else {
            let text = match &persist.hard_state {
                Some(hard_state) => match hard_state.voted_for {
                    Some(vote) => {
                        format!(
                            "writes term {} and a vote for node {}",
                            hard_state.term, vote.node
                        )
                    }
                    None => format!("writes term {}", hard_state.term),
                },
                None => "writes nothing".to_string(),
            };
            return Self::Disk { node, text };
        };
        Self::Log {
            node,
            first: first.id.index,
            entries: persist.entries.iter().map(entry_text).collect(),
        }
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "only what the log lane reports comes here"
    )]
    pub(crate) fn disk(node: NodeId, input: &Input) -> Self {
        let text = match input {
            Input::StorageFull => "the disk is full",
            Input::StorageAvailable => "the disk has room again",
            _ => "the disk failed",
        };
        let text = text.to_string();
        Self::Disk { node, text }
    }

    /// The node it is about, if it is about one; of a message, the receiver.
    #[must_use]
    pub fn node(&self) -> Option<NodeId> {
        match self {
            Self::Role { node, .. }
            | Self::Commit { node, .. }
            | Self::Durable { node, .. }
            | Self::Log { node, .. }
            | Self::Message { to: node, .. }
            | Self::Down { node, .. }
            | Self::Up { node, .. }
            | Self::Disk { node, .. }
            | Self::Clock { node, .. }
            | Self::Pause { node, .. }
            | Self::Ask { node, .. }
            | Self::Answer { node, .. }
            | Self::Alert { node, .. } => Some(*node),
            Self::Cut { .. } | Self::Heal { .. } => None,
            Self::Note { node, .. } => *node,
        }
    }

    /// What it is, in one word, for filters and for the timeline page.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Role { .. } => "role",
            Self::Commit { .. } => "commit",
            Self::Durable { .. } => "durable",
            Self::Log { .. } => "log",
            Self::Message { .. } => "message",
            Self::Down { .. } => "down",
            Self::Up { .. } => "up",
            Self::Cut { .. } => "cut",
            Self::Heal { .. } => "heal",
            Self::Disk { .. } => "disk",
            Self::Clock { .. } => "clock",
            Self::Pause { .. } => "pause",
            Self::Ask { .. } => "ask",
            Self::Answer { .. } => "answer",
            Self::Alert { .. } => "alert",
            Self::Note { .. } => "note",
        }
    }
}

fn id(id: EntryId) -> String {
    format!("{}@{}", id.index, id.term)
}

fn entry_text(entry: &Entry) -> (Term, String) {
    let text = match &entry.payload {
        Payload::Noop => "no-op".to_string(),
        Payload::Command(command) => match op_of(command) {
            Some(op) => format!("request {op}"),
            None => format!("{} bytes", command.len()),
        },
        Payload::Configuration(configuration) => {
            format!("configuration of {} members", configuration.members().len())
        }
    };
    (entry.id.term, text)
}

/// A message's name.
#[must_use]
pub(crate) const fn message_name(body: &Body) -> &'static str {
    match body {
        Body::RequestPreVote { .. } => "RequestPreVote",
        Body::PreVoteReply { .. } => "PreVoteReply",
        Body::RequestVote { .. } => "RequestVote",
        Body::VoteReply { .. } => "VoteReply",
        Body::AppendEntries { .. } => "AppendEntries",
        Body::AppendReply(_) => "AppendReply",
        Body::Heartbeat { .. } => "Heartbeat",
        Body::HeartbeatReply { .. } => "HeartbeatReply",
        Body::StaleTerm => "StaleTerm",
        Body::ForwardProposals { .. } => "ForwardProposals",
        Body::ForwardProposalsReply { .. } => "ForwardProposalsReply",
        Body::ForwardRead { .. } => "ForwardRead",
        Body::ForwardReadReply { .. } => "ForwardReadReply",
        Body::ForwardControl { .. } => "ForwardControl",
        Body::ForwardControlReply { .. } => "ForwardControlReply",
        Body::TimeoutNow { .. } => "TimeoutNow",
        Body::AskMembership { .. } => "AskMembership",
        Body::NotAMember { .. } => "NotAMember",
        Body::RequestLeadership { .. } => "RequestLeadership",
        Body::InstallSnapshot { .. } => "InstallSnapshot",
        Body::FetchSnapshot { .. } => "FetchSnapshot",
        Body::SnapshotChunk { .. } => "SnapshotChunk",
        Body::NoSnapshot => "NoSnapshot",
    }
}

/// What a message says, without what only tells exchanges apart: the same in a run from which
/// something was left out.
#[must_use]
pub(crate) fn message_text(envelope: &Envelope) -> String {
    let term = envelope.term;
    match &envelope.body {
        Body::RequestPreVote { last } | Body::RequestVote { last, .. } => {
            format!("term={} last={}", envelope.session.term, id(*last))
        }
        Body::PreVoteReply { granted } | Body::VoteReply { granted } => {
            format!("term={} granted={granted}", envelope.session.term)
        }
        Body::AppendEntries {
            previous,
            commit,
            entries,
        } => {
            let last = entries.last().map_or(*previous, |entry| entry.id);
            format!(
                "term={term} previous={} last={} commit={commit}",
                id(*previous),
                id(last)
            )
        }
        Body::AppendReply(outcome) => format!("term={term} {}", outcome_text(outcome)),
        Body::Heartbeat { commit, .. } => format!("term={term} commit={commit}"),
        Body::HeartbeatReply {
            received,
            matched,
            disk,
            ..
        } => {
            let disk = disk_text(*disk);
            format!("term={term} received={received} matched={matched}{disk}")
        }
        Body::StaleTerm => format!("term={term}"),
        Body::ForwardProposals { commands } => {
            let ops = commands.iter().filter_map(op_of);
            let ops: Vec<String> = ops.map(|op| op.to_string()).collect();
            format!("term={term} requests={}", ops.join(","))
        }
        Body::ForwardProposalsReply { outcomes } => {
            format!("term={term} outcomes={}", outcomes.len())
        }
        Body::ForwardRead { .. } => format!("term={term}"),
        Body::ForwardReadReply { index } => match index {
            Some(index) => format!("term={term} index={index}"),
            None => format!("term={term} index=none"),
        },
        Body::ForwardControl { control } => format!("term={term} {control:?}"),
        Body::ForwardControlReply { outcome } => format!("term={term} {outcome:?}"),
        Body::AskMembership { last } => format!("term={term} last={}", id(*last)),
        Body::NotAMember { configured } => format!("term={term} configured={}", id(*configured)),
        Body::TimeoutNow { last, .. } => format!("term={term} last={}", id(*last)),
        Body::RequestLeadership { priority } => format!("term={term} priority={priority}"),
        Body::InstallSnapshot {
            id: at_least,
            source,
        } => {
            format!(
                "term={term} at_least={} source={}",
                id(*at_least),
                source.node
            )
        }
        Body::FetchSnapshot {
            at_least, offset, ..
        } => format!("at_least={at_least} offset={offset}"),
        Body::SnapshotChunk {
            id: of,
            offset,
            total,
            bytes,
        } => format!(
            "of={} offset={offset} bytes={} of {total}",
            id(*of),
            bytes.len()
        ),
        Body::NoSnapshot => String::new(),
    }
}

fn outcome_text(outcome: &AppendOutcome) -> String {
    match outcome {
        AppendOutcome::Matched(matched) => format!("matched={matched}"),
        AppendOutcome::Conflict { previous, hint } => {
            format!("conflict={previous} hint={}", id(*hint))
        }
        AppendOutcome::Blank => "blank".to_string(),
    }
}

/// Nothing of a healthy disk.
fn disk_text(disk: DiskHealth) -> String {
    match disk {
        DiskHealth::Healthy => String::new(),
        DiskHealth::Stalled | DiskHealth::Full => format!(" disk={}", disk.as_str()),
    }
}

impl fmt::Display for Happening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Role { node, role, term } => {
                write!(f, "{node}: {} in term {term}", role.as_str())
            }
            Self::Commit { node, index } => write!(f, "{node}: commits up to {index}"),
            Self::Durable { node, index } => write!(f, "{node}: its disk has up to {index}"),
            Self::Log {
                node,
                first,
                entries,
            } if entries.is_empty() => write!(f, "{node}: its log has nothing from {first} on"),
            Self::Log {
                node,
                first,
                entries,
            } => {
                write!(f, "{node}: writes entries from {first} on:")?;
                for (term, text) in entries.iter().take(8) {
                    write!(f, " [{term}: {text}]")?;
                }
                match entries.len() {
                    0..=8 => Ok(()),
                    more => write!(f, " and {} more", more - 8),
                }
            }
            Self::Message {
                from,
                to,
                name,
                text,
                fate,
                ..
            } => {
                write!(f, "{from} > {to} {name} {text}")?;
                match fate {
                    Fate::Delivered => Ok(()),
                    Fate::Lost => f.write_str("  (lost)"),
                    Fate::Cut => f.write_str("  (the link is cut)"),
                    Fate::Refused => f.write_str("  (damaged on the way, and refused)"),
                    Fate::Nobody => f.write_str("  (nobody is there)"),
                }
            }
            Self::Down { node, why } => write!(f, "{node}: {why}"),
            Self::Up { node, text } => write!(f, "{node}: starts, {text}"),
            Self::Cut { text, .. } | Self::Heal { text, .. } => f.write_str(text),
            Self::Disk { node, text } | Self::Clock { node, text } | Self::Alert { node, text } => {
                write!(f, "{node}: {text}")
            }
            Self::Pause { node, until } => {
                write!(f, "{node}: does nothing until {}", Clock(*until))
            }
            Self::Ask { node, op, text } => write!(f, "{node}: request {op}: {text}"),
            Self::Answer { node, op, text } => write!(f, "{node}: answers request {op}: {text}"),
            Self::Note { node, text } => match node {
                Some(node) => write!(f, "{node}: {text}"),
                None => f.write_str(text),
            },
        }
    }
}

/// A moment as stories show it, in milliseconds.
#[derive(Clone, Copy, Debug)]
pub struct Clock(pub Time);

impl fmt::Display for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = self.0.0 / 1_000;
        let text = format!("{}.{:03} ms", micros / 1_000, micros % 1_000);
        f.pad(&text)
    }
}

impl fmt::Display for TraceEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>14}  {}", Clock(self.at).to_string(), self.what)
    }
}
