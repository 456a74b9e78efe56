//! Puts a load on a server: redis-benchmark where RESP is spoken, `raft-kv bench --etcd` on etcd.

use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::Failure;
use crate::case::{Case, KEYS, Kind, READ_KEYS, VALUE_BYTES};
use crate::figures::{Figure, read_millis};
use crate::systems::{Scene, System};

/// What one load may take at most, besides its own time.
const PATIENCE: Duration = Duration::from_secs(120);
/// A load that takes so many milliseconds has warmed the server up, and tells how many requests fill a time.
const WARM_UP_MILLIS: u64 = 700;
/// Requests of the first load, for each that is under way.
const FIRST_REQUESTS: u64 = 20;
/// Writes for each key that is read: in random order, all but one in twenty thousand keys are among them.
const WRITES_PER_KEY: u64 = 10;

/// Where and for how long.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load<'a> {
    pub(crate) scene: &'a Scene,
    pub(crate) system: System,
    /// Whom requests are sent to.
    pub(crate) port: u16,
    pub(crate) seconds: u64,
}

impl Load<'_> {
    /// Warms up, then measures.
    ///
    /// # Errors
    ///
    /// The load fails, or a request was answered with an error.
    pub(crate) fn run(self, case: &Case) -> Result<Figure, Failure> {
        match self.system {
            System::Ours | System::Redis => self.resp(case),
            System::Etcd => self.etcd(case),
        }
    }

    fn resp(self, case: &Case) -> Result<Figure, Failure> {
        if case.kind == Kind::Get {
            let fill = Case {
                kind: Kind::Set,
                ..*case
            };
            self.redis_benchmark(&fill, READ_KEYS, READ_KEYS * WRITES_PER_KEY)?;
        }
        let keys = match case.kind {
            Kind::Set => KEYS,
            Kind::Get => READ_KEYS,
        };
        let mut requests = case.clients * case.pipeline * FIRST_REQUESTS;
        loop {
            let found = self.redis_benchmark(case, keys, requests)?;
            // Short loads tell too little to grow by more.
            let enough = found.rate * WARM_UP_MILLIS / 1_000;
            if requests >= enough {
                let requests = (found.rate * self.seconds).max(requests);
                return self.redis_benchmark(case, keys, requests);
            }
            requests = (requests * 10).min(enough + enough / 10 + 1);
        }
    }

    fn redis_benchmark(self, case: &Case, keys: u64, requests: u64) -> Result<Figure, Failure> {
        let test = match case.kind {
            Kind::Set => "set",
            Kind::Get => "get",
        };
        let mut command = Command::new("redis-benchmark");
        command.args(["-h", "127.0.0.1", "-t", test, "--csv"]);
        for (flag, number) in [
            ("-p", self.port.into()),
            ("-c", case.clients),
            ("-P", case.pipeline),
            ("-n", requests),
            ("-r", keys),
            ("-d", VALUE_BYTES),
        ] {
            command.args([flag, &number.to_string()]);
        }
        let printed = self.output(&mut command)?;
        // It counts an error as an answer, and goes on.
        if printed.contains("Error") {
            return Err(format!("redis-benchmark: {}", printed.trim()).into());
        }
        read_csv(&printed).ok_or_else(|| format!("redis-benchmark printed {printed:?}").into())
    }

    fn etcd(self, case: &Case) -> Result<Figure, Failure> {
        let number = |number: u64| number.to_string();
        let (keys, reads) = match case.kind {
            Kind::Set => (number(KEYS), "0"),
            Kind::Get => {
                let requests = number(READ_KEYS * WRITES_PER_KEY);
                let keys = number(READ_KEYS);
                self.bench_etcd(case, &["--keys", &keys, "--requests", &requests])?;
                (keys, "100")
            }
        };
        let seconds = number(self.seconds);
        let load = ["--keys", &keys, "--reads", reads];
        self.bench_etcd(
            case,
            &[&load[..], &["--warmup", "1", "--seconds", &seconds]].concat(),
        )
    }

    fn bench_etcd(self, case: &Case, more: &[&str]) -> Result<Figure, Failure> {
        let program = self.scene.etcd_load.as_ref();
        let mut command =
            Command::new(program.ok_or("raft-kv was not built with its load for etcd")?);
        command
            .args(["bench", "--etcd", "--json"])
            .arg(format!("--to=127.0.0.1:{}", self.port))
            .arg(format!("--clients={}", case.clients))
            .arg(format!("--pipeline={}", case.pipeline))
            .arg(format!("--value-bytes={VALUE_BYTES}"))
            .args(more);
        let printed = self.output(&mut command)?;
        let report: Value = serde_json::from_str(&printed)?;
        let is_clean = report["errors"] == serde_json::json!({}) && report["unanswered"] == 0;
        let latencies = &report["latency_us"];
        let figure = || {
            Some(Figure {
                rate: report["requests_per_second"].as_u64()?,
                p50: latencies["p50"].as_u64()?,
                p99: latencies["p99"].as_u64()?,
            })
        };
        let figure = figure().filter(|_| is_clean);
        figure.ok_or_else(|| format!("a load on etcd: {printed}").into())
    }

    fn output(self, command: &mut Command) -> Result<String, Failure> {
        let patience = PATIENCE + Duration::from_secs(self.seconds);
        let log = self.scene.log("load.log");
        self.scene.stage.output(command, log, patience)
    }
}

/// The one line of figures, by the names in the line above it.
fn read_csv(printed: &str) -> Option<Figure> {
    let fields = |line: &str| {
        let fields = line
            .split(',')
            .map(|field| field.trim_matches('"').to_string());
        fields.collect::<Vec<String>>()
    };
    let mut lines = printed.lines();
    let (names, found) = (fields(lines.next()?), fields(lines.next()?));
    let field = |name: &str| {
        let place = names.iter().position(|found| found == name)?;
        found.get(place)
    };
    Some(Figure {
        rate: field("rps")?.split('.').next()?.parse().ok()?,
        p50: read_millis(field("p50_latency_ms")?)?,
        p99: read_millis(field("p99_latency_ms")?)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_figures_of_redis_benchmark_are_found_by_their_names() {
        let printed = "\"test\",\"rps\",\"avg_latency_ms\",\"min_latency_ms\",\"p50_latency_ms\",\
                       \"p95_latency_ms\",\"p99_latency_ms\",\"max_latency_ms\"\n\
                       \"SET\",\"2250.12\",\"0.4\",\"0.2\",\"0.391\",\"0.9\",\"1.407\",\"8.1\"\n";
        let figure = read_csv(printed).unwrap();
        assert_eq!((figure.rate, figure.p50, figure.p99), (2_250, 391, 1_407));
        assert!(read_csv("\"test\",\"rps\"\n\"SET\",\"2250.12\"\n").is_none());
        assert!(read_csv("").is_none());
    }
}
