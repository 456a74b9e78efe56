//! `raft-kv`: a replicated key-value server that every Redis client can talk to.

mod bench;
mod failure;
mod init;
mod leave;
mod local;
mod members;
mod orders;
mod place;
mod resp_client;
mod serve;
mod settings;
mod status;
mod target;
mod values;
mod verbs;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use self::failure::exit_code;

/// The server hands what it allocates from thread to thread, in every round anew.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A replicated key-value server that every Redis client can talk to.
///
/// Start with `raft-kv local`: three nodes on this machine, ready for redis-cli.
#[derive(Debug, Parser)]
#[command(
    name = "raft-kv",
    version,
    arg_required_else_help = true,
    after_help = "\
`raft-kv VERB --help` says more, with examples.

Exit codes:
  0  done
  1  understood, and not done
  2  not understood: what was typed, or a setting, cannot be meant
  3  an order was given, and nobody knows whether it was carried out"
)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Run a whole cluster on this machine, to try things out.
    Local(local::Arguments),
    /// Make the data folders of a new cluster.
    Init(init::Arguments),
    /// Run one node of a cluster.
    Serve(serve::Arguments),
    /// Ask a running node how it is.
    Status(status::Arguments),
    /// Show who takes part in a cluster.
    Members(members::Arguments),
    /// Add nodes that wait for it to a cluster.
    Attach(orders::Attach),
    /// End the part of nodes in a cluster.
    Detach(orders::Detach),
    /// Let a learner vote.
    #[command(after_help = "\
A learner receives everything and is not counted; one that votes is, so that writes wait for a majority with it.

Example:
  raft-kv promote --to db1:6379 9")]
    Promote(orders::OneNode),
    /// Let a voter be a learner, which votes no longer and still receives everything.
    #[command(after_help = "\
A leader that is demoted hands over to another node.

Example:
  raft-kv demote --to db1:6379 3")]
    Demote(orders::OneNode),
    /// Let the others look for a node elsewhere.
    Move(orders::Move),
    /// Let another node lead, without a pause if all goes well.
    Transfer(orders::Transfer),
    /// Let the leader lead no longer, whoever does next.
    #[command(after_help = "\
The leader hands over to the voter that is most caught up, as `transfer` does; if there is nobody to hand over to,
or that one does not take over, it stops leading all the same, and the others hold an election, in which nothing is
written. The node that is asked need not be the leader.

Example:
  raft-kv step-down --to db1:6379")]
    StepDown(orders::StepDown),
    /// Let a node take a snapshot, so that its log can begin later.
    #[command(
        mut_arg("to", of_that_node),
        after_help = "\
Nodes do so by themselves, for every 64 MiB of log, so that this is seldom needed: it makes the next start quicker
and the log shorter. The answer names the last entry in the snapshot, which is on the disk then.

Example:
  raft-kv snapshot --to db2:6379"
    )]
    Snapshot(orders::Snapshot),
    /// Make a node a cluster of its own, when a majority is lost for good.
    #[command(mut_arg("to", of_that_node))]
    Solo(leave::Solo),
    /// Empty a node, so that it can be attached to any cluster.
    #[command(mut_arg("to", of_that_node))]
    Reset(leave::Reset),
    /// Put a load on a server, any that speaks RESP, and see how well it bears it.
    Bench(bench::Arguments),
}

/// It matters which node is asked.
fn of_that_node(to: clap::Arg) -> clap::Arg {
    to.help("The client address of the node that is to do it")
}

fn main() -> ExitCode {
    let result = match Arguments::parse().verb {
        Verb::Local(arguments) => local::run(&arguments),
        Verb::Init(arguments) => init::run(&arguments),
        Verb::Serve(arguments) => serve::run(arguments),
        Verb::Status(arguments) => status::run(&arguments),
        Verb::Members(arguments) => members::run(&arguments),
        Verb::Attach(arguments) => orders::attach(arguments),
        Verb::Detach(arguments) => orders::detach(arguments),
        Verb::Promote(arguments) => orders::promote(arguments),
        Verb::Demote(arguments) => orders::demote(arguments),
        Verb::Move(arguments) => orders::set_address(arguments),
        Verb::Transfer(arguments) => orders::transfer(&arguments),
        Verb::StepDown(arguments) => orders::step_down(&arguments),
        Verb::Snapshot(arguments) => orders::snapshot(&arguments),
        Verb::Solo(arguments) => leave::solo(&arguments),
        Verb::Reset(arguments) => leave::reset(&arguments),
        Verb::Bench(arguments) => bench::run(&arguments),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("raft-kv: {error}");
            exit_code(&error)
        }
    }
}
