//! `raft-kv serve`: one node of a cluster.

use std::io::{self, IsTerminal, Read};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use raft_core::{ClusterId, HaltReason, NodeId};
use raft_threaded::kv::{KvOptions, KvServer};
use raft_threaded::{ServerOptions, StartError, StopError, identity_of, init_joiner};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::failure::{Failure, not_understood};
use super::settings::Settings;

/// Clients at a time.
const CLIENTS_MAX: u64 = 10_000;
/// Open files for everything else: the log, the peers, the poller.
const FILES_RESERVED: u64 = 256;

const WHICH_DATA: &str = "which data folder? Give --data DIR; `raft-kv init` makes one, or --join";
const WHICH_NODE: &str = "which node is it to be? Give --id N, an id that no member has";

/// What `serve` needs to know; flags win over the file.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
--data and --peer-addr must be given, here or in the file. SIGTERM, SIGINT or Ctrl-C stops the node in order.
Times and leases are to be the same on every node of a cluster.

Examples:
  raft-kv serve --id 1 --data node-1 --peer-addr 0.0.0.0:7101 --client-addr 0.0.0.0:6379
  raft-kv serve --join --id 4 --data node-4 --peer-addr 0.0.0.0:7104 --client-addr 0.0.0.0:6379
  raft-kv serve --config /etc/raft-kv/node.toml --log debug")]
pub(super) struct Arguments {
    /// Make the data folder if it is empty, and wait to be attached to a cluster; a node never becomes a
    /// voter by itself. A folder that belongs to a cluster already is simply served.
    #[arg(long)]
    join: bool,
    /// A TOML file with any of the settings below, named with underscores: client_addr = "…".
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    settings: Settings,
    /// Stop when standard input ends, so that no node outlives whoever started it.
    #[arg(long, hide = true)]
    stop_with_stdin: bool,
}

pub(super) fn run(arguments: Arguments) -> Result<(), Failure> {
    let mut settings = arguments.settings;
    if let Some(file) = &arguments.config {
        settings = settings.or(Settings::read(file)?);
    }
    let node = settings.node_options()?;
    start_logging(settings.log.as_deref())?;
    die_of_panics();
    let data = settings.data.ok_or_else(|| not_understood(WHICH_DATA))?;
    let peer_addr = settings
        .peer_addr
        .ok_or_else(|| not_understood("where to listen for peers? Give --peer-addr IP:PORT"))?;
    let clients = settings.client_addr;
    let clients = clients.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 6379)));
    let listened = [(peer_addr, "peers"), (clients, "clients")];
    prepare(&data, settings.id, arguments.join, &listened)?;
    let mut server = ServerOptions::new(&data, peer_addr);
    server.node = node;
    let options = KvOptions {
        server,
        clients,
        clients_max: raise_open_files(),
    };
    let stopper = Stopper::default();
    stop_on_signals(&stopper)?;
    if arguments.stop_with_stdin {
        stop_with_stdin(&stopper)?;
    }
    serve(&options, &stopper)
}

/// Serves until told to stop; a node that was reset starts again, to be attached anew.
fn serve(options: &KvOptions, stopper: &Stopper) -> Result<(), Failure> {
    loop {
        let started = KvServer::start(options.clone())?;
        let data = options.server.data.display();
        let (clients, peers) = (options.clients, options.server.listen);
        tracing::info!(%clients, %peers, %data, "serving");
        let identity = started.identity();
        if identity.cluster == ClusterId::NONE {
            let node = identity.member.node;
            let place = place_of(peers);
            tracing::info!(
                "waiting to be attached: raft-kv attach --to CLIENT-ADDRESS-OF-ANY-MEMBER {node}={place}"
            );
        }
        stopper.set(started.stopper());
        match started.wait() {
            Err(StopError::Halted(HaltReason::Emptied)) if !stopper.is_stopping() => {
                tracing::info!(
                    "the node was reset: starting again as one that waits to be attached"
                );
            }
            Err(StopError::Halted(HaltReason::Emptied)) | Ok(()) => break,
            Err(error) => return Err(error.into()),
        }
    }
    tracing::info!("stopped");
    Ok(())
}

