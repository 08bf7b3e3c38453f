//! Text in, [`Config`] or problems out. Touches no clock, socket or thread.

#![forbid(unsafe_code)]

mod address;
mod app;
mod bind;
mod change;
mod document;
mod effective;
mod environment;
pub mod file;
pub mod gunicorn;
mod hint;
mod hook;
mod layer;
mod live;
mod load;
mod loader;
mod log_format;
mod machine;
mod origin;
mod problem;
mod resolve;
mod resolved;
mod schema;
mod secret;
mod shape;
mod statsd;
mod units;

pub use change::{Apply, Change, Plan, changes, summary};
pub use effective::{EffectiveValue, effective};
pub use gunicorn::advice_on_flag;
pub use layer::Setting;
pub use live::LiveConfig;
#[cfg(test)]
pub(crate) use load::test_config;
pub use load::{Sources, load};
pub use loader::{ConfigLoader, Standing};
pub use log_format::{Atom, Piece, Template, TemplateFault, TemplateFaults};
pub use machine::{Elsewhere, Machine};
pub use origin::{Loaded, Note, Origin, Origins};
pub use problem::{Excerpt, Problem, Problems, Text};
pub use resolved::{
    Admin, AdminSocket, AppRef, Bind, Config, ErrorFormat, EventLoop, Facility, ForwardedBy,
    HeaderMap, HealthCheck, HookCommands, HookRef, Hooks, Lifespan, Limits, Log, LogFormat,
    LogLevel, LogTarget, Proxy, ProxyProtocol, Reload, SchemeHeader, Statsd, StatsdHost,
    SyslogAddress, TcpBind, Timeouts, Trusted, WebSocket, WorkerClass,
};
pub use schema::{bounds, default_text, forget_schema, keys, manual, schema_text, takes};
pub use secret::Secret;
