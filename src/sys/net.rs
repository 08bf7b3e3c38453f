//! Non-blocking stream sockets: the calls a connection makes, without any allocation.

use std::{
    fs::File,
    io::{self, IoSlice},
    mem::MaybeUninit,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6},
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
    time::Duration,
};

use super::{check, signal::without_sigpipe, unix_backlog::unix_backlog};

/// Who is at the other end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PeerAddress {
    Ip(SocketAddr),
    /// A UNIX-socket client; it has no address that means anything.
    Unix,
}

/// Accepts one connection, non-blocking and close-on-exec.
pub fn accept(listener: BorrowedFd<'_>) -> io::Result<(OwnedFd, PeerAddress)> {
    let mut storage = MaybeUninit::<libc::sockaddr_storage>::zeroed();
    let mut length = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes of address into `storage`.
    let result = unsafe {
        libc::accept4(
            listener.as_raw_fd(),
            storage.as_mut_ptr().cast(),
            &raw mut length,
            libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC,
        )
    };
    let descriptor = check(result)?;
    // SAFETY: the descriptor is new and nobody else's.
    let socket = unsafe { OwnedFd::from_raw_fd(descriptor) };
    // SAFETY: zeroed storage is a valid address of an unknown family, and the kernel overwrote it with a valid one.
    Ok((socket, peer_of(unsafe { storage.assume_init_ref() })))
}

/// Has the kernel keep a connection until its client has sent something, or was silent for so long (whole seconds, and
/// about as exact as the kernel's repeats of a handshake). Whoever accepts it then has something to read.
pub fn defer_accept(listener: BorrowedFd<'_>, silence: Duration) -> io::Result<()> {
    let seconds = libc::c_int::try_from(silence.as_secs()).unwrap_or(libc::c_int::MAX);
    // SAFETY: the kernel reads one int.
    check(unsafe {
        libc::setsockopt(
            listener.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_DEFER_ACCEPT,
            (&raw const seconds).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    })
    .map(drop)
}

/// Has the kernel tell the peer at once what has come, and go on so until the next send. It would wait up to 40 ms for an answer
/// to tell it with, and a peer without `TCP_NODELAY` (nginx to its upstreams) keeps its last segment back as long. Does nothing to
/// a UNIX socket.
pub fn acknowledge(socket: BorrowedFd<'_>) {
    let on: libc::c_int = 1;
    // SAFETY: the kernel reads one int.
    unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_QUICKACK,
            (&raw const on).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        );
    }
}

/// The peer of a connected socket.
pub fn peer_address(socket: BorrowedFd<'_>) -> io::Result<PeerAddress> {
    let mut storage = MaybeUninit::<libc::sockaddr_storage>::zeroed();
    let mut length = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes of address into `storage`.
    check(unsafe {
        libc::getpeername(
            socket.as_raw_fd(),
            storage.as_mut_ptr().cast(),
            &raw mut length,
        )
    })?;
    // SAFETY: as in `accept`.
    Ok(peer_of(unsafe { storage.assume_init_ref() }))
}

/// How many connections wait to be accepted at a listening socket, and how many may. An error where the kernel does not tell.
pub fn backlog(listener: BorrowedFd<'_>) -> io::Result<(u32, u32)> {
    match local_address(listener)? {
        PeerAddress::Ip(_) => tcp_backlog(listener),
        PeerAddress::Unix => unix_backlog(listener),
    }
}

fn tcp_backlog(listener: BorrowedFd<'_>) -> io::Result<(u32, u32)> {
    let mut info = MaybeUninit::<libc::tcp_info>::zeroed();
    let mut length = size_of::<libc::tcp_info>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes into `info`.
    check(unsafe {
        libc::getsockopt(
            listener.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            info.as_mut_ptr().cast(),
            &raw mut length,
        )
    })?;
    // SAFETY: all of its fields are numbers, for which zeroes are valid too.
    let info = unsafe { info.assume_init() };
    // What these fields mean for a socket that listens: tcp_get_info() in the kernel's net/ipv4/tcp.c.
    Ok((info.tcpi_unacked, info.tcpi_sacked))
}

/// The address that a connection reached us by.
pub fn local_address(socket: BorrowedFd<'_>) -> io::Result<PeerAddress> {
    let mut storage = MaybeUninit::<libc::sockaddr_storage>::zeroed();
    let mut length = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes of address into `storage`.
    check(unsafe {
        libc::getsockname(
            socket.as_raw_fd(),
            storage.as_mut_ptr().cast(),
            &raw mut length,
        )
    })?;
    // SAFETY: as in `accept`.
    Ok(peer_of(unsafe { storage.assume_init_ref() }))
}

fn peer_of(storage: &libc::sockaddr_storage) -> PeerAddress {
    match i32::from(storage.ss_family) {
        libc::AF_INET => {
            // SAFETY: the family says that this is a sockaddr_in, which fits into the storage.
            let address = unsafe { &*std::ptr::from_ref(storage).cast::<libc::sockaddr_in>() };
            let ip = Ipv4Addr::from(u32::from_be(address.sin_addr.s_addr));
            PeerAddress::Ip(SocketAddr::V4(SocketAddrV4::new(
                ip,
                u16::from_be(address.sin_port),
            )))
        }
        libc::AF_INET6 => {
            // SAFETY: the family says that this is a sockaddr_in6, which fits into the storage.
            let address = unsafe { &*std::ptr::from_ref(storage).cast::<libc::sockaddr_in6>() };
            let ip = Ipv6Addr::from(address.sin6_addr.s6_addr);
            let port = u16::from_be(address.sin6_port);
            PeerAddress::Ip(SocketAddr::V6(SocketAddrV6::new(
                ip,
                port,
                0,
                address.sin6_scope_id,
            )))
        }
        _ => PeerAddress::Unix,
    }
}