/// Where others reach a node that listens here, as far as it can tell itself.
fn place_of(listen: SocketAddr) -> String {
    if listen.ip().is_unspecified() {
        format!("HOST:{}", listen.port())
    } else {
        listen.to_string()
    }
}

/// Makes the folder of a node that waits to be attached, unless there is one. A folder of another node than
/// was asked for must not be started by mistake, and not even opened.
fn prepare(
    data: &Path,
    asked: Option<u64>,
    join: bool,
    listened: &[(SocketAddr, &'static str)],
) -> Result<(), Failure> {
    if !join && asked.is_none() {
        return Ok(());
    }
    let found = (!join || data.is_dir()).then(|| identity_of(data));
    let found = found.filter(|found| !(join && matches!(found, Err(StartError::NoLog { .. }))));
    let Some(found) = found else {
        let id = asked.ok_or_else(|| not_understood(WHICH_NODE))?;
        check_free(listened)?;
        let identity = init_joiner(NodeId(id), data)?;
        let store = identity.member.store;
        tracing::info!(data = %data.display(), %store, "made an empty store");
        return Ok(());
    };
    // What is wrong with a folder of which nothing is expected is told when it is opened.
    let Some(asked) = asked else {
        return Ok(());
    };
    let found = found?.member.node.0;
    if found == asked {
        return Ok(());
    }
    let directory = data.to_path_buf();
    Err(StartError::WrongNode {
        directory,
        found,
        asked,
    }
    .into())
}

/// A folder is made for a node that can start: nothing would be there to take it back otherwise.
fn check_free(listened: &[(SocketAddr, &'static str)]) -> Result<(), StartError> {
    // All at once: one may be in the place of another.
    let listeners = listened.iter().map(|(address, purpose)| {
        TcpListener::bind(address).map_err(|error| StartError::Listen {
            address: *address,
            purpose,
            error,
        })
    });
    listeners.collect::<Result<Vec<_>, _>>().map(drop)
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
        .map_err(|error| not_understood(format!("--log {filter}: {error}")))?;
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

/// Stops whichever server runs, and keeps another one from being started.
#[derive(Clone, Default)]
struct Stopper {
    stopping: Arc<AtomicBool>,
    stop: Arc<Mutex<Option<Stop>>>,
}

type Stop = Box<dyn Fn() + Send>;

impl Stopper {
    fn set(&self, stop: Stop) {
        let mut present = self.stop.lock().unwrap_or_else(PoisonError::into_inner);
        if self.is_stopping() {
            stop();
        }
        *present = Some(stop);
    }

    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }

    fn stop(&self) {
        self.stopping.store(true, Ordering::SeqCst);
        let present = self.stop.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(stop) = &*present {
            stop();
        }
    }
}

fn stop_on_signals(stopper: &Stopper) -> Result<(), Failure> {
    // Whoever asks a second time does not want to wait.
    let asked = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register_conditional_shutdown(signal, 1, Arc::clone(&asked))?;
        signal_hook::flag::register(signal, Arc::clone(&asked))?;
    }
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    let stopper = stopper.clone();
    thread::Builder::new()
        .name("raft-signals".to_string())
        .spawn(move || {
            if signals.forever().next().is_some() {
                tracing::info!("stopping");
                stopper.stop();
            }
        })?;
    Ok(())
}

fn stop_with_stdin(stopper: &Stopper) -> Result<(), Failure> {
    let stopper = stopper.clone();
    thread::Builder::new()
        .name("raft-stdin".to_string())
        .spawn(move || {
            let mut rest = [0; 64];
            while io::stdin().read(&mut rest).is_ok_and(|count| count > 0) {}
            stopper.stop();
        })?;
    Ok(())
}
