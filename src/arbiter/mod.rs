//! The arbiter.

pub mod engine;
mod generation_process;
pub mod interpreter;

pub use generation_process::{GenerationProcess, SERVER_SOFTWARE, SpawnError};
