//! The arbiter: policy in `core`, a shell around it that obeys.

pub mod activation;
mod barrier;
mod causes;
pub mod clock;
pub mod core;
mod doors;
pub mod engine;
mod generation_process;
mod history;
mod hook_commands;
pub mod interpreter;
pub mod listeners;
mod obstacles;
mod open_files;
pub mod pidfile;
mod processes;
mod reading;
mod report;
pub mod running;
pub mod service_manager;
mod shell;
mod stacks;
mod statsd;
mod tally;
#[cfg(test)]
mod tests;
pub mod trial;
pub mod upgrade;
pub mod watcher;

pub use causes::with_causes;
pub use generation_process::{GenerationProcess, SERVER_SOFTWARE, SpawnError};
pub use obstacles::obstacles;
pub use stacks::{StackProbe, StacksError};

use crate::{config::ConfigLoader, telemetry};

/// Serves what the loader says until the server is stopped; the exit code: 0 after TERM, INT or QUIT; 1 when the
/// configuration, a socket or the pidfile is in the way; 3 when the app does not boot, 4 when it is not there.
pub fn run(loader: Box<dyn ConfigLoader>) -> u8 {
    telemetry::tell_panics();
    let shell = match upgrade::State::inherited() {
        Some(Ok(state)) => shell::Shell::resume(loader, state),
        Some(Err(error)) => Err(shell::StartError::Other(format!(
            "the upgrade failed: {error}"
        ))),
        None => shell::Shell::start(loader),
    };
    match shell {
        Ok(shell) => shell.run(),
        Err(error) => shell::tell_start_error(&error),
    }
}