/// Receives into the spare capacity of `buffer`, which must not be empty of it; 0 means the end of the stream. Does not wait,
/// not even where an app that had the socket made it a blocking one.
pub fn receive(socket: BorrowedFd<'_>, buffer: &mut Vec<u8>) -> io::Result<usize> {
    let spare = buffer.spare_capacity_mut();
    debug_assert!(
        !spare.is_empty(),
        "a receive without room would look like the end of the stream"
    );
    // SAFETY: the kernel writes at most `spare.len()` bytes into the spare capacity.
    let result = unsafe {
        libc::recv(
            socket.as_raw_fd(),
            spare.as_mut_ptr().cast(),
            spare.len(),
            libc::MSG_DONTWAIT,
        )
    };
    let count = check_size(result)?;
    // SAFETY: `count` bytes after the length were just written.
    unsafe { buffer.set_len(buffer.len() + count) };
    Ok(count)
}

/// What comes after the bytes of a send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Nothing that is known of: they go out now.
    Unknown,
    /// The end of the stream, at once: the bytes wait for it, and both go out in one segment. That saves a segment, its
    /// acknowledgement and a wake-up of the client, a quarter of what a short connection costs.
    Close,
}

impl Next {
    fn flags(self) -> libc::c_int {
        match self {
            Self::Unknown => libc::MSG_NOSIGNAL,
            Self::Close => libc::MSG_NOSIGNAL | libc::MSG_MORE,
        }
    }
}

/// Sends what the socket takes now. A peer that is gone is an error, never a SIGPIPE.
pub fn send(socket: BorrowedFd<'_>, bytes: &[u8], next: Next) -> io::Result<usize> {
    // SAFETY: the kernel reads `bytes.len()` bytes.
    check_size(unsafe {
        libc::send(
            socket.as_raw_fd(),
            bytes.as_ptr().cast(),
            bytes.len(),
            next.flags(),
        )
    })
}

/// Sends several slices as one, as much as the socket takes now.
pub fn send_vectored(
    socket: BorrowedFd<'_>,
    slices: &[IoSlice<'_>],
    next: Next,
) -> io::Result<usize> {
    // SAFETY: a zeroed msghdr is valid; `IoSlice` has the layout of iovec; the kernel only reads the slices.
    let result = unsafe {
        let mut message: libc::msghdr = std::mem::zeroed();
        message.msg_iov = slices.as_ptr().cast_mut().cast();
        message.msg_iovlen = slices.len();
        libc::sendmsg(socket.as_raw_fd(), &raw const message, next.flags())
    };
    check_size(result)
}

/// A send to a socket that takes nothing now has sent nothing.
pub fn taken(sent: io::Result<usize>) -> io::Result<usize> {
    match sent {
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
            ) =>
        {
            Ok(0)
        }
        sent => sent,
    }
}

/// Sends up to `count` bytes of `file` from `offset` without copying them through this process.
pub fn send_file(
    socket: BorrowedFd<'_>,
    file: &File,
    offset: u64,
    count: usize,
) -> io::Result<usize> {
    let mut position = libc::off_t::try_from(offset).map_err(|_| io::ErrorKind::InvalidInput)?;
    without_sigpipe(|| {
        // SAFETY: `position` lives through the call.
        check_size(unsafe {
            libc::sendfile(
                socket.as_raw_fd(),
                file.as_raw_fd(),
                &raw mut position,
                count,
            )
        })
    })
}

/// Says that we send no more; what was sent still arrives.
pub fn shut_down_writing(socket: BorrowedFd<'_>) {
    // SAFETY: touches no memory. Failure means that the peer is gone already.
    unsafe { libc::shutdown(socket.as_raw_fd(), libc::SHUT_WR) };
}

/// Ends both directions, for whoever else has the socket: a thread that reads from it sees the end. What was sent still
/// arrives.
pub fn shut_down(socket: BorrowedFd<'_>) {
    shut_down_number(socket.as_raw_fd());
}

/// The same with a socket that another thread owns and keeps open meanwhile.
pub fn shut_down_number(socket: std::os::fd::RawFd) {
    // SAFETY: as above; a number that is no socket is an error.
    unsafe { libc::shutdown(socket, libc::SHUT_RDWR) };
}

fn check_size(result: isize) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::last_os_error())
}

/// Sends on a socket that another thread owns and keeps open meanwhile.
pub fn send_to_number(socket: std::os::fd::RawFd, bytes: &[u8]) -> io::Result<usize> {
    // SAFETY: the kernel reads `bytes.len()` bytes; a number that is no socket is an error.
    check_size(unsafe {
        libc::send(
            socket,
            bytes.as_ptr().cast(),
            bytes.len(),
            libc::MSG_NOSIGNAL,
        )
    })
}
