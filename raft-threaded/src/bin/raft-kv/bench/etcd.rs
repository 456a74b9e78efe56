//! The same load through etcd's own protocol: one thread, and a task for each request that may be under way.
//!
//! Always holds: a task asks for nothing before its last request was answered.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use etcd_client::{Client, Error, KvClient};
use tokio::runtime;
use tokio::sync::Notify;
use tokio::task::LocalSet;
use tokio::time::{sleep, sleep_until, timeout};

use super::super::failure::Failure;
use super::load::{Plan, now};
use super::progress::Progress;
use super::replies::Outcome;
use super::requests::{Kind, Requests};
use super::schedule::Schedule;
use super::tally::Tally;

/// Connections, of which each carries many requests at once: as many as clients, and no more than these.
const CONNECTIONS_MAX: usize = 8;
/// How many clients share a connection, while there are no more connections than that.
const CLIENTS_PER_CONNECTION: usize = 4;
/// How long a task waits after a request that was not carried out, or it would ask again at once.
const BACK_OFF: Duration = Duration::from_millis(50);

/// Runs to the end; returns what became of the requests, and how long the part that counts took.
pub(super) fn run(
    plan: &Plan<'_>,
    requests: Requests,
    progress: Progress,
) -> Result<(Tally, u64), Failure> {
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    LocalSet::new().block_on(&runtime, load(plan, requests, progress))
}

async fn load(
    plan: &Plan<'_>,
    requests: Requests,
    mut progress: Progress,
) -> Result<(Tally, u64), Failure> {
    let connections = connect(plan).await?;
    let tasks = plan.clients * plan.pipeline;
    let ended = Notify::new();
    let shared = Rc::new(Shared {
        began: now(),
        ended,
        state: RefCell::new(State {
            schedule: Schedule::new(plan.rate, plan.warm_up, plan.end),
            requests,
            tally: Tally::new(),
            under_way: vec![None; tasks],
            running: tasks,
            last_answer: 0,
        }),
    });
    for task in 0..tasks {
        let connection = connections[task % connections.len()].clone();
        tokio::task::spawn_local(Rc::clone(&shared).ask(plan.warm_up, task, connection));
    }
    while let Some(patience) = shared.look(plan, &mut progress) {
        // Whichever comes first: both are looked at.
        let _ = timeout(patience, shared.ended.notified()).await;
    }
    let state = &mut *shared.state.borrow_mut();
    let elapsed = plan.end.elapsed(plan.warm_up, state.last_answer);
    Ok((std::mem::replace(&mut state.tally, Tally::new()), elapsed))
}

/// Opens the connections, and asks on each whether etcd is there.
async fn connect(plan: &Plan<'_>) -> Result<Vec<KvClient>, Failure> {
    let clients = plan.clients;
    let enough = (clients / CLIENTS_PER_CONNECTION).clamp(1, CONNECTIONS_MAX);
    let all = enough.max(plan.to.len()).min(clients);
    let mut connections = Vec::new();
    for connection in 0..all {
        let to = &plan.to[connection % plan.to.len()];
        let failed = |error: Error| {
            let (number, error) = (connection + 1, sentence(&error));
            format!("{to}: connection {number} of {all}: {error}; does etcd listen there?")
        };
        let mut client = Client::connect([to], None).await.map_err(failed)?;
        client.status().await.map_err(failed)?;
        connections.push(client.kv_client());
    }
    Ok(connections)
}

/// What the tasks share. All times are nanoseconds since the load began.
struct Shared {
    began: Instant,
    /// The last task has ended.
    ended: Notify,
    state: RefCell<State>,
}

struct State {
    schedule: Schedule,
    requests: Requests,
    tally: Tally,
    /// Of each task, when its request was due.
    under_way: Vec<Option<u64>>,
    /// Tasks that have not ended.
    running: usize,
    last_answer: u64,
}

