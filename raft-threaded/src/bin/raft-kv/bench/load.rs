//! The load itself: one thread, one poller, all connections.
//!
//! Always holds: `in_flight` is how many requests are sent and not answered, on all connections together.

use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::time::{Duration, Instant};

use mio::event::Event;
use mio::{Events, Poll, Token};

use super::super::failure::Failure;
use super::super::resp_client::{CONNECT_PATIENCE, connect};
use super::connection::{Connection, Sent};
use super::progress::Progress;
use super::replies::Outcome;
use super::requests::Requests;
use super::schedule::{End, Schedule};
use super::tally::Tally;
use super::timer::Timer;

/// How much is read at once.
const READ_BYTES: usize = 64 << 10;
const EVENTS_MAX: usize = 1_024;
const TIMER: Token = Token(usize::MAX);

/// What a load is made of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan<'a> {
    /// Where the servers are.
    pub(super) to: &'a [String],
    /// How many connections there are, spread over the servers.
    pub(super) clients: usize,
    /// How many requests may be without an answer on each.
    pub(super) pipeline: usize,
    /// Requests in a second; none where the answers make room for the next ones.
    pub(super) rate: Option<u64>,
    /// For how long nothing counts, in nanoseconds.
    pub(super) warm_up: u64,
    pub(super) end: End,
}

/// A load under way. All times are nanoseconds since it began.
#[derive(Debug)]
pub(super) struct Load {
    poll: Poll,
    timer: Timer,
    pub(super) began: Instant,
    pipeline: usize,
    warm_up: u64,
    end: End,
    connections: Vec<Connection>,
    /// Connections with room for another request, in the order in which they get one.
    idle: VecDeque<usize>,
    /// Connections that are not open.
    down: BTreeSet<usize>,
    schedule: Schedule,
    requests: Requests,
    in_flight: usize,
    last_answer: u64,
    buffer: Vec<u8>,
    tally: Tally,
    progress: Progress,
}

impl Load {
    /// Opens all connections.
    pub(super) fn connect(
        plan: &Plan<'_>,
        requests: Requests,
        progress: Progress,
    ) -> Result<Self, Failure> {
        let poll = Poll::new()?;
        let timer = Timer::new(&poll, TIMER)?;
        let mut connections = Vec::with_capacity(plan.clients);
        // Names are looked up once.
        let mut found = plan.to.to_vec();
        for client in 0..plan.clients {
            let server = client % plan.to.len();
            let stream = connect(&found[server], CONNECT_PATIENCE)
                .map_err(|error| no_connection(plan, client, &error))?;
            found[server] = stream.peer_addr()?.to_string();
            let connection = Connection::new(stream, Token(client), poll.registry())?;
            connections.push(connection);
        }
        Ok(Self {
            poll,
            timer,
            began: now(),
            pipeline: plan.pipeline,
            warm_up: plan.warm_up,
            end: plan.end,
            connections,
            idle: VecDeque::new(),
            down: BTreeSet::new(),
            schedule: Schedule::new(plan.rate, plan.warm_up, plan.end),
            requests,
            in_flight: 0,
            last_answer: 0,
            buffer: vec![0; READ_BYTES],
            tally: Tally::new(),
            progress,
        })
    }

    /// Runs to the end; returns what became of the requests, and how long the part that counts took.
    pub(super) fn run(mut self) -> Result<(Tally, u64), Failure> {
        self.began = now();
        self.go_on()
    }

