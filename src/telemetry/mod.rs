//! What the server tells people: the error log (one per process) and the access log (one per worker).
//!
//! Owns the form of lines and when they are written. Refuses to decide what is worth a line, to wait for a reader
//! that does not read, and to fail: a log that cannot be written counts what it lost and the server goes on.

#![forbid(unsafe_code)]

mod access_format;
mod access_log;
mod basic_auth;
mod datagram;
mod digits;
mod entry;
mod error_format;
mod error_log;
mod escape;
mod lines;
mod macros;
pub mod metrics;
mod moment;
mod once_a_minute;
mod panics;
mod sink;
pub mod statsd;
mod tap;
mod zone;

pub use crate::{critical, debug, error, info, warning};
pub use access_format::{AccessFormat, AccessRecord, Lookup, Origin};
pub use access_log::AccessLog;
pub use entry::{Printer, Role, identify};
pub use error_log::{
    block, count_in, descriptor, enabled, flush_raw, init, line, printed, raw, redirect, reopen,
    set_format, set_level,
};
pub use lines::Lines;
pub use once_a_minute::OnceAMinute;
pub use panics::tell_panics;
pub use sink::{Owner, Sink};
pub use tap::{Tap, close_tap, open_tap};
pub use zone::zone;
