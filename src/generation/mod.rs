//! The fork-server: a process that loads the engine, prepares itself as the arbiter says, and forks workers when told.
//!
//! Mechanism only. It decides nothing about how many workers there are or when they go; it forks, reaps and reports.
//! It has one thread and no epoll descriptor, for both would be broken in a forked child. What concerns Python
//! (importing, forking through the interpreter) is in `python::generation`; nothing here knows of it.

#![forbid(unsafe_code)]

mod children;
mod fork_server;
mod hook_processes;
mod import_output;
mod inherited;
mod outputs;
mod thread;

pub use children::Children;
pub use fork_server::{ForkServer, ForkServerTask};
pub use hook_processes::{HOOK_RAISED, HOOK_SECONDS_MAX, HookProcesses, Occasion};
pub use import_output::ImportOutput;
pub use inherited::{Inherited, Lobby, StartError, WorkerStart};
pub use outputs::OutputPipes;
pub use thread::{OtherThread, other_threads};
