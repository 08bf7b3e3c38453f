//! Whether a pipe has room, beyond the one byte for which poll(2) says so.

use std::os::fd::{AsRawFd, BorrowedFd};

use nix::{
    fcntl::{FcntlArg, fcntl},
    unistd::{SysconfVar, sysconf},
};

/// Whether one write(2) of so many bytes goes into the pipe now, in one piece and without waiting. `None`: it never would, as it
/// is no pipe, or too small a one.
pub fn fits_into_pipe(pipe: BorrowedFd<'_>, bytes: usize) -> Option<bool> {
    let size = usize::try_from(fcntl(pipe, FcntlArg::F_GETPIPE_SZ).ok()?).ok()?;
    let page = usize::try_from(sysconf(SysconfVar::PAGE_SIZE).ok()??).ok()?;
    // The kernel gives out pages: what does not fit behind the last write begins a new one, so two of them hold more than one is
    // long. Three may hold nearly nothing: the one that is being read, the last one, and the last one of ours.
    let room = size.checked_sub(3 * page + bytes)?;
    Some(2 * queued_bytes(pipe)? <= room)
}

fn queued_bytes(pipe: BorrowedFd<'_>) -> Option<usize> {
    let mut bytes: libc::c_int = 0;
    // SAFETY: FIONREAD writes an int to where the pointer leads, which lives as long as the call.
    let done = unsafe { libc::ioctl(pipe.as_raw_fd(), libc::FIONREAD, &raw mut bytes) };
    super::check(done).ok()?;
    usize::try_from(bytes).ok()
}

#[cfg(test)]
mod tests {
    use std::{io::Write as _, os::fd::AsFd};

    use super::*;

    #[test]
    fn what_fits_is_written_without_waiting_however_the_pipe_was_filled() {
        for before in [1, 100, 3000, 4096, 5000] {
            let filled = |count| {
                let (reader, mut writer) = std::io::pipe().unwrap();
                for _ in 0..count {
                    writer.write_all(&vec![b'x'; before]).unwrap();
                }
                (reader, writer)
            };
            let (_reader, mut writer) = filled(0);
            let mut count = 0;
            while fits_into_pipe(writer.as_fd(), 6000) == Some(true) {
                writer.write_all(&vec![b'x'; before]).unwrap();
                count += 1;
            }
            let (_reader, mut writer) = filled(count - 1);
            let flags = nix::fcntl::OFlag::O_NONBLOCK;
            fcntl(&writer, FcntlArg::F_SETFL(flags)).unwrap();
            let written = writer.write(&[b'y'; 6000]).unwrap();
            assert_eq!(written, 6000, "after {count} writes of {before}");
        }
    }

    #[test]
    fn what_no_pipe_holds_never_fits() {
        let (_reader, writer) = std::io::pipe().unwrap();
        assert_eq!(fits_into_pipe(writer.as_fd(), 1 << 20), None);
        let (socket, _other) = std::os::unix::net::UnixStream::pair().unwrap();
        assert_eq!(fits_into_pipe(socket.as_fd(), 10), None);
    }
}
