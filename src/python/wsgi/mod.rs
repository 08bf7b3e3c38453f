//! The WSGI gateway, PEP 3333: a request becomes an environ, the app is called, and what it returns is sent.
//!
//! Everything here runs with the interpreter held. What may wait (a log line, a spooled file, a full queue) lets go of it.

mod call;
mod desk;
mod early_hints;
mod environ;
mod errors;
mod file_wrapper;
mod gateway;
mod header_keys;
mod input;
mod loan;
mod memo;
mod prepare;
mod send;
mod start_response;

pub(super) use desk::Desk;
pub(super) use gateway::Gateway;
pub(super) use prepare::prepare;
