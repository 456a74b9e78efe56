//! Runs of the program itself under callgrind.

use std::process::Command;

/// Runs this program with these arguments, and returns what callgrind wrote down.
///
/// # Errors
///
/// In a sentence, if there is no valgrind or it does not do its work.
pub(crate) fn profile(arguments: impl IntoIterator<Item = String>) -> Result<String, String> {
    let this = std::env::current_exe().map_err(|e| format!("where this program is: {e}"))?;
    let file = std::env::temp_dir().join(format!("raft-core-counts-{}", std::process::id()));
    let output = Command::new("valgrind")
        .arg("--tool=callgrind")
        .arg(format!("--callgrind-out-file={}", file.display()))
        .arg(this)
        .args(arguments)
        .output()
        .map_err(|e| format!("valgrind cannot be started ({e}); install it to count"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    let profile = std::fs::read_to_string(&file).map_err(|e| format!("{said}\n{e}"))?;
    let _ = std::fs::remove_file(&file);
    Ok(profile)
}

/// How many instructions a profile has from beginning to end.
///
/// # Errors
///
/// In a sentence, if it does not say.
pub(crate) fn instructions(profile: &str) -> Result<u64, String> {
    let totals = profile
        .lines()
        .find_map(|line| line.strip_prefix("totals: "));
    let instructions = totals.and_then(|total| total.trim().parse().ok());
    instructions.ok_or_else(|| "callgrind did not say what it counted".into())
}
