//! Text in, [`Config`] or problems out. Touches no clock, socket or thread.

#![forbid(unsafe_code)]

mod loader;
mod origin;
mod resolved;

pub use loader::ConfigLoader;
pub use origin::{Loaded, Origin, Origins};
pub use resolved::{
    AppRef, Bind, Config, HeaderMap, Limits, Log, LogFormat, LogLevel, LogTarget, Proxy, Reload,
    SchemeHeader, TcpBind, Timeouts, Trusted, WorkerClass,
};
