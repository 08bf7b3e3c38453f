//! The accept backlog of a UNIX socket, which only the kernel's socket diagnostics tell: sock_diag(7).

use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd},
};

use nix::sys::{
    socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket},
    stat::fstat,
};

const SOCK_DIAG_BY_FAMILY: u16 = 20;
const NLM_F_REQUEST: u16 = 1;
/// Of the netlink header; the message follows.
const HEADER_BYTES: usize = 16;
/// Of `unix_diag_msg`; attributes follow.
const MESSAGE_BYTES: usize = 16;
/// Of an attribute's length and kind; its value follows.
const ATTRIBUTE_BYTES: usize = 4;
/// Asks for, and is, the attribute that tells of the queues.
const UDIAG_SHOW_RQLEN: u32 = 0x10;
const UNIX_DIAG_RQLEN: u16 = 4;

/// How many connections wait to be accepted, and how many may. An error where the kernel has no such diagnostics.
pub(super) fn unix_backlog(listener: BorrowedFd<'_>) -> io::Result<(u32, u32)> {
    let inode = fstat(listener)?.st_ino;
    let inode = u32::try_from(inode).map_err(io::Error::other)?;
    let diagnostics = socket(
        AddressFamily::Netlink,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC,
        SockProtocol::NetlinkSockDiag,
    )?;
    let number = diagnostics.as_raw_fd();
    send(number, &request(inode), MsgFlags::empty())?;
    // The kernel has answered by the time the request is sent.
    let mut answer = [0; 512];
    let length = recv(number, &mut answer, MsgFlags::MSG_DONTWAIT)?;
    queues(&answer[..length]).ok_or_else(|| io::Error::other("the kernel tells no queue length"))
}

/// `nlmsghdr` and `unix_diag_req` for one socket in any state, whatever its cookie is.
fn request(inode: u32) -> Vec<u8> {
    const BYTES: u32 = 40;
    const ANY: u32 = u32::MAX;
    let mut request = Vec::new();
    request.extend(BYTES.to_ne_bytes());
    request.extend(SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    request.extend(NLM_F_REQUEST.to_ne_bytes());
    request.extend([0; 8]);
    request.extend([libc::AF_UNIX as u8, 0, 0, 0]);
    for field in [ANY, inode, UDIAG_SHOW_RQLEN, ANY, ANY] {
        request.extend(field.to_ne_bytes());
    }
    request
}

/// `unix_diag_rqlen` of an answer. For a socket that listens: what waits, and the bound of it.
fn queues(answer: &[u8]) -> Option<(u32, u32)> {
    let kind = answer.get(4..6)?;
    if kind != SOCK_DIAG_BY_FAMILY.to_ne_bytes() {
        return None;
    }
    let mut rest = answer.get(HEADER_BYTES + MESSAGE_BYTES..)?;
    loop {
        let (length, kind) = (half_word(rest, 0)?, half_word(rest, 2)?);
        let value = rest.get(ATTRIBUTE_BYTES..length.into())?;
        if kind == UNIX_DIAG_RQLEN {
            return Some((word(value, 0)?, word(value, 4)?));
        }
        rest = rest.get(usize::from(length).next_multiple_of(4)..)?;
    }
}

fn half_word(bytes: &[u8], at: usize) -> Option<u16> {
    let bytes = bytes.get(at..at + 2)?;
    Some(u16::from_ne_bytes(bytes.try_into().ok()?))
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at + 4)?;
    Some(u32::from_ne_bytes(bytes.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use std::os::{
        fd::AsFd,
        unix::net::{UnixListener, UnixStream},
    };

    use super::*;

    #[test]
    fn what_waits_at_a_unix_socket_is_counted() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let clients: Vec<UnixStream> = (0..3)
            .map(|_| UnixStream::connect(&path).unwrap())
            .collect();
        let (waiting, limit) = unix_backlog(listener.as_fd()).unwrap();
        assert_eq!(waiting, 3);
        assert!(limit >= 3, "{limit}");
        drop(listener.accept().unwrap());
        assert_eq!(unix_backlog(listener.as_fd()).unwrap().0, 2);
        drop(clients);
    }

    #[test]
    fn an_answer_without_the_queues_tells_nothing() {
        for answer in [&[][..], &[0; 16], &[0; 32], &[0xff; 64]] {
            assert_eq!(queues(answer), None);
        }
        let mut endless = vec![0; 64];
        endless[4..6].copy_from_slice(&SOCK_DIAG_BY_FAMILY.to_ne_bytes());
        assert_eq!(queues(&endless), None, "an attribute has a length");
    }
}
