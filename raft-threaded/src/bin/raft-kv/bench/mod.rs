//! `raft-kv bench`: a load for any server that speaks RESP, or for etcd, and how well it was borne.

mod connection;
mod course;
#[cfg(feature = "etcd")]
mod etcd;
mod load;
#[cfg(test)]
mod load_tests;
mod page;
mod progress;
mod replies;
mod report;
mod requests;
mod schedule;
mod tally;
mod timer;

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

#[cfg(feature = "etcd")]
use self::etcd::run as load_etcd;
use self::load::{Load, Plan};
use self::progress::Progress;
use self::report::Report;
use self::requests::{KEYS_MAX, Mix, Requests};
use self::schedule::End;
use super::failure::Failure;
#[cfg(not(feature = "etcd"))]
use super::failure::not_understood;
use super::values;

/// The longest load, in seconds: a day.
const SECONDS_MAX: u64 = 86_400;
const SECOND: u64 = 1_000_000_000;

/// What `bench` needs to know.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
It sends SET, and GET for as many of a hundred requests as --reads says, to this server, to Redis, or to any other
that speaks RESP. THE KEYS ARE OVERWRITTEN: key:000000000000 and those that follow.

Without --rate the next request is sent once another one is answered, so that a slow server is asked less often. With
--rate requests are due at a fixed rate, and a latency is counted from when its request was due: a server that stalls
for a second shows a second, as its users would see it. What had no answer 10 s after the end (with --requests, after
the last answer) is `unanswered`, and counts with the time until then.

With --etcd the load speaks etcd's own protocol (v3): PUT, and linearizable GET. One client in four has a connection, 1
to 8 altogether, which is how etcd's clients share them, and --pipeline is how many requests of each are under way.

An error is an answer: it is counted by its first word, and the load goes on. A connection that ends is opened again,
after 50 ms to 1 s; what was sent on it is `lost`, which tells nothing about whether it was done.

Examples:
  raft-kv bench --to 127.0.0.1:7001,127.0.0.1:7002,127.0.0.1:7003
  raft-kv bench --to db1:6379 --clients 200 --pipeline 16 --reads 90 --warmup 5 --seconds 60
  raft-kv bench --to db1:6379 --rate 5000 --seconds 60 --html load.html
  raft-kv bench --to db1:6379 --requests 100000 --json
  raft-kv bench --etcd --to db1:2379 --clients 64")]
pub(super) struct Arguments {
    /// The client addresses of the servers; connections are spread over them.
    #[arg(
        long,
        value_name = "HOST:PORT,…",
        value_delimiter = ',',
        value_parser = values::host_port,
        default_value = "127.0.0.1:6379"
    )]
    to: Vec<String>,
    /// The servers are etcd's; needs a raft-kv that was built with `--features etcd`.
    #[arg(long)]
    etcd: bool,
    /// How many connections there are.
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = values::number(1..=10_000_usize))]
    clients: usize,
    /// How many requests may wait for their answers on one connection.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = values::number(1..=10_000_usize))]
    pipeline: usize,
    /// For how long requests are sent.
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 10,
        value_parser = values::number(1..=SECONDS_MAX)
    )]
    seconds: u64,
    /// Send so many requests, for as long as there are answers.
    #[arg(
        long,
        value_name = "N",
        conflicts_with = "seconds",
        value_parser = values::number(1..=1_000_000_000_000_u64)
    )]
    requests: Option<u64>,
    /// For how long requests are sent before, that do not count.
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 0,
        value_parser = values::number(0..=SECONDS_MAX)
    )]
    warmup: u64,
    /// How many requests are due in a second, on all connections together [default: whenever there is room].
    #[arg(long, value_name = "N", value_parser = values::number(1..=10_000_000_u64))]
    rate: Option<u64>,
    /// How many different keys there are.
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = values::number(1..=KEYS_MAX))]
    keys: u64,
    /// How long the values are, in bytes.
    #[arg(
        long,
        value_name = "BYTES",
        default_value_t = 128,
        value_parser = values::number(0..=64_usize << 20)
    )]
    value_bytes: usize,
    /// How many of a hundred requests read.
    #[arg(long, value_name = "PERCENT", default_value_t = 0, value_parser = values::number(0..=100_u64))]
    reads: u64,
    /// Which requests: the same number makes the same keys and values in the same order.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = values::number(0..=u64::MAX))]
    seed: u64,
    /// Print JSON instead of a table.
    #[arg(long)]
    json: bool,
    /// Write a page with plots of the latencies and of the throughput over time.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

impl Arguments {
    fn plan(&self) -> Plan<'_> {
        let warm_up = self.warmup * SECOND;
        Plan {
            to: &self.to,
            clients: self.clients,
            pipeline: self.pipeline,
            rate: self.rate,
            warm_up,
            end: match self.requests {
                Some(requests) => End::After(requests),
                None => End::At(warm_up + self.seconds * SECOND),
            },
        }
    }
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let requests = Requests::new(Mix {
        keys: arguments.keys,
        value_bytes: arguments.value_bytes,
        reads_percent: arguments.reads,
        seed: arguments.seed,
    });
    // Nobody is to wait for a load whose page cannot be written.
    let html = match &arguments.html {
        None => None,
        Some(path) => Some((path, File::create(path).map_err(|e| unwritable(path, &e))?)),
    };
    let (plan, progress) = (arguments.plan(), Progress::on_terminal());
    let (tally, elapsed) = if arguments.etcd {
        load_etcd(&plan, requests, progress)?
    } else {
        Load::connect(&plan, requests, progress)?.run()?
    };
    let report = Report {
        arguments,
        tally: &tally,
        elapsed,
    };
    if let Some((path, mut file)) = html {
        let page = page::page(&report);
        file.write_all(page.as_bytes())
            .map_err(|e| unwritable(path, &e))?;
    }
    if arguments.json {
        println!("{:#}", report.json());
    } else {
        for (name, value) in report.rows() {
            println!("{name:<14} {value}");
        }
    }
    if tally.answered() == 0 {
        return Err("no request was answered".into());
    }
    Ok(())
}

/// Says what is missing.
#[cfg(not(feature = "etcd"))]
fn load_etcd(_: &Plan<'_>, _: Requests, _: Progress) -> Result<(tally::Tally, u64), Failure> {
    Err(not_understood(
        "--etcd: this raft-kv was built without it; `cargo build --release -p raft-threaded --features etcd` builds one \
         that has it, and needs protoc (Debian: protobuf-compiler)",
    ))
}

fn unwritable(path: &Path, error: &io::Error) -> String {
    format!("cannot write the page to {}: {error}", path.display())
}
