//! The arbiter: policy in `core`, a shell around it that obeys.

pub mod clock;
pub mod core;
pub mod engine;
mod generation_process;
pub mod interpreter;
pub mod listeners;
pub mod memory;
pub mod pidfile;
#[cfg(test)]
mod tests;
pub mod watcher;

pub use generation_process::{GenerationProcess, SERVER_SOFTWARE, SpawnError};
