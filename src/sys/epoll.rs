//! epoll(7), edge and level triggered, with 64-bit tokens.

use std::{
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
};

use super::Unshared;

/// What an event says; the bits are the kernel's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Readiness(u32);

impl Readiness {
    pub const NONE: Self = Self(0);
    pub const READABLE: Self = Self(libc::EPOLLIN as u32);
    /// Data may be read, or the end of the stream, or an error.
    const ANY_INPUT: u32 =
        (libc::EPOLLIN | libc::EPOLLRDHUP | libc::EPOLLHUP | libc::EPOLLERR) as u32;
    const ANY_OUTPUT: u32 = (libc::EPOLLOUT | libc::EPOLLHUP | libc::EPOLLERR) as u32;
    const ENDED: u32 = (libc::EPOLLRDHUP | libc::EPOLLHUP | libc::EPOLLERR) as u32;
    const BROKEN: u32 = (libc::EPOLLHUP | libc::EPOLLERR) as u32;

    /// What the kernel would report of a descriptor now; of one that it cannot tell of, nothing.
    pub fn now(descriptor: BorrowedFd<'_>) -> Self {
        let mut polled = libc::pollfd {
            fd: descriptor.as_raw_fd(),
            events: libc::POLLIN | libc::POLLOUT | libc::POLLRDHUP,
            revents: 0,
        };
        // SAFETY: `polled` is one entry and lives through the call, which does not wait.
        unsafe { libc::poll(&raw mut polled, 1, 0) };
        // The bits of poll(2) are those of epoll(7), and none is negative.
        Self(u32::from(polled.revents.cast_unsigned()))
    }

    pub fn can_read(self) -> bool {
        self.0 & Self::ANY_INPUT != 0
    }

    pub fn can_write(self) -> bool {
        self.0 & Self::ANY_OUTPUT != 0
    }

    /// The peer sends no more, or the connection is gone.
    pub fn has_ended(self) -> bool {
        self.0 & Self::ENDED != 0
    }

    /// Both directions are gone.
    pub fn is_broken(self) -> bool {
        self.0 & Self::BROKEN != 0
    }

    pub fn is_none(self) -> bool {
        self.0 == 0
    }

    pub fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// How a descriptor is watched.
#[derive(Debug, Clone, Copy)]
pub enum Watch {
    /// Readable, reported for as long as it is.
    Level,
    /// Readable, writable and half-closed, each change reported once.
    Edge,
}

impl Watch {
    fn bits(self) -> u32 {
        let bits = match self {
            Self::Level => libc::EPOLLIN,
            Self::Edge => libc::EPOLLIN | libc::EPOLLOUT | libc::EPOLLRDHUP | libc::EPOLLET,
        };
        bits as u32
    }
}

/// One reported event.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub struct Event(libc::epoll_event);

impl Event {
    pub const EMPTY: Self = Self(libc::epoll_event { events: 0, u64: 0 });

    pub fn token(&self) -> u64 {
        self.0.u64
    }

    pub fn readiness(&self) -> Readiness {
        Readiness(self.0.events)
    }
}

/// An epoll instance, close-on-exec. A copy of the process does not have it: an event that it took would be lost.
pub struct Epoll(Unshared);

impl AsFd for Epoll {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Epoll {
    pub fn create() -> io::Result<Self> {
        // SAFETY: creates a descriptor, touches no memory.
        let descriptor = super::check(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
        // SAFETY: the descriptor is new and nobody else's.
        let descriptor = unsafe { OwnedFd::from_raw_fd(descriptor) };
        Ok(Self(Unshared::new(descriptor)))
    }

    pub fn add(&self, descriptor: BorrowedFd<'_>, token: u64, watch: Watch) -> io::Result<()> {
        let mut event = libc::epoll_event {
            events: watch.bits(),
            u64: token,
        };
        // SAFETY: `event` lives through the call, which only reads it.
        let result = unsafe {
            libc::epoll_ctl(
                self.raw(),
                libc::EPOLL_CTL_ADD,
                descriptor.as_raw_fd(),
                &raw mut event,
            )
        };
        super::check(result).map(drop)
    }

    pub fn remove(&self, descriptor: BorrowedFd<'_>) -> io::Result<()> {
        // SAFETY: a removal takes no event.
        let result = unsafe {
            libc::epoll_ctl(
                self.raw(),
                libc::EPOLL_CTL_DEL,
                descriptor.as_raw_fd(),
                std::ptr::null_mut(),
            )
        };
        super::check(result).map(drop)
    }

    /// Waits for events, at most `timeout_ms` (-1: for ever). Being interrupted by a signal counts as no event.
    pub fn wait(&self, events: &mut [Event], timeout_ms: i32) -> io::Result<usize> {
        let capacity = events.len().min(i32::MAX as usize) as i32;
        // SAFETY: `Event` is a transparent epoll_event, and the kernel writes at most `capacity` of them.
        let result = unsafe {
            libc::epoll_wait(self.raw(), events.as_mut_ptr().cast(), capacity, timeout_ms)
        };
        match super::check(result) {
            Ok(count) => Ok(count as usize),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(0),
            Err(error) => Err(error),
        }
    }

    fn raw(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}
