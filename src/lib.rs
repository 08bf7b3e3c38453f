//! rgunicorn: a pre-forking Python web server that one TOML file drives.
//!
//! The same crate is built twice: as the binary `rgunicorn` (the arbiter, which never runs Python) and as the
//! engine, an extension module that the configured interpreter loads. ARCHITECTURE.md is the map.

pub mod admin;
pub mod arbiter;
pub mod cli;
pub mod config;
pub mod generation;
pub mod http;
pub mod migrate;
#[cfg(feature = "python")]
mod python;
pub mod sys;
pub mod telemetry;
pub mod websocket;
pub mod wire;
pub mod worker;
