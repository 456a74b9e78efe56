//! `raft-kv`: a replicated key-value server that every Redis client can talk to.

mod init;
mod local;
mod resp_client;
mod serve;
mod status;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// A replicated key-value server that every Redis client can talk to.
///
/// Start with `raft-kv local`: three nodes on this machine, ready for redis-cli.
#[derive(Debug, Parser)]
#[command(version, arg_required_else_help = true)]
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
}

fn main() -> ExitCode {
    let result = match Arguments::parse().verb {
        Verb::Local(arguments) => local::run(&arguments),
        Verb::Init(arguments) => init::run(&arguments),
        Verb::Serve(arguments) => serve::run(arguments),
        Verb::Status(arguments) => status::run(&arguments),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("raft-kv: {error}");
            ExitCode::FAILURE
        }
    }
}

/// What a verb ends with when it cannot do its work: a sentence for the operator.
type Failure = Box<dyn std::error::Error>;