    /// From wherever it is to the end.
    pub(super) fn go_on(mut self) -> Result<(Tally, u64), Failure> {
        let mut events = Events::with_capacity(EVENTS_MAX);
        for client in 0..self.connections.len() {
            self.queue(client);
        }
        loop {
            self.reopen();
            self.spread();
            let now = self.now();
            self.progress.show(now, self.warm_up, &self.tally);
            if self.schedule.next_due(now).is_none() && self.in_flight == 0 {
                break;
            }
            if now >= self.give_up_at() {
                self.give_up(now);
                break;
            }
            let patience = self.patience(now)?;
            match self.poll.poll(&mut events, patience) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                polled => polled?,
            }
            for event in &events {
                self.handle(event)?;
            }
        }
        let elapsed = self.end.elapsed(self.warm_up, self.last_answer);
        Ok((self.tally, elapsed))
    }

    fn now(&self) -> u64 {
        u64::try_from(now().duration_since(self.began).as_nanos()).unwrap_or(u64::MAX)
    }

    fn give_up_at(&self) -> u64 {
        self.end.give_up_at(self.warm_up, self.last_answer)
    }

    /// What has no answer yet took at least until now; so did what was due and had no room.
    fn give_up(&mut self, now: u64) {
        for connection in &mut self.connections {
            for sent in connection.sent.drain(..) {
                self.in_flight -= 1;
                if self.schedule.counts(sent.due) {
                    self.tally.give_up(now - sent.due);
                }
            }
        }
        while self.schedule.is_open()
            && let Some(due) = self.schedule.take(now)
        {
            if self.schedule.counts(due) {
                self.tally.give_up(now - due);
            }
        }
        assert!(self.in_flight == 0, "every request was on a connection");
    }

    /// How long to wait if nothing happens.
    fn patience(&mut self, now: u64) -> io::Result<Option<Duration>> {
        let until = self.give_up_at().min(self.progress.next());
        let down = self.down.iter();
        let deadlines = down.filter_map(|client| self.connections[*client].deadline());
        let until = deadlines.fold(until, u64::min);
        let patience = Duration::from_nanos(until.saturating_sub(now));
        // Without room, what is due waits for an answer.
        let due = self.schedule.next_due(now);
        let due = due.filter(|_| self.schedule.is_open() && !self.idle.is_empty());
        let Some(due) = due.filter(|due| *due < until) else {
            return Ok(Some(patience));
        };
        let sooner = self.timer.set(due, now)?;
        Ok(Some(sooner.unwrap_or(patience)))
    }

    /// Sends what is due, each request on the next connection with room.
    fn spread(&mut self) {
        let most = if self.schedule.is_open() {
            1
        } else {
            usize::MAX
        };
        loop {
            let now = self.now();
            if self.schedule.next_due(now).is_none_or(|due| due > now) {
                return;
            }
            let Some(client) = self.idle.pop_front() else {
                return;
            };
            self.connections[client].queued = false;
            self.send(client, most);
        }
    }

    /// Sends what is due on a connection, while it has room; at most so many requests.
    fn send(&mut self, client: usize, mut most: usize) {
        loop {
            let now = self.now();
            let connection = &mut self.connections[client];
            let before = self.in_flight;
            while most > 0
                && connection.has_room(self.pipeline)
                && let Some(due) = self.schedule.take(now)
            {
                let kind = self.requests.encode_next(&mut connection.out);
                connection.sent.push_back(Sent { due, kind });
                self.in_flight += 1;
                most -= 1;
            }
            if connection.write().is_err() {
                return self.lose(client);
            }
            if self.in_flight == before || most == 0 {
                break;
            }
        }
        self.queue(client);
    }

    fn queue(&mut self, client: usize) {
        let connection = &mut self.connections[client];
        if !connection.queued && connection.has_room(self.pipeline) {
            connection.queued = true;
            self.idle.push_back(client);
        }
    }

    fn handle(&mut self, event: &Event) -> Result<(), Failure> {
        if event.token() == TIMER {
            self.timer.went_off();
            return Ok(());
        }
        let client = event.token().0;
        if !self.connections[client].is_open() {
            let now = self.now();
            if !self.connections[client].finish_opening(now) {
                return Ok(());
            }
            self.down.remove(&client);
            self.tally.reconnects += 1;
        }
        if event.is_readable() || event.is_read_closed() || event.is_error() {
            self.receive(client, event.is_read_closed())?;
        }
        self.send(client, usize::MAX);
        Ok(())
    }

    /// Takes what has arrived. The poller tells of more than filled the buffer only once.
    fn receive(&mut self, client: usize, ended: bool) -> Result<(), Failure> {
        loop {
            match self.connections[client].read(&mut self.buffer) {
                Ok(None) => return Ok(()),
                Ok(Some(bytes)) => {
                    self.take_replies(client, bytes)?;
                    if bytes < self.buffer.len() && !ended {
                        return Ok(());
                    }
                }
                Err(_) => {
                    self.lose(client);
                    return Ok(());
                }
            }
        }
    }

    fn take_replies(&mut self, client: usize, bytes: usize) -> Result<(), Failure> {
        let now = self.now();
        let connection = &mut self.connections[client];
        let mut input = &self.buffer[..bytes];
        loop {
            let outcome = connection.replies.next(&mut input);
            let Some(outcome) = outcome.map_err(|e| format!("{}: {e}", connection.address()))?
            else {
                return Ok(());
            };
            let Some(sent) = connection.sent.pop_front() else {
                // A server that takes no more connections says so before it is asked.
                if let Outcome::Error(text) = outcome {
                    self.tally.error(text);
                    continue;
                }
                let address = connection.address();
                return Err(format!("{address}: it answered more than it was asked").into());
            };
            self.in_flight -= 1;
            self.last_answer = now;
            connection.was_answered();
            if self.schedule.counts(sent.due) {
                let latency = now.saturating_sub(sent.due);
                let at = now.saturating_sub(self.warm_up);
                self.tally.answer(sent.kind, outcome, latency, at);
            }
        }
    }

    /// A connection has ended, and nobody will hear what became of what was sent on it.
    fn lose(&mut self, client: usize) {
        let now = self.now();
        let connection = &mut self.connections[client];
        for sent in connection.sent.drain(..) {
            self.in_flight -= 1;
            self.tally.lost += u64::from(self.schedule.counts(sent.due));
        }
        connection.close(now);
        self.down.insert(client);
    }

    fn reopen(&mut self) {
        if self.down.is_empty() {
            return;
        }
        let now = self.now();
        for client in &self.down {
            self.connections[*client].meet_deadline(now, self.poll.registry());
        }
    }
}

fn no_connection(plan: &Plan<'_>, client: usize, error: &io::Error) -> String {
    let to = &plan.to[client % plan.to.len()];
    let (number, all) = (client + 1, plan.clients);
    // Those that were made tell that somebody listens; it may be this side that can make no more.
    let question = if client < plan.to.len() {
        "; does a server listen there?"
    } else {
        ""
    };
    format!("{to}: connection {number} of {all}: {error}{question}")
}

#[expect(
    clippy::disallowed_methods,
    reason = "latencies are what is measured here"
)]
pub(super) fn now() -> Instant {
    Instant::now()
}
