//! What was measured, as Markdown to be read where it is printed and pasted where it is kept.

use crate::case::{Bar, CASES, Case, Peer, RedisRaft};
use crate::figures::{Figure, Spread, thousandths, write_millis, write_rate, write_thousandths};
use crate::rounds::Rounds;
use crate::systems::System;

/// What a figure came to, and whether that is enough.
struct Verdict {
    found: String,
    met: &'static str,
}

/// Prints everything.
pub(crate) fn print(rounds: &Rounds) {
    print_rates(rounds);
    print_latencies(rounds);
    print_bars(rounds);
}

fn print_rates(rounds: &Rounds) {
    println!("| requests per second | ours | Redis | etcd | ours / Redis | ours / etcd |");
    println!("| --- | --: | --: | --: | --: | --: |");
    for (place, case) in CASES.iter().enumerate() {
        let mut line = format!("| {} |", case.name);
        for system in System::ALL {
            let rates = rounds.spread(place, system, |figure| figure.rate);
            line.push_str(&cell(rates, write_rate));
        }
        for system in [System::Redis, System::Etcd] {
            let ratios = rounds.ratio(place, system, |figure| figure.rate);
            line.push_str(&cell(ratios, write_thousandths));
        }
        println!("{line}");
    }
    println!();
}

fn print_latencies(rounds: &Rounds) {
    println!("| p50; p99, ms | ours | Redis | etcd |");
    println!("| --- | --: | --: | --: |");
    for (place, case) in CASES.iter().enumerate() {
        let mut line = format!("| {} |", case.name);
        for system in System::ALL {
            let p50 = rounds.spread(place, system, |figure| figure.p50);
            let p99 = rounds.spread(place, system, |figure| figure.p99);
            let both = p50.zip(p99).map_or("–".to_string(), |(p50, p99)| {
                format!("{}; {}", p50.show(write_millis), p99.show(write_millis))
            });
            line.push_str(&format!(" {both} |"));
        }
        println!("{line}");
    }
    println!();
}

fn cell(spread: Option<Spread>, write: fn(u64) -> String) -> String {
    let shown = spread.map_or("–".to_string(), |spread| spread.show(write));
    format!(" {shown} |")
}

fn print_bars(rounds: &Rounds) {
    println!("| case | to reach | reached | |");
    println!("| --- | --- | --- | --- |");
    for (place, case) in CASES.iter().enumerate() {
        for bar in case.bars {
            let Verdict { found, met } = judge(rounds, place, *bar);
            println!("| {} | {} | {found} | {met} |", case.name, wanted(*bar));
        }
    }
    println!();
    print_redis_raft();
}

/// What RedisRaft came to, beside each of the others.
fn print_redis_raft() {
    println!("| RedisRaft, where it could be measured | × etcd | × one Redis |");
    println!("| --- | --: | --: |");
    for Case {
        name,
        redis_raft: found,
        ..
    } in &CASES
    {
        let ratio = |rate| match rate {
            0 => "–".to_string(),
            _ => write_thousandths(thousandths(found.rate, rate)),
        };
        let mark = if found.interleaved { "" } else { " *" };
        let (etcd, redis) = (ratio(found.etcd_rate), ratio(found.redis_rate));
        println!("| {name}{mark} | {etcd} | {redis} |");
    }
    println!(
        "\nIt cannot be had here. Where it could, the three took turns, except where `*` stands. What ours is of \
         each of\nthe others here, by what RedisRaft was of it there, is what ours is of RedisRaft."
    );
}

const fn name(peer: Peer) -> &'static str {
    match peer {
        Peer::Redis => "one Redis",
        Peer::Etcd => "etcd",
        Peer::RedisRaft => "RedisRaft",
    }
}

fn wanted(bar: Bar) -> String {
    match bar {
        Bar::Rate(peer, least, stretch) => {
            let stretch = stretch.map(|most| format!(" (better: {})", write_thousandths(most)));
            let stretch = stretch.unwrap_or_default();
            format!("≥ {} × {}{stretch}", write_thousandths(least), name(peer))
        }
        Bar::P50(most) => format!("p50 ≤ {} ms", write_millis(most)),
        Bar::P99(peer, most) => format!("p99 ≤ {} × {}'s", write_thousandths(most), name(peer)),
    }
}

fn judge(rounds: &Rounds, case: usize, bar: Bar) -> Verdict {
    let ratios = |peer, what| match peer {
        Peer::Redis => direct(rounds.ratio(case, System::Redis, what)),
        Peer::Etcd => direct(rounds.ratio(case, System::Etcd, what)),
        Peer::RedisRaft => Vec::new(),
    };
    match bar {
        Bar::Rate(Peer::RedisRaft, least, stretch) => {
            let by_way = by_way(rounds, case, |f| f.rate, RedisRaft::rates);
            verdict(&by_way, |ratio| ratio >= least, stretch)
        }
        Bar::Rate(peer @ (Peer::Redis | Peer::Etcd), least, stretch) => {
            verdict(&ratios(peer, |f| f.rate), |ratio| ratio >= least, stretch)
        }
        Bar::P99(Peer::RedisRaft, most) => {
            let by_way = by_way(rounds, case, |f| f.p99, RedisRaft::p99s);
            verdict(&by_way, |ratio| ratio <= most, None)
        }
        Bar::P99(peer @ (Peer::Redis | Peer::Etcd), most) => {
            verdict(&ratios(peer, |f| f.p99), |ratio| ratio <= most, None)
        }
        Bar::P50(most) => {
            let p50 = rounds.spread(case, System::Ours, |f| f.p50);
            let found = p50.map(|p50| (p50.median, p50.show(write_millis)));
            let found: Vec<(u64, String)> = found.into_iter().collect();
            verdict(&found, |p50| p50 <= most, None)
        }
    }
}

/// A ratio and how it is told.
type Told = (u64, String);

fn direct(ratio: Option<Spread>) -> Vec<Told> {
    let told = ratio.map(|ratio| (ratio.median, ratio.show(write_thousandths)));
    told.into_iter().collect()
}

/// What ours is of RedisRaft: what it is of a neighbour here, by what RedisRaft was of that neighbour there.
fn by_way(
    rounds: &Rounds,
    case: usize,
    what: fn(&Figure) -> u64,
    there: fn(&RedisRaft) -> [u64; 3],
) -> Vec<Told> {
    let [redis_raft, redis, etcd] = there(&CASES[case].redis_raft);
    let neighbours = [(System::Etcd, etcd), (System::Redis, redis)];
    let measured = neighbours.into_iter().filter(|(_, there)| *there > 0);
    let told = measured.filter_map(|(system, there)| {
        let ratio = rounds.ratio(case, system, what)?;
        let of_raft = ratio.map(|here| here * there / redis_raft);
        let shown = of_raft.show(write_thousandths);
        Some((
            of_raft.median,
            format!("{shown} by way of {}", system.name()),
        ))
    });
    told.collect()
}

fn verdict(found: &[Told], enough: impl Fn(u64) -> bool, stretch: Option<u64>) -> Verdict {
    let told: Vec<&str> = found.iter().map(|(_, told)| &told[..]).collect();
    let count = found.iter().filter(|(ratio, _)| enough(*ratio)).count();
    let better = |most: u64| found.iter().all(|(ratio, _)| *ratio >= most);
    let met = match (found.len(), count) {
        (0, _) => "not measured",
        (_, 0) => "**not met**",
        (all, met) if met < all => "**met by one of two ways**",
        _ if stretch.is_some_and(better) => "met, and better",
        _ => "met",
    };
    Verdict {
        found: told.join(", "),
        met,
    }
}
