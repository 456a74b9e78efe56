//! `raft-kv serve`: one node of a cluster.

use std::io::{self, IsTerminal, Read};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread;

use raft_core::Span;
use raft_threaded::kv::{KvOptions, KvServer};
use raft_threaded::{ServerOptions, StartError};
use serde::Deserialize;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::Failure;

/// Clients at a time.
const CLIENTS_MAX: u64 = 10_000;
/// Open files for everything else: the log, the peers, the poller.
const FILES_RESERVED: u64 = 256;

/// What `serve` needs to know; flags win over the file.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// A TOML file with any of the settings below, named with underscores: client_addr = "…".
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    settings: Settings,
    /// Stop when standard input ends, so that no node outlives whoever started it.
    #[arg(long, hide = true)]
    stop_with_stdin: bool,
}

/// The settings of one node.
#[derive(Clone, Debug, Default, Deserialize, clap::Args)]
#[serde(deny_unknown_fields)]
struct Settings {
    /// The node's id, checked against the data folder.
    #[arg(long)]
    id: Option<u64>,
    /// The node's data folder, made by `raft-kv init`.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Where to listen for peers.
    #[arg(long, value_name = "IP:PORT")]
    peer_addr: Option<SocketAddr>,
    /// Where to listen for clients [default: 127.0.0.1:6379].
    #[arg(long, value_name = "IP:PORT")]
    client_addr: Option<SocketAddr>,
    /// How often a leader lets its followers know, in milliseconds [default: 50].
    #[arg(long, value_name = "MS")]
    heartbeat_ms: Option<u64>,
    /// The shortest silence after which followers elect another leader, in milliseconds [default: 250].
    #[arg(long, value_name = "MS")]
    election_timeout_ms: Option<u64>,
    /// What to log: error, warn, info, debug, or a filter such as raft_threaded=debug [default: info].
    #[arg(long, value_name = "FILTER")]
    log: Option<String>,
}

impl Settings {
    fn or(self, other: Self) -> Self {
        Self {
            id: self.id.or(other.id),
            data: self.data.or(other.data),
            peer_addr: self.peer_addr.or(other.peer_addr),
            client_addr: self.client_addr.or(other.client_addr),
            heartbeat_ms: self.heartbeat_ms.or(other.heartbeat_ms),
            election_timeout_ms: self.election_timeout_ms.or(other.election_timeout_ms),
            log: self.log.or(other.log),
        }
    }
}

pub(super) fn run(arguments: Arguments) -> Result<(), Failure> {
    let mut settings = arguments.settings;
    if let Some(file) = &arguments.config {
        let name = file.display();
        let text = std::fs::read_to_string(file)
            .map_err(|error| format!("the settings in {name} cannot be read: {error}"))?;
        let from_file: Settings = toml::from_str(&text)
            .map_err(|error| format!("the settings in {name} are not right: {error}"))?;
        settings = settings.or(from_file);
    }
    start_logging(settings.log.as_deref())?;
    die_of_panics();
    let data = settings
        .data
        .ok_or("which data folder? Give --data DIR; `raft-kv init` makes one")?;
    let peer_addr = settings
        .peer_addr
        .ok_or("where to listen for peers? Give --peer-addr IP:PORT")?;
    let mut server = ServerOptions::new(data, peer_addr);
    if let Some(millis) = settings.heartbeat_ms {
        server.node.heartbeat_interval = Span::from_millis(millis);
    }
    if let Some(millis) = settings.election_timeout_ms {
        server.node.election_timeout = Span::from_millis(millis);
    }
    let clients = settings.client_addr;
    let clients = clients.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 6379)));
    check_node(&server, settings.id)?;
    let data = server.data.display().to_string();
    let started = KvServer::start(KvOptions {
        server,
        clients,
        clients_max: raise_open_files(),
    })?;
    tracing::info!(%clients, peers = %peer_addr, data, "serving");
    stop_on_signals(&started)?;
    if arguments.stop_with_stdin {
        stop_with_stdin(&started)?;
    }
    started.wait()?;
    tracing::info!("stopped");
    Ok(())
}

/// A folder of another node must not be started by mistake, and not even opened.
fn check_node(server: &ServerOptions, asked: Option<u64>) -> Result<(), StartError> {
    let Some(asked) = asked else {
        return Ok(());
    };
    let found = raft_threaded::identity_of(&server.data)?.member.node.0;
    if found == asked {
        return Ok(());
    }
    Err(StartError::WrongNode {
        directory: server.data.clone(),
        found,
        asked,
    })
}

/// Asks for as many open files as the process may have; how many clients that leaves room for.
fn raise_open_files() -> usize {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let _ = setrlimit(
        Resource::Nofile,
        Rlimit {
            current: maximum,
            maximum,
        },
    );
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let room = limit.saturating_sub(FILES_RESERVED).min(CLIENTS_MAX);
    usize::try_from(room).unwrap_or(usize::MAX)
}

fn start_logging(filter: Option<&str>) -> Result<(), Failure> {
    let filter = filter.unwrap_or("info");
    let filter = tracing_subscriber::EnvFilter::try_new(filter)
        .map_err(|error| format!("--log {filter}: {error}"))?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .init();
    Ok(())
}

/// A server without one of its threads must not limp on.
fn die_of_panics() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        report(panic);
        std::process::abort();
    }));
}

fn stop_on_signals(server: &KvServer) -> Result<(), Failure> {
    // Whoever asks a second time does not want to wait.
    let asked = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register_conditional_shutdown(signal, 1, Arc::clone(&asked))?;
        signal_hook::flag::register(signal, Arc::clone(&asked))?;
    }
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    let stop = server.stopper();
    thread::Builder::new()
        .name("raft-signals".to_string())
        .spawn(move || {
            if signals.forever().next().is_some() {
                tracing::info!("stopping");
                stop();
            }
        })?;
    Ok(())
}

fn stop_with_stdin(server: &KvServer) -> Result<(), Failure> {
    let stop = server.stopper();
    thread::Builder::new()
        .name("raft-stdin".to_string())
        .spawn(move || {
            let mut rest = [0; 64];
            while io::stdin().read(&mut rest).is_ok_and(|count| count > 0) {}
            stop();
        })?;
    Ok(())
}
