//! What costs minutes to make and is the same for all tests: kept under `target/`, and made anew when it would be made differently.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
};

use nix::fcntl::{Flock, FlockArg};

use super::target;

/// The folder `target/NAME`, filled by `make` unless the one that is there was made for the same `recipe`. The reason when it
/// cannot be made; a folder that is made by halves is never taken.
pub(super) fn made_once(
    name: &str,
    recipe: &str,
    make: impl FnOnce(&Path) -> Result<(), String>,
) -> Result<PathBuf, String> {
    let target = target();
    let folder = target.join(name);
    let stamp = folder.join("made-for");
    // Held while we look and make: another test process may be at it.
    let lock = File::create(target.join(format!("{name}.lock"))).unwrap();
    let _lock = Flock::lock(lock, FlockArg::LockExclusive).unwrap();
    if fs::read_to_string(&stamp).is_ok_and(|text| text == recipe) {
        return Ok(folder);
    }
    eprintln!("making {} (once)", folder.display());
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    make(&folder).map_err(|reason| format!("{} cannot be made: {reason}", folder.display()))?;
    fs::write(stamp, recipe).unwrap();
    Ok(folder)
}

/// Runs it to its end. What it said when it failed.
pub(super) fn run(command: &mut Command) -> Result<(), String> {
    let output = command
        .output()
        .map_err(|error| format!("{command:?}: {error}"))?;
    let errors = String::from_utf8_lossy(&output.stderr);
    let failed = || format!("{command:?} failed:\n{errors}");
    output.status.success().then_some(()).ok_or_else(failed)
}
