//! The system calls that the standard library lacks, each behind a safe function. The only folder beside
//! `python/ffi` that may say `unsafe`.

#![expect(
    unsafe_code,
    reason = "this folder wraps the system calls for all the others"
)]

mod bell;
mod descriptor;
mod identity;
mod inherit;
mod lifeline;
mod memory;
mod process;
mod signal;
mod spawn;
mod title;

pub use bell::Bell;
pub use descriptor::{
    DESCRIPTORS_MAX, receive_with_descriptors, send_with_descriptors, seqpacket_pair,
};
pub use identity::{Identity, IdentityError};
pub use inherit::adopt_descriptor;
pub use lifeline::Lifeline;
pub use memory::{Atomics, SharedMemory};
pub use process::{PidFd, become_subreaper, describe_exit, exit_code, reap_any};
pub use signal::{SignalBell, fork_blocked, restore_defaults};
pub use spawn::{Inheritance, spawn};
pub use title::set_process_title;
