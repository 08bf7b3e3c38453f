//! The arbiter.

pub mod engine;
mod generation_process;
pub mod interpreter;

pub use generation_process::{GenerationProcess, SERVER_SOFTWARE, SpawnError};

use crate::config::ConfigLoader;

pub fn run(loader: Box<dyn ConfigLoader>) -> u8 {
    u8::from(loader.load().is_err())
}
