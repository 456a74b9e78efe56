//! The programs that are measured and the ones that measure: found, or built, or asked for by name.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::Failure;
use crate::stage::Stage;

/// Where the workspace of raft-kv is.
const WORKSPACE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../..");
/// A build from nothing on a slow machine.
const BUILD_PATIENCE: Duration = Duration::from_secs(3_600);
const PATIENCE: Duration = Duration::from_secs(30);

/// Programs from elsewhere, and the packages of Debian they are in.
const PACKAGES: [(&str, &str); 4] = [
    ("redis-server", "redis-server"),
    ("redis-benchmark", "redis-tools"),
    ("etcd", "etcd-server"),
    ("protoc", "protobuf-compiler"),
];

/// Fails before anything is built or started if a program is missing.
///
/// # Errors
///
/// Which are missing, and what to install.
pub(crate) fn require(names: &[&str]) -> Result<(), Failure> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let is_there = |name: &&str| std::env::split_paths(&path).any(|dir| dir.join(name).is_file());
    let missing: Vec<&str> = names
        .iter()
        .filter(|name| !is_there(name))
        .copied()
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let packages = PACKAGES
        .iter()
        .filter(|(program, _)| missing.contains(program));
    let packages: Vec<&str> = packages.map(|(_, package)| *package).collect();
    let (missing, packages) = (missing.join(", "), packages.join(" "));
    Err(format!(
        "not installed: {missing}; install with `apt-get install {packages}`, or leave systems out with --only"
    )
    .into())
}

/// How raft-kv is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Build {
    /// As users get it: what is measured.
    Default,
    /// With the load for etcd, which is only ever a client here.
    WithEtcd,
}

impl Build {
    fn name(self) -> &'static str {
        match self {
            Self::Default => "raft-kv",
            Self::WithEtcd => "raft-kv-with-etcd",
        }
    }
}

/// Builds raft-kv in the workspace's own target folder, and copies it from there, because another build would
/// replace it.
///
/// # Errors
///
/// The build fails; what the compiler said is in the error.
pub(crate) fn raft_kv(stage: &Stage, build: Build, to: &Path) -> Result<PathBuf, Failure> {
    let name = build.name();
    eprintln!("building {name}");
    let built = built(stage, build, to)?;
    let copy = to.join(name);
    std::fs::copy(built, &copy)?;
    Ok(copy)
}

fn built(stage: &Stage, build: Build, to: &Path) -> Result<PathBuf, Failure> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command
        .current_dir(WORKSPACE)
        .args(["build", "--release", "--locked", "-p", "raft-threaded"])
        .args([
            "--bin",
            "raft-kv",
            "--message-format",
            "json-render-diagnostics",
        ]);
    match build {
        Build::Default => {}
        Build::WithEtcd => {
            command.args(["--features", "etcd"]);
        }
    }
    let messages = stage.output(&mut command, to.join("build.log"), BUILD_PATIENCE)?;
    let messages = messages.lines().rev();
    let executable = messages.filter_map(|line| {
        let message: Value = serde_json::from_str(line).ok()?;
        Some(PathBuf::from(message["executable"].as_str()?))
    });
    let executable = executable.into_iter().next();
    Ok(executable.ok_or("cargo does not say where it put raft-kv")?)
}

/// Where data goes if nobody says so: beside what is built, which is seldom in memory.
///
/// # Errors
///
/// Cargo does not say where that is.
pub(crate) fn target_dir(stage: &Stage) -> Result<PathBuf, Failure> {
    let folder = tempfile::tempdir()?;
    let log = folder.path().join("metadata.log");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    let arguments = ["metadata", "--no-deps", "--format-version", "1", "--locked"];
    command.current_dir(WORKSPACE).args(arguments);
    let metadata: Value = serde_json::from_str(&stage.output(&mut command, log, PATIENCE)?)?;
    let target = metadata["target_directory"].as_str();
    Ok(target.ok_or("cargo does not say where it builds")?.into())
}

/// The first line of what a program says of its version.
pub(crate) fn version(stage: &Stage, program: &str, to: &Path) -> Result<String, Failure> {
    let mut command = Command::new(program);
    command.arg("--version");
    let said = stage.output(&mut command, to.join("version.log"), PATIENCE)?;
    let line = said.lines().next().unwrap_or_default();
    // Redis goes on with how it was built.
    Ok(line.split(" sha=").next().unwrap_or_default().to_string())
}