impl Shared {
    fn now(&self) -> u64 {
        u64::try_from(now().duration_since(self.began).as_nanos()).unwrap_or(u64::MAX)
    }

    /// How long to wait before the next look, unless the load is over or given up.
    fn look(&self, plan: &Plan<'_>, progress: &mut Progress) -> Option<Duration> {
        let (now, state) = (self.now(), &mut *self.state.borrow_mut());
        progress.show(now, plan.warm_up, &state.tally);
        if state.running == 0 {
            return None;
        }
        let give_up_at = plan.end.give_up_at(plan.warm_up, state.last_answer);
        if now >= give_up_at {
            state.give_up(now);
            return None;
        }
        let next = give_up_at.min(progress.next());
        Some(Duration::from_nanos(next.saturating_sub(now)))
    }

    /// One request after the other, for as long as there are any.
    async fn ask(self: Rc<Self>, warm_up: u64, task: usize, mut connection: KvClient) {
        loop {
            let Some(due) = self.state.borrow_mut().claim(self.now()) else {
                break;
            };
            if due > self.now() {
                // Whole milliseconds, which is what tokio's timer tells apart; latencies count from `due` all the same.
                sleep_until((self.began + Duration::from_nanos(due)).into()).await;
            }
            let (key, value) = {
                let state = &mut *self.state.borrow_mut();
                state.under_way[task] = Some(due);
                state.requests.next_pair()
            };
            let (kind, outcome) = match value {
                None => (Kind::Read, get(&mut connection, key).await),
                Some(value) => (Kind::Write, put(&mut connection, key, value).await),
            };
            let refused = matches!(outcome, Outcome::Error(_));
            self.state
                .borrow_mut()
                .answer(task, kind, outcome, self.now(), warm_up);
            if refused {
                sleep(BACK_OFF).await;
            }
        }
        let state = &mut *self.state.borrow_mut();
        state.running -= 1;
        if state.running == 0 {
            self.ended.notify_one();
        }
    }
}

impl State {
    /// Takes the next request, which may be due later; returns when it is due.
    fn claim(&mut self, now: u64) -> Option<u64> {
        let due = self.schedule.next_due(now)?;
        self.schedule.take(due.max(now))
    }

    fn answer(&mut self, task: usize, kind: Kind, outcome: Outcome, now: u64, warm_up: u64) {
        let due = self.under_way[task].take();
        let due = due.expect("a task that has an answer has asked");
        self.last_answer = now;
        if self.schedule.counts(due) {
            let (latency, at) = (now.saturating_sub(due), now.saturating_sub(warm_up));
            self.tally.answer(kind, outcome, latency, at);
        }
    }

    /// What has no answer yet took at least until now; so did what was due and was not asked for.
    fn give_up(&mut self, now: u64) {
        let late = self.under_way.drain(..).flatten();
        let mut late: Vec<u64> = late.collect();
        while self.schedule.is_open()
            && let Some(due) = self.schedule.take(now)
        {
            late.push(due);
        }
        for due in late {
            if self.schedule.counts(due) {
                self.tally.give_up(now - due);
            }
        }
    }
}

async fn get(connection: &mut KvClient, key: Vec<u8>) -> Outcome {
    match connection.get(key, None).await {
        Ok(found) if found.kvs().is_empty() => Outcome::Nothing,
        Ok(_) => Outcome::Done,
        Err(error) => Outcome::Error(sentence(&error)),
    }
}

async fn put(connection: &mut KvClient, key: Vec<u8>, value: Vec<u8>) -> Outcome {
    match connection.put(key, value, None).await {
        Ok(_) => Outcome::Done,
        Err(error) => Outcome::Error(sentence(&error)),
    }
}

/// An error that begins with a word by which its like are counted.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "errors of another crate, which adds to them"
)]
fn sentence(error: &Error) -> String {
    match error {
        Error::GRpcStatus(status) => format!("{:?} {}", status.code(), status.message()),
        error => error.to_string(),
    }
}
