//! One process of Redis that answers a write once it is synced.

use std::process::Command;

use super::{ANSWER_PATIENCE, Scene, eventually, free_port};
use crate::Failure;
use crate::resp::Client;
use crate::stage::Process;

/// A server on a folder of its own.
#[derive(Debug)]
pub(crate) struct Server {
    _process: Process,
    port: u16,
    /// After the process, which writes into it.
    _folder: tempfile::TempDir,
}

impl Server {
    /// # Errors
    ///
    /// It ends, or does not answer for a long time.
    pub(crate) fn start(scene: &Scene) -> Result<Self, Failure> {
        let folder = scene.fresh_folder("redis-")?;
        let port = free_port();
        let mut serve = Command::new("redis-server");
        serve
            .args(["--bind", "127.0.0.1", "--port", &port.to_string()])
            .args([
                "--appendonly",
                "yes",
                "--appendfsync",
                "always",
                "--save",
                "",
            ])
            .arg("--dir")
            .arg(folder.path());
        let log = folder.path().join("redis.log");
        let mut process = scene.stage.start(&mut serve, log)?;
        eventually(&scene.stage, "an answer of redis-server", || {
            process.check()?;
            let client = Client::connect(port, ANSWER_PATIENCE);
            let answer = client.and_then(|mut client| client.call(&[b"PING"]));
            Ok(answer.ok().filter(|answer| answer == "PONG"))
        })?;
        Ok(Self {
            _process: process,
            port,
            _folder: folder,
        })
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }
}
