//! Commits per second of three embedded servers beside openraft's, and their ratio.
//!
//! Both have all three nodes in one process, a log in memory, a network that calls the other node, and commands and
//! replies of no bytes. Runs take turns, because only what was measured at the same time can be compared; a
//! figure is the median of its runs.

#[path = "../figures.rs"]
mod figures;
mod openraft;
mod ours;

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

use crate::figures::{Ratio, Runs};

const USAGE: &str = "\
usage: embedded [--quick | --one WHO CLIENTS]

  (nothing)          commits per second of 1, 64 and 1,024 clients that wait for their replies
  --quick            the same with shorter and fewer runs
  --one WHO CLIENTS  one run of five seconds, for a profiler: ours, ours-tasks, openraft-1 or openraft-2";

/// How many times the other library's commits per second ours aims at.
const BAR: u64 = 2;

/// So many clients, each of which waits for its reply before it asks again, for so long.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    clients: usize,
    span: Duration,
}

/// What came of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run {
    per_second: u64,
    /// Time on processors that the whole process took for a commit, which other programs take less of than of the
    /// clock's.
    nanos: u64,
}

impl Load {
    /// Lets something go on for so long, until it is told to stop and then says how many commits there were.
    fn time(self, stop: impl FnOnce(), commits: impl FnOnce() -> u64) -> Run {
        let (start, processor) = (now(), processor_nanos());
        while start.elapsed() < self.span {
            thread::park_timeout(self.span.saturating_sub(start.elapsed()));
        }
        stop();
        let commits = commits().max(1);
        let nanos = start.elapsed().as_nanos().max(1);
        let per_second = u128::from(commits) * 1_000_000_000 / nanos;
        Run {
            per_second: u64::try_from(per_second).unwrap_or(u64::MAX),
            nanos: (processor_nanos() - processor) / commits,
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a bench takes time by the clock on the wall"
)]
fn now() -> Instant {
    Instant::now()
}

fn processor_nanos() -> u64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    let nanos = time.tv_sec * 1_000_000_000 + time.tv_nsec;
    u64::try_from(nanos).expect("a process's time begins at zero")
}

/// An executor with so many threads.
pub(crate) fn runtime(workers: usize) -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.worker_threads(workers).enable_time().build();
    runtime.expect("threads")
}

/// Commits per second of clients that are tasks, on an executor of their own with one thread: each goes on until
/// it is told to stop, and says how many there were.
pub(crate) fn tasks<F>(load: Load, client: impl Fn(Arc<AtomicBool>) -> F) -> Run
where
    F: Future<Output = u64> + Send + 'static,
{
    let runtime = runtime(1);
    let stop = Arc::new(AtomicBool::new(false));
    let tasks = (0..load.clients).map(|_| runtime.spawn(client(Arc::clone(&stop))));
    let tasks: Vec<_> = tasks.collect();
    load.time(
        || stop.store(true, Ordering::Relaxed),
        || {
            runtime.block_on(async {
                let mut commits = 0;
                for task in tasks {
                    commits += task.await.expect("no panic");
                }
                commits
            })
        },
    )
}

/// Who is measured.
#[derive(Clone, Copy, Debug)]
enum Contender {
    /// Clients as a program without an executor has them.
    Ours,
    /// Clients that are tasks, as the other library's.
    OursFromTasks,
    /// The other library, on so many threads.
    Openraft(usize),
}

impl Contender {
    const ALL: [Self; 4] = [
        Self::Ours,
        Self::OursFromTasks,
        Self::Openraft(1),
        Self::Openraft(2),
    ];

    fn named(name: &str) -> Option<Self> {
        match name {
            "ours" => Some(Self::Ours),
            "ours-tasks" => Some(Self::OursFromTasks),
            "openraft-1" => Some(Self::Openraft(1)),
            "openraft-2" => Some(Self::Openraft(2)),
            _ => None,
        }
    }

    /// One run, in a cluster of its own.
    fn run(self, clients: usize, span: Duration) -> Run {
        let warm_up = Load {
            clients,
            span: span / 4,
        };
        let load = Load { clients, span };
        match self {
            Self::Ours => {
                let cluster = ours::Cluster::start();
                cluster.run(warm_up);
                cluster.run(load)
            }
            Self::OursFromTasks => {
                let cluster = ours::Cluster::start();
                cluster.run_tasks(warm_up);
                cluster.run_tasks(load)
            }
            Self::Openraft(workers) => {
                let cluster = openraft::Cluster::start(workers);
                cluster.run(warm_up);
                cluster.run(load)
            }
        }
    }
}

fn compare(runs: usize, span: Duration) {
    println!(
        "| clients | ours | openraft, 1 worker | openraft, 2 workers | ratio | ours, clients are tasks | ratio |\n\
         | --: | --: | --: | --: | --: | --: | --: |"
    );
    let (mut reached, mut times) = (0, Vec::new());
    for clients in [1, 64, 1_024] {
        let mut all = Contender::ALL.map(|_| Vec::new());
        for run in 1..=runs {
            eprintln!("{clients} clients: run {run} of {runs}");
            for (all, contender) in all.iter_mut().zip(Contender::ALL) {
                all.push(contender.run(clients, span));
            }
        }
        let rates = all
            .each_ref()
            .map(|all| all.iter().map(|run| run.per_second));
        let [ours, tasks, one, two] = rates.map(|rates| Runs::new(rates.collect()));
        let better = one.median.max(two.median);
        let ratio = |ours: &Runs| Ratio::of(ours.median, better);
        let (plain, of_tasks) = (ratio(&ours), ratio(&tasks));
        println!("| {clients} | {ours} | {one} | {two} | **{plain}** | {tasks} | **{of_tasks}** |");
        reached += usize::from(plain.reaches(BAR));
        let nanos = all.map(|all| all.iter().map(|run| run.nanos).collect());
        times.push((clients, nanos.map(|nanos| Runs::new(nanos).median)));
    }
    println!(
        "\nThousands of commits per second: median (least–most) of {runs} runs, and how many times the better median of \
         openraft. At least {BAR} times as many in {reached} of 3 cases.\n\n\
         | clients | ours | openraft, 1 worker | openraft, 2 workers | ratio | ours, clients are tasks | ratio |\n\
         | --: | --: | --: | --: | --: | --: | --: |"
    );
    for (clients, [ours, tasks, one, two]) in times {
        let less = one.min(two);
        let (plain, of_tasks) = (Ratio::of(less, ours), Ratio::of(less, tasks));
        println!("| {clients} | {ours} | {one} | {two} | **{plain}** | {tasks} | **{of_tasks}** |");
    }
    println!(
        "\nNanoseconds on processors of the whole process per commit, clients included: medians of the same runs, and \
         how many times ours the least of openraft takes."
    );
}

fn refuse() -> ExitCode {
    eprintln!("{USAGE}");
    ExitCode::FAILURE
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        [] => compare(7, Duration::from_secs(1)),
        ["--quick"] => compare(5, Duration::from_millis(400)),
        ["--one", who, clients] => match (Contender::named(who), clients.parse()) {
            (Some(who), Ok(clients)) => println!("{:?}", who.run(clients, Duration::from_secs(5))),
            (None, _) | (_, Err(_)) => return refuse(),
        },
        _ => return refuse(),
    }
    ExitCode::SUCCESS
}
