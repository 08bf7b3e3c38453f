//! Descriptors of clients' sockets that belong to Python code for as long as a call of the app lasts.
//!
//! The worker does not know when one of them is closed, and its number another's: so each is known by its socket, too. In a
//! copy of the worker (see [`super::is_copy`]) such a number stands for a socket whose other end is closed: what is found
//! there is the end of the client, and closing it closes nothing else.

use std::{
    io,
    mem::MaybeUninit,
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd},
    sync::atomic::{
        AtomicU64, AtomicUsize,
        Ordering::{Relaxed, SeqCst},
    },
};

use super::{check, duplicate};

/// Descriptors with numbers below this can be kept from copies; one beyond is not lent.
const NUMBERS_MAX: usize = 128 * 1024;

/// By number: the inode of the socket that is lent there, which no other open socket has; 0: none. Pages that no number
/// reaches take no memory.
static INODES: [AtomicU64; NUMBERS_MAX] = [const { AtomicU64::new(0) }; NUMBERS_MAX];
/// The highest number that ever was lent.
static HIGHEST: AtomicUsize = AtomicUsize::new(0);

/// A descriptor of its own for a socket, lent for as long as this lives. Whoever it was lent to closes it.
#[derive(Debug)]
pub struct Lent {
    number: usize,
    inode: u64,
}

impl Lent {
    /// Returns the number, too, which is the caller's to close.
    pub fn of(socket: BorrowedFd<'_>) -> io::Result<(Self, RawFd)> {
        let descriptor = duplicate(socket.as_raw_fd())?;
        let number = descriptor.as_raw_fd();
        let inode = inode(number).ok_or(io::ErrorKind::InvalidInput)?;
        let index = usize::try_from(number).map_err(|_| io::ErrorKind::InvalidInput)?;
        let Some(place) = INODES.get(index) else {
            return Err(io::Error::other("too many files are open"));
        };
        HIGHEST.fetch_max(index, SeqCst);
        place.store(inode, SeqCst);
        let lent = Self {
            number: index,
            inode,
        };
        Ok((lent, descriptor.into_raw_fd()))
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        // It may have been closed early, and the number be lent again.
        let _ = INODES[self.number].compare_exchange(self.inode, 0, SeqCst, Relaxed);
    }
}

/// In a copy, before anything else runs there: what is lent leads nowhere.
pub(super) fn lead_nowhere() {
    let mut nowhere = None;
    for (number, place) in INODES[..=HIGHEST.load(SeqCst)].iter().enumerate() {
        let lent = place.swap(0, SeqCst);
        let number = number as RawFd;
        if lent == 0 || inode(number) != Some(lent) {
            continue;
        }
        let Some(nowhere) = nowhere.get_or_insert_with(lonely_socket) else {
            return;
        };
        // SAFETY: the number stands for the lent socket; whoever has it here goes on with one that is connected to nobody.
        unsafe { libc::dup3(nowhere.as_raw_fd(), number, libc::O_CLOEXEC) };
    }
}

/// A socket whose other end is closed. Makes system calls and nothing else, as a process does right after a fork.
fn lonely_socket() -> Option<OwnedFd> {
    let mut pair = [0; 2];
    // SAFETY: the kernel writes two numbers, which are new and nobody else's.
    unsafe {
        let flags = libc::SOCK_STREAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
        check(libc::socketpair(libc::AF_UNIX, flags, 0, pair.as_mut_ptr())).ok()?;
        libc::close(pair[1]);
        Some(OwnedFd::from_raw_fd(pair[0]))
    }
}

/// What tells open sockets apart; `None`: the number is not that of one.
fn inode(number: RawFd) -> Option<u64> {
    let mut status = MaybeUninit::<libc::stat>::zeroed();
    // SAFETY: the kernel writes a `stat`, for which zeroes are valid, too.
    let status = unsafe {
        check(libc::fstat(number, status.as_mut_ptr())).ok()?;
        status.assume_init()
    };
    (status.st_mode & libc::S_IFMT == libc::S_IFSOCK).then_some(status.st_ino)
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        os::{fd::AsFd, unix::net::UnixStream},
    };

    use super::*;

    // Both tests look at what is kept for all of the process: they are one.
    #[test]
    fn a_number_that_is_lent_leads_nowhere_and_one_that_became_anothers_stays() {
        let (mut client, socket) = UnixStream::pair().unwrap();
        let (lent, number) = Lent::of(socket.as_fd()).unwrap();
        let (_gone, early) = Lent::of(socket.as_fd()).unwrap();
        // SAFETY: the number is this test's to close; at once it is the other socket's.
        unsafe { libc::dup3(client.as_raw_fd(), early, libc::O_CLOEXEC) };
        lead_nowhere();
        // SAFETY: both numbers are open, and this test's.
        let (mut nowhere, mut another) = unsafe {
            (
                UnixStream::from_raw_fd(number),
                UnixStream::from_raw_fd(early),
            )
        };
        assert_eq!(nowhere.read(&mut [0; 8]).unwrap(), 0, "the end");
        assert!(nowhere.write(b"x").is_err());
        another.write_all(b"to the other end").unwrap();
        let mut text = [0; 16];
        (&socket).read_exact(&mut text).unwrap();
        assert_eq!(&text, b"to the other end");
        (&socket).write_all(b"x").unwrap();
        client.read_exact(&mut text[..1]).unwrap();
        drop(lent);
        let (lent, number) = Lent::of(socket.as_fd()).unwrap();
        drop(lent);
        lead_nowhere();
        assert!(inode(number) == inode(socket.as_raw_fd()), "taken back");
        // SAFETY: as above.
        drop(unsafe { OwnedFd::from_raw_fd(number) });
    }
}
