//! The system calls that the standard library lacks, each behind a safe function. The only folder beside
//! `python/ffi` that may say `unsafe`.

#![expect(
    unsafe_code,
    reason = "this folder wraps the system calls for all the others"
)]

mod abort;
mod alarm;
mod bell;
mod clock;
mod copy;
mod descriptor;
mod epoll;
mod execute;
mod file;
mod identity;
mod inherit;
mod lent;
mod lifeline;
mod memory;
mod merge;
mod names;
pub mod net;
mod notify;
mod open_files;
mod pipe;
mod process;
mod random;
mod resident;
mod safe_open;
mod signal;
mod spawn;
mod title;
mod unix_backlog;

pub use abort::AbortBell;
pub use alarm::Alarm;
pub use bell::Bell;
pub use clock::{monotonic_ms, monotonic_ns, unix_micros, unix_seconds};
pub use copy::{Unshared, is_copy, keep_stacks_from_copies, watch_for_copies};
pub use descriptor::{
    DESCRIPTORS_MAX, next_message_bytes, peek_with_descriptors, receive_with_descriptors,
    send_with_descriptors, seqpacket_pair,
};
pub use epoll::{Epoll, Event, Readiness, Watch};
pub use execute::{Handed, execute, memory_file};
pub use file::{obstacle, open_file, read_file};
pub use identity::{Identity, IdentityError, has_group, has_user};
pub use inherit::{adopt_descriptor, duplicate};
pub use lent::Lent;
pub use lifeline::Lifeline;
pub use memory::{Atomics, SharedMemory, release_program_files, seal_heap, trim_heap};
pub use merge::{allow_merging, host_merges};
pub use names::resolve_host;
pub use notify::NotifySocket;
pub use open_files::{allow_open_files, open_files_max};
pub use pipe::fits_into_pipe;
pub use process::{
    PidFd, TASK_LIMIT_HELP, become_subreaper, describe_exit, die_with_parent, exit_code, exit_now,
    is_stopped, naming_task_limit, reap_any, reap_any_measured, signal_thread, thread_id,
    thread_ident,
};
pub use random::random_u64;
pub use resident::{oom_kills, resident_bytes};
pub use safe_open::{Opened, Place, open_log_file, open_pidfile};
pub use signal::{
    STACKS_SIGNAL, SignalBell, deliver, disregard, fork_blocked, hold_signals, release_signals,
    restore_defaults, ring_after, without_signals,
};
pub use spawn::{Inheritance, spawn};
pub use title::set_process_title;

/// A system call's result: -1 is the error in errno.
fn check(result: i32) -> std::io::Result<i32> {
    if result == -1 {
        Err(std::io::Error::last_os_error())
    } else {
        Ok(result)
    }
}
