//! Text in, [`Config`] or problems out. Touches no clock, socket or thread.

#![forbid(unsafe_code)]

mod app;
mod bind;
mod change;
pub mod file;
mod loader;
mod origin;
mod resolved;
mod schema;
mod units;

pub use change::{Apply, Change, Plan, changes, summary};
pub use loader::ConfigLoader;
pub use origin::{Loaded, Origin, Origins};
pub use resolved::{
    AppRef, Bind, Config, HeaderMap, Limits, Log, LogFormat, LogLevel, LogTarget, Proxy, Reload,
    SchemeHeader, TcpBind, Timeouts, Trusted, WorkerClass,
};
pub use schema::{default_text, keys, manual, schema_text};
