//! A descriptor that came by exec, known only by its number.

use std::{
    io,
    os::fd::{BorrowedFd, FromRawFd, OwnedFd, RawFd},
};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};

/// Takes over an inherited descriptor and marks it close-on-exec; fails when the number is not open or is one of the
/// standard three. For the start of a process, once per number: before anything that could own the number exists.
pub fn adopt_descriptor(number: RawFd) -> io::Result<OwnedFd> {
    if number <= 2 {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    // SAFETY: the borrow lasts for this one call, which fails cleanly when the number is not open.
    let borrowed = unsafe { BorrowedFd::borrow_raw(number) };
    fcntl(borrowed, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
    // SAFETY: the number is open, as the call above has shown, and the caller's parent left it for this process.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// A descriptor of its own for what a number stands for now; Python code has nothing but the number.
pub fn duplicate(number: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: a duplicate shares nothing with the number but the open file; a number that is not open is an error.
    let copy = super::check(unsafe { libc::fcntl(number, libc::F_DUPFD_CLOEXEC, 3) })?;
    // SAFETY: the descriptor is new and nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(copy) })
}
