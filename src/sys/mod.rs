//! The system calls that the standard library lacks, each behind a safe function. The only folder beside
//! `python/ffi` that may say `unsafe`.

#![expect(
    unsafe_code,
    reason = "this folder wraps the system calls for all the others"
)]

mod memory;

pub use memory::{Atomics, SharedMemory};
