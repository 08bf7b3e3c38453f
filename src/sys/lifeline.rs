//! How workers learn that the arbiter is gone: a pipe that nobody writes to and that closes with the arbiter.
//!
//! A parent-death signal would not do: a worker's parent is its generation, which may go before the arbiter does.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use nix::fcntl::OFlag;

/// The arbiter's end. Close-on-exec, so that no other process ever holds it open.
#[derive(Debug)]
pub struct Lifeline {
    write_end: OwnedFd,
}

impl Lifeline {
    /// The end to keep, and the end to pass on: it polls as hung up (`POLLHUP`) once the kept one is closed.
    pub fn create() -> io::Result<(Self, OwnedFd)> {
        let (read_end, write_end) = nix::unistd::pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)?;
        Ok((Self { write_end }, read_end))
    }

    /// The end that this process kept before it executed itself anew.
    pub fn resume(write_end: OwnedFd) -> Self {
        Self { write_end }
    }
}

impl AsFd for Lifeline {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.write_end.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_read_end_ends_when_the_arbiter_does() {
        let (lifeline, read_end) = Lifeline::create().unwrap();
        let mut byte = [0];
        assert_eq!(
            nix::unistd::read(&read_end, &mut byte),
            Err(nix::errno::Errno::EAGAIN)
        );
        drop(lifeline);
        assert_eq!(nix::unistd::read(&read_end, &mut byte), Ok(0));
    }
}
