//! Text in, [`Config`] or problems out. Touches no clock, socket or thread.

#![forbid(unsafe_code)]

mod resolved;

pub use resolved::{
    AppRef, Bind, Config, HeaderMap, Limits, Log, LogFormat, LogLevel, LogTarget, Proxy, Reload,
    SchemeHeader, TcpBind, Timeouts, Trusted, WorkerClass,
};
