//! The arbiter: policy in `core`, a shell around it that obeys.

pub mod clock;
pub mod core;
pub mod engine;
mod generation_process;
pub mod interpreter;
pub mod listeners;
pub mod memory;
pub mod pidfile;
mod processes;
mod reading;
mod report;
pub mod running;
mod shell;
mod tally;
#[cfg(test)]
mod tests;
pub mod trial;
pub mod watcher;

pub use generation_process::{GenerationProcess, SERVER_SOFTWARE, SpawnError};

use crate::config::ConfigLoader;

/// Serves what the loader says until the server is stopped; the exit code: 0 after TERM, INT or QUIT; 1 when the
/// configuration, a socket or the pidfile is in the way; 3 when the app does not boot, 4 when it is not there.
pub fn run(loader: Box<dyn ConfigLoader>) -> u8 {
    match shell::Shell::start(loader) {
        Ok(shell) => shell.run(),
        Err(error) => shell::tell_start_error(&error),
    }
}
