//! A bank in the simulator: transfers between accounts never make or lose money, whatever fails.
//!
//! `cargo run --release -p raft-sim --example bank`

use std::collections::BTreeMap;

use raft_core::Span;
use raft_core::replica::{Applied, Serde, StateMachine};
use raft_sim::{Draw, Request, Simulation, Workload};

const ACCOUNTS: u64 = 8;
const MONEY: u64 = 100 * ACCOUNTS;

/// Balances by account.
struct Bank(BTreeMap<u64, u64>);

impl StateMachine for Bank {
    /// From, to, how much.
    type Command = Serde<(u64, u64, u64)>;
    type Query = u64;
    type Reply = Result<u64, String>;

    fn apply(&mut self, entry: Applied<Self::Command>) -> Self::Reply {
        let Serde((from, to, amount)) = entry.command;
        let balance = self.0.get_mut(&from).ok_or("no such account")?;
        *balance = balance.checked_sub(amount).ok_or("not enough money")?;
        let left = *balance;
        *self.0.entry(to).or_default() += amount;
        Ok(left)
    }

    fn query(&self, account: &u64) -> Self::Reply {
        self.0.get(account).copied().ok_or("no such account".into())
    }

    type Image = Serde<BTreeMap<u64, u64>>;

    fn image(&self) -> Self::Image {
        Serde(self.0.clone())
    }

    fn restore(&mut self, image: Self::Image) {
        self.0 = image.0;
    }
}

/// What clients do, and what must always hold.
struct Transfers;

impl Workload for Transfers {
    type Machine = Bank;

    fn machine(&self) -> Bank {
        Bank((0..ACCOUNTS).map(|account| (account, 100)).collect())
    }

    fn request(&self, draw: &mut Draw) -> Request<Serde<(u64, u64, u64)>, u64> {
        let (from, to) = (draw.below(ACCOUNTS), draw.below(ACCOUNTS));
        if draw.percent(30) {
            return Request::Query(from);
        }
        Request::Command(Serde((from, to, draw.below(50))))
    }

    fn check(&self, bank: &Bank) -> Result<(), String> {
        let money: u64 = bank.0.values().sum();
        if money == MONEY {
            return Ok(());
        }
        Err(format!("there is {money} in all, and there was {MONEY}"))
    }
}

fn main() {
    let simulation = Simulation::new(Transfers).time(Span(20_000_000_000));
    for seed in 0..20 {
        let report = simulation.run(seed);
        println!("{report}");
        report.assert_clean();
    }
}
