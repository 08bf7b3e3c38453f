//! The system calls that the standard library lacks, each behind a safe function. The only folder beside
//! `python/ffi` that may say `unsafe`.

#![expect(
    unsafe_code,
    reason = "this folder wraps the system calls for all the others"
)]

mod clock;
mod epoll;
mod memory;
pub mod net;

pub use clock::{monotonic_ns, unix_micros, unix_seconds};
pub use epoll::{Epoll, Event, Readiness, Watch};
pub use memory::{Atomics, SharedMemory};

/// A system call's result: -1 is the error in errno.
fn check(result: i32) -> std::io::Result<i32> {
    if result == -1 {
        Err(std::io::Error::last_os_error())
    } else {
        Ok(result)
    }
}
