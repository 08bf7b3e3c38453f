//! Bytes and open descriptors over a UNIX SEQPACKET socket: one message, whole or not at all.
//!
//! Nothing here blocks or allocates for a message without descriptors; received descriptors are close-on-exec.

use std::{
    io::{self, IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
};

use nix::{
    errno::Errno,
    sys::socket::{AddressFamily, SockFlag, SockType, socketpair},
};

/// Descriptors that the kernel takes with one message (SCM_MAX_FD, unix(7)).
pub const DESCRIPTORS_MAX: usize = 253;

/// Bytes of control data for [`DESCRIPTORS_MAX`] descriptors, as many `u64` for the alignment of `cmsghdr`.
const CONTROL_WORDS: usize = (DESCRIPTORS_MAX * size_of::<RawFd>() + 32) / 8;

/// A connected pair, close-on-exec and non-blocking.
pub fn seqpacket_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    Ok(socketpair(
        AddressFamily::Unix,
        SockType::SeqPacket,
        None,
        flags,
    )?)
}

/// Sends one message of at least one byte. `WouldBlock` when the receiver's queue is full.
pub fn send_with_descriptors(
    socket: BorrowedFd<'_>,
    bytes: &[u8],
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<()> {
    if bytes.is_empty() || descriptors.len() > DESCRIPTORS_MAX {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut control = [MaybeUninit::<u64>::uninit(); CONTROL_WORDS];
    let payload = [IoSlice::new(bytes)];
    let mut header = empty_header();
    header.msg_iov = payload.as_ptr().cast_mut().cast();
    header.msg_iovlen = payload.len();
    if !descriptors.is_empty() {
        attach(&mut header, &mut control, descriptors);
    }
    // SAFETY: the header points to `payload` and `control`, which live until the call returns and are only read.
    let sent = Errno::result(unsafe {
        libc::sendmsg(
            socket.as_raw_fd(),
            &raw const header,
            libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT,
        )
    })?;
    debug_assert_eq!(sent as usize, bytes.len(), "a SEQPACKET message goes whole");
    Ok(())
}

/// Bytes of the message that would be received next, however long. Zero means that the other side is closed, `WouldBlock`
/// that there is none now.
pub fn next_message_bytes(socket: BorrowedFd<'_>) -> io::Result<usize> {
    let flags = libc::MSG_PEEK | libc::MSG_TRUNC | libc::MSG_DONTWAIT;
    // SAFETY: recv(2) writes nothing where there is room for nothing.
    let length =
        Errno::result(unsafe { libc::recv(socket.as_raw_fd(), std::ptr::null_mut(), 0, flags) })?;
    Ok(length as usize)
}

/// Receives one message into `buffer` and appends its descriptors to `descriptors`; returns its length. Zero means that
/// the other side is closed, `WouldBlock` that there is none now. A message that does not fit is an error, and lost.
/// So are descriptors for which this process is at its limit of open files.
pub fn receive_with_descriptors(
    socket: BorrowedFd<'_>,
    buffer: &mut [u8],
    descriptors: &mut Vec<OwnedFd>,
) -> io::Result<usize> {
    receive(socket, buffer, descriptors, 0)
}

/// The same, and leaves the message where it is: everybody who looks gets copies of its descriptors (`MSG_PEEK`).
pub fn peek_with_descriptors(
    socket: BorrowedFd<'_>,
    buffer: &mut [u8],
    descriptors: &mut Vec<OwnedFd>,
) -> io::Result<usize> {
    receive(socket, buffer, descriptors, libc::MSG_PEEK)
}

fn receive(
    socket: BorrowedFd<'_>,
    buffer: &mut [u8],
    descriptors: &mut Vec<OwnedFd>,
    more_flags: libc::c_int,
) -> io::Result<usize> {
    let mut control = [MaybeUninit::<u64>::uninit(); CONTROL_WORDS];
    let mut payload = [IoSliceMut::new(buffer)];
    let mut header = empty_header();
    header.msg_iov = payload.as_mut_ptr().cast();
    header.msg_iovlen = payload.len();
    header.msg_control = control.as_mut_ptr().cast();
    header.msg_controllen = size_of_val(&control);
    let flags = libc::MSG_CMSG_CLOEXEC | libc::MSG_DONTWAIT | more_flags;
    // SAFETY: the header points to `payload` and `control`, both writable for their stated lengths during the call.
    let length =
        Errno::result(unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut header, flags) })?;
    // First of all, so that descriptors of a message that is refused below are closed and not leaked.
    detach(&header, descriptors);
    if header.msg_flags & libc::MSG_CTRUNC != 0 {
        return Err(io::Error::other(
            "descriptors were lost: this process may not open more files",
        ));
    }
    if header.msg_flags & libc::MSG_TRUNC != 0 {
        return Err(io::Error::other("the message is longer than its limit"));
    }
    Ok(length as usize)
}

