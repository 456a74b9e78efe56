//! A replica against a model that forgets nothing and looks everything up.

use std::collections::BTreeSet;

use quickcheck::{Arbitrary, Gen, quickcheck};
use raft_core::replica::{Image, RequestError, SESSION_WINDOW, Sequence, Sessions, encode_reply};
use raft_core::{EntryId, Index, Options};

use crate::alone::{Alone, Answer, serial};

#[derive(Clone, Debug)]
enum Op {
    Register,
    /// Which of the sessions that ever were, which of its numbers, and how far the lowest lies below.
    Command {
        session: u8,
        sequence: u8,
        behind: u8,
    },
    Plain,
    Elapse {
        span: u8,
        timeout: u8,
    },
    Restart,
}

impl Arbitrary for Op {
    fn arbitrary(g: &mut Gen) -> Self {
        match u8::arbitrary(g) % 16 {
            0 | 1 => Self::Register,
            2 => Self::Plain,
            3..6 => Self::Elapse {
                span: 1 + u8::arbitrary(g) % 20,
                timeout: 20 + u8::arbitrary(g) % 40,
            },
            6 => Self::Restart,
            _ => Self::Command {
                session: u8::arbitrary(g) % 6,
                sequence: u8::arbitrary(g) % 24,
                behind: u8::arbitrary(g) % 18,
            },
        }
    }
}

const SESSIONS_MAX: usize = 3;
const REPLY_BYTES_MAX: usize = 12;

struct NaiveSession {
    id: EntryId,
    last: Index,
    lowest: u64,
    /// Number, entry and reply, of all that were ever executed.
    executed: Vec<(u64, EntryId, Vec<u64>)>,
    /// Numbers whose reply had no room.
    lost: BTreeSet<u64>,
    alive: bool,
}

#[derive(Default)]
struct Naive {
    sessions: Vec<NaiveSession>,
    /// Every time that passed: the entry, and the sum.
    times: Vec<(Index, u64)>,
    journal: Vec<u64>,
}

impl Naive {
    fn register(&mut self, id: EntryId) {
        let mut alive: Vec<&mut NaiveSession> =
            self.sessions.iter_mut().filter(|s| s.alive).collect();
        alive.sort_by_key(|session| session.last);
        let over = (alive.len() + 1).saturating_sub(SESSIONS_MAX);
        for session in alive.into_iter().take(over) {
            session.alive = false;
        }
        self.sessions.push(NaiveSession {
            id,
            last: id.index,
            lowest: 0,
            executed: Vec::new(),
            lost: BTreeSet::new(),
            alive: true,
        });
    }

    fn elapse(&mut self, index: Index, span: u64, timeout: u64) {
        let now = self.times.last().map_or(0, |(_, clock)| *clock) + span;
        for session in &mut self.sessions {
            let since = self.times.iter().find(|(mark, _)| *mark > session.last);
            if since.is_some_and(|(_, since)| now - since >= timeout) {
                session.alive = false;
            }
        }
        self.times.push((index, now));
    }

    fn plain(&mut self, value: u64) -> Vec<u64> {
        self.journal.push(value);
        let mut reply = vec![self.journal.len() as u64];
        reply.resize(1 + (value % 5) as usize, value);
        reply
    }

    fn command(&mut self, place: usize, id: EntryId, sequence: u64, lowest: u64) -> Answer {
        let value = value(place, sequence);
        let session = &mut self.sessions[place];
        if !session.alive {
            return Answer::Error(RequestError::SessionExpired);
        }
        session.last = id.index;
        session.lowest = session.lowest.max(lowest);
        if sequence < session.lowest {
            let lowest = Sequence(session.lowest);
            return Answer::Error(RequestError::SequencePassed { lowest });
        }
        let earlier = session.executed.iter().find(|(s, ..)| *s == sequence);
        if let Some((_, id, reply)) = earlier {
            if session.lost.contains(&sequence) {
                return Answer::Error(RequestError::ReplyLost(*id));
            }
            return Answer::Reply(reply.clone());
        }
        let reply = self.plain(value);
        let session = &mut self.sessions[place];
        let kept = session.executed.iter();
        let kept = kept.filter(|(s, ..)| *s >= session.lowest && !session.lost.contains(s));
        let bytes: usize = kept.map(|(.., reply)| encode_reply(reply).len()).sum();
        if bytes + encode_reply(&reply).len() > REPLY_BYTES_MAX {
            session.lost.insert(sequence);
        }
        session.executed.push((sequence, id, reply.clone()));
        Answer::Reply(reply)
    }
}

/// What a command writes into the journal says whose it is.
fn value(place: usize, sequence: u64) -> u64 {
    place as u64 * 1_000 + sequence
}

fn check(alone: &mut Alone, naive: &mut Naive, op: &Op) {
    match op {
        Op::Register => {
            let session = alone.register();
            naive.register(session.0);
        }
        Op::Plain => {
            let reply = naive.plain(9_999);
            assert_eq!(alone.propose(9_999), Some(Answer::Reply(reply)));
        }
        Op::Elapse { span, timeout } => {
            let id = alone.elapse(u64::from(*span), u64::from(*timeout));
            naive.elapse(id.index, u64::from(*span), u64::from(*timeout));
        }
        Op::Restart => alone.restart(),
        Op::Command {
            session,
            sequence,
            behind,
        } => {
            let place = usize::from(*session);
            let Some(known) = naive.sessions.get(place) else {
                return;
            };
            let sequence = u64::from(*sequence);
            let lowest = sequence.saturating_sub(u64::from(*behind));
            let serial = serial(raft_core::replica::SessionId(known.id), sequence, lowest);
            let found = alone.propose_in(serial, value(place, sequence));
            let id = alone.log.last().unwrap().id;
            if sequence - lowest >= SESSION_WINDOW {
                let lowest = Sequence(lowest);
                let full = RequestError::WindowFull { lowest };
                assert_eq!(found, Some(Answer::Error(full)));
                return;
            }
            assert_eq!(found, Some(naive.command(place, id, sequence, lowest)));
        }
    }
}

/// What the sessions are comes back from their bytes.
fn check_image(sessions: &Sessions) {
    let mut image = Vec::new();
    sessions.write(&mut image).unwrap();
    let mut source = image.as_slice();
    assert_eq!(&Sessions::read(&mut source).unwrap(), sessions);
    assert!(source.is_empty(), "an image ends where it ends");
    let mut short = &image[..image.len() - 1];
    assert!(Sessions::read(&mut short).is_err());
}

quickcheck! {
    fn sessions_do_what_a_model_that_forgets_nothing_does(ops: Vec<Op>) -> bool {
        let options = Options {
            sessions_max: SESSIONS_MAX as u32,
            session_reply_bytes_max: REPLY_BYTES_MAX as u32,
            ..Options::default()
        };
        let mut alone = Alone::new(options);
        let mut naive = Naive::default();
        for op in &ops {
            check(&mut alone, &mut naive, op);
            assert_eq!(alone.replica.machine().0, naive.journal);
            let alive = naive.sessions.iter().filter(|session| session.alive);
            assert_eq!(alone.replica.sessions().len(), alive.count());
            check_image(alone.replica.sessions());
        }
        // Whatever was sent, and however often: once.
        let mut once = BTreeSet::new();
        naive.journal.iter().all(|value| *value == 9_999 || once.insert(*value))
    }
}