fn empty_header() -> libc::msghdr {
    // SAFETY: msghdr is plain data for which all zeros (null pointers, zero lengths) is a valid value.
    unsafe { std::mem::zeroed() }
}

/// Writes the descriptors' numbers into `control` and lets the header point there.
fn attach(
    header: &mut libc::msghdr,
    control: &mut [MaybeUninit<u64>; CONTROL_WORDS],
    descriptors: &[BorrowedFd<'_>],
) {
    let bytes = size_of_val(descriptors) as libc::c_uint;
    header.msg_control = control.as_mut_ptr().cast();
    // SAFETY: pure arithmetic; `control` has room for DESCRIPTORS_MAX, which the caller checked, and is aligned for
    // cmsghdr. CMSG_FIRSTHDR and CMSG_DATA stay inside the `msg_controllen` bytes set here.
    unsafe {
        header.msg_controllen = libc::CMSG_SPACE(bytes) as usize;
        let entry = libc::CMSG_FIRSTHDR(header);
        (*entry).cmsg_level = libc::SOL_SOCKET;
        (*entry).cmsg_type = libc::SCM_RIGHTS;
        (*entry).cmsg_len = libc::CMSG_LEN(bytes) as usize;
        let numbers = libc::CMSG_DATA(entry).cast::<RawFd>();
        for (index, descriptor) in descriptors.iter().enumerate() {
            numbers.add(index).write_unaligned(descriptor.as_raw_fd());
        }
    }
}

/// Takes ownership of the descriptors that came with a message.
fn detach(header: &libc::msghdr, descriptors: &mut Vec<OwnedFd>) {
    // SAFETY: the kernel filled in the control data and its length; the CMSG macros walk within it. Each number is a
    // descriptor that the kernel opened for this process with this message, so it is ours alone.
    unsafe {
        let mut entry = libc::CMSG_FIRSTHDR(header);
        while !entry.is_null() {
            if (*entry).cmsg_level == libc::SOL_SOCKET && (*entry).cmsg_type == libc::SCM_RIGHTS {
                let bytes = (*entry).cmsg_len - libc::CMSG_LEN(0) as usize;
                let numbers = libc::CMSG_DATA(entry).cast::<RawFd>();
                for index in 0..bytes / size_of::<RawFd>() {
                    descriptors.push(OwnedFd::from_raw_fd(numbers.add(index).read_unaligned()));
                }
            }
            entry = libc::CMSG_NXTHDR(header, entry);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs::File,
        io::{Read, Write},
        os::fd::AsFd,
    };

    use super::*;

    fn received(socket: &OwnedFd, room: usize) -> io::Result<(Vec<u8>, Vec<OwnedFd>)> {
        let mut buffer = vec![0; room];
        let mut descriptors = Vec::new();
        let length = receive_with_descriptors(socket.as_fd(), &mut buffer, &mut descriptors)?;
        buffer.truncate(length);
        Ok((buffer, descriptors))
    }

    #[test]
    fn the_length_of_the_next_message_is_told_however_long_it_is_and_the_message_stays() {
        let (left, right) = seqpacket_pair().unwrap();
        let nothing = next_message_bytes(right.as_fd()).unwrap_err();
        assert_eq!(nothing.kind(), io::ErrorKind::WouldBlock);
        send_with_descriptors(left.as_fd(), &[7; 100_000], &[]).unwrap();
        drop(left);
        assert_eq!(next_message_bytes(right.as_fd()).unwrap(), 100_000);
        assert_eq!(received(&right, 100_000).unwrap().0, [7; 100_000]);
        assert_eq!(next_message_bytes(right.as_fd()).unwrap(), 0);
    }

    #[test]
    fn a_descriptor_travels_with_its_bytes_and_is_closed_on_exec() {
        let (left, right) = seqpacket_pair().unwrap();
        let (reader, writer) = nix::unistd::pipe().unwrap();
        send_with_descriptors(left.as_fd(), b"here", &[writer.as_fd()]).unwrap();
        drop(writer);
        let (bytes, mut descriptors) = received(&right, 16).unwrap();
        assert_eq!(bytes, b"here");
        let received = descriptors.pop().unwrap();
        let flags = nix::fcntl::fcntl(&received, nix::fcntl::FcntlArg::F_GETFD).unwrap();
        assert_eq!(flags, libc::FD_CLOEXEC);
        File::from(received).write_all(b"through").unwrap();
        let mut text = String::new();
        File::from(reader).read_to_string(&mut text).unwrap();
        assert_eq!(text, "through");
    }

    #[test]
    fn as_many_descriptors_travel_as_the_kernel_allows_and_not_one_more() {
        let (left, right) = seqpacket_pair().unwrap();
        let many = vec![left.as_fd(); DESCRIPTORS_MAX];
        send_with_descriptors(left.as_fd(), b"x", &many).unwrap();
        assert_eq!(received(&right, 1).unwrap().1.len(), DESCRIPTORS_MAX);
        let too_many = vec![left.as_fd(); DESCRIPTORS_MAX + 1];
        let refused = send_with_descriptors(left.as_fd(), b"x", &too_many).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::InvalidInput);
    }

    #[test]
    fn everybody_who_looks_at_a_message_gets_its_descriptors_and_it_stays() {
        let (left, right) = seqpacket_pair().unwrap();
        let (reader, writer) = nix::unistd::pipe().unwrap();
        send_with_descriptors(left.as_fd(), b"a", &[writer.as_fd()]).unwrap();
        drop(writer);
        let mut looks = Vec::new();
        for _ in 0..3 {
            let mut buffer = [0; 8];
            let length = peek_with_descriptors(right.as_fd(), &mut buffer, &mut looks).unwrap();
            assert_eq!(&buffer[..length], b"a");
        }
        assert_eq!(received(&right, 8).unwrap().1.len(), 1);
        for descriptor in looks {
            File::from(descriptor).write_all(b"x").unwrap();
        }
        let mut text = String::new();
        File::from(reader).read_to_string(&mut text).unwrap();
        assert_eq!(text, "xxx", "and its writers are all gone");
    }

    #[test]
    fn nothing_yet_and_closed_are_told_apart() {
        let (left, right) = seqpacket_pair().unwrap();
        let nothing = received(&right, 8).unwrap_err();
        assert_eq!(nothing.kind(), io::ErrorKind::WouldBlock);
        drop(left);
        assert_eq!(received(&right, 8).unwrap().0, b"");
    }

    #[test]
    fn a_message_that_does_not_fit_is_refused_whole() {
        let (left, right) = seqpacket_pair().unwrap();
        send_with_descriptors(left.as_fd(), b"too long", &[left.as_fd()]).unwrap();
        assert!(received(&right, 3).is_err());
        send_with_descriptors(left.as_fd(), b"ok", &[]).unwrap();
        assert_eq!(received(&right, 3).unwrap().0, b"ok");
    }
}
